//! The `pdu-gateway` binary.

use std::process::ExitCode;

use pdu_gateway::Sockets;
use pdu_gateway::process::settings::Settings;
use route_runtime::process::{self, Process, Program};
use tracing::info;

// musl's own makes everything slower: docs/capacity.md.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

const PROGRAM: Program = Program {
    name: "pdu-gateway",
    version: env!("CARGO_PKG_VERSION"),
};

fn main() -> ExitCode {
    let settings = Settings::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let (args, deadline) = (settings.process.clone(), settings.drain_deadline);
    let serve = move |process| serve(settings, process);
    let Err(error) = process::run(PROGRAM, &args, deadline, serve) else {
        return ExitCode::SUCCESS;
    };
    // For a person at the terminal, if it is in no log.
    if !tracing::enabled!(tracing::Level::ERROR) {
        report(&error);
    }
    ExitCode::FAILURE
}

#[allow(clippy::print_stderr)] // there is no log
fn report(error: &anyhow::Error) {
    eprintln!("pdu-gateway: {error:#}");
}

async fn serve(settings: Settings, process: Process) -> anyhow::Result<()> {
    let Process {
        metrics,
        readiness,
        shutdown,
    } = process;
    let sockets = Sockets::bind(&settings).await?;
    let meter = metrics.meter();
    let gateway = pdu_gateway::start(&settings, sockets, &meter, readiness, &shutdown)?;
    if let Some(address) = gateway.grpc_address() {
        info!(%address, "gRPC port");
    }
    let ended = gateway.ended().await;
    let flushed = shutdown.finish().await;
    ended?;
    anyhow::ensure!(flushed, "the drain took too long");
    info!("drained");
    Ok(())
}
