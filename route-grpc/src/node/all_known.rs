//! The end of a cold start: what was held is applied.

use std::time::Duration;

use route_core::{Change, Effect, LinkId};

use super::Node;
use super::transaction::Transaction;
use crate::cold_start::ColdStart;
use crate::gateways::ingest::OpenQueries;

/// All links are known, or there is no use in waiting: what was held is applied, in order. An earlier node may have told
/// MsgServers of it, or of a part of it, so they are told, once, how things are in the end. Queries are answered last,
/// because their users' logins may stand among what other gateways sent.
pub(super) fn end_cold_start(
    node: &Node,
    routing: &mut Transaction<'_>,
    now: Duration,
    cold_start: ColdStart,
) {
    let reach = |id: &str| routing.gateways.reach(id);
    let mut missing: Vec<_> = cold_start.missing(reach).collect();
    missing.sort_unstable();
    tracing::info!(
        ?missing,
        entries = cold_start.entries(),
        after = ?now,
        "all links are known"
    );
    claim_early(&mut routing.core, &cold_start.claims());
    let mut queries = OpenQueries::default();
    routing.core.postpone_notices();
    let mut refused = Vec::new();
    for (gateway, entries) in cold_start.into_held() {
        if refused.contains(&gateway) {
            continue;
        }
        let (effects, result) = routing.apply(now, gateway, entries, Some(&mut queries));
        node.count(&effects);
        if let Err(refusal) = result {
            node.metrics.attach_refused(&refusal);
            routing.refuse(now, gateway, refusal);
            refused.push(gateway);
            node.gateways_changed.notify_waiters();
        }
    }
    routing.core.tell();
    routing.answer(&queries);
    routing.gateways.announce_roster(None);
    node.metrics.cold_start_ended(now);
    node.sync.reached();
    node.chores_changed();
}

/// A restored link whose claim is held and that has nobody to inherit from has succeeded a link of which the predecessor
/// had confirmed everything. It stands for its MsgServer from the beginning: else all links of the MsgServer would be
/// sent what is older than the claim, those that were opened later included.
fn claim_early(core: &mut route_core::Transaction<'_>, claims: &[LinkId]) {
    for &id in claims {
        if core.view().is_unclaimed(id) {
            let claim = Change::Role { claimed: true };
            let claimed = core.apply(id, 0, claim, Effect::Silent);
            debug_assert!(claimed.is_ok(), "the link is open");
        }
    }
}
