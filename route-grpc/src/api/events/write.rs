//! From what a service publishes to what MsgServers get.

use bytes::Bytes;
use prost_types::Timestamp;
use route_access::Kind;
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
use crate::refusal::{Mistakes, Refusal};

/// An event that a service publishes, as MsgServers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publication {
    /// What it is.
    pub(crate) kind: Kind,
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
    let mut mistakes = Mistakes::default();
    mistakes.note(check_unset(&event));
    let Some(typed) = event.body else {
        let missing = Err(Refusal::field("event.body", "is missing"));
        return mistakes.end_with(missing);
    };
    mistakes.note(check(&typed));
    let body = mistakes.end_with(body(&typed, now, dialects))?;
    let perishable = matches!(body, Forwarded::KickUser(_));
    let mut pdu = Vec::new();
    let published = dialects.get(Dialects::PUBLISHED);
    published.write_forwarded(&mut pdu, &body);
    let header = pdu.first_chunk().map(Header::read);
    let command = header.map_or(0, |header| header.command);
    Ok(Publication {
        kind: kind(&typed),
        command,
        pdu: pdu.into(),
        concerned: published.concerned(command, body),
        perishable,
    })
}

fn kind(typed: &Typed) -> Kind {
    match typed {
        Typed::ChatMessage(_) => Kind::ChatMessage,
        Typed::P2pCommand(_) => Kind::P2pCommand,
        Typed::ReadReceipt(_) => Kind::ReadReceipt,
        Typed::Kick(_) => Kind::Kick,
        Typed::GroupChange(_) => Kind::GroupChange,
        Typed::FileNotice(_) => Kind::FileNotice,
        Typed::ConversationRemoval(_) => Kind::ConversationRemoval,
        Typed::SignatureChange(_) => Kind::SignatureChange,
        Typed::StatusChange(_) => Kind::StatusChange,
        Typed::DesktopLoginChange(_) => Kind::DesktopLoginChange,
        Typed::OtherCommand(_) => Kind::OtherCommand,
    }
}

/// Refuses what only a subscriber gets.
fn check_unset(event: &api::Event) -> Result<(), Refusal> {
    let not_sent = "must be empty: what a subscriber was not sent cannot be published";
    let mut mistakes = Mistakes::default();
    for (is_set, field, problem) in [
        (
            !event.raw_pdu.is_empty(),
            "event.raw_pdu",
            "must be empty: the event is encoded by the node",
        ),
        (event.unparsed, "event.unparsed", not_sent),
        (!event.omitted.is_empty(), "event.omitted", not_sent),
    ] {
        if is_set {
            mistakes.add(Refusal::field(field, problem));
        }
    }
    mistakes.end()
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
            (
                "event.file_notice.task_id",
                text(&file.task_id, &file.task_id_bytes).len() as u32,
            ),
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
    let mut mistakes = Mistakes::default();
    for (field, _) in required.iter().filter(|(_, value)| *value == 0) {
        mistakes.add(Refusal::field(*field, "is missing"));
    }
    mistakes.end()
}

fn message<'a>(
    chat: &'a ChatMessage,
    now: u32,
    dialects: &Dialects,
) -> Result<route_dialect::ChatMessage<'a>, Refusal> {
    let message_type = chat.message_type.cast_unsigned();
    let of_group = dialects.get(Dialects::PUBLISHED).is_of_group(message_type);
    let mut mistakes = Mistakes::default();
    if !dialects.any(|dialect| dialect.has_message_type(message_type)) {
        let problem = "no MsgServer's dialect has it; TeamTalk has 0x01 text, 0x02 audio, 0x11 group text, \
                       0x12 group audio";
        let unknown = Refusal::field("event.chat_message.message_type", problem);
        mistakes.add(unknown);
    } else if !is_said(chat.conversation_type, of_group) {
        let problem = "does not go with message_type; leave it out";
        let other = Refusal::field("event.chat_message.conversation_type", problem);
        mistakes.add(other);
    }
    let create_time = chat.create_time.as_ref().map_or(Ok(now), seconds);
    let create_time = mistakes.end_with(create_time)?;
    Ok(route_dialect::ChatMessage {
        from_user_id: chat.from_user_id,
        to_id: chat.to_id,
        of_group,
        message_id: chat.message_id,
        create_time,
        message_type,
        content: &chat.content,
        attach_data: &chat.attach_data,
    })
}

/// A message with this type of conversation, which may be left out, is one to a group or is none.
fn is_said(conversation_type: i32, of_group: bool) -> bool {
    match ConversationType::try_from(conversation_type) {
        Ok(ConversationType::Unspecified) => true,
        Ok(ConversationType::Single) => !of_group,
        Ok(ConversationType::Group) => of_group,
        Err(_) => false,
    }
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
    let mut mistakes = Mistakes::default();
    mistakes.note(check_ids(
        &group.member_ids,
        "event.group_change.member_ids",
    ));
    mistakes.note(check_ids(
        &group.changed_ids,
        "event.group_change.changed_ids",
    ));
    let change = mistakes.end_with(match group.change_type() {
        GroupChangeType::Added => Ok(1),
        GroupChangeType::Removed => Ok(2),
        GroupChangeType::Unspecified => {
            let field = "event.group_change.change_type";
            Err(Refusal::field(
                field,
                "neither GROUP_CHANGE_TYPE_ADDED nor GROUP_CHANGE_TYPE_REMOVED",
            ))
        }
    })?;
    Ok(route_dialect::GroupChange {
        user_id: group.user_id,
        change,
        group_id: group.group_id,
        member_ids: group.member_ids.as_slice().into(),
        changed_ids: group.changed_ids.as_slice().into(),
    })
}

fn file_notice(file: &FileNotice) -> Result<route_dialect::FileNotice<'_>, Refusal> {
    let mut mistakes = Mistakes::default();
    let transfer_mode = file.transfer_mode();
    if transfer_mode == TransferMode::Unspecified {
        let problem = "neither TRANSFER_MODE_ONLINE nor TRANSFER_MODE_OFFLINE";
        let none = Refusal::field("event.file_notice.transfer_mode", problem);
        mistakes.add(none);
    }
    if file.servers.iter().any(|it| it.port > u16::MAX.into()) {
        let problem = "a port is at most 65535";
        let wrong = Refusal::field("event.file_notice.servers", problem);
        mistakes.add(wrong);
    }
    mistakes.end()?;
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
        ConversationType::Unspecified => {
            let problem = "neither CONVERSATION_TYPE_SINGLE nor CONVERSATION_TYPE_GROUP";
            Err(Refusal::field(field, problem))
        }
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
