//! What is left out of an event that is too long for a subscriber.

use bytes::Bytes;
use prost::Message;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::{Event, FileServer, Omission};

/// Leaves out the raw PDU, then the longest fields, until the event has no more bytes than that, and
/// says so in it.
pub(crate) fn fit(event: &mut Event, max_bytes: usize) {
    if event.encoded_len() <= max_bytes {
        return;
    }
    if !event.raw_pdu.is_empty() {
        let omitted = omission("raw_pdu", event.raw_pdu.len());
        event.raw_pdu = Bytes::new();
        event.omitted.push(omitted);
    }
    while event.encoded_len() > max_bytes
        && let Some((field, longest)) = longest_field(event)
    {
        let omitted = omission(field, longest.bytes());
        longest.clear();
        event.omitted.push(omitted);
    }
}

fn omission(field: &str, bytes: usize) -> Omission {
    Omission {
        field: field.to_owned(),
        size_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
    }
}

/// A field without a bound of its own.
#[derive(Debug)]
enum Field<'a> {
    Bytes(&'a mut Bytes),
    Text(&'a mut String),
    Ids(&'a mut Vec<u32>),
    Servers(&'a mut Vec<FileServer>),
}

impl Field<'_> {
    fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
            Self::Ids(ids) => ids
                .iter()
                .map(|id| prost::length_delimiter_len(*id as usize))
                .sum(),
            Self::Servers(servers) => servers.iter().map(Message::encoded_len).sum(),
        }
    }

    fn clear(self) {
        match self {
            Self::Bytes(bytes) => *bytes = Bytes::new(),
            Self::Text(text) => *text = String::new(),
            Self::Ids(ids) => *ids = Vec::new(),
            Self::Servers(servers) => *servers = Vec::new(),
        }
    }
}

/// None: there is nothing left that can be left out.
fn longest_field(event: &mut Event) -> Option<(&'static str, Field<'_>)> {
    let fields = event.body.as_mut().map(fields).unwrap_or_default();
    let longest = fields.into_iter().max_by_key(|(_, field)| field.bytes());
    longest.filter(|(_, field)| field.bytes() > 0)
}

fn fields(event: &mut Typed) -> Vec<(&'static str, Field<'_>)> {
    match event {
        Typed::ChatMessage(chat) => vec![
            ("chat_message.content", Field::Bytes(&mut chat.content)),
            (
                "chat_message.attach_data",
                Field::Bytes(&mut chat.attach_data),
            ),
        ],
        Typed::P2pCommand(p2p) => vec![("p2p_command.command", Field::Bytes(&mut p2p.command))],
        Typed::GroupChange(group) => vec![
            ("group_change.member_ids", Field::Ids(&mut group.member_ids)),
            (
                "group_change.changed_ids",
                Field::Ids(&mut group.changed_ids),
            ),
        ],
        Typed::FileNotice(file) => vec![
            ("file_notice.file_name", Field::Text(&mut file.file_name)),
            (
                "file_notice.file_name_bytes",
                Field::Bytes(&mut file.file_name_bytes),
            ),
            ("file_notice.task_id", Field::Text(&mut file.task_id)),
            (
                "file_notice.task_id_bytes",
                Field::Bytes(&mut file.task_id_bytes),
            ),
            ("file_notice.servers", Field::Servers(&mut file.servers)),
        ],
        Typed::SignatureChange(changed) => vec![
            (
                "signature_change.signature",
                Field::Text(&mut changed.signature),
            ),
            (
                "signature_change.signature_bytes",
                Field::Bytes(&mut changed.signature_bytes),
            ),
        ],
        Typed::OtherCommand(other) => {
            vec![("other_command.user_ids", Field::Ids(&mut other.user_ids))]
        }
        Typed::ReadReceipt(_)
        | Typed::Kick(_)
        | Typed::ConversationRemoval(_)
        | Typed::StatusChange(_)
        | Typed::DesktopLoginChange(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use route_proto::v1::{ChatMessage, GroupChange};

    use super::*;

    #[test]
    fn the_raw_pdu_goes_first_then_the_longest_field() {
        let whole = event(Typed::ChatMessage(ChatMessage {
            to_id: 7,
            content: vec![1; 300].into(),
            attach_data: vec![2; 200].into(),
            ..ChatMessage::default()
        }));

        assert_eq!(fitted(&whole, whole.encoded_len()), whole);
        for (max_bytes, expected) in [
            (700, vec![("raw_pdu", 500)]),
            (300, vec![("raw_pdu", 500), ("chat_message.content", 300)]),
            (
                1,
                vec![
                    ("raw_pdu", 500),
                    ("chat_message.content", 300),
                    ("chat_message.attach_data", 200),
                ],
            ),
        ] {
            let fitted = fitted(&whole, max_bytes);

            let omitted = fitted.omitted.iter();
            let omitted: Vec<_> = omitted
                .map(|it| (it.field.as_str(), it.size_bytes))
                .collect();
            assert_eq!(omitted, expected);
            let Some(Typed::ChatMessage(chat)) = &fitted.body else {
                panic!("it is still a message: {fitted:?}");
            };
            assert_eq!(chat.to_id, 7, "what is short stays");
        }
    }

    #[test]
    fn a_list_is_left_out_as_a_whole() {
        let whole = event(Typed::GroupChange(GroupChange {
            group_id: 7,
            member_ids: (0..1000).collect(),
            ..GroupChange::default()
        }));

        let fitted = fitted(&whole, 400);

        let [_, members] = &fitted.omitted[..] else {
            panic!("not two: {fitted:?}");
        };
        // 128 ids of one byte, 872 of two.
        assert_eq!(members.field, "group_change.member_ids");
        assert_eq!(members.size_bytes, 128 + 2 * 872);
    }

    fn event(typed: Typed) -> Event {
        Event {
            raw_pdu: vec![0; 500].into(),
            body: Some(typed),
            ..Event::default()
        }
    }

    fn fitted(whole: &Event, max_bytes: usize) -> Event {
        let mut event = whole.clone();
        fit(&mut event, max_bytes);
        event
    }
}
