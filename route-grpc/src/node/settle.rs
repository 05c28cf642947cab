//! The end of a transaction: deliveries, answers and closes are queued, events logged, batches confirmed.

use std::sync::Arc;
use std::time::Duration;

use route_core::{Course, Holding};

use super::all_known::end_cold_start;
use super::routing::Repeated;
use super::{Node, Routing};
use crate::gateways::Gateways;
use crate::gateways::confirmations::{Left, Patience, Wait};
use crate::gateways::queue::Outbound;
use crate::trace::Hop;

/// What is left to do when the lock is free again.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) touched: Vec<Arc<Outbound>>,
    pub(super) head: Option<u64>,
    /// End with the rest.
    _hops: Vec<Hop>,
}

impl Node {
    /// Queues and logs what the core has produced.
    pub(super) fn settle(&self, routing: &mut Routing, now: Duration) -> Settled {
        if routing.cold_start.is_some() {
            // Tables that are restored part by part are nobody's coming or going: subscribers get a gap instead.
            drop(routing.core.outbox().events());
        }
        if let Some(cold_start) = routing.cold_start.take_if(|start| start.is_over(now)) {
            end_cold_start(self, routing, now, cold_start);
        }
        let Routing {
            core,
            gateways,
            answers,
            confirmations,
            unsettled,
            repeated,
            left,
            traced,
            ..
        } = routing;
        let outbox = core.outbox();
        let mut deliveries = 0;
        let mut moved = false;
        let mut taken_over = outbox.taken_over().into_iter().peekable();
        let mut answers = answers.drain(..).peekable();
        let mut repeated = repeated.drain(..).peekable();
        for (before, fan) in outbox.fans().enumerate() {
            while repeated.next_if(|it| it.fans.end <= before).is_some() {}
            let repeats = |it: &&Repeated| it.fans.contains(&before) && it.origin == fan.origin;
            let place = repeated.peek().filter(repeats).map(|it| it.place);
            let place = place.filter(|_| fan.course == Course::Direct);
            while let Some(answer) = answers.next_if(|answer| answer.after <= before) {
                gateways.answer(answer);
            }
            while let Some(next) = taken_over.next_if(|next| next.after <= before) {
                gateways.take_over(next.to, &next.taken);
                moved = true;
            }
            deliveries += (fan.items.len() * fan.targets.len()) as u64;
            moved |= fan.course != Course::Direct;
            gateways.deliver(&fan, place, traced);
        }
        for last in taken_over {
            gateways.take_over(last.to, &last.taken);
            moved = true;
        }
        answers.for_each(|answer| gateways.answer(answer));
        for link in outbox.closes() {
            gateways.close_link(link);
        }
        self.metrics.deliveries.add(deliveries);
        let head = self.log.append(outbox.events());
        outbox.clear();
        let mut waits = gateways.take_waits();
        let holding = core.holding();
        if holding != Holding::Nothing {
            waits.push(Wait::HELD);
        }
        if moved {
            left.push(Left::CORE);
        }
        if !left.is_empty() {
            confirmations.moved(left, &waits);
            left.clear();
        }
        for batch in unsettled.drain(..) {
            gateways.end_links(batch.gateway, &batch.ended);
            confirmations.add(batch.gateway, batch.marks, &waits, batch.bytes);
        }
        // A draining node's word is worth nothing: its successor is told again.
        if !self.shutdown.draining().is_cancelled() {
            let stands = |gateways: &Gateways, wait, patience| match wait {
                // As with a queue: beyond half of the bound, origins rather stop.
                Wait::HELD => match holding {
                    Holding::Nothing => true,
                    Holding::Something => patience == Patience::Over,
                    Holding::Much => false,
                },
                wait => gateways.stands(wait, patience),
            };
            while let Some((origin, marks)) =
                confirmations.next(|wait, patience| stands(gateways, wait, patience))
            {
                gateways.confirm(origin, &marks);
            }
        }
        for gateway in gateways.detach_choked(now) {
            core.detach_gateway(gateway);
            self.metrics.slow_gateways.add(1, &[]);
            self.gateways_changed.notify_waiters();
            self.chores_changed();
        }
        Settled {
            touched: gateways.take_touched(),
            head,
            _hops: traced.take(),
        }
    }
}
