//! The server under test: where it is, how it is started and stopped, what it costs.

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::process::Process;
use crate::service::{Connection, ServiceTls};

/// Name of the relay that others are compared with.
pub(crate) const LIMIT: &str = "limit";

/// How long a started server may take until it accepts connections.
const START_LIMIT: Duration = Duration::from_secs(20);

/// From the first accepted connection until the processes are counted: start-up work and children.
const SETTLE: Duration = Duration::from_millis(300);

/// How long a server may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(5);

const LOOK: Duration = Duration::from_millis(50);

/// A server that takes part in the comparison.
#[derive(Clone, Debug)]
pub(crate) struct ServerSpec {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) origin: Origin,
}

/// What a server is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Named [`LIMIT`]: our relay, which knows nothing.
    Relay,
    /// Named `nats`: speaks NATS instead of PDUs.
    Nats,
    /// A RouteServer.
    Route,
}

/// Where a server comes from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// It runs already, as these processes.
    Running(Vec<u32>),
    /// A fresh one is started for each measurement with this shell command.
    Spawned(String),
}

/// How to start and observe servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartOptions<'a> {
    pub(crate) log: Option<&'a Path>,
    pub(crate) by_process: bool,
    pub(crate) service: &'a ServiceTls,
}

/// A server that is being measured; one that was spawned ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) kind: Kind,
    /// How services connect.
    pub(crate) service: ServiceTls,
    processes: Vec<Process>,
    by_process: bool,
    /// Held for its `Drop`.
    _child: Option<Group>,
}

/// CPU time of each process at one moment.
#[derive(Clone, Debug)]
pub(crate) struct CpuReading(Vec<Duration>);

/// CPU time that a server used between two moments.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub(crate) total: Duration,
    /// Parts of the total by program; empty unless asked for.
    pub(crate) parts: Vec<(String, Duration)>,
}

impl Kind {
    /// Of the server with this name.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            LIMIT => Self::Relay,
            "nats" => Self::Nats,
            _ => Self::Route,
        }
    }
}

impl ServerSpec {
    /// Uses the running server, or starts a fresh one.
    pub(crate) fn start(&self, options: StartOptions<'_>) -> anyhow::Result<Server> {
        let (processes, child) = match &self.origin {
            Origin::Running(pids) => (pids.iter().copied().map(Process::new).collect(), None),
            Origin::Spawned(command) => {
                let mut group = Group::spawn(command, options.log)?;
                group
                    .wait_until_listening(self.address)
                    .with_context(|| format!("start {}: {command}", self.name))?;
                (Process::tree(group.0.id()), Some(group))
            }
        };
        Ok(Server {
            address: self.address,
            kind: Kind::of(&self.name),
            service: options.service.clone(),
            processes,
            by_process: options.by_process,
            _child: child,
        })
    }
}

impl Server {
    /// Where services connect: the port after that for PDUs.
    pub(crate) fn grpc(&self) -> SocketAddr {
        let mut address = self.address;
        address.set_port(address.port() + 1);
        address
    }

    /// A service connects there.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        self.service.connect(&self.grpc().to_string()).await
    }

    /// An error if one of its processes is gone.
    pub(crate) fn cpu(&self) -> anyhow::Result<CpuReading> {
        let times = self.processes.iter().map(Process::cpu);
        Ok(CpuReading(times.collect::<anyhow::Result<_>>()?))
    }

    /// What it has used since `before`.
    pub(crate) fn usage_since(&self, before: &CpuReading) -> anyhow::Result<Usage> {
        let now = self.cpu()?;
        let spent: Vec<Duration> = now
            .0
            .iter()
            .zip(&before.0)
            .map(|(now, before)| now.saturating_sub(*before))
            .collect();
        let parts = if self.by_process {
            let names = self.processes.iter().map(|process| process.name.clone());
            names.zip(spent.iter().copied()).collect()
        } else {
            Vec::new()
        };
        Ok(Usage {
            total: spent.iter().sum(),
            parts,
        })
    }

    /// Resident memory of all its processes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.processes.iter().map(Process::resident_bytes).sum()
    }
}

/// A spawned shell command and all its children: a process group of its own, ended on drop.
#[derive(Debug)]
struct Group(Child);

impl Group {
    fn spawn(command: &str, log: Option<&Path>) -> anyhow::Result<Self> {
        let output = |log: Option<&Path>| -> anyhow::Result<Stdio> {
            let Some(path) = log else {
                return Ok(Stdio::null());
            };
            let file: File = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("open {}", path.display()))?;
            Ok(file.into())
        };
        let child = Command::new("/bin/sh")
            .args(["-c", &format!("exec {command}")])
            .env("PATH", path_with_own_directory()?)
            .stdin(Stdio::null())
            .stdout(output(log)?)
            .stderr(output(log)?)
            .process_group(0)
            .spawn()?;
        Ok(Self(child))
    }

    fn wait_until_listening(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let end = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.0.try_wait()? {
                anyhow::bail!("it ended at once, {status}; --server-log FILE shows why");
            }
            anyhow::ensure!(
                Instant::now() < end,
                "it does not accept connections on {address}"
            );
            std::thread::sleep(LOOK);
        }
        std::thread::sleep(SETTLE);
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.0.id().cast_signed());
        // A signal fails only for a group that has ended, which is what is wanted.
        let _ = killpg(group, Signal::SIGTERM);
        let end = Instant::now() + STOP_LIMIT;
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() >= end {
                break;
            }
            std::thread::sleep(LOOK);
        }
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// `PATH` with the directory of this program in front: there the project's other binaries are.
fn path_with_own_directory() -> anyhow::Result<std::ffi::OsString> {
    let own = std::env::current_exe()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = own.parent().map(Path::to_path_buf);
    Ok(std::env::join_paths(
        directories.into_iter().chain(std::env::split_paths(&path)),
    )?)
}
