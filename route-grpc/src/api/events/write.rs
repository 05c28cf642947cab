//! From what a service publishes to what MsgServers get.

use bytes::Bytes;
use prost::Message;
use route_core::Audience;
use route_proto::legacy::im::base_define::{
    ClientType, GroupModifyType, IpAddr, MsgType, SessionType, TransferFileType,
};
use route_proto::legacy::im::buddy::{ImRemoveSessionNotify, ImSignInfoChangedNotify};
use route_proto::legacy::im::file::ImFileNotify;
use route_proto::legacy::im::group::ImGroupChangeMemberNotify;
use route_proto::legacy::im::message::{ImMsgData, ImMsgDataReadNotify};
use route_proto::legacy::im::server::ImServerKickUser;
use route_proto::pdu::{self, command};
use route_proto::v1::event::Event as Typed;
use route_proto::v1::{
    self as api, ChatMessage, ConversationType, FileNotice, FileServer, GroupChange,
    GroupChangeType, Kick,
};

use super::P2pBody;
use crate::limits::check_ids;
use crate::refusal::Refusal;

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
            Ok(write(command::P2P_COMMAND, Concerned::Users(users), &body))
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
            Ok(write(command::READ_RECEIPT, users, &body))
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
            Ok(write(command::CONVERSATION_REMOVED, users, &body))
        }
        Some(Typed::SignatureChanged(changed)) => {
            let body = ImSignInfoChangedNotify {
                changed_user_id: changed.user_id,
                sign_info: changed.signature,
            };
            Ok(write(
                command::SIGNATURE_CHANGED,
                Concerned::Sessions,
                &body,
            ))
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
    Ok(write(command::MESSAGE, concerned, &body))
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
        ..write(command::KICK_USER, Concerned::Everyone, &body)
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
    Ok(write(
        command::GROUP_CHANGED,
        Concerned::Users(members),
        &body,
    ))
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
    Ok(write(command::FILE_NOTICE, users, &body))
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

fn write(command: u16, concerned: Concerned, body: &impl Message) -> Publication {
    Publication {
        command,
        pdu: pdu::encode(command, 0, body),
        concerned,
        perishable: false,
    }
}
