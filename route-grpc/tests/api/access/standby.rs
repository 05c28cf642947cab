//! A node that passes calls on, with a policy: both nodes judge the caller, and the leader judges the node.

use std::time::Duration;

use prost::Message as _;
use route_grpc::settings::NodeSettings;
use route_grpc::settings::security::SecuritySettings;
use route_proto::admin::v1alpha1::WatchTopologyResponse;
use route_proto::v1::WatchUserStatusRequest;
use route_runtime::tls::client::ClientTls;
use tonic::{Code, Status};

use super::credentials::asks;
use super::guarded::{BY_NAME, Guarded, entry, policy};
use super::kinds::lacks;
use super::log::Log;
use super::made::NODE;
use crate::attach::reason;
use crate::site::soon;
use crate::standby::{Front, GET, NAMES, WATCH};
use crate::wire::{Call, Said, Wire};

const STATS: &str = "teamtalk.admin.v1alpha1.AdminService/GetStats";
const LOG_FILTER: &str = "teamtalk.admin.v1alpha1.AdminService/SetLogFilter";
const TOPOLOGY: &str = "teamtalk.admin.v1alpha1.AdminService/WatchTopology";

/// A leader, and a node in front of it that is called `urn:NAME` and has the policy in this file.
struct Two {
    leader: Guarded,
    front: Front,
}

/// A leader, and its flags.
async fn guarded(policy: &str) -> (Guarded, SecuritySettings) {
    let mut security = None;
    let guarded = Guarded::with(policy, |it| security = Some(it.security.clone())).await;
    (guarded, security.unwrap())
}

impl Two {
    async fn start(policy: &str, name: &str) -> Self {
        Self::with(policy, name, |_, _| ()).await
    }

    async fn with(
        policy: &str,
        name: &str,
        change: impl FnOnce(&Guarded, &mut NodeSettings),
    ) -> Self {
        let (leader, security) = guarded(policy).await;
        let pair = leader.ca.client(&format!("urn:{name}"));
        let folder = &leader.folder;
        let tls = ClientTls {
            ca: Some(folder.path("ca")),
            certificate: Some(folder.put("peer.crt", &pair.certificate)),
            key: Some(folder.put("peer.key", &pair.key)),
            server_name: Some(NODE.to_owned()),
            ..ClientTls::none(NAMES)
        };
        folder.put("front-policy", policy);
        let mut front = Front::with(tls, |it| {
            it.security = security;
            it.security.policy = Some(folder.path("front-policy"));
            change(&leader, it);
        })
        .await;
        front.led_by(Some(&format!("https://{}", leader.site.address)));
        Self { leader, front }
    }

    async fn wire_of(&self, name: &str) -> Wire {
        let pair = self.leader.ca.client(&format!("urn:{name}"));
        self.leader.wire_to(self.front.address, Some(&pair)).await
    }

    async fn admin_wire_of(&self, name: &str) -> Wire {
        let pair = self.leader.ca.client(&format!("urn:{name}"));
        let address = self.front.admin_address.parse().unwrap();
        self.leader.wire_to(address, Some(&pair)).await
    }
}

fn watches() -> Said {
    let asked = WatchUserStatusRequest {
        user_ids: vec![7],
        ..WatchUserStatusRequest::default()
    };
    Said::all(&asked.encode_to_vec())
}

/// The leader has let him in, and says more.
async fn watching(wire: &Wire) -> Call {
    let mut call = wire.call(WATCH, watches()).await;
    call.next().await.unwrap();
    call
}

/// This node cannot pass calls on; its caller may come back, or go elsewhere.
fn not_taken(status: &Status, told: &str) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(reason(status), "NOT_LEADER", "{status:?}");
    assert!(status.message().contains(told), "{status:?}");
}

#[tokio::test]
async fn callers_have_at_a_standby_the_rights_that_they_have_at_the_leader() {
    let log = Log::listen();
    let two = Two::start(BY_NAME, "node").await;
    let reader = two.wire_of("reader").await;
    assert_eq!(reader.ends(GET, asks()).await.code(), Code::Ok);
    let anybody = two.leader.wire_to(two.front.address, None).await;
    let token = two.leader.issuer.token("reader");
    let status = anybody.ends(GET, asks().token(&token)).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
    let status = two.wire_of("listener").await.ends(GET, asks()).await;
    lacks(&status, "urn:listener does not have the role reader");

    let admin = two.admin_wire_of("admin").await;
    let status = admin.ends(STATS, Said::all(b"")).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
    let mut topology = admin.call(TOPOLOGY, Said::all(b"")).await;
    let state = topology.next().await.unwrap();
    let state = WatchTopologyResponse::decode(&state[5..]).unwrap();
    assert_eq!(state.stats.unwrap().passed_on_by, "front");
    let line = [
        "an operator called",
        STATS,
        "identity=\"urn:admin\"",
        "by=\"urn:node\"",
    ];
    assert!(log.has(&line), "{}", log.all());
    let status = two.admin_wire_of("reader").await;
    let status = status.ends(STATS, Said::all(b"")).await;
    lacks(&status, "urn:reader does not have the role admin");
    // What is about the standby is judged there, too. There is no log in a test.
    let status = two.admin_wire_of("reader").await;
    let status = status.ends(LOG_FILTER, Said::all(b"")).await;
    lacks(&status, "urn:reader does not have the role admin");
    let status = admin.ends(LOG_FILTER, Said::all(b"")).await;
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    // At the public port of a standby, as at that of a leader, it is for nodes.
    let status = two.wire_of("admin").await.ends(STATS, Said::all(b"")).await;
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
}

#[tokio::test]
async fn nobody_names_another_caller_to_a_standby() {
    let two = Two::start(BY_NAME, "node").await;
    let forged = super::passed_on::vouched(super::passed_on::certified("reader", 600));
    for name in ["nobody", "listener", "admin"] {
        let wire = two.wire_of(name).await;
        let said = asks().header("teamtalk-forwarded-for", forged.clone());
        lacks(
            &wire.ends(GET, said).await,
            "does not have the role node, so that it may not pass calls on",
        );
    }
}

#[tokio::test]
async fn a_node_without_the_role_passes_nothing_on_and_its_callers_may_go_elsewhere() {
    let log = Log::listen();
    for (name, policy) in [("reader", BY_NAME), ("nobody", BY_NAME)] {
        let two = Two::start(policy, name).await;
        let status = two.wire_of("reader").await.ends(GET, asks()).await;
        not_taken(&status, &format!("urn:{name} does not have the role node"));
    }
    let line = ["calls cannot be passed on to the leader", "\"refused\""];
    assert!(log.has(&line), "{}", log.all());
    // It shows nothing that the leader believes.
    let two = Two::with(BY_NAME, "node", |leader, _| {
        let other = super::made::Authority::new().client("urn:node");
        leader.folder.put("peer.crt", &other.certificate);
        leader.folder.put("peer.key", &other.key);
    });
    let two = two.await;
    let status = two.wire_of("reader").await.ends(GET, asks()).await;
    // By TLS 1.3 it hears of that only when it calls, or not at all.
    not_taken(&status, "this node does not lead, but https://");
}

#[tokio::test]
async fn a_stream_ends_when_the_policy_of_either_node_takes_its_right() {
    let of = |reader: &str, other: &str, node: &str| {
        policy(&[
            entry("urn:reader", &format!("roles = [\"{reader}\"]")),
            entry("urn:other", &format!("roles = [\"{other}\"]")),
            entry("urn:third", "roles = [\"reader\"]"),
            entry("urn:node", &format!("roles = [\"{node}\"]")),
        ])
    };
    let two = Two::start(&of("reader", "reader", "node"), "node").await;
    let reader = two.wire_of("reader").await;
    let (other, third) = (two.wire_of("other").await, two.wire_of("third").await);
    let mut at_leader = watching(&reader).await;
    let mut at_standby = watching(&other).await;
    let mut goes_on = watching(&third).await;

    let leaders = of("node", "reader", "node");
    let fronts = of("reader", "node", "node");
    let files = [("policy", &*leaders), ("front-policy", &*fronts)];
    two.leader.replace("policy", "taken", &files).await;

    lacks(
        &at_leader.end().await,
        "urn:reader does not have the role reader",
    );
    lacks(
        &at_standby.end().await,
        "urn:other does not have the role reader",
    );

    let leaders = of("reader", "reader", "reader");
    two.leader
        .replace("policy", "taken", &[("policy", &leaders)])
        .await;
    let ended = soon("the end", goes_on.end()).await;
    not_taken(&ended, "urn:node does not have the role node");
}

/// A leader counts what has begun of each call, for a node keeps the shares of its clients.
#[tokio::test]
async fn what_many_clients_have_begun_at_a_standby_is_not_one_clients() {
    let two = Two::start(BY_NAME, "node").await;
    let publish = "teamtalk.route.v1.BroadcastService/Publish";
    let mut begun = Vec::new();
    // More than one connection may have begun.
    for _ in 0..20 {
        let wire = two.wire_of("publisher").await;
        let call = wire.call(publish, Said::begun(1 << 20)).await;
        begun.push((wire, call));
    }
    let (_, last) = begun.last_mut().unwrap();
    let waits = Duration::from_millis(300);
    let refused = tokio::time::timeout(waits, last.end()).await;
    assert!(refused.is_err(), "{refused:?}");
}

/// Files of a node towards others are read for each connection; so is a token.
#[tokio::test]
async fn a_node_shows_a_token_and_reads_it_again() {
    let by_token = format!("{BY_NAME}[[allow]]\nsubject = \"node\"\nroles = [\"node\"]\n");
    let (leader, security) = guarded(&by_token).await;
    let folder = &leader.folder;
    let tls = ClientTls {
        ca: Some(folder.path("ca")),
        server_name: Some(NODE.to_owned()),
        token_file: Some(folder.put("token", &leader.issuer.token("reader"))),
        ..ClientTls::none(NAMES)
    };
    let mut front = Front::with(tls, |it| it.security = security).await;
    front.led_by(Some(&format!("https://{}", leader.site.address)));
    let pair = leader.ca.client("urn:reader");
    let wire = leader.wire_to(front.address, Some(&pair)).await;
    not_taken(
        &wire.ends(GET, asks()).await,
        "reader does not have the role node",
    );

    folder.put("token", &leader.issuer.token("node"));
    let taken = async {
        while wire.ends(GET, asks()).await.code() != Code::Ok {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    soon("the new token", taken).await;
}
