//! Promises 1 and 4 to 8 through everything that can go wrong between MsgServers, gateways and the node: the real
//! gateway without its sockets, the real node, in one thread, with time that only the schedule moves.
//!
//! A failing seed is replayed, with all that happened, by
//! `SIM_SEED=<seed> cargo test -p system-tests --test handover <kind>`; `SIM_SEEDS=10000` plays more of them.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

#[path = "handover/acts.rs"]
mod acts;
#[path = "handover/bounds.rs"]
mod bounds;
#[path = "handover/chance.rs"]
mod chance;
#[path = "handover/check.rs"]
mod check;
#[path = "handover/connection.rs"]
mod connection;
#[path = "handover/dice.rs"]
mod dice;
#[path = "handover/disturbances.rs"]
mod disturbances;
#[path = "handover/host.rs"]
mod host;
#[path = "handover/moves.rs"]
mod moves;
#[path = "handover/msg_server.rs"]
mod msg_server;
#[path = "handover/plan.rs"]
mod plan;
#[path = "handover/subscriber.rs"]
mod subscriber;
#[path = "handover/time.rs"]
mod time;
#[path = "handover/told.rs"]
mod told;
#[path = "handover/wire.rs"]
mod wire;
#[path = "handover/world.rs"]
mod world;

use std::cell::RefCell;
use std::sync::Once;

use plan::Plan;
use world::World;

/// Seeds of each kind that are played if nothing else is said.
const SEEDS: u64 = 200;

#[test]
fn nothing_goes_wrong_without_a_reason() {
    play(Plan {
        late_gateway: true,
        moving_users: true,
        ..Plan::default()
    });
}

#[test]
fn streams_break() {
    play(Plan {
        broken_streams: true,
        late_gateway: true,
        moving_users: true,
        ..Plan::default()
    });
}

#[test]
fn the_node_crashes() {
    play(Plan {
        node_crashes: true,
        broken_streams: true,
        ..Plan::default()
    });
}

#[test]
fn the_node_drains() {
    play(Plan {
        node_drains: true,
        broken_streams: true,
        ..Plan::default()
    });
}

#[test]
fn connections_die() {
    play(Plan {
        dying_links: true,
        ..Plan::default()
    });
}

#[test]
fn users_move_while_connections_die() {
    play(Plan {
        dying_links: true,
        moving_users: true,
        ..Plan::default()
    });
}

#[test]
fn users_move_while_the_node_crashes() {
    play(Plan {
        node_crashes: true,
        moving_users: true,
        ..Plan::default()
    });
}

#[test]
fn a_gateway_comes_while_the_node_crashes() {
    play(Plan {
        node_crashes: true,
        late_gateway: true,
        ..Plan::default()
    });
}

#[test]
fn a_gateway_comes_while_connections_die() {
    play(Plan {
        dying_links: true,
        late_gateway: true,
        ..Plan::default()
    });
}

#[test]
fn streams_break_while_connections_die() {
    play(Plan {
        broken_streams: true,
        dying_links: true,
        ..Plan::default()
    });
}

#[test]
fn the_node_crashes_while_connections_die() {
    play(Plan {
        node_crashes: true,
        dying_links: true,
        ..Plan::default()
    });
}

#[test]
fn a_gateway_is_cut_off_for_longer_than_the_grace() {
    play(Plan {
        long_partitions: true,
        ..Plan::default()
    });
}

#[test]
fn gateways_are_lost() {
    play(Plan {
        lost_gateways: true,
        ..Plan::default()
    });
}

#[test]
fn windows_are_full_while_the_node_crashes() {
    play(Plan {
        node_crashes: true,
        broken_streams: true,
        small_windows: true,
        ..Plan::default()
    });
}

#[test]
fn the_same_seed_is_the_same_run() {
    let plan = Plan {
        broken_streams: true,
        node_crashes: true,
        dying_links: true,
        ..Plan::default()
    };
    for seed in 0..5 {
        let (first, second) = (run(seed, plan, false), run(seed, plan, false));
        assert_eq!(first.fingerprint, second.fingerprint, "seed {seed}");
    }
}

fn play(plan: Plan) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let (seeds, trace) = match number("SIM_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..number("SIM_SEEDS").unwrap_or(SEEDS), false),
    };
    let count = seeds.end - seeds.start;
    let failed: Vec<(u64, Vec<String>)> = seeds
        .map(|seed| (seed, run(seed, plan, trace).violations))
        .filter(|(_, violations)| !violations.is_empty())
        .collect();
    let mut report = String::new();
    for (seed, violations) in failed.iter().take(10) {
        report += &format!(
            "\nSIM_SEED={seed}: {} of {}",
            violations[0],
            violations.len()
        );
    }
    assert!(
        failed.is_empty(),
        "{} of {count} seeds fail with {plan:?}{report}",
        failed.len()
    );
}

struct Outcome {
    violations: Vec<String>,
    fingerprint: u64,
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn run(seed: u64, plan: Plan, trace: bool) -> Outcome {
    note_panics();
    PANICS.take();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed, plan, trace);
        world.play().await;
        let mut violations = PANICS.take();
        violations.append(&mut world.violations);
        Outcome {
            violations,
            fingerprint: world.fingerprint,
        }
    })
}

/// A task that panics would only be silent.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
            before(panic);
        }));
    });
}
