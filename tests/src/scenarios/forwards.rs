//! What is forwarded, to whom, and that it arrives byte for byte.

use route_proto::legacy::im::message::ImMsgData;
use sha2::{Digest, Sha256};

use super::{Scenario, plays};
use crate::player::connection::Ending;
use crate::player::messages::{self, Client, SINGLE_TEXT, Status};
use crate::player::pdu::{Pdu, command};
use crate::player::wire;
use crate::stage::Stage;

pub(super) fn all() -> Vec<Scenario> {
    let mut all = plays![
        forward_sign_info_changed,
        forward_alone,
        forward_header_verbatim,
        forward_service_id_ignored,
        forward_empty_body,
        forward_malformed_body,
        forward_missing_required,
        forward_unknown_fields,
        forward_invalid_utf8,
        forward_fan_out_20,
        forward_receiver_ownership_ignored,
        forward_silent_connections_receive,
        forward_not_after_close,
        forward_late_joiner,
        forwards_change_no_status,
        role_set,
        role_set_malformed,
        heartbeat_no_answer,
        unknown_commands_ignored,
        connect_no_greeting,
    ];
    for (name, pdu) in examples() {
        all.push(Scenario::new(format!("forward_{name}"), move |stage| {
            Box::pin(forward_to_others(stage, pdu.clone()))
        }));
    }
    for (label, size) in [
        ("4KB", 4 << 10),
        ("64KB", 64 << 10),
        ("1MB", 1 << 20),
        ("5MB", 5 << 20),
    ] {
        all.push(Scenario::new(
            format!("forward_body_{label}"),
            move |stage| Box::pin(forward_body(stage, label, size)),
        ));
    }
    all
}

/// One PDU of every command that goes to all but its sender, as the recordings have them.
pub(super) fn examples() -> Vec<(&'static str, Pdu)> {
    vec![
        ("msg_data_single", single_message()),
        ("msg_data_group", group_message()),
        ("p2p_cmd", p2p()),
        ("msg_read_notify", messages::read(11, 12, 77)),
        ("kick_user", messages::kick(11, Client::Windows)),
        (
            "group_change_member_notify",
            messages::group_change(11, 900, &[11, 12, 13], &[13]),
        ),
        ("file_notify", messages::file(11, 12)),
        ("remove_session_notify", messages::remove_session(11, 12)),
    ]
}

pub(super) fn single_message() -> Pdu {
    let attach: &[u8] = b"\x00\x00\x00\x01\x00\x00\x00\x09\x00\x00\x00\x00";
    let body = ImMsgData {
        from_user_id: 11,
        to_session_id: 12,
        msg_id: 77,
        create_time: 1_700_000_000,
        msg_type: i32::from(SINGLE_TEXT),
        msg_data: (&b"hello \x00\xff binary"[..]).into(),
        attach_data: Some(attach.into()),
    };
    messages::encoded(command::MESSAGE, &body)
}

fn group_message() -> Pdu {
    let body = ImMsgData {
        from_user_id: 11,
        to_session_id: 900,
        msg_id: 78,
        create_time: 1_700_000_001,
        msg_type: i32::from(messages::GROUP_TEXT),
        msg_data: (&b"to the group"[..]).into(),
        attach_data: None,
    };
    messages::encoded(command::MESSAGE, &body)
}

pub(super) fn p2p() -> Pdu {
    messages::p2p(11, 12, "{\"cmd_id\":65538}")
}

/// The commands of [`examples`] and 0x0215, in ascending order.
fn forwarded_commands() -> Vec<u16> {
    let mut commands: Vec<_> = examples().iter().map(|(_, pdu)| pdu.command).collect();
    commands.push(command::SIGNATURE_CHANGED);
    commands.sort_unstable();
    commands.dedup();
    commands
}

/// A command goes verbatim to every connection but the sender.
async fn forward_to_others(s: &mut Stage, pdu: Pdu) {
    s.open(&["A", "B", "C"]).await;
    s.say("A", pdu.clone().sequence(4321)).await;
    s.say("C", pdu).await;
}

/// 0x0215 goes verbatim to every connection, the sender included.
async fn forward_sign_info_changed(s: &mut Stage) {
    s.open(&["A", "B", "C"]).await;
    let changed = messages::sign_info(11, "new sign \u{4f60}\u{597d}");
    s.say("A", changed.sequence(99)).await;
}

/// With a single connection, only 0x0215 comes back to it.
async fn forward_alone(s: &mut Stage) {
    s.open(&["A"]).await;
    for (_, pdu) in examples() {
        s.send("A", pdu.sequence(5)).await;
    }
    s.say("A", messages::sign_info(11, "x").sequence(6)).await;
}

/// Version, flag, service id, sequence number and reserved word are forwarded untouched.
async fn forward_header_verbatim(s: &mut Stage) {
    let odd = |pdu: Pdu, sequence| Pdu {
        version: 0x7777,
        flag: 0xbeef,
        service: 0x1234,
        sequence,
        reserved: 0xcafe,
        ..pdu
    };
    s.open(&["A", "B"]).await;
    for (_, pdu) in examples() {
        s.send("A", odd(pdu, 0xffff)).await;
    }
    s.say("A", odd(messages::sign_info(1, "s"), 0x8000)).await;
}

/// Only the command id selects the handler.
async fn forward_service_id_ignored(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    for service in [0, 1, 0xffff] {
        s.send("A", single_message().service(service)).await;
    }
    s.sync("A").await;
}

/// Every forwarded command with no body at all is still forwarded.
async fn forward_empty_body(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    for command in forwarded_commands() {
        s.send("A", Pdu::bare(command).sequence(command & 0xff))
            .await;
    }
    s.sync("A").await;
}

/// A body that is not protobuf is forwarded as it is.
async fn forward_malformed_body(s: &mut Stage) {
    let junk: Vec<u8> = (201..=255).rev().collect();
    s.open(&["A", "B"]).await;
    for command in forwarded_commands() {
        s.send("A", Pdu::new(command, junk.clone())).await;
    }
    s.sync("A").await;
}

/// Bodies without their required fields are forwarded.
async fn forward_missing_required(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    s.send("A", Pdu::new(command::MESSAGE, wire::number(1, 11u32)))
        .await;
    s.say("A", Pdu::new(command::KICK_USER, wire::number(3, 1u32)))
        .await;
}

/// Unknown fields survive the forward.
async fn forward_unknown_fields(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let known = single_message().body;
    let body = [
        known.to_vec(),
        wire::bytes(99, b"extra"),
        wire::number(100, 1u64 << 40),
    ];
    s.say("A", Pdu::new(command::MESSAGE, body.concat())).await;
}

/// Strings that are not UTF-8 are forwarded.
async fn forward_invalid_utf8(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let p2p = [
        wire::number(1, 11u32),
        wire::number(2, 12u32),
        wire::bytes(3, b"\xff\xfe\xc0"),
    ];
    let sign_info = [wire::number(1, 11u32), wire::bytes(2, b"\xc3\x28")];
    s.send("A", Pdu::new(command::P2P_COMMAND, p2p.concat()))
        .await;
    s.say(
        "A",
        Pdu::new(command::SIGNATURE_CHANGED, sign_info.concat()),
    )
    .await;
}

/// One sender, nineteen receivers: each gets exactly one copy.
async fn forward_fan_out_20(s: &mut Stage) {
    for number in 0..20 {
        s.open(&[&format!("M{number:02}")]).await;
    }
    s.say("M00", single_message().sequence(1)).await;
}

/// A message is broadcast whoever holds the receiver: the sender's own server, another, nobody.
async fn forward_receiver_ownership_ignored(s: &mut Stage) {
    s.open(&["A", "B", "C"]).await;
    let (one, two, three, four) = (s.uid(1), s.uid(2), s.uid(3), s.uid(4));
    s.online("A", &[one, two]).await;
    s.online("B", &[three]).await;
    s.sync("A").await;
    s.sync("B").await;
    for (index, to) in (0u16..).zip([two, three, four, 0]) {
        let message = messages::message(one, to, u32::from(index) + 1, SINGLE_TEXT, b"m");
        s.send("A", message.sequence(index)).await;
    }
    s.sync("A").await;
}

/// A connection that has never sent anything of its own still receives.
async fn forward_silent_connections_receive(s: &mut Stage) {
    s.open(&["A"]).await;
    s.open(&["Z"]).await;
    s.say("A", single_message()).await;
}

/// After one receiver has gone, the others keep receiving.
async fn forward_not_after_close(s: &mut Stage) {
    s.open(&["A", "B", "C"]).await;
    s.close("B", Ending::Fin).await;
    s.settle().await;
    s.say("A", p2p()).await;
}

/// There is no replay: a connection gets nothing that was sent before it connected.
async fn forward_late_joiner(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    s.say("A", single_message().sequence(1)).await;
    s.open(&["C"]).await;
    s.say("A", single_message().sequence(2)).await;
}

/// A large body is forwarded whole.
async fn forward_body(s: &mut Stage, label: &str, size: usize) {
    s.open(&["A", "B", "C"]).await;
    let data = Sha256::digest(label).repeat(size / 32);
    let message = Pdu::new(command::MESSAGE, wire::bytes(6, data));
    s.say("A", message.sequence(9)).await;
}

/// Kicks, messages and the other forwards leave the user table alone.
async fn forwards_change_no_status(s: &mut Stage) {
    s.open(&["A", "B", "C"]).await;
    let (user, other) = (s.uid(1), s.uid(2));
    s.say("A", messages::online(&[user])).await;
    s.send("B", messages::kick(user, Client::Windows)).await;
    s.say("B", messages::message(other, user, 1, SINGLE_TEXT, b"x"))
        .await;
    s.ask("C", &[user, other]).await;
}

/// 0x0707 has no answer and no visible effect: whatever the role, all send and receive alike.
async fn role_set(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    for (index, master) in (0..).zip([1, 0, 2, u32::MAX]) {
        s.send("A", messages::role(master).sequence(50 + index))
            .await;
        s.send("A", single_message().sequence(index)).await;
        s.send("B", single_message().sequence(100 + index)).await;
        s.sync("A").await;
        s.sync("B").await;
    }
    s.say(
        "A",
        messages::update(s.uid(1), Status::Online, Client::Windows),
    )
    .await;
}

/// A malformed or empty role set is dropped, and the connection stays.
async fn role_set_malformed(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    s.send("A", Pdu::bare(command::ROLE_SET)).await;
    s.send("A", Pdu::new(command::ROLE_SET, &b"\xff\xff\xff"[..]))
        .await;
    s.say("A", Pdu::new(command::ROLE_SET, wire::bytes(1, b"text")))
        .await;
    s.fact("A_open", !s["A"].is_closed());
}

/// A heartbeat, with or without body, of any service id, is not answered and not forwarded.
async fn heartbeat_no_answer(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    for service in [7, 0, 9] {
        s.send(
            "A",
            Pdu::bare(command::HEARTBEAT).service(service).sequence(3),
        )
        .await;
    }
    s.send("A", Pdu::new(command::HEARTBEAT, &b"some body"[..]))
        .await;
    let before = s["A"].heartbeats().len();
    s.sync("A").await;
    s.fact("answers", s["A"].heartbeats().len() - before);
}

/// Commands that a RouteServer does not handle are dropped, and the connection stays.
async fn unknown_commands_ignored(s: &mut Stage) {
    const UNKNOWN: [u16; 18] = [
        0x0000, 0x0001, 0x0103, 0x0203, 0x020b, 0x020e, 0x0302, 0x0303, 0x0506, 0x0702, 0x0703,
        0x0709, 0x070b, 0x070c, 0x070e, 0x070f, 0x7fff, 0xffff,
    ];
    let body = [
        wire::number(1, 1u32),
        wire::number(2, 2u32),
        wire::number(3, 3u32),
    ];
    s.open(&["A", "B"]).await;
    for command in UNKNOWN {
        let pdu = Pdu::new(command, body.concat());
        s.send("A", pdu.service(7).sequence(1)).await;
    }
    s.sync("A").await;
    s.fact("A_open", !s["A"].is_closed());
}

/// The server says nothing to a new connection, and others hear nothing of it.
async fn connect_no_greeting(s: &mut Stage) {
    s.open(&["A"]).await;
    s.say("A", messages::online(&[s.uid(1)])).await;
    s.open(&["B"]).await;
    s.sync("B").await;
}
