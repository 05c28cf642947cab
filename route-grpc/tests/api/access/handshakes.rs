//! How connections begin: what comes to no hand-shake is counted by reason, logged, and keeps nobody else out.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use super::credentials::{GET, asks};
use super::guarded::{BY_NAME, Guarded, client_config, connect};
use super::log::Log;
use super::made::{Authority, Pair};
use crate::attach::reason;
use crate::site::{DEADLINE, Site, soon};
use crate::wire::Wire;

/// Waits until one more has failed for this reason, and sees that the log says so.
async fn failed(guarded: &Guarded, log: &Log, what: &str, (why, before): (&str, u64)) {
    let counted = async {
        while guarded.failed_handshakes(why) == before {
            tokio::task::yield_now().await;
        }
    };
    soon(&format!("{what} to be {why}"), counted).await;
    assert_eq!(guarded.failed_handshakes(why), before + 1, "{what}");
    let line = ["no TLS hand-shake", &format!("{why:?}")];
    assert!(log.has(&line), "{what}: {}", log.all());
}

/// Others are served.
async fn serves(guarded: &Guarded) {
    let wire = guarded.wire_of("reader").await;
    let status = wire.ends(GET, asks()).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}

/// Begins a hand-shake, and hears how it ends.
async fn shakes(guarded: &Guarded, shows: &Pair) {
    let shaken = guarded.shake(guarded.site.address, Some(shows)).await;
    // In TLS 1.3 a client is done before the node has seen its certificate.
    if let Ok(mut stream) = shaken {
        assert!(stream.read_u8().await.is_err(), "it is closed");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_believed_ends_the_hand_shake() {
    let log = Log::listen();
    let guarded = Guarded::start(BY_NAME).await;
    let (ca, foreign) = (&guarded.ca, Authority::new());
    for (what, pair, why) in [
        (
            "an unknown root",
            foreign.client("urn:reader"),
            "unknown_root",
        ),
        (
            "it has expired",
            ca.client_of("urn:reader", -7200, -3600),
            "expired",
        ),
        (
            "it is not valid yet",
            ca.client_of("urn:reader", 3600, 7200),
            "expired",
        ),
        (
            "its name could forge a line",
            ca.client("urn:reader\nurn:admin"),
            "certificate",
        ),
    ] {
        let before = guarded.failed_handshakes(why);
        soon(what, shakes(&guarded, &pair)).await;
        failed(&guarded, &log, what, (why, before)).await;
    }
    serves(&guarded).await;
}

#[tokio::test]
async fn clients_that_do_not_fit_are_told_apart() {
    let log = Log::listen();
    let guarded = Guarded::start(BY_NAME).await;
    let address = guarded.site.address;
    let socket = async || TcpStream::connect(address).await.unwrap();

    let before = guarded.failed_handshakes("by_client");
    let distrusts = client_config(&Authority::new(), None, &[b"h2"]);
    let shaken = connect(distrusts, socket().await).await;
    assert!(shaken.is_err());
    failed(&guarded, &log, "no trust", ("by_client", before)).await;

    let before = guarded.failed_handshakes("incompatible");
    let http1 = client_config(&guarded.ca, None, &[b"http/1.1"]);
    assert!(connect(http1, socket().await).await.is_err());
    failed(&guarded, &log, "HTTP/1 alone", ("incompatible", before)).await;

    let before = guarded.failed_handshakes("incompatible");
    let mut old = socket().await;
    old.write_all(&hello_of_tls_1_1()).await.unwrap();
    let mut alert = [0; 7];
    soon("an alert", old.read_exact(&mut alert)).await.unwrap();
    const ALERT: u8 = 0x15;
    assert_eq!(alert[0], ALERT);
    failed(&guarded, &log, "TLS 1.1", ("incompatible", before)).await;

    let before = guarded.failed_handshakes("closed");
    let mut gone = socket().await;
    gone.write_all(&hello_of_tls_1_1()[..20]).await.unwrap();
    drop(gone);
    failed(&guarded, &log, "gone", ("closed", before)).await;

    let before = guarded.failed_handshakes("protocol");
    let mut other = socket().await;
    other.write_all(&[0x16; 64]).await.unwrap();
    failed(&guarded, &log, "no TLS", ("protocol", before)).await;
    serves(&guarded).await;
}

/// As short as it may be: a version, 32 bytes by chance, no session, one cipher, no compression.
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let length = body.len() as u8;
    let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.append(&mut body);
    record
}

/// It says by its first words that it speaks HTTP/2.
#[tokio::test]
async fn a_client_that_names_no_protocol_is_served() {
    let guarded = Guarded::start(BY_NAME).await;
    let pair = guarded.ca.client("urn:reader");
    let socket = TcpStream::connect(guarded.site.address).await.unwrap();
    let stream = connect(client_config(&guarded.ca, Some(&pair), &[]), socket).await;
    let status = Wire::over(stream.unwrap()).await.ends(GET, asks()).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}

#[tokio::test]
async fn clients_without_tls_are_told_where_they_are() {
    let log = Log::listen();
    let guarded = Guarded::start(BY_NAME).await;
    let address = guarded.site.address.to_string();

    let before = guarded.failed_handshakes("plaintext");
    let status = Wire::to(&address).await.ends(GET, asks()).await;
    assert_eq!(reason(&status), "WRONG_PORT", "{status:?}");
    assert!(status.message().contains("speaks TLS"), "{status:?}");
    failed(&guarded, &log, "gRPC", ("plaintext", before)).await;

    let before = guarded.failed_handshakes("plaintext");
    let mut http1 = TcpStream::connect(&address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: node\r\n\r\n";
    http1.write_all(request).await.unwrap();
    let mut told = String::new();
    soon("a text", http1.read_to_string(&mut told))
        .await
        .unwrap();
    assert!(told.starts_with("HTTP/1.1 505 "), "{told}");
    failed(&guarded, &log, "HTTP/1", ("plaintext", before)).await;
}

#[tokio::test]
async fn a_client_of_tls_at_a_port_without_it_is_cut_off() {
    let site = Site::start().await;
    let socket = TcpStream::connect(site.address).await.unwrap();
    let config = client_config(&Authority::new(), None, &[b"h2"]);
    let shaken = soon("the end", connect(config, socket)).await;
    assert!(shaken.is_err());
    site.shows("teamtalk_route_http2_ended_total{reason=\"not_http2\",scope=\"connection\"} 1")
        .await;
}

#[tokio::test]
async fn a_hand_shake_has_a_time_limit_and_keeps_nobody_waiting() {
    let log = Log::listen();
    let guarded = Guarded::start(BY_NAME).await;
    let before = guarded.failed_handshakes("timeout");
    let mut silent = TcpStream::connect(guarded.site.address).await.unwrap();
    let mut begun = TcpStream::connect(guarded.site.address).await.unwrap();
    begun.write_all(&hello_of_tls_1_1()[..20]).await.unwrap();

    serves(&guarded).await;

    // From now on time goes on when everybody waits.
    tokio::time::pause();
    let both = async {
        assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
        assert_eq!(begun.read(&mut [0]).await.unwrap_or(0), 0);
    };
    let limit = Duration::from_secs(11);
    assert!(limit < DEADLINE);
    tokio::time::timeout(limit, both)
        .await
        .expect("they are closed");
    assert_eq!(guarded.failed_handshakes("timeout"), before + 2);
    assert!(
        log.has(&["no TLS hand-shake", "\"timeout\""]),
        "{}",
        log.all()
    );
}

#[tokio::test]
async fn a_hand_shake_that_goes_on_does_not_hold_up_a_node_that_ends() {
    let mut guarded = Guarded::start(BY_NAME).await;
    let mut begun = TcpStream::connect(guarded.site.address).await.unwrap();
    begun.write_all(&hello_of_tls_1_1()[..20]).await.unwrap();
    serves(&guarded).await;

    guarded.site.shutdown.begin();

    let ended = tokio::time::timeout(Duration::from_secs(5), &mut guarded.site.server);
    ended
        .await
        .expect("before its time limit")
        .unwrap()
        .unwrap();
    let closed = soon("the end", begun.read(&mut [0])).await;
    assert_eq!(closed.unwrap_or(0), 0);
    assert_eq!(guarded.failed_handshakes("timeout"), 0);
}
