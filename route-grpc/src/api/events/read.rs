//! From what was routed to what subscribers see.

use bytes::Bytes;
use route_core::Event;
use route_dialect::{Command, Dialect, Forwarded};
use route_proto::pdu::HEADER_LEN;
use route_proto::v1::event::Event as Typed;
use route_proto::v1::{
    self as api, ChatMessage, ConversationRemoved, ConversationType, DesktopLoginChanged,
    EventKind, FileNotice, FileServer, GroupChange, GroupChangeType, Kick, OtherCommand,
    P2pCommand, ReadReceipt, SignatureChanged, StatusChanged,
};

use crate::api::status::{change_reason, user_status};
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
                Some(Command::ConversationRemoved) => EventKind::ConversationRemoved,
                Some(Command::SignatureChanged) => EventKind::SignatureChanged,
                // The others are not forwarded.
                Some(_) | None => EventKind::OtherCommand,
            }
        }
        Event::Presence(_) => EventKind::StatusChanged,
        Event::DesktopLogin { .. } => EventKind::DesktopLoginChanged,
    }
}

/// The event as the API shows it, without the raw PDU.
pub(crate) fn typed(dialects: &Dialects, event: &Event) -> api::Event {
    let kind = kind(dialects, event);
    let (origin_link, typed) = match event {
        Event::Envelope {
            origin,
            pdu,
            command,
        } => (
            origin.map(|link| link.to_string()).unwrap_or_default(),
            read(&dialects.get(command.dialect), command.id, pdu),
        ),
        Event::Presence(change) => (
            String::new(),
            Some(Typed::StatusChanged(StatusChanged {
                user: Some(user_status(change.user.0, change.after)),
                reason: change_reason(change.reason).into(),
            })),
        ),
        Event::DesktopLogin { user, on } => (
            String::new(),
            Some(Typed::DesktopLoginChanged(DesktopLoginChanged {
                user_id: user.0,
                logged_in: *on,
            })),
        ),
    };
    api::Event {
        kind: kind.into(),
        origin_link,
        raw_pdu: Bytes::new(),
        unparsed: typed.is_none(),
        omitted: Vec::new(),
        event: typed,
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
            conversation: conversation(if chat.of_group { 2 } else { 1 }).into(),
            message_id: chat.message_id,
            create_time: chat.create_time,
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
            conversation: conversation(receipt.conversation).into(),
        }),
        Forwarded::KickUser(kick) => Typed::Kick(Kick {
            user_id: kick.user_id,
            client_type: kick.client_type.cast_signed(),
            reason: kick.reason.cast_signed(),
        }),
        Forwarded::GroupChanged(group) => Typed::GroupChange(read_group_change(group)),
        Forwarded::FileNotice(file) => Typed::FileNotice(read_file_notice(&file, part)),
        Forwarded::ConversationRemoved(removed) => {
            Typed::ConversationRemoved(ConversationRemoved {
                user_id: removed.user_id,
                conversation: conversation(removed.conversation).into(),
                conversation_id: removed.conversation_id,
            })
        }
        Forwarded::SignatureChanged(changed) => {
            let (signature, signature_bytes) = text(changed.signature, part);
            Typed::SignatureChanged(SignatureChanged {
                user_id: changed.user_id,
                signature,
                signature_bytes,
            })
        }
        Forwarded::Extra(user_ids) => Typed::OtherCommand(OtherCommand {
            command: command.into(),
            user_ids,
        }),
    })
}

fn read_group_change(group: route_dialect::GroupChange<'_>) -> GroupChange {
    let change = match group.change {
        1 => GroupChangeType::Add,
        2 => GroupChangeType::Delete,
        _ => GroupChangeType::Unspecified,
    };
    GroupChange {
        user_id: group.user_id,
        change: change.into(),
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
        file_size: file.file_size,
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

fn conversation(number: u32) -> ConversationType {
    match number {
        1 => ConversationType::Single,
        2 => ConversationType::Group,
        _ => ConversationType::Unspecified,
    }
}
