//! Promises 1 and 4 to 9 over a network that stalls, breaks and lies: the real loops of gateways, nodes and clients, with
//! gRPC, HTTP/2 and their time limits, on hosts that turmoil plays in one thread, with time that only the schedule moves.
//!
//! `handover.rs` looks deeper into what may meet what; here the connections themselves are real.
//!
//! A failing seed is replayed, with all that happened, by
//! `SIM_SEED=<seed> cargo test -p system-tests --test network <kind>`; `SIM_SEEDS=1000` plays more of them.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

#[path = "network/board.rs"]
mod board;
#[path = "handover/book.rs"]
mod book;
#[path = "network/cases.rs"]
mod cases;
#[path = "network/check.rs"]
mod check;
#[path = "handover/dice.rs"]
mod dice;
#[path = "network/host.rs"]
mod host;
#[path = "handover/lives.rs"]
mod lives;
#[path = "network/msg_server.rs"]
mod msg_server;
#[path = "handover/seeds.rs"]
mod seeds;
#[path = "network/site.rs"]
mod site;
#[path = "network/storm.rs"]
mod storm;
#[path = "network/subscriber.rs"]
mod subscriber;
#[path = "network/wire.rs"]
mod wire;

use seeds::Outcome;
use site::Site;
use storm::Fault;

/// Seeds of each kind that are played if nothing else is said.
const SEEDS: u64 = 30;

#[test]
fn streams_stall_and_break() {
    use Fault::{Cut, OneWay, Stall};
    play(&[Stall, Cut, OneWay], true);
}

#[test]
fn nodes_die_vanish_and_drain() {
    use Fault::{Cut, NodeDies, NodeDrains, NodeVanishes, Stall};
    play(&[NodeDies, NodeVanishes, NodeDrains, Cut, Stall], true);
}

#[test]
fn gateways_die_and_vanish() {
    use Fault::{Cut, GatewayDies, GatewayVanishes, NodeDies, Stall};
    let faults = [GatewayDies, GatewayVanishes, NodeDies, Stall, Cut];
    play(&faults, false);
}

#[test]
fn gateways_are_cut_off_for_longer_than_the_grace() {
    use Fault::{Cut, GatewayVanishes, LongStall, Stall};
    play(&[LongStall, LongStall, GatewayVanishes, Stall, Cut], false);
}

#[test]
fn the_same_seed_is_the_same_run() {
    use Fault::{Cut, GatewayVanishes, NodeDrains, NodeVanishes, OneWay};
    let faults = [Cut, GatewayVanishes, NodeDrains, NodeVanishes, OneWay];
    for seed in 0..3 {
        let (first, second) = (run(seed, &faults, false), run(seed, &faults, false));
        assert_eq!(first.fingerprint, second.fingerprint, "seed {seed}");
    }
}

/// `unnoticed`: by MsgServers.
fn play(faults: &[Fault], unnoticed: bool) {
    seeds::play(SEEDS, &faults, |seed, shown| {
        let mut site = Site::new(seed, shown);
        let plays = site.begin() && storm::play(&mut site, faults);
        if plays && unnoticed {
            check::connections(&site.board);
        }
        site.conclude()
    });
}

fn run(seed: u64, faults: &[Fault], shown: bool) -> Outcome {
    let mut site = Site::new(seed, shown);
    if site.begin() {
        storm::play(&mut site, faults);
    }
    site.conclude()
}
