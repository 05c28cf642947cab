//! `route-grpc serve`: one node, its gRPC port and its admin port, until SIGTERM.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use route_grpc::Node;
use route_grpc::settings::ServeArgs;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use route_runtime::telemetry::{self, Metrics, flush_logs, init_logs};
use route_runtime::{admin, files, listen, workers};
use tracing::{error, info, warn};

/// How long the last log lines may take, the last traces, and the last metrics. Together with the drain less than the
/// grace.
const FLUSH: Duration = Duration::from_secs(1);

const NAME: &str = "route-grpc";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs until the process is told to end and everything has ended, or the deadline is over.
pub(super) fn run(args: ServeArgs) -> anyhow::Result<()> {
    init_logs(args.log.log_format, &args.log.log_filter)?;
    let runtime = workers::runtime(args.worker_threads).context("cannot start")?;
    let served = runtime.block_on(runtime.spawn(serve(args)));
    runtime.block_on(telemetry::finish(FLUSH));
    // What has not ended by its deadline is not waited for.
    runtime.shutdown_background();
    flush_logs(FLUSH);
    served.context("the node's task ended")?
}

async fn serve(mut args: ServeArgs) -> anyhow::Result<()> {
    let metrics = Metrics::new(NAME, VERSION)?;
    if let Err(error) = telemetry::init_traces(NAME, VERSION) {
        error!(%error, "no traces will be sent");
    }
    let shutdown = Shutdown::new(args.shutdown_deadline);
    let readiness = Readiness::new();
    let listener = listen::bind(args.listen).await?;
    let admin_listener = listen::bind(args.admin_listen).await?;
    let (grpc, admin) = (listener.local_addr()?, admin_listener.local_addr()?);
    let admin_server = tokio::spawn(admin::serve(
        admin_listener,
        metrics.clone(),
        readiness.clone(),
        shutdown.clone(),
    ));

    let affordable = files::affordable_connections();
    if affordable < args.node.max_grpc_connections {
        warn!(
            connections = affordable,
            configured = args.node.max_grpc_connections,
            "the process may open few files; taking fewer connections"
        );
        args.node.max_grpc_connections = affordable;
    }
    let fan_out = args.node.fan_out;
    let node = Node::start(args.node, &metrics.meter(), shutdown.clone());
    let server = shutdown.tracker().spawn(route_grpc::serve(
        Arc::clone(&node),
        listener,
        readiness.clone(),
    ));
    readiness.set(
        false,
        "waiting for the gateways of the node before this one",
    );
    let ready = readiness.clone();
    let draining = shutdown.draining();
    shutdown.tracker().spawn(async move {
        tokio::select! {
            biased;
            () = draining.cancelled() => {}
            () = node.synced() => ready.set(true, "serving"),
        }
    });
    info!(%grpc, %admin, ?fan_out, version = env!("CARGO_PKG_VERSION"), "node started");

    let served = tokio::select! {
        () = shutdown.on_signal() => None,
        served = server => Some(served),
    };
    readiness.set(false, "draining");
    let in_time = shutdown.finish().await;
    info!(in_time, "node stopped");
    admin_server.abort();
    match served {
        None => Ok(()),
        Some(served) => Ok(served.context("the server's task ended")??),
    }
}
