//! Who a node is to NATS, and what it says when NATS does not believe it.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use route_grpc::leadership::engine::nats::{Login, Nats, NatsSettings, TlsFiles};
use system_tests::deployment::nats::NatsServer;

use super::{problem, settings_of, settled};

/// Files of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("nats-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the folder is this test's");
        Self(folder)
    }

    fn with(&self, name: &str, content: &str) -> PathBuf {
        let file = self.0.join(name);
        std::fs::write(&file, content).expect("the folder is this test's");
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is of a test that is over.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_password_or_a_token_is_sent_and_a_wrong_one_is_named() {
    let files = Folder::new("passwords");
    let right = files.with("right", "secret\n");
    let wrong = files.with("wrong", "mistyped");
    for (lines, login) in [
        (
            "authorization { user: node, password: secret }",
            (|file| Login::Password("node".to_owned(), file)) as fn(PathBuf) -> Login,
        ),
        ("authorization { token: secret }", Login::Token),
    ] {
        let server = NatsServer::start_with(lines).await.unwrap();
        let node = |login| {
            let settings = settings_of(vec![server.url()], "test");
            Nats::start(NatsSettings { login, ..settings }).unwrap()
        };

        settled(&node(login(right.clone()))).await;
        let told = problem(&node(login(wrong.clone())), "authorization violation").await;
        assert!(told.contains("does not take what is in"), "{told}");
        assert!(
            told.contains("wrong") && !told.contains("mistyped"),
            "{told}"
        );
        let told = problem(&node(Login::None), "authorization violation").await;
        assert!(told.contains("wants credentials"), "{told}");
        let told = problem(&node(login(files.0.join("nowhere"))), "nowhere").await;
        assert!(told.contains("No such file"), "{told}");
    }
}

#[tokio::test]
async fn tls_is_spoken_with_servers_of_the_ca_and_a_certificate_is_shown() {
    let files = Folder::new("tls");
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ca = files.with("ca", &ours.pem);
    let (certificate, key) = ours.signed(&files, "server");
    let lines = format!(
        "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true }}"
    );
    let server = NatsServer::start_with(&lines).await.unwrap();
    let node = |ca: &PathBuf, pair| {
        let tls = TlsFiles {
            ca: Some(ca.clone()),
            pair,
        };
        let settings = settings_of(vec![server.url()], "test");
        Nats::start(NatsSettings { tls, ..settings }).unwrap()
    };

    settled(&node(&ca, Some(ours.signed(&files, "node")))).await;

    let other_ca = files.with("other-ca", &theirs.pem);
    let own = ours.signed(&files, "own");
    let told = problem(&node(&other_ca, Some(own)), "peer certificate").await;
    assert!(
        told.contains("signed by the CA that this node has"),
        "{told}"
    );
    let strange = theirs.signed(&files, "stranger");
    for pair in [None, Some(strange)] {
        let told = problem(&node(&ca, pair), "alert").await;
        assert!(told.contains("wants a certificate of this node"), "{told}");
    }
}

/// Who signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("it can be made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            pem: params.self_signed(&key).expect("it can be made").pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for 127.0.0.1 and its key, in files.
    fn signed(&self, files: &Folder, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("it can be made");
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("it can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("it can be made");
        (
            files.with(&format!("{name}.crt"), &certificate.pem()),
            files.with(&format!("{name}.key"), &key.serialize_pem()),
        )
    }
}
