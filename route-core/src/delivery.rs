//! What is delivered, to whom, and how it comes there.

use bytes::Bytes;

use crate::change::ReportedStatus;
use crate::ids::{LinkId, UserId};
use crate::memory::{allocated, of_pdu};
use crate::receipt::Receipt;

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

/// What is delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// A PDU, byte for byte as it came in.
    Pdu(Bytes),
    /// The same, of a kind that a link may have to be spared when it comes late. In a box: they
    /// are few.
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
    /// When it was read: microseconds since the node started, negative if that was before. Means
    /// nothing here.
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

    /// What it takes beside itself, bytes. What is shared counts wherever it is held.
    pub fn cost(&self) -> usize {
        match self {
            Payload::Pdu(pdu) => of_pdu(pdu.len()),
            Payload::Perishable(perishable) => {
                allocated(size_of::<Perishable>()) + of_pdu(perishable.pdu.len())
            }
            Payload::DesktopLogin { .. } | Payload::Status { .. } => 0,
        }
    }
}

/// How deliveries come to their targets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// Routed to them.
    Direct,
    /// Meant for another link of their MsgServer, or held for a while; nothing newer of the origin
    /// came before.
    Moved,
    /// Meant for another link of their MsgServer; newer ones of the same origin may have been
    /// delivered before.
    Late,
}

/// Deliveries that a link could not be sent, or not yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReturnedRun {
    /// Whose entries caused the items.
    pub origin: LinkId,
    /// Where the first item was routed; the others follow without a hole.
    pub position: u64,
    /// In order.
    pub items: Vec<Item>,
    /// Of the batches that caused them.
    pub receipts: Vec<Receipt>,
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
