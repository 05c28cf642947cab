//! `route-grpc serve`: one node, its gRPC port and its probe port, until SIGTERM.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use route_grpc::Node;
use route_grpc::settings::NodeSettings;
use route_runtime::flags::duration;
use route_runtime::process::{self, Process, ProcessArgs, Program};
use route_runtime::{files, listen};
use tracing::{info, warn};

const PROGRAM: Program = Program {
    name: "route-grpc",
    version: env!("CARGO_PKG_VERSION"),
};

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
    /// How the process runs.
    #[command(flatten)]
    process: ProcessArgs,
    /// From SIGTERM to the exit at the latest
    #[arg(long, env = "TT_ROUTE_SHUTDOWN_DEADLINE", value_name = "TIME", value_parser = duration, default_value = "25s")]
    shutdown_deadline: Duration,
    /// How the node routes and what it may use.
    #[command(flatten)]
    node: NodeSettings,
}

impl ServeArgs {
    /// What is wrong with the flags together.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.node.drain_window >= self.shutdown_deadline {
            return Err("--drain-window has to be shorter than --shutdown-deadline".to_owned());
        }
        self.node.check()
    }
}

/// Runs until the process is told to end and everything has ended, or the deadline is over.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<()> {
    let ServeArgs {
        listen,
        process,
        shutdown_deadline,
        node,
    } = args;
    process::run(PROGRAM, &process, shutdown_deadline, move |process| {
        serve(listen, node, process)
    })
}

async fn serve(
    address: SocketAddr,
    mut settings: NodeSettings,
    process: Process,
) -> anyhow::Result<()> {
    let Process {
        metrics,
        readiness,
        shutdown,
    } = process;
    let listener = listen::bind(address).await?;
    let grpc = listener.local_addr()?;
    let affordable = files::affordable_connections();
    if affordable < settings.max_grpc_connections {
        warn!(
            connections = affordable,
            configured = settings.max_grpc_connections,
            "the process may open few files; taking fewer connections"
        );
        settings.max_grpc_connections = affordable;
    }
    let fan_out = settings.fan_out;
    let node = Node::start(settings, &metrics.meter(), shutdown.clone());
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
    let drains = draining.clone();
    shutdown.tracker().spawn(async move {
        tokio::select! {
            biased;
            () = drains.cancelled() => {}
            () = node.synced() => ready.set(true, "serving"),
        }
    });
    info!(%grpc, ?fan_out, version = PROGRAM.version, "node started");

    let served = tokio::select! {
        () = draining.cancelled() => None,
        served = server => Some(served),
    };
    readiness.set(false, "draining");
    let in_time = shutdown.finish().await;
    info!(in_time, "node stopped");
    match served {
        None => Ok(()),
        Some(served) => Ok(served.context("the server's task ended")??),
    }
}
