//! `route-grpc check`: what it finds, by exit code, and that it disturbs nobody and leaves nothing
//! behind.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use route_proto::v1;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::subscribe_response::Message;
use serde_json::Value as Json;
use system_tests::deployment::probes::metric;
use system_tests::deployment::process::{Surroundings, binary};
use system_tests::deployment::{Deployment, FanOut, Setup, ports, start_node};
use system_tests::player::connection::Options;
use system_tests::player::messages;
use system_tests::stage::Stage;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::ended::{Ended, command};
use crate::says;

/// No wait here takes longer, unless something is broken.
const LIMIT: Duration = Duration::from_secs(20);

/// The first of the two users that a check holds.
const RESERVED: u32 = 4_294_967_040;

system_tests::in_both_setups! {
    all_is_well_directed: finds_all_well_and_leaves_no_trace(FanOut::Directed);
    all_is_well_broadcast: finds_all_well_and_leaves_no_trace(FanOut::Broadcast);
}

async fn finds_all_well_and_leaves_no_trace(setup: Setup, fan_out: FanOut) {
    let servers = Deployment::start(setup, fan_out).await;
    let mut stage = Stage::new("check", servers.pdu_address());
    // One MsgServer elsewhere, as most are; one on the check's own machine, which has not claimed.
    let bystanders = [("elsewhere", 2, true), ("beside", 1, false)];
    for (user, (name, last, claims)) in (1..).zip(bystanders) {
        stage.open_with(name, Options::from_loopback(last)).await;
        if claims {
            stage.send(name, messages::role(1)).await;
        }
        stage.say(name, messages::online(&[user])).await;
    }
    let mut everything = subscribe(&servers).await;

    let (pdu, grpc) = (servers.pdu_address(), servers.grpc_address());
    let found = check(&[&at(grpc), &format!("--pdu={pdu}"), "--json"]).await;

    assert_eq!(found.code, 0, "{found:?}");
    let steps: Vec<_> = found.objects().iter().map(summary).collect();
    let expected = [
        "node ok",
        "health liveness ok",
        "health readiness ok",
        "health teamtalk.route.v1.PresenceService ok",
        "health teamtalk.route.v1.BroadcastService ok",
        "health teamtalk.attach.v1.AttachService ok",
        "subscribe ok",
        "standing ok",
        "gateway ok",
        "query ok",
        "standing ok",
        "delivery ok",
        "event ok",
        "delivery ok",
        "event ok",
    ];
    assert_eq!(steps, expected);

    // The node gets to know of the end of a connection after the check does.
    gone(&servers).await;

    // Its two commands are all that subscribers have seen: no status changed. What follows stands
    // behind them.
    stage.send("elsewhere", messages::p2p(1, 2, "end")).await;
    let mut kinds = Vec::new();
    loop {
        let event = event(&mut everything).await;
        kinds.push(event.kind());
        if matches!(&event.body, Some(v1::event::Body::P2pCommand(p2p)) if p2p.to_user_id == 2) {
            break;
        }
    }
    assert_eq!(kinds, [v1::EventKind::P2pCommand; 3]);
    // Broadcast is what it says; a MsgServer ignores commands for users it does not have.
    let copies = match fan_out {
        FanOut::Directed => 0,
        FanOut::Broadcast => 2,
    };
    stage.sync("elsewhere").await;
    stage.sync("beside").await;
    assert_eq!(stage["elsewhere"].count(), copies);
    assert_eq!(stage["beside"].count(), copies + 1, "the one that follows");
}

/// Waits until the bystanders' links and sessions are all that there are.
async fn gone(servers: &Deployment) {
    let node = servers.probes().last().expect("the node's probe port");
    let all_gone = async {
        loop {
            let links = metric(*node, "teamtalk_route_links").await.expect("served");
            let sessions = metric(*node, "teamtalk_route_sessions")
                .await
                .expect("served");
            if (links, sessions) == (2.0, 2.0) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, all_gone).await.expect("nothing left behind");
}

#[tokio::test]
async fn a_node_can_be_checked_alone() {
    let servers = embedded(&[]).await;

    let found = check(&[&at(servers.grpc_address()), "--json"]).await;

    assert_eq!(found.code, 0, "{found:?}");
    let last = found.objects().pop().expect("steps");
    assert_eq!(summary(&last), "pdu skipped");
}

#[tokio::test]
async fn two_at_the_same_time_do_not_disturb_each_other() {
    let servers = embedded(&[]).await;
    let (node, pdu) = reach(&servers);
    let arguments: [&str; 2] = [&node, &pdu];

    for found in <[Ended; 2]>::from(tokio::join!(check(&arguments), check(&arguments))) {
        assert_eq!(found.code, 0, "{found:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let [nobody] = ports::free().expect("a free port");
    let found = check(&[&at(nobody)]).await;
    assert_eq!(found.code, 3, "{found:?}");
    found.says(&format!("no node answers at http://{nobody}"));

    let servers = embedded(&[]).await;
    let found = check(&[&at(servers.grpc_address()), &format!("--pdu={nobody}")]).await;
    assert_eq!(found.code, 3, "{found:?}");
    found.says(&format!("no gateway takes connections at {nobody}"));
}

/// The port for MsgServers, and the one for probes.
#[tokio::test]
async fn another_port_than_grpcs_is_unreachable() {
    let servers = embedded(&[]).await;
    let probes = *servers.probes().first().expect("a probe port");
    for wrong in [servers.pdu_address(), probes] {
        let found = check(&[&at(wrong)]).await;
        assert_eq!(found.code, 3, "{found:?}");
        found.says("no gRPC there");
        found.says("the address is that of another port");

        let status = Command::new(binary("route-grpc").expect("a built node"))
            .args(["status", &at(wrong), "1"])
            .status();
        assert_eq!(status.expect("it starts").code(), Some(3), "{wrong}");
    }
}

#[test]
fn the_exit_code_does_not_depend_on_a_reader() {
    let [nobody] = ports::free().expect("a free port");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);

    let status = Command::new(binary("route-grpc").expect("a built node"))
        .args(["check", &at(nobody)])
        .stdout(writer)
        .status();

    assert_eq!(status.expect("it starts").code(), Some(3));
}

#[tokio::test]
async fn a_node_that_waits_for_its_gateways_is_unhealthy() {
    let [grpc, probes] = ports::free().expect("free ports");
    let flags = ["--cold-start-wait=1h".to_owned()];
    let node = start_node(&Surroundings::default(), grpc, probes, &flags).expect("a built node");
    says(&node, "node started").await;

    let found = check(&[&at(grpc)]).await;

    assert_eq!(found.code, 4, "{found:?}");
    found.says("unhealthy: health readiness: not serving");
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_fails_the_round_trip() {
    let servers = embedded(&[]).await;
    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = mute.local_addr().expect("its address");

    let pdu = format!("--pdu={address}");
    let found = check(&[&at(servers.grpc_address()), &pdu, "--deadline=500ms"]).await;

    assert_eq!(found.code, 5, "{found:?}");
    found.says("query: not within 500ms");
}

#[tokio::test]
async fn a_gateway_that_does_not_admit_fails_the_round_trip() {
    let servers = embedded(&["--allow-cidr=10.0.0.0/8"]).await;

    let pdu = format!("--pdu={}", servers.pdu_address());
    let found = check(&[&at(servers.grpc_address()), &pdu]).await;

    assert_eq!(found.code, 5, "{found:?}");
    found.says("--allow-cidr");
}

#[tokio::test]
async fn behind_the_address_of_a_claimed_connection_only_queries_come_back() {
    let servers = embedded(&[]).await;
    let mut stage = Stage::new("check", servers.pdu_address());
    stage.open_with("beside", Options::from_loopback(1)).await;
    stage.send("beside", messages::role(1)).await;
    stage.say("beside", messages::list(&[])).await;
    let (node, pdu) = reach(&servers);

    for flags in [&[][..], &["--query-only"]] {
        let found = check(&[&[&node[..], &pdu, "--json"], flags].concat()).await;
        assert_eq!(found.code, 0, "{found:?}");
        let last = found.objects().last().map(summary);
        assert_eq!(last.as_deref(), Some("delivery skipped"), "{found:?}");
    }
    assert_eq!(stage["beside"].count(), 0);
}

#[tokio::test]
async fn gateways_of_forks_are_checked_in_their_dialect() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dialects/app-id.toml");
    for dialect in ["0x08xx", own] {
        let dialect = format!("--dialect={dialect}");
        let servers = embedded(&[&dialect]).await;
        let (node, pdu) = reach(&servers);

        let found = check(&[&node, &pdu, &dialect]).await;
        assert_eq!(found.code, 0, "{dialect}: {found:?}");
        assert!(!servers.output().contains("WARN"), "{}", servers.output());
    }
}

/// Its two MsgServers have one name there, so they are one.
#[tokio::test]
async fn at_a_port_with_a_name_only_queries_come_back() {
    let [named] = ports::free().expect("a free port");
    let servers = embedded(&[&format!("--listen={named}=msg-1")]).await;
    let (node, unnamed) = reach(&servers);
    let named = format!("--pdu={named}");

    for (port, end) in [(&named, "delivery skipped"), (&unnamed, "event ok")] {
        let found = check(&[&node, port, "--json"]).await;
        assert_eq!(found.code, 0, "{found:?}");
        let last = found.objects().last().map(summary);
        assert_eq!(last.as_deref(), Some(end), "{found:?}");
    }
}

#[tokio::test]
async fn users_that_somebody_has_are_left_alone() {
    let servers = embedded(&[]).await;
    let mut stage = Stage::new("check", servers.pdu_address());
    stage
        .open_with("elsewhere", Options::from_loopback(2))
        .await;
    stage
        .say("elsewhere", messages::online(&[RESERVED + 1]))
        .await;
    let (node, pdu) = reach(&servers);

    let found = check(&[&node, &pdu]).await;
    assert_eq!(found.code, 5, "{found:?}");
    found.says(&format!("user {} is online", RESERVED + 1));
    assert_eq!(stage["elsewhere"].count(), 0);

    let found = check(&[&node, &pdu, "--reserved-users=4294967050"]).await;
    assert_eq!(found.code, 0, "{found:?}");
}

#[tokio::test]
async fn a_node_without_a_stream_to_spare_fails_the_subscription() {
    let servers = embedded(&["--max-streams=1"]).await;
    let _taken = subscribe(&servers).await;

    let pdu = format!("--pdu={}", servers.pdu_address());
    let found = check(&[&at(servers.grpc_address()), &pdu]).await;

    assert_eq!(found.code, 6, "{found:?}");
    found.says("subscribe: ResourceExhausted");
}

#[tokio::test]
async fn a_wrong_command_line_is_told_from_a_wrong_server() {
    for wrong in ["--query-only", "--reserved-users=4294967295", "--nothing"] {
        assert_eq!(check(&[wrong]).await.code, 2, "{wrong}");
    }
}

fn summary(step: &Json) -> String {
    let text = |field: &str| step[field].as_str().expect("a text").to_owned();
    format!("{} {}", text("step"), text("result"))
}

async fn check(arguments: &[&str]) -> Ended {
    command(&[&["check"], arguments].concat()).await
}

async fn embedded(flags: &[&str]) -> Deployment {
    Deployment::start_with(Setup::Embedded, FanOut::Directed, flags).await
}

/// The flags for a server's node and gateway.
fn reach(servers: &Deployment) -> (String, String) {
    let pdu = format!("--pdu={}", servers.pdu_address());
    (at(servers.grpc_address()), pdu)
}

fn at(grpc: SocketAddr) -> String {
    format!("--address=http://{grpc}")
}

/// A subscription to everything, begun.
async fn subscribe(servers: &Deployment) -> Streaming<v1::SubscribeResponse> {
    let endpoint = Endpoint::from_shared(format!("http://{}", servers.grpc_address()));
    let channel = endpoint.expect("a URL").connect().await.expect("a node");
    let request = v1::SubscribeRequest::default();
    let opened = BroadcastServiceClient::new(channel)
        .subscribe(request)
        .await;
    let mut events = opened.expect("a stream").into_inner();
    let first = timeout(LIMIT, events.message()).await.expect("in time");
    let first = first.expect("no error").and_then(|first| first.message);
    assert!(matches!(first, Some(Message::Subscribed(_))), "{first:?}");
    events
}

/// The next event.
async fn event(events: &mut Streaming<v1::SubscribeResponse>) -> v1::Event {
    loop {
        let next = timeout(LIMIT, events.message()).await.expect("in time");
        let next = next.expect("no error").expect("a stream that goes on");
        if let Some(Message::Event(event)) = next.message {
            return event;
        }
    }
}
