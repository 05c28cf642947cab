//! What can be asked for on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};

use system_tests::siege::Attack;

use crate::server::{LIMIT, Origin, ServerSpec};
use crate::service::ServiceTls;

/// Load generator for a RouteServer: plays MsgServers and measures throughput, latency, CPU and
/// memory.
///
/// Several servers are measured alternately, run by run, and figures are medians over the runs.
/// They compare only within one invocation: absolute ones do not travel between machines. Compare
/// with a server named `limit`, our relay, which copies bytes and knows nothing.
///
/// Without --server and --spawn, the release binaries beside this one are measured: `limit`,
/// `embedded` and `pair`.
#[derive(Debug, Parser)]
#[command(name = "route-load", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Example, two servers under each other's eyes:\n  \
    route-load --spawn limit 127.0.0.1:18999 'route-load --relay 127.0.0.1:18999' \\\n             \
    --spawn mine 127.0.0.1:8200 'pdu-gateway --embedded --fan-out broadcast' \\\n             \
    --tests forward,latency --runs 3 --table\n\n\
    Commands are looked up beside route-load first, then in PATH.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) task: Option<Task>,

    /// Serve as the physical limit: copy every message to every other connection, until killed.
    #[arg(long, value_name = "ADDR")]
    pub(crate) relay: Option<SocketAddr>,

    #[command(flatten)]
    pub(crate) load: LoadOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Show that a running server works: two MsgServers, a message between them, a gRPC subscriber
    /// that sees it.
    Demo(DemoOptions),
    /// Run route-grpc and a pdu-gateway attached to it as one command, for --spawn; SIGTERM ends
    /// both.
    Pair(PairOptions),
    /// Measure what others notice while one peer behaves badly, beside a neighbour that only burns
    /// as much CPU.
    Attacks(AttackOptions),
    /// Interrupt a node of our own while played MsgServers work through two gateways: nothing may
    /// be lost, come twice or out of order, no user be falsely offline.
    Handover(HandoverOptions),
}

#[derive(Debug, Args)]
pub(crate) struct LoadOptions {
    /// Measure a running server; PIDS, separated by commas, are its processes.
    #[arg(long, num_args = 3, value_names = ["NAME", "ADDR", "PIDS"])]
    server: Vec<String>,

    /// Start a fresh server for every workload and run, and measure it with all its child
    /// processes.
    #[arg(long, num_args = 3, value_names = ["NAME", "ADDR", "COMMAND"])]
    spawn: Vec<String>,

    /// Workloads, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    pub(crate) tests: Vec<Test>,

    /// How often each workload is measured on each server.
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: usize,

    /// How long a workload that is not a fixed amount takes.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) seconds: f64,

    /// Smaller amounts: 5 MB at once, 2 000 rounds of latency, 100 000 users.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Also give CPU by process, as `figure/process`.
    #[arg(long)]
    pub(crate) by_process: bool,

    /// End with a table of ratios to the server `limit` and of the targets met and missed.
    #[arg(long)]
    pub(crate) table: bool,

    /// Write all figures of all runs to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Append what spawned servers print to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) server_log: Option<PathBuf>,

    /// Repeat a run during which other processes used more than this many processors, four times at
    /// most.
    #[arg(long, value_name = "SHARE", default_value_t = 0.3)]
    pub(crate) max_other_cpu: f64,

    /// How long to wait before a run for other processes to become quiet, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    quiet_wait: u64,

    #[command(flatten)]
    pub(crate) service: ServiceTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Test {
    /// All of them.
    All,
    /// Group messages of 1 KB, a bounded number in flight.
    Forward,
    /// A fixed amount of group messages, everything that the sockets take, at once.
    Flood,
    /// One one-to-one message at a time.
    Latency,
    /// Group messages at a fixed rate.
    Rate,
    /// Pipelined status requests, half of the users online.
    Status,
    /// A million users in ten lists, then one of the connections goes away.
    Users,
    /// Logins and logouts.
    Storm,
    /// Chat messages to subscribers over gRPC, at the port after that for PDUs; beside a server
    /// named `nats`, which speaks NATS.
    Subscribers,
    /// Services that watch users, at the same port: half of them read, half do not; each one's
    /// state is compared with the node's.
    Watchers,
    /// One-to-one messages: how many copies the server makes of each.
    Bytes,
}

#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Where MsgServers connect.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8200")]
    pub(crate) pdu: SocketAddr,

    /// Where services connect: host:port, or a URL.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051")]
    pub(crate) grpc: String,

    #[command(flatten)]
    pub(crate) service: ServiceTls,

    /// Stay: the two users go on writing to each other until Ctrl-C, for other commands to look at.
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PairOptions {
    /// Where the gateway listens for MsgServers.
    #[arg(long, value_name = "ADDR")]
    pub(crate) pdu: SocketAddr,

    /// Where the node listens for gRPC; a free port unless given.
    #[arg(long, value_name = "ADDR")]
    pub(crate) grpc: Option<SocketAddr>,

    /// Also sets --fan-out of the node. Everything else is set by environment: TT_ROUTE_… and
    /// TT_GATEWAY_….
    #[arg(long, value_name = "MODE")]
    pub(crate) fan_out: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AttackOptions {
    /// Which of our servers: embedded or pair.
    #[arg(long, value_name = "NAME", default_value = "embedded")]
    server: String,

    /// Only this attack, by its name in the table; may be given several times.
    #[arg(long = "attack", value_name = "NAME")]
    attacks: Vec<String>,

    /// How often each attack is measured.
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,

    /// How long round trips are measured: in peace, beside the burner, during the attack.
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,

    /// How long to wait before a run for other processes to become quiet, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) quiet_wait: u64,
}

impl AttackOptions {
    /// What to attack with: all there is, unless something is named.
    pub(crate) fn attacks(&self) -> anyhow::Result<Vec<Attack>> {
        if self.attacks.is_empty() {
            return Ok(Attack::ALL.to_vec());
        }
        let named = self.attacks.iter().map(|name| {
            let mut all = Attack::ALL.into_iter();
            let names = || Attack::ALL.map(Attack::name).join(", ");
            all.find(|attack| attack.name() == name)
                .with_context(|| format!("{name:?} is none of: {}", names()))
        });
        named.collect()
    }

    /// The server to attack.
    pub(crate) fn server(&self) -> anyhow::Result<ServerSpec> {
        let mut own = OWN_SERVERS.iter().skip(1);
        let (name, address, command) = own
            .find(|(name, ..)| *name == self.server)
            .with_context(|| format!("{:?} is none of our servers", self.server))?;
        spec(name, address, Origin::Spawned((*command).to_owned()))
    }
}

#[derive(Debug, Args)]
pub(crate) struct HandoverOptions {
    /// How often the node is killed (SIGKILL) and another one started.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) kills: usize,

    /// How often the node is ended by SIGTERM and another one started.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) terminations: usize,

    /// How often gateways are cut off from the node.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) cuts: usize,

    /// Messages that the four MsgServers send together, in a second.
    #[arg(long, value_name = "COUNT", default_value_t = 5000)]
    pub(crate) messages: u64,

    /// Logins and logouts, in a second.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) updates: u64,

    /// Status queries, in a second.
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    pub(crate) queries: u64,

    /// The longest cut, seconds; a gateway that is away for longer than the node's grace (10 s)
    /// loses its links.
    #[arg(long, value_name = "SECONDS", default_value_t = 6.0)]
    pub(crate) longest_cut: f64,

    /// From one interruption to the next one, on average, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    pub(crate) between: f64,

    /// Others besiege the site meanwhile: a storm of logins, readers that are slow or never read,
    /// PDUs that never end, noise, gRPC clients that read nothing.
    #[arg(long)]
    pub(crate) besieged: bool,

    /// One more flag of the nodes, as --node-flag=--log-bytes=1MiB.
    #[arg(long = "node-flag", value_name = "FLAG")]
    pub(crate) node_flags: Vec<String>,

    /// One more flag of the gateways, as --gateway-flag=--memory-limit=1GiB.
    #[arg(long = "gateway-flag", value_name = "FLAG")]
    pub(crate) gateway_flags: Vec<String>,

    #[command(flatten)]
    pub(crate) several: SeveralOptions,

    /// If something goes wrong, write what the processes said last to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) server_log: Option<PathBuf>,

    /// Seed of the dice; another one each time unless given.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// What says which of several nodes leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineKind {
    /// NATS servers of our own, from `tests/clients/install`.
    Nats,
}

/// Of several nodes; without --nodes there is one.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several nodes")]
pub(crate) struct SeveralOptions {
    /// Nodes. With several, kills and SIGTERMs are of the one that leads, and there are no cuts.
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "engine")]
    pub(crate) nodes: usize,

    /// What says which of them leads.
    #[arg(long, value_enum, requires = "nodes")]
    engine: Option<EngineKind>,

    /// NATS servers: 1 or 3.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = one_or_three)]
    pub(crate) nats_servers: usize,

    /// How often the node that leads stands still for longer than its lease.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) freezes: usize,

    /// How often the node that leads stands still for about as long as gateways wait for it.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) pauses: usize,

    /// How often a NATS server is killed and started again.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) nats_kills: usize,

    /// How often all NATS servers are away.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub(crate) nats_absences: usize,

    /// For how long, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) nats_absence: u64,

    /// How often all nodes are ended by SIGTERM and started again, one after the other.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub(crate) rolls: usize,

    /// How often the node that leads and a gateway are killed together. What that gateway alone
    /// held is lost; each time is a site of its own.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    pub(crate) double_kills: usize,
}

impl LoadOptions {
    /// The servers to measure, in the order in which they take turns.
    pub(crate) fn servers(&self) -> anyhow::Result<Vec<ServerSpec>> {
        let mut servers = Vec::new();
        for [name, address, pids] in triples(&self.server) {
            let pids = pids
                .split(',')
                .map(|pid| pid.parse().with_context(|| format!("{pid:?} is no PID")))
                .collect::<anyhow::Result<_>>()?;
            servers.push(spec(name, address, Origin::Running(pids))?);
        }
        for [name, address, command] in triples(&self.spawn) {
            servers.push(spec(name, address, Origin::Spawned(command.clone()))?);
        }
        if servers.is_empty() {
            servers = OWN_SERVERS
                .iter()
                .map(|(name, address, command)| {
                    spec(name, address, Origin::Spawned((*command).to_owned()))
                })
                .collect::<anyhow::Result<_>>()?;
        }
        Ok(servers)
    }

    pub(crate) fn wants(&self, test: Test) -> bool {
        self.tests.contains(&test) || self.tests.contains(&Test::All)
    }

    pub(crate) fn quiet_wait(&self) -> Duration {
        Duration::from_secs(self.quiet_wait)
    }
}

/// What is measured unless something else is asked for. The ports are ours alone: a server on
/// default ports may run.
const OWN_SERVERS: [(&str, &str, &str); 3] = [
    (
        LIMIT,
        "127.0.0.1:18990",
        "route-load --relay 127.0.0.1:18990",
    ),
    (
        "embedded",
        "127.0.0.1:18991",
        "pdu-gateway --embedded --max-streams 4000 --listen 127.0.0.1:18991 --grpc-listen 127.0.0.1:18992 \
         --probe-listen 127.0.0.1:18993",
    ),
    (
        "pair",
        "127.0.0.1:18994",
        "route-load pair --pdu 127.0.0.1:18994 --grpc 127.0.0.1:18995",
    ),
];

fn one_or_three(value: &str) -> Result<usize, String> {
    match value {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("1 or 3".to_owned()),
    }
}

fn triples(values: &[String]) -> impl Iterator<Item = &[String; 3]> {
    // clap takes exactly three values per occurrence
    values.as_chunks::<3>().0.iter()
}

fn spec(name: &str, address: &str, origin: Origin) -> anyhow::Result<ServerSpec> {
    Ok(ServerSpec {
        name: name.to_owned(),
        address: address
            .parse()
            .with_context(|| format!("{address:?} is no IP:PORT"))?,
        origin,
    })
}
