//! How much a node keeps at the moment: what simulations check its bounds against.

use route_core::Stats;

use crate::node::Node;

/// What a node keeps.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Links, users, deliveries that the core holds and has dropped.
    pub core: Stats,
    /// The newest event's place in the log.
    pub log_head: u64,
    /// After this one, every event is still held.
    pub log_tail: u64,
    /// What the log takes.
    pub log_bytes: usize,
}

/// What waits for one gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// Bytes that it has not taken.
    pub bytes: usize,
    /// Since the gateway came: deliveries that found no room.
    pub dropped: u64,
}

impl Node {
    /// How much the node keeps. Costs a walk over the links.
    pub fn load(&self) -> Load {
        let core = self.look(|core, _| core.stats());
        let (log_head, log_tail) = self.log_extent();
        Load {
            core,
            log_head,
            log_tail,
            log_bytes: self.log_bytes(),
        }
    }

    /// What waits for the gateway with this incarnation, if the node has it.
    pub fn queued(&self, incarnation: u64) -> Option<Queued> {
        let outbound = self.transact(|routing, _| routing.gateways.outbound(incarnation))?;
        Some(Queued {
            bytes: outbound.bytes(),
            dropped: outbound.dropped(),
        })
    }
}
