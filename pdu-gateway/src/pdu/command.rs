//! Command ids of legacy PDUs, and the service ids that go with those that the gateway makes.

/// `IMHeartBeat`: alive.
pub const HEARTBEAT: u16 = 0x0701;
/// `IMRoleSet`: whether a link is its MsgServer's primary connection.
pub const ROLE_SET: u16 = 0x0707;
/// `IMOnlineUserInfo`: the clients that are logged in.
pub const ONLINE_USER_LIST: u16 = 0x0708;
/// `IMUserStatusUpdate`: a client came or went.
pub const USER_STATUS_UPDATE: u16 = 0x070a;
/// `IMUsersStatReq`: asks for the status of users.
pub const USERS_STATUS_QUERY: u16 = 0x020a;
/// `IMUsersStatRsp`: answers that.
pub const USERS_STATUS_ANSWER: u16 = 0x020b;
/// `IMMsgData`: a chat message.
pub const MESSAGE: u16 = 0x0301;
/// `IMMsgDataReadNotify`: a user has read up to here.
pub const READ_RECEIPT: u16 = 0x0304;
/// `IMP2PCmdMsg`: a command from client to client.
pub const P2P_COMMAND: u16 = 0x0601;
/// `IMRemoveSessionNotify`: a user removed a conversation.
pub const CONVERSATION_REMOVED: u16 = 0x020f;
/// `IMServerKickUser`: kick a user's clients of this class elsewhere.
pub const KICK_USER: u16 = 0x070d;
/// `IMGroupChangeMemberNotify`: a group's members changed.
pub const GROUP_CHANGED: u16 = 0x040b;
/// `IMFileNotify`: a file waits for a user.
pub const FILE_NOTICE: u16 = 0x0508;
/// `IMSignInfoChangedNotify`: a user's signature changed.
pub const SIGNATURE_CHANGED: u16 = 0x0215;
/// `IMServerPCLoginStatusNotify`: made by the RouteServer only.
pub const DESKTOP_LOGIN_NOTICE: u16 = 0x070e;
/// `IMUserStatNotify`: made by the RouteServer only.
pub const STATUS_NOTICE: u16 = 0x0203;

/// Names of the commands that MsgServers send, for metrics and traces, and their ids. What is no command here comes last.
pub const NAMES: [(&str, u16); 14] = [
    ("heartbeat", HEARTBEAT),
    ("role_set", ROLE_SET),
    ("online_user_list", ONLINE_USER_LIST),
    ("user_status_update", USER_STATUS_UPDATE),
    ("users_status_query", USERS_STATUS_QUERY),
    ("message", MESSAGE),
    ("read_receipt", READ_RECEIPT),
    ("p2p_command", P2P_COMMAND),
    ("conversation_removed", CONVERSATION_REMOVED),
    ("kick_user", KICK_USER),
    ("group_changed", GROUP_CHANGED),
    ("file_notice", FILE_NOTICE),
    ("signature_changed", SIGNATURE_CHANGED),
    ("other", 0),
];

/// The place of a command among [`NAMES`].
pub fn place(command: u16) -> usize {
    match command {
        HEARTBEAT => 0,
        ROLE_SET => 1,
        ONLINE_USER_LIST => 2,
        USER_STATUS_UPDATE => 3,
        USERS_STATUS_QUERY => 4,
        MESSAGE => 5,
        READ_RECEIPT => 6,
        P2P_COMMAND => 7,
        CONVERSATION_REMOVED => 8,
        KICK_USER => 9,
        GROUP_CHANGED => 10,
        FILE_NOTICE => 11,
        SIGNATURE_CHANGED => 12,
        _ => 13,
    }
}

/// The name of a command.
pub fn name(command: u16) -> &'static str {
    NAMES[place(command)].0
}

/// Service ids, the other half of the legacy numbering. Written, never checked.
pub mod service {
    /// Contacts and status.
    pub const BUDDY_LIST: u16 = 2;
    /// Between servers.
    pub const OTHER: u16 = 7;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_place() {
        for (index, (label, command)) in NAMES.into_iter().enumerate() {
            assert_eq!((place(command), name(command)), (index, label));
        }
    }
}
