//! Promises 1 and 4 to 8 through everything that can go wrong between MsgServers, gateways and the node: the real
//! gateway without its sockets, the real node, in one thread, with time that only the schedule moves.
//!
//! A failing seed is replayed, with all that happened, by
//! `SIM_SEED=<seed> cargo test -p system-tests --test handover <kind>`; `SIM_SEEDS=10000` plays more of them.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

#[path = "handover/acts.rs"]
mod acts;
#[path = "handover/book.rs"]
mod book;
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
#[path = "handover/lives.rs"]
mod lives;
#[path = "handover/moves.rs"]
mod moves;
#[path = "handover/msg_server.rs"]
mod msg_server;
#[path = "handover/plan.rs"]
mod plan;
#[path = "handover/seeds.rs"]
mod seeds;
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

use plan::Plan;
use seeds::Outcome;
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
    seeds::play(SEEDS, &plan, |seed, shown| run(seed, plan, shown));
}

fn run(seed: u64, plan: Plan, shown: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed, plan, shown);
        world.play().await;
        Outcome {
            violations: world.violations,
            fingerprint: world.trace.fingerprint(),
        }
    })
}
