//! The processes: a gateway with everything but its sockets, a node.

use std::sync::Arc;
use std::time::Duration;

use pdu_gateway::links::gateway::Gateway;
use pdu_gateway::links::link::LinkSettings;
use pdu_gateway::links::listener::Door;
use pdu_gateway::links::tick;
use pdu_gateway::node::attachment::Attachment;
use pdu_gateway::unconfirmed::windows::Windows;
use route_grpc::Node;
use route_grpc::settings::NodeSettings;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::handover::wire::Wire;
use crate::processes;

/// A gateway's process.
#[derive(Debug)]
pub(crate) struct GatewayHost {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) wire: Wire,
    pub(crate) windows: Windows,
    /// Of each link, bytes.
    pub(crate) link_queue: usize,
    door: watch::Receiver<Door>,
    tasks: [JoinHandle<()>; 2],
}

impl GatewayHost {
    pub(crate) fn start(number: usize, life: u64, windows: Windows, link_queue: usize) -> Self {
        let link_settings = LinkSettings {
            queue_bytes: link_queue,
            // MsgServers here send no heartbeats.
            idle_timeout: Duration::from_secs(24 * 3600),
            pdu_timeout: Duration::from_secs(24 * 3600),
            pdu_rate: 65_536,
            ..processes::link_settings()
        };
        let gateway = processes::gateway(number, life, windows, link_settings);
        let (wire, socket) = Wire::new();
        let (doors, door) = watch::channel(Door::Shut);
        let attachment = Attachment {
            gateway: Arc::clone(&gateway),
            upstreams: vec![Box::new(socket)],
            embedded: false,
            identity: processes::identity(number),
            patience: processes::patience(),
            doors,
            readiness: Readiness::new(),
            finished: CancellationToken::new(),
        };
        let attached = async {
            let lost = attachment.run().await;
            panic!("a gateway gives up: {lost:?}");
        };
        Self {
            tasks: [
                tokio::spawn(tick::run(Arc::clone(&gateway), processes::QUERY_TIME)),
                tokio::spawn(attached),
            ],
            gateway,
            wire,
            windows,
            link_queue,
            door,
        }
    }

    /// It takes connections.
    pub(crate) fn is_open(&self) -> bool {
        *self.door.borrow() == Door::Open
    }

    /// Everything was sent, confirmed, written.
    pub(crate) fn is_quiet(&self) -> bool {
        let backlog = self.gateway.uplink.backlog();
        self.is_open()
            && self.wire.is_quiet()
            && backlog.entries == 0
            && backlog.bytes == 0
            && self.gateway.links.queued() == 0
    }
}

impl Drop for GatewayHost {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A node's process.
#[derive(Debug)]
pub(crate) struct NodeHost {
    pub(crate) node: Arc<Node>,
    /// Which life it is, as its positions have it.
    pub(crate) life: u64,
    shutdown: Shutdown,
}

impl NodeHost {
    /// `life` counts the nodes of a schedule, from 1.
    pub(crate) fn start(life: u64, settings: NodeSettings) -> Self {
        let shutdown = Shutdown::new(Duration::from_secs(25));
        Self {
            node: processes::node(life, settings, &shutdown),
            life: processes::epoch(life),
            shutdown,
        }
    }

    /// As SIGTERM does.
    pub(crate) fn drain(&self) {
        self.shutdown.begin();
    }
}

impl Drop for NodeHost {
    fn drop(&mut self) {
        // Ends the tasks that would otherwise outlive the process. By now its streams are gone, so
        // nobody hears of it.
        self.shutdown.begin();
    }
}
