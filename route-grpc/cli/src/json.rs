//! The API's messages as JSON, as protobuf maps them: lowerCamelCase names, enum values by name,
//! bytes in base64, 64-bit numbers as text. A field that is 0 or empty is written too, so that a
//! program finds each one in its place.

use std::sync::LazyLock;

use prost::Name;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

/// The descriptors of the API.
static API: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(route_proto::FILE_DESCRIPTOR_SET).expect("protox has made them")
});

/// One message in one line.
pub(crate) fn line(message: &impl Name) -> String {
    value(message).to_string()
}

/// One message.
pub(crate) fn value(message: &impl Name) -> serde_json::Value {
    let mut described = DynamicMessage::new(descriptor(message));
    let options = SerializeOptions::new().skip_default_fields(false);
    let written = described
        .transcode_from(message)
        .map(|()| described.serialize_with_options(serde_json::value::Serializer, &options));
    let value = written.expect("a message is what its descriptor says");
    value.expect("names are text")
}

/// Reads one message. A field that is left out is 0 or empty. An unknown one is refused: it is a
/// mistyped name.
pub(crate) fn read<M: Name + Default>(text: &str) -> anyhow::Result<M> {
    let mut json = serde_json::Deserializer::from_str(text);
    let described = DynamicMessage::deserialize(descriptor(&M::default()), &mut json)?;
    json.end()?;
    Ok(described.transcode_to()?)
}

fn descriptor<M: Name>(_: &M) -> MessageDescriptor {
    let name = M::full_name();
    API.get_message_by_name(&name)
        .expect("every message of the API is described")
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use route_proto::v1::event::Body as Typed;
    use route_proto::v1::{ChatMessage, ConversationType, Event, EventKind, Gap, UserStatus};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_shown_can_be_published_again() {
        let event = Event {
            kind: EventKind::ChatMessage.into(),
            origin_link: "1f-2".to_owned(),
            body: Some(Typed::ChatMessage(ChatMessage {
                from_user_id: 1,
                to_id: 2,
                conversation_type: ConversationType::Single.into(),
                message_id: 3,
                create_time: Some(Timestamp {
                    seconds: 4,
                    nanos: 0,
                }),
                message_type: 1,
                content: "hello".into(),
                ..ChatMessage::default()
            })),
            ..Event::default()
        };

        let shown = line(&event);

        let expected = json!({
            "kind": "EVENT_KIND_CHAT_MESSAGE",
            "originLink": "1f-2",
            "originMsgServer": "",
            "rawPdu": "",
            "unparsed": false,
            "omitted": [],
            "chatMessage": {
                "fromUserId": 1, "toId": 2, "conversationType": "CONVERSATION_TYPE_SINGLE",
                "messageId": 3, "createTime": "1970-01-01T00:00:04Z", "messageType": "MESSAGE_TYPE_SINGLE_TEXT", "content": "aGVsbG8=", "attachData": "",
            },
        });
        assert_eq!(parsed(&shown), expected);
        assert_eq!(read::<Event>(&shown).expect("it is one"), event);
    }

    #[test]
    fn what_is_left_out_is_zero_or_empty() {
        let event: Event = read(r#"{"kick": {"userId": 7}}"#).expect("it is one");

        let Some(Typed::Kick(kick)) = event.body else {
            panic!("not a kick: {event:?}");
        };
        assert_eq!((kick.user_id, kick.client_type, kick.reason), (7, 0, 0));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for (wrong, problem) in [
            ("[]", "a map"),
            ("{", "EOF"),
            ("{} {}", "trailing characters"),
            (r#"{"kick": 1}"#, "a map"),
            (r#"{"kick": {"userId": -1}}"#, "out of range"),
            (r#"{"kick": {}, "fileNotice": {}}"#, "oneof 'body'"),
            (r#"{"chatMessage": {"content": "not base64!"}}"#, "base64"),
            (
                r#"{"groupChange": {"memberIds": [1, "x"]}}"#,
                "invalid digit",
            ),
            (r#"{"groupChange": {"changeType": "ADD"}}"#, "'ADD'"),
            (
                r#"{"kick": {"userId": 7, "clienttype": 1}}"#,
                "'clienttype'",
            ),
            (r#"{"fileNotice": {"servers": [{"prot": 1}]}}"#, "'prot'"),
            (r#"{"kick": {}, "kik": {}}"#, "'kik'"),
        ] {
            let error = read::<Event>(wrong).expect_err(wrong);

            assert!(error.to_string().contains(problem), "{wrong}: {error}");
        }
    }

    #[test]
    fn sixty_four_bit_numbers_are_text() {
        let gap = Gap {
            missed_count: u64::MAX,
            ..Gap::default()
        };

        let expected = json!({
            "fromPosition": "", "toPosition": "", "missedCount": "18446744073709551615",
            "reason": "GAP_REASON_UNSPECIFIED",
        });
        assert_eq!(parsed(&line(&gap)), expected);
    }

    #[test]
    fn a_value_of_a_newer_node_is_a_number() {
        let user = UserStatus {
            status: 99,
            ..UserStatus::default()
        };

        assert_eq!(parsed(&line(&user))["status"], 99);
    }

    fn parsed(line: &str) -> Value {
        serde_json::from_str(line).expect("JSON")
    }
}
