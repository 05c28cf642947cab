//! Connections that are none of a MsgServer's: probes of load balancers, who may not connect, proxies that nobody has told
//! of. What they leave in the log is little, and says what it is.

use std::net::{Ipv4Addr, SocketAddr};

use route_proto::attach::v1::attach_request::Frame;
use route_proto::attach::v1::attach_service_client::AttachServiceClient;
use route_proto::attach::v1::{AttachHello, AttachRequest};
use system_tests::deployment::Setup;
use system_tests::player::connection::{BARRIER_LIMIT, Connection, Options};
use system_tests::player::messages::{self, SINGLE_TEXT};
use system_tests::player::pdu::{Pdu, command, command_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::kinds::At;
use crate::{BAD_FRAME, CLOSED, Siege};

/// Memory that they may cost.
const GROWTH: u64 = 64 << 20;
/// How many come.
const MANY: u8 = 100;
/// What a proxy sends before it passes on a connection.
const V1: &[u8] = b"PROXY TCP4 10.0.0.7 10.0.0.5 40000 8200\r\n";
/// The same in version 2: that it speaks for itself.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// Lines that are said of one MsgServer in a minute, and as many if another one begins.
const FEW: usize = 20;
/// Connections and streams that HTTP/2 has ended.
const HTTP2_ENDED: &str = "teamtalk_route_http2_ended_total";
/// Gateways that the node has refused.
const ATTACH_REFUSED: &str = "teamtalk_route_attach_refused_total";
/// Connections that the gateway has refused.
const REFUSED: &str = "teamtalk_pdu_connections_refused_total";

system_tests::in_both_setups! {
    probes_leave_no_line: probes();
    who_may_not_connect_leaves_one: refusals();
    who_speaks_no_http2_leaves_one: web_browsers();
    gateways_that_are_refused_leave_one: refused_gateways();
    msg_servers_that_come_and_go_leave_few: visitors();
    what_nobody_can_read_leaves_few: noise();
    a_proxy_that_nobody_has_told_of_is_named: proxies(V1);
    and_so_is_one_of_version_2: proxies(V2);
    who_lists_anothers_user_takes_nothing: impostor();
}

async fn probes(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    let mut peers = Vec::new();
    for _ in 0..MANY {
        let probe = from(&siege, 9).await;
        peers.push(probe.local_addr().expect("it is connected").to_string());
    }
    siege
        .grows(At::Gateway, CLOSED, "reason=\"peer\"", f64::from(MANY))
        .await;

    // What is said of somebody else in between is said.
    siege.connect().await.barrier(BARRIER_LIMIT).await;
    for peer in peers {
        assert_eq!(siege.lines(&peer), [""; 0]);
    }
    siege.end(GROWTH).await;
}

async fn refusals(setup: Setup) {
    let siege = Siege::begin(setup, &["--allow-cidr=127.0.0.0/25"]).await;
    for _ in 0..MANY {
        says(from(&siege, 200).await, b"").await;
    }
    siege
        .grows(At::Gateway, REFUSED, "reason=\"address\"", f64::from(MANY))
        .await;

    let lines = siege.lines("127.0.0.200");
    assert_eq!(lines.len(), 1, "{lines:?}");
    siege.assert_warned("connection refused").await;
    siege
        .assert_warned("its address is not in --allow-cidr")
        .await;
    siege.end(GROWTH).await;
}

async fn web_browsers(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    for _ in 0..MANY {
        let browser = TcpStream::connect(siege.servers.grpc_address()).await;
        says(
            browser.expect("the kernel accepts"),
            b"GET / HTTP/1.1\r\n\r\n",
        )
        .await;
    }
    let ended = siege.node_metric(HTTP2_ENDED, "reason=\"not_http2\"").await;
    assert_eq!(ended, f64::from(MANY));

    siege.assert_said_once("gRPC connection ended").await;
    siege.end(GROWTH).await;
}

async fn refused_gateways(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    let url = format!("http://{}", siege.servers.grpc_address());
    let endpoint = Endpoint::from_shared(url).expect("a URL");
    let channel = endpoint.connect().await.expect("a node");
    let mut node = AttachServiceClient::new(channel);
    for _ in 0..MANY {
        // Without an id.
        let hello = Frame::Hello(AttachHello::default());
        let hello = tokio_stream::once(AttachRequest { frame: Some(hello) });
        let refused = match node.attach(hello).await {
            Ok(responses) => responses.into_inner().message().await.map(|_| ()),
            Err(refused) => Err(refused),
        };
        let code = refused.expect_err("there is no such gateway").code();
        assert_eq!(code, Code::InvalidArgument);
    }
    let labels = "reason=\"ERROR_REASON_FIELD_INVALID\"";
    let refused = siege.node_metric(ATTACH_REFUSED, labels).await;
    assert_eq!(refused, f64::from(MANY));

    siege.assert_said_once("attach refused").await;
    siege.end(GROWTH).await;
}

async fn visitors(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    for _ in 0..MANY {
        let visitor = siege.connect().await;
        assert!(visitor.barrier(BARRIER_LIMIT).await);
    }
    siege
        .grows(At::Gateway, CLOSED, "reason=\"peer\"", f64::from(MANY))
        .await;

    let said = ["link opened", "link closed"].map(|line| siege.lines(line).len());
    let all: usize = said.iter().sum();
    assert!((1..=FEW).contains(&all), "{said:?} lines");
    siege.end(GROWTH).await;
}

async fn noise(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    for from in 0..u16::from(MANY) {
        let stranger = siege.connect().await;
        let unknown = Pdu::bare(0x7000 + from).encode();
        stranger.write(&unknown).await.expect("it is open");
        assert!(stranger.barrier(BARRIER_LIMIT).await);
    }

    let lines = siege.lines("dropping an unknown command");
    assert!((1..=FEW).contains(&lines.len()), "{} lines", lines.len());
    siege.end(GROWTH).await;
}

async fn proxies(setup: Setup, header: &[u8]) {
    let siege = Siege::begin(setup, &["--proxy-protocol-from=127.0.0.9/32"]).await;
    let told = "it sent a PROXY protocol header, but its address is not in --proxy-protocol-from";
    // As probes do, again and again: of who sends no PDU, there is one line.
    for _ in 0..MANY {
        says(from(&siege, 10).await, header).await;
    }
    siege
        .grows(At::Gateway, CLOSED, BAD_FRAME, f64::from(MANY))
        .await;
    let lines = siege.lines("127.0.0.10:");
    assert!(lines.len() == 1 && lines[0].contains(told), "{lines:?}");
    assert_eq!(siege.lines("bytes, more than the limit"), [""; 0]);

    // A proxy that speaks for itself sends no PDU either; one that does not say so is refused.
    says(from(&siege, 9).await, &[V2, &[0; 16][..]].concat()).await;
    siege
        .grows(At::Gateway, CLOSED, BAD_FRAME, f64::from(MANY + 1))
        .await;
    says(from(&siege, 9).await, &[0; 16]).await;
    siege
        .grows(
            At::Gateway,
            REFUSED,
            "reason=\"proxy_header\"",
            f64::from(1),
        )
        .await;
    siege
        .assert_warned("has to send a PROXY protocol header")
        .await;
    siege.end(GROWTH).await;
}

/// A MsgServer has users, and somebody at its address lists one of them and claims, again and again.
async fn impostor(setup: Setup) {
    let users: Vec<u32> = (500_000..500_020).collect();
    let siege = Siege::begin(setup, &[]).await;
    let options = Options::from_loopback(60);
    let join = async |users: &[u32]| {
        let list = messages::online(users);
        let joined = Connection::of_msg_server(siege.address(), options, true, &list).await;
        joined.expect("it is served")
    };
    let victim = join(&users).await;
    victim.count_matching(is_message);
    let sender = siege.connect().await;
    for (count, user) in (1..).zip(users.iter().copied()) {
        let impostor = join(&users[..1]).await;

        let message = messages::message(1, user, 1, SINGLE_TEXT, b"text");
        sender.write(&message.encode()).await.expect("it is open");

        assert!(
            victim.counts(count, BARRIER_LIMIT).await,
            "a message to {user} does not come"
        );
        assert!(!victim.is_closed());
        if user != users[0] {
            assert!(impostor.barrier(BARRIER_LIMIT).await);
            assert!(!impostor.received().iter().any(|raw| is_message(raw)));
        }
    }
    siege.end(GROWTH).await;
}

fn is_message(raw: &[u8]) -> bool {
    command_of(raw) == command::MESSAGE
}

/// A connection from the loopback address with this last number.
async fn from(siege: &Siege, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let source = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    socket.bind(source).expect("an address of this host");
    let connected = socket.connect(siege.address()).await;
    connected.expect("the kernel accepts")
}

/// Says this, and waits for the gateway to close.
async fn says(mut stranger: TcpStream, what: &[u8]) {
    stranger.write_all(what).await.expect("the kernel takes it");
    let mut answer = Vec::new();
    // A reset is an end too.
    let end = timeout(BARRIER_LIMIT, stranger.read_to_end(&mut answer)).await;
    assert!(end.is_ok(), "the gateway does not close");
}
