//! What an unconfirmed entry costs: what windows, queues and messages count.

use route_proto::attach::v1::TakenMark;
use route_proto::attach::v1::delivery::Payload;
use route_proto::attach::v1::uplink_entry::Entry;

use crate::pdu::deed::OpenQuery;

/// What an entry costs beside its payload, bytes: its structs and its place in the window, roughly.
const ENTRY_COST: usize = 128;

/// Bytes that an entry takes, in memory and on its way, roughly.
pub fn cost(entry: &Entry) -> usize {
    let payload = match entry {
        Entry::Envelope(envelope) => envelope.pdu.len() + 4 * envelope.user_ids.len(),
        Entry::List(list) => 16 * list.user_ids.len(),
        Entry::Query(query) => 4 * query.user_ids.len(),
        Entry::Returned(returned) => {
            let deliveries = returned.runs.iter().flat_map(|run| &run.deliveries);
            let costs = deliveries.map(|delivery| match &delivery.payload {
                Some(Payload::Pdu(pdu)) => ENTRY_COST + pdu.len(),
                Some(Payload::DesktopLogin(_) | Payload::Status(_)) | None => ENTRY_COST,
            });
            costs.sum::<usize>() + returned.taken.len() * size_of::<TakenMark>()
        }
        Entry::Opened(_)
        | Entry::Closed(_)
        | Entry::Update(_)
        | Entry::Role(_)
        | Entry::Unreadable(_) => 0,
    };
    ENTRY_COST + payload
}

/// Bytes that a query takes until it is answered, beside its entry.
pub fn query_cost(query: &OpenQuery) -> usize {
    ENTRY_COST + 4 * query.user_ids.len() + query.attach_data.len()
}
