//! Gateway and node in one process: the only file that knows the node's crate.
//!
//! The node gets the same messages by the same function as over the network, only without one.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::Meter;
use route_grpc::attach::open;
pub use route_grpc::settings::NodeSettings;
use route_grpc::{Node, bind_admin};
use route_runtime::budget::Budget;
use route_runtime::listen::local::{LocalAddress, LocalBindError, LocalListener};
use route_runtime::listen::{self, BindError};
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio_stream::StreamExt;

use crate::node::upstream::{AttachError, Responses, Upstream};
use crate::unconfirmed::uplink::UplinkStream;

/// Sockets that a node needs, bound.
#[derive(Debug)]
pub struct NodeSockets {
    /// For the public API.
    pub grpc: TcpListener,
    /// For AdminService; none if nobody has said where, and the usual place is taken.
    pub admin: Option<LocalListener>,
}

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// For MsgServers.
    #[error("--listen")]
    Pdu(#[source] BindError),
    /// For the public API.
    #[error("--grpc-listen")]
    Grpc(#[source] BindError),
    /// For AdminService.
    #[error("--admin-grpc-listen")]
    Admin(#[source] LocalBindError),
}

impl NodeSockets {
    /// Binds the public port, and what the settings say of the admin port.
    pub async fn bind(wanted: SocketAddr, settings: &NodeSettings) -> Result<Self, SocketError> {
        let asked = settings.admin_grpc_listen.as_ref();
        let grpc = listen::bind(wanted).await.map_err(SocketError::Grpc)?;
        let address = grpc.local_addr();
        let address = address.map_err(|source| {
            SocketError::Grpc(BindError {
                address: wanted,
                source,
            })
        })?;
        let admin = bind_admin(asked, address).await;
        Ok(NodeSockets {
            admin: admin.map_err(SocketError::Admin)?,
            grpc,
        })
    }

    /// Where they are: the public port, the admin port.
    pub fn addresses(&self) -> (Option<SocketAddr>, Option<LocalAddress>) {
        let admin = self.admin.as_ref().map(|it| it.address().clone());
        (self.grpc.local_addr().ok(), admin)
    }
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
        sockets: NodeSockets,
        readiness: Readiness,
        deadline: Duration,
    ) -> Self {
        settings.pdu_limit = settings.pdu_limit.max(pdu_limit as usize);
        let shutdown = Shutdown::new(deadline);
        let node = Node::start(settings, budget, meter, shutdown.clone());
        let serving = Arc::clone(&node);
        route_grpc::serve_admin(&node, sockets.admin);
        shutdown.tracker().spawn(async move {
            if let Err(error) = route_grpc::serve(serving, sockets.grpc, readiness).await {
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

    fn attach(
        &self,
        requests: UplinkStream,
    ) -> Pin<Box<dyn Future<Output = Result<Responses, AttachError>> + Send + '_>> {
        let responses = open(&self.0, requests.map(Ok), None);
        Box::pin(async { Ok(Box::pin(responses) as Responses) })
    }
}
