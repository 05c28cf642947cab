//! The real processes: one node, two gateways, and a cable from each gateway to the node.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::cable::Cable;
use crate::cast::msg_server::GATEWAYS;
use crate::deployment::process::{Process, Surroundings};
use crate::deployment::{output, ports, ready, start_gateway, start_node};

/// From SIGTERM to the exit: what the node promises by default.
const DRAIN_LIMIT: Duration = Duration::from_secs(25);

/// Running processes. Dropping it kills them.
#[derive(Debug)]
pub struct Site {
    node: Process,
    /// Where nodes serve, and their probe port.
    addresses: [SocketAddr; 2],
    gateways: Vec<Gateway>,
    flags: Flags,
}

/// More flags of the processes.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Of nodes.
    pub node: Vec<String>,
    /// Of gateways.
    pub gateway: Vec<String>,
}

#[derive(Debug)]
struct Gateway {
    process: Process,
    /// Where it listens for MsgServers, and its probe port.
    addresses: [SocketAddr; 2],
    cable: Cable,
}

impl Site {
    /// Starts everything and waits until the gateways are attached.
    ///
    /// # Errors
    /// If something does not start; with what it said.
    pub async fn start(flags: &Flags) -> anyhow::Result<Self> {
        let addresses = ports::free().map_err(anyhow::Error::msg)?;
        let [grpc, _] = addresses;
        let mut site = Self {
            node: node(addresses, flags)?,
            addresses,
            gateways: Vec::new(),
            flags: flags.clone(),
        };
        for number in 0..GATEWAYS {
            let addresses = ports::free().map_err(anyhow::Error::msg)?;
            let cable = Cable::lay(grpc).await?;
            site.gateways.push(Gateway {
                process: gateway(number, addresses, &cable, flags)?,
                addresses,
                cable,
            });
            ready(addresses[1], site.processes()).await?;
        }
        Ok(site)
    }

    /// Waits until the node knows all links.
    ///
    /// # Errors
    /// If that takes too long.
    pub async fn node_ready(&self) -> anyhow::Result<()> {
        Ok(ready(self.addresses[1], self.processes()).await?)
    }

    /// Where services connect.
    pub fn grpc_address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Resident memory in bytes: of the node, and of each gateway.
    pub fn resident_bytes(&self) -> impl Iterator<Item = u64> {
        self.processes().map(Process::resident_bytes)
    }

    /// Where MsgServers connect to a gateway.
    pub fn pdu_address(&self, gateway: usize) -> SocketAddr {
        self.gateways[gateway].addresses[0]
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
        self.node = node(self.addresses, &self.flags)?;
        Ok(())
    }

    /// Asks a gateway to end, by SIGTERM.
    pub fn terminate_gateway(&self, gateway: usize) {
        self.gateways[gateway].process.terminate();
    }

    /// Waits until a gateway that was asked to end has ended.
    ///
    /// # Errors
    /// If it does not end well, and in time.
    pub async fn gateway_ended(&self, gateway: usize) -> anyhow::Result<()> {
        let status = self.gateways[gateway].process.ended(DRAIN_LIMIT).await;
        let status = status.with_context(|| format!("no exit in {DRAIN_LIMIT:?} after SIGTERM"))?;
        ensure!(status.success(), "the gateway ended with {status}");
        Ok(())
    }

    /// Starts another gateway in the place of the one that has ended, and waits until it is attached.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_gateway(&mut self, number: usize) -> anyhow::Result<()> {
        let ended = &mut self.gateways[number];
        ended.process = gateway(number, ended.addresses, &ended.cable, &self.flags)?;
        let [_, probes] = ended.addresses;
        Ok(ready(probes, self.processes()).await?)
    }

    /// Whether all processes run.
    pub fn is_alive(&self) -> bool {
        self.processes().all(Process::is_alive)
    }

    /// The last lines of all processes.
    pub fn output(&self) -> String {
        output(self.processes())
    }

    fn processes(&self) -> impl Iterator<Item = &Process> + Clone {
        let gateways = self.gateways.iter().map(|gateway| &gateway.process);
        [&self.node].into_iter().chain(gateways)
    }
}

fn node([grpc, probes]: [SocketAddr; 2], flags: &Flags) -> anyhow::Result<Process> {
    Ok(start_node(
        &Surroundings::default(),
        grpc,
        probes,
        &flags.node,
    )?)
}

fn gateway(
    number: usize,
    [pdu, probes]: [SocketAddr; 2],
    cable: &Cable,
    flags: &Flags,
) -> anyhow::Result<Process> {
    let own = [
        format!("--gateway-id=gateway-{number}"),
        format!("--upstream={}", cable.address()),
    ];
    let flags = [&own[..], &flags.gateway].concat();
    Ok(start_gateway(
        &Surroundings::default(),
        pdu,
        probes,
        &flags,
    )?)
}
