//! A new service over gRPC: it follows who is online and what is routed from node to node, and
//! resumes where it was.

use std::sync::Arc;
use std::time::Duration;

use route_proto::v1::GapPolicy;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};

use crate::network::board::{Board, NODES};
use crate::network::host::{GRPC_PORT, node_name};
use crate::network::wire;
use crate::subscriber::diary::Now;

/// What clients of the API are told to set.
const CONNECT_TIME: Duration = Duration::from_secs(3);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(4);
/// Before the next node is tried.
const RETRY: Duration = Duration::from_millis(200);

/// Its process.
pub(crate) async fn run(board: Arc<Board>) -> turmoil::Result {
    tokio::spawn(subscribe(Arc::clone(&board)));
    watch(board).await;
    Ok(())
}

async fn watch(board: Arc<Board>) {
    for node in (0..NODES).cycle() {
        if let Some((channel, life)) = connect(&board, node).await {
            let mut client = PresenceServiceClient::new(channel);
            let request = board.book.lock().watch_request(GapPolicy::Unspecified);
            if let Ok(responses) = client.watch_user_status(request).await {
                let mut responses = responses.into_inner();
                while let Ok(Some(response)) = responses.message().await {
                    let now = now(&board, life);
                    board.book.lock().watched(&now, response);
                }
            }
            board.show("status: its stream is over");
            board.book.lock().left_status();
        }
        sleep(RETRY).await;
    }
}

async fn subscribe(board: Arc<Board>) {
    for node in (0..NODES).cycle() {
        if let Some((channel, life)) = connect(&board, node).await {
            let mut client = BroadcastServiceClient::new(channel);
            let request = board.book.lock().subscribe_request(GapPolicy::Unspecified);
            if let Ok(responses) = client.subscribe(request).await {
                let mut responses = responses.into_inner();
                while let Ok(Some(response)) = responses.message().await {
                    let now = now(&board, life);
                    board.book.lock().routed(&now, response);
                }
            }
            board.show("messages: its stream is over");
            board.book.lock().left_routed();
        }
        sleep(RETRY).await;
    }
}

/// A connection, and the life of the node that has accepted it.
async fn connect(board: &Board, node: usize) -> Option<(Channel, u64)> {
    let endpoint = Endpoint::from_shared(format!("http://{}:{GRPC_PORT}", node_name(node)));
    let endpoint = endpoint
        .ok()?
        .connect_timeout(CONNECT_TIME)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let channel = wire::dial(&endpoint).await.ok()?;
    Some((channel, board.node(node).epoch()))
}

/// Logs of nodes here hold everything.
fn now(board: &Board, life: u64) -> Now {
    Now {
        life,
        tail: 0,
        at: board.now(),
    }
}
