//! From what was routed to what subscribers see.

use bytes::Bytes;
use prost_types::Timestamp;
use route_core::{Event, LinkView};
use route_dialect::{Command, Dialect, Forwarded};
use route_proto::pdu::HEADER_LEN;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::{
    self as api, ChatMessage, ConversationRemoval, ConversationType, DesktopLoginChange, EventKind,
    FileNotice, FileServer, GroupChange, Kick, OtherCommand, P2pCommand, ReadReceipt,
    SignatureChange,
};

use crate::api::status::status_change;
use crate::dialects::Dialects;

/// Which kind of event this is, without reading its body.
pub(crate) fn kind(dialects: &Dialects, event: &Event) -> EventKind {
    match event {
        Event::Envelope { command, .. } => {
            let dialect = dialects.get(command.dialect);
            match dialect.command(command.id) {
                Some(Command::Message) => EventKind::ChatMessage,
                Some(Command::P2pCommand) => EventKind::P2pCommand,
                Some(Command::ReadReceipt) => EventKind::ReadReceipt,
                Some(Command::KickUser) => EventKind::Kick,
                Some(Command::GroupChanged) => EventKind::GroupChange,
                Some(Command::FileNotice) => EventKind::FileNotice,
                Some(Command::ConversationRemoved) => EventKind::ConversationRemoval,
                Some(Command::SignatureChanged) => EventKind::SignatureChange,
                // The others are not forwarded.
                Some(_) | None => EventKind::OtherCommand,
            }
        }
        Event::Presence(_) => EventKind::StatusChange,
        Event::DesktopLogin { .. } => EventKind::DesktopLoginChange,
    }
}

/// The event as the API shows it, without the raw PDU.
pub(crate) fn typed(dialects: &Dialects, event: &Event, kind: EventKind) -> api::Event {
    let typed = match event {
        Event::Envelope { pdu, command, .. } => {
            read(&dialects.get(command.dialect), command.id, pdu)
        }
        Event::Presence(change) => Some(Typed::StatusChange(status_change(change))),
        Event::DesktopLogin { user, on } => Some(Typed::DesktopLoginChange(DesktopLoginChange {
            user_id: user.0,
            logged_in: *on,
        })),
    };
    let origin = origin(event);
    api::Event {
        kind: kind.into(),
        origin_link: origin.map_or_else(String::new, |link| link.id.to_string()),
        origin_msg_server: origin.map_or_else(String::new, |link| link.msg_server.clone()),
        raw_pdu: Bytes::new(),
        unparsed: typed.is_none(),
        omitted: Vec::new(),
        body: typed,
    }
}

/// The connection whose PDU this event was.
pub(crate) fn origin(event: &Event) -> Option<&LinkView> {
    match event {
        Event::Envelope { origin, .. } => origin.as_deref(),
        Event::Presence(_) | Event::DesktopLogin { .. } => None,
    }
}

/// The PDU that this event was.
pub(crate) fn raw_pdu(event: &Event) -> Bytes {
    match event {
        Event::Envelope { pdu, .. } => pdu.clone(),
        Event::Presence(_) | Event::DesktopLogin { .. } => Bytes::new(),
    }
}

/// The typed event of a PDU with this command; none if its body cannot be read.
fn read(dialect: &Dialect, command: u16, pdu: &Bytes) -> Option<Typed> {
    let body = pdu.get(HEADER_LEN..)?;
    // No copy: it stays in the log's memory.
    let part = |text: &[u8]| pdu.slice_ref(text);
    Some(match dialect.read_forwarded(command, body)?.ok()? {
        Forwarded::Message(chat) => Typed::ChatMessage(ChatMessage {
            from_user_id: chat.from_user_id,
            to_id: chat.to_id,
            conversation_type: match chat.of_group {
                true => ConversationType::Group.into(),
                false => ConversationType::Single.into(),
            },
            message_id: chat.message_id,
            create_time: time(chat.create_time),
            message_type: chat.message_type.cast_signed(),
            content: part(chat.content),
            attach_data: part(chat.attach_data),
        }),
        Forwarded::P2pCommand(p2p) => Typed::P2pCommand(P2pCommand {
            from_user_id: p2p.from_user_id,
            to_user_id: p2p.to_user_id,
            command: part(p2p.command),
        }),
        Forwarded::ReadReceipt(receipt) => Typed::ReadReceipt(ReadReceipt {
            user_id: receipt.user_id,
            conversation_id: receipt.conversation_id,
            message_id: receipt.message_id,
            conversation_type: receipt.conversation.cast_signed(),
        }),
        Forwarded::KickUser(kick) => Typed::Kick(Kick {
            user_id: kick.user_id,
            client_type: kick.client_type.cast_signed(),
            reason: kick.reason.cast_signed(),
        }),
        Forwarded::GroupChanged(group) => Typed::GroupChange(read_group_change(group)),
        Forwarded::FileNotice(file) => Typed::FileNotice(read_file_notice(&file, part)),
        Forwarded::ConversationRemoved(removed) => {
            Typed::ConversationRemoval(ConversationRemoval {
                user_id: removed.user_id,
                conversation_type: removed.conversation.cast_signed(),
                conversation_id: removed.conversation_id,
            })
        }
        Forwarded::SignatureChanged(changed) => {
            let (signature, signature_bytes) = text(changed.signature, part);
            Typed::SignatureChange(SignatureChange {
                user_id: changed.user_id,
                signature,
                signature_bytes,
            })
        }
        Forwarded::Extra(user_ids) => Typed::OtherCommand(OtherCommand {
            command_id: command.into(),
            user_ids,
        }),
    })
}

fn read_group_change(group: route_dialect::GroupChange<'_>) -> GroupChange {
    GroupChange {
        user_id: group.user_id,
        change_type: group.change.cast_signed(),
        group_id: group.group_id,
        member_ids: group.member_ids.into_owned(),
        changed_ids: group.changed_ids.into_owned(),
    }
}

fn read_file_notice(
    file: &route_dialect::FileNotice<'_>,
    part: impl Fn(&[u8]) -> Bytes,
) -> FileNotice {
    let (file_name, file_name_bytes) = text(file.file_name, &part);
    let (task_id, task_id_bytes) = text(file.task_id, &part);
    let servers = file.servers.iter().map(|server| FileServer {
        ip: String::from_utf8_lossy(server.ip).into_owned(),
        port: server.port,
    });
    FileNotice {
        from_user_id: file.from_user_id,
        to_user_id: file.to_user_id,
        file_name,
        file_name_bytes,
        file_size_bytes: file.file_size,
        task_id,
        task_id_bytes,
        servers: servers.collect(),
        transfer_mode: file.transfer_mode.cast_signed(),
        offline_ready: file.offline_ready != 0,
    }
}

/// Text, and its bytes if it is not UTF-8, which C++ does not check.
fn text(bytes: &[u8], part: impl Fn(&[u8]) -> Bytes) -> (String, Bytes) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), Bytes::new()),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), part(bytes)),
    }
}

/// 0: it is not said.
fn time(seconds: u32) -> Option<Timestamp> {
    (seconds != 0).then_some(Timestamp {
        seconds: seconds.into(),
        nanos: 0,
    })
}
