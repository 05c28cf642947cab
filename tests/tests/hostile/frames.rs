//! Bad frames: lengths that cannot be, PDUs that end too early, headers that never end.

use std::time::Duration;

use system_tests::deployment::Setup;
use system_tests::player::connection::BARRIER_LIMIT;
use system_tests::player::messages::{self, Client};
use system_tests::player::pdu::{HEADER, Pdu, command};

use crate::{Siege, every_command};

/// The gateway's default limit, header included.
const LIMIT: u32 = 16 << 20;
/// Memory that a few connections with bad frames may cost.
const GROWTH: u64 = 64 << 20;
/// Within this a server has closed a connection that it means to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Connections that begin a header and never end it.
const LORISES: usize = 200;

system_tests::in_both_setups! {
    impossible_lengths: impossible_lengths();
    truncated_pdus: truncated_pdus();
    headers_that_never_end: headers_that_never_end();
    slow_headers: slow_headers();
}

/// Every length below 16 and some beyond the limit: what came before is handled and answered, then
/// that connection is closed, and counted. A PDU of exactly the limit passes.
async fn impossible_lengths(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    let witness = siege.connect().await;
    witness.barrier(BARRIER_LIMIT).await;
    let closed_before = siege.metric(crate::CLOSED, crate::BAD_FRAME).await;
    let lengths = (0..HEADER as u32).chain([LIMIT + 1, 1 << 31, u32::MAX]);
    let mut count = 0;

    for (number, length) in (0..).zip(lengths) {
        let hostile = siege.connect().await;
        let good = messages::kick(number, Client::Mac);
        let bad = Pdu::new(command::MESSAGE, vec![0; 64]).encode_claiming(length);
        // The server may close before all of it is written.
        let question = messages::query(number, &[number], None).encode();
        let _ = hostile
            .write(&[good.encode(), question, bad].concat())
            .await;

        assert!(
            hostile.closes(CLOSE_LIMIT).await,
            "length {length} is accepted"
        );
        assert_eq!(hostile.count(), 1, "answers before length {length}");
        count += 1;
        assert!(
            witness.counts(count, BARRIER_LIMIT).await,
            "before length {length}"
        );
        assert_eq!(witness.received().last(), Some(&good.encode().into()));
    }

    let closed = siege.metric(crate::CLOSED, crate::BAD_FRAME).await - closed_before;
    assert_eq!(closed, count as f64, "connections closed for a bad frame");
    siege
        .assert_warned("a PDU claims 0 bytes, less than its header has")
        .await;
    let sender = siege.connect().await;
    let largest = Pdu::new(command::KICK_USER, vec![0; LIMIT as usize - HEADER]).encode();
    sender
        .write(&largest)
        .await
        .expect("the largest PDU passes");
    assert!(
        witness.counts(count + 1, BARRIER_LIMIT).await,
        "the largest PDU arrives"
    );
    siege.end(GROWTH + 4 * u64::from(LIMIT)).await;
}

/// A connection that ends anywhere inside any PDU: nothing of the PDU is handled, and the
/// connection ends.
async fn truncated_pdus(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    let witness = siege.connect().await;
    witness.barrier(BARRIER_LIMIT).await;

    for pdu in every_command() {
        let whole = pdu.encode();
        let mut hostile = Vec::new();
        for end in 1..whole.len() {
            let connection = siege.connect().await;
            connection
                .write(&whole[..end])
                .await
                .expect("an open connection");
            connection.half_close().expect("an open connection");
            hostile.push(connection);
        }
        for (end, connection) in (1..).zip(&hostile) {
            let what = format!("{:04x} cut at {end}", pdu.command);
            assert!(
                connection.closes(CLOSE_LIMIT).await,
                "{what} keeps its connection"
            );
            assert_eq!(connection.count(), 0, "{what} is answered");
        }
    }

    witness.barrier(BARRIER_LIMIT).await;
    assert_eq!(witness.count(), 0, "something is forwarded");
    siege.end(GROWTH).await;
}

/// Many connections that send the first bytes of a header, and one more now and then: they are
/// closed when their time is over, counted, and logged.
async fn headers_that_never_end(setup: Setup) {
    let siege = Siege::begin(setup, &["--pdu-timeout=1s"]).await;
    let closed_before = siege.metric(crate::CLOSED, crate::BAD_FRAME).await;
    let mut lorises = Vec::new();
    for _ in 0..LORISES {
        let connection = siege.connect().await;
        connection.write(&[0]).await.expect("an open connection");
        lorises.push(connection);
    }

    for connection in &lorises {
        // It may be closed already.
        let _ = connection.write(&[0]).await;
        assert!(connection.closes(CLOSE_LIMIT).await, "it is never closed");
    }

    let closed = siege.metric(crate::CLOSED, crate::BAD_FRAME).await - closed_before;
    assert_eq!(
        closed, LORISES as f64,
        "connections closed for their header"
    );
    siege.assert_warned("did not end a PDU").await;
    siege.end(GROWTH).await;
}

/// Many connections that send the first bytes of a header and no more: nobody else notices, and one
/// that goes on is served.
async fn slow_headers(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    let query = messages::query(1, &[1], None).encode();
    let mut lorises = Vec::new();
    for number in 0..LORISES {
        let connection = siege.connect().await;
        let first = &query[..1 + number % (HEADER - 1)];
        connection.write(first).await.expect("an open connection");
        lorises.push((connection, first.len()));
    }

    let witness = siege.connect().await;
    assert!(
        witness.barrier(BARRIER_LIMIT).await,
        "a new connection is served"
    );
    for (connection, written) in &lorises {
        connection
            .write(&query[*written..])
            .await
            .expect("an open connection");
        assert!(
            connection.counts(1, BARRIER_LIMIT).await,
            "a slow header is served"
        );
    }
    siege.end(GROWTH).await;
}
