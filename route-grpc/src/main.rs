//! `route-grpc`: the node, and an operator's commands for it.

mod commands;

use std::process::ExitCode;

use clap::Parser;

// musl's own makes everything slower: docs/capacity.md.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    commands::run(commands::Cli::parse())
}
