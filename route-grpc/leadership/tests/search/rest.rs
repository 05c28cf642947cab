//! What becomes of a world once nothing fails any more.

use crate::rules::Rules;
use crate::steps::Step;
use crate::world::{Budget, World};

/// Long enough for two leases, one after the other, and for all to come.
const SECONDS: usize = 16;

/// Whether one node serves all gateways after a rest: whatever is on its way arrives, nodes do what they may, and
/// gateways that no node serves try one node after the other.
pub(crate) fn one_serves_all<const N: usize, const G: usize>(
    world: &World<N, G>,
    rules: Rules,
) -> bool {
    let mut world = world.clone();
    world.budget = Budget {
        calls: u8::MAX,
        take_overs: u8::MAX,
        ..Budget::default()
    };
    for second in 0..SECONDS {
        for node in 0..N {
            let _ = world.take(Step::Read(node), rules);
            let _ = world.take(Step::TakeOver(node), rules);
        }
        for turn in 0..N {
            everything_arrives(&mut world, rules);
            let served: Vec<usize> = world
                .applied(|lease| rules.holds(lease))
                .map(|(_, gateway)| gateway)
                .collect();
            for gateway in (0..G).filter(|gateway| !served.contains(gateway)) {
                if !world.waits_for_a_leader(gateway) {
                    let _ = world.take(Step::Call((second + turn) % N, gateway), rules);
                }
            }
        }
        everything_arrives(&mut world, rules);
        let _ = world.take(Step::Second { lags: None }, rules);
    }
    let served: Vec<(usize, usize)> = world.applied(|lease| rules.holds(lease)).collect();
    served.len() == G && served.iter().all(|&(node, _)| node == served[0].0)
}

/// Twice: what answers bring about arrives, too.
fn everything_arrives<const N: usize, const G: usize>(world: &mut World<N, G>, rules: Rules) {
    for _ in 0..2 {
        for node in 0..N {
            for gateway in 0..G {
                let _ = world.take(Step::Called(node, gateway), rules);
                let _ = world.take(Step::Welcomed(node, gateway), rules);
                let _ = world.take(Step::Beat(node, gateway), rules);
                let _ = world.take(Step::Acknowledged(node, gateway), rules);
            }
            if world.take(Step::Serve(node), rules).is_none() {
                let _ = world.take(Step::Renew(node), rules);
            }
            for write in (0..world.nodes[node].writes.len()).rev() {
                let _ = world.take(Step::Arrives(node, write), rules);
            }
            let _ = world.take(Step::Answer(node), rules);
        }
    }
}
