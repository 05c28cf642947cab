//! The end of a cold start: what was held is applied.

use std::collections::VecDeque;
use std::time::Duration;

use route_core::{Change, Effect, LinkId};

use super::Node;
use super::transaction::Transaction;
use crate::cold_start::ColdStart;

/// If all links are known, or there is no use in waiting: what was held is applied, in order, as much as is enough for
/// one lock; chores see to the rest. Meanwhile what comes is held, too.
///
/// An earlier node may have told MsgServers of it, or of a part of it, so they are told, once, how things are in the end.
/// A leader that does not serve yet applies nothing.
///
/// Queries are answered last, because their users' logins may stand among what other gateways sent.
pub(super) fn end_cold_start(node: &Node, routing: &mut Transaction<'_>, now: Duration) {
    let ends = node.draining().is_cancelled() || !node.tenure.holds();
    if ends || routing.door.as_ref().is_some_and(|door| !door.serves()) {
        return;
    }
    let gateways = &*routing.gateways;
    let is_over =
        |start: &mut ColdStart| start.is_ending() || start.is_over(now, |id| gateways.reach(id));
    let Some(mut cold_start) = routing.cold_start.take_if(is_over) else {
        return;
    };
    if cold_start.ends() {
        say_what_is_missing(routing, now, &cold_start);
        claim_early(&mut routing.core, &cold_start.claims());
        node.chores_changed();
    }
    if apply_held(node, routing, now, &mut cold_start)
        || routing.core.tell(routing.until)
        || cold_start
            .queries
            .answer(&mut routing.core, &mut routing.traced, routing.until)
    {
        *routing.cold_start = Some(cold_start);
        return;
    }
    routing.gateways.announce_roster(None);
    node.process.metrics.cold_start_ended(cold_start.age(now));
    node.sync.reached();
    node.chores_changed();
}

fn say_what_is_missing(routing: &Transaction<'_>, now: Duration, cold_start: &ColdStart) {
    let reach = |id: &str| routing.gateways.reach(id);
    let mut missing: Vec<_> = cold_start.missing(reach).collect();
    missing.sort_unstable();
    tracing::info!(
        ?missing,
        entries = cold_start.entries(),
        after = ?cold_start.age(now),
        "all links are known"
    );
}

/// Applies what was held. True while there is more.
fn apply_held(
    node: &Node,
    routing: &mut Transaction<'_>,
    now: Duration,
    cold_start: &mut ColdStart,
) -> bool {
    routing.core.postpone_notices();
    while !routing.is_spent() {
        let begun = routing.gateways.unfinished();
        let begun = begun.map(|gateway| (gateway, VecDeque::new()));
        let Some((gateway, mut entries)) = begun.or_else(|| cold_start.take_next()) else {
            return false;
        };
        let queries = Some(&mut cold_start.queries);
        let (effects, result) = routing.apply(now, gateway, &mut entries, queries);
        node.count(&effects);
        match result {
            Ok(_) if entries.is_empty() => {}
            Ok(_) => cold_start.give_back(gateway, entries),
            Err(refusal) => {
                node.process.metrics.attach_refused(&refusal);
                routing.refuse(now, gateway, refusal);
                let forgotten = cold_start.forget(gateway);
                routing.garbage.push(Box::new(forgotten));
                node.gateways_changed.notify_waiters();
            }
        }
    }
    true
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
