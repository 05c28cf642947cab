//! How much a node keeps at the moment: what simulations check its bounds against.

use route_core::Stats;

use super::Node;

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

impl Load {
    /// Of this node. Costs a walk over the links.
    pub fn of(node: &Node) -> Self {
        let core = node.look(|core, _| core.stats());
        let (log_head, log_tail) = node.log.extent();
        Self {
            core,
            log_head,
            log_tail,
            log_bytes: node.log.bytes(),
        }
    }
}

impl Queued {
    /// For the gateway with this incarnation, if the node has it.
    pub fn of(node: &Node, incarnation: u64) -> Option<Self> {
        let outbound = node.transact(|routing, _| routing.gateways.outbound(incarnation))?;
        Some(Self {
            bytes: outbound.bytes(),
            dropped: outbound.dropped(),
        })
    }
}
