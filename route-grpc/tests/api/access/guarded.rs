//! A node with TLS, tokens and a policy, and whoever calls it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use route_grpc::settings::NodeSettings;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use super::made::{AUDIENCE, Authority, Folder, ISSUER, NODE, Pair, TokenIssuer};
use crate::site::{Site, soon};
use crate::wire::Wire;

/// Somebody who is called NAME has a certificate for `urn:NAME`, or a token of the subject NAME.
pub(crate) struct Guarded {
    pub(crate) site: Site,
    pub(crate) ca: Authority,
    pub(super) issuer: TokenIssuer,
    pub(super) folder: Folder,
}

/// Everybody has the role that he is called by, with all kinds and ids. `nobody` has none.
pub(crate) const BY_NAME: &str = r#"
version = 1
[[allow]]
uri = "urn:reader"
roles = ["reader"]
[[allow]]
uri = "urn:listener"
roles = ["listener"]
subscribe = ["*"]
[[allow]]
uri = "urn:publisher"
roles = ["publisher"]
publish = ["*"]
[[allow]]
uri = "urn:gateway"
roles = ["gateway"]
gateway_ids = ["g-*"]
[[allow]]
uri = "urn:node"
roles = ["node"]
[[allow]]
uri = "urn:admin"
roles = ["admin"]
[[allow]]
subject = "reader"
roles = ["reader"]
"#;

/// One entry of a policy.
pub(super) fn entry(uri: &str, more: &str) -> String {
    format!("[[allow]]\nuri = {uri:?}\n{more}\n")
}

/// A policy of these.
pub(super) fn policy(entries: &[String]) -> String {
    format!("version = 1\n{}", entries.concat())
}

impl Guarded {
    pub(crate) async fn start(policy: &str) -> Self {
        Self::with(policy, |_| ()).await
    }

    pub(crate) async fn with(policy: &str, change: impl FnOnce(&mut NodeSettings)) -> Self {
        let (ca, issuer, folder) = (Authority::new(), TokenIssuer::new(), Folder::new());
        let node = ca.node();
        let site = Site::with(|settings| {
            let security = &mut settings.security;
            security.policy = Some(folder.put("policy", policy));
            security.tls_cert = Some(folder.put("tls.crt", &node.certificate));
            security.tls_key = Some(folder.put("tls.key", &node.key));
            security.tls_client_ca = Some(folder.put("ca", &ca.pem));
            security.token_keys = Some(folder.put("keys", &issuer.keys()));
            security.token_audience = vec![AUDIENCE.to_owned()];
            security.token_issuer = vec![ISSUER.to_owned()];
            change(settings);
        });
        let mut site = site.await;
        site.tls = Some(shows(&ca, &ca.client("urn:gateway")));
        Self {
            site,
            ca,
            issuer,
            folder,
        }
    }

    /// A node that listens there, takes tokens, and has no TLS.
    pub(super) async fn without_tls(listen: &str) -> Self {
        let (ca, issuer, folder) = (Authority::new(), TokenIssuer::new(), Folder::new());
        let site = Site::at(listen, |settings| {
            let security = &mut settings.security;
            security.policy = Some(folder.put("policy", BY_NAME));
            security.token_keys = Some(folder.put("keys", &issuer.keys()));
            security.token_audience = vec![AUDIENCE.to_owned()];
        });
        Self {
            site: site.await,
            ca,
            issuer,
            folder,
        }
    }

    /// A connection of somebody with this certificate, or without one.
    pub(super) async fn shake(
        &self,
        address: SocketAddr,
        shows: Option<&Pair>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(address).await.unwrap();
        let config = client_config(&self.ca, shows, &[b"h2"]);
        connect(config, socket).await
    }

    /// The same, with HTTP/2 on it.
    pub(crate) async fn wire(&self, shows: Option<&Pair>) -> Wire {
        self.wire_to(self.site.address, shows).await
    }

    pub(crate) async fn wire_to(&self, address: SocketAddr, shows: Option<&Pair>) -> Wire {
        let stream = soon("a hand-shake", self.shake(address, shows)).await;
        Wire::over(stream.unwrap()).await
    }

    /// A connection of whoever has this name.
    pub(crate) async fn wire_of(&self, name: &str) -> Wire {
        self.wire(Some(&self.ca.client(&format!("urn:{name}"))))
            .await
    }

    /// The same, for generated clients.
    pub(super) async fn channel_of(&self, name: &str) -> Channel {
        self.channel(&self.ca.client(&format!("urn:{name}"))).await
    }

    pub(super) async fn channel(&self, pair: &Pair) -> Channel {
        let tls = shows(&self.ca, pair);
        let address = self.site.address.to_string();
        self.site.channel_to(&address, Some(tls)).await
    }

    /// The value of a metric, its labels and all.
    pub(super) fn metric(&self, line: &str) -> u64 {
        let rendered = self.site.metrics.render();
        let found = rendered.lines().find_map(|it| it.strip_prefix(line));
        let value = found.unwrap_or_else(|| panic!("no {line} in {rendered}"));
        value.trim().parse().unwrap()
    }

    pub(super) fn refusals(&self, reason: &str) -> u64 {
        let name = "teamtalk_route_access_refusals_total";
        self.metric(&format!("{name}{{reason=\"{reason}\"}}"))
    }

    pub(super) fn failed_handshakes(&self, reason: &str) -> u64 {
        let name = "teamtalk_route_tls_failed_handshakes_total";
        self.metric(&format!("{name}{{reason=\"{reason}\"}}"))
    }

    pub(super) fn reloads(&self, files: &str, outcome: &str) -> u64 {
        let name = "teamtalk_route_files_reloads_total";
        self.metric(&format!(
            "{name}{{files=\"{files}\",outcome=\"{outcome}\"}}"
        ))
    }

    /// Replaces files, and waits until the node has looked at them.
    pub(super) async fn replace(&self, what: &str, outcome: &str, files: &[(&str, &str)]) {
        // A process that catches it lives on.
        let _caught = signal(SignalKind::hangup()).unwrap();
        let before = self.reloads(what, outcome);
        for (name, content) in files {
            self.folder.put(name, content);
        }
        let pid = std::process::id().to_string();
        let looked = async {
            while self.reloads(what, outcome) == before {
                let sent = Command::new("kill").args(["-HUP", &pid]).status();
                assert!(sent.unwrap().success());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("a look at the files", looked).await;
    }
}

/// What a generated client makes hand-shakes with.
pub(super) fn shows(ca: &Authority, pair: &Pair) -> ClientTlsConfig {
    ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&ca.pem))
        .identity(Identity::from_pem(&pair.certificate, &pair.key))
        .domain_name(NODE)
}

/// What a client makes hand-shakes with.
pub(super) fn client_config(ca: &Authority, shows: Option<&Pair>, alpn: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = route_runtime::tls::files::provider();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shows {
        Some(pair) => {
            let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
            let chain = chain.collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
    config
}

pub(super) async fn connect(
    config: ClientConfig,
    socket: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(NODE).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
}
