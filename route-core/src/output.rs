//! What a transaction produced: one list, in order.
//!
//! Buffers are reused. Consecutive items of one origin to the same links share one target list, so
//! that a burst to fifty links costs fifty targets once and a reference count per item.

use std::ops::Range;

use crate::delivery::{Course, Item, ReturnedRun, Taken, Target};
use crate::event_log::{ChangeReason, Event};
use crate::ids::{LinkId, UserId};
use crate::status::Summary;

/// One thing that is to be done, after everything before it in the list.
#[derive(Debug)]
pub enum Output<'a> {
    /// Links get something.
    Deliver(FanView<'a>),
    /// A link succeeds others: what was written to them is not to be written to it.
    TakeOver {
        /// The successor.
        to: Target,
        /// What was written, by origin.
        taken: Vec<Taken>,
    },
    /// Another link has succeeded this one: its gateway is to close it.
    Close(LinkId),
    /// A link is told what it asked for.
    Answer(Answer),
    /// Subscribers may see this. Order holds among events only: a fan may have got more items
    /// after an event that follows it here.
    Event(Event),
}

/// Items that go to the same links.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FanView<'a> {
    /// Whose entries caused the items.
    pub origin: LinkId,
    /// Where the first item was routed; the others follow without a hole.
    pub position: u64,
    /// Sorted by gateway, then number; no target twice; never empty.
    pub targets: &'a [Target],
    /// In order; never empty.
    pub items: &'a [Item],
    /// How the items come to these targets.
    pub course: Course,
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
    targets: Vec<Target>,
    items: Vec<Item>,
    /// Index of the fan that may get more items.
    open: Option<usize>,
}

#[derive(Debug)]
enum Entry {
    Deliver(Fan),
    TakeOver { to: Target, taken: Vec<Taken> },
    Close(LinkId),
    Answer(Answer),
    Event(Event),
}

#[derive(Debug)]
struct Fan {
    origin: LinkId,
    position: u64,
    course: Course,
    targets: Range<usize>,
    items: Range<usize>,
}

impl Fan {
    /// Where its next item would be routed.
    fn next_position(&self) -> u64 {
        self.position + self.items.len() as u64
    }
}

impl Outputs {
    /// Takes everything, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = Output<'_>> {
        self.open = None;
        let (targets, items) = (&self.targets, &self.items);
        self.entries.drain(..).map(|entry| match entry {
            Entry::Deliver(fan) => Output::Deliver(FanView {
                origin: fan.origin,
                position: fan.position,
                targets: &targets[fan.targets],
                items: &items[fan.items],
                course: fan.course,
            }),
            Entry::TakeOver { to, taken } => Output::TakeOver { to, taken },
            Entry::Close(link) => Output::Close(link),
            Entry::Answer(answer) => Output::Answer(answer),
            Entry::Event(event) => Output::Event(event),
        })
    }

    /// Is there nothing at all?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many there are. What comes later does not join those that are there.
    pub fn seal(&mut self) -> usize {
        self.open = None;
        self.entries.len()
    }

    /// Nobody is told of the events so far.
    pub fn drop_events(&mut self) {
        self.open = None;
        self.entries
            .retain(|entry| !matches!(entry, Entry::Event(_)));
    }

    /// Forgets everything; keeps the memory, unless a burst made it unusually large.
    pub(crate) fn clear(&mut self) {
        const KEPT: usize = 64 * 1024;
        self.entries.clear();
        self.targets.clear();
        self.items.clear();
        self.open = None;
        self.entries.shrink_to(KEPT);
        self.targets.shrink_to(KEPT);
        self.items.shrink_to(KEPT);
    }

    /// Adds an event.
    pub(crate) fn event(&mut self, event: Event) {
        self.entries.push(Entry::Event(event));
    }

    /// Adds the events of a user whose summary changed, if it did.
    pub(crate) fn changed(
        &mut self,
        user: UserId,
        before: Summary,
        after: Summary,
        reason: ChangeReason,
    ) {
        if before == after {
            return;
        }
        self.event(Event::StatusChanged {
            user,
            summary: after,
            reason,
        });
        if before.legacy_online != after.legacy_online {
            let on = after.legacy_online;
            self.event(Event::DesktopLogin { user, on });
        }
    }

    /// Asks for the close of a link.
    pub(crate) fn close(&mut self, link: LinkId) {
        self.push(Entry::Close(link));
    }

    /// Answers a query.
    pub(crate) fn answer(&mut self, answer: Answer) {
        self.push(Entry::Answer(answer));
    }

    /// Tells a successor what was written to its predecessors.
    pub(crate) fn take_over(&mut self, to: LinkId, taken: Vec<Taken>) {
        if !taken.is_empty() {
            let to = to.into();
            self.push(Entry::TakeOver { to, taken });
        }
    }

    /// Delivers an item that was just routed to these links (sorted, each once).
    pub(crate) fn deliver(
        &mut self,
        origin: LinkId,
        position: u64,
        targets: impl Iterator<Item = Target>,
        item: Item,
    ) {
        let first_target = self.targets.len();
        self.targets.extend(targets);
        let targets = first_target..self.targets.len();
        self.add(origin, position, Course::Direct, targets, [item]);
    }

    /// Delivers what was meant for a predecessor, or had to wait.
    pub(crate) fn pass_on(&mut self, to: LinkId, run: ReturnedRun, course: Course) {
        let first_target = self.targets.len();
        self.targets.push(to.into());
        let targets = first_target..first_target + 1;
        self.add(run.origin, run.position, course, targets, run.items);
    }

    /// The targets are the last ones in the list; they go again if the items can join a fan.
    fn add(
        &mut self,
        origin: LinkId,
        position: u64,
        course: Course,
        targets: Range<usize>,
        items: impl IntoIterator<Item = Item>,
    ) {
        let first_item = self.items.len();
        self.items.extend(items);
        let items = first_item..self.items.len();
        if targets.is_empty() || items.is_empty() {
            self.targets.truncate(targets.start);
            self.items.truncate(items.start);
            return;
        }
        if let Some(Entry::Deliver(last)) = self.open.map(|open| &mut self.entries[open]) {
            let follows = last.origin == origin
                && last.course == course
                && last.next_position() == position
                && self.targets[last.targets.clone()] == self.targets[targets.clone()];
            if follows {
                self.targets.truncate(targets.start);
                last.items.end = items.end;
                return;
            }
        }
        self.open = Some(self.entries.len());
        self.entries.push(Entry::Deliver(Fan {
            origin,
            position,
            course,
            targets,
            items,
        }));
    }

    /// What a gateway is told keeps its place among the deliveries.
    fn push(&mut self, entry: Entry) {
        self.open = None;
        self.entries.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::delivery::Payload;

    const ORIGIN: LinkId = LinkId {
        gateway: 1,
        number: 1,
    };
    const TWO: [Target; 2] = [target(2), target(3)];

    const fn target(number: u64) -> Target {
        Target { gateway: 1, number }
    }

    fn item(sequence: u64) -> Item {
        Item {
            sequence,
            index: 0,
            payload: Payload::Pdu(Bytes::from_static(b"pdu")),
        }
    }

    fn deliver(outputs: &mut Outputs, position: u64, targets: &[Target]) {
        outputs.deliver(ORIGIN, position, targets.iter().copied(), item(position));
    }

    /// Position, targets and items of each fan.
    fn fans(outputs: &mut Outputs) -> Vec<(u64, usize, usize)> {
        let fan = |output: Output<'_>| match output {
            Output::Deliver(fan) => Some((fan.position, fan.targets.len(), fan.items.len())),
            Output::TakeOver { .. } | Output::Close(_) | Output::Answer(_) | Output::Event(_) => {
                None
            }
        };
        outputs.drain().filter_map(fan).collect()
    }

    #[test]
    fn items_of_one_origin_to_the_same_links_share_their_targets() {
        let mut outputs = Outputs::default();

        deliver(&mut outputs, 10, &TWO);
        deliver(&mut outputs, 11, &TWO);
        deliver(&mut outputs, 12, &TWO[..1]);
        // Position 13 went nowhere: the next item may not pretend to follow position 12.
        deliver(&mut outputs, 14, &TWO[..1]);

        assert_eq!(fans(&mut outputs), [(10, 2, 2), (12, 1, 1), (14, 1, 1)]);
    }

    #[test]
    fn events_do_not_part_a_fan_and_what_gateways_are_told_does() {
        let mut outputs = Outputs::default();

        deliver(&mut outputs, 1, &TWO);
        outputs.event(Event::DesktopLogin {
            user: UserId(7),
            on: true,
        });
        deliver(&mut outputs, 2, &TWO);
        outputs.answer(Answer {
            link: ORIGIN,
            sequence: 3,
            online: vec![true],
        });
        deliver(&mut outputs, 3, &TWO);

        let order: Vec<_> = outputs
            .drain()
            .map(|output| match output {
                Output::Deliver(fan) => ("deliver", fan.items.len()),
                Output::Event(_) => ("event", 1),
                Output::Answer(answer) => ("answer", answer.online.len()),
                Output::TakeOver { .. } | Output::Close(_) => ("other", 0),
            })
            .collect();
        assert_eq!(
            order,
            [("deliver", 2), ("event", 1), ("answer", 1), ("deliver", 1)]
        );
    }

    #[test]
    fn a_sealed_fan_gets_no_more_items() {
        let mut outputs = Outputs::default();

        deliver(&mut outputs, 1, &TWO);
        assert_eq!(outputs.seal(), 1);
        deliver(&mut outputs, 2, &TWO);

        assert_eq!(fans(&mut outputs), [(1, 2, 1), (2, 2, 1)]);
    }

    #[test]
    fn an_item_for_nobody_leaves_no_trace() {
        let mut outputs = Outputs::default();

        deliver(&mut outputs, 1, &[]);

        assert!(outputs.is_empty() && outputs.items.is_empty());
    }
}
