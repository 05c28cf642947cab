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

/// Service ids, the other half of the legacy numbering. Written, never checked.
pub mod service {
    /// Contacts and status.
    pub const BUDDY_LIST: u16 = 2;
    /// Between servers.
    pub const OTHER: u16 = 7;
}
