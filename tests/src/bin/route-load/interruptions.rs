//! Interrupts nodes of our own while MsgServers work, and shows what became of their messages.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use system_tests::interruptions::report::Report;
use system_tests::interruptions::several::{self, Trouble};
use system_tests::interruptions::site::Flags;
use system_tests::interruptions::{self, Course, Interruption, Load};

use crate::cli::HandoverOptions;

/// True if MsgServers have noticed nothing.
pub(crate) fn run(options: &HandoverOptions) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(report(options))?;
    print!("{report}");
    if let Some(path) = &options.server_log {
        std::fs::write(path, &report.output)
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(report.is_clean())
}

async fn report(options: &HandoverOptions) -> anyhow::Result<Report> {
    let load = Load {
        messages: options.messages,
        updates: options.updates,
        queries: options.queries,
        between: Duration::try_from_secs_f64(options.between)?,
        seed: options.seed.unwrap_or_else(|| fastrand::u64(..)),
    };
    let flags = Flags {
        node: options.node_flags.clone(),
        gateway: options.gateway_flags.clone(),
    };
    let tell = |step: &str| eprintln!("{step}");
    if options.several.nodes > 1 {
        ensure!(!options.besieged, "--besieged is for one node");
        return several::run(&of_several(options, load, flags), tell).await;
    }
    let course = Course {
        interruptions: vec![
            (Interruption::None, 1),
            (Interruption::Kill, options.kills),
            (Interruption::Terminate, options.terminations),
            (Interruption::Cut, options.cuts),
        ],
        load,
        longest_cut: Duration::try_from_secs_f64(options.longest_cut)?,
        flags,
        is_besieged: options.besieged,
    };
    interruptions::run(&course, tell).await
}

fn of_several(options: &HandoverOptions, load: Load, flags: Flags) -> several::Course {
    let several = &options.several;
    several::Course {
        nodes: several.nodes,
        engine_servers: several.nats_servers,
        troubles: vec![
            (Trouble::None, 1),
            (Trouble::Kill, options.kills),
            (Trouble::Terminate, options.terminations),
            (Trouble::Freeze, several.freezes),
            (Trouble::Pause, several.pauses),
            (Trouble::KillEngine, several.nats_kills),
            (Trouble::Roll, several.rolls),
            (Trouble::NoEngine, several.nats_absences),
            (Trouble::KillWithGateway, several.double_kills),
        ],
        absence: Duration::from_secs(several.nats_absence),
        load,
        flags,
    }
}
