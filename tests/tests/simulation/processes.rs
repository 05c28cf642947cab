//! What a life of a gateway's or a node's process begins with.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use pdu_gateway::links::gateway::Gateway;
use pdu_gateway::links::link::LinkSettings;
use pdu_gateway::links::registry::{ConnectionLimits, Links};
use pdu_gateway::node::attachment::{Identity, Patience};
use pdu_gateway::unconfirmed::ledger::Keep;
use pdu_gateway::unconfirmed::uplink::Uplink;
use pdu_gateway::unconfirmed::windows::Windows;
use route_dialect::Dialect;
use route_grpc::Node;
use route_grpc::settings::NodeSettings;
use route_runtime::budget::Budget;
use route_runtime::shutdown::Shutdown;

/// How long queries are kept: the flag's default.
pub(crate) const QUERY_TIME: Duration = Duration::from_secs(30);

/// As the flags' defaults are.
pub(crate) fn link_settings() -> LinkSettings {
    LinkSettings {
        heartbeat: Dialect::published().heartbeat(),
        queue_bytes: 64 << 20,
        heartbeat_interval: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(30),
        write_timeout: Duration::from_secs(30),
        pdu_timeout: Duration::from_secs(10),
        pdu_rate: 65_536,
        host_timeout: Duration::from_secs(15),
        close_timeout: Duration::from_secs(5),
        remembered_origins: Some(8192),
    }
}

/// As the flags' defaults are.
pub(crate) fn patience() -> Patience {
    Patience {
        welcome: Duration::from_secs(10),
        back_off: Duration::from_secs(1),
        silence: Duration::from_secs(3),
        lost: Duration::from_secs(60),
    }
}

/// TeamTalk as published: read once, for all gateways of all schedules.
fn dialect() -> Arc<Dialect> {
    static STANDARD: LazyLock<Arc<Dialect>> = LazyLock::new(|| Arc::new(Dialect::standard()));
    Arc::clone(&STANDARD)
}

/// A gateway. `life` counts the lives of a schedule: names by the wall clock would differ from run
/// to run.
pub(crate) fn gateway(
    number: usize,
    life: u64,
    windows: Windows,
    link_settings: LinkSettings,
) -> Arc<Gateway> {
    let limits = ConnectionLimits {
        total: 1000,
        per_source: 1000,
    };
    let mut gateway = Gateway::new(
        dialect(),
        link_settings,
        Links::new(limits),
        Uplink::new(windows, Keep::Contents),
        16 << 20,
        Budget::new(None),
    );
    Arc::get_mut(&mut gateway)
        .expect("nobody else has it yet")
        .incarnation = life << 20 | number as u64;
    gateway
}

/// How it presents itself.
pub(crate) fn identity(number: usize) -> Identity {
    Identity {
        gateway_id: format!("gateway-{number}"),
        description: String::new(),
    }
}

/// A node. `life` counts the lives of a schedule, from 1.
pub(crate) fn node(life: u64, settings: NodeSettings, shutdown: &Shutdown) -> Arc<Node> {
    let meter = opentelemetry::global::meter("simulation");
    Node::start_in_epoch(
        epoch(life),
        settings,
        Budget::new(None),
        &meter,
        shutdown.clone(),
    )
}

/// Which life of the node it is, as its positions have it.
pub(crate) fn epoch(life: u64) -> u64 {
    life << 40
}
