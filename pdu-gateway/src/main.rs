//! The `pdu-gateway` binary.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use pdu_gateway::Sockets;
use pdu_gateway::process::check_config::check_config;
use pdu_gateway::process::settings::Settings;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use route_runtime::telemetry::{self, Metrics};
use route_runtime::{environment, files, listen, probes, workers};
use tracing::{error, info};

// musl's own makes everything slower: docs/capacity.md.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// For the last log lines; for the last traces; for the last metrics. Together with the drain less than the grace.
const FLUSH_TIME: Duration = Duration::from_secs(1);

const NAME: &str = "pdu-gateway";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// In place of a first flag: nothing is started.
const CHECK: &str = "check-config";

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    let only_checks = arguments.get(1).is_some_and(|it| it == CHECK);
    if only_checks {
        arguments.remove(1);
    }
    let settings = Settings::read(arguments).unwrap_or_else(|error| error.exit());
    if only_checks {
        return check(&settings);
    }
    let end = run(&settings);
    if let Err(error) = &end {
        // In a log for those who collect logs, for a person at the terminal anyway.
        error!("{error:#}");
        if !tracing::enabled!(tracing::Level::ERROR) {
            report(error);
        }
    }
    telemetry::flush_logs(FLUSH_TIME);
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[allow(clippy::print_stdout)] // output is what it is for
fn check(settings: &Settings) -> ExitCode {
    let metrics = Metrics::new(NAME, VERSION);
    let told = metrics
        .map_err(anyhow::Error::from)
        .and_then(|metrics| Ok(check_config(settings, &metrics.meter())?));
    match told {
        Ok(lines) => {
            for line in lines {
                println!("{line}");
            }
            println!("a gateway would start with this configuration");
            ExitCode::SUCCESS
        }
        Err(error) => {
            report(&error);
            ExitCode::from(2)
        }
    }
}

#[allow(clippy::print_stderr)] // before there is a log
fn report(error: &anyhow::Error) {
    eprintln!("pdu-gateway: {error:#}");
}

fn run(settings: &Settings) -> anyhow::Result<()> {
    telemetry::init_logs(settings.log.log_format, &settings.log.log_filter)?;
    environment::warn_of_unknown_names();
    // Before anything opens one.
    files::make_room_for_connections()?;
    let runtime = workers::runtime(settings.worker_threads).context("cannot start workers")?;
    // On a worker like everything else: the main thread would be one more to be woken.
    let settings = settings.clone();
    let served = runtime.block_on(async { tokio::spawn(serve(settings)).await });
    runtime.block_on(telemetry::finish(FLUSH_TIME));
    runtime.shutdown_background();
    served?
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let metrics = Metrics::new(NAME, VERSION)?;
    if let Err(error) = telemetry::init_traces(NAME, VERSION) {
        error!(%error, "no traces will be sent");
    }
    let readiness = Readiness::new();
    let shutdown = Shutdown::new(settings.shutdown_deadline);
    let probe_listener = listen::bind(settings.probe_listen)
        .await
        .context("--probe-listen")?;
    let meter = metrics.meter();
    let sockets = Sockets::bind(&settings, &meter).await?;
    info!(address = %probe_listener.local_addr()?, "probe port");

    let probes = tokio::spawn(probes::serve(
        probe_listener,
        metrics.clone(),
        readiness.clone(),
        shutdown.clone(),
        route_grpc::wrong_port(probes::TO_GRPC),
    ));
    let gateway = pdu_gateway::start(&settings, sockets, &meter, readiness, &shutdown)?;
    if let Some(address) = gateway.grpc_address() {
        info!(%address, "gRPC port");
    }
    if let Some(address) = gateway.admin_address() {
        info!(%address, "admin port");
    }
    let signal = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shutdown.on_signal().await }
    });
    let ended = gateway.ended().await;
    signal.abort();
    let flushed = shutdown.finish().await;
    probes.await??;
    ended?;
    anyhow::ensure!(flushed, "the drain took too long");
    info!("drained");
    Ok(())
}
