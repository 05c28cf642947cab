//! What the commands of the legacy protocol are for. Dialects give them other ids.

use route_proto::pdu::command as id;

/// A command that a RouteServer handles or makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Command {
    /// `IMHeartBeat`: alive.
    Heartbeat,
    /// `IMRoleSet`: whether a link is its MsgServer's primary connection.
    RoleSet,
    /// `IMOnlineUserInfo`: the clients that are logged in.
    OnlineUserList,
    /// `IMUserStatusUpdate`: a client came or went.
    UserStatusUpdate,
    /// `IMUsersStatReq`: asks for the status of users.
    UsersStatusQuery,
    /// `IMUsersStatRsp`: answers that.
    UsersStatusAnswer,
    /// `IMMsgData`: a chat message.
    Message,
    /// `IMMsgDataReadNotify`: a user has read up to here.
    ReadReceipt,
    /// `IMP2PCmdMsg`: a command from client to client.
    P2pCommand,
    /// `IMRemoveSessionNotify`: a user removed a conversation.
    ConversationRemoved,
    /// `IMServerKickUser`: kick a user's clients of this class elsewhere.
    KickUser,
    /// `IMGroupChangeMemberNotify`: a group's members changed.
    GroupChanged,
    /// `IMFileNotify`: a file waits for a user.
    FileNotice,
    /// `IMSignInfoChangedNotify`: a user's signature changed.
    SignatureChanged,
    /// `IMServerPCLoginStatusNotify`: made by the RouteServer only.
    DesktopLoginNotice,
    /// `IMUserStatNotify`: made by the RouteServer only.
    StatusNotice,
}

/// Name and id of each command in TeamTalk as published, in their order.
const STANDARD: [(Command, &str, u16); Command::COUNT] = [
    (Command::Heartbeat, "heartbeat", id::HEARTBEAT),
    (Command::RoleSet, "role_set", id::ROLE_SET),
    (
        Command::OnlineUserList,
        "online_user_list",
        id::ONLINE_USER_LIST,
    ),
    (
        Command::UserStatusUpdate,
        "user_status_update",
        id::USER_STATUS_UPDATE,
    ),
    (
        Command::UsersStatusQuery,
        "users_status_query",
        id::USERS_STATUS_QUERY,
    ),
    (
        Command::UsersStatusAnswer,
        "users_status_answer",
        id::USERS_STATUS_ANSWER,
    ),
    (Command::Message, "message", id::MESSAGE),
    (Command::ReadReceipt, "read_receipt", id::READ_RECEIPT),
    (Command::P2pCommand, "p2p_command", id::P2P_COMMAND),
    (
        Command::ConversationRemoved,
        "conversation_removed",
        id::CONVERSATION_REMOVED,
    ),
    (Command::KickUser, "kick_user", id::KICK_USER),
    (Command::GroupChanged, "group_changed", id::GROUP_CHANGED),
    (Command::FileNotice, "file_notice", id::FILE_NOTICE),
    (
        Command::SignatureChanged,
        "signature_changed",
        id::SIGNATURE_CHANGED,
    ),
    (
        Command::DesktopLoginNotice,
        "desktop_login_notice",
        id::DESKTOP_LOGIN_NOTICE,
    ),
    (Command::StatusNotice, "status_notice", id::STATUS_NOTICE),
];

impl Command {
    /// How many there are.
    pub const COUNT: usize = 16;

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Command> {
        STANDARD.iter().map(|(command, ..)| *command)
    }

    /// As it is called in definitions of dialects, metrics and traces.
    pub fn name(self) -> &'static str {
        STANDARD[self as usize].1
    }

    /// Its id in TeamTalk as published.
    pub fn standard_id(self) -> u16 {
        STANDARD[self as usize].2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_at_its_place() {
        for (place, command) in Command::all().enumerate() {
            assert_eq!(command as usize, place, "{command:?}");
        }
    }
}
