//! Time, what it makes due, and rest: the state in which nothing is left to do.

use std::time::Duration;

use route_grpc::node::load::Load;

use crate::handover::connection::Connection;
use crate::handover::host::GatewayHost;
use crate::handover::wire::Move;
use crate::handover::world::{World, idle};

/// After the last event, everything has to be at rest within this time.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

impl World {
    pub(crate) async fn pass(&mut self, time: Duration) {
        // Before anything that a new node does by itself.
        self.note_doubts();
        tokio::time::advance(time).await;
        idle().await;
        self.end_what_ends();
        let now = self.now();
        if self.streams_end.take_if(|at| *at <= now).is_some() {
            let mut hosts = self.gateways.iter_mut().flatten();
            if !hosts.all(|host| host.wire.node_has_ended()) {
                self.violate("a draining node keeps a stream".to_owned());
            }
        }
        if self.node_exits.is_some_and(|at| at <= now) {
            self.node_exits = None;
            self.crash_node();
        }
        if self.node_starts.is_some_and(|at| at <= now) {
            self.start_node();
        }
        for number in 0..self.gateways.len() {
            if self.gateway_starts[number].is_some_and(|at| at <= now) {
                self.start_gateway(number);
            }
        }
        for server in 0..self.servers.len() {
            self.connect(server);
        }
        idle().await;
    }

    /// Everything moves until nothing does.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..200 {
            let mut moved = false;
            for gateway in 0..self.gateways.len() {
                moved |= self.read(gateway, usize::MAX);
                for what in Move::ALL {
                    moved |= self.move_wire(gateway, what).await;
                }
                moved |= self.write(gateway, usize::MAX);
            }
            self.check_gateways();
            if !moved {
                self.check_bounds();
                self.note_what_is_known();
                return;
            }
        }
        self.violate("it does not settle".to_owned());
    }

    /// Waits until everything is at rest.
    pub(crate) async fn becomes_quiet(&mut self, without: Option<usize>) -> bool {
        let by = self.now() + QUIET_WITHIN;
        while self.now() < by {
            self.pass(Duration::from_millis(20)).await;
            self.settle().await;
            if self.is_quiet(without) {
                return true;
            }
        }
        let state = self.describe();
        self.violate(format!("it does not come to rest: {state}"));
        false
    }

    pub(crate) fn is_quiet(&self, without: Option<usize>) -> bool {
        let present = |number: &usize| Some(*number) != without;
        self.node.is_some()
            && self.node_exits.is_none()
            && self.have_read()
            && (0..self.gateways.len()).filter(present).all(|number| {
                let host = self.gateways[number].as_ref();
                host.is_some_and(GatewayHost::is_quiet)
            })
            && self.connections.values().all(Connection::is_quiet)
            && self.servers.iter().all(|server| {
                let mut slots = server.links.slots().iter();
                slots.all(|(gateway, open)| !present(gateway) || open.is_some())
            })
    }

    /// Subscribers have been told everything.
    fn have_read(&self) -> bool {
        let Some(host) = &self.node else {
            return false;
        };
        let head = Load::of(&host.node).log_head;
        let prompt = self.subscriber.book();
        prompt.has_read(host.life, head)
            && self.slow_subscriber.as_ref().is_none_or(|slow| {
                let slow = slow.book();
                slow.has_read(host.life, head) && slow.online == prompt.online
            })
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for (number, host) in self.gateways.iter().enumerate() {
            let Some(host) = host else {
                text += &format!("gateway {number} is down; ");
                continue;
            };
            let backlog = host.gateway.uplink.backlog();
            text += &format!(
                "gateway {number}: open {}, {}, {} entries, {} bytes, {} queued; ",
                host.is_open(),
                host.wire.describe(),
                backlog.entries,
                backlog.bytes,
                host.gateway.links.queued(),
            );
        }
        if !self.have_read() {
            text += "a subscriber is behind; ";
        }
        for (number, connection) in &self.connections {
            if !connection.is_quiet() {
                text += &format!("connection {number}: asked {:?}; ", connection.asked);
            }
        }
        text
    }

    pub(crate) fn note_what_is_known(&mut self) {
        let now = self.now();
        for connection in self.connections.values_mut() {
            let host = self.gateways[connection.gateway].as_ref();
            connection.known |= host.is_some_and(|host| host.wire.is_clear(now));
        }
        let settled = |host: &Option<GatewayHost>| host.as_ref().is_some_and(GatewayHost::is_quiet);
        if self.node.is_some() && self.gateways.iter().all(settled) {
            self.settled_in = self.lives_of_nodes;
            for server in &mut self.servers {
                server.unsettled = false;
            }
        }
    }
}
