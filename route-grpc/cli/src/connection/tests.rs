//! Against a node of the test that answers for its health alone, and notes who asks.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

use super::*;
use crate::admin::AdminArgs;
use crate::client::ClientArgs;

#[derive(Debug, Parser)]
struct Public {
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Parser)]
struct Admin {
    #[command(flatten)]
    admin: AdminArgs,
}

#[tokio::test]
async fn certificate_and_token_go_with_the_calls_and_the_token_is_read_for_each() {
    let files = Files::new("calls");
    let node = Node::start(&files, true).await;
    files.put("token", "first\n");
    let line = files.line(
        "address",
        node.address,
        &["tls-ca", "tls-cert", "tls-key", "token-file"],
    );
    let connection = Public::parse_from(line).client.connect().await;
    let connection = connection.expect("the node takes it");

    check(&connection).await.expect("it answers");
    files.put("token", "second");
    check(&connection).await.expect("it answers");

    let asked = [
        ("Bearer first".to_owned(), true),
        ("Bearer second".to_owned(), true),
    ];
    assert_eq!(*node.asked.lock(), asked);
}

#[tokio::test]
async fn the_admin_port_is_connected_to_in_the_same_way() {
    let files = Files::new("admin");
    let node = Node::start(&files, true).await;
    let right = files.line(
        "admin-address",
        node.address,
        &["tls-ca", "tls-cert", "tls-key"],
    );
    assert!(Admin::parse_from(right).admin.connect().await.is_ok());

    let wrong = files.line("admin-address", node.address, &["tls-ca"]);
    let mut client = Admin::parse_from(wrong)
        .admin
        .connect()
        .await
        .expect("the first half");
    let told = client
        .get_stats(route_proto::admin::v1alpha1::GetStatsRequest {})
        .await;
    let told = Failure::from(told.expect_err("it wants a certificate"));
    let text = told.to_string();
    assert!(text.contains("give --tls-cert and --tls-key"), "{text}");
    assert_eq!(told.exit_code(), 3);
}

#[tokio::test]
async fn who_connects_in_vain_is_told_what_to_mend() {
    let files = Files::new("vain");
    let node = Node::start(&files, false).await;
    let told = async |flags: &[&str], more: &[&str]| refusal(&files, &node, flags, more).await;
    assert_eq!(told(&["tls-ca"], &[]).await, None);
    let address = format!("--address=https://{}", node.address);
    let plain = format!("--address=http://{}", node.address);
    for (flags, more, text, code) in [
        (
            &[][..],
            &[][..],
            "if the node speaks TLS, write https://",
            3,
        ),
        (
            &["tls-ca"],
            &["--tls-server-name=other"],
            "--tls-server-name says which",
            3,
        ),
        (&["other-ca"], &[], "signed by nobody in --tls-ca", 3),
        (&[], &[address.as_str()], "needs --tls-ca: a file", 2),
        (
            &["tls-ca"],
            &[plain.as_str()],
            "--tls-ca means nothing to http://",
            2,
        ),
        (
            &["tls-ca", "tls-cert"],
            &[],
            "--tls-cert needs --tls-key",
            2,
        ),
        (
            &[],
            &["--address=node:1", "--token-file=t"],
            "as plain text",
            2,
        ),
        (
            &["tls-ca"],
            &["--token-file=none"],
            "--token-file: none: cannot be read",
            2,
        ),
    ] {
        let (said, exits) = told(flags, more).await.expect(text);
        assert!(said.contains(text), "{text}: {said}");
        assert_eq!(exits, code, "{said}");
    }
}

/// What is said, with the exit code, when somebody calls with these files and flags; none if it is answered.
async fn refusal(
    files: &Files,
    node: &Node,
    flags: &[&str],
    more: &[&str],
) -> Option<(String, u8)> {
    let mut line = files.line("address", node.address, flags);
    if more.iter().any(|it| it.starts_with("--address")) {
        line.remove(1);
    }
    line.extend(more.iter().map(|it| (*it).to_owned()));
    let failure = match Public::parse_from(line).client.connect().await {
        Ok(connection) => check(&connection).await.err(),
        Err(failure) => Some(failure),
    };
    failure.map(|failure| (failure.to_string(), failure.exit_code()))
}

async fn check(connection: &Connection) -> Result<(), Failure> {
    let mut client = HealthClient::new(connection.clone());
    client.check(HealthCheckRequest::default()).await?;
    Ok(())
}

struct Node {
    address: SocketAddr,
    /// Of each call the token, and whether there was a certificate.
    asked: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Node {
    /// Starts one for whose clients there are files.
    async fn start(files: &Files, wants_certificate: bool) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).expect("a root").pem();
        files.put("tls-ca", &ca);
        let others = KeyPair::generate().expect("a key");
        let others = params.self_signed(&others).expect("a root");
        files.put("other-ca", &others.pem());
        let issuer = Issuer::new(params, key);
        let pair = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new([name.to_owned()]).expect("a name");
            let signed = params.signed_by(&key, &issuer).expect("a certificate");
            (signed.pem(), key.serialize_pem())
        };
        let (certificate, key) = pair("operator");
        files.put("tls-cert", &certificate);
        files.put("tls-key", &key);

        let (certificate, key) = pair("127.0.0.1");
        let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        if wants_certificate {
            tls = tls.client_ca_root(Certificate::from_pem(ca));
        }
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let note = move |request: Request<()>| -> Result<Request<()>, Status> {
            let token = request.metadata().get("authorization");
            let token = token.map(|it| it.to_str().expect("a token").to_owned());
            let has_certificate = request.peer_certs().is_some();
            noted
                .lock()
                .push((token.unwrap_or_default(), has_certificate));
            Ok(request)
        };
        let health =
            HealthService::from_health_reporter(tonic_health::server::HealthReporter::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut server = Server::builder().tls_config(tls).expect("a certificate");
        let server = server.add_service(HealthServer::with_interceptor(health, note));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Node { address, asked }
    }
}

/// Files of a test, gone after it, each of the name of its flag.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("commands-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Files(path)
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.0.join(name), content).expect("a file");
    }

    /// A command line with these files.
    fn line(&self, address: &str, node: SocketAddr, flags: &[&str]) -> Vec<String> {
        let address = format!("--{address}={node}");
        let flags = flags.iter().map(|name| {
            let flag = name.replace("other-ca", "tls-ca");
            let file = name.replace("token-file", "token");
            format!("--{flag}={}", self.0.join(file).display())
        });
        ["test".to_owned(), address]
            .into_iter()
            .chain(flags)
            .collect()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
