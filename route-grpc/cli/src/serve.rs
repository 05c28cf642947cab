//! `route-grpc serve`: one node, its gRPC port and its probe port, until SIGTERM.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use route_grpc::engine::nats::Nats;
use route_grpc::leadership::Leadership;
use route_grpc::settings::NodeSettings;
use route_grpc::settings::engine::EngineSettings;
use route_grpc::{Node, Ports, Process, Role};
use route_runtime::budget::Budget;
use route_runtime::flags::{bytes, count, duration};
use route_runtime::life::since_boot;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use route_runtime::telemetry::{self, LogArgs, Metrics, flush_logs, init_logs};
use route_runtime::{environment, files, listen, probes, workers};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::field::display;
use tracing::{error, info, warn};

use crate::failure::Failure;
use crate::show;

/// How long each of these may take at the end: log lines, traces, metrics. They and the drain have
/// to fit into the time that a supervisor leaves (`TimeoutStopSec`, the pod's grace period).
const FLUSH: Duration = Duration::from_secs(1);

/// How often a node that is not ready says for whom it waits.
const SAYS_WAITING: Duration = Duration::from_secs(5);

const NAME: &str = "route-grpc";
/// The flag of the public port.
const LISTEN: &str = "--listen";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Flags of `route-grpc serve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    /// Address for gRPC
    #[arg(
        long,
        env = "TT_ROUTE_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:50051"
    )]
    listen: SocketAddr,
    /// Address for /metrics, /livez, /readyz
    // The alias is for set-ups from before the admin port had its own.
    #[arg(
        long,
        alias = "admin-listen",
        env = "TT_ROUTE_PROBE_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9464"
    )]
    probe_listen: SocketAddr,
    /// Threads that run the node; one routes millions of deliveries a second
    #[arg(
        long,
        env = "TT_ROUTE_WORKER_THREADS",
        value_name = "COUNT",
        value_parser = count,
        default_value = "1"
    )]
    worker_threads: usize,
    /// What may be held for others: queues of gateways, the event log, seats, snapshots, requests
    /// that have come in part. At four fifths, the gateways that fill it most are read slowly;
    /// close to the whole, who holds most is cut off [default: 80 % of what the container may use;
    /// without a container, no limit]
    #[arg(long, env = "TT_ROUTE_MEMORY_LIMIT", value_name = "BYTES", value_parser = bytes::<u64>)]
    memory_limit: Option<u64>,
    /// From SIGTERM to the exit at the latest
    #[arg(long, env = "TT_ROUTE_SHUTDOWN_DEADLINE", value_name = "TIME", value_parser = duration, default_value = "25s")]
    shutdown_deadline: Duration,
    /// How the node routes and what it may use.
    #[command(flatten)]
    node: NodeSettings,
    /// Whether the node is one of several.
    #[command(flatten)]
    engine: EngineSettings,
    /// What is logged.
    #[command(flatten)]
    log: LogArgs,
}

impl ServeArgs {
    /// What is wrong with the flags together.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.node.drain_window >= self.shutdown_deadline {
            return Err("--drain-window has to be shorter than --shutdown-deadline".to_owned());
        }
        let least = self.node.needs().waits;
        if self.memory_limit.is_some_and(|limit| limit < least) {
            return Err(
                "--memory-limit has to be at least --log-bytes, --routed-bytes, --gateway-queue-bytes, \
                --seat-bytes and --unfinished-bytes together, or nobody could use what these allow"
                    .to_owned(),
            );
        }
        self.engine.check()?;
        self.node.check()
    }
}

/// Says what the files of these flags have, and whether a node would start with them. None is started, and nothing is bound.
pub(crate) fn check_config(args: &ServeArgs) -> Result<(), Failure> {
    let metrics = Metrics::new(NAME, VERSION).context("cannot count")?;
    let told = route_grpc::check(&args.node, (LISTEN, args.listen), &metrics.meter());
    for line in told.map_err(|error| Failure::Usage(error.to_string()))? {
        show::line(&line)?;
    }
    if let Some(nats) = args.engine.nats() {
        nats.check().map_err(Failure::Usage)?;
        let (site, servers) = (&nats.site, nats.urls.join(", "));
        show::line(&format!(
            "site {site}: NATS says who leads ({servers}; it was not asked)"
        ))?;
    }
    show::line("a node would start with this configuration")
}

/// Runs until the process is told to end and everything has ended, or the deadline is over.
pub(crate) fn run(args: ServeArgs) -> Result<(), Failure> {
    init_logs(args.log.log_format, &args.log.log_filter).context("cannot log")?;
    let end = run_logged(args);
    let is_logged = tracing::enabled!(tracing::Level::ERROR);
    let end = end.map_err(|problem| match is_logged {
        true => {
            error!("{problem:#}");
            Failure::Logged
        }
        false => problem.into(),
    });
    flush_logs(FLUSH);
    end
}

fn run_logged(args: ServeArgs) -> anyhow::Result<()> {
    environment::warn_of_unknown_names();
    // Before anything opens one.
    let affordable = files::make_room_for_connections()?;
    let runtime = workers::runtime(args.worker_threads).context("cannot start")?;
    let served = runtime.block_on(runtime.spawn(serve(args, affordable)));
    runtime.block_on(telemetry::finish(FLUSH));
    // Tasks that have not ended by the deadline are not waited for.
    runtime.shutdown_background();
    served.context("the node's task ended")?
}

/// `affordable`: connections.
async fn serve(mut args: ServeArgs, affordable: usize) -> anyhow::Result<()> {
    let metrics = Metrics::new(NAME, VERSION)?;
    if let Err(error) = telemetry::init_traces(NAME, VERSION) {
        error!(%error, "no traces will be sent");
    }
    if affordable < args.node.max_grpc_connections {
        warn!(
            connections = affordable,
            configured = args.node.max_grpc_connections,
            "the process may open few files; taking fewer connections"
        );
        args.node.max_grpc_connections = affordable;
    }
    let shutdown = Shutdown::new(args.shutdown_deadline);
    let readiness = Readiness::new();
    let probe_listener = listen::bind(args.probe_listen)
        .await
        .context("--probe-listen")?;
    let ports = Ports::open(&args.node, (LISTEN, args.listen), &metrics.meter()).await?;
    let (at, probes) = (ports.addresses(), probe_listener.local_addr()?);
    let probe_server = tokio::spawn(probes::serve(
        probe_listener,
        metrics.clone(),
        readiness.clone(),
        shutdown.clone(),
        route_grpc::wrong_port(probes::TO_GRPC),
    ));

    let fan_out = args.node.fan_out;
    let budget = Budget::of_process(args.memory_limit, args.node.needs());
    let process = Process::new(args.node, budget, &metrics.meter(), shutdown.clone());
    let role = begin(&process, &args.engine, &metrics, &readiness)?;
    let server = ports.serve_as(&process, &role, readiness.clone());
    let admin = at.admin.map(|it| it.to_string());
    let (attach, health) = (at.attach.map(display), at.health.map(display));
    info!(grpc = %at.public, attach, health, admin, %probes, ?fan_out, version = VERSION, "node started");

    let served = tokio::select! {
        () = shutdown.on_signal() => None,
        served = server => Some(served),
    };
    readiness.set(false, "draining");
    let in_time = shutdown.finish().await;
    info!(in_time, "node stopped");
    probe_server.abort();
    match served {
        None => Ok(()),
        Some(served) => Ok(served.context("the server's task ended")??),
    }
}

/// Makes the process a node, or one of several, which follows who leads.
fn begin(
    process: &Arc<Process>,
    engine: &EngineSettings,
    metrics: &Metrics,
    readiness: &Readiness,
) -> anyhow::Result<Role> {
    let (shutdown, meter) = (process.shutdown(), metrics.meter());
    let Some(nats) = engine.nats() else {
        let node = Node::alone(process, &meter);
        let role = Role::node(&node);
        let ready = become_ready(node, readiness.clone(), shutdown.draining());
        shutdown.tracker().spawn(ready);
        return Ok(role);
    };
    let nats = Nats::start(nats).map_err(|told| anyhow!("--nats-url: {told}"))?;
    let author = engine.author(VERSION);
    let (nats, peers) = (Arc::new(nats), engine.peers());
    let leadership = Leadership::new(process, nats, author, &meter, since_boot, peers);
    let leadership = leadership.map_err(|told| anyhow!("--node-id: {told}"))?;
    let role = leadership.role();
    shutdown
        .tracker()
        .spawn(leadership.follow(readiness.clone()));
    shutdown.tracker().spawn(leadership.run());
    Ok(role)
}

/// Is ready when the node knows all links. Until then it says for whom it waits, and for how long.
async fn become_ready(node: Arc<Node>, readiness: Readiness, draining: CancellationToken) {
    readiness.set(false, "waiting for gateways");
    let mut says = interval(SAYS_WAITING);
    loop {
        tokio::select! {
            biased;
            () = draining.cancelled() => return,
            () = node.synced() => return readiness.set(true, "serving"),
            _ = says.tick() => {
                if let Some(whom) = node.waits_for() {
                    info!("waits for {whom}");
                }
            }
        }
    }
}
