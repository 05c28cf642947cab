//! From what was routed to what subscribers see.

use bytes::Bytes;
use hashbrown::HashSet;
use prost::Message;
use route_core::Event;
use route_proto::legacy::im::base_define::{GroupModifyType, IpAddr, MsgType, SessionType};
use route_proto::legacy::im::buddy::{ImRemoveSessionNotify, ImSignInfoChangedNotify};
use route_proto::legacy::im::file::ImFileNotify;
use route_proto::legacy::im::group::ImGroupChangeMemberNotify;
use route_proto::legacy::im::message::{ImMsgData, ImMsgDataReadNotify};
use route_proto::legacy::im::server::ImServerKickUser;
use route_proto::pdu::HEADER_LEN;
use route_proto::v1::event::Event as Typed;
use route_proto::v1::{
    self as api, ChatMessage, ConversationRemoved, ConversationType, DesktopLoginChanged,
    EventKind, FileNotice, FileServer, GroupChange, GroupChangeType, Kick, P2pCommand, ReadReceipt,
    SignatureChanged, StatusChanged,
};

use super::{P2pBody, kind};
use crate::api::status::{change_reason, user_status};

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

fn body(pdu: &Bytes) -> Option<Bytes> {
    (pdu.len() >= HEADER_LEN).then(|| pdu.slice(HEADER_LEN..))
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

/// Decodes a body. prost takes a missing required field for 0; but the message with its required
/// fields is never shorter on the wire than what was read, so a body that is shorter lacks one.
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
    // Lists may come packed, which is shorter than how prost would write them: they say nothing
    // here.
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
