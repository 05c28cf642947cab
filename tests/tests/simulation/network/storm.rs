//! Random schedules: one fault after the other, each as soon as everybody has a node again, or a
//! little later.

use std::ops::Range;
use std::time::Duration;

use system_tests::cast::msg_server::GATEWAYS;

use crate::network::board::NODES;
use crate::network::host::{gateway_name, node_name};
use crate::network::site::{SUBSCRIBER, Site, servers_of};

/// Faults of a schedule.
const FAULTS: usize = 4;
/// From the end of a fault until everybody hears everybody: a dead connection is noticed in 15 s,
/// the host without a node takes 3 s to say nothing, a hello may meet a dead connection once more
/// for 10 s, and MsgServers take 4 s to come back.
const RECOVERED_WITHIN: Duration = Duration::from_secs(35);
/// A fault between a gateway and the node that MsgServers may not notice, milliseconds. The node
/// notices after 14 s, and waits for 10 s more; to be back takes up to 7.
const SHORT: Range<usize> = 100..16_000;
/// The same in one direction. A hello into it takes 10 s, and after 30 s queries are given up.
const SHORT_ONE_WAY: Range<usize> = 100..15_000;
/// One that is longer than the grace, in any case.
const LONG: Range<usize> = 28_000..40_000;
/// Until a new node starts for one that has vanished, milliseconds: long before gateways notice, or
/// when they do.
const REPLACED_AFTER: Range<usize> = 500..15_000;

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing passes between the node and one of the others, or all of them, for a while.
    Stall,
    /// The same with a gateway, for longer than the grace.
    LongStall,
    /// What passes between the node and one of the others, or all of them, for a while is lost.
    Cut,
    /// The same with a gateway, in one direction.
    OneWay,
    /// The node's process is killed; the next one comes on either host.
    NodeDies,
    /// The node's host vanishes: nobody is told.
    NodeVanishes,
    /// The node drains while the next one starts elsewhere.
    NodeDrains,
    /// A gateway's process is killed, and starts again.
    GatewayDies,
    /// A gateway's host vanishes and comes back as a new one: its old stream still looks alive.
    GatewayVanishes,
}

/// Plays one schedule of such faults. False if it does not go on.
pub(crate) fn play(site: &mut Site, faults: &[Fault]) -> bool {
    for _ in 0..FAULTS {
        let pause = site.dice.millis(0..3000);
        site.pass(pause);
        let fault = faults[site.dice.roll(faults.len())];
        site.board.say(&format!("FAULT {fault:?}"));
        fault.strike(site);
        let over = site.now();
        let recovered = site.until(RECOVERED_WITHIN, "everybody hears everybody", |site| {
            site.board.all_attached() && site.board.all_hear_since(over)
        });
        if !recovered {
            return false;
        }
        site.heal();
    }
    true
}

impl Fault {
    fn strike(self, site: &mut Site) {
        let node = node_name(site.active);
        let number = site.dice.roll(GATEWAYS);
        let gateway = gateway_name(number);
        match self {
            Self::Stall => {
                let time = site.dice.millis(SHORT);
                let apart = some(site);
                stall(site, &apart, &node, time);
            }
            Self::LongStall => {
                servers_of(number).for_each(|server| site.board.excuse(server));
                let time = site.dice.millis(LONG);
                stall(site, &[gateway], &node, time);
            }
            Self::Cut => {
                let time = site.dice.millis(SHORT);
                let apart = some(site);
                apart.iter().for_each(|other| site.cut(other, &node));
                site.pass(time);
                apart.iter().for_each(|other| site.repair(other, &node));
            }
            Self::OneWay => {
                let time = site.dice.millis(SHORT_ONE_WAY);
                let (from, to) = match site.dice.roll(2) {
                    0 => (&gateway, &node),
                    _ => (&node, &gateway),
                };
                site.cut_one_way(from, to);
                site.pass(time);
                site.repair_one_way(from, to);
            }
            Self::NodeDies | Self::NodeVanishes | Self::NodeDrains => self.replace(site),
            Self::GatewayDies => {
                site.kill(&gateway);
                let time = site.dice.millis(100..15_000);
                site.pass(time);
                site.start(&gateway);
            }
            Self::GatewayVanishes => {
                site.hold(&gateway, &node);
                site.kill(&gateway);
                let time = site.dice.millis(100..3000);
                site.pass(time);
                // What the dead process's kernel would have said is lost.
                site.cut(&gateway, &node);
                site.repair(&gateway, &node);
                site.start(&gateway);
            }
        }
    }

    /// Another node has the place of the one that is there.
    fn replace(self, site: &mut Site) {
        let node = node_name(site.active);
        let next = (site.active + 1) % NODES;
        match self {
            Self::NodeDies => {
                site.kill(&node);
                let time = site.dice.millis(50..3000);
                site.pass(time);
                let next = site.dice.roll(NODES);
                site.start_node(next);
            }
            Self::NodeVanishes => {
                let silently = site.dice.once_in(2);
                for other in everybody() {
                    if silently {
                        site.hold(&other, &node);
                    } else {
                        site.cut(&other, &node);
                    }
                }
                site.kill(&node);
                let time = site.dice.millis(REPLACED_AFTER);
                site.pass(time);
                site.start_node(next);
            }
            Self::NodeDrains => {
                let (before, after) = (site.dice.millis(0..300), site.dice.millis(0..1000));
                if site.dice.once_in(2) {
                    site.start(&node_name(next));
                    site.pass(before);
                }
                site.terminate_node();
                site.pass(after);
                site.active = next;
                if site.board.node(next).term.is_cancelled() || !site.is_running(&node_name(next)) {
                    site.start(&node_name(next));
                }
            }
            Self::Stall
            | Self::LongStall
            | Self::Cut
            | Self::OneWay
            | Self::GatewayDies
            | Self::GatewayVanishes => {}
        }
    }
}

fn stall(site: &mut Site, apart: &[String], node: &str, time: Duration) {
    apart.iter().for_each(|other| site.hold(other, node));
    site.pass(time);
    apart.iter().for_each(|other| site.let_go(other, node));
}

/// One of those who talk to nodes, or everybody.
fn some(site: &mut Site) -> Vec<String> {
    let mut all: Vec<String> = everybody().collect();
    match site.dice.roll(all.len() + 1) {
        one if one < all.len() => vec![all.swap_remove(one)],
        _ => all,
    }
}

/// All who talk to nodes.
pub(crate) fn everybody() -> impl Iterator<Item = String> {
    let gateways = (0..GATEWAYS).map(gateway_name);
    gateways.chain([SUBSCRIBER.to_owned()])
}
