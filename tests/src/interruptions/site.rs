//! The real processes: one node, two gateways, and a cable from each gateway to the node.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use super::cable::Cable;
use crate::deployment::process::Process;
use crate::deployment::{admin, ports};

/// How long processes may take to get ready.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How often a starting process is asked whether it is ready: there is no event to wait for outside it.
const READY_POLL: Duration = Duration::from_millis(10);
/// From SIGTERM to the exit: what the node promises by default.
const DRAIN_LIMIT: Duration = Duration::from_secs(25);

/// Gateways of a site.
pub const GATEWAYS: usize = 2;

/// Running processes. Dropping it kills them.
#[derive(Debug)]
pub struct Site {
    node: Process,
    node_arguments: Vec<String>,
    gateways: Vec<Gateway>,
}

#[derive(Debug)]
struct Gateway {
    process: Process,
    pdu: SocketAddr,
    cable: Cable,
}

impl Site {
    /// Starts everything and waits until the gateways are attached.
    ///
    /// # Errors
    /// If something does not start; with what it said.
    pub async fn start() -> anyhow::Result<Self> {
        let [grpc, node_admin] = ports::free().map_err(anyhow::Error::msg)?;
        let node_arguments = vec![
            "serve".to_owned(),
            format!("--listen={grpc}"),
            format!("--admin-listen={node_admin}"),
        ];
        let mut site = Self {
            node: start("route-grpc", &node_arguments)?,
            node_arguments,
            gateways: Vec::new(),
        };
        for number in 0..GATEWAYS {
            let [pdu, gateway_admin] = ports::free().map_err(anyhow::Error::msg)?;
            let cable = Cable::lay(grpc).await?;
            let process = start(
                "pdu-gateway",
                &[
                    format!("--listen={pdu}"),
                    format!("--admin-listen={gateway_admin}"),
                    format!("--gateway-id=gateway-{number}"),
                    format!("--upstream=http://{}", cable.address()),
                ],
            )?;
            site.gateways.push(Gateway {
                process,
                pdu,
                cable,
            });
            site.ready(gateway_admin).await?;
        }
        Ok(site)
    }

    /// Where MsgServers connect to a gateway.
    pub fn pdu_address(&self, gateway: usize) -> SocketAddr {
        self.gateways[gateway].pdu
    }

    /// A gateway's way to the node.
    pub fn cable(&self, gateway: usize) -> &Cable {
        &self.gateways[gateway].cable
    }

    /// Ends the node as a crash does.
    pub fn kill_node(&self) {
        self.node.kill();
    }

    /// Ends the node by SIGTERM.
    ///
    /// # Errors
    /// If it does not end well, and in time.
    pub async fn stop_node(&self) -> anyhow::Result<()> {
        self.node.terminate();
        let status = self.node.ended(DRAIN_LIMIT).await;
        let status = status.with_context(|| format!("no exit in {DRAIN_LIMIT:?} after SIGTERM"))?;
        ensure!(status.success(), "the node ended with {status}");
        Ok(())
    }

    /// Starts another node in the place of the one that has ended.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_node(&mut self) -> anyhow::Result<()> {
        self.node = start("route-grpc", &self.node_arguments)?;
        Ok(())
    }

    /// Whether all processes run.
    pub fn is_alive(&self) -> bool {
        self.processes().all(Process::is_alive)
    }

    /// The last lines of all processes.
    pub fn output(&self) -> String {
        let outputs: Vec<String> = self.processes().map(ToString::to_string).collect();
        outputs.join("\n")
    }

    async fn ready(&self, admin: SocketAddr) -> anyhow::Result<()> {
        let limit = Instant::now() + READY_LIMIT;
        while !admin::is_ready(admin).await {
            ensure!(
                Instant::now() < limit && self.is_alive(),
                "not ready at {admin}\n{}",
                self.output()
            );
            sleep(READY_POLL).await;
        }
        Ok(())
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        let gateways = self.gateways.iter().map(|gateway| &gateway.process);
        [&self.node].into_iter().chain(gateways)
    }
}

fn start(binary: &str, arguments: &[String]) -> anyhow::Result<Process> {
    Process::start(binary, arguments).map_err(anyhow::Error::msg)
}
