//! Interrupts a node of our own while MsgServers work, and shows what became of their messages.

use std::time::Duration;

use anyhow::Context as _;
use system_tests::interruptions::site::Flags;
use system_tests::interruptions::{self, Course, Interruption};

use crate::cli::HandoverOptions;

/// True if MsgServers have noticed nothing.
pub(crate) fn run(options: &HandoverOptions) -> anyhow::Result<bool> {
    let course = Course {
        interruptions: vec![
            (Interruption::None, 1),
            (Interruption::Kill, options.kills),
            (Interruption::Terminate, options.terminations),
            (Interruption::Cut, options.cuts),
        ],
        messages: options.messages,
        updates: options.updates,
        queries: options.queries,
        longest_cut: Duration::try_from_secs_f64(options.longest_cut)?,
        between: Duration::try_from_secs_f64(options.between)?,
        flags: Flags {
            node: options.node_flags.clone(),
            gateway: options.gateway_flags.clone(),
        },
        is_besieged: options.besieged,
        seed: options.seed.unwrap_or_else(|| fastrand::u64(..)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(interruptions::run(&course, |step| eprintln!("{step}")))?;
    print!("{report}");
    if let Some(path) = &options.server_log {
        std::fs::write(path, &report.output)
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(report.is_clean())
}
