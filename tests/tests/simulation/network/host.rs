//! What runs on the hosts: nodes and gateways with the loops and settings of production, over
//! simulated sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pdu_gateway::links::admission::{Admission, Networks};
use pdu_gateway::links::listener::{Door, Listener};
use pdu_gateway::links::network::Listen;
use pdu_gateway::links::tick;
use pdu_gateway::node::attachment::Attachment;
use pdu_gateway::node::remote::{ConnectionSettings, Remote};
use pdu_gateway::node::upstream::Upstream;
use pdu_gateway::unconfirmed::windows::Windows;
use route_grpc::settings::NodeSettings;
use route_grpc::{Access, Gateways, Role};
use route_proto::attach::v1::CloseReason;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use turmoil::net::TcpListener;

use crate::network::board::{Board, GatewayLife, NODES, NodeLife};
use crate::network::wire::{self, NodePort, Reserved};
use crate::processes;

/// Where nodes serve, and gateways.
pub(crate) const GRPC_PORT: u16 = 50051;
pub(crate) const PDU_PORT: u16 = 8200;

/// As the flags' defaults are.
const CONNECTION: ConnectionSettings = ConnectionSettings {
    connect_timeout: Duration::from_secs(3),
    keepalive_interval: Duration::from_secs(10),
    keepalive_timeout: Duration::from_secs(4),
    stream_bytes: 16 << 20,
};

/// As `--shutdown-deadline` is by default.
const DEADLINE: Duration = Duration::from_secs(25);

/// The host's name.
pub(crate) fn node_name(number: usize) -> String {
    format!("node-{number}")
}

/// The host's name.
pub(crate) fn gateway_name(number: usize) -> String {
    format!("gateway-{number}")
}

/// A node's process, until it has drained.
pub(crate) async fn node(board: Arc<Board>, number: usize) -> turmoil::Result {
    let life = NodeLife {
        number: board.next_life(),
        term: CancellationToken::new(),
    };
    let shutdown = Shutdown::new(DEADLINE);
    let node = processes::node(life.number, NodeSettings::default(), &shutdown);
    let port = TcpListener::bind((Ipv4Addr::UNSPECIFIED, GRPC_PORT)).await?;
    let term = life.term.clone();
    board.node_starts(number, life);
    tokio::spawn(async move {
        term.cancelled().await;
        shutdown.begin();
    });
    let access = Access::without_policy(&opentelemetry::global::meter("simulation"));
    let port = NodePort(port);
    let (process, role) = (Arc::clone(node.process()), Role::node(&node));
    route_grpc::serve(
        process,
        role,
        port,
        Readiness::new(),
        access,
        Gateways::Here,
    )
    .await?;
    exit(&board, node_name(number)).await
}

/// A gateway's process: what `pdu_gateway::start` puts together. `id` names it to nodes; two hosts
/// may have one.
pub(crate) async fn gateway(board: Arc<Board>, number: usize, id: usize) -> turmoil::Result {
    let windows = Windows {
        link: 8 << 20,
        total: 256 << 20,
    };
    let life = board.next_life();
    let gateway = processes::gateway(id, life, windows, processes::link_settings());
    let readiness = Readiness::new();
    let (doors, door) = watch::channel(Door::Shut);
    let upstreams = (0..NODES).map(|node| {
        let url = format!("http://{}:{GRPC_PORT}", node_name(node));
        let limit = gateway.pdu_limit();
        let remote = Remote::dialled(&url, limit, &CONNECTION, wire::dial)?;
        Ok(Box::new(remote) as Box<dyn Upstream>)
    });
    let attachment = Attachment {
        gateway: Arc::clone(&gateway),
        upstreams: upstreams.collect::<Result<_, tonic::transport::Error>>()?,
        embedded: false,
        identity: processes::identity(id),
        patience: processes::patience(),
        doors,
        readiness: readiness.clone(),
        finished: CancellationToken::new(),
    };
    let listener = Listener {
        gateway: Arc::clone(&gateway),
        name: None,
        admission: Arc::new(Admission {
            allowed: Networks::new(vec!["192.168.0.0/16".parse()?]),
            ..Admission::default()
        }),
        doors: door.clone(),
        tracker: TaskTracker::new(),
    };
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PDU_PORT));
    tokio::spawn(listener.run(Reserved::reserve(address)?));
    tokio::spawn(tick::run(Arc::clone(&gateway), processes::QUERY_TIME));
    let life = GatewayLife {
        gateway: Arc::clone(&gateway),
        door,
        readiness,
    };
    board.gateway_starts(number, life);
    let end = attachment.run().await;
    gateway.links.end_all(CloseReason::Requested);
    board.say(&format!("gateway {number} gives up: {end:?}"));
    exit(&board, gateway_name(number)).await
}

/// The schedule ends the process: only then its sockets are closed.
async fn exit(board: &Board, host: String) -> turmoil::Result {
    board.ends(host);
    std::future::pending().await
}
