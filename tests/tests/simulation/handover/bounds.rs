//! Promise 8: every queue has a bound, and keeps it. What is dropped at a bound is counted, and
//! concerns nobody else.

use route_grpc::node::load::{self, Load};

use crate::handover::connection::MOST_READ;
use crate::handover::host::GatewayHost;
use crate::handover::world::World;

/// What is kept of one read, at most: a short PDU costs several times its length.
const COST_OF_READ: usize = 6 * MOST_READ;

/// What a returned delivery costs, at most, by its length.
const COST_OF_RETURNED: usize = 6;

/// What comes into a gateway's queue outside its bound: that links end or are to be closed, and
/// what was written to them.
const OUTSIDE_OF_QUEUE: usize = 16 << 10;

/// An event of the log, without its payload, and one payload that is held whatever its size.
const ONE_EVENT: usize = 2000;

impl World {
    pub(crate) fn check_bounds(&mut self) {
        self.check_gateways();
        let mut wrong = Vec::new();
        self.check_node(&mut wrong);
        wrong.into_iter().for_each(|what| self.violate(what));
        self.note_what_was_dropped();
    }

    pub(crate) fn check_gateways(&mut self) {
        let mut wrong = Vec::new();
        for (number, host) in self.gateways.iter().enumerate() {
            if let Some(host) = host {
                self.check_gateway(number, host, &mut wrong);
            }
        }
        wrong.into_iter().for_each(|what| self.violate(what));
    }

    /// What a gateway keeps for the node to confirm has a limit, which one read of each link may
    /// exceed, and what ended links give back; what it keeps for each link has one that nothing
    /// exceeds, because a link beyond it ends at once.
    fn check_gateway(&self, number: usize, host: &GatewayHost, wrong: &mut Vec<String>) {
        let links = host.gateway.links.all();
        let open = self.connections.values().filter(|c| c.gateway == number);
        let open = open.count();
        let ended = links.len().saturating_sub(open);
        let returned = ended * host.link_queue.saturating_mul(COST_OF_RETURNED);
        let limit = host.windows.total + open * COST_OF_READ + returned;
        let bytes = host.gateway.uplink.backlog().bytes;
        if bytes > limit {
            wrong.push(format!(
                "gateway {number} keeps {bytes} bytes, {limit} are allowed"
            ));
        }
        for link in links {
            let queued = link.queued();
            if queued > host.link_queue {
                let limit = host.link_queue;
                wrong.push(format!(
                    "gateway {number} has {queued} bytes for a link, {limit} are allowed"
                ));
            }
        }
    }

    fn check_node(&self, wrong: &mut Vec<String>) {
        let Some(node) = &self.node else {
            return;
        };
        let mut check = |what: &str, is: usize, limit: usize| {
            if is > limit {
                wrong.push(format!("the node keeps {is} {what}, {limit} are allowed"));
            }
        };
        let settings = &self.settings;
        for host in self.gateways.iter().flatten() {
            if let Some(queued) = load::queued(&node.node, host.gateway.incarnation) {
                let limit = settings.gateway_queue_bytes + OUTSIDE_OF_QUEUE;
                check("bytes for a gateway", queued.bytes, limit);
            }
        }
        let load = Load::of(&node.node);
        // A link that inherits while it waits for a predecessor has what both may hold.
        let holders = load.core.seats + 2 * load.core.settling;
        let limit = holders * settings.seat_bytes;
        check("bytes for successors", load.core.held_bytes, limit);
        let events = usize::try_from(load.log_head - load.log_tail).unwrap_or(usize::MAX);
        check("events", events, settings.log_events);
        let limit = settings.log_bytes.max(ONE_EVENT);
        check("bytes of events", load.log_bytes, limit);
        check(
            "bytes of what was routed",
            load.routed_bytes,
            settings.routed_bytes,
        );
    }

    /// Of a MsgServer for which a node had no room, not everything is expected any more.
    fn note_what_was_dropped(&mut self) {
        let Some(node) = &self.node else {
            return;
        };
        let of_core = Load::of(&node.node).core;
        let mut dropped = of_core.seat_dropped + of_core.returned_dropped;
        if dropped > 0 {
            for server in self
                .servers
                .iter_mut()
                .filter(|server| server.has_lost_one())
            {
                server.lossy = true;
            }
        }
        for (number, host) in self.gateways.iter().enumerate() {
            let Some(host) = host else {
                continue;
            };
            let queued = load::queued(&node.node, host.gateway.incarnation);
            let of_queue = queued.map_or(0, |queued| queued.dropped);
            if of_queue > 0 {
                for server in &mut self.servers {
                    server.lossy |= server.is_at(number);
                }
            }
            dropped += of_queue;
        }
        self.dropped = self.dropped.max(dropped);
    }
}
