//! The real servers as child processes, on ports of their own, gone when the test is.

pub mod nats;
pub mod ports;
pub mod probes;
pub mod process;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use process::{Process, Surroundings};

/// How long the servers may take to get ready.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How often a starting server is asked whether it is ready: there is no event to wait for outside
/// it.
const READY_POLL: Duration = Duration::from_millis(10);
/// Starts before giving up: another process may take a port between its choice and its use.
const ATTEMPTS: usize = 3;

/// Which processes serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// `pdu-gateway --embedded`.
    Embedded,
    /// `route-grpc serve`, and a `pdu-gateway` attached to it.
    TwoProcesses,
}

/// Makes two tests of each play: `name: play(…)` is played as `name::embedded` and as
/// `name::two_processes`. What the play takes first is the set-up.
#[macro_export]
macro_rules! in_both_setups {
    ($($test:ident: $play:ident($($with:expr),*);)*) => {
        $(
            mod $test {
                use super::*;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn embedded() {
                    $play($crate::deployment::Setup::Embedded, $($with),*).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn two_processes() {
                    $play($crate::deployment::Setup::TwoProcesses, $($with),*).await;
                }
            }
        )*
    };
}

/// The `--fan-out` of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanOut {
    /// A link gets what its MsgServer would use: the default.
    Directed,
    /// A link gets everything, as from the C++ RouteServer.
    Broadcast,
}

impl FanOut {
    fn flag(self) -> &'static str {
        match self {
            Self::Directed => "directed",
            Self::Broadcast => "broadcast",
        }
    }
}

/// More flags than a deployment has anyway.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags<'a> {
    /// Of `pdu-gateway`.
    pub gateway: &'a [&'a str],
    /// Of the node, in whichever process it is.
    pub node: &'a [&'a str],
    /// Of `route-grpc serve`.
    pub node_alone: &'a [&'a str],
}

/// Running servers. Dropping them kills the processes; a test that panics prints what they said.
#[derive(Debug)]
pub struct Deployment {
    pdu: SocketAddr,
    grpc: SocketAddr,
    /// The gateway's probe port first.
    probes: Vec<SocketAddr>,
    processes: Vec<Process>,
}

impl Deployment {
    /// Starts servers and waits until they are ready.
    ///
    /// # Errors
    /// A sentence with the servers' output if they do not get ready.
    pub async fn start(setup: Setup, fan_out: FanOut) -> Self {
        Self::start_with(setup, fan_out, &[]).await
    }

    /// The same with more flags for the gateway.
    ///
    /// # Errors
    /// A sentence with the servers' output if they do not get ready.
    pub async fn start_with(setup: Setup, fan_out: FanOut, gateway_flags: &[&str]) -> Self {
        Self::start_in(&Surroundings::default(), setup, fan_out, gateway_flags).await
    }

    /// The same in surroundings of their own.
    ///
    /// # Errors
    /// A sentence with the servers' output if they do not get ready.
    pub async fn start_in(
        surroundings: &Surroundings,
        setup: Setup,
        fan_out: FanOut,
        gateway_flags: &[&str],
    ) -> Self {
        let flags = Flags {
            gateway: gateway_flags,
            ..Flags::default()
        };
        Self::start_as(surroundings, setup, fan_out, flags).await
    }

    /// The same with flags for the node, too.
    ///
    /// # Errors
    /// A sentence with the servers' output if they do not get ready.
    pub async fn start_as(
        surroundings: &Surroundings,
        setup: Setup,
        fan_out: FanOut,
        flags: Flags<'_>,
    ) -> Self {
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            match Self::try_start(surroundings, setup, fan_out, flags).await {
                Ok(deployment) => return deployment,
                Err(error) => failure = error.to_string(),
            }
        }
        panic!("{failure}")
    }

    /// Where MsgServers connect.
    pub fn pdu_address(&self) -> SocketAddr {
        self.pdu
    }

    /// Where new services connect.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// The probe ports: the gateway's first.
    pub fn probes(&self) -> &[SocketAddr] {
        &self.probes
    }

    /// The gateway's probe port.
    pub fn gateway_probes(&self) -> SocketAddr {
        self.probes[0]
    }

    /// The processes: the gateway first.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Memory of all processes, in bytes of resident set.
    pub fn resident_bytes(&self) -> u64 {
        self.processes.iter().map(Process::resident_bytes).sum()
    }

    /// Whether all processes run.
    pub fn is_alive(&self) -> bool {
        self.processes.iter().all(Process::is_alive)
    }

    /// The last lines of all processes.
    pub fn output(&self) -> String {
        output(&self.processes)
    }

    async fn try_start(
        surroundings: &Surroundings,
        setup: Setup,
        fan_out: FanOut,
        asked: Flags<'_>,
    ) -> Result<Self, StartError> {
        let [pdu, grpc, gateway_probes, node_probes] = ports::free().map_err(StartError)?;
        let mut deployment = Self {
            pdu,
            grpc,
            probes: vec![gateway_probes],
            processes: Vec::new(),
        };
        let owned = |flags: &[&str]| flags.iter().map(ToString::to_string).collect();
        let mut flags: Vec<String> = owned(asked.gateway);
        let mut of_node: Vec<String> = owned(asked.node);
        of_node.push(format!("--fan-out={}", fan_out.flag()));
        match setup {
            Setup::Embedded => {
                let embedded = ["--embedded".to_owned(), format!("--grpc-listen={grpc}")];
                flags.extend(embedded);
                flags.extend(of_node);
            }
            Setup::TwoProcesses => {
                deployment.probes.push(node_probes);
                of_node.extend(asked.node_alone.iter().map(ToString::to_string));
                let node = start_node(surroundings, grpc, node_probes, &of_node)?;
                deployment.processes.push(node);
                flags.push(format!("--upstream={grpc}"));
            }
        }
        let gateway = start_gateway(surroundings, pdu, gateway_probes, &flags)?;
        deployment.processes.insert(0, gateway);
        for probes in &deployment.probes {
            ready(*probes, &deployment.processes).await?;
        }
        Ok(deployment)
    }
}

/// Starts a node that serves at these addresses.
///
/// # Errors
/// If there is no such binary.
pub fn start_node(
    surroundings: &Surroundings,
    grpc: SocketAddr,
    probes: SocketAddr,
    flags: &[String],
) -> Result<Process, StartError> {
    let addresses = [
        format!("--listen={grpc}"),
        format!("--probe-listen={probes}"),
    ];
    let all = [&["serve".to_owned()][..], &addresses, flags].concat();
    Process::start_in(surroundings, "route-grpc", &all).map_err(StartError)
}

/// Starts a gateway that serves at these addresses.
///
/// # Errors
/// If there is no such binary.
pub fn start_gateway(
    surroundings: &Surroundings,
    pdu: SocketAddr,
    probes: SocketAddr,
    flags: &[String],
) -> Result<Process, StartError> {
    let addresses = [
        format!("--listen={pdu}"),
        format!("--probe-listen={probes}"),
    ];
    let all = [&addresses[..], flags].concat();
    Process::start_in(surroundings, "pdu-gateway", &all).map_err(StartError)
}

/// Waits until the server with this probe port is ready, as long as all of these run.
///
/// # Errors
/// A sentence with their output if it does not get ready.
pub async fn ready<'a>(
    probes: SocketAddr,
    processes: impl IntoIterator<Item = &'a Process> + Clone,
) -> Result<(), StartError> {
    let limit = Instant::now() + READY_LIMIT;
    while !probes::is_ready(probes).await {
        let mut all = processes.clone().into_iter();
        if Instant::now() > limit || !all.all(Process::is_alive) {
            let output = output(processes);
            return Err(StartError(format!("not ready at {probes}\n{output}")));
        }
        sleep(READY_POLL).await;
    }
    Ok(())
}

/// The last lines of processes.
pub fn output<'a>(processes: impl IntoIterator<Item = &'a Process>) -> String {
    let outputs: Vec<_> = processes.into_iter().map(ToString::to_string).collect();
    outputs.join("\n")
}

/// The servers did not start; says why, with what they printed.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the servers did not start: {}", self.0)
    }
}

impl std::error::Error for StartError {}
