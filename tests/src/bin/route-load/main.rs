//! Load generator for a RouteServer: plays MsgServers against any address.
//!
//! It never touches the project's servers from inside: it speaks PDUs over TCP (and gRPC in
//! `demo`), and reads CPU and memory of the server's processes from the kernel. So it measures the
//! C++ RouteServer as well.
//!
//! `cli` says what can be asked for, `service` how services connect, `workload` what is measured, `measure` how often, `report` and
//! `table` how it is shown, `target` what is aimed at. `relay` is the physical limit to compare
//! with.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the output of a command"
)]

mod attacks;
mod cli;
mod demo;
mod figures;
mod interruptions;
mod measure;
mod mesh;
mod pair;
mod process;
mod relay;
mod report;
mod server;
mod service;
mod table;
mod target;
mod workload;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use cli::{Cli, Task};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("route-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what was asked for; false if some of it did not work out and has been said.
fn run(cli: Cli) -> anyhow::Result<bool> {
    match cli.task {
        Some(Task::Demo(options)) => demo::run(&options),
        Some(Task::Pair(options)) => pair::run(&options),
        Some(Task::Attacks(options)) => attacks::run(&options),
        Some(Task::Handover(options)) => interruptions::run(&options),
        None => match cli.relay {
            Some(address) => relay::serve(address).map(|()| true),
            None => load(&cli.load),
        },
    }
}

fn load(options: &cli::LoadOptions) -> anyhow::Result<bool> {
    let servers = options.servers()?;
    let report = measure::run(options, &servers);
    if options.table {
        print!("{}", table::render(&report));
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report.to_json())?;
        std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))?;
    }
    Ok(report.failures == 0)
}
