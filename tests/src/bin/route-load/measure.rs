//! Measures every workload on every server, alternately, on a machine as quiet as it gets.

use std::time::Instant;

use crate::cli::LoadOptions;
use crate::figures::Figures;
use crate::process;
use crate::report::{Measured, Report};
use crate::server::{Kind, ServerSpec, StartOptions};
use crate::workload::{self, Workload};

/// A run that other processes disturbed is repeated; the last attempt counts in any case.
const ATTEMPTS: usize = 5;

/// Measures, prints each workload's figures as soon as they are there, and returns all of them.
pub(crate) fn run(options: &LoadOptions, servers: &[ServerSpec]) -> Report {
    let mut report = Report::default();
    for workload in workload::selected(options) {
        let able: Vec<&ServerSpec> = servers
            .iter()
            .filter(|server| workload.is_for(Kind::of(&server.name)))
            .collect();
        let names = able.iter().map(|server| server.name.clone());
        let mut measured = Measured::new(workload.label(), names);
        for _ in 0..options.runs {
            for (index, server) in able.iter().enumerate() {
                match quiet_run(workload.as_ref(), server, options) {
                    Ok(figures) => measured.add(index, figures),
                    Err(error) => {
                        report.failures += 1;
                        eprintln!("{}: {}: {error:#}", workload.label(), server.name);
                    }
                }
            }
        }
        print!("{measured}");
        report.workloads.push(measured);
    }
    report
}

/// One run, repeated if other processes disturbed it.
fn quiet_run(
    workload: &dyn Workload,
    spec: &ServerSpec,
    options: &LoadOptions,
) -> anyhow::Result<Figures> {
    let mut attempt = 1;
    loop {
        process::wait_for_quiet(options.quiet_wait());
        let (figures, others) = observed_run(workload, spec, options)?;
        if others < options.max_other_cpu || attempt == ATTEMPTS {
            return Ok(figures);
        }
        attempt += 1;
    }
}

/// One run, and how many processors others used meanwhile.
fn observed_run(
    workload: &dyn Workload,
    spec: &ServerSpec,
    options: &LoadOptions,
) -> anyhow::Result<(Figures, f64)> {
    let server = spec.start(StartOptions {
        log: options.server_log.as_deref(),
        by_process: options.by_process,
        service: &options.service,
    })?;
    let before = server.cpu()?;
    let machine_before = process::machine_busy();
    let own_before = process::own_cpu();
    let start = Instant::now();

    let mut figures = workload.run(&server)?;

    let elapsed = start.elapsed();
    let machine = process::machine_busy().saturating_sub(machine_before);
    let own = process::own_cpu().saturating_sub(own_before);
    let ours = server.usage_since(&before)?.total + own;
    let others = machine.saturating_sub(ours).as_secs_f64() / elapsed.as_secs_f64();
    figures.add("other_cpu_share", others);
    Ok((figures, others))
}
