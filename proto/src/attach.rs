//! What gateways and nodes say to each other, and nobody else.

pub mod codec;

use v1::TakenMark;
use v1::delivery::Payload;
use v1::uplink_entry::Entry;

generated! {
    /// Package `teamtalk.attach.v1`, its only version.
    v1 { tonic::include_proto!("teamtalk.attach.v1"); }
}

/// Longest name of a MsgServer, bytes.
const NAME_LEN: usize = 63;

/// Whether this can be the name of a MsgServer (`LinkOpened.msg_server`): 1 to 63 characters of `[A-Za-z0-9._-]`.
pub fn is_msg_server_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_LEN).contains(&text.len()) && text.bytes().all(fits)
}

/// What an entry costs beside its payload, bytes: its structs and its place in a queue, roughly.
pub const ENTRY_COST: usize = 128;

/// Bytes that an entry takes, in memory and on its way, roughly. A gateway's windows, the node's
/// patience and what a new node holds are counted by this, so that they can be compared.
pub fn cost(entry: &Entry) -> usize {
    let payload = match entry {
        Entry::Envelope(envelope) => envelope.pdu.len() + 4 * envelope.user_ids.len(),
        Entry::List(list) => 16 * list.user_ids.len(),
        Entry::Table(table) => 16 * table.user_ids.len(),
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
        | Entry::Silence(_)
        | Entry::Unreadable(_) => 0,
    };
    ENTRY_COST + payload
}
