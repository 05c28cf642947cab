//! A process from its first log line to its last: what both binaries do before their own work and
//! after it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tracing::{error, info};

use crate::flags::count;
use crate::readiness::Readiness;
use crate::shutdown::Shutdown;
use crate::telemetry::{self, LogArgs, Metrics, flush_logs, init_logs};
use crate::{listen, probes, workers};

/// How long each of these may take at the end: log lines, traces, metrics. They and the drain have
/// to fit into the time that a supervisor leaves (`TimeoutStopSec`, the pod's grace period).
const FLUSH: Duration = Duration::from_secs(1);

/// Flags that every process has. Environment names have the binary's prefix, so the binary adds
/// them: `#[command(mut_arg("log_format", |arg| arg.env("TT_ROUTE_LOG_FORMAT")))]`, and so for all.
#[derive(Debug, Clone, clap::Args)]
pub struct ProcessArgs {
    /// Address for /metrics, /livez, /readyz
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub admin_listen: SocketAddr,
    /// Threads that run the process; one routes or forwards millions of messages a second
    #[arg(long, value_name = "COUNT", value_parser = count, default_value = "1")]
    pub worker_threads: usize,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What a process is called, in its telemetry.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Of the binary.
    pub name: &'static str,
    /// Of the binary.
    pub version: &'static str,
}

/// What the work of a process shares with its surroundings.
#[derive(Debug, Clone)]
pub struct Process {
    /// Where instruments are made; the probe port shows them.
    pub metrics: Metrics,
    /// What the probe port answers.
    pub readiness: Readiness,
    /// Begins to drain at SIGTERM.
    pub shutdown: Shutdown,
}

/// Runs `work`, with logs, metrics, traces and the probe port, until it ends. Work has to end when
/// the shutdown drains, and `deadline` later at the latest. What of it runs on then is cut off.
pub fn run<W>(
    program: Program,
    args: &ProcessArgs,
    deadline: Duration,
    work: impl FnOnce(Process) -> W + Send + 'static,
) -> anyhow::Result<()>
where
    W: Future<Output = anyhow::Result<()>> + Send,
{
    init_logs(args.log.log_format, &args.log.log_filter)?;
    let runtime = workers::runtime(args.worker_threads).context("cannot start workers")?;
    let admin_listen = args.admin_listen;
    let lifetime = async move {
        let process = start(program, admin_listen, deadline).await?;
        work(process).await
    };
    // On a worker like everything else: the main thread would be one more to be woken.
    let ended = runtime.block_on(async { tokio::spawn(lifetime).await });
    runtime.block_on(telemetry::finish(FLUSH));
    // Tasks that have not ended by the deadline are not waited for.
    runtime.shutdown_background();
    let ended = ended.context("the main task ended").flatten();
    if let Err(error) = &ended {
        error!("{error:#}");
    }
    flush_logs(FLUSH);
    ended
}

async fn start(
    Program { name, version }: Program,
    admin_listen: SocketAddr,
    deadline: Duration,
) -> anyhow::Result<Process> {
    let metrics = Metrics::new(name, version)?;
    if let Err(error) = telemetry::init_traces(name, version) {
        error!(%error, "no traces will be sent");
    }
    let process = Process {
        metrics,
        readiness: Readiness::new(),
        shutdown: Shutdown::new(deadline),
    };
    let listener = listen::bind(admin_listen).await?;
    info!(address = %listener.local_addr()?, "probe port");
    let Process {
        metrics,
        readiness,
        shutdown,
    } = process.clone();
    let draining = shutdown.clone();
    tokio::spawn(async move { draining.on_signal().await });
    tokio::spawn(async move {
        if let Err(error) = probes::serve(listener, metrics, readiness, shutdown).await {
            error!(%error, "the probe port is lost");
        }
    });
    Ok(process)
}
