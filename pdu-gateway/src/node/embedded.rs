//! Gateway and node in one process: the only file that knows the node's crate.
//!
//! The node gets the same messages by the same function as over the network, only without one.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::Meter;
use route_grpc::Node;
use route_grpc::attach::open;
pub use route_grpc::settings::NodeSettings;
pub use route_grpc::{Addresses, OpenError, Ports};
use route_runtime::budget::Budget;
use route_runtime::listen::BindError;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use tokio_stream::StreamExt;

use crate::node::upstream::{AttachError, Place, Responses, Upstream};
use crate::unconfirmed::uplink::UplinkStream;

/// The flag of a node's public port.
const GRPC_LISTEN: &str = "--grpc-listen";

/// Sockets cannot be had, or something that is needed before.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// For MsgServers.
    #[error("--listen")]
    Pdu(#[source] BindError),
    /// For the node.
    #[error(transparent)]
    Node(#[from] OpenError),
}

/// Opens the ports of a node in this process: the public one here.
///
/// # Errors
///
/// As [`OpenError`] has it.
pub async fn open_ports(
    public: SocketAddr,
    settings: &NodeSettings,
    meter: &Meter,
) -> Result<Ports, OpenError> {
    Ports::open(settings, (GRPC_LISTEN, public), meter).await
}

/// Checks what [`open_ports`] does before it binds anything, and tells what the files say, a line each.
///
/// # Errors
///
/// As [`OpenError::Security`] has it.
pub fn check_ports(
    public: SocketAddr,
    settings: &NodeSettings,
    meter: &Meter,
) -> Result<Vec<String>, OpenError> {
    route_grpc::check(settings, (GRPC_LISTEN, public), meter)
}

/// A node in this process, and its gRPC port for others.
#[derive(Debug)]
pub struct EmbeddedNode {
    node: Arc<Node>,
    /// The node's own: it ends after the gateway has.
    shutdown: Shutdown,
}

impl EmbeddedNode {
    /// Starts a node that takes PDUs of at least `pdu_limit` bytes, holds what this budget allows, and serves gRPC. It has `deadline` to end when it is
    /// [told to](Self::end).
    pub fn start(
        mut settings: NodeSettings,
        pdu_limit: u32,
        budget: Arc<Budget>,
        meter: &Meter,
        ports: Ports,
        readiness: Readiness,
        deadline: Duration,
    ) -> Self {
        settings.pdu_limit = settings.pdu_limit.max(pdu_limit as usize);
        let shutdown = Shutdown::new(deadline);
        let node = Node::start(settings, budget, meter, shutdown.clone());
        let public = ports.serve(&node, readiness);
        shutdown.tracker().spawn(async move {
            if let Ok(Err(error)) = public.await {
                tracing::error!(%error, "the gRPC server broke");
            }
        });
        EmbeddedNode { node, shutdown }
    }

    /// Where the gateway attaches.
    pub fn upstream(&self) -> Box<dyn Upstream> {
        Box::new(InProcess(Arc::clone(&self.node)))
    }

    /// The gateway begins to close its links.
    pub fn stops(&self) {
        self.node.stops_with_its_gateway();
    }

    /// Ends the node: true. False if it had to be cut off.
    pub async fn end(self) -> bool {
        self.shutdown.finish().await
    }
}

#[derive(Debug)]
struct InProcess(Arc<Node>);

impl Upstream for InProcess {
    fn name(&self) -> &str {
        "embedded"
    }

    fn attach<'a>(
        &'a self,
        _to: &'a Place,
        requests: UplinkStream,
    ) -> Pin<Box<dyn Future<Output = Result<Responses, AttachError>> + Send + 'a>> {
        let responses = open(&self.0, requests.map(Ok), None);
        Box::pin(async { Ok(Box::pin(responses) as Responses) })
    }
}
