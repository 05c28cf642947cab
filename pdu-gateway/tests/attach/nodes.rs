//! A site of several nodes, of which one leads: over sockets.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pdu_gateway::node::remote::{ConnectionSettings, Lookup, Remote};
use pdu_gateway::node::upstream::{Place, Upstream};
use pdu_gateway::process::settings::Settings;
use pdu_gateway::unconfirmed::ledger::Keep;
use pdu_gateway::unconfirmed::uplink::Uplink;
use pdu_gateway::unconfirmed::windows::Windows;
use route_proto::attach::v1::{AttachHello, AttachWelcome, Downlink};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::Status;
use tonic::transport::Server;

use crate::harness::{Harness, NodeStream, node, within};
use crate::rounds::not_leader;
use crate::tls::{Authority, Files};

/// A leader whose term is not the newest finds that out by the hello of any gateway that knows a newer one.
#[tokio::test]
async fn a_hello_names_the_newest_term_that_has_welcomed_the_gateway() {
    let mut gateway = Harness::start(&[]).await;
    let mut told = Vec::new();
    for (epoch, term) in [(1, 7), (2, 5), (3, 0), (4, 8), (5, 0)] {
        let (node, hello) = gateway.attaching().await;
        told.push(hello.term);
        node.welcome_by(welcome(epoch, term)).await;
        node.refuse(Status::unavailable("gone")).await;
    }

    assert_eq!(told, [0, 7, 7, 7, 8]);
}

/// By the status as a node sends it.
#[tokio::test]
async fn a_standby_sends_the_gateway_to_the_leader() {
    let (leader, streams) = node(Server::builder()).await;
    let (standby, asked) = node(Server::builder()).await;
    let leads = format!("http://{leader}");
    let said = not_leader(Some(leads.clone()));
    tokio::spawn(refuses(asked, said));

    let upstreams = format!("{standby},{leader}");
    let mut gateway = Harness::start_at(&upstreams, streams, &[]).await;

    // Whichever was tried first.
    for epoch in 1..5 {
        let (stream, _) = gateway.attaching().await;
        stream.welcome_by(welcome(epoch, epoch)).await;
        gateway.ready().await;
        stream.refuse(not_leader(None)).await;
    }
    gateway.attaching().await;
    gateway.shows("teamtalk_pdu_attach_failed_total 0");
    gateway.shows("teamtalk_pdu_attach_silent_total 0");
    let shown = gateway.metrics.render();
    let line = shown
        .lines()
        .find(|it| it.starts_with("teamtalk_pdu_attach_not_leader_total"));
    let count: usize = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(count >= 4, "{count}");
}

/// A beat is a message without anything in it.
#[tokio::test]
async fn a_beat_is_acknowledged_by_a_gateway_that_has_nothing_to_say() {
    let mut gateway = Harness::start(&[]).await;
    let (mut stream, _) = gateway.attaching().await;
    stream.welcome_by(beating(1000)).await;
    gateway.ready().await;

    for number in 1..5 {
        stream.send_downlink(Downlink::default()).await;
        stream.all_taken().await;
        assert_eq!(stream.taken, number);
    }
}

/// The node's process stands still, or its network is cut: the connection stays.
#[tokio::test]
async fn a_node_that_is_silent_is_left_for_another_one() {
    let (silent, mut of_silent) = node(Server::builder()).await;
    let (other, streams) = node(Server::builder()).await;
    let upstreams = format!("{silent},{other}");
    let flags = ["--node-silence", "300ms"];
    let mut gateway = Harness::start_at(&upstreams, streams, &flags).await;

    // Whichever is tried first, the other one does not welcome it yet.
    let mut silent = tokio::select! {
        (stream, _) = gateway.attaching() => {
            stream.refuse(Status::unavailable("not yet")).await;
            within(of_silent.recv()).await
        }
        stream = of_silent.recv() => stream,
    };
    silent.as_mut().unwrap().welcome_by(beating(50)).await;
    gateway.ready().await;

    gateway.attaching().await;

    gateway.shows("teamtalk_pdu_attach_silent_total 1");
}

/// A long message over a slow network is no silence: what counts is bytes.
#[tokio::test]
async fn what_comes_from_a_node_is_heard_before_a_message_is_complete() {
    let (address, mut streams) = node(Server::builder()).await;
    let remote = remote(&format!("http://{address}"), &[], |_, _| {
        panic!("an address is not looked up")
    });
    let place = Place::new("node", Some(address));
    let uplink = uplink();
    let opened = remote.attach(&place, uplink.stream(AttachHello::default()));
    let served = async {
        let stream = streams.recv().await.unwrap();
        stream.welcome_by(welcome(1, 1)).await;
        stream
    };

    let (responses, _stream) = within(async { tokio::join!(opened, served) }).await;

    let _responses = responses.unwrap();
    let heard = async {
        while place.heard.so_far() < 50 {
            tokio::task::yield_now().await;
        }
    };
    within(heard).await;
}

/// One name, several addresses, of which each has a node: its certificate has that name.
#[tokio::test]
async fn each_address_of_a_name_is_another_node_whose_certificate_has_the_name() {
    static FOUND: OnceLock<Vec<SocketAddr>> = OnceLock::new();
    let (authority, files) = (Authority::new(), Files::new("several"));
    files.put("ca.crt", &authority.pem);
    let (first, mut of_first) =
        node(authority.server(&authority.pair("node.example"), false)).await;
    let (second, mut of_second) =
        node(authority.server(&authority.pair("node.example"), false)).await;
    let (other, _) = node(authority.server(&authority.pair("stranger.example"), false)).await;
    FOUND.set(vec![second, other, first, second]).unwrap();
    let ca = files.flag("--upstream-ca", "ca.crt");
    let remote = remote("https://node.example:7", &[&ca], |host, port| {
        assert_eq!((host.as_str(), port), ("node.example", 7));
        Box::pin(async { FOUND.get().unwrap().clone() })
    });

    let mut found = within(remote.addresses()).await;

    found.sort_unstable();
    let mut expected = vec![first, second, other];
    expected.sort_unstable();
    assert_eq!(found, expected);
    for (address, streams) in [(first, &mut of_first), (second, &mut of_second)] {
        let place = Place::new(remote.name(), Some(address));
        assert_eq!(place.name, format!("https://node.example:7 ({address})"));
        let uplink = uplink();
        let opened = remote.attach(&place, uplink.stream(AttachHello::default()));
        let _responses = within(opened).await.unwrap();
        assert!(streams.try_recv().is_ok());
    }
    let uplink = uplink();
    let place = Place::new(remote.name(), Some(other));
    let refused = remote.attach(&place, uplink.stream(AttachHello::default()));
    let problem = within(refused).await.map(|_| ()).unwrap_err().to_string();
    assert!(problem.contains("another name"), "{problem}");
}

/// What the node sent meanwhile is in the socket. A process of its own, so that the node goes on.
#[tokio::test]
async fn a_gateway_that_stood_still_does_not_leave_its_node() {
    let (address, mut streams) = node(Server::builder()).await;
    let gateway = Process::start(address);
    let mut stream = within(streams.recv()).await.unwrap();
    stream.hello().await;
    stream.welcome_by(beating(50)).await;
    stream.send_downlink(Downlink::default()).await;
    stream.all_taken().await;
    let beats = tokio::spawn(async move {
        loop {
            stream.send_downlink(Downlink::default()).await;
            stream.all_taken().await;
            sleep(Duration::from_millis(50)).await;
        }
    });

    for _ in 0..3 {
        gateway.signal("-STOP");
        sleep(Duration::from_millis(700)).await;
        gateway.signal("-CONT");
        sleep(Duration::from_millis(150)).await;
    }

    assert!(streams.try_recv().is_err(), "it has attached anew");
    assert!(!beats.is_finished(), "it takes what it is sent");
    beats.abort();
}

/// A gateway of a process of its own.
struct Process(Child);

impl Process {
    fn start(node: SocketAddr) -> Self {
        let node = node.to_string();
        let flags = [
            "--upstream",
            &node,
            "--listen=127.0.0.1:0",
            "--probe-listen=127.0.0.1:0",
            "--node-silence=400ms",
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_pdu-gateway"));
        let started = command.args(flags).stdout(Stdio::null()).spawn();
        Process(started.unwrap())
    }

    fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node that says this to each gateway.
async fn refuses(mut asked: mpsc::Receiver<NodeStream>, said: Status) {
    while let Some(stream) = asked.recv().await {
        stream.refuse(said.clone()).await;
    }
}

fn remote(url: &str, flags: &[&str], lookup: Lookup) -> Remote {
    let upstream = format!("--upstream={url}");
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
    let tls = settings.upstream_tls.client();
    Remote::resolved(url, 1 << 20, &connection, tls, lookup).unwrap()
}

fn uplink() -> Arc<Uplink> {
    let windows = Windows {
        link: 1 << 20,
        total: 1 << 20,
    };
    Uplink::new(windows, Keep::Contents)
}

fn beating(beat_millis: u32) -> AttachWelcome {
    AttachWelcome {
        beat_millis,
        ..welcome(1, 1)
    }
}

fn welcome(epoch: u64, term: u64) -> AttachWelcome {
    AttachWelcome {
        epoch,
        term,
        ..AttachWelcome::default()
    }
}
