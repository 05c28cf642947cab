//! A server's end: what it shows, and by which roots it believes clients.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use super::files::{Pair, provider, roots_in};

/// What HTTP/2 is called in a hand-shake.
const HTTP2: &[u8] = b"h2";

/// The files of a server, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its certificate, and those that lead to its root.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// Roots of clients' certificates. None: clients are not asked for any.
    pub client_roots: Option<PathBuf>,
}

impl ServerFiles {
    /// All of them, in the order in which [`ServerTls::of`] wants their contents.
    pub fn paths(&self) -> Vec<PathBuf> {
        let both = [self.certificate.clone(), self.key.clone()];
        both.into_iter().chain(self.client_roots.clone()).collect()
    }
}

/// Hand-shakes are made with this. A client's certificate is checked if it has one; who needs one decides later.
#[derive(Clone)]
pub struct ServerTls {
    /// For HTTP/2, from TLS 1.2 on.
    pub config: Arc<ServerConfig>,
    /// None: clients are not asked.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    certificate: CertificateDer<'static>,
}

impl ServerTls {
    /// Of these contents of files.
    ///
    /// # Errors
    ///
    /// For people: which file is of no use, and why.
    pub fn of(files: &ServerFiles, contents: &[Vec<u8>]) -> Result<Self, String> {
        let [certificate, key, rest @ ..] = contents else {
            return Err("a certificate and a key are needed".to_owned());
        };
        let pair = Pair {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let certified = pair.certified(&files.certificate, &files.key);
        let certified = certified.map_err(|error| error.to_string())?;
        let certificate = certified.cert.first().cloned();
        let certificate = certificate.ok_or("there is no certificate")?;
        let verifier = match (&files.client_roots, rest) {
            (Some(path), [roots, ..]) => {
                let roots = roots_in(roots, path).map_err(|error| error.to_string())?;
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
                        .allow_unauthenticated()
                        .build();
                Some(verifier.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            _ => None,
        };
        let shown = WebPkiClientVerifier::no_client_auth();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(verifier.clone().unwrap_or(shown));
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![HTTP2.to_vec()];
        // A session that is taken up again would bring a certificate that nobody looks at.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Arc::new(config),
            verifier,
            certificate,
        })
    }

    /// What the server shows.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Whether clients may show certificates.
    pub fn asks_clients(&self) -> bool {
        self.verifier.is_some()
    }

    /// Whether a client's certificates, its own first, are still believed: by today's roots, at this time.
    ///
    /// # Errors
    ///
    /// For people: why not.
    pub fn believes(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), String> {
        let (Some(verifier), [own, others @ ..]) = (&self.verifier, chain) else {
            return Err("clients' certificates are not asked for any more".to_owned());
        };
        let verified = verifier.verify_client_cert(own, others, now);
        verified.map(drop).map_err(|error| error.to_string())
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("asks_clients", &self.verifier.is_some())
            .finish_non_exhaustive()
    }
}
