//! What the last calls produced: deliveries for links and events for subscribers.
//!
//! Buffers are reused. Consecutive items of one origin to the same links share one target list, so that a burst to
//! fifty links costs fifty targets once and a reference count per item.

use bytes::Bytes;

use crate::change::ReportedStatus;
use crate::event_log::Event;
use crate::ids::{LinkId, UserId};

/// One link that is to get something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Target {
    /// Incarnation of the link's gateway.
    pub gateway: u64,
    /// The link's number there.
    pub number: u64,
}

impl From<LinkId> for Target {
    fn from(id: LinkId) -> Target {
        Target {
            gateway: id.gateway,
            number: id.number,
        }
    }
}

/// What is delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// A PDU, byte for byte as it came in.
    Pdu(Bytes),
    /// The same, of a kind that a link may have to be spared when it comes late. In a box: they are few.
    Perishable(Box<Perishable>),
    /// Legacy 0x070e.
    DesktopLogin {
        /// Whose.
        user: UserId,
        /// Some desktop login exists.
        on: bool,
    },
    /// Legacy 0x0203.
    Status {
        /// Whose.
        user: UserId,
        /// The update's own status.
        status: ReportedStatus,
    },
}

/// A PDU whose age matters, to somebody else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Perishable {
    /// Byte for byte as it came in.
    pub pdu: Bytes,
    /// When it was read: microseconds since the node started, negative if that was before. Means nothing here.
    pub read_at: i64,
}

impl Payload {
    /// A PDU; `read_at` if its age matters, as in [`Perishable`].
    pub fn of_pdu(pdu: Bytes, read_at: Option<i64>) -> Self {
        match read_at {
            None => Payload::Pdu(pdu),
            Some(read_at) => Payload::Perishable(Box::new(Perishable { pdu, read_at })),
        }
    }

    /// About what it takes in a queue, bytes.
    pub fn size(&self) -> usize {
        match self {
            Payload::Pdu(pdu) => pdu.len(),
            Payload::Perishable(perishable) => perishable.pdu.len(),
            Payload::DesktopLogin { .. } | Payload::Status { .. } => 32,
        }
    }
}

/// One thing to deliver. (origin link, sequence, index) names it everywhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Sequence of the origin's entry that caused it.
    pub sequence: u64,
    /// Which of the things that this entry caused.
    pub index: u32,
    /// What.
    pub payload: Payload,
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

/// How deliveries come to their targets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// Routed to them.
    Direct,
    /// Meant for another link of their MsgServer, or held for a while; nothing newer of the origin came before.
    Moved,
    /// Meant for another link of their MsgServer; newer ones of the same origin may have been delivered before.
    Late,
}

/// Up to where the deliveries of one origin were written to a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Whose entries caused them.
    pub origin: LinkId,
    /// Sequence of the last one's entry.
    pub sequence: u64,
    /// Its index among what that entry caused.
    pub index: u32,
}

/// A link succeeds others: what was written to them is not to be written to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TakenOver {
    /// It comes after so many fans.
    pub after: usize,
    /// The successor.
    pub to: Target,
    /// By origin.
    pub taken: Vec<Taken>,
}

/// Deliveries that a closed link could not be sent any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReturnedRun {
    /// Whose entries caused the items.
    pub origin: LinkId,
    /// Where the first item was routed; the others follow without a hole.
    pub position: u64,
    /// In order.
    pub items: Vec<Item>,
}

/// Items that wait at a seat.
pub(crate) type HeldRun = ReturnedRun;

#[derive(Debug)]
struct Fan {
    origin: LinkId,
    position: u64,
    course: Course,
    first_target: usize,
    first_item: usize,
    /// End of its targets and items.
    end: (usize, usize),
}

/// What the last calls produced. Drain it, then [`Outbox::clear`] it.
#[derive(Debug, Default)]
pub struct Outbox {
    fans: Vec<Fan>,
    targets: Vec<Target>,
    items: Vec<Item>,
    events: Vec<Event>,
    taken_over: Vec<TakenOver>,
    closes: Vec<LinkId>,
    /// Fans before this one get no more items.
    sealed: usize,
}

impl Outbox {
    /// Deliveries in the order in which they were routed.
    pub fn fans(&self) -> impl Iterator<Item = FanView<'_>> {
        self.fans.iter().map(|fan| FanView {
            origin: fan.origin,
            position: fan.position,
            targets: &self.targets[fan.first_target..fan.end.0],
            items: &self.items[fan.first_item..fan.end.1],
            course: fan.course,
        })
    }

    /// How many fans there are. What is routed later comes in new ones, so that a caller can put something of its own
    /// in between.
    pub fn seal(&mut self) -> usize {
        self.sealed = self.fans.len();
        self.sealed
    }

    /// Takes what successors are to know, in order.
    pub fn taken_over(&mut self) -> Vec<TakenOver> {
        std::mem::take(&mut self.taken_over)
    }

    /// Takes the links that others have succeeded: their gateways are to close them.
    pub fn closes(&mut self) -> Vec<LinkId> {
        std::mem::take(&mut self.closes)
    }

    /// Takes the events, in order.
    pub fn events(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    /// Is there nothing at all?
    pub fn is_empty(&self) -> bool {
        let others = self.taken_over.is_empty() && self.closes.is_empty();
        self.fans.is_empty() && self.events.is_empty() && others
    }

    /// Forgets everything; keeps the memory, unless a burst made it unusually large.
    pub fn clear(&mut self) {
        const KEPT: usize = 64 * 1024;
        self.fans.clear();
        self.sealed = 0;
        self.targets.clear();
        self.items.clear();
        self.events.clear();
        self.taken_over.clear();
        self.closes.clear();
        self.fans.shrink_to(KEPT);
        self.targets.shrink_to(KEPT);
        self.items.shrink_to(KEPT);
        self.events.shrink_to(KEPT);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Asks for the close of a link.
    pub(crate) fn close(&mut self, link: LinkId) {
        self.closes.push(link);
    }

    /// Tells a successor what was written to its predecessors.
    pub(crate) fn take_over(&mut self, to: LinkId, taken: Vec<Taken>) {
        if taken.is_empty() {
            return;
        }
        let after = self.seal();
        let to = to.into();
        self.taken_over.push(TakenOver { after, to, taken });
    }

    /// Adds one item for the given targets (sorted, each once).
    pub(crate) fn deliver(
        &mut self,
        origin: LinkId,
        position: u64,
        targets: impl Iterator<Item = Target>,
        item: Item,
        course: Course,
    ) {
        let first_target = self.targets.len();
        self.targets.extend(targets);
        if self.targets.len() == first_target {
            return;
        }
        if let Some(last) = self.fans[self.sealed..].last_mut() {
            let follows = last.origin == origin
                && last.course == course
                && last.position + (last.end.1 - last.first_item) as u64 == position;
            if follows
                && self.targets[last.first_target..last.end.0] == self.targets[first_target..]
            {
                self.targets.truncate(first_target);
                self.items.push(item);
                last.end.1 = self.items.len();
                return;
            }
        }
        let first_item = self.items.len();
        self.items.push(item);
        self.fans.push(Fan {
            origin,
            position,
            course,
            first_target,
            first_item,
            end: (self.targets.len(), self.items.len()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(sequence: u64) -> Item {
        Item {
            sequence,
            index: 0,
            payload: Payload::Pdu(Bytes::from_static(b"pdu")),
        }
    }

    #[test]
    fn items_of_one_origin_to_the_same_links_share_their_targets() {
        let origin = LinkId {
            gateway: 1,
            number: 1,
        };
        let two = [2, 3].map(|number| Target { gateway: 1, number });
        let mut outbox = Outbox::default();

        outbox.deliver(origin, 10, two.into_iter(), item(1), Course::Direct);
        outbox.deliver(origin, 11, two.into_iter(), item(2), Course::Direct);
        outbox.deliver(
            origin,
            12,
            two[..1].iter().copied(),
            item(3),
            Course::Direct,
        );
        // Position 13 went nowhere: the next item may not pretend to follow position 12.
        outbox.deliver(
            origin,
            14,
            two[..1].iter().copied(),
            item(5),
            Course::Direct,
        );

        let shapes: Vec<_> = outbox
            .fans()
            .map(|fan| (fan.position, fan.targets.len(), fan.items.len()))
            .collect();
        assert_eq!(shapes, [(10, 2, 2), (12, 1, 1), (14, 1, 1)]);
    }

    #[test]
    fn a_sealed_fan_gets_no_more_items() {
        let target = [Target {
            gateway: 1,
            number: 2,
        }];
        let mut outbox = Outbox::default();

        outbox.deliver(LinkId::NODE, 1, target.into_iter(), item(1), Course::Direct);
        assert_eq!(outbox.seal(), 1);
        outbox.deliver(LinkId::NODE, 2, target.into_iter(), item(2), Course::Direct);

        assert_eq!(outbox.fans().count(), 2);
    }

    #[test]
    fn an_item_for_nobody_leaves_no_trace() {
        let mut outbox = Outbox::default();

        outbox.deliver(LinkId::NODE, 1, std::iter::empty(), item(1), Course::Direct);

        assert!(outbox.is_empty());
    }
}
