//! Promises 4 and 5 while an operator moves all MsgServers off a gateway, and stops it then.

use std::net::SocketAddr;
use std::time::Duration;

use route_proto::admin::v1alpha1::admin_service_client::AdminServiceClient;
use route_proto::admin::v1alpha1::{
    DrainGatewayRequest, DrainGatewayResponse, DrainState, MovedMsgServer,
};
use system_tests::deployment::ports;
use system_tests::interruptions::site::{Flags, Site};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::transport::Endpoint;

use crate::late::{SERVERS, Ways};
use crate::stops::{self, Outcome};

/// Four MsgServers come back one after the other.
const PATIENCE: Duration = Duration::from_mins(1);
/// From the move of one MsgServer to that of the next one.
const SLOT: Duration = Duration::from_millis(300);
/// A MsgServer that has lost its only connection tries again after so long: nobody may be without an active link for longer.
const BACK_OFF: Duration = Duration::from_secs(4);
/// What is for it is held for so long: three times `--seat-hold`.
const HELD: Duration = Duration::from_secs(6);
/// A gateway without links has nothing to wait for.
const AT_ONCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_msg_servers_move_and_the_gateway_can_be_stopped_then() {
    let (told, outcome) = drained(Ways::Both).await;

    // Each has a connection to this gateway; every second one has claimed it.
    for moved in moved(&told) {
        let gap = gap(moved);
        assert!(gap < BACK_OFF, "{moved:?}");
    }
    assert!(outcome.sent > 500, "{outcome:#?}");
}

/// What is for one that has no connection is held until it is back by its own back-off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_of_msg_servers_with_one_connection() {
    let (told, outcome) = drained(Ways::One).await;

    for moved in moved(&told) {
        let gap = gap(moved);
        assert!((BACK_OFF / 2..HELD).contains(&gap), "{moved:?}");
    }
    assert!(outcome.sent > 500, "{outcome:#?}");
}

/// Drains the first gateway while MsgServers are at work there, and stops it.
async fn drained(ways: Ways) -> (Vec<DrainGatewayResponse>, Outcome) {
    let [admin] = ports::free().expect("a port");
    let flags = Flags {
        node: vec![format!("--admin-grpc-listen={admin}")],
        ..Flags::default()
    };
    let mut site = Site::start(&flags).await.expect("a site");
    site.node_ready()
        .await
        .expect("a node that knows all links");
    let mut told = Vec::new();

    let outcome = stops::play(&mut site, ways, 0, async |site: &mut Site| {
        told = timeout(PATIENCE, drain(admin, "gateway-0"))
            .await
            .expect("it ends");
        let refused = TcpStream::connect(site.pdu_address(0)).await;
        assert!(refused.is_err(), "it takes connections");
        let began = Instant::now();
        site.terminate_gateway(0);
        site.gateway_ended(0).await.expect("an orderly end");
        began.elapsed()
    })
    .await;

    assert!(outcome.is_clean(), "{outcome:#?}\n{}", site.output());
    assert!(outcome.time < AT_ONCE, "{outcome:#?}");
    let last = told.last().expect("progress");
    assert_eq!((last.state(), last.link_count), (DrainState::Done, 0));
    assert_eq!(last.moved_count as usize, SERVERS);
    let all: Vec<_> = moved(&told).collect();
    assert_eq!(all.len(), SERVERS, "each is told once: {told:#?}");
    for moved in all {
        assert_eq!(moved.to_gateway_id, "gateway-1", "{moved:?}");
    }
    let counts: Vec<_> = told.iter().map(|it| it.link_count).collect();
    assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
    (told, outcome)
}

fn moved(told: &[DrainGatewayResponse]) -> impl Iterator<Item = &MovedMsgServer> {
    told.iter().flat_map(|it| &it.moved)
}

/// For how long no link stood for it.
fn gap(moved: &MovedMsgServer) -> Duration {
    let gap = moved.gap_duration.expect("another link stands");
    Duration::try_from(gap).expect("a time")
}

/// Everything that is told until the gateway is empty.
async fn drain(admin: SocketAddr, gateway: &str) -> Vec<DrainGatewayResponse> {
    let endpoint = Endpoint::from_shared(format!("http://{admin}")).expect("an address");
    let mut node = AdminServiceClient::new(endpoint.connect().await.expect("a node"));
    let request = DrainGatewayRequest {
        gateway_id: gateway.to_owned(),
        slot: prost_types::Duration::try_from(SLOT).ok(),
        undo: false,
    };
    let answer = node.drain_gateway(request).await;
    let mut progress = answer.expect("it is drained").into_inner();
    let mut told = Vec::new();
    while let Some(message) = progress.message().await.expect("progress") {
        told.push(message);
    }
    told
}
