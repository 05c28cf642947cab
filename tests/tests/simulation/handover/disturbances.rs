//! What goes wrong between the processes, and to them.

use std::fmt;
use std::time::Duration;

use crate::handover::host::{GatewayHost, NodeHost};
use crate::handover::msg_server::{MsgServer, USERS, user};
use crate::handover::world::World;

/// From SIGTERM to the end of every Attach stream.
const STREAMS_END_WITHIN: Duration = Duration::from_millis(200);

/// How long a node waits for a gateway: the default.
const GRACE: Duration = Duration::from_secs(10);

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
    TwoGatewayLosses,
    /// While the node is being restarted.
    GatewayAndNodeLoss,
}

impl Disturbance {
    fn is_of_a_stream(self) -> bool {
        match self {
            Self::Cut | Self::Stall | Self::Partition | Self::LongPartition => true,
            Self::NodeCrash
            | Self::NodeDrain
            | Self::GatewayLoss
            | Self::TwoGatewayLosses
            | Self::GatewayAndNodeLoss => false,
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
        if kind == Disturbance::LongPartition && now < self.next_long_partition {
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
                self.partition(gateway, kind == Disturbance::LongPartition);
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
            Disturbance::TwoGatewayLosses => {
                self.lose_gateway(gateway);
                self.lose_gateway((gateway + 1) % self.gateways.len());
            }
            Disturbance::GatewayAndNodeLoss => {
                if self.node_exits.is_none() {
                    self.crash_node();
                    self.lose_gateway(gateway);
                }
            }
        }
    }

    /// A gateway does not reach the node for a while, or for longer than nodes wait.
    fn partition(&mut self, gateway: usize, long: bool) {
        let now = self.now();
        let range = if long { 12_000..20_000 } else { 500..5000 };
        let until = now + self.dice.millis(range);
        let (node, own) = (self.dice.millis(0..2000), self.dice.millis(0..2000));
        if let Some(host) = &mut self.gateways[gateway] {
            host.wire.cut(&mut self.dice, now, node, own);
            host.wire.stall(until);
        }
        if long {
            self.next_long_partition = until + Duration::from_secs(5);
            for server in &mut self.servers {
                if server.is_at(gateway) {
                    server.lossy = true;
                    server.unsettled = true;
                    server.cut_off_until = until;
                }
            }
            // The latter is the latest at which the node hears of it.
            self.forget_what_was_known(gateway);
            self.note_lost_links(gateway, until > now + GRACE + Duration::from_secs(2));
        }
    }

    /// A query that waits may be answered without the tables of a gateway that nodes do not wait
    /// for any longer.
    fn forget_what_was_known(&mut self, gateway: usize) {
        let of_gateway = |server: &MsgServer| server.is_at(gateway);
        for (number, _) in self
            .servers
            .iter()
            .enumerate()
            .filter(|(_, s)| of_gateway(s))
        {
            for connection in self.connections.values_mut() {
                (0..USERS).for_each(|of| connection.may_change(user(number, of)));
            }
        }
    }

    pub(crate) fn start_node(&mut self) {
        self.node_starts = None;
        self.lives += 1;
        self.node = Some(NodeHost::start(self.lives, self.settings.clone()));
        self.lives_of_nodes += 1;
        self.follow(true);
        self.say(|| "the node starts".to_owned());
    }

    pub(crate) fn crash_node(&mut self) {
        if self.node.is_none() {
            return;
        }
        let now = self.now();
        for server in &mut self.servers {
            server.claim_in_doubt |= server.unsettled;
        }
        for host in self.gateways.iter_mut().flatten() {
            host.wire.node_died(&mut self.dice, now);
        }
        self.subscriber.leave();
        if let Some(slow) = &mut self.slow_subscriber {
            slow.leave();
        }
        self.node = None;
        self.note_doubts();
        self.node_starts = Some(now + self.dice.millis(20..3000));
        self.say(|| "the node is gone".to_owned());
    }

    pub(crate) fn start_gateway(&mut self, number: usize) {
        self.gateway_starts[number] = None;
        self.lives += 1;
        let (windows, queue) = (self.plan.windows(), self.plan.link_queue());
        self.gateways[number] = Some(GatewayHost::start(number, self.lives, windows, queue));
        self.say(|| format!("g{number} starts"));
    }

    pub(crate) fn lose_gateway(&mut self, gateway: usize) {
        let now = self.now();
        let hears = self.dice.millis(0..500);
        let Some(mut host) = self.gateways[gateway].take() else {
            return;
        };
        host.wire.gateway_died(&mut self.dice, now, hears);
        self.doubts.forget_gateway(gateway);
        // Its streams go with it; the node hears of that when they are dropped.
        drop(host);
        self.gateway_starts[gateway] = Some(now + self.dice.millis(100..15_000));
        self.note_lost_links(gateway, true);
        for number in self.some_of(gateway, usize::MAX) {
            self.lose_connection(number);
            self.connections.remove(&number);
            for sent in self.messages.of_line(number) {
                sent.lost = true;
            }
        }
        let all_settled = self.settled_in == self.lives_of_nodes;
        let concerned = |server: &&mut MsgServer| server.is_at(gateway);
        for server in self.servers.iter_mut().filter(concerned) {
            server.lossy = true;
            server.unsettled = true;
            server.claim_in_doubt |= !all_settled;
        }
    }

    /// Subscribers lose their connections, and come back to the positions that they have.
    pub(crate) fn break_subscriptions(&mut self) {
        // The slow one would never be slow enough for a stream that is open.
        let both = self.dice.once_in(10);
        self.follow(both);
        self.say(|| "subscribers come back".to_owned());
    }

    fn follow(&mut self, both: bool) {
        let Some(host) = &self.node else {
            return;
        };
        self.subscriber
            .follow(&host.node, host.life, &mut self.dice);
        if let Some(slow) = self.slow_subscriber.as_mut().filter(|_| both) {
            slow.follow(&host.node, host.life, &mut self.dice);
        }
    }
}
