//! A term: a node leads, as long as it can renew its record.

use std::sync::Arc;
use std::time::Duration;

use route_leadership::{Found, Lease, Record, State};
use route_runtime::life::new_life;
use tokio::time::sleep;
use tracing::{info, warn};

use super::candidate::Candidate;
use super::counts::End;
use super::stand_by::Taken;
use crate::engine::NotWritten;
use crate::leads::Leads;
use crate::node::{Node, Transaction};
use crate::tenure::{Begun, Door, Tenure};

/// Between two reads of a record of which it is not known whether it was written.
const READ_AGAIN: Duration = Duration::from_millis(100);

/// Between two writes, at least.
const WRITES_APART: Duration = Duration::from_millis(10);

struct Lead<'a> {
    of: &'a mut Candidate,
    node: Arc<Node>,
    tenure: Arc<Tenure>,
    term: u64,
    lease: Lease,
    interruptions: u64,
}

/// Leads from a take-over on, until this process leads no more. Nothing is left of the term when this returns.
pub(super) async fn lead(of: &mut Candidate, taken: Taken) {
    let Taken { record, lease, .. } = taken;
    let term = record.term;
    let tenure = Tenure::new(term, of.clock, lease.sent + of.timing.serve);
    let begun = Begun::with(Arc::clone(&tenure), record.roster, taken.take_over);
    let node = Node::begin(&of.process, new_life(), begun);
    of.observed.shows(&node);
    of.roles.leads(&node);
    of.site.is_led(Leads::This(Arc::clone(&node)));
    of.counts.begins(&tenure);
    info!(term, "this node leads; its term begins");
    // It may serve at once.
    tenure.write_is_wanted.notify_one();
    let mut lead = Lead {
        of,
        node,
        tenure,
        term,
        lease,
        interruptions: taken.interruptions,
    };
    let end = lead.run().await;
    // The streams end first.
    lead.node.end();
    match end {
        End::Drained => info!(term, "this node leads no more: it drains"),
        End::LeaseOver | End::Refused | End::Interrupted => {
            warn!(term, reason = end.as_str(), "this node leads no more");
        }
    }
    if end == End::Drained {
        lead.release().await;
    }
    lead.of.counts.ended(end);
}

impl Lead<'_> {
    /// Renews the record, until that is over.
    async fn run(&mut self) -> End {
        let (draining, ended) = (self.of.process.draining(), self.node.draining());
        let mut due = self.lease.sent + self.of.timing.renew;
        loop {
            let left = self.left();
            let wait = due.saturating_sub((self.of.clock)());
            tokio::select! {
                biased;
                () = draining.cancelled() => return End::Drained,
                // The node has seen that before.
                () = ended.cancelled() => return End::LeaseOver,
                () = sleep(left) => return End::LeaseOver,
                () = sleep(wait) => {}
                () = self.tenure.write_is_wanted.notified() => {
                    let now = (self.of.clock)();
                    if now < due && !self.door(|door| door.wants_write(now)) {
                        continue;
                    }
                }
            }
            match self.write().await {
                Some(end) => return end,
                None => due = self.lease.sent + self.of.timing.renew,
            }
            sleep(WRITES_APART).await;
        }
    }

    /// How long the lease goes on.
    fn left(&self) -> Duration {
        (self.lease.sent + self.of.timing.serve).saturating_sub((self.of.clock)())
    }

    fn holds(&self) -> bool {
        self.lease.holds((self.of.clock)(), &self.of.timing)
    }

    /// Writes the record anew, with those who are at the door. How the term ends, if it does.
    async fn write(&mut self) -> Option<End> {
        if let Some(end) = self.is_over() {
            return Some(end);
        }
        let now = (self.of.clock)();
        let counter = self.of.next_counter();
        let (state, roster) = self.door(|door| door.ask(now));
        let record = Record {
            term: self.term,
            node: self.of.life,
            counter,
            state,
            roster,
        };
        self.lease.ask(now, counter);
        let replaces = Some(self.lease.revision);
        let engine = Arc::clone(&self.of.engine);
        let written = engine.write(&record, &self.of.author, replaces).await;
        // An answer that comes when the lease is over, or the engine was lost before the node served, saves no term.
        if let Some(end) = self.is_over() {
            return Some(end);
        }
        match written {
            Ok(revision) => {
                self.lease.accepted(revision);
                self.written();
                None
            }
            Err(NotWritten::Refused) => Some(End::Refused),
            Err(NotWritten::Unanswered(problem)) => {
                self.of.counts.unanswered();
                tracing::debug!(problem, "a renewal was not answered");
                self.find_out().await
            }
        }
    }

    /// How the term has ended, if it has.
    fn is_over(&mut self) -> Option<End> {
        match self.holds() {
            true => self.interrupted(),
            false => Some(End::LeaseOver),
        }
    }

    /// Whether the last write has happened: nobody knows. Reads until that is known.
    async fn find_out(&mut self) -> Option<End> {
        let draining = self.of.process.draining();
        loop {
            let read = self.of.engine.read().await;
            if let Some(end) = self.is_over() {
                return Some(end);
            }
            if let Ok(found) = read {
                let stored = found.map(|it| it.stored);
                return match self.lease.found(self.of.life, stored.as_ref()) {
                    Found::Written => {
                        self.written();
                        None
                    }
                    Found::Unchanged => {
                        self.door(Door::unchanged);
                        None
                    }
                    Found::Lost => Some(End::Refused),
                };
            }
            // A release need not be.
            if draining.is_cancelled() {
                return None;
            }
            sleep(READ_AGAIN).await;
        }
    }

    /// The last write has succeeded.
    fn written(&mut self) {
        self.tenure.prolong(self.lease.sent + self.of.timing.serve);
        if self.door(Door::written) {
            info!(term = self.term, "this node serves");
        }
        self.node.gateways_changed.notify_waiters();
        self.node.chores_changed();
    }

    /// A term that has not served yet is over when the engine was lost: the record may have gone back.
    fn interrupted(&mut self) -> Option<End> {
        let interruptions = self.of.engine.interruptions();
        let is_new = std::mem::replace(&mut self.interruptions, interruptions) != interruptions;
        let serves = self.door(|door| door.serves());
        (is_new && !serves).then_some(End::Interrupted)
    }

    /// Lets others lead at once, if this node has served.
    async fn release(&mut self) {
        let (state, roster) = self.door(|door| (door.state(), door.certain().clone()));
        if !state.may_release() || !self.holds() {
            return;
        }
        let record = Record {
            term: self.term,
            node: self.of.life,
            counter: self.of.next_counter(),
            state: State::Released,
            roster,
        };
        let replaces = Some(self.lease.revision);
        let engine = Arc::clone(&self.of.engine);
        match engine.write(&record, &self.of.author, replaces).await {
            Ok(_) => info!(term = self.term, "the record is released"),
            Err(error) => warn!(%error, "the record is not released: others wait for the lease"),
        }
    }

    fn door<R>(&self, with: impl FnOnce(&mut Door) -> R) -> R {
        self.node.transact(|transaction: &mut Transaction<'_>, _| {
            let door = transaction.door.as_mut();
            with(door.expect("a node of a term has a door"))
        })
    }
}
