//! What an entry from a gateway is.

use route_proto::attach::v1::UplinkEntry;
use route_proto::attach::v1::uplink_entry::Entry;

use super::sequences::Kind;

/// As far as its number is concerned.
pub(crate) fn kind(entry: &Entry) -> Kind {
    match entry {
        Entry::Opened(opened) if opened.restored.is_some() => Kind::Reopened,
        Entry::Opened(_) => Kind::Opened,
        Entry::Closed(_) => Kind::Closed,
        Entry::Table(table) => Kind::Table { last: table.last },
        Entry::Query(_) => Kind::Query,
        Entry::Returned(returned) => Kind::Returned {
            last: returned.last,
        },
        Entry::List(_)
        | Entry::Update(_)
        | Entry::Role(_)
        | Entry::Envelope(_)
        | Entry::Silence(_)
        | Entry::Unreadable(_) => Kind::Other,
    }
}

/// The entry belongs to the table of a link that the node has lost.
pub(crate) fn is_replay(entry: &UplinkEntry) -> bool {
    let kind = entry.entry.as_ref().map(kind);
    matches!(kind, Some(Kind::Reopened | Kind::Table { .. }))
}
