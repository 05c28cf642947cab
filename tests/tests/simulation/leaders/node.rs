//! A node's process, and the clock of its lease.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use route_grpc::engine::played::{Played, PlayedSite};
use route_grpc::engine::record::Author;
use route_grpc::leadership::Leadership;
use route_grpc::settings::NodeSettings;
use route_grpc::{Access, Gateways, LeaseClock, Process};
use route_runtime::budget::Budget;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use route_runtime::tls::client::{ClientTls, Names};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use turmoil::net::TcpListener;

use crate::leaders::judge::Judge;
use crate::network::wire::{self, NodePort};

pub(crate) const NODES: usize = 3;
pub(crate) const PORT: u16 = 50051;

/// As `--shutdown-deadline` is by default.
const DEADLINE: Duration = Duration::from_secs(25);

const NAMES: Names = Names {
    ca: "--peer-ca",
    certificate: "--peer-cert",
    key: "--peer-key",
    server_name: "--peer-server-name",
    token_file: "--peer-token-file",
};

/// Whether the clock of a node stands still.
#[derive(Debug, Clone, Copy)]
enum Clock {
    Goes,
    /// As soon as somebody reads it.
    Stops,
    Stands(Duration),
}

thread_local! {
    static CLOCKS: [Cell<Clock>; NODES] = const { [const { Cell::new(Clock::Goes) }; NODES] };
}

const CLOCK_OF: [LeaseClock; NODES] = [clock::<0>, clock::<1>, clock::<2>];

fn clock<const NODE: usize>() -> Duration {
    static BEGAN: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    let began = *BEGAN;
    // The time of a host may have begun earlier.
    let now = Instant::now().into_std() + Duration::from_secs(3600);
    let now = now.duration_since(began);
    CLOCKS.with(|clocks| match clocks[NODE].get() {
        Clock::Goes => now,
        Clock::Stands(since) => since,
        Clock::Stops => {
            clocks[NODE].set(Clock::Stands(now));
            now
        }
    })
}

/// The clock of a lease stands still, or goes on as if it never had: what a node sees that was frozen.
pub(crate) fn freeze(node: usize, is_frozen: bool) {
    let clock = if is_frozen { Clock::Stops } else { Clock::Goes };
    CLOCKS.with(|clocks| clocks[node].set(clock));
}

/// The host's name.
pub(crate) fn name(number: usize) -> String {
    format!("node-{number}")
}

/// One life of a process.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    /// Its way to the record.
    pub(crate) way: Played,
    /// SIGTERM.
    pub(crate) term: CancellationToken,
}

impl Life {
    pub(crate) fn new(site: &PlayedSite) -> Self {
        let (way, term) = (site.way(), CancellationToken::new());
        Self { way, term }
    }
}

/// It keeps what gateways have sent although it does not hear of them: one that is frozen does not look.
fn settings() -> NodeSettings {
    let long = Duration::from_secs(120);
    NodeSettings {
        cold_start_wait: Duration::ZERO,
        drain_window: Duration::from_secs(1),
        detach_grace: Duration::from_secs(20),
        gateway_silence: long,
        gateway_given_up: long * 2,
        grpc_keepalive_interval: long,
        ..NodeSettings::default()
    }
}

/// Runs until it is told to end; drains then, and stays until the schedule ends the process.
pub(crate) async fn run(judge: Arc<Judge>, number: usize, life: Life) -> turmoil::Result {
    let name = name(number);
    let meter = opentelemetry::global::meter("simulation");
    let shutdown = Shutdown::new(DEADLINE);
    let process = Process::new(settings(), Budget::new(None), &meter, shutdown.clone());
    let author = Author {
        api_url: format!("http://{name}:{PORT}"),
        attach_url: format!("http://{name}:{PORT}"),
        version: "simulated".to_owned(),
        node_id: name.clone(),
    };
    let peers = (ClientTls::none(NAMES), wire::dial as _);
    let engine = Arc::new(life.way);
    let clock = CLOCK_OF[number];
    let leadership = Leadership::dialling(&process, engine, author, &meter, clock, peers)?;
    let port = NodePort(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?);
    let readiness = Readiness::new();
    let served = route_grpc::serve(
        process,
        leadership.role(),
        port,
        readiness.clone(),
        Access::without_policy(&meter),
        Gateways::Here,
    );
    judge.say(&format!("{name} starts"));
    let tracker = shutdown.tracker();
    tracker.spawn(leadership.follow(readiness));
    tracker.spawn(leadership.run());
    tracker.spawn(served);
    life.term.cancelled().await;
    shutdown.begin();
    std::future::pending().await
}
