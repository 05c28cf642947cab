//! The main cases, one row each: what is sent, and which MsgServers get it.

use std::fmt::Write;
use std::net::SocketAddr;

use system_tests::deployment::{Deployment, FanOut, Setup};
use system_tests::player::messages::{self, Client, GROUP_TEXT, SINGLE_TEXT, Status};
use system_tests::player::pdu::{Pdu, command};
use system_tests::player::wire;
use system_tests::rules::server;
use system_tests::stage::Stage;

use crate::from_own_address;

system_tests::in_both_setups! {
    the_main_cases: play_on_servers();
}

async fn play_on_servers(setup: Setup) {
    let servers = Deployment::start(setup, FanOut::Directed).await;
    play(servers.pdu_address()).await;
}

#[tokio::test]
async fn the_main_cases_agree_with_the_written_rules() {
    let model = server::serve(FanOut::Directed).await;
    play(model.expect("a listener on a free port")).await;
}

/// Users of the cast.
const ANN: u32 = 101;
const BOB: u32 = 102;
const CAT: u32 = 103;
const EVE: u32 = 105;
/// Nobody has ever reported this one.
const NOBODY: u32 = 199;
/// A group; whoever has users may have members of it.
const GROUP: u32 = 900;

/// What each MsgServer has reported when the cases begin.
const CAST: [&str; 8] = [
    "sender",  // Ann on Windows, Eve on Mac
    "desktop", // Bob on Windows
    "both",    // Ann on Mac, Bob on iOS
    "mobile",  // Cat on Android
    "hidden",  // Bob on Windows, invisibly
    "empty",   // an empty list
    "silent",  // nothing
    "opaque",  // a list that cannot be read
];

async fn play(address: SocketAddr) {
    let mut stage = Stage::new("the main cases", address);
    assemble(&mut stage).await;

    let mut failures = String::new();
    for case in cases() {
        let pdu = case.pdu.encode();
        stage.raw(case.from, &pdu).await;
        stage.sync(case.from).await;
        check(&stage, &case, &mut failures);
    }
    assert!(failures.is_empty(), "{failures}");
}

/// Connects the cast and lets it report. Every second one claims first, as a MsgServer whose only
/// RouteServer this is.
async fn assemble(stage: &mut Stage) {
    use Status::{Offline, Online};
    for (number, name) in CAST.into_iter().enumerate() {
        stage.open_with(name, from_own_address(number)).await;
        if number % 2 == 0 {
            stage.send(name, messages::role(1)).await;
        }
    }
    let on_sender = [(ANN, Online, Client::Windows), (EVE, Online, Client::Mac)];
    let on_both = [(ANN, Online, Client::Mac), (BOB, Online, Client::Ios)];
    stage.list("sender", &on_sender).await;
    stage.online("desktop", &[BOB]).await;
    stage.list("both", &on_both).await;
    stage
        .list("mobile", &[(CAT, Online, Client::Android)])
        .await;
    stage
        .list("hidden", &[(BOB, Offline, Client::Windows)])
        .await;
    stage.online("empty", &[]).await;
    stage
        .send(
            "opaque",
            Pdu::new(command::ONLINE_USER_LIST, &b"\x0a\xff"[..]),
        )
        .await;
    stage.settle().await;
}

struct Case {
    what: &'static str,
    from: &'static str,
    pdu: Pdu,
    /// By its command id, who gets it: the PDU itself or the notices it causes, separated by `;`.
    reaches: &'static str,
}

/// A case that the MsgServer `sender` sends; the PDU itself reaches these.
fn sent(what: &'static str, pdu: Pdu, reaches: &'static str) -> Case {
    Case {
        what,
        from: "sender",
        pdu,
        reaches,
    }
}

/// A case in which `from` reports an update, and notices follow.
fn update(
    what: &'static str,
    from: &'static str,
    (user, status, client): (u32, Status, Client),
    reaches: &'static str,
) -> Case {
    let pdu = messages::update(user, status, client);
    Case {
        what,
        from,
        pdu,
        reaches,
    }
}

const EVERYBODY_ELSE: &str = "desktop both mobile hidden empty silent opaque";

fn cases() -> Vec<Case> {
    [forwards(), reports()].into_iter().flatten().collect()
}

fn single(from: u32, to: u32) -> Pdu {
    messages::message(from, to, 1, SINGLE_TEXT, b"hello")
}

#[rustfmt::skip]
fn forwards() -> Vec<Case> {
    let of_type = |msg_type, to| messages::message(EVE, to, 1, msg_type, b"hello");
    let p2p = |from, to| messages::p2p(from, to, "{}");
    let members = |current: &[u32], changed: &[u32]| messages::group_change(EVE, GROUP, current, changed);
    let mut all = vec![
        // messages to a user
        sent("to a user on several MsgServers", single(EVE, BOB), "desktop both hidden opaque"),
        sent("to a user on mobile only", single(EVE, CAT), "mobile opaque"),
        sent("to a user that nobody holds", single(EVE, NOBODY), "opaque"),
        sent("to a user of the sender only", single(EVE, EVE), "opaque"),
        sent("the writer has another client elsewhere", single(ANN, NOBODY), "both opaque"),
        sent("both parties elsewhere", single(ANN, CAT), "both mobile opaque"),
        sent("between users of others", single(CAT, BOB), "desktop both mobile hidden opaque"),
        sent("an audio message is like a text", of_type(0x02, BOB), "desktop both hidden opaque"),
        // messages to a group: any MsgServer with users may have members
        sent("to a group", of_type(GROUP_TEXT, GROUP), "desktop both mobile hidden empty opaque"),
        sent("audio to a group", of_type(0x12, GROUP), "desktop both mobile hidden empty opaque"),
        sent("a group whose number is a user's", of_type(GROUP_TEXT, EVE), "desktop both mobile hidden empty opaque"),
        // the other commands
        sent("p2p to a user on several MsgServers", p2p(EVE, BOB), "desktop both hidden opaque"),
        sent("p2p, the writer has another client", p2p(ANN, NOBODY), "both opaque"),
        sent("p2p to nobody", p2p(EVE, NOBODY), "opaque"),
        sent("read: the reader's clients", messages::read(BOB, CAT, 1), "desktop both hidden opaque"),
        sent("read: the writer does not matter", messages::read(NOBODY, BOB, 1), "opaque"),
        sent("removed: the user's clients", messages::remove_session(BOB, CAT), "desktop both hidden opaque"),
        sent("removed: the other party does not matter", messages::remove_session(EVE, BOB), "opaque"),
        sent("kick: a login may be on its way", messages::kick(BOB, Client::Windows), EVERYBODY_ELSE),
        sent("kick of nobody", messages::kick(NOBODY, Client::Ios), EVERYBODY_ELSE),
        sent("members: those who are", members(&[BOB, NOBODY], &[]), "desktop both hidden opaque"),
        sent("members: those who changed", members(&[], &[CAT]), "mobile opaque"),
        sent("members: both lists", members(&[CAT, EVE], &[BOB]), "desktop both mobile hidden opaque"),
        sent("members: none", members(&[], &[]), "opaque"),
        sent("file: the receiver", messages::file(BOB, CAT), "mobile opaque"),
        sent("file: the writer does not matter", messages::file(BOB, NOBODY), "opaque"),
        sent("signature: all who have users, the sender too", messages::sign_info(NOBODY, "s"), "sender desktop both mobile hidden opaque"),
        // not forwarded
        sent("a heartbeat", Pdu::bare(command::HEARTBEAT), ""),
        sent("a role", messages::role(0), ""),
        sent("an unknown command", Pdu::new(0x0703, single(EVE, BOB).body), ""),
        sent("a notice that only servers make", Pdu::new(command::DESKTOP_LOGIN_NOTICE, wire::number(1, BOB)), ""),
        // strings and fields that C++ does not mind
        sent("p2p that is not UTF-8", odd_text(), "desktop both hidden opaque"),
        sent("a message with unknown fields", with(&single(EVE, CAT), &wire::bytes(99, b"x")), "mobile opaque"),
        sent("the last of a repeated field counts", with(&single(EVE, BOB), &wire::number(2, CAT)), "mobile opaque"),
        sent("low 32 bits count", with(&single(EVE, BOB), &wire::number(2, (1u64 << 32) + u64::from(CAT))), "mobile opaque"),
        sent("packed members", with(&members(&[], &[]), &wire::bytes(4, [CAT as u8])), "mobile opaque"),
        // bodies that do not parse
        sent("a known message type, then one that is none", with(&single(EVE, BOB), &wire::number(5, 3u32)), "desktop both hidden opaque"),
        sent("only a message type that is none", untyped(), "desktop both hidden opaque"),
        sent("a message that ends too early", cut(&single(EVE, BOB)), EVERYBODY_ELSE),
        sent("a p2p command that ends too early", cut(&p2p(EVE, BOB)), EVERYBODY_ELSE),
        sent("members that end too early", cut(&members(&[BOB], &[])), EVERYBODY_ELSE),
        sent("a signature that ends too early", cut(&messages::sign_info(BOB, "s")), EVERYBODY_ELSE),
    ];
    for command in [command::MESSAGE, command::P2P_COMMAND, command::READ_RECEIPT, command::CONVERSATION_REMOVED, command::KICK_USER,
                    command::GROUP_CHANGED, command::FILE_NOTICE, command::SIGNATURE_CHANGED] {
        all.push(sent("an empty body", Pdu::bare(command), EVERYBODY_ELSE));
    }
    all
}

#[rustfmt::skip]
fn reports() -> Vec<Case> {
    use Status::{Offline, Online};
    vec![
        // notices: 0x070e to holders, then 0x0203 to those with a desktop
        update("first desktop login", "desktop", (NOBODY, Online, Client::Mac),
            "070e desktop opaque; 0203 sender desktop both hidden opaque"),
        update("last client off", "desktop", (NOBODY, Offline, Client::Mac),
            "0203 sender desktop both hidden opaque"),
        update("second desktop of a user on two MsgServers", "sender", (ANN, Online, Client::Mac),
            "070e sender both opaque; 0203 sender desktop both hidden opaque"),
        update("one of several desktops off", "sender", (ANN, Offline, Client::Mac), ""),
        update("a mobile login with a desktop elsewhere", "mobile", (ANN, Online, Client::Ios),
            "070e sender both mobile opaque"),
        update("a mobile logout", "mobile", (ANN, Offline, Client::Ios), ""),
        update("a desktop where there was only mobile", "mobile", (CAT, Online, Client::Windows),
            "070e mobile opaque; 0203 sender desktop both mobile hidden opaque"),
        update("it goes, mobile stays", "mobile", (CAT, Offline, Client::Windows),
            "070e mobile opaque; 0203 sender desktop both hidden opaque"),
        update("a user's last desktop, mobile elsewhere", "desktop", (BOB, Offline, Client::Windows),
            "070e both hidden opaque; 0203 sender both hidden opaque"),
        update("offline of somebody unknown", "empty", (NOBODY, Offline, Client::Windows),
            "0203 sender both hidden opaque"),
        update("a hidden login goes", "hidden", (BOB, Offline, Client::Windows), ""),
        update("an update does not end opacity", "opaque", (CAT, Online, Client::Android), ""),
        // A list can be read: from here on it gets what it holds.
        Case { what: "a list", from: "opaque", pdu: messages::list(&[(CAT, Online, Client::Android)]), reaches: "" },
        sent("to a user that it does not hold", single(EVE, BOB), "both"),
        sent("to a user that it holds", single(EVE, CAT), "mobile opaque"),
        // A later list takes logins away.
        Case { what: "a second list", from: "both", pdu: messages::list(&[(BOB, Offline, Client::Ios)]), reaches: "" },
        sent("to a user that it held", single(EVE, BOB), ""),
    ]
}

/// A PDU with more at the end of its body.
fn with(pdu: &Pdu, more: &[u8]) -> Pdu {
    Pdu::new(pdu.command, [&pdu.body[..], more].concat())
}

/// A PDU without the last byte of its body.
fn cut(pdu: &Pdu) -> Pdu {
    let body = pdu.body.slice(..pdu.body.len() - 1);
    Pdu::new(pdu.command, body)
}

fn odd_text() -> Pdu {
    let body = [
        wire::number(1, EVE),
        wire::number(2, BOB),
        wire::bytes(3, b"\xff\xfe"),
    ];
    Pdu::new(command::P2P_COMMAND, body.concat())
}

fn untyped() -> Pdu {
    let body = [
        wire::number(1, EVE),
        wire::number(2, BOB),
        wire::number(3, 1u32),
        wire::number(4, 1u32),
        wire::number(5, 3u32),
        wire::bytes(6, b"x"),
    ];
    Pdu::new(command::MESSAGE, body.concat())
}

/// Who got what, in the words of [`Case::reaches`], and that it came byte for byte.
fn check(stage: &Stage, case: &Case, failures: &mut String) {
    let is_update = case.pdu.command == command::USER_STATUS_UPDATE;
    let mut got: Vec<(u16, Vec<&str>)> = Vec::new();
    for name in CAST {
        let received = stage[name].received();
        stage[name].forget();
        for raw in received {
            let command = Pdu::parse(&raw).command;
            if !is_update && raw != case.pdu.encode() {
                let _ = writeln!(failures, "{}: {name} got {command:04x} changed", case.what);
            }
            match got.iter_mut().find(|(known, _)| *known == command) {
                Some((_, names)) => names.push(name),
                None => got.push((command, vec![name])),
            }
        }
    }
    // 0x070e comes before 0x0203.
    got.sort_by_key(|(command, _)| std::cmp::Reverse(*command));
    let groups: Vec<String> = got
        .iter()
        .map(|(command, names)| {
            let names = names.join(" ");
            if is_update {
                format!("{command:04x} {names}")
            } else {
                names
            }
        })
        .collect();
    let got = groups.join("; ");
    if got != case.reaches {
        let _ = writeln!(
            failures,
            "{}: expected [{}], got [{got}]",
            case.what, case.reaches
        );
    }
}
