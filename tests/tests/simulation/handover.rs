//! Promises 1 and 4 to 9 through everything that can go wrong between MsgServers, gateways and the
//! node: the real gateway without its sockets, the real node, in one thread, with time that only
//! the schedule moves.
//!
//! A failing seed is replayed, with all that happened, by `SIM_SEED=<seed> cargo test -p
//! system-tests --test simulation handover::<kind>`; `SIM_SEEDS=10000` plays more of them.
//!
//! | modelled | how |
//! |---|---|
//! | MsgServers | one link or two, several at one address, in every second schedule with names, one without users; heartbeats are heard; they report, send, ask, read slowly or not at all, claim another link at once and come back after 4 s |
//! | gateways | everything but sockets; the kernel's buffers are a queue of bytes, read and written in random pieces |
//! | Attach streams | messages that move one by one, wait, break at any place; each end hears of it in its own time; small buffers between |
//! | the node | all of it but gRPC's transport; it crashes, drains, starts anew |
//! | subscribers | both streams of the API, read promptly or not, broken off and resumed, with and without `FAIL` on a gap |
//! | set-up, by seed or kind | `--notify-on-loss`, windows, queues of links and gateways, seats, the event log |
//!
//! Checked on the way: what MsgServers and subscribers are told, and that every queue is within its
//! bound. In the end (`check`): that nothing is missing, and that everybody knows what is true.
//! What is excused stands in `excuses`.
//!
//! Not modelled: TCP and HTTP/2 themselves and their time limits, idle links, more
//! than one node at a time, gateways that drain, an embedded node, mobile clients and hidden
//! logins, broadcast mode, services that publish, lists in several parts. Clocks of gateways differ
//! in `late_kicks` only, and only there somebody is kicked.

mod acts;
mod bounds;
mod chance;
mod check;
mod connection;
mod disturbances;
mod doubts;
mod excuses;
mod facts;
mod host;
mod late_kicks;
mod moves;
mod msg_server;
mod plan;
mod subscriber;
mod time;
mod told;
mod wire;
mod world;

use std::cell::Cell;

use plan::Plan;
use world::World;

use crate::seeds::{self, Outcome};

/// Seeds of each kind that are played if nothing else is said.
const SEEDS: u64 = 200;

/// The same of kinds in which several things go wrong at once, or whose time is spent at a limit.
const FEWER_SEEDS: u64 = 80;

/// After so many of them, a kind must have come to where it wants to.
const ENOUGH: u64 = 50;

/// Kinds of schedules, by name: how many seeds, and what goes wrong in them.
macro_rules! schedules {
    ($($kind:ident: $seeds:ident, [$($what:ident),*];)*) => {
        $(
            #[test]
            fn $kind() {
                play($seeds, Plan { $($what: true,)* ..Plan::default() });
            }
        )*
    };
}

schedules! {
    nothing_goes_wrong_without_a_reason: SEEDS, [late_gateway, moving_users];
    streams_break: SEEDS, [broken_streams, late_gateway, moving_users];
    the_node_crashes: SEEDS, [node_crashes, broken_streams];
    the_node_drains: SEEDS, [node_drains, broken_streams];
    connections_die: SEEDS, [dying_links];
    users_move_while_connections_die: SEEDS, [dying_links, moving_users];
    users_move_while_the_node_crashes: SEEDS, [node_crashes, moving_users];
    a_gateway_comes_while_the_node_crashes: SEEDS, [node_crashes, late_gateway];
    a_gateway_comes_while_connections_die: SEEDS, [dying_links, late_gateway];
    streams_break_while_connections_die: SEEDS, [broken_streams, dying_links];
    the_node_crashes_while_connections_die: SEEDS, [node_crashes, dying_links];
    a_gateway_is_cut_off_for_longer_than_the_grace: SEEDS, [long_partitions];
    gateways_are_lost: SEEDS, [lost_gateways];
    gateways_are_lost_while_the_node_crashes: FEWER_SEEDS, [lost_gateways, node_crashes];
    a_gateway_is_lost_together_with_the_node: FEWER_SEEDS, [lost_together];
    two_gateways_are_lost_at_once: FEWER_SEEDS, [two_lost_gateways];
    a_gateway_is_cut_off_for_longer_while_the_node_crashes:
        FEWER_SEEDS, [long_partitions, node_crashes];
    the_node_drains_while_connections_die: FEWER_SEEDS, [node_drains, dying_links];
    connections_die_while_gateways_are_lost: FEWER_SEEDS, [dying_links, lost_gateways];
    users_move_while_streams_break_and_nodes_change:
        FEWER_SEEDS, [node_crashes, broken_streams, node_drains, moving_users];
    msg_servers_with_one_connection_go_through_everything:
        FEWER_SEEDS, [single_links, node_crashes, broken_streams, node_drains, moving_users, late_gateway];
    users_move_while_the_node_drains_and_connections_die:
        FEWER_SEEDS, [node_drains, broken_streams, dying_links, moving_users];
    windows_are_full_while_connections_die_and_the_node_crashes:
        FEWER_SEEDS, [node_crashes, dying_links, small_windows];
    windows_are_full_while_the_node_crashes: SEEDS, [node_crashes, broken_streams, small_windows];
    msg_servers_do_not_read: FEWER_SEEDS, [slow_readers, moving_users];
    msg_servers_do_not_read_while_the_node_crashes:
        FEWER_SEEDS, [slow_readers, node_crashes, dying_links];
    gateways_are_away_until_their_queues_are_full:
        FEWER_SEEDS, [small_gateway_queues, broken_streams];
    subscribers_fall_behind:
        FEWER_SEEDS, [slow_subscriber, dying_links, lost_gateways, moving_users];
    subscribers_fall_behind_while_the_node_restarts:
        FEWER_SEEDS, [slow_subscriber, broken_streams, node_crashes, node_drains];
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

fn play(by_default: u64, plan: Plan) {
    let (count, reached) = (Cell::new(0), Cell::new(Reached::default()));
    seeds::play(by_default, &plan, |seed, shown| {
        let (outcome, this) = play_one(seed, plan, shown);
        count.set(count.get() + 1);
        reached.set(reached.get().and(this));
        outcome
    });
    if count.get() >= ENOUGH {
        reached.get().check(plan);
    }
}

fn run(seed: u64, plan: Plan, shown: bool) -> Outcome {
    play_one(seed, plan, shown).0
}

fn play_one(seed: u64, plan: Plan, shown: bool) -> (Outcome, Reached) {
    with_time_that_stands(async {
        let mut world = World::new(seed, plan, shown);
        world.play().await;
        let reached = Reached::of(&world);
        let outcome = Outcome {
            violations: world.violations,
            fingerprint: world.trace.fingerprint(),
        };
        (outcome, reached)
    })
}

/// Time passes only when somebody moves it.
fn with_time_that_stands<T>(play: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(play)
}

/// How often schedules came to where their kind wants them.
#[derive(Debug, Default, Clone, Copy)]
struct Reached {
    cut_off_readers: u64,
    dropped: u64,
    gaps: u64,
    losses: u64,
}

impl Reached {
    fn of(world: &World) -> Self {
        let slow = world.slow_subscriber.as_ref();
        Self {
            cut_off_readers: world.cut_off_readers,
            dropped: world.dropped,
            gaps: slow.map_or(0, |slow| slow.book().gaps),
            losses: world.facts.certain_in_all(),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            cut_off_readers: self.cut_off_readers + other.cut_off_readers,
            dropped: self.dropped + other.dropped,
            gaps: self.gaps + other.gaps,
            losses: self.losses + other.losses,
        }
    }

    fn check(self, plan: Plan) {
        for (is_wanted, count) in [
            (plan.slow_readers, self.cut_off_readers),
            (plan.small_gateway_queues, self.dropped),
            (plan.slow_subscriber, self.gaps),
            (plan.lost_gateways && !plan.node_crashes, self.losses),
        ] {
            assert!(
                count > 0 || !is_wanted,
                "{plan:?} is to no purpose: {self:?}"
            );
        }
    }
}
