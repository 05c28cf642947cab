//! Who a node is to NATS, and what it says when NATS does not believe it.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use route_grpc::engine::Engine;
use route_grpc::engine::nats::{Login, Nats, NatsSettings, TlsFiles};
use serde_json::{Value, json};
use system_tests::deployment::nats::NatsServer;
use tokio::time::timeout;

use super::{SOON, author, problem, record, settings_of, settled};

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

/// The rights that a node needs, and no others.
#[tokio::test]
async fn credentials_with_the_least_rights_are_enough_and_a_strangers_are_not() {
    let files = Folder::new("credentials");
    let (operator, system, account) = (
        KeyPairs::operator(),
        KeyPairs::account(),
        KeyPairs::account(),
    );
    let lines = operator.configuration(&[&system, &account]);
    let server = NatsServer::start_with(&lines).await.unwrap();
    let node = |file: PathBuf| {
        let settings = settings_of(vec![server.url()], "test");
        let login = Login::Credentials(file);
        Nats::start(NatsSettings { login, ..settings }).unwrap()
    };

    let right = node(files.with("right", &account.credentials()));
    assert_eq!(settled(&right).await, None);
    right.write(&record(1), &author(), None).await.unwrap();
    let another = node(files.with("another", &account.credentials()));
    assert!(settled(&another).await.is_some());
    timeout(SOON, another.changed()).await.unwrap();
    right.write(&record(2), &author(), Some(1)).await.unwrap();
    timeout(SOON, another.changed()).await.unwrap();

    let stranger = node(files.with("stranger", &KeyPairs::account().credentials()));
    let told = problem(&stranger, "authorization violation").await;
    assert!(told.contains("does not take what is in"), "{told}");
    let damaged = node(files.with("damaged", "no credentials"));
    problem(&damaged, "damaged").await;
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

/// Somebody in NATS' order of operators, accounts and users, who sign each other.
struct KeyPairs(nkeys::KeyPair);

impl KeyPairs {
    fn operator() -> Self {
        Self(nkeys::KeyPair::new_operator())
    }

    fn account() -> Self {
        Self(nkeys::KeyPair::new_account())
    }

    /// What a server has to know of its accounts; the first is its own.
    fn configuration(&self, accounts: &[&Self]) -> String {
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1
        });
        let mut own = limits.clone();
        for more in ["disk_storage", "streams", "consumer"] {
            own[more] = json!(-1);
        }
        let is_system = |number| number == 0;
        let known = accounts.iter().enumerate().map(|(number, account)| {
            let limits = if is_system(number) { &limits } else { &own };
            let public = account.0.public_key();
            let claims = json!({ "limits": limits, "type": "account", "version": 2 });
            format!("  {public}: {}\n", self.vouch(&public, &claims))
        });
        let known: String = known.collect();
        let public = self.0.public_key();
        let operator = self.vouch(&public, &json!({ "type": "operator", "version": 2 }));
        let system = accounts[0].0.public_key();
        format!(
            "operator: {operator}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload {{\n{known}}}\n"
        )
    }

    /// A file of credentials for a new user of this account.
    fn credentials(&self) -> String {
        let user = nkeys::KeyPair::new_user();
        let stream = "KV_teamtalk-test";
        let allowed = json!({
            "pub": { "allow": [
                format!("$JS.API.STREAM.INFO.{stream}"),
                format!("$JS.API.STREAM.CREATE.{stream}"),
                format!("$JS.API.STREAM.MSG.GET.{stream}"),
                "$KV.teamtalk-test.router",
                "teamtalk.test.changed",
            ] },
            "sub": { "allow": ["_INBOX.>", "teamtalk.test.changed"] },
            "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2
        });
        let jwt = self.vouch(&user.public_key(), &allowed);
        let seed = user.seed().expect("it was made with one");
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }

    /// A JWT of this issuer.
    fn vouch(&self, subject: &str, nats: &Value) -> String {
        let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let head = encode(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
        let claims = encode(json!({
            "jti": subject, "iat": 1, "iss": self.0.public_key(), "name": "test", "sub": subject, "nats": nats
        }));
        let signed = format!("{head}.{claims}");
        let signature = self.0.sign(signed.as_bytes()).expect("the key is whole");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
