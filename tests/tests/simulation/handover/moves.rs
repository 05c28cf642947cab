//! What moves: messages between gateway and node, bytes between MsgServer and gateway.

use std::time::Duration;

use route_proto::attach::v1::CloseReason;
use tonic::Code;

use crate::handover::connection::{MOST_READ, Written};
use crate::handover::wire::Move;
use crate::handover::world::{World, idle};
use system_tests::dice::Dice;

/// So long after a MsgServer's connection was lost, what was on its way there may come to another
/// one.
const BURST: Duration = Duration::from_secs(5);

impl World {
    pub(crate) async fn move_wire(&mut self, gateway: usize, what: Move) -> bool {
        let now = self.now();
        let Some(host) = &mut self.gateways[gateway] else {
            return false;
        };
        let node = self.node.as_ref().map(|host| &host.node);
        let moved = host.wire.step(now, what, node);
        let refusals = host.wire.refusals();
        let confirmed = host.wire.confirmed();
        for status in refusals {
            // The node and its gateways always understand each other.
            if status.code() == Code::FailedPrecondition {
                self.violate(format!(
                    "the node refuses gateway {gateway}: {}",
                    status.message()
                ));
            } else {
                self.say(|| format!("g{gateway} is refused: {}", status.message()));
            }
        }
        if moved {
            self.say(|| format!("g{gateway} {what:?}"));
            idle().await;
            self.note_confirmed(gateway, &confirmed);
            self.end_what_ends();
        }
        moved
    }

    /// Connections of a gateway: all, or a random one.
    pub(crate) fn some_of(&mut self, gateway: usize, most: usize) -> Vec<usize> {
        let mut of: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.gateway == gateway)
            .map(|(number, _)| *number)
            .collect();
        if most == 1 && !of.is_empty() {
            let one = of[self.dice.roll(of.len())];
            of = vec![one];
        }
        of
    }

    pub(crate) fn read(&mut self, gateway: usize, most: usize) -> bool {
        let mut moved = false;
        for number in self.some_of(gateway, most) {
            let Some(host) = &self.gateways[gateway] else {
                return false;
            };
            let now = self.began.elapsed();
            let bytes = some_bytes(&mut self.dice, most, MOST_READ);
            let Some(connection) = self.connections.get_mut(&number) else {
                continue;
            };
            let read = connection.read(&host.gateway, now, bytes);
            moved |= read.moved || read.over;
            for message in &read.accepted {
                if let Some(sent) = self.messages.note(*message) {
                    sent.accepted = true;
                }
            }
            if read.over {
                self.end(number, CloseReason::Peer);
            } else if !read.accepted.is_empty() {
                self.say(|| format!("c{number} accepted {:?}", read.accepted));
            }
        }
        moved
    }

    pub(crate) fn write(&mut self, gateway: usize, most: usize) -> bool {
        let mut moved = false;
        for number in self.some_of(gateway, most) {
            let Some(host) = &self.gateways[gateway] else {
                return false;
            };
            let now = self.began.elapsed();
            let bytes = some_bytes(&mut self.dice, most, 1 << 20);
            let Some(connection) = self.connections.get_mut(&number) else {
                continue;
            };
            match connection.write(&host.gateway, now, bytes) {
                Written::Nothing => {}
                Written::Pdus(pdus) => {
                    moved = true;
                    for pdu in pdus {
                        self.receive(number, &pdu);
                    }
                }
                Written::Ends(reason) => {
                    moved = true;
                    self.cut_off(number, reason);
                }
            }
        }
        moved
    }

    /// Ends the connections that gateways want to end.
    pub(crate) fn end_what_ends(&mut self) {
        let ends = self
            .connections
            .iter()
            .filter_map(|(number, connection)| Some((*number, connection.ends()?)));
        for (number, reason) in ends.collect::<Vec<_>>() {
            self.cut_off(number, reason);
        }
    }

    /// A gateway breaks a connection: one that its MsgServer has left, or one that does not read.
    fn cut_off(&mut self, number: usize, reason: CloseReason) {
        let Some(connection) = self.connections.get(&number) else {
            return;
        };
        let server = connection.server;
        if connection.gone.is_none() {
            // What an earlier connection could not be written, or what waited for a node, may come
            // all at once.
            let after_loss = self.now() < self.servers[server].died + BURST;
            let may_burst = self.plan.node_crashes || after_loss;
            let may_be_cut_off = self.plan.slow_readers && (connection.is_behind || may_burst);
            if reason != CloseReason::SlowReader || !may_be_cut_off {
                self.violate(format!("connection {number} was broken: {reason:?}"));
            }
            // What did not fit any more is not given to another connection.
            self.servers[server].lossy = true;
            self.cut_off_readers += 1;
            self.say(|| format!("s{server} is cut off from c{number}, it does not read"));
            self.lose_connection(number);
        }
        self.end(number, reason);
    }

    /// The gateway ends a connection.
    pub(crate) fn end(&mut self, number: usize, reason: CloseReason) {
        self.note_ended_link(number);
        let Some(mut connection) = self.connections.remove(&number) else {
            return;
        };
        self.note_gone_users(connection.server);
        self.note_undelivered(&connection);
        if let Some(host) = &self.gateways[connection.gateway] {
            connection.end(&host.gateway, reason);
        }
        self.say(|| format!("c{number} ended"));
    }
}

/// What one step moves: a few if it is a step of one connection, else all.
fn some_bytes(dice: &mut Dice, most: usize, all: usize) -> usize {
    if most == 1 { 1 + dice.roll(200) } else { all }
}
