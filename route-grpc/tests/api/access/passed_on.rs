//! Calls that other nodes pass on: the leader judges those for whom a node vouches, and believes nobody else.

use std::time::{Duration, SystemTime};

use prost::Message as _;
use route_access::{Certificate, Identity, Token, Vouched};
use route_proto::v1::WatchUserStatusRequest;
use tonic::{Code, Status};

use super::credentials::{GET, asks};
use super::guarded::{BY_NAME, Guarded, entry, policy};
use super::kinds::lacks;
use super::log::Log;
use super::made::{ISSUER, now};
use crate::attach::reason;
use crate::site::Site;
use crate::wire::{Said, Wire};

const FOR: &str = "teamtalk-forwarded-for";
const REFUSED_NODE: &str = "teamtalk-refused-node";
const STATS: &str = "teamtalk.admin.v1alpha1.AdminService/GetStats";
const WATCH: &str = "teamtalk.route.v1.PresenceService/WatchUserStatus";
const ATTACH: &str = "teamtalk.attach.v1.AttachService/Attach";

/// Somebody with a certificate for `urn:NAME` that is good for so many seconds.
pub(crate) fn certified(name: &str, seconds: i64) -> Identity {
    let until = now().strict_add_signed(seconds);
    Identity {
        certificate: Some(Certificate {
            uris: vec![format!("urn:{name}")],
            dns: Vec::new(),
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(until),
        }),
        token: None,
    }
}

/// Somebody with a token of the subject NAME that is good for so many seconds.
fn with_token(name: &str, seconds: i64) -> Identity {
    let until = now().strict_add_signed(seconds);
    Identity {
        certificate: None,
        token: Some(Token {
            subject: name.to_owned(),
            groups: Vec::new(),
            issuer: Some(ISSUER.to_owned()),
            expires: SystemTime::UNIX_EPOCH + Duration::from_secs(until),
        }),
    }
}

/// What a node says of him.
pub(crate) fn vouched(identity: Identity) -> String {
    let is_local = false;
    Vouched { identity, is_local }.to_text()
}

fn of(name: &str) -> String {
    vouched(certified(name, 600))
}

fn watches() -> Said {
    let asked = WatchUserStatusRequest {
        user_ids: vec![7],
        ..WatchUserStatusRequest::default()
    };
    Said::all(&asked.encode_to_vec())
}

/// It concerns the node, not its caller.
fn is_of_node(status: &Status) -> bool {
    status.metadata().contains_key(REFUSED_NODE)
}

/// Refused because whoever says that he passes it on may not.
fn refused_as_node(status: &Status, told: &str) {
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert_eq!(reason(status), "NOT_ALLOWED", "{status:?}");
    assert!(status.message().contains(told), "{status:?}");
    assert!(is_of_node(status), "{status:?}");
}

#[tokio::test]
async fn a_call_that_a_node_passes_on_is_judged_as_its_callers() {
    let log = Log::listen();
    let guarded = Guarded::start(BY_NAME).await;
    let node = guarded.wire_of("node").await;
    let local = Vouched {
        is_local: true,
        ..Vouched::default()
    };
    for (method, said, who) in [
        (GET, asks(), of("reader")),
        (GET, asks(), vouched(with_token("reader", 600))),
        (STATS, Said::all(b""), of("admin")),
        (STATS, Said::all(b""), local.to_text()),
    ] {
        let status = node.ends(method, said.header(FOR, who)).await;
        assert_eq!(status.code(), Code::Ok, "{method}: {status:?}");
    }
    for who in ["\"urn:admin\"", "\"local\""] {
        let who = format!("identity={who}");
        let line = ["an operator called", STATS, &who, "by=\"urn:node\""];
        assert!(log.has(&line), "{}", log.all());
    }
    for (method, said, who, role) in [
        (GET, asks(), "nobody", "reader"),
        (GET, asks(), "listener", "reader"),
        (GET, asks(), "node", "reader"),
        (STATS, Said::all(b""), "reader", "admin"),
    ] {
        let status = node.ends(method, said.header(FOR, of(who))).await;
        lacks(&status, &format!("urn:{who} does not have the role {role}"));
        assert!(!is_of_node(&status), "{status:?}");
    }
    let status = node.ends(GET, asks().header(FOR, vouched(Identity::default())));
    assert_eq!(reason(&status.await), "CREDENTIAL_MISSING");
    // For itself it may nothing of all that.
    let status = node.ends(GET, asks()).await;
    lacks(&status, "urn:node does not have the role reader");
}

#[tokio::test]
async fn whoever_is_no_node_says_for_nobody() {
    let log = Log::listen();
    let guarded = Guarded::start(BY_NAME).await;
    let names = [
        "reader",
        "listener",
        "publisher",
        "gateway",
        "admin",
        "nobody",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let wire = guarded.wire_of(name).await;
        for (method, said) in [(GET, asks()), (STATS, Said::all(b""))] {
            let status = wire.ends(method, said.header(FOR, of("admin"))).await;
            refused_as_node(&status, "does not have the role node");
        }
        assert_eq!(guarded.refusals("forwarding"), 2 * (number as u64 + 1));
    }
    assert!(
        log.has(&["a call was refused", "\"forwarding\""]),
        "{}",
        log.all()
    );
    // Neither by a token, nor by nothing, nor by a token that is wrong.
    let anybody = guarded.wire(None).await;
    let token = guarded.issuer.token("reader");
    for said in [asks(), asks().token(&token), asks().token("x")] {
        let status = anybody.ends(GET, said.header(FOR, of("reader"))).await;
        refused_as_node(&status, FOR);
    }
    // AdminService is at its own port for everybody but nodes.
    for name in ["admin", "node"] {
        let wire = guarded.wire_of(name).await;
        let status = wire.ends(STATS, Said::all(b"")).await;
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    }
}

#[tokio::test]
async fn what_a_node_says_is_read_to_the_letter_or_not_at_all() {
    let guarded = Guarded::start(BY_NAME).await;
    let node = guarded.wire_of("node").await;
    for text in ["", "e30=", "reader", "eyJyb2xlcyI6WyJhZG1pbiJdfQ"] {
        let status = node.ends(GET, asks().header(FOR, text)).await;
        refused_as_node(&status, "cannot be read");
    }
    let twice = asks().header(FOR, of("reader")).header(FOR, of("reader"));
    refused_as_node(&node.ends(GET, twice).await, "twice");
    let attach = Said::all(b"").header(FOR, of("gateway"));
    refused_as_node(&node.ends(ATTACH, attach).await, "no node passes on");
    let filter = "teamtalk.admin.v1alpha1.AdminService/SetLogFilter";
    let filter = node.ends(filter, Said::all(b"").header(FOR, of("admin")));
    refused_as_node(&filter.await, "no node passes on");
    let unknown = "teamtalk.admin.v1alpha1.AdminService/Guess";
    let unknown = node.ends(unknown, Said::all(b"").header(FOR, of("admin")));
    lacks(&unknown.await, "no role may call it");
    for who in [certified("reader", -2), with_token("reader", -2)] {
        let status = node.ends(GET, asks().header(FOR, vouched(who))).await;
        assert_eq!(reason(&status), "CREDENTIAL_INVALID", "{status:?}");
        assert!(!is_of_node(&status), "{status:?}");
    }
    // What it has shown there may be as long as what it may show here.
    let many = Certificate {
        uris: vec![
            format!("urn:{}", "x".repeat(12 << 10)),
            "urn:reader".to_owned(),
        ],
        ..certified("reader", 600).certificate.unwrap()
    };
    let many = Identity {
        certificate: Some(many),
        token: None,
    };
    let full = asks().header("x", "x".repeat(20 << 10));
    let status = node.ends(GET, full.header(FOR, vouched(many))).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}

#[tokio::test]
async fn a_stream_that_was_passed_on_ends_when_its_caller_or_its_node_may_no_more() {
    let of_policy = |reader: &str, node: &str| {
        policy(&[
            entry("urn:reader", &format!("roles = [\"{reader}\"]")),
            entry("urn:other", "roles = [\"reader\"]"),
            entry("urn:node", &format!("roles = [\"{node}\"]")),
        ])
    };
    let guarded = Guarded::start(&of_policy("reader", "node")).await;
    let wire = guarded.wire_of("node").await;
    let call = async |who: String| {
        let mut call = wire.call(WATCH, watches().header(FOR, who)).await;
        call.next().await.unwrap();
        call
    };
    let mut first = call(of("reader")).await;
    let mut expires = call(vouched(certified("other", 2))).await;
    let mut second = call(of("other")).await;

    let after = of_policy("node", "node");
    guarded
        .replace("policy", "taken", &[("policy", &after)])
        .await;
    let ended = first.end().await;
    lacks(&ended, "urn:reader does not have the role reader");
    assert!(!is_of_node(&ended), "{ended:?}");
    let ended = expires.end().await;
    assert_eq!(reason(&ended), "CREDENTIAL_INVALID", "{ended:?}");
    assert!(!is_of_node(&ended), "{ended:?}");

    let after = of_policy("reader", "reader");
    guarded
        .replace("policy", "taken", &[("policy", &after)])
        .await;
    refused_as_node(&second.end().await, "urn:node does not have the role node");
}

#[tokio::test]
async fn limits_are_of_whoever_calls_by_whichever_node() {
    let guarded = Guarded::start(&policy(&[
        entry(
            "urn:reader",
            "roles = [\"reader\"]\nlimits = { streams = 2 }",
        ),
        entry("urn:node", "roles = [\"node\"]"),
    ]))
    .await;
    let (own, node) = (
        guarded.wire_of("reader").await,
        guarded.wire_of("node").await,
    );
    let mut first = own.call(WATCH, watches()).await;
    first.next().await.unwrap();
    let mut second = node.call(WATCH, watches().header(FOR, of("reader"))).await;
    second.next().await.unwrap();

    let status = node.ends(WATCH, watches().header(FOR, of("reader"))).await;
    assert_eq!(reason(&status), "STREAM_LIMIT", "{status:?}");
    let status = own.ends(WATCH, watches()).await;
    assert_eq!(reason(&status), "STREAM_LIMIT", "{status:?}");
}

/// There nobody can tell who is a node.
#[tokio::test]
async fn without_a_policy_nobody_is_believed() {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    for who in [of("nobody"), "x".to_owned()] {
        let status = wire.ends(GET, asks().header(FOR, who.clone())).await;
        assert_eq!(status.code(), Code::Ok, "as without it: {status:?}");
        let status = wire.ends(STATS, Said::all(b"").header(FOR, who)).await;
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    }
}
