//! The real processes: some nodes, NATS servers that say which of them leads, and two gateways.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use super::terms::{Terms, Who};
use crate::cast::msg_server::GATEWAYS;
use crate::deployment::nats::NatsCluster;
use crate::deployment::process::{Process, Surroundings};
use crate::deployment::{output, ports, ready, start_gateway, start_node};
use crate::interruptions::site::Flags;

/// From SIGTERM to the exit: what the node promises by default.
const DRAIN_LIMIT: Duration = Duration::from_secs(25);
/// How long the site may be without a leader: its lease, and NATS servers that start meanwhile.
const LEADER_LIMIT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(5);
const SITE: &str = "load";
/// As a leader leaves it that has drained: a site without a record has to wait for a lease.
const RELEASED: &str = r#"{"protocol":1,"term":1,"node":1,"counter":1,"state":"released","roster":[],"node_id":"","api_url":"","attach_url":"","version":""}"#;

/// Running processes. Dropping it kills them.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) engine: NatsCluster,
    pub(super) terms: Arc<Terms>,
    nodes: Vec<Member>,
    gateways: Vec<Member>,
    flags: Flags,
}

#[derive(Debug)]
struct Member {
    process: Process,
    /// Where it serves, and its probe port.
    addresses: [SocketAddr; 2],
}

impl Fleet {
    /// Starts everything, and waits until a node leads and all are ready.
    ///
    /// # Errors
    /// If something does not start; with what it said.
    pub(super) async fn start(
        nodes: usize,
        engine_servers: usize,
        flags: &Flags,
    ) -> anyhow::Result<Self> {
        let engine = match engine_servers {
            1 => NatsCluster::of_one().await,
            _ => NatsCluster::start().await,
        };
        let mut fleet = Self {
            engine: engine.map_err(anyhow::Error::msg)?,
            terms: Arc::default(),
            nodes: Vec::new(),
            gateways: Vec::new(),
            flags: flags.clone(),
        };
        for number in 0..nodes {
            let addresses = ports::free().map_err(anyhow::Error::msg)?;
            let process = fleet.node(number, addresses)?;
            fleet.nodes.push(Member { process, addresses });
        }
        fleet.release().await?;
        for number in 0..GATEWAYS {
            let addresses = ports::free().map_err(anyhow::Error::msg)?;
            let process = fleet.gateway(number, addresses)?;
            fleet.gateways.push(Member { process, addresses });
        }
        fleet.settled().await?;
        Ok(fleet)
    }

    /// Waits until a node leads and all processes are ready that run. The leader's number.
    ///
    /// # Errors
    /// If that takes too long.
    pub(super) async fn settled(&self) -> anyhow::Result<usize> {
        let limit = Instant::now() + LEADER_LIMIT;
        while self.terms.leader().is_none() {
            ensure!(Instant::now() < limit, "no node leads: {}", self.output());
            sleep(POLL).await;
        }
        let members = self.nodes.iter().chain(&self.gateways);
        for member in members.filter(|it| it.process.is_alive()) {
            ready(member.addresses[1], [&member.process]).await?;
        }
        self.terms.leader().context("the leader is gone again")
    }

    /// Where services connect to a node.
    pub(super) fn grpc_addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.addresses[0]).collect()
    }

    /// Where MsgServers connect.
    pub(super) fn pdu_addresses(&self) -> [SocketAddr; GATEWAYS] {
        std::array::from_fn(|number| self.gateways[number].addresses[0])
    }

    /// Names of all processes, in the order of [`resident_bytes`](Self::resident_bytes).
    pub(super) fn names(&self) -> Vec<String> {
        let nodes = (0..self.nodes.len()).map(|number| format!("node {number}"));
        let gateways = (0..GATEWAYS).map(|number| format!("gateway {number}"));
        nodes.chain(gateways).collect()
    }

    /// Resident memory in bytes.
    pub(super) fn resident_bytes(&self) -> Vec<u64> {
        self.processes().map(Process::resident_bytes).collect()
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// A node's process.
    pub(super) fn process(&self, node: usize) -> &Process {
        &self.nodes[node].process
    }

    /// Ends a node as a crash does.
    pub(super) fn kill_node(&self, node: usize) {
        self.nodes[node].process.kill();
        self.terms.killed(Who::Node(node));
    }

    /// Ends a gateway as a crash does.
    pub(super) fn kill_gateway(&self, gateway: usize) {
        self.gateways[gateway].process.kill();
        self.terms.killed(Who::Gateway(gateway));
    }

    /// Waits until a node that was asked to end has ended.
    ///
    /// # Errors
    /// If it does not end well, and in time.
    pub(super) async fn node_ended(&self, node: usize) -> anyhow::Result<()> {
        let status = self.nodes[node].process.ended(DRAIN_LIMIT).await;
        let status = status.with_context(|| format!("no exit in {DRAIN_LIMIT:?} after SIGTERM"))?;
        ensure!(status.success(), "the node ended with {status}");
        Ok(())
    }

    /// Starts a node again that has ended.
    ///
    /// # Errors
    /// If it does not start.
    pub(super) fn start_node(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].process = self.node(node, self.nodes[node].addresses)?;
        Ok(())
    }

    /// The NATS server that leads the record's stream, or any.
    pub(super) async fn engine_leader(&mut self) -> usize {
        let leader = self.engine.stream_leader(&stream()).await;
        let name = leader.map(|it| it.name.clone());
        let mut servers = self.engine.servers.iter();
        let place = servers.position(|it| Some(&it.name) == name.as_ref());
        place.unwrap_or_default()
    }

    /// The last lines of all processes.
    pub(super) fn output(&self) -> String {
        let servers = self.engine.servers.iter().map(|server| &server.process);
        output(self.processes().chain(servers))
    }

    fn processes(&self) -> impl Iterator<Item = &Process> + Clone {
        let members = self.nodes.iter().chain(&self.gateways);
        members.map(|member| &member.process)
    }

    fn node(&self, number: usize, [grpc, probes]: [SocketAddr; 2]) -> anyhow::Result<Process> {
        let own = [
            "--engine=nats".to_owned(),
            format!("--nats-url={}", self.engine.urls().join(",")),
            format!("--site={SITE}"),
            format!("--node-id=node-{number}"),
            format!("--advertise-api=http://{grpc}"),
        ];
        let flags = [&own[..], &self.flags.node].concat();
        let surroundings = self.surroundings(Who::Node(number));
        Ok(start_node(&surroundings, grpc, probes, &flags)?)
    }

    fn gateway(&self, number: usize, [pdu, probes]: [SocketAddr; 2]) -> anyhow::Result<Process> {
        let upstreams = self.grpc_addresses().into_iter();
        let mut flags = vec![format!("--gateway-id=gateway-{number}")];
        flags.extend(upstreams.map(|node| format!("--upstream={node}")));
        flags.extend(self.flags.gateway.iter().cloned());
        let surroundings = self.surroundings(Who::Gateway(number));
        Ok(start_gateway(&surroundings, pdu, probes, &flags)?)
    }

    fn surroundings(&self, who: Who) -> Surroundings {
        Surroundings {
            listener: self.terms.listener(who),
            ..Surroundings::default()
        }
    }

    /// Writes a record, once the nodes have made its bucket.
    async fn release(&self) -> anyhow::Result<()> {
        let subject = format!("$KV.teamtalk-{SITE}.router");
        let limit = Instant::now() + LEADER_LIMIT;
        loop {
            let written = self.engine.servers[0].ask(&subject, "", RELEASED).await;
            if written.is_ok_and(|it| it.contains("seq")) {
                return Ok(());
            }
            ensure!(
                Instant::now() < limit,
                "no bucket for the record: {}",
                self.output()
            );
            sleep(POLL).await;
        }
    }
}

fn stream() -> String {
    format!("KV_teamtalk-{SITE}")
}
