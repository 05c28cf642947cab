//! PDUs in a byte stream: cut anywhere, many at once, and the lengths that end a connection.

use std::time::Duration;

use super::{Scenario, forwards, plays};
use crate::player::connection::BARRIER_LIMIT;
use crate::player::messages;
use crate::player::pdu::{Pdu, command};
use crate::player::wire;
use crate::stage::Stage;

/// Within this a server has closed a connection that it means to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

pub(super) fn all() -> Vec<Scenario> {
    plays![
        framing_one_byte_segments,
        framing_many_in_one_write,
        framing_bare_header,
        framing_length_zero,
        framing_length_zero_first,
        framing_fifteen_bytes,
    ]
}

/// A PDU that arrives byte by byte.
async fn framing_one_byte_segments(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    for byte in forwards::p2p().sequence(8).encode() {
        s.raw("A", &[byte]).await;
        // The server turns to somebody else in between.
        s["B"].barrier(BARRIER_LIMIT).await;
    }
    s.sync("A").await;
}

/// Five hundred PDUs in one write.
async fn framing_many_in_one_write(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let mut all = Vec::new();
    for number in 0..500u16 {
        let read = Pdu::new(command::READ_RECEIPT, wire::number(1, number));
        all.extend(read.sequence(number).encode());
    }
    s.raw("A", &all).await;
    s.sync("A").await;
}

/// Length 16, a header only, is a valid PDU.
async fn framing_bare_header(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let bare = [
        Pdu::bare(command::MESSAGE).sequence(1),
        Pdu::bare(command::USERS_STATUS_QUERY),
        Pdu::bare(0x9999),
        Pdu::bare(command::P2P_COMMAND).sequence(2),
    ];
    let all: Vec<u8> = bare.iter().flat_map(Pdu::encode).collect();
    s.raw("A", &all).await;
    s.sync("A").await;
    s.fact("A_open", !s["A"].is_closed());
}

/// Length 0: what came before is handled, then the connection is closed and its users go.
async fn framing_length_zero(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    s.say("A", messages::online(&[s.uid(1)])).await;
    s.mute("A");
    let good = forwards::p2p().sequence(1).encode();
    let bad = Pdu::bare(command::P2P_COMMAND).encode_claiming(0);
    s.raw("A", &[&good[..], &bad, &good].concat()).await;
    let closed = s["A"].closes(CLOSE_LIMIT).await;
    s.fact("A_closed", closed);
    s.settle().await;
    s.ask("B", &[s.uid(1)]).await;
}

/// Sixteen zero bytes as the first thing sent: closed.
async fn framing_length_zero_first(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    s.mute("A");
    s.raw("A", &[0; 16]).await;
    let closed = s["A"].closes(CLOSE_LIMIT).await;
    s.fact("A_closed", closed);
    s.settle().await;
}

/// Fifteen bytes, then nothing: the server waits for the sixteenth.
async fn framing_fifteen_bytes(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    s.mute("A");
    let whole = Pdu::bare(command::MESSAGE).sequence(3).encode();
    let (most, last) = whole.split_at(15);
    s.raw("A", most).await;
    s.settle().await;
    s.fact("A_open", !s["A"].is_closed());
    s.raw("A", last).await;
    s.unmute("A");
    s.sync("A").await;
}
