//! Who is online? The answers to 0x020a.

use super::{Scenario, plays};
use crate::player::messages::{self, Client, Status};
use crate::player::pdu::{Pdu, command};
use crate::player::wire;
use crate::stage::Stage;

pub(super) fn all() -> Vec<Scenario> {
    plays![
        status_unknown_users,
        status_zero_ids,
        status_order_and_duplicates,
        status_attach_absent,
        status_attach_empty,
        status_attach_binary,
        status_seq_and_header,
        status_extreme_ids,
        status_10k_ids,
        status_packed_ids,
        status_unknown_fields,
        status_malformed,
        status_pipelined,
    ]
}

fn query(sequence: u16, users: &[u32]) -> Pdu {
    messages::query(7, users, None).sequence(sequence)
}

/// Users that nobody has reported are OFFLINE.
async fn status_unknown_users(s: &mut Stage) {
    s.open(&["A"]).await;
    let users = [s.uid(1), s.uid(2), 1, 127, 128, 16384];
    s.say("A", query(9, &users)).await;
}

/// A request without ids gets an answer without entries.
async fn status_zero_ids(s: &mut Stage) {
    s.open(&["A"]).await;
    let query = messages::query(42, &[], None);
    s.say("A", query.sequence(10)).await;
}

/// The answer repeats the ids in the order asked, duplicates included.
async fn status_order_and_duplicates(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let (one, two, three) = (s.uid(1), s.uid(2), s.uid(3));
    let list = [
        (one, Status::Online, Client::Windows),
        (two, Status::Online, Client::Ios),
    ];
    s.say("B", messages::list(&list)).await;
    let users = [three, one, one, two, three, one];
    s.say("A", query(11, &users)).await;
}

/// No attach data in the request: present but empty in the answer.
async fn status_attach_absent(s: &mut Stage) {
    s.open(&["A"]).await;
    s.say("A", query(12, &[s.uid(1)])).await;
}

/// Empty attach data: present and empty in the answer.
async fn status_attach_empty(s: &mut Stage) {
    s.open(&["A"]).await;
    let query = messages::query(7, &[s.uid(1)], Some(b""));
    s.say("A", query.sequence(13)).await;
}

/// Attach data is echoed byte for byte, also 5 KB of it.
async fn status_attach_binary(s: &mut Stage) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let much = every_byte.repeat(20);
    s.open(&["A"]).await;
    for (number, attach) in [(14, &every_byte), (15, &much)] {
        let query = messages::query(7, &[s.uid(1)], Some(attach));
        s.say("A", query.sequence(number)).await;
    }
}

/// The answer echoes the sequence number; the rest of its header does not depend on the request's.
async fn status_seq_and_header(s: &mut Stage) {
    s.open(&["A"]).await;
    for number in [0, 1, 0x7fff, 0xffff] {
        s.say("A", query(number, &[s.uid(1)])).await;
    }
    let odd = Pdu {
        version: 9,
        flag: 8,
        service: 0x55,
        sequence: 77,
        reserved: 7,
        ..messages::query(3, &[s.uid(1)], None)
    };
    s.say("A", odd).await;
}

/// User ids 0 and 0xffffffff are ordinary, also as the requester's.
async fn status_extreme_ids(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let list = [
        (0, Status::Online, Client::Windows),
        (u32::MAX, Status::Online, Client::Windows),
    ];
    s.say("B", messages::list(&list)).await;
    for (requester, users) in [(u32::MAX, &[0, u32::MAX, u32::MAX - 1][..]), (0, &[0])] {
        let query = messages::query(requester, users, None);
        s.say("A", query.sequence(1)).await;
    }
}

/// Ten thousand ids in one request, every third online.
async fn status_10k_ids(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let users: Vec<_> = (0..10_000).map(|number| s.uid(number)).collect();
    let list: Vec<_> = (users.iter().step_by(3))
        .map(|user| (*user, Status::Online, Client::Mac))
        .collect();
    s.say("B", messages::list(&list)).await;
    s.say("A", query(500, &users)).await;
}

/// The id list is accepted in packed encoding as well, and mixed.
async fn status_packed_ids(s: &mut Stage) {
    s.open(&["A"]).await;
    let packed: Vec<_> = [1, 300, s.uid(1)]
        .into_iter()
        .flat_map(|user| wire::varint(user.into()))
        .collect();
    let body = [
        wire::number(1, 7u32),
        wire::bytes(2, packed),
        wire::number(2, 5u32),
    ];
    let query = Pdu::new(command::USERS_STATUS_QUERY, body.concat());
    s.say("A", query.sequence(1)).await;
}

/// Unknown fields, of all wire types and a group too, are skipped and not echoed.
async fn status_unknown_fields(s: &mut Stage) {
    s.open(&["A"]).await;
    let body = [
        wire::number(1, 5u32),
        wire::number(50, 1u32),
        wire::bytes(51, b"zz"),
        wire::tag(52, wire::FIXED64),
        b"12345678".to_vec(),
        wire::tag(53, wire::FIXED32),
        b"1234".to_vec(),
        wire::tag(54, wire::GROUP_START),
        wire::number(1, 9u32),
        wire::tag(54, wire::GROUP_END),
        wire::number(2, 9u32),
    ];
    let query = Pdu::new(command::USERS_STATUS_QUERY, body.concat());
    s.say("A", query.sequence(4)).await;
}

/// Malformed requests get no answer, and the connection stays.
async fn status_malformed(s: &mut Stage) {
    let good = [wire::number(1, 5u32), wire::number(2, 9u32)].concat();
    let followed_by = |more: &[u8]| [good.as_slice(), more].concat();
    let eleven_byte_varint = [&b"\x08"[..], &[0xff; 10], b"\x01", &wire::number(2, 9u32)].concat();
    let malformed = [
        Vec::new(),
        wire::number(2, 9u32),
        vec![0xff],
        followed_by(b"\x12"),
        followed_by(&[wire::tag(20, wire::DELIMITED), b"\x05ab".to_vec()].concat()),
        followed_by(b"\x00"),
        followed_by(&wire::tag(7, wire::GROUP_END)),
        followed_by(&wire::tag(7, wire::GROUP_START)),
        followed_by(&wire::tag(7, 6)),
        [wire::bytes(1, b"x"), wire::number(2, 9u32)].concat(),
        eleven_byte_varint,
        followed_by(&[wire::tag(0, wire::VARINT), vec![1]].concat()),
    ];
    s.open(&["A"]).await;
    for (number, body) in (100..).zip(malformed) {
        let query = Pdu::new(command::USERS_STATUS_QUERY, body);
        s.say("A", query.sequence(number)).await;
    }
    s.fact("A_open", !s["A"].is_closed());
}

/// Two hundred requests in one write are answered in order.
async fn status_pipelined(s: &mut Stage) {
    s.open(&["A"]).await;
    let mut requests = Vec::new();
    for number in 0..200u16 {
        let user = u32::from(number);
        let query = messages::query(user, &[user, user + 1], None);
        requests.extend(query.sequence(number).encode());
    }
    s.raw("A", &requests).await;
    s.sync("A").await;
}
