//! Connections that are none of a MsgServer's: probes of load balancers, who may not connect, proxies that nobody has told
//! of. What they leave in the log is little, and says what it is.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use system_tests::deployment::Setup;
use system_tests::player::connection::BARRIER_LIMIT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::{BAD_FRAME, CLOSED, Siege};

/// Memory that they may cost.
const GROWTH: u64 = 64 << 20;
/// How many come.
const MANY: u8 = 100;
/// What a proxy sends before it passes on a connection.
const V1: &[u8] = b"PROXY TCP4 10.0.0.7 10.0.0.5 40000 8200\r\n";
/// The same in version 2: that it speaks for itself.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// Connections that the gateway has refused.
const REFUSED: &str = "teamtalk_pdu_connections_refused_total";

system_tests::in_both_setups! {
    probes_leave_no_line: probes();
    who_may_not_connect_leaves_one: refusals();
    a_proxy_that_nobody_has_told_of_is_named: proxies(V1);
    and_so_is_one_of_version_2: proxies(V2);
}

async fn probes(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    let mut peers = Vec::new();
    for _ in 0..MANY {
        let probe = from(&siege, 9).await;
        peers.push(probe.local_addr().expect("it is connected").to_string());
    }
    grows(&siege, CLOSED, "reason=\"peer\"", MANY).await;

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
    grows(&siege, REFUSED, "reason=\"address\"", MANY).await;

    let lines = siege.lines("127.0.0.200");
    assert_eq!(lines.len(), 1, "{lines:?}");
    siege.assert_warned("connection refused");
    siege.assert_warned("its address is not in --allow-cidr");
    siege.end(GROWTH).await;
}

async fn proxies(setup: Setup, header: &[u8]) {
    let siege = Siege::begin(setup, &["--proxy-protocol-from=127.0.0.9/32"]).await;
    let told = "it sent a PROXY protocol header, but its address is not in --proxy-protocol-from";
    // As probes do, again and again: of who sends no PDU, there is one line.
    for _ in 0..MANY {
        says(from(&siege, 10).await, header).await;
    }
    grows(&siege, CLOSED, BAD_FRAME, MANY).await;
    let lines = siege.lines("127.0.0.10:");
    assert!(lines.len() == 1 && lines[0].contains(told), "{lines:?}");
    assert_eq!(siege.lines("bytes, more than the limit"), [""; 0]);

    // A proxy that speaks for itself sends no PDU either; one that does not say so is refused.
    says(from(&siege, 9).await, &[V2, &[0; 16][..]].concat()).await;
    grows(&siege, CLOSED, BAD_FRAME, MANY + 1).await;
    says(from(&siege, 9).await, &[0; 16]).await;
    grows(&siege, REFUSED, "reason=\"proxy_header\"", 1).await;
    siege.assert_warned("has to send a PROXY protocol header");
    siege.end(GROWTH).await;
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

/// Waits until the gateway has counted so many.
async fn grows(siege: &Siege, metric: &str, labels: &str, count: u8) {
    let deadline = Instant::now() + BARRIER_LIMIT;
    while siege.metric(metric, labels).await < f64::from(count) {
        assert!(
            Instant::now() < deadline,
            "{metric}{{{labels}}} is less than {count}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}
