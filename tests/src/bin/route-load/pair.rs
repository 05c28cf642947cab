//! route-grpc and a pdu-gateway attached to it, started, stopped and measured as one.

use std::path::Path;
use std::process::{Child, Command};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use system_tests::deployment::ports;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::PairOptions;

/// As many as any workload has.
const MAX_STREAMS: &str = "4000";

/// Runs both until SIGTERM or SIGINT, or until one of them ends; true if both ended well after a
/// signal.
pub(crate) fn run(options: &PairOptions) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run_both(options))
}

async fn run_both(options: &PairOptions) -> anyhow::Result<bool> {
    // Before the children are there: no signal is missed.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut child_ended = signal(SignalKind::child())?;

    let mut pair = Pair::start(options)?;
    let asked_to_end = tokio::select! {
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
        ended = async {
            while !pair.some_ended()? {
                child_ended.recv().await;
            }
            anyhow::Ok(false)
        } => ended?,
    };
    let ended_well = pair.stop()?;
    if !asked_to_end {
        eprintln!("route-load pair: one of the two ended by itself");
    }
    Ok(asked_to_end && ended_well)
}

/// Both processes; those that are left are killed on drop.
struct Pair {
    gateway: Child,
    node: Child,
}

impl Pair {
    fn start(options: &PairOptions) -> anyhow::Result<Self> {
        let [grpc, node_probes, gateway_probes] = ports::free().map_err(anyhow::Error::msg)?;
        let grpc = options.grpc.unwrap_or(grpc);
        let mut node = program("route-grpc")?;
        node.args(["serve", "--listen", &grpc.to_string()]);
        node.args(["--max-streams", MAX_STREAMS]);
        node.args(["--probe-listen", &node_probes.to_string()]);
        if let Some(mode) = &options.fan_out {
            node.args(["--fan-out", mode]);
        }
        let mut gateway = program("pdu-gateway")?;
        // Without a scheme: TT_GATEWAY_UPSTREAM_CA makes it TLS.
        gateway.args(["--upstream", &grpc.to_string()]);
        gateway.args(["--listen", &options.pdu.to_string()]);
        gateway.args(["--probe-listen", &gateway_probes.to_string()]);

        let mut node = node.spawn().context("start route-grpc")?;
        match gateway.spawn().context("start pdu-gateway") {
            Ok(gateway) => Ok(Self { gateway, node }),
            Err(error) => {
                node.kill()?;
                Err(error)
            }
        }
    }

    fn some_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.gateway.try_wait()?.is_some() || self.node.try_wait()?.is_some())
    }

    /// The gateway first, which flushes what the node has sent it.
    fn stop(&mut self) -> anyhow::Result<bool> {
        let gateway = end(&mut self.gateway)?;
        let node = end(&mut self.node)?;
        Ok(gateway && node)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in [&mut self.gateway, &mut self.node] {
            // Fails only for a process that has ended, which is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Passes SIGTERM on and waits; whoever started us decides how long that may take.
fn end(child: &mut Child) -> anyhow::Result<bool> {
    if child.try_wait()?.is_none() {
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
    }
    Ok(child.wait()?.success())
}

/// A binary of the project: the one beside this program, else the one in `PATH`.
fn program(name: &str) -> anyhow::Result<Command> {
    let own = std::env::current_exe()?;
    let beside = own.parent().map(|directory| directory.join(name));
    let found = beside.filter(|path| path.exists());
    Ok(Command::new(
        found.as_deref().unwrap_or_else(|| Path::new(name)),
    ))
}
