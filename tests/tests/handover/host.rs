//! The processes: a gateway with everything but its sockets, a node.

use std::sync::Arc;
use std::time::Duration;

use pdu_gateway::attach::{Attachment, Identity, Patience};
use pdu_gateway::gateway::Gateway;
use pdu_gateway::ledger::Keep;
use pdu_gateway::link::LinkSettings;
use pdu_gateway::links::{ConnectionLimits, Links};
use pdu_gateway::listener::Door;
use pdu_gateway::tick;
use pdu_gateway::translate::Dialect;
use pdu_gateway::uplink::{Uplink, Windows};
use route_grpc::Node;
use route_grpc::settings::NodeSettings;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::wire::Wire;

/// A gateway's process.
#[derive(Debug)]
pub(crate) struct GatewayHost {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) wire: Wire,
    pub(crate) windows: Windows,
    door: watch::Receiver<Door>,
    tasks: [JoinHandle<()>; 2],
}

impl GatewayHost {
    pub(crate) fn start(number: usize, life: u64, windows: Windows) -> Self {
        let limits = ConnectionLimits {
            total: 1000,
            per_source: 1000,
        };
        let link_settings = LinkSettings {
            queue_bytes: 64 << 20,
            heartbeat_interval: Duration::from_secs(5),
            // MsgServers here send no heartbeats.
            idle_timeout: Duration::from_secs(24 * 3600),
            write_timeout: Duration::from_secs(30),
            first_pdu_timeout: Duration::from_secs(24 * 3600),
            kick_age: Duration::from_secs(2),
            host_timeout: Duration::from_secs(15),
            close_timeout: Duration::from_secs(5),
            remembered_origins: Some(8192),
        };
        let mut gateway = Gateway::new(
            Dialect::strict(),
            link_settings,
            Links::new(limits),
            Uplink::new(windows, Keep::Contents),
            16 << 20,
        );
        Arc::get_mut(&mut gateway)
            .expect("nobody else has it yet")
            .incarnation = life << 20 | number as u64;
        let (wire, socket) = Wire::new();
        let (doors, door) = watch::channel(Door::Shut);
        let attachment = Attachment {
            gateway: Arc::clone(&gateway),
            upstreams: vec![Box::new(socket)],
            embedded: false,
            identity: Identity {
                gateway_id: format!("gateway-{number}"),
                description: String::new(),
            },
            patience: Patience {
                welcome: Duration::from_secs(10),
                back_off: Duration::from_secs(1),
                lost: Duration::from_secs(60),
            },
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
                tokio::spawn(tick::run(Arc::clone(&gateway), Duration::from_secs(30))),
                tokio::spawn(attached),
            ],
            gateway,
            wire,
            windows,
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
    shutdown: Shutdown,
}

impl NodeHost {
    /// `life` counts the nodes of a schedule, from 1.
    pub(crate) fn start(life: u64) -> Self {
        let shutdown = Shutdown::new(Duration::from_secs(25));
        let meter = opentelemetry::global::meter("simulation");
        let settings = NodeSettings::default();
        Self {
            node: Node::start_in_epoch(life << 40, settings, &meter, shutdown.clone()),
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
        // Ends the tasks that would otherwise outlive the process. By now its streams are gone, so nobody hears of it.
        self.shutdown.begin();
    }
}
