//! The end of a transaction: deliveries, answers and closes are queued, events logged, batches
//! confirmed.

use std::sync::Arc;
use std::time::Duration;

use route_core::{LinkId, Output};

use super::Node;
use super::all_known::end_cold_start;
use super::closed::Asked;
use super::routed::Outcome;
use super::transaction::{Applied, Transaction};
use crate::gateways::Gateways;
use crate::gateways::queue::{Placed, Queue};
use crate::trace::Hop;

/// What is left to do when the lock is free again.
pub(super) struct Committed {
    pub(super) touched: Vec<Arc<Queue>>,
    pub(super) head: Option<u64>,
    /// Where deliveries stand, if that was asked for.
    pub(super) placed: Vec<Placed>,
    /// End with the rest.
    _hops: Vec<Hop>,
    /// Goes with it.
    _garbage: Vec<Box<dyn Send>>,
}

/// Queues and logs what a transaction has caused, and confirms what has come to its end.
pub(super) fn commit(node: &Node, mut transaction: Transaction<'_>, now: Duration) -> Committed {
    if let Some(cold_start) = &transaction.cold_start
        && !cold_start.is_ending()
    {
        // Tables that are restored part by part are nobody's coming or going: subscribers get a gap
        // instead.
        transaction.core.outputs().forget_events();
    }
    end_cold_start(node, &mut transaction, now);
    if transaction.core.goes_on() {
        node.chores_changed();
    }
    let head = carry_out(node, &mut transaction, now);
    confirm(node, &mut transaction);
    Committed {
        touched: transaction.gateways.take_touched(),
        head,
        placed: transaction.placed.take().unwrap_or_default(),
        _hops: transaction.traced.take(),
        _garbage: transaction.garbage,
    }
}

/// Does what the outputs say, in order. Returns the newest event's position, if there are any.
fn carry_out(node: &Node, transaction: &mut Transaction<'_>, now: Duration) -> Option<u64> {
    let Transaction {
        core,
        gateways,
        traced,
        placed,
        ..
    } = transaction;
    let mut deliveries = 0;
    for output in core.outputs().drain() {
        match output {
            Output::Deliver(fan) => {
                deliveries += (fan.items.len() * fan.targets.len()) as u64;
                gateways.deliver(&fan, traced, placed.as_mut());
            }
            Output::TakeOver {
                to,
                predecessors,
                taken,
                receipts,
            } => {
                if let Some(queue) = gateways.queue_of(to.gateway) {
                    queue.take_over(to.number, &predecessors, &taken, &receipts);
                }
            }
            Output::Close(link) => {
                if let Some(queue) = gateways.queue_of(link.gateway) {
                    let asked = Asked::OtherConnection;
                    queue.close_link(link.number, asked.why(), false);
                    node.closed.is_asked(link, asked);
                }
            }
            Output::Answer(answer) => {
                if let Some(queue) = gateways.queue_of(answer.link.gateway) {
                    let traceparent = traced.traceparent(answer.link, answer.sequence);
                    queue.answer(&answer, traceparent);
                }
            }
        }
    }
    node.process.metrics.tallies.deliveries.add(deliveries);
    note(node, core, gateways, now);
    for transition in core.outputs().drain_transitions() {
        node.transitions
            .happened(node.clock.now(), &node.process.metrics, &transition);
    }
    for loss in core.outputs().drain_losses() {
        node.losses.happened(node.clock.now(), &loss);
        node.routed.late().note(now, &loss);
    }
    for link in core.outputs().drain_closed() {
        let gateway_id = gateways.id_of(link.id.gateway).unwrap_or_default();
        node.closed.note(now, link, gateway_id);
    }
    node.log.append(now, core.outputs().drain_events())
}

/// Notes where envelopes went, for those who ask later.
fn note(node: &Node, core: &route_core::Transaction<'_>, gateways: &Gateways, now: Duration) {
    let view = core.view();
    let msg_server = |link| view.link(link).map_or_else(String::new, |it| it.msg_server);
    let outcome = |position, link: LinkId| {
        if gateways.was_full(position, link.gateway) {
            return Outcome::QueueFull;
        }
        match gateways.is_attached(link.gateway) {
            true => Outcome::Queued,
            false => Outcome::WaitsForGateway,
        }
    };
    node.routed
        .note(now, core.routed(), &node.dialects, msg_server, outcome);
}

/// Confirms batches of which nothing is left on its way.
fn confirm(node: &Node, transaction: &mut Transaction<'_>) {
    let Transaction {
        core,
        gateways,
        confirmations,
        applied,
        ..
    } = transaction;
    // Copies of receipts that nothing carries any more.
    core.outputs().clear();
    for Applied {
        gateway,
        batch,
        ended,
    } in applied.drain(..)
    {
        if let Some(queue) = gateways.queue_of(gateway) {
            // After everything that was queued for them.
            ended.iter().for_each(|link| queue.end_link(*link));
        }
        confirmations.add(gateway, batch);
    }
    // A draining node's word is worth nothing: its successor is told again.
    if !node.draining().is_cancelled() {
        confirmations.confirm(|origin, progress| gateways.confirm(origin, progress));
    }
}
