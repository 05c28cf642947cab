//! Schedules by chance.

use std::time::Duration;

use route_grpc::engine::played::Fate;

use crate::leaders::gateway::{self, GATEWAYS};
use crate::leaders::node::{self, NODES};
use crate::leaders::site::Site;
use crate::seeds;

/// Seeds that are played if nothing else is said.
const SEEDS: u64 = 8;
/// Faults of a schedule, which overlap.
const FAULTS: usize = 8;

/// Something that is the matter, until it is over.
enum Trouble {
    NoRecord(usize),
    Apart(String, String),
    Frozen(usize),
    Dead(String),
}

#[test]
fn two_nodes_never_route_at_once() {
    seeds::play(SEEDS, &"all kinds of faults", |seed, shown| {
        let mut site = Site::new(seed, shown);
        site.rests();
        site.pass(Duration::from_secs(2));
        let mut troubles = Vec::new();
        for _ in 0..FAULTS {
            let trouble = strike(&mut site);
            troubles.extend(trouble);
            let pause = site.dice.millis(0..6000);
            site.pass(pause);
            while troubles.len() > 2 || !troubles.is_empty() && site.dice.once_in(3) {
                let one = site.dice.roll(troubles.len());
                end(&mut site, troubles.swap_remove(one));
            }
        }
        troubles.into_iter().for_each(|it| end(&mut site, it));
        site.conclude()
    });
}

fn strike(site: &mut Site) -> Option<Trouble> {
    let any = site.dice.roll(NODES);
    // Mostly the leader.
    let node = site
        .leader()
        .filter(|_| !site.dice.once_in(4))
        .unwrap_or(any);
    let gateway = site.dice.roll(GATEWAYS);
    let way = site.life(node).way;
    Some(match site.dice.roll(7) {
        0 => {
            site.judge.say(&format!("node {node} loses the record"));
            way.cut();
            Trouble::NoRecord(node)
        }
        1 => {
            let (node, gateway) = (node::name(node), gateway::name(gateway));
            site.hold(&node, &gateway);
            Trouble::Apart(node, gateway)
        }
        2 => {
            site.freeze(node);
            Trouble::Frozen(node)
        }
        3 => {
            site.kill(&node::name(node));
            Trouble::Dead(node::name(node))
        }
        4 => {
            site.kill(&gateway::name(gateway));
            Trouble::Dead(gateway::name(gateway))
        }
        5 => {
            let fates = [Fate::Late, Fate::Unanswered, Fate::Lost];
            let some: Vec<_> = (0..3).map(|_| fates[site.dice.roll(3)]).collect();
            site.judge.say(&format!("writes of node {node}: {some:?}"));
            way.fates(some);
            let wait = site.dice.millis(0..4000);
            site.pass(wait);
            way.let_late_writes_happen();
            return None;
        }
        _ => {
            site.judge.say(&format!("node {node} is told to end"));
            site.life(node).term.cancel();
            let wait = site.dice.millis(0..3000);
            site.pass(wait);
            Trouble::Dead(node::name(node))
        }
    })
}

fn end(site: &mut Site, trouble: Trouble) {
    match trouble {
        Trouble::NoRecord(node) => site.life(node).way.mend(),
        Trouble::Apart(node, gateway) => site.let_go(&node, &gateway),
        Trouble::Frozen(node) => site.thaw(node),
        Trouble::Dead(host) => site.start(&host),
    }
}
