//! What lasts as long as the process: flags, clock, places, budgets, counters. A node lasts as long as it leads, and
//! there may be several in the life of a process, one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use opentelemetry::metrics::Meter;
use route_runtime::budget::Budget;
use route_runtime::shutdown::Shutdown;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::limits::{
    ADMIN_CONNECTIONS, CONNECTIONS_OF_GATEWAY, HEALTH_CONNECTIONS, Places, SCREENS,
    SNAPSHOTS_AT_ONCE,
};
use crate::metrics::Metrics;
use crate::refusals::Refusals;
use crate::settings::NodeSettings;

/// One process that may be a node. All its ports share it.
#[derive(Debug)]
pub struct Process {
    pub(crate) settings: NodeSettings,
    pub(crate) clock: Clock,
    /// For watch and subscribe streams.
    pub(crate) streams: Places,
    /// For streams of the admin port.
    pub(crate) screens: Places,
    /// For connections to the public port.
    pub(crate) connections: Places,
    /// For connections to the port of gateways, if they have one.
    pub(crate) attach_connections: Places,
    /// For connections to the health port.
    pub(crate) health_connections: Places,
    /// For connections to the admin port.
    pub(crate) admin_connections: Places,
    pub(crate) snapshots: Arc<Semaphore>,
    /// Bytes that wait for those who read streams.
    pub(crate) pending: Arc<AtomicUsize>,
    /// What this process may hold.
    pub(crate) budget: Arc<Budget>,
    /// What of it requests that have come in part may, of all connections together.
    pub(crate) requests: Arc<Budget>,
    /// Bytes of requests that have not come completely.
    pub(crate) unfinished: Arc<AtomicUsize>,
    pub(crate) metrics: Metrics,
    /// What is said of who is refused.
    pub(crate) refusals: Refusals,
    pub(crate) shutdown: Shutdown,
    turns: AtomicU64,
}

impl Process {
    /// A process that is no node yet, and holds what this budget allows.
    pub fn new(
        settings: NodeSettings,
        budget: Arc<Budget>,
        meter: &Meter,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        Arc::new(Self {
            clock: Clock::start(),
            streams: Places::new(settings.max_streams),
            screens: Places::new(SCREENS),
            connections: Places::new(settings.max_grpc_connections),
            attach_connections: Places::new(CONNECTIONS_OF_GATEWAY * settings.max_gateways),
            health_connections: Places::new(HEALTH_CONNECTIONS),
            admin_connections: Places::new(ADMIN_CONNECTIONS),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS_AT_ONCE)),
            pending: Arc::default(),
            unfinished: Arc::default(),
            requests: Budget::of_inputs(settings.unfinished_bytes),
            budget,
            metrics: Metrics::new(meter),
            refusals: Refusals::default(),
            shutdown,
            turns: AtomicU64::new(0),
            settings,
        })
    }

    /// Its end.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// The loop that looks after the node, or waits to be one, has turned.
    pub(crate) fn turned(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has: grows while the process is alive.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Cancelled when the process drains.
    pub(crate) fn draining(&self) -> CancellationToken {
        self.shutdown.draining()
    }

    /// Returns when the process drains and its streams have ended, or the drain window is over.
    pub(crate) async fn drained(&self) {
        self.draining().cancelled().await;
        // Streams take as long as their readers need, within the window.
        let window = self.settings.drain_window;
        let _ = tokio::time::timeout(window, self.streams.all_free()).await;
    }
}
