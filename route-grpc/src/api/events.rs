//! Legacy bodies and typed events: the only place that converts one into the other.
//!
//! Reading is lenient: whatever the API can show is shown, and what cannot be read is marked `unparsed`. Writing is
//! strict: MsgServers drop a PDU with a missing field or an unknown enum value without a word.

use bytes::Bytes;
use hashbrown::HashSet;
use prost::Message;
use route_core::{Audience, ChangeReason, Event, Status, Summary};
use route_proto::legacy::im::base_define::{
    ClientType, GroupModifyType, IpAddr, MsgType, SessionType, TransferFileType,
};
use route_proto::legacy::im::buddy::{ImRemoveSessionNotify, ImSignInfoChangedNotify};
use route_proto::legacy::im::file::ImFileNotify;
use route_proto::legacy::im::group::ImGroupChangeMemberNotify;
use route_proto::legacy::im::message::{ImMsgData, ImMsgDataReadNotify};
use route_proto::legacy::im::server::ImServerKickUser;
use route_proto::v1::event::Event as Typed;
use route_proto::v1::{
    self as api, ChatMessage, ConversationRemoved, ConversationType, DesktopLoginChanged,
    EventKind, FileNotice, FileServer, GroupChange, GroupChangeType, Kick, LegacyStatus,
    P2pCommand, ReadReceipt, SignatureChanged, StatusChanged, UserStatus,
};

use crate::limits::check_ids;
use crate::pdu::{self, HEADER};
use crate::refusal::Refusal;

/// A kind of PDU: service id, command id, kind of event. Only the command id selects a handler in a MsgServer.
struct Command {
    service: u16,
    id: u16,
    kind: EventKind,
}

const fn command(service: u16, id: u16, kind: EventKind) -> Command {
    Command { service, id, kind }
}

const CHAT_MESSAGE: Command = command(3, 0x0301, EventKind::ChatMessage);
const P2P_COMMAND: Command = command(6, 0x0601, EventKind::P2pCommand);
const READ_RECEIPT: Command = command(3, 0x0304, EventKind::ReadReceipt);
const KICK: Command = command(7, 0x070d, EventKind::Kick);
const GROUP_CHANGE: Command = command(4, 0x040b, EventKind::GroupChange);
const FILE_NOTICE: Command = command(5, 0x0508, EventKind::FileNotice);
const CONVERSATION_REMOVED: Command = command(2, 0x020f, EventKind::ConversationRemoved);
const SIGNATURE_CHANGED: Command = command(2, 0x0215, EventKind::SignatureChanged);

const COMMANDS: [&Command; 8] = [
    &CHAT_MESSAGE,
    &P2P_COMMAND,
    &READ_RECEIPT,
    &KICK,
    &GROUP_CHANGE,
    &FILE_NOTICE,
    &CONVERSATION_REMOVED,
    &SIGNATURE_CHANGED,
];

// ---- reading

/// Which kind of event this is, without reading its body.
pub(crate) fn kind(event: &Event) -> EventKind {
    match event {
        Event::Envelope { command, .. } => COMMANDS
            .iter()
            .find(|known| known.id == *command)
            .map_or(EventKind::Unspecified, |known| known.kind),
        Event::StatusChanged { .. } => EventKind::StatusChanged,
        Event::DesktopLogin { .. } => EventKind::DesktopLoginChanged,
    }
}

/// The event as the API shows it, without the raw PDU.
pub(crate) fn typed(event: &Event) -> api::Event {
    let kind = kind(event);
    let (origin_link, typed) = match event {
        Event::Envelope { origin, pdu, .. } => (
            origin.map(|link| link.to_string()).unwrap_or_default(),
            body(pdu).and_then(|body| read_body(kind, body)),
        ),
        Event::StatusChanged {
            user,
            summary,
            reason,
        } => (
            String::new(),
            Some(Typed::StatusChanged(StatusChanged {
                user: Some(user_status(user.0, *summary)),
                reason: change_reason(*reason).into(),
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
        event: typed,
    }
}

/// The PDU that this event was.
pub(crate) fn raw_pdu(event: &Event) -> Bytes {
    match event {
        Event::Envelope { pdu, .. } => pdu.clone(),
        Event::StatusChanged { .. } | Event::DesktopLogin { .. } => Bytes::new(),
    }
}

/// Does the event name one of these users?
pub(crate) fn names_any(event: &api::Event, users: &HashSet<u32>) -> bool {
    let has = |user: &u32| users.contains(user);
    let Some(event) = &event.event else {
        return false;
    };
    match event {
        Typed::ChatMessage(chat) => {
            let to_user = chat.conversation() != ConversationType::Group;
            has(&chat.from_user_id) || (to_user && has(&chat.to_id))
        }
        Typed::P2pCommand(p2p) => has(&p2p.from_user_id) || has(&p2p.to_user_id),
        Typed::ReadReceipt(read) => has(&read.user_id),
        Typed::Kick(kick) => has(&kick.user_id),
        Typed::GroupChange(group) => {
            let mut members = group.member_ids.iter().chain(&group.changed_ids);
            has(&group.user_id) || members.any(has)
        }
        Typed::FileNotice(file) => has(&file.from_user_id) || has(&file.to_user_id),
        Typed::ConversationRemoved(removed) => has(&removed.user_id),
        Typed::SignatureChanged(changed) => has(&changed.user_id),
        Typed::StatusChanged(changed) => changed.user.iter().any(|user| has(&user.user_id)),
        Typed::DesktopLoginChanged(changed) => has(&changed.user_id),
    }
}

/// A user's status without sessions.
pub(crate) fn user_status(user_id: u32, summary: Summary) -> UserStatus {
    let status = match summary.status {
        Status::Online => api::Status::Online,
        Status::Away => api::Status::Away,
        Status::Offline => api::Status::Offline,
    };
    let legacy_status = if summary.legacy_online {
        LegacyStatus::Online
    } else {
        LegacyStatus::Offline
    };
    UserStatus {
        user_id,
        status: status.into(),
        legacy_status: legacy_status.into(),
        sessions: Vec::new(),
    }
}

/// Why a status changed, as the API says it.
pub(crate) fn change_reason(reason: ChangeReason) -> api::ChangeReason {
    match reason {
        ChangeReason::Client => api::ChangeReason::Client,
        ChangeReason::List => api::ChangeReason::List,
        ChangeReason::LinkClosed => api::ChangeReason::LinkClosed,
        ChangeReason::GatewayLost => api::ChangeReason::GatewayLost,
        ChangeReason::Role => api::ChangeReason::Role,
    }
}

fn body(pdu: &Bytes) -> Option<Bytes> {
    (pdu.len() >= HEADER).then(|| pdu.slice(HEADER..))
}

fn read_body(kind: EventKind, body: Bytes) -> Option<Typed> {
    Some(match kind {
        EventKind::ChatMessage => Typed::ChatMessage(read_chat(read(body)?)?),
        EventKind::P2pCommand => {
            let p2p: P2pBody = read(body)?;
            Typed::P2pCommand(P2pCommand {
                from_user_id: p2p.from_user_id,
                to_user_id: p2p.to_user_id,
                command: p2p.command,
            })
        }
        EventKind::ReadReceipt => {
            let receipt: ImMsgDataReadNotify = read(body)?;
            Typed::ReadReceipt(ReadReceipt {
                user_id: receipt.user_id,
                conversation_id: receipt.session_id,
                message_id: receipt.msg_id,
                conversation: conversation(receipt.session_type)?.into(),
            })
        }
        EventKind::Kick => {
            let kick: ImServerKickUser = read(body)?;
            Typed::Kick(Kick {
                user_id: kick.user_id,
                client_type: u32::try_from(kick.client_type).ok()?,
                reason: kick.reason,
            })
        }
        EventKind::GroupChange => Typed::GroupChange(read_group_change(body)?),
        EventKind::FileNotice => Typed::FileNotice(read_file_notice(read(body)?)),
        EventKind::ConversationRemoved => {
            let removed: ImRemoveSessionNotify = read(body)?;
            Typed::ConversationRemoved(ConversationRemoved {
                user_id: removed.user_id,
                conversation: conversation(removed.session_type)?.into(),
                conversation_id: removed.session_id,
            })
        }
        EventKind::SignatureChanged => {
            let changed: ImSignInfoChangedNotify = read(body)?;
            Typed::SignatureChanged(SignatureChanged {
                user_id: changed.changed_user_id,
                signature: changed.sign_info,
            })
        }
        EventKind::Unspecified | EventKind::StatusChanged | EventKind::DesktopLoginChanged => {
            return None;
        }
    })
}

/// Decodes a body. prost takes a missing required field for 0; but the message with its required fields is never
/// shorter on the wire than what was read, so a body that is shorter lacks one.
fn read<M: Message + Default>(body: Bytes) -> Option<M> {
    let length = body.len();
    let message = M::decode(body).ok()?;
    (message.encoded_len() <= length).then_some(message)
}

fn read_chat(chat: ImMsgData) -> Option<ChatMessage> {
    let conversation = match MsgType::try_from(chat.msg_type).ok()? {
        MsgType::SingleText | MsgType::SingleAudio => ConversationType::Single,
        MsgType::GroupText | MsgType::GroupAudio => ConversationType::Group,
    };
    Some(ChatMessage {
        from_user_id: chat.from_user_id,
        to_id: chat.to_session_id,
        conversation: conversation.into(),
        message_id: chat.msg_id,
        create_time: chat.create_time,
        message_type: u32::try_from(chat.msg_type).ok()?,
        content: chat.msg_data,
        attach_data: chat.attach_data.unwrap_or_default(),
    })
}

fn read_group_change(body: Bytes) -> Option<GroupChange> {
    let length = body.len();
    let mut group = ImGroupChangeMemberNotify::decode(body).ok()?;
    // Lists may come packed, which is shorter than how prost would write them: they say nothing here.
    let member_ids = std::mem::take(&mut group.cur_user_id_list);
    let changed_ids = std::mem::take(&mut group.chg_user_id_list);
    if group.encoded_len() > length {
        return None;
    }
    let change = match GroupModifyType::try_from(group.change_type).ok()? {
        GroupModifyType::Add => GroupChangeType::Add,
        GroupModifyType::Del => GroupChangeType::Delete,
    };
    Some(GroupChange {
        user_id: group.user_id,
        change: change.into(),
        group_id: group.group_id,
        member_ids,
        changed_ids,
    })
}

fn read_file_notice(file: ImFileNotify) -> FileNotice {
    let server = |address: IpAddr| FileServer {
        ip: address.ip,
        port: address.port,
    };
    FileNotice {
        from_user_id: file.from_user_id,
        to_user_id: file.to_user_id,
        file_name: file.file_name,
        file_size: file.file_size,
        task_id: file.task_id,
        servers: file.ip_addr_list.into_iter().map(server).collect(),
        transfer_mode: u32::try_from(file.trans_mode).unwrap_or_default(),
        offline_ready: file.offline_ready != 0,
    }
}

fn conversation(session_type: i32) -> Option<ConversationType> {
    Some(match SessionType::try_from(session_type).ok()? {
        SessionType::Single => ConversationType::Single,
        SessionType::Group => ConversationType::Group,
    })
}

/// `IM.SwitchService.IMP2PCmdMsg`, whose text nobody checks to be UTF-8.
#[derive(Clone, PartialEq, Message)]
struct P2pBody {
    #[prost(uint32, required, tag = "1")]
    from_user_id: u32,
    #[prost(uint32, required, tag = "2")]
    to_user_id: u32,
    #[prost(bytes = "bytes", required, tag = "3")]
    command: Bytes,
}

// ---- writing

/// Whom an event concerns if nobody says otherwise, by the table of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Concerned {
    /// MsgServers that hold one of these users.
    Users(Vec<u32>),
    /// MsgServers that have ever reported a user.
    Reporters,
    /// MsgServers with a session.
    Sessions,
    /// All of them.
    Everyone,
}

impl Concerned {
    /// For the core.
    pub(crate) fn audience(&self) -> Audience<'_> {
        match self {
            Self::Users(users) => Audience::Users(users),
            Self::Reporters => Audience::Reporters,
            Self::Sessions => Audience::Sessions,
            Self::Everyone => Audience::Everyone,
        }
    }
}

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

/// Turns a typed event into the PDU that a MsgServer would have sent.
pub(crate) fn publication(event: api::Event) -> Result<Publication, Refusal> {
    if !event.raw_pdu.is_empty() {
        let problem = "must be empty: the event is encoded by the node";
        return Err(Refusal::field("event.raw_pdu", problem));
    }
    match event.event {
        Some(Typed::ChatMessage(chat)) => write_chat(chat),
        Some(Typed::P2pCommand(p2p)) => {
            let users = vec![p2p.from_user_id, p2p.to_user_id];
            let body = P2pBody {
                from_user_id: p2p.from_user_id,
                to_user_id: p2p.to_user_id,
                command: p2p.command,
            };
            Ok(write(&P2P_COMMAND, Concerned::Users(users), &body))
        }
        Some(Typed::ReadReceipt(read)) => {
            let session_type =
                session_type(read.conversation(), "event.read_receipt.conversation")?;
            let body = ImMsgDataReadNotify {
                user_id: read.user_id,
                session_id: read.conversation_id,
                msg_id: read.message_id,
                session_type: session_type.into(),
            };
            let users = Concerned::Users(vec![read.user_id]);
            Ok(write(&READ_RECEIPT, users, &body))
        }
        Some(Typed::Kick(kick)) => write_kick(kick),
        Some(Typed::GroupChange(group)) => write_group_change(group),
        Some(Typed::FileNotice(file)) => write_file_notice(file),
        Some(Typed::ConversationRemoved(removed)) => {
            let field = "event.conversation_removed.conversation";
            let session_type = session_type(removed.conversation(), field)?;
            let body = ImRemoveSessionNotify {
                user_id: removed.user_id,
                session_type: session_type.into(),
                session_id: removed.conversation_id,
            };
            let users = Concerned::Users(vec![removed.user_id]);
            Ok(write(&CONVERSATION_REMOVED, users, &body))
        }
        Some(Typed::SignatureChanged(changed)) => {
            let body = ImSignInfoChangedNotify {
                changed_user_id: changed.user_id,
                sign_info: changed.signature,
            };
            Ok(write(&SIGNATURE_CHANGED, Concerned::Sessions, &body))
        }
        Some(Typed::StatusChanged(_) | Typed::DesktopLoginChanged(_)) => {
            let problem = "only MsgServers cause this kind of event";
            Err(Refusal::field("event.event", problem))
        }
        None => Err(Refusal::field("event.event", "is missing")),
    }
}

fn write_chat(chat: ChatMessage) -> Result<Publication, Refusal> {
    let unknown = || {
        let problem = "none of 0x01 text, 0x02 audio, 0x11 group text, 0x12 group audio";
        Refusal::field("event.chat_message.message_type", problem)
    };
    let msg_type = i32::try_from(chat.message_type).map_err(|_| unknown())?;
    let conversation = match MsgType::try_from(msg_type).map_err(|_| unknown())? {
        MsgType::SingleText | MsgType::SingleAudio => ConversationType::Single,
        MsgType::GroupText | MsgType::GroupAudio => ConversationType::Group,
    };
    let said = chat.conversation();
    if said != conversation && said != ConversationType::Unspecified {
        let problem = "does not go with message_type; leave it out";
        return Err(Refusal::field("event.chat_message.conversation", problem));
    }
    let concerned = match conversation {
        ConversationType::Group => Concerned::Reporters,
        ConversationType::Single | ConversationType::Unspecified => {
            Concerned::Users(vec![chat.from_user_id, chat.to_id])
        }
    };
    let body = ImMsgData {
        from_user_id: chat.from_user_id,
        to_session_id: chat.to_id,
        msg_id: chat.message_id,
        create_time: chat.create_time,
        msg_type,
        msg_data: chat.content,
        attach_data: (!chat.attach_data.is_empty()).then_some(chat.attach_data),
    };
    Ok(write(&CHAT_MESSAGE, concerned, &body))
}

fn write_kick(kick: Kick) -> Result<Publication, Refusal> {
    let client_type = i32::try_from(kick.client_type)
        .ok()
        .and_then(|value| ClientType::try_from(value).ok())
        .ok_or_else(|| {
            let problem = "none of 0x01 Windows, 0x02 Mac, 0x11 iOS, 0x12 Android";
            Refusal::field("event.kick.client_type", problem)
        })?;
    let body = ImServerKickUser {
        user_id: kick.user_id,
        client_type: client_type.into(),
        reason: kick.reason,
    };
    Ok(Publication {
        perishable: true,
        ..write(&KICK, Concerned::Everyone, &body)
    })
}

fn write_group_change(group: GroupChange) -> Result<Publication, Refusal> {
    check_ids(&group.member_ids, "event.group_change.member_ids")?;
    check_ids(&group.changed_ids, "event.group_change.changed_ids")?;
    let change_type = match group.change() {
        GroupChangeType::Add => GroupModifyType::Add,
        GroupChangeType::Delete => GroupModifyType::Del,
        GroupChangeType::Unspecified => {
            return Err(Refusal::field("event.group_change.change", "is missing"));
        }
    };
    let members = [&group.member_ids[..], &group.changed_ids].concat();
    let body = ImGroupChangeMemberNotify {
        user_id: group.user_id,
        change_type: change_type.into(),
        group_id: group.group_id,
        cur_user_id_list: group.member_ids,
        chg_user_id_list: group.changed_ids,
    };
    Ok(write(&GROUP_CHANGE, Concerned::Users(members), &body))
}

fn write_file_notice(file: FileNotice) -> Result<Publication, Refusal> {
    let mode = i32::try_from(file.transfer_mode)
        .ok()
        .and_then(|value| TransferFileType::try_from(value).ok())
        .ok_or_else(|| {
            let problem = "neither 1 online nor 2 offline";
            Refusal::field("event.file_notice.transfer_mode", problem)
        })?;
    let address = |server: FileServer| IpAddr {
        ip: server.ip,
        port: server.port,
    };
    let body = ImFileNotify {
        from_user_id: file.from_user_id,
        to_user_id: file.to_user_id,
        file_name: file.file_name,
        file_size: file.file_size,
        task_id: file.task_id,
        ip_addr_list: file.servers.into_iter().map(address).collect(),
        trans_mode: mode.into(),
        offline_ready: u32::from(file.offline_ready),
    };
    let users = Concerned::Users(vec![file.to_user_id]);
    Ok(write(&FILE_NOTICE, users, &body))
}

fn session_type(
    conversation: ConversationType,
    field: &'static str,
) -> Result<SessionType, Refusal> {
    match conversation {
        ConversationType::Single => Ok(SessionType::Single),
        ConversationType::Group => Ok(SessionType::Group),
        ConversationType::Unspecified => Err(Refusal::field(field, "is missing")),
    }
}

fn write(command: &Command, concerned: Concerned, body: &impl Message) -> Publication {
    Publication {
        command: command.id,
        pdu: pdu::encode(command.service, command.id, 0, body),
        concerned,
        perishable: false,
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
