//! What nobody asks for: seats, graces and cold starts end in time, sessions of closed links are
//! freed.

use std::sync::Arc;
use std::time::Duration;

use super::{Node, Transaction};
use crate::gateways::Overdue;
use crate::refusal::Refusal;
use crate::tenure::Door;

/// How often the node looks after itself when nothing is due. Each time it sends all gateways a beat.
const TICK: Duration = Duration::from_millis(BEAT_MILLIS as u64);

/// The same, as gateways are told it.
pub(crate) const BEAT_MILLIS: u32 = 1000;

/// Ends seats and graces in time, and frees the sessions of closed links in steps.
pub(super) async fn run(node: Arc<Node>) {
    let draining = node.draining();
    loop {
        let looked = node.transact_acting(|transaction, now| {
            for (gateway, reach) in transaction.gateways.look_after(now) {
                transaction.core.set_reach(gateway, reach.of_core());
            }
            transaction.core.advance();
            let is_slowed = |gateway| node.is_filled_by(gateway);
            for overdue in transaction.gateways.overdue(now, is_slowed) {
                takes_nothing(&node, transaction, now, &overdue);
            }
            for (gateway, id) in transaction.gateways.stuck(now) {
                let problem = "it has not sent everything again in time";
                cut_off(&node, transaction, now, (gateway, &id), problem);
            }
            for gateway in transaction.gateways.departed(now) {
                transaction.give_up_returns(gateway);
            }
        });
        if looked.is_err() {
            break;
        }
        finish(&node).await;
        while lose_next(&node) {
            finish(&node).await;
        }
        let due = node.transact(|transaction, now| {
            let reach = |id: &str| transaction.gateways.reach(id);
            let serves = transaction.door.as_ref().is_none_or(Door::serves);
            let cold_start = transaction.cold_start.as_ref().filter(|_| serves);
            let cold_start_until = cold_start.map(|cold_start| cold_start.until(reach));
            let deadlines = [
                transaction.core.view().next_deadline(),
                transaction.gateways.next_deadline(now),
                cold_start_until,
            ];
            transaction.gateways.tell_left_out(now);
            let next = deadlines.into_iter().flatten().min();
            next.map_or(now + TICK, |next| next.min(now + TICK))
        });
        node.process.refusals.tick(node.clock.now());
        node.losses.tick(node.clock.now());
        node.transitions.tick(node.clock.now());
        node.process.turned();
        tokio::select! {
            biased;
            () = draining.cancelled() => break,
            () = node.chores.notified() => {}
            () = tokio::time::sleep_until(node.clock.instant(due)) => {}
        }
    }
    // All at once, so that nothing is routed to gateways that stay for those that have gone.
    node.end();
}

/// Finishes what is done piece by piece: long entries whose stream is gone, what lost gateways were not handed, the
/// sessions of closed links, what waited for all links to be known. Others come in between.
async fn finish(node: &Node) {
    let proceed = || node.transact_acting(|transaction, now| transaction.proceed(now));
    while proceed().unwrap_or(false) {
        tokio::task::yield_now().await;
    }
}

/// Ends the stream of a gateway that takes nothing. Others do not wait for it from then on, and its links end if it does
/// not come back; or at once, if it has come back before and taken nothing either.
fn takes_nothing(node: &Node, transaction: &mut Transaction<'_>, now: Duration, overdue: &Overdue) {
    let problem = "it has taken nothing for too long, although something waits";
    let gateway = (overdue.incarnation, overdue.id.as_str());
    cut_off(node, transaction, now, gateway, problem);
    if overdue.again {
        transaction.lose_gateway(now, overdue.incarnation);
    }
}

/// Ends the stream of this gateway, by incarnation and id: counted and logged.
fn cut_off(
    node: &Node,
    transaction: &mut Transaction<'_>,
    now: Duration,
    (incarnation, id): (u64, &str),
    problem: &str,
) {
    let refusal = Refusal::SlowConsumer {
        problem: problem.to_owned(),
    };
    let reason = refusal.reason().as_str_name();
    let why = format_args!("{id}: {refusal}");
    node.process
        .refusals
        .log(now, ("gateway cut off", reason), None, &why);
    node.process.metrics.attach_refused(&refusal);
    transaction.refuse(now, incarnation, refusal);
}

/// Gives up one gateway whose grace is over; false if there is none. Each in a transaction of its
/// own: what its end causes for links of the next one has to stand in that one's queue, to be taken
/// back from there.
///
/// Not while the record is not renewed: the gateway may be with a leader that is about to serve.
fn lose_next(node: &Node) -> bool {
    if !node.tenure.is_renewed() {
        return false;
    }
    let lost = node.transact_acting(|transaction, now| {
        let Some(gateway) = transaction.gateways.lost(now).into_iter().min() else {
            return false;
        };
        transaction.lose_gateway(now, gateway);
        node.gateways_changed.notify_waiters();
        true
    });
    lost.unwrap_or(false)
}
