//! Valid PDUs of every command, by the generated legacy messages.

use prost::Message;
use route_proto::legacy::im::{base_define, buddy, file, group, message, server, switch_service};

use super::pdu::{Pdu, command};

/// A client type of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Client {
    Windows = 0x01,
    Mac = 0x02,
    Ios = 0x11,
    Android = 0x12,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Windows, Self::Mac, Self::Ios, Self::Android];
}

/// A status of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Status {
    Online = 1,
    Offline = 2,
    Leave = 3,
}

/// `msg_type` of a text to a user.
pub const SINGLE_TEXT: u8 = 0x01;
/// `msg_type` of a text to a group.
pub const GROUP_TEXT: u8 = 0x11;

/// 0x0707, a claim if `master` is not 0.
pub fn role(master: u32) -> Pdu {
    encoded(command::ROLE_SET, &server::ImRoleSet { master })
}

/// 0x0708.
pub fn list(entries: &[(u32, Status, Client)]) -> Pdu {
    let user_stat_list = entries.iter().copied().map(list_entry).collect();
    encoded(
        command::ONLINE_USER_LIST,
        &server::ImOnlineUserInfo { user_stat_list },
    )
}

/// 0x0708 of users who are online on Windows.
pub fn online(users: &[u32]) -> Pdu {
    let entry = |user: &u32| (*user, Status::Online, Client::Windows);
    list(&users.iter().map(entry).collect::<Vec<_>>())
}

/// One entry of 0x0708.
pub fn list_entry((user_id, status, client): (u32, Status, Client)) -> base_define::ServerUserStat {
    base_define::ServerUserStat {
        user_id,
        status: status as i32,
        client_type: client as i32,
    }
}

/// 0x070a.
pub fn update(user_id: u32, status: Status, client: Client) -> Pdu {
    update_with(user_id, status as u32, client)
}

/// 0x070a with any number as status: the wire has a plain integer there.
pub fn update_with(user_id: u32, user_status: u32, client: Client) -> Pdu {
    encoded(
        command::USER_STATUS_UPDATE,
        &server::ImUserStatusUpdate {
            user_status,
            user_id,
            client_type: client as i32,
        },
    )
}

/// 0x020a.
pub fn query(requester: u32, users: &[u32], attach: Option<&[u8]>) -> Pdu {
    encoded(
        command::USERS_STATUS_QUERY,
        &buddy::ImUsersStatReq {
            user_id: requester,
            user_id_list: users.to_vec(),
            attach_data: attach.map(|bytes| bytes.to_vec().into()),
        },
    )
}

/// 0x0301 of type `msg_type`; `to` is a user or a group.
pub fn message(from: u32, to: u32, msg_id: u32, msg_type: u8, data: impl AsRef<[u8]>) -> Pdu {
    encoded(
        command::MESSAGE,
        &message::ImMsgData {
            from_user_id: from,
            to_session_id: to,
            msg_id,
            create_time: 1,
            msg_type: i32::from(msg_type),
            msg_data: data.as_ref().to_vec().into(),
            attach_data: None,
        },
    )
}

/// 0x0601.
pub fn p2p(from: u32, to: u32, data: &str) -> Pdu {
    encoded(
        command::P2P_COMMAND,
        &switch_service::Imp2pCmdMsg {
            from_user_id: from,
            to_user_id: to,
            cmd_msg_data: data.to_owned(),
        },
    )
}

/// 0x0304: `user_id` has read a conversation with user `session_id` up to `msg_id`.
pub fn read(user_id: u32, session_id: u32, msg_id: u32) -> Pdu {
    encoded(
        command::READ_RECEIPT,
        &message::ImMsgDataReadNotify {
            user_id,
            session_id,
            msg_id,
            session_type: base_define::SessionType::Single as i32,
        },
    )
}

/// 0x020f: `user_id` has removed a conversation with user `session_id`.
pub fn remove_session(user_id: u32, session_id: u32) -> Pdu {
    encoded(
        command::CONVERSATION_REMOVED,
        &buddy::ImRemoveSessionNotify {
            user_id,
            session_type: base_define::SessionType::Single as i32,
            session_id,
        },
    )
}

/// 0x070d.
pub fn kick(user_id: u32, client: Client) -> Pdu {
    encoded(
        command::KICK_USER,
        &server::ImServerKickUser {
            user_id,
            client_type: client as i32,
            reason: 1,
        },
    )
}

/// 0x040b: `changed` have joined a group of now `current`.
pub fn group_change(user_id: u32, group_id: u32, current: &[u32], changed: &[u32]) -> Pdu {
    encoded(
        command::GROUP_CHANGED,
        &group::ImGroupChangeMemberNotify {
            user_id,
            change_type: base_define::GroupModifyType::Add as i32,
            group_id,
            cur_user_id_list: current.to_vec(),
            chg_user_id_list: changed.to_vec(),
        },
    )
}

/// 0x0508.
pub fn file(from: u32, to: u32) -> Pdu {
    encoded(
        command::FILE_NOTICE,
        &file::ImFileNotify {
            from_user_id: from,
            to_user_id: to,
            file_name: "a b.txt".to_owned(),
            file_size: 123_456,
            task_id: "t-1".to_owned(),
            ip_addr_list: vec![base_define::IpAddr {
                ip: "10.0.0.1".to_owned(),
                port: 8600,
            }],
            trans_mode: base_define::TransferFileType::FileTypeOffline as i32,
            offline_ready: 1,
        },
    )
}

/// 0x0215.
pub fn sign_info(user_id: u32, text: &str) -> Pdu {
    encoded(
        command::SIGNATURE_CHANGED,
        &buddy::ImSignInfoChangedNotify {
            changed_user_id: user_id,
            sign_info: text.to_owned(),
        },
    )
}

/// Any message under a command id.
pub fn encoded(command: u16, body: &impl Message) -> Pdu {
    Pdu::new(command, body.encode_to_vec())
}
