//! What an entry from a gateway is, and about what it takes.

use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{TakenMark, UplinkEntry, delivery};

use super::sequences::Kind;

/// What an entry takes beside its payload until it is confirmed, bytes (about).
const ENTRY_BYTES: usize = 128;

/// As far as its number is concerned.
pub(crate) fn kind(entry: &Entry) -> Kind {
    match entry {
        Entry::Opened(opened) if opened.replay => Kind::Reopened,
        Entry::Opened(_) => Kind::Opened,
        Entry::Closed(_) => Kind::Closed,
        Entry::List(list) if list.replay => Kind::Table { last: list.last },
        Entry::Query(_) => Kind::Query,
        Entry::Returned(returned) => Kind::Returned {
            last: returned.last,
        },
        Entry::List(_)
        | Entry::Update(_)
        | Entry::Role(_)
        | Entry::Envelope(_)
        | Entry::Unreadable(_) => Kind::Other,
    }
}

/// The entry belongs to the table of a link that the node has lost.
pub(crate) fn is_replay(entry: &UplinkEntry) -> bool {
    let kind = entry.entry.as_ref().map(kind);
    matches!(kind, Some(Kind::Reopened | Kind::Table { .. }))
}

/// About what an entry takes, bytes.
pub(crate) fn size(entry: &UplinkEntry) -> usize {
    let payload = match &entry.entry {
        Some(Entry::Envelope(envelope)) => envelope.pdu.len(),
        Some(Entry::List(list)) => 12 * list.user_ids.len(),
        Some(Entry::Query(query)) => 4 * query.user_ids.len(),
        Some(Entry::Returned(returned)) => {
            let deliveries = returned.runs.iter().flat_map(|run| &run.deliveries);
            let sizes = deliveries.map(|delivery| match &delivery.payload {
                Some(delivery::Payload::Pdu(pdu)) => ENTRY_BYTES + pdu.len(),
                Some(delivery::Payload::DesktopLogin(_) | delivery::Payload::Status(_)) | None => {
                    ENTRY_BYTES
                }
            });
            sizes.sum::<usize>() + returned.taken.len() * size_of::<TakenMark>()
        }
        Some(
            Entry::Opened(_)
            | Entry::Closed(_)
            | Entry::Update(_)
            | Entry::Role(_)
            | Entry::Unreadable(_),
        )
        | None => 0,
    };
    ENTRY_BYTES + payload
}
