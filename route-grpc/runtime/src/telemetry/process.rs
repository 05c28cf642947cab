//! What Linux says about this process, under the names of OpenTelemetry's semantic conventions.

use std::fs;
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// The kernel counts CPU time for user space in ticks of 10 ms on every architecture (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Declares the instruments; they read `/proc/self` when they are collected. Without `/proc` they
/// are silent.
pub(super) fn observe(meter: &Meter) {
    let cpu_mode = |mode| [KeyValue::new("cpu.mode", mode)];
    let (user, system) = (cpu_mode("user"), cpu_mode("system"));
    meter
        .f64_observable_counter("process.cpu.time")
        .with_unit("s")
        .with_description("CPU time used")
        .with_callback(move |seconds| {
            if let Some(cpu) = CpuTicks::now() {
                seconds.observe(cpu.user as f64 / TICKS_PER_SECOND, &user);
                seconds.observe(cpu.system as f64 / TICKS_PER_SECOND, &system);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.memory.usage")
        .with_unit("By")
        .with_description("Resident memory")
        .with_callback(|bytes| {
            if let Some(resident) = resident_bytes() {
                bytes.observe(resident, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.unix.file_descriptor.count")
        .with_unit("{file_descriptor}")
        .with_description("Open file descriptors")
        .with_callback(|count| {
            if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
                count.observe(descriptors.count() as u64, &[]);
            }
        })
        .build();
    let started = Instant::now();
    meter
        .f64_observable_gauge("process.uptime")
        .with_unit("s")
        .with_description("Time since the process started")
        .with_callback(move |seconds| seconds.observe(started.elapsed().as_secs_f64(), &[]))
        .build();
}

#[derive(Debug, PartialEq)]
struct CpuTicks {
    user: u64,
    system: u64,
}

impl CpuTicks {
    fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Fields 14 and 15 of `/proc/[pid]/stat`. Field 2 is the program's name in parentheses and may
    /// hold anything, so counting starts after the last one.
    fn parse(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut times = fields.split_ascii_whitespace().skip(11);
        let user = times.next()?.parse().ok()?;
        let system = times.next()?.parse().ok()?;
        Some(Self { user, system })
    }
}

fn resident_bytes() -> Option<u64> {
    parse_resident(&fs::read_to_string("/proc/self/status").ok()?)
}

/// The line `VmRSS:  1234 kB` of `/proc/[pid]/status`.
fn parse_resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_strange_program_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 15 16 17 18 20 0 1 0 99";

        assert_eq!(
            CpuTicks::parse(stat),
            Some(CpuTicks {
                user: 15,
                system: 16
            })
        );
        assert_eq!(CpuTicks::parse("7 (cut off) S 1"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(
            parse_resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"),
            Some(2 << 20)
        );
        assert_eq!(parse_resident("Name:\tkernel thread\n"), None);
    }
}
