//! Nodes that speak TLS, and those that do not; certificates and tokens that are replaced.

use std::fs;
use std::path::PathBuf;

use pdu_gateway::node::remote::{ConnectionSettings, Remote};
use pdu_gateway::node::upstream::{Place, Upstream};
use pdu_gateway::process::settings::Settings;
use pdu_gateway::unconfirmed::ledger::Keep;
use pdu_gateway::unconfirmed::uplink::Uplink;
use pdu_gateway::unconfirmed::windows::Windows;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use route_proto::attach::v1::AttachHello;
use route_proto::pdu::command;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use crate::harness::{Harness, node, pdu, run, within};
use crate::{claim, update};

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    certificate: rcgen::Certificate,
    key: String,
}

/// Who signs certificates.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Of a node or a gateway that has this name.
    pub(crate) fn pair(&self, name: &str) -> Pair {
        self.signed(&CertificateParams::new([name.to_owned()]).unwrap())
    }

    fn signed(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap(),
            key: key.serialize_pem(),
        }
    }

    /// A server with this certificate; it wants one of ours if it is asked to.
    pub(crate) fn server(&self, pair: &Pair, wants_certificate: bool) -> Server {
        let mut tls =
            ServerTlsConfig::new().identity(Identity::from_pem(pair.certificate.pem(), &pair.key));
        if wants_certificate {
            tls = tls.client_ca_root(Certificate::from_pem(&self.pem));
        }
        Server::builder().tls_config(tls).unwrap()
    }
}

/// Files of a test, gone after it.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("upstream-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Files(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts it there, as one step.
    pub(crate) fn put(&self, name: &str, content: &str) {
        fs::write(self.path("new"), content).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn put_pair(&self, pair: &Pair) {
        self.put("tls.crt", &pair.certificate.pem());
        self.put("tls.key", &pair.key);
    }

    pub(crate) fn flag(&self, flag: &str, name: &str) -> String {
        format!("{flag}={}", self.path(name).display())
    }

    /// Flags for all of them.
    fn flags(&self) -> Vec<String> {
        vec![
            self.flag("--upstream-ca", "ca.crt"),
            self.flag("--upstream-cert", "tls.crt"),
            self.flag("--upstream-key", "tls.key"),
            self.flag("--upstream-token-file", "token"),
        ]
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn strs(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn a_node_is_shown_certificate_and_token_as_the_files_have_them_at_each_attempt() {
    let (authority, files) = (Authority::new(), Files::new("replaced"));
    let [first, second] = [authority.pair("gw-0"), authority.pair("gw-0")];
    files.put("ca.crt", &authority.pem);
    files.put_pair(&first);
    files.put("token", " first-token\n");
    let server = authority.server(&authority.pair("127.0.0.1"), true);

    let mut gateway = Harness::start_with(server, &strs(&files.flags())).await;
    let stream = gateway.attached(1, &[]).await;
    assert_eq!(stream.authorization.as_deref(), Some("Bearer first-token"));
    assert_eq!(
        stream.certificate.as_deref(),
        Some(&first.certificate.der()[..])
    );

    files.put_pair(&second);
    files.put("token", "second-token");
    stream.refuse(Status::unavailable("draining")).await;

    let (stream, _) = gateway.attaching().await;
    assert_eq!(stream.authorization.as_deref(), Some("Bearer second-token"));
    assert_eq!(
        stream.certificate.as_deref(),
        Some(&second.certificate.der()[..])
    );
}

#[tokio::test]
async fn a_key_that_is_replaced_a_moment_after_its_certificate_is_waited_for() {
    let (authority, files) = (Authority::new(), Files::new("moment"));
    let [first, second] = [authority.pair("gw-0"), authority.pair("gw-0")];
    files.put("ca.crt", &authority.pem);
    files.put_pair(&first);
    files.put("token", "token");
    let server = authority.server(&authority.pair("127.0.0.1"), true);
    let mut gateway = Harness::start_with(server, &strs(&files.flags())).await;
    let stream = gateway.attached(1, &[]).await;

    files.put("tls.crt", &second.certificate.pem());
    stream.refuse(Status::unavailable("draining")).await;
    gateway.without_node(false).await;
    // Longer than a pair is read again: it is tried on.
    gateway
        .comes_to_show("teamtalk_pdu_attach_failed_total 2")
        .await;
    files.put("tls.key", &second.key);

    let (stream, _) = gateway.attaching().await;
    assert_eq!(
        stream.certificate.as_deref(),
        Some(&second.certificate.der()[..])
    );
}

/// A token has its time, and the node ends the stream: what MsgServers send and are sent meanwhile is neither lost nor
/// doubled.
#[tokio::test]
async fn a_stream_whose_token_has_expired_is_taken_up_with_the_new_one() {
    let files = Files::new("expired");
    files.put("token", "old");
    let flags = [
        files.flag("--upstream-token-file", "token"),
        // Nobody waits for that.
        "--upstream-back-off=60s".to_owned(),
    ];
    let mut gateway = Harness::start(&strs(&flags)).await;
    let mut node = gateway.attached(1, &[]).await;
    let (mut msg_server, link) = gateway.msg_server(&mut node).await;
    let [a, b] = [b"a", b"b"].map(|body| pdu(command::MESSAGE, 0, body));
    msg_server.send(&[claim(), update(42, 1)].concat()).await;
    node.entry().await;
    node.entry().await;
    node.deliver(run(&[link], 1, std::slice::from_ref(&a)))
        .await;
    node.all_taken().await;

    files.put("token", "new");
    node.refuse(Status::unauthenticated("the token has expired"))
        .await;
    let mut node = gateway.attached(1, &[(link, 2)]).await;
    node.deliver(run(&[link], 1, &[a.clone(), b.clone()])).await;

    assert_eq!(node.authorization.as_deref(), Some("Bearer new"));
    assert_eq!(node.entry().await.sequence, 3, "what was not confirmed");
    assert_eq!(
        [msg_server.receive().await, msg_server.receive().await],
        [a, b]
    );
}

/// A policy may be mended while the gateway tries; until then others are better placed.
#[tokio::test]
async fn a_gateway_that_is_not_let_in_tries_on_and_is_not_ready() {
    let files = Files::new("refused");
    files.put("token", "token");
    let flags = [
        files.flag("--upstream-token-file", "token"),
        "--upstream-back-off=20ms".to_owned(),
    ];
    let mut gateway = Harness::start(&strs(&flags)).await;
    let mut node = gateway.attached(1, &[]).await;
    let (_msg_server, link) = gateway.msg_server(&mut node).await;

    node.refuse(Status::unauthenticated("the token has expired"))
        .await;
    for _ in 0..3 {
        let (stream, _) = gateway.attaching().await;
        stream.refuse(Status::permission_denied("no gateway")).await;
    }
    let mut state = gateway.readiness.watch();
    let is_told = |state: &route_runtime::readiness::State| {
        !state.ready && state.reason == "the node does not let this gateway in"
    };
    within(state.wait_for(is_told)).await.unwrap();

    gateway.attached(1, &[(link, 1)]).await;
}

#[tokio::test]
async fn a_hand_shake_that_fails_says_what_to_mend() {
    let (authority, other, files) = (Authority::new(), Authority::new(), Files::new("failed"));
    files.put("ca.crt", &authority.pem);
    files.put_pair(&other.pair("gw-0"));
    let here = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let mut expired = here.clone();
    expired.not_after = date_time_ymd(2020, 1, 1);
    let mut early = here.clone();
    early.not_before = date_time_ymd(2100, 1, 1);
    early.not_after = date_time_ymd(2101, 1, 1);
    let (right, ca) = (
        authority.signed(&here),
        files.flag("--upstream-ca", "ca.crt"),
    );
    let ca = [ca.as_str()];
    let own = files.flags();
    let own = &strs(&own)[..3];

    for (server, flags, told) in [
        (
            other.server(&other.signed(&here), false),
            &ca[..],
            "signed by nobody in --upstream-ca ",
        ),
        (
            authority.server(&authority.pair("node"), false),
            &ca,
            "--upstream-server-name says which",
        ),
        (
            authority.server(&authority.signed(&expired), false),
            &ca,
            "has expired",
        ),
        (
            authority.server(&authority.signed(&early), false),
            &ca,
            "is not valid yet",
        ),
        (
            authority.server(&right, true),
            &ca,
            "give --upstream-cert and --upstream-key",
        ),
        (
            authority.server(&right, true),
            own,
            "the certificate of --upstream-cert",
        ),
        (Server::builder(), &ca, "speak TLS"),
        (authority.server(&right, false), &[], "write https://"),
    ] {
        let (address, _streams) = node(server).await;
        let problem = refusal(&address.to_string(), flags).await;
        assert!(problem.starts_with("cannot connect: "), "{problem}");
        assert!(problem.contains(told), "{told}: {problem}");
    }
}

#[tokio::test]
async fn a_port_that_ends_the_hand_shake_is_told_from_one_where_nobody_listens() {
    let files = Files::new("ended");
    files.put("ca.crt", &Authority::new().pem);
    let ca = files.flag("--upstream-ca", "ca.crt");
    let ca = [ca.as_str()];

    // As a node without TLS does.
    let resets = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = resets.local_addr().unwrap().to_string();
    tokio::spawn(async move { while resets.accept().await.is_ok() {} });
    let problem = refusal(&address, &ca).await;
    assert!(problem.contains("does it speak TLS"), "{problem}");

    let problem = refusal("127.0.0.1:1", &ca).await;
    let is_so = problem.contains("refused") && !problem.contains("certificate");
    assert!(is_so, "{problem}");
}

#[tokio::test]
async fn a_certificate_may_have_another_name_than_the_address() {
    let (authority, files) = (Authority::new(), Files::new("named"));
    files.put("ca.crt", &authority.pem);
    let server = authority.server(&authority.pair("node.example"), false);
    let flags = [
        files.flag("--upstream-ca", "ca.crt"),
        "--upstream-server-name=node.example".to_owned(),
    ];

    let mut gateway = Harness::start_with(server, &strs(&flags)).await;

    gateway.attached(1, &[]).await;
}

#[test]
fn flags_of_tls_that_do_not_fit_together_say_what_to_do() {
    for (flags, told) in [
        (
            &["--upstream=https://n:1"][..],
            "needs --upstream-ca: a file",
        ),
        (
            &["--upstream=n:1", "--upstream-ca=c", "--upstream-cert=c"],
            "needs --upstream-key",
        ),
        (
            &["--upstream=n:1", "--upstream-ca=c", "--upstream-key=k"],
            "needs --upstream-cert",
        ),
        (
            &["--upstream=http://n:1", "--upstream-ca=c"],
            "write https://",
        ),
        (
            &["--upstream=n:1", "--upstream-server-name=n"],
            "needs --upstream-ca",
        ),
        (
            &[
                "--upstream=n:1",
                "--upstream-ca=c",
                "--upstream-server-name=a b",
            ],
            "neither a name",
        ),
        (
            &["--upstream=n:1", "--upstream-token-file=t"],
            "as plain text",
        ),
        (
            &["--upstream=10.0.0.1:1", "--upstream-token-file=t"],
            "as plain text",
        ),
        (
            &["--embedded", "--upstream-token-file=t"],
            "is for nodes at --upstream",
        ),
    ] {
        let read = Settings::read(["pdu-gateway"].iter().chain(flags));
        let problem = read.map_or_else(|error| error.to_string(), |_| "taken".to_owned());
        assert!(problem.contains(told), "{flags:?}: {problem}");
    }
    for right in [
        &["--upstream=127.0.0.1:1", "--upstream-token-file=t"][..],
        &["--upstream=http://localhost:1", "--upstream-token-file=t"],
        &[
            "--upstream=n:1",
            "--upstream-ca=c",
            "--upstream-token-file=t",
        ],
    ] {
        assert!(Settings::read(["pdu-gateway"].iter().chain(right)).is_ok());
    }
}

#[test]
fn an_unreadable_file_is_told_by_its_flag_and_never_shown() {
    let files = Files::new("unreadable");
    let settings = |flag: &str, name: &str| {
        let flag = files.flag(flag, name);
        Settings::read(["pdu-gateway", "--upstream=127.0.0.1:1", &flag]).unwrap()
    };
    files.put("token", "secret\nsecret");
    files.put("long", &"secret".repeat(4000));
    files.put("empty", " \n");
    for (flag, name, told) in [
        ("--upstream-ca", "none", "cannot read"),
        ("--upstream-ca", "token", "there is no certificate in it"),
        ("--upstream-token-file", "none", "cannot be read"),
        (
            "--upstream-token-file",
            "token",
            "characters in it that no token may have",
        ),
        ("--upstream-token-file", "long", "longer than"),
        ("--upstream-token-file", "empty", "there is no token in it"),
    ] {
        let error = settings(flag, name).upstream_tls.client().read();
        let error = error.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        assert!(error.starts_with(flag), "{error}");
        let path = files.path(name);
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

/// Why a gateway with these flags cannot attach to a node there.
async fn refusal(address: &str, flags: &[&str]) -> String {
    let upstream = format!("--upstream={address}");
    let flags = ["pdu-gateway", &upstream]
        .into_iter()
        .chain(flags.iter().copied());
    let settings = Settings::read(flags).unwrap();
    let connection = ConnectionSettings {
        connect_timeout: settings.upstream_connect_timeout,
        keepalive_interval: settings.upstream_keepalive_interval,
        keepalive_timeout: settings.upstream_keepalive_timeout,
        stream_bytes: settings.upstream_stream_bytes,
    };
    let url = &settings.upstream_urls()[0];
    let tls = settings.upstream_tls.client();
    let remote = Remote::new(url, 1 << 20, &connection, tls).unwrap();
    let windows = Windows {
        link: 1 << 20,
        total: 1 << 20,
    };
    let uplink = Uplink::new(windows, Keep::Contents);
    let addresses = within(remote.addresses()).await;
    let place = Place::new(url, addresses.first().copied());
    let opened = within(remote.attach(&place, uplink.stream(AttachHello::default()))).await;
    opened.map(|_| ()).unwrap_err().to_string()
}
