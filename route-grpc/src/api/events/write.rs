//! From what a service publishes to what MsgServers get.

use bytes::Bytes;
use prost_types::Timestamp;
use route_core::Audience;
use route_dialect::{Concerned, Forwarded};
use route_proto::pdu::Header;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::{
    self as api, ChatMessage, ConversationType, FileNotice, GroupChange, GroupChangeType, Kick,
    TransferMode,
};

use crate::dialects::Dialects;
use crate::limits::check_ids;
use crate::refusal::Refusal;

/// An event that a service publishes, as MsgServers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publication {
    /// Legacy command id.
    pub(crate) command: u16,
    /// Header and body.
    pub(crate) pdu: Bytes,
    /// Who gets it if the request does not say.
    pub(crate) concerned: Concerned,
    /// A link may have to be spared it when it comes late.
    pub(crate) perishable: bool,
}

impl Publication {
    /// Who gets it if the request does not say, for the core.
    pub(crate) fn audience(&self) -> Audience<'_> {
        match &self.concerned {
            Concerned::Users(users) => Audience::Users(users),
            Concerned::Reporters => Audience::Reporters,
            Concerned::Sessions => Audience::Sessions,
            // No MsgServer has sent it.
            Concerned::Others => Audience::Everyone,
        }
    }
}

/// Turns a typed event into the PDU that a MsgServer would have sent. MsgServers of some dialect
/// have to take it. `now`: in seconds, for messages that do not say when they were written.
pub(crate) fn publication(
    event: api::Event,
    now: u32,
    dialects: &Dialects,
) -> Result<Publication, Refusal> {
    if !event.raw_pdu.is_empty() {
        let problem = "must be empty: the event is encoded by the node";
        return Err(Refusal::field("event.raw_pdu", problem));
    }
    if !event.omitted.is_empty() || event.unparsed {
        let problem = "must be empty: what a subscriber was not sent cannot be published";
        let field = if event.unparsed {
            "event.unparsed"
        } else {
            "event.omitted"
        };
        return Err(Refusal::field(field, problem));
    }
    let Some(typed) = event.body else {
        return Err(Refusal::field("event.body", "is missing"));
    };
    check(&typed)?;
    let body = body(&typed, now, dialects)?;
    let perishable = matches!(body, Forwarded::KickUser(_));
    let mut pdu = Vec::new();
    let published = dialects.get(Dialects::PUBLISHED);
    published.write_forwarded(&mut pdu, &body);
    let header = pdu.first_chunk().map(Header::read);
    let command = header.map_or(0, |header| header.command);
    Ok(Publication {
        command,
        pdu: pdu.into(),
        concerned: published.concerned(command, body),
        perishable,
    })
}

fn body<'a>(typed: &'a Typed, now: u32, dialects: &Dialects) -> Result<Forwarded<'a>, Refusal> {
    Ok(match typed {
        Typed::ChatMessage(chat) => Forwarded::Message(message(chat, now, dialects)?),
        Typed::P2pCommand(p2p) => Forwarded::P2pCommand(route_dialect::P2pCommand {
            from_user_id: p2p.from_user_id,
            to_user_id: p2p.to_user_id,
            command: &p2p.command,
        }),
        Typed::ReadReceipt(read) => Forwarded::ReadReceipt(route_dialect::ReadReceipt {
            user_id: read.user_id,
            conversation_id: read.conversation_id,
            message_id: read.message_id,
            conversation: conversation(
                read.conversation_type(),
                "event.read_receipt.conversation_type",
            )?,
        }),
        Typed::Kick(kick) => Forwarded::KickUser(kick_user(kick, dialects)?),
        Typed::GroupChange(group) => Forwarded::GroupChanged(group_change(group)?),
        Typed::FileNotice(file) => Forwarded::FileNotice(file_notice(file)?),
        Typed::ConversationRemoval(removed) => {
            let field = "event.conversation_removal.conversation_type";
            Forwarded::ConversationRemoved(route_dialect::ConversationRemoved {
                user_id: removed.user_id,
                conversation: conversation(removed.conversation_type(), field)?,
                conversation_id: removed.conversation_id,
            })
        }
        Typed::SignatureChange(changed) => {
            Forwarded::SignatureChanged(route_dialect::SignatureChange {
                user_id: changed.user_id,
                signature: text(&changed.signature, &changed.signature_bytes),
            })
        }
        Typed::StatusChange(_) | Typed::DesktopLoginChange(_) | Typed::OtherCommand(_) => {
            let problem = "only MsgServers cause this kind of event";
            return Err(Refusal::field("event.body", problem));
        }
    })
}

/// Refuses what lacks something that MsgServers or clients need.
fn check(typed: &Typed) -> Result<(), Refusal> {
    let required: &[(&'static str, u32)] = match typed {
        Typed::ChatMessage(chat) => &[
            ("event.chat_message.from_user_id", chat.from_user_id),
            ("event.chat_message.to_id", chat.to_id),
            ("event.chat_message.message_id", chat.message_id),
            (
                "event.chat_message.message_type",
                chat.message_type.cast_unsigned(),
            ),
        ],
        Typed::P2pCommand(p2p) => &[
            ("event.p2p_command.from_user_id", p2p.from_user_id),
            ("event.p2p_command.to_user_id", p2p.to_user_id),
        ],
        Typed::ReadReceipt(read) => &[
            ("event.read_receipt.user_id", read.user_id),
            ("event.read_receipt.conversation_id", read.conversation_id),
            ("event.read_receipt.message_id", read.message_id),
        ],
        Typed::Kick(kick) => &[
            ("event.kick.user_id", kick.user_id),
            ("event.kick.client_type", kick.client_type.cast_unsigned()),
            ("event.kick.reason", kick.reason.cast_unsigned()),
        ],
        Typed::GroupChange(group) => &[
            ("event.group_change.user_id", group.user_id),
            ("event.group_change.group_id", group.group_id),
            (
                "event.group_change.changed_ids",
                group.changed_ids.len() as u32,
            ),
        ],
        Typed::FileNotice(file) => &[
            ("event.file_notice.from_user_id", file.from_user_id),
            ("event.file_notice.to_user_id", file.to_user_id),
            ("event.file_notice.task_id", file.task_id.len() as u32),
        ],
        Typed::ConversationRemoval(removed) => &[
            ("event.conversation_removal.user_id", removed.user_id),
            (
                "event.conversation_removal.conversation_id",
                removed.conversation_id,
            ),
        ],
        Typed::SignatureChange(changed) => &[("event.signature_change.user_id", changed.user_id)],
        Typed::StatusChange(_) | Typed::DesktopLoginChange(_) | Typed::OtherCommand(_) => &[],
    };
    match required.iter().find(|(_, value)| *value == 0) {
        Some((field, _)) => Err(Refusal::field(*field, "is missing")),
        None => Ok(()),
    }
}

fn message<'a>(
    chat: &'a ChatMessage,
    now: u32,
    dialects: &Dialects,
) -> Result<route_dialect::ChatMessage<'a>, Refusal> {
    let message_type = chat.message_type.cast_unsigned();
    if !dialects.any(|dialect| dialect.has_message_type(message_type)) {
        let problem = "no MsgServer's dialect has it; TeamTalk has 0x01 text, 0x02 audio, 0x11 group text, \
                       0x12 group audio";
        return Err(Refusal::field("event.chat_message.message_type", problem));
    }
    let of_group = dialects.get(Dialects::PUBLISHED).is_of_group(message_type);
    let said = ConversationType::try_from(chat.conversation_type);
    let fits = match said {
        Ok(ConversationType::Unspecified) => true,
        Ok(ConversationType::Single) => !of_group,
        Ok(ConversationType::Group) => of_group,
        Err(_) => false,
    };
    if !fits {
        let problem = "does not go with message_type; leave it out";
        let field = "event.chat_message.conversation_type";
        return Err(Refusal::field(field, problem));
    }
    Ok(route_dialect::ChatMessage {
        from_user_id: chat.from_user_id,
        to_id: chat.to_id,
        of_group,
        message_id: chat.message_id,
        create_time: match &chat.create_time {
            None => now,
            Some(time) => seconds(time)?,
        },
        message_type,
        content: &chat.content,
        attach_data: &chat.attach_data,
    })
}

/// As MsgServers have it: 32 bits, and 0 is no time.
fn seconds(time: &Timestamp) -> Result<u32, Refusal> {
    let seconds = u32::try_from(time.seconds).ok().filter(|it| *it != 0);
    seconds.ok_or_else(|| {
        let problem = "is not after 1970-01-01T00:00:00Z, or after 2106-02-07T06:28:15Z";
        Refusal::field("event.chat_message.create_time", problem)
    })
}

fn kick_user(kick: &Kick, dialects: &Dialects) -> Result<route_dialect::Kick, Refusal> {
    let client_type = kick.client_type.cast_unsigned();
    if !dialects.any(|dialect| dialect.class(client_type).is_some()) {
        let problem = "no MsgServer's dialect has it; TeamTalk has 0x01 Windows, 0x02 Mac, 0x11 iOS, 0x12 Android";
        return Err(Refusal::field("event.kick.client_type", problem));
    }
    Ok(route_dialect::Kick {
        user_id: kick.user_id,
        client_type,
        reason: kick.reason.cast_unsigned(),
    })
}

fn group_change(group: &GroupChange) -> Result<route_dialect::GroupChange<'_>, Refusal> {
    check_ids(&group.member_ids, "event.group_change.member_ids")?;
    check_ids(&group.changed_ids, "event.group_change.changed_ids")?;
    let change = match group.change_type() {
        GroupChangeType::Added => 1,
        GroupChangeType::Removed => 2,
        GroupChangeType::Unspecified => {
            return Err(Refusal::field(
                "event.group_change.change_type",
                "is missing",
            ));
        }
    };
    Ok(route_dialect::GroupChange {
        user_id: group.user_id,
        change,
        group_id: group.group_id,
        member_ids: group.member_ids.as_slice().into(),
        changed_ids: group.changed_ids.as_slice().into(),
    })
}

fn file_notice(file: &FileNotice) -> Result<route_dialect::FileNotice<'_>, Refusal> {
    let transfer_mode = file.transfer_mode();
    if transfer_mode == TransferMode::Unspecified {
        let problem = "neither TRANSFER_MODE_ONLINE nor TRANSFER_MODE_OFFLINE";
        return Err(Refusal::field("event.file_notice.transfer_mode", problem));
    }
    if file.servers.iter().any(|it| it.port > u16::MAX.into()) {
        let problem = "a port is at most 65535";
        return Err(Refusal::field("event.file_notice.servers", problem));
    }
    let servers = file.servers.iter().map(|server| route_dialect::FileServer {
        ip: server.ip.as_bytes(),
        port: server.port,
    });
    Ok(route_dialect::FileNotice {
        from_user_id: file.from_user_id,
        to_user_id: file.to_user_id,
        file_name: text(&file.file_name, &file.file_name_bytes),
        file_size: file.file_size_bytes,
        task_id: text(&file.task_id, &file.task_id_bytes),
        servers: servers.collect(),
        transfer_mode: i32::from(transfer_mode).cast_unsigned(),
        offline_ready: u32::from(file.offline_ready),
    })
}

fn conversation(said: ConversationType, field: &'static str) -> Result<u32, Refusal> {
    match said {
        ConversationType::Single => Ok(1),
        ConversationType::Group => Ok(2),
        ConversationType::Unspecified => Err(Refusal::field(field, "is missing")),
    }
}

/// What is written of a text that may not be UTF-8.
fn text<'a>(text: &'a str, bytes: &'a [u8]) -> &'a [u8] {
    if bytes.is_empty() {
        text.as_bytes()
    } else {
        bytes
    }
}
