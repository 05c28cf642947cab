//! What a MsgServer did, as far as its node has to know: a deed has no number yet.

use std::time::Duration;

use bytes::Bytes;
use route_proto::attach::v1::uplink_entry::Entry;

/// Something that a link did, before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// As it goes up.
    Entry(Entry),
    /// A status query; its answer is made from this.
    Query(OpenQuery),
}

impl Deed {
    /// The legacy command, if it is one that is forwarded.
    pub fn command(&self) -> Option<u32> {
        match self {
            Deed::Entry(Entry::Envelope(envelope)) => Some(envelope.command),
            Deed::Entry(_) | Deed::Query(_) => None,
        }
    }
}

/// A query that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenQuery {
    /// Header sequence of the request.
    pub header_sequence: u16,
    /// Who asks.
    pub requester: u32,
    /// About whom.
    pub user_ids: Vec<u32>,
    /// Comes back with the answer.
    pub attach_data: Bytes,
    /// When it was read, since the gateway started.
    pub asked_at: Duration,
    /// Empty if it is not traced.
    pub traceparent: String,
}
