//! How much a node keeps at the moment: what simulations check its bounds against.

use std::sync::atomic::Ordering;

use route_core::Stats;

use super::Node;
use crate::cold_start::ColdStart;
use crate::gateways::Census;
pub use crate::gateways::queue::Counts;

/// What a node keeps.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Links, users, deliveries that the core holds and has dropped.
    pub core: Stats,
    /// It knows all links: its cold start is over.
    pub knows_all_links: bool,
    /// The newest event's place in the log.
    pub log_head: u64,
    /// After this one, every event is still held.
    pub log_tail: u64,
    /// What the log takes.
    pub log_bytes: usize,
    /// What is remembered of envelopes that were routed, bytes.
    pub routed_bytes: usize,
    /// Who is attached, and what waits for them.
    pub(crate) gateways: Census,
    /// What gateways sent and is not confirmed, bytes.
    pub(crate) unconfirmed: usize,
    /// What the batches take that are not confirmed, bytes.
    pub(crate) confirmation_bytes: usize,
    /// Entries and queries that wait until the node knows all links.
    pub(crate) cold_start_held: usize,
    /// What these take.
    pub(crate) cold_start_bytes: usize,
    /// What waits for those who read streams, bytes.
    pub(crate) pending: usize,
    /// Requests that have not come completely, bytes.
    pub(crate) unfinished: usize,
    /// Steps of the longest hold of the lock lately, as [`route_core::View::work`] counts.
    pub longest_hold: u64,
    /// Open gRPC connections.
    pub(crate) connections: usize,
    /// Open watch and subscribe streams.
    pub(crate) streams: usize,
}

impl Load {
    /// Of this node. Costs a walk over the links.
    pub fn of(node: &Node) -> Self {
        let routing = node.routing.lock();
        let (log_head, log_tail) = node.log.extent();
        let cold_start = routing.cold_start.as_ref();
        Self {
            core: routing.core.view().stats(),
            knows_all_links: cold_start.is_none(),
            log_head,
            log_tail,
            log_bytes: node.log.bytes(),
            routed_bytes: node.routed.bytes(),
            gateways: routing.gateways.census(),
            unconfirmed: routing.confirmations.bytes(),
            confirmation_bytes: routing.confirmations.memory(),
            cold_start_bytes: cold_start.map_or(0, ColdStart::memory),
            cold_start_held: cold_start.map_or(0, ColdStart::entries),
            pending: node.process.pending.load(Ordering::Relaxed),
            unfinished: node.process.unfinished.load(Ordering::Relaxed),
            longest_hold: node.holds.longest(node.clock.now()),
            connections: node.process.connections.in_use(),
            streams: node.process.streams.in_use(),
        }
    }
}

/// All steps that were taken under the lock so far.
pub fn work(node: &Node) -> u64 {
    node.routing.lock().core.view().work()
}

/// What waits for the gateway with this incarnation, if the node has it.
pub fn queued(node: &Node, incarnation: u64) -> Option<Counts> {
    let mut routing = node.routing.lock();
    Some(routing.gateways.get_mut(incarnation)?.queue.counts())
}
