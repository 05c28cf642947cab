//! What a transaction produced: one list, in order.
//!
//! Buffers are reused. Consecutive items of one origin to the same links share one target list, so
//! that a burst to fifty links costs fifty targets once and a reference count per item.

use std::ops::Range;

use crate::closed::ClosedLink;
use crate::delivery::{Course, Item, ReturnedRun, Taken};
use crate::event_log::{Event, PresenceChange};
use crate::ids::LinkId;
use crate::receipt::Receipt;
use crate::routed::{RoutedEnvelope, Ways};
use crate::transition::{Loss, Transition};
use crate::work::Work;

/// One thing that is to be done, after everything before it in the list.
#[derive(Debug)]
pub enum Output<'a> {
    /// Links get something.
    Deliver(FanView<'a>),
    /// A link succeeds others: what was written to them is not to be written to it.
    TakeOver {
        /// The successor.
        to: LinkId,
        /// The others, the last one first; empty if they are known.
        predecessors: Vec<LinkId>,
        /// What was written, by origin.
        taken: Vec<Taken>,
        /// Of the batches that caused this.
        receipts: Vec<Receipt>,
    },
    /// Another link has succeeded this one: its gateway is to close it.
    Close(LinkId),
    /// A link is told what it asked for.
    Answer(Answer),
}

/// Items that go to the same links.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FanView<'a> {
    /// Whose entries caused the items.
    pub origin: LinkId,
    /// Where the first item was routed; the others follow without a hole.
    pub position: u64,
    /// Sorted by gateway, then number; no target twice; never empty.
    pub targets: &'a [LinkId],
    /// In order; never empty.
    pub items: &'a [Item],
    /// How the items come to these targets.
    pub course: Course,
    /// Of the batches that caused the items.
    pub receipts: &'a [Receipt],
}

/// The answer to a status query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Who asked.
    pub link: LinkId,
    /// Number of the query.
    pub sequence: u64,
    /// By the legacy rule, one for each user that was asked for, in order.
    pub online: Vec<bool>,
}

/// What a transaction produced so far.
#[derive(Debug, Default)]
pub struct Outputs {
    entries: Vec<Entry>,
    targets: Vec<LinkId>,
    items: Vec<Item>,
    receipts: Vec<Receipt>,
    /// Those of what is caused now.
    causes: Range<usize>,
    events: Vec<Event>,
    transitions: Vec<Transition>,
    losses: Vec<Loss>,
    closed: Vec<ClosedLink>,
    pub(crate) ways: Ways,
    pub(crate) work: Work,
}

#[derive(Debug)]
enum Entry {
    Deliver(Fan),
    Other(Output<'static>),
}

#[derive(Debug)]
struct Fan {
    origin: LinkId,
    position: u64,
    course: Course,
    targets: Range<usize>,
    items: Range<usize>,
    receipts: Range<usize>,
}

impl Outputs {
    /// Takes everything but events, transitions, losses and closed links, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Output<'_>> {
        let (targets, items, receipts) = (&self.targets, &self.items, &self.receipts);
        self.entries.drain(..).map(|entry| match entry {
            Entry::Deliver(fan) => Output::Deliver(FanView {
                origin: fan.origin,
                position: fan.position,
                targets: &targets[fan.targets],
                items: &items[fan.items],
                course: fan.course,
                receipts: &receipts[fan.receipts],
            }),
            Entry::Other(output) => output,
        })
    }

    /// Takes what subscribers may see, in order.
    pub fn drain_events(&mut self) -> impl ExactSizeIterator<Item = Event> {
        self.events.drain(..)
    }

    /// Where the envelopes went that are among the events, in order.
    pub(crate) fn routed(&self) -> impl Iterator<Item = RoutedEnvelope<'_>> {
        self.ways.shown(&self.events, &self.targets)
    }

    /// Nobody is to see the events so far.
    pub fn forget_events(&mut self) {
        self.events.clear();
        self.ways.clear();
    }

    /// Takes what happened to the links of MsgServers, in order.
    pub fn drain_transitions(&mut self) -> impl ExactSizeIterator<Item = Transition> {
        self.transitions.drain(..)
    }

    /// Takes what was lost, one for each link and reason if there were no others between.
    pub fn drain_losses(&mut self) -> impl ExactSizeIterator<Item = Loss> {
        self.losses.drain(..)
    }

    /// Takes links whose connections have ended, in order.
    pub fn drain_closed(&mut self) -> impl ExactSizeIterator<Item = ClosedLink> {
        self.closed.drain(..)
    }

    /// Forgets everything, receipts too; keeps the memory, unless a burst made it unusually large.
    pub fn clear(&mut self) {
        const KEPT: usize = 64 * 1024;
        self.entries.clear();
        self.targets.clear();
        self.items.clear();
        self.receipts.clear();
        self.forget_events();
        self.transitions.clear();
        self.losses.clear();
        self.closed.clear();
        self.causes = 0..0;
        self.entries.shrink_to(KEPT);
        self.targets.shrink_to(KEPT);
        self.items.shrink_to(KEPT);
        self.receipts.shrink_to(KEPT);
        self.events.shrink_to(KEPT);
    }

    /// What comes next is caused by the batch with this receipt, if by any.
    pub(crate) fn caused_by(&mut self, receipt: Option<Receipt>) {
        let first = self.receipts.len();
        self.receipts.extend(receipt);
        self.causes = first..self.receipts.len();
    }

    /// What comes next is caused by these batches, too. Returns what [`Outputs::no_more`] takes.
    pub(crate) fn also_caused_by(&mut self, receipts: &[Receipt]) -> Range<usize> {
        let joined = self.join(receipts);
        std::mem::replace(&mut self.causes, joined)
    }

    /// What comes next has the causes from before.
    pub(crate) fn no_more(&mut self, before: Range<usize>) {
        self.causes = before;
    }

    /// Receipts of what is caused now.
    pub(crate) fn causes(&self) -> &[Receipt] {
        &self.receipts[self.causes.clone()]
    }

    /// Adds an event.
    pub(crate) fn event(&mut self, event: Event) {
        self.work.step();
        if let Event::Envelope { pdu, .. } = &event {
            self.work.bytes(pdu.len());
        }
        self.events.push(event);
    }

    /// Adds the events of a user whose presence changed.
    pub(crate) fn changed(&mut self, change: PresenceChange) {
        let PresenceChange {
            user,
            before,
            after,
            ..
        } = change;
        self.event(Event::Presence(change));
        if before.legacy_online != after.legacy_online {
            let on = after.legacy_online;
            self.event(Event::DesktopLogin { user, on });
        }
    }

    /// Says what happened to a link.
    pub(crate) fn transition(&mut self, transition: Transition) {
        self.work.step();
        self.transitions.push(transition);
    }

    /// Says that a link's connection has ended.
    pub(crate) fn closed(&mut self, link: ClosedLink) {
        self.work.step();
        self.closed.push(link);
    }

    /// Says what was lost, unless that is nothing.
    pub(crate) fn lost(&mut self, loss: Loss) {
        match self.losses.last_mut() {
            _ if loss.deliveries == 0 => {}
            Some(last) if last.link == loss.link && last.reason == loss.reason => {
                last.deliveries += loss.deliveries;
            }
            _ => self.losses.push(loss),
        }
    }

    /// Asks for the close of a link.
    pub(crate) fn close(&mut self, link: LinkId) {
        self.push(Output::Close(link));
    }

    /// Answers a query.
    pub(crate) fn answer(&mut self, answer: Answer) {
        self.push(Output::Answer(answer));
    }

    /// Tells a successor what was written to its predecessors.
    pub(crate) fn take_over(&mut self, to: LinkId, predecessors: Vec<LinkId>, taken: Vec<Taken>) {
        if !taken.is_empty() || !predecessors.is_empty() {
            let receipts = self.causes().to_vec();
            self.push(Output::TakeOver {
                to,
                predecessors,
                taken,
                receipts,
            });
        }
    }

    /// Delivers what was meant for a predecessor, or had to wait.
    pub(crate) fn pass_on(&mut self, to: LinkId, run: ReturnedRun, course: Course) {
        let receipts = self.join(&run.receipts);
        self.add(run.origin, run.position, course, [to], run.items, receipts);
    }

    /// Delivers an item that was just routed to these links (sorted, each once). Returns where they
    /// stand.
    pub(crate) fn deliver(
        &mut self,
        origin: LinkId,
        position: u64,
        targets: impl Iterator<Item = LinkId>,
        item: Item,
    ) -> Range<usize> {
        let receipts = self.causes.clone();
        self.add(origin, position, Course::Direct, targets, [item], receipts)
    }

    /// How many events there are.
    pub(crate) fn event_count(&self) -> usize {
        self.events.len()
    }

    /// Adds a fan, or joins its items to the last one. Returns where its targets stand.
    fn add(
        &mut self,
        origin: LinkId,
        position: u64,
        course: Course,
        targets: impl IntoIterator<Item = LinkId>,
        items: impl IntoIterator<Item = Item>,
        receipts: Range<usize>,
    ) -> Range<usize> {
        let (first_target, first_item) = (self.targets.len(), self.items.len());
        self.targets.extend(targets);
        self.items.extend(items);
        let (targets, items) = (
            first_target..self.targets.len(),
            first_item..self.items.len(),
        );
        self.work.steps(targets.len() + items.len());
        if targets.is_empty() || items.is_empty() {
            self.targets.truncate(first_target);
            self.items.truncate(first_item);
            return first_target..first_target;
        }
        if let Some(Entry::Deliver(last)) = self.entries.last_mut() {
            let same_receipts = last.receipts == receipts
                || self.receipts[last.receipts.clone()] == self.receipts[receipts.clone()];
            let follows = last.origin == origin
                && last.course == course
                && last.position + last.items.len() as u64 == position
                && self.targets[last.targets.clone()] == self.targets[targets.clone()];
            if follows && same_receipts {
                self.targets.truncate(first_target);
                last.items.end = items.end;
                return last.targets.clone();
            }
        }
        self.entries.push(Entry::Deliver(Fan {
            origin,
            position,
            course,
            targets: targets.clone(),
            items,
            receipts,
        }));
        targets
    }

    /// The present causes and these, each once, in order.
    fn join(&mut self, others: &[Receipt]) -> Range<usize> {
        let causes = self.causes.clone();
        if others.is_empty() || others == self.causes() {
            return causes;
        }
        let first = self.receipts.len();
        self.work.steps(causes.len() + others.len());
        self.receipts.extend_from_within(causes);
        self.receipts.extend_from_slice(others);
        self.receipts[first..].sort_unstable();
        let mut kept = first;
        for at in first + 1..self.receipts.len() {
            if self.receipts[at] != self.receipts[kept] {
                kept += 1;
                self.receipts.swap(at, kept);
            }
        }
        self.receipts.truncate(kept + 1);
        first..self.receipts.len()
    }

    /// What a gateway is told keeps its place among the deliveries.
    fn push(&mut self, output: Output<'static>) {
        self.work.step();
        self.entries.push(Entry::Other(output));
    }
}

#[cfg(test)]
mod tests;
