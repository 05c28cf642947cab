//! The node in numbers.

use std::sync::Arc;
use std::time::Duration;

use route_proto::admin::v1alpha1::GetStatsResponse;

use crate::node::Node;
use crate::node::load::Load;

/// By whom a node is shown.
#[derive(Debug, Clone)]
pub(super) struct Shows {
    /// Its name.
    pub(super) node_id: Arc<str>,
    /// The node that has passed the call on, by its own word.
    pub(super) passed_on_by: String,
}

/// As of now.
pub(super) fn stats(node: &Node, shows: &Shows) -> GetStatsResponse {
    let load = Load::of(node);
    let (core, gateways, tallies) = (load.core, load.gateways, &node.process.metrics.tallies);
    let count = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
    let dropped = [
        gateways.dropped,
        gateways.given_up,
        core.seat_dropped,
        core.returned_dropped,
    ];
    GetStatsResponse {
        node_time: Some(node.clock.timestamp(node.now())),
        is_synced: load.knows_all_links,
        waits_for: node.waits_for().unwrap_or_default(),
        attached_gateway_count: u32::try_from(gateways.attached).unwrap_or(u32::MAX),
        detached_gateway_count: u32::try_from(gateways.detached).unwrap_or(u32::MAX),
        link_count: count(core.links),
        claimed_link_count: count(core.claimed),
        shadow_link_count: count(core.shadows),
        detached_link_count: count(core.detached),
        seat_count: count(core.seats),
        user_count: count(core.users),
        session_count: count(core.sessions),
        stream_count: count(load.streams),
        connection_count: count(load.connections),
        queued_bytes: gateways.queued_bytes,
        held_bytes: core.held_bytes as u64,
        log_bytes: load.log_bytes as u64,
        log_event_count: load.log_head - load.log_tail,
        unconfirmed_bytes: load.unconfirmed as u64,
        entry_count: tallies.entries.count(),
        delivery_count: tallies.deliveries.count(),
        dropped_count: dropped.iter().sum(),
        without_target_count: core.without_target,
        epoch: format!("{:016x}", node.epoch),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        start_time: Some(node.clock.timestamp(Duration::ZERO)),
        is_draining: node.is_draining(),
        node_id: shows.node_id.to_string(),
        term: node.tenure.term,
        passed_on_by: shows.passed_on_by.clone(),
    }
}
