//! What goes wrong between the processes, and to them.

use std::fmt;
use std::time::Duration;

use crate::host::{GatewayHost, NodeHost};
use crate::world::World;

/// From SIGTERM to the end of every Attach stream.
const STREAMS_END_WITHIN: Duration = Duration::from_millis(200);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disturbance {
    Cut,
    Stall,
    Partition,
    LongPartition,
    NodeCrash,
    NodeDrain,
    GatewayLoss,
}

impl Disturbance {
    fn is_of_a_stream(self) -> bool {
        match self {
            Self::Cut | Self::Stall | Self::Partition | Self::LongPartition => true,
            Self::NodeCrash | Self::NodeDrain | Self::GatewayLoss => false,
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl World {
    pub(crate) fn disturb(&mut self) {
        let now = self.now();
        self.next_disturbance = now + self.dice.millis(200..3000);
        let kinds = self.plan.disturbances();
        let Some(kind) = (!kinds.is_empty()).then(|| kinds[self.dice.roll(kinds.len())]) else {
            return;
        };
        let gateway = self.dice.roll(self.gateways.len());
        let host = self.gateways[gateway].as_ref();
        let whole = host.is_some_and(|host| host.is_open() && host.wire.is_whole());
        if kind.is_of_a_stream() && !whole {
            // One interruption on top of another could last longer than the grace.
            return;
        }
        self.say(|| format!("DISTURBANCE {kind} of g{gateway}"));
        match kind {
            Disturbance::Cut => {
                let (node, own) = (self.dice.millis(0..2000), self.dice.millis(0..2000));
                if let Some(host) = &mut self.gateways[gateway] {
                    host.wire.cut(&mut self.dice, now, node, own);
                }
            }
            Disturbance::Stall => {
                let until = now + self.dice.millis(100..4000);
                if let Some(host) = &mut self.gateways[gateway] {
                    host.wire.stall(until);
                }
            }
            Disturbance::Partition | Disturbance::LongPartition => {
                let long = kind == Disturbance::LongPartition;
                let range = if long { 12_000..20_000 } else { 500..5000 };
                let until = now + self.dice.millis(range);
                let (node, own) = (self.dice.millis(0..2000), self.dice.millis(0..2000));
                if let Some(host) = &mut self.gateways[gateway] {
                    host.wire.cut(&mut self.dice, now, node, own);
                    host.wire.stall(until);
                }
                if long {
                    self.next_disturbance = until + Duration::from_secs(5);
                    for server in &mut self.servers {
                        if server.gateways.contains(&gateway) {
                            server.lossy = true;
                            server.cut_off_until = until;
                        }
                    }
                }
            }
            Disturbance::NodeCrash => {
                if self.node_exits.is_none() {
                    self.crash_node();
                }
            }
            Disturbance::NodeDrain => {
                if let (Some(host), None) = (&self.node, self.node_exits) {
                    host.drain();
                    self.streams_end = Some(now + STREAMS_END_WITHIN);
                    self.node_exits = Some(now + self.dice.millis(300..600));
                }
            }
            Disturbance::GatewayLoss => self.lose_gateway(gateway),
        }
    }

    pub(crate) fn start_node(&mut self) {
        self.node_starts = None;
        self.lives += 1;
        let host = NodeHost::start(self.lives);
        self.lives_of_nodes += 1;
        self.subscriber.follow(&host.node, self.lives_of_nodes);
        self.node = Some(host);
        self.say(|| "the node starts".to_owned());
    }

    pub(crate) fn crash_node(&mut self) {
        if self.node.is_none() {
            return;
        }
        let now = self.now();
        for host in self.gateways.iter_mut().flatten() {
            host.wire.node_died(&mut self.dice, now);
        }
        self.subscriber.leave();
        self.node = None;
        self.node_starts = Some(now + self.dice.millis(20..3000));
        self.say(|| "the node is gone".to_owned());
    }

    pub(crate) fn start_gateway(&mut self, number: usize) {
        self.gateway_starts[number] = None;
        self.lives += 1;
        self.gateways[number] = Some(GatewayHost::start(number, self.lives, self.plan.windows()));
        self.say(|| format!("g{number} starts"));
    }

    pub(crate) fn lose_gateway(&mut self, gateway: usize) {
        let now = self.now();
        let hears = self.dice.millis(0..500);
        let Some(mut host) = self.gateways[gateway].take() else {
            return;
        };
        host.wire.gateway_died(&mut self.dice, now, hears);
        // Its streams go with it; the node hears of that when they are dropped.
        drop(host);
        self.gateway_starts[gateway] = Some(now + self.dice.millis(100..15_000));
        for number in self.some_of(gateway, usize::MAX) {
            self.lose_connection(number);
            self.connections.remove(&number);
            for message in &mut self.messages {
                message.lost |= message.connection == number;
            }
        }
        for server in &mut self.servers {
            server.lossy |= server.gateways.contains(&gateway);
        }
    }

    /// The subscriber loses its connections, and comes back to the positions that it has.
    pub(crate) fn break_subscriptions(&mut self) {
        let Some(host) = &self.node else {
            return;
        };
        self.subscriber.follow(&host.node, self.lives_of_nodes);
        self.say(|| "the subscriber comes back".to_owned());
    }
}
