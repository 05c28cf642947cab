//! The API's messages as JSON, the way protobuf writes it: lowerCamelCase names, enum values by name, bytes in
//! base64, 64-bit integers as text. Fields that are empty are left out where protobuf would.

use std::cell::RefCell;
use std::collections::HashSet;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use route_proto::v1::event::Event as Typed;
use route_proto::v1::subscribe_response::Message as SubscribeMessage;
use route_proto::v1::watch_user_status_response::Event as WatchMessage;
use route_proto::v1::{
    ChatMessage, ConversationRemoved, ConversationType, Event, FileNotice, FileServer, Gap,
    GroupChange, GroupChangeType, Kick, P2pCommand, PublishResponse, ReadReceipt, SignatureChanged,
    SubscribeResponse, UserSession, UserStatus, WatchUserStatusResponse,
};
use serde_json::{Map, Value, json};

// ---- writing

/// A user's status.
pub(crate) fn user_status(user: &UserStatus) -> Value {
    let mut value = json!({
        "userId": user.user_id,
        "status": user.status().as_str_name(),
        "legacyStatus": user.legacy_status().as_str_name(),
    });
    if !user.sessions.is_empty() {
        value["sessions"] = user.sessions.iter().map(session).collect();
    }
    value
}

/// One message of a WatchUserStatus stream.
pub(crate) fn watch_response(response: &WatchUserStatusResponse) -> Value {
    let (name, message) = match &response.event {
        Some(WatchMessage::Resumed(_)) => ("resumed", json!({})),
        Some(WatchMessage::SnapshotBegin(_)) => ("snapshotBegin", json!({})),
        Some(WatchMessage::Snapshot(snapshot)) => {
            let users: Value = snapshot.users.iter().map(user_status).collect();
            ("snapshot", json!({ "users": users }))
        }
        Some(WatchMessage::SnapshotEnd(_)) => ("snapshotEnd", json!({})),
        Some(WatchMessage::Change(change)) => (
            "change",
            json!({
                "user": change.user.as_ref().map(user_status),
                "reason": change.reason().as_str_name(),
            }),
        ),
        Some(WatchMessage::Gap(missing)) => ("gap", gap(missing)),
        Some(WatchMessage::Watermark(_)) => ("watermark", json!({})),
        Some(WatchMessage::Draining(draining)) => (
            "draining",
            json!({ "retryAfterMillis": draining.retry_after_millis }),
        ),
        None => return json!({ "position": response.position }),
    };
    at(&response.position, name, message)
}

/// One message of a Subscribe stream.
pub(crate) fn subscribe_response(response: &SubscribeResponse) -> Value {
    let (name, message) = match &response.message {
        Some(SubscribeMessage::Subscribed(_)) => ("subscribed", json!({})),
        Some(SubscribeMessage::Resumed(_)) => ("resumed", json!({})),
        Some(SubscribeMessage::Event(routed)) => ("event", event(routed)),
        Some(SubscribeMessage::Gap(missing)) => ("gap", gap(missing)),
        Some(SubscribeMessage::Watermark(_)) => ("watermark", json!({})),
        Some(SubscribeMessage::Draining(draining)) => (
            "draining",
            json!({ "retryAfterMillis": draining.retry_after_millis }),
        ),
        None => return json!({ "position": response.position }),
    };
    at(&response.position, name, message)
}

/// The answer to a publication.
pub(crate) fn publish_response(response: &PublishResponse) -> Value {
    json!({
        "links": response.links,
        "position": response.position,
        "duplicate": response.duplicate,
    })
}

/// An event.
pub(crate) fn event(event: &Event) -> Value {
    let mut value = json!({ "kind": event.kind().as_str_name() });
    if !event.origin_link.is_empty() {
        value["originLink"] = json!(event.origin_link);
    }
    if !event.raw_pdu.is_empty() {
        value["rawPdu"] = base64(&event.raw_pdu);
    }
    if event.unparsed {
        value["unparsed"] = json!(true);
    }
    if let Some(typed) = &event.event {
        let (name, message) = typed_event(typed);
        value[name] = message;
    }
    value
}

fn typed_event(event: &Typed) -> (&'static str, Value) {
    match event {
        Typed::ChatMessage(chat) => {
            let mut value = json!({
                "fromUserId": chat.from_user_id,
                "toId": chat.to_id,
                "conversation": chat.conversation().as_str_name(),
                "messageId": chat.message_id,
                "createTime": chat.create_time,
                "messageType": chat.message_type,
                "content": base64(&chat.content),
            });
            if !chat.attach_data.is_empty() {
                value["attachData"] = base64(&chat.attach_data);
            }
            ("chatMessage", value)
        }
        Typed::P2pCommand(p2p) => (
            "p2pCommand",
            json!({
                "fromUserId": p2p.from_user_id,
                "toUserId": p2p.to_user_id,
                "command": base64(&p2p.command),
            }),
        ),
        Typed::ReadReceipt(read) => (
            "readReceipt",
            json!({
                "userId": read.user_id,
                "conversationId": read.conversation_id,
                "messageId": read.message_id,
                "conversation": read.conversation().as_str_name(),
            }),
        ),
        Typed::Kick(kick) => (
            "kick",
            json!({
                "userId": kick.user_id,
                "clientType": kick.client_type,
                "reason": kick.reason,
            }),
        ),
        Typed::GroupChange(group) => (
            "groupChange",
            json!({
                "userId": group.user_id,
                "change": group.change().as_str_name(),
                "groupId": group.group_id,
                "memberIds": group.member_ids,
                "changedIds": group.changed_ids,
            }),
        ),
        Typed::FileNotice(file) => {
            let server = |server: &FileServer| json!({ "ip": server.ip, "port": server.port });
            let servers: Value = file.servers.iter().map(server).collect();
            (
                "fileNotice",
                json!({
                    "fromUserId": file.from_user_id,
                    "toUserId": file.to_user_id,
                    "fileName": file.file_name,
                    "fileSize": file.file_size,
                    "taskId": file.task_id,
                    "servers": servers,
                    "transferMode": file.transfer_mode,
                    "offlineReady": file.offline_ready,
                }),
            )
        }
        Typed::ConversationRemoved(removed) => (
            "conversationRemoved",
            json!({
                "userId": removed.user_id,
                "conversation": removed.conversation().as_str_name(),
                "conversationId": removed.conversation_id,
            }),
        ),
        Typed::SignatureChanged(changed) => (
            "signatureChanged",
            json!({ "userId": changed.user_id, "signature": changed.signature }),
        ),
        Typed::StatusChanged(changed) => (
            "statusChanged",
            json!({
                "user": changed.user.as_ref().map(user_status),
                "reason": changed.reason().as_str_name(),
            }),
        ),
        Typed::DesktopLoginChanged(changed) => (
            "desktopLoginChanged",
            json!({ "userId": changed.user_id, "loggedIn": changed.logged_in }),
        ),
    }
}

fn session(session: &UserSession) -> Value {
    json!({
        "clientType": session.client_type,
        "state": session.state().as_str_name(),
        "link": session.link,
        "msgServer": session.msg_server,
        "logins": session.logins,
        "sinceUnixMillis": session.since_unix_millis.to_string(),
    })
}

fn gap(gap: &Gap) -> Value {
    json!({
        "from": gap.from,
        "to": gap.to,
        "missed": gap.missed.to_string(),
        "reason": gap.reason().as_str_name(),
    })
}

fn at(position: &str, name: &'static str, message: Value) -> Value {
    let mut value = json!({});
    if !position.is_empty() {
        value["position"] = json!(position);
    }
    value[name] = message;
    value
}

fn base64(bytes: &Bytes) -> Value {
    json!(BASE64.encode(bytes))
}

// ---- reading

/// An event that can be published. Fields that are left out are 0 or empty, as in protobuf.
pub(crate) fn parse_event(value: &Value) -> anyhow::Result<Event> {
    let members = value.as_object().context("an object is needed")?;
    let mut typed = None;
    for (name, value) in members {
        if name == "kind" || name == "originLink" {
            // What a subscriber sees may be published again.
            continue;
        }
        let fields = Fields::of(name, value)?;
        if typed.replace(parse_typed(name, &fields)?).is_some() {
            bail!("more than one event");
        }
        fields.all_known()?;
    }
    Ok(Event {
        event: Some(typed.context("no event in it")?),
        ..Event::default()
    })
}

fn parse_typed(name: &str, fields: &Fields<'_>) -> anyhow::Result<Typed> {
    Ok(match name {
        "chatMessage" => Typed::ChatMessage(ChatMessage {
            from_user_id: fields.number("fromUserId")?,
            to_id: fields.number("toId")?,
            conversation: fields.conversation()?,
            message_id: fields.number("messageId")?,
            create_time: fields.number("createTime")?,
            message_type: fields.number("messageType")?,
            content: fields.bytes("content")?,
            attach_data: fields.bytes("attachData")?,
        }),
        "p2pCommand" => Typed::P2pCommand(P2pCommand {
            from_user_id: fields.number("fromUserId")?,
            to_user_id: fields.number("toUserId")?,
            command: fields.bytes("command")?,
        }),
        "readReceipt" => Typed::ReadReceipt(ReadReceipt {
            user_id: fields.number("userId")?,
            conversation_id: fields.number("conversationId")?,
            message_id: fields.number("messageId")?,
            conversation: fields.conversation()?,
        }),
        "kick" => Typed::Kick(Kick {
            user_id: fields.number("userId")?,
            client_type: fields.number("clientType")?,
            reason: fields.number("reason")?,
        }),
        "groupChange" => {
            let change = match fields.text("change")?.as_str() {
                "" => GroupChangeType::Unspecified,
                name => GroupChangeType::from_str_name(name).context("an unknown change")?,
            };
            Typed::GroupChange(GroupChange {
                user_id: fields.number("userId")?,
                change: change.into(),
                group_id: fields.number("groupId")?,
                member_ids: fields.numbers("memberIds")?,
                changed_ids: fields.numbers("changedIds")?,
            })
        }
        "fileNotice" => Typed::FileNotice(FileNotice {
            from_user_id: fields.number("fromUserId")?,
            to_user_id: fields.number("toUserId")?,
            file_name: fields.text("fileName")?,
            file_size: fields.number("fileSize")?,
            task_id: fields.text("taskId")?,
            servers: fields.servers()?,
            transfer_mode: fields.number("transferMode")?,
            offline_ready: match fields.get("offlineReady") {
                None => false,
                Some(value) => value.as_bool().context("offlineReady is true or false")?,
            },
        }),
        "conversationRemoved" => Typed::ConversationRemoved(ConversationRemoved {
            user_id: fields.number("userId")?,
            conversation: fields.conversation()?,
            conversation_id: fields.number("conversationId")?,
        }),
        "signatureChanged" => Typed::SignatureChanged(SignatureChanged {
            user_id: fields.number("userId")?,
            signature: fields.text("signature")?,
        }),
        other => bail!("{other} cannot be published"),
    })
}

/// The fields of one message. What is not asked for is not known.
struct Fields<'a> {
    message: &'a str,
    values: &'a Map<String, Value>,
    asked: RefCell<HashSet<&'static str>>,
}

impl<'a> Fields<'a> {
    fn of(message: &'a str, value: &'a Value) -> anyhow::Result<Self> {
        let values = value.as_object();
        Ok(Self {
            message,
            values: values.with_context(|| format!("{message} is not an object"))?,
            asked: RefCell::default(),
        })
    }

    fn get(&self, name: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().insert(name);
        self.values.get(name)
    }

    /// Refuses what was not asked for: a slip of the pen would be published as 0 or nothing.
    fn all_known(&self) -> anyhow::Result<()> {
        let asked = self.asked.borrow();
        let unknown = self
            .values
            .keys()
            .find(|name| !asked.contains(name.as_str()));
        match unknown {
            None => Ok(()),
            Some(name) => {
                let mut known: Vec<_> = asked.iter().copied().collect();
                known.sort_unstable();
                let (message, known) = (self.message, known.join(", "));
                bail!("{message} has no field {name:?}; it has {known}")
            }
        }
    }

    fn number(&self, name: &'static str) -> anyhow::Result<u32> {
        self.get(name).map_or(Ok(0), |value| number(name, value))
    }

    fn numbers(&self, name: &'static str) -> anyhow::Result<Vec<u32>> {
        let Some(value) = self.get(name) else {
            return Ok(Vec::new());
        };
        let values = value
            .as_array()
            .with_context(|| format!("{name} is a list"))?;
        values.iter().map(|value| number(name, value)).collect()
    }

    fn text(&self, name: &'static str) -> anyhow::Result<String> {
        let Some(value) = self.get(name) else {
            return Ok(String::new());
        };
        let text = value
            .as_str()
            .with_context(|| format!("{name} is a text"))?;
        Ok(text.to_owned())
    }

    fn bytes(&self, name: &'static str) -> anyhow::Result<Bytes> {
        let bytes = BASE64.decode(self.text(name)?);
        Ok(bytes.with_context(|| format!("{name} is base64"))?.into())
    }

    fn conversation(&self) -> anyhow::Result<i32> {
        let conversation = match self.text("conversation")?.as_str() {
            "" => ConversationType::Unspecified,
            name => ConversationType::from_str_name(name).context("an unknown conversation")?,
        };
        Ok(conversation.into())
    }

    fn servers(&self) -> anyhow::Result<Vec<FileServer>> {
        let Some(value) = self.get("servers") else {
            return Ok(Vec::new());
        };
        let servers = value.as_array().context("servers is a list")?;
        let server = |value: &Value| {
            let fields = Fields::of("a server", value)?;
            let server = FileServer {
                ip: fields.text("ip")?,
                port: fields.number("port")?,
            };
            fields.all_known()?;
            Ok(server)
        };
        servers.iter().map(server).collect()
    }
}

fn number(name: &str, value: &Value) -> anyhow::Result<u32> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.with_context(|| format!("{name} is a number from 0 to 4294967295"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_published_again() {
        let shown = json!({
            "kind": "EVENT_KIND_CHAT_MESSAGE",
            "originLink": "1f-2",
            "chatMessage": {
                "fromUserId": 1, "toId": 2, "conversation": "CONVERSATION_TYPE_SINGLE",
                "messageId": 3, "createTime": 4, "messageType": 1, "content": "aGVsbG8=",
            },
        });

        let parsed = parse_event(&shown).expect("it is one");

        let Some(Typed::ChatMessage(chat)) = &parsed.event else {
            panic!("not a chat message: {parsed:?}");
        };
        assert_eq!(&chat.content[..], b"hello");
        assert_eq!(event(&parsed)["chatMessage"], shown["chatMessage"]);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for wrong in [
            json!([]),
            json!({}),
            json!({"kick": 1}),
            json!({"kick": {"userId": -1}}),
            json!({"kick": {}, "fileNotice": {}}),
            json!({"statusChanged": {}}),
            json!({"chatMessage": {"content": "not base64!"}}),
            json!({"groupChange": {"memberIds": [1, "2"]}}),
        ] {
            assert!(parse_event(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused_by_its_name() {
        for (wrong, problem) in [
            (
                json!({"kick": {"userId": 7, "client_type": 1}}),
                "kick has no field \"client_type\"; it has clientType, reason, userId",
            ),
            (
                json!({"fileNotice": {"servers": [{"ip": "10.0.0.1", "prot": 1}]}}),
                "a server has no field \"prot\"; it has ip, port",
            ),
            (json!({"kick": {}, "kik": {}}), "kik cannot be published"),
        ] {
            let error = parse_event(&wrong).expect_err("a field is unknown");

            assert_eq!(error.to_string(), problem);
        }
    }

    #[test]
    fn sixty_four_bit_numbers_are_text() {
        let gap = gap(&Gap {
            missed: u64::MAX,
            ..Gap::default()
        });

        assert_eq!(gap["missed"], "18446744073709551615");
        assert_eq!(gap["reason"], "GAP_REASON_UNSPECIFIED");
    }
}
