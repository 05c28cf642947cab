//! Promises 1 and 4 to 9 over a network that stalls, breaks and lies: the real loops of gateways,
//! nodes and clients, with gRPC, HTTP/2 and their time limits, on hosts that turmoil plays in one
//! thread, with time that only the schedule moves.
//!
//! `handover` looks deeper into what may meet what; here the connections themselves are real.
//!
//! A failing seed is replayed, with all that happened, by `SIM_SEED=<seed> cargo test -p
//! system-tests --test simulation network::<kind>`; `SIM_SEEDS=1000` plays more of them.

mod board;
mod cases;
mod check;
mod host;
mod msg_server;
mod site;
mod storm;
mod subscriber;
pub(crate) mod wire;

use site::Site;
use storm::Fault;

use crate::seeds::{self, Outcome};

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
