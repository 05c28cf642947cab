//! What the kernel knows of processes: CPU time, memory, children; and how busy the machine is.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::time::ClockId;
use nix::unistd::Pid;

/// A process by number and the name of its program.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pid: u32,
    pub(crate) name: String,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Self {
            pid,
            name: name.trim().to_owned(),
        }
    }

    /// The process and all that descend from it.
    pub(crate) fn tree(root: u32) -> Vec<Self> {
        let mut found = Vec::new();
        let mut todo = vec![root];
        while let Some(pid) = todo.pop() {
            found.push(Self::new(pid));
            let tasks = fs::read_dir(format!("/proc/{pid}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                todo.extend(
                    children
                        .split_whitespace()
                        .flat_map(|pid| pid.parse::<u32>()),
                );
            }
        }
        found
    }

    /// User and system time of all its threads, from the process's CPU clock: nanoseconds, not
    /// ticks of 10 ms.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let pid = Pid::from_raw(self.pid.cast_signed());
        let time = ClockId::pid_cpu_clock_id(pid)
            .and_then(ClockId::now)
            .with_context(|| format!("process {} ({}) is gone", self.pid, self.name))?;
        Ok(time.into())
    }

    /// Resident memory, bytes; 0 if the process is gone.
    pub(crate) fn resident_bytes(&self) -> u64 {
        system_tests::deployment::process::resident_bytes(self.pid)
    }
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Duration {
    // This clock exists in every Linux kernel.
    ClockId::CLOCK_PROCESS_CPUTIME_ID
        .now()
        .map_or(Duration::ZERO, Duration::from)
}

/// Time that all processors together were not idle, in ticks of 10 ms.
pub(crate) fn machine_busy() -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    // user nice system idle iowait irq softirq steal
    const COUNTED: [usize; 6] = [0, 1, 2, 5, 6, 7];

    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u32> = stat
        .lines()
        .next()
        .into_iter()
        .flat_map(|line| line.split_whitespace().skip(1))
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let ticks: u32 = COUNTED.iter().filter_map(|at| fields.get(*at)).sum();
    TICK * ticks
}

/// Waits until nothing else uses the machine, `limit` at most.
pub(crate) fn wait_for_quiet(limit: Duration) {
    const LOOK: Duration = Duration::from_millis(500);
    const QUIET: Duration = Duration::from_millis(60);

    let end = Instant::now() + limit;
    while Instant::now() < end {
        let before = machine_busy();
        std::thread::sleep(LOOK);
        if machine_busy().saturating_sub(before) < QUIET {
            return;
        }
    }
}
