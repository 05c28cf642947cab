//! What MsgServers say to each other: read to learn whom it concerns and to show it to subscribers, written for services
//! that publish. A PDU that is forwarded is never changed.

mod read;
mod write;

use std::borrow::Cow;

use read::users_in;

use crate::command::Command;
use crate::definition::Audience;
use crate::dialect::{BodyError, Dialect};
use crate::tables::Meaning;

/// Users that may be named. A PDU that concerns more goes to all others: the names would take more room in Attach than
/// what they save.
const MAX_NAMED: usize = 1 << 16;

/// The body of a command that is forwarded. Text is what was sent, UTF-8 or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forwarded<'a> {
    /// A chat message (0x0301).
    Message(ChatMessage<'a>),
    /// A user has read up to here (0x0304).
    ReadReceipt(ReadReceipt),
    /// A command from client to client (0x0601).
    P2pCommand(P2pCommand<'a>),
    /// A user removed a conversation (0x020f).
    ConversationRemoved(ConversationRemoved),
    /// Kick a user's clients (0x070d).
    KickUser(Kick),
    /// A group's members changed (0x040b).
    GroupChanged(GroupChange<'a>),
    /// A file waits for a user (0x0508).
    FileNotice(FileNotice<'a>),
    /// A user's signature changed (0x0215).
    SignatureChanged(SignatureChange<'a>),
    /// A command that only a dialect has: the users that it names, if the dialect says where they stand.
    Extra(Vec<u32>),
}

/// `IMMsgData`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ChatMessage<'a> {
    pub from_user_id: u32,
    /// A user, or a group.
    pub to_id: u32,
    pub of_group: bool,
    pub message_id: u32,
    pub create_time: u32,
    pub message_type: u32,
    pub content: &'a [u8],
    /// Empty if there was none.
    pub attach_data: &'a [u8],
}

/// `IMMsgDataReadNotify`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ReadReceipt {
    pub user_id: u32,
    pub conversation_id: u32,
    pub message_id: u32,
    /// 1 single, 2 group; forks have more.
    pub conversation: u32,
}

/// `IMP2PCmdMsg`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct P2pCommand<'a> {
    pub from_user_id: u32,
    pub to_user_id: u32,
    pub command: &'a [u8],
}

/// `IMRemoveSessionNotify`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ConversationRemoved {
    pub user_id: u32,
    /// 1 single, 2 group; forks have more.
    pub conversation: u32,
    pub conversation_id: u32,
}

/// `IMServerKickUser`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Kick {
    pub user_id: u32,
    pub client_type: u32,
    pub reason: u32,
}

/// `IMGroupChangeMemberNotify`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct GroupChange<'a> {
    pub user_id: u32,
    /// 1 added, 2 removed.
    pub change: u32,
    pub group_id: u32,
    pub member_ids: Cow<'a, [u32]>,
    pub changed_ids: Cow<'a, [u32]>,
}

/// `IMFileNotify`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FileNotice<'a> {
    pub from_user_id: u32,
    pub to_user_id: u32,
    pub file_name: &'a [u8],
    pub file_size: u32,
    pub task_id: &'a [u8],
    pub servers: Vec<FileServer<'a>>,
    /// 1 online, 2 offline.
    pub transfer_mode: u32,
    pub offline_ready: u32,
}

/// `IpAddr`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FileServer<'a> {
    pub ip: &'a [u8],
    pub port: u32,
}

/// `IMSignInfoChangedNotify`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SignatureChange<'a> {
    pub user_id: u32,
    pub signature: &'a [u8],
}

/// Whom a body concerns, by the table of commands; what MsgServers do with it justifies each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concerned {
    /// Other MsgServers that hold one of these users; may contain duplicates.
    Users(Vec<u32>),
    /// Other MsgServers that have ever reported a user.
    Reporters,
    /// All other MsgServers.
    Others,
    /// MsgServers with a session, the sender's too.
    Sessions,
}

impl Dialect {
    /// The body of a command with this id, if it is one that is forwarded.
    ///
    /// # Errors
    ///
    /// The body cannot be read.
    pub fn read_forwarded<'a>(
        &self,
        id: u16,
        body: &'a [u8],
    ) -> Option<Result<Forwarded<'a>, BodyError>> {
        let command = match self.meaning(id)? {
            Meaning::Extra(Audience::Users(fields)) => {
                return Some(users_in(body, fields).map(Forwarded::Extra));
            }
            Meaning::Extra(_) => return Some(Ok(Forwarded::Extra(Vec::new()))),
            Meaning::Command(command) => *command,
        };
        Some(match command {
            Command::Message => self.read_message(body).map(Forwarded::Message),
            Command::ReadReceipt => self.read_receipt(body).map(Forwarded::ReadReceipt),
            Command::P2pCommand => self.read_p2p(body).map(Forwarded::P2pCommand),
            Command::ConversationRemoved => {
                let removed = self.read_conversation_removed(body);
                removed.map(Forwarded::ConversationRemoved)
            }
            Command::KickUser => self.read_kick(body).map(Forwarded::KickUser),
            Command::GroupChanged => self.read_group_change(body).map(Forwarded::GroupChanged),
            Command::FileNotice => self.read_file_notice(body).map(Forwarded::FileNotice),
            Command::SignatureChanged => self.read_signature(body).map(Forwarded::SignatureChanged),
            Command::Heartbeat
            | Command::RoleSet
            | Command::OnlineUserList
            | Command::UserStatusUpdate
            | Command::UsersStatusQuery
            | Command::UsersStatusAnswer
            | Command::DesktopLoginNotice
            | Command::StatusNotice => return None,
        })
    }

    /// Whom such a body concerns; `id` is its command's.
    pub fn concerned(&self, id: u16, body: Forwarded<'_>) -> Concerned {
        let users = match body {
            Forwarded::Message(chat) if chat.of_group => Vec::new(),
            Forwarded::Message(chat) => vec![chat.from_user_id, chat.to_id],
            Forwarded::ReadReceipt(read) => vec![read.user_id],
            Forwarded::P2pCommand(p2p) => vec![p2p.from_user_id, p2p.to_user_id],
            Forwarded::ConversationRemoved(removed) => vec![removed.user_id],
            Forwarded::KickUser(kick) => vec![kick.user_id],
            Forwarded::GroupChanged(group) => {
                let mut users = group.member_ids.into_owned();
                users.extend_from_slice(&group.changed_ids);
                users
            }
            Forwarded::FileNotice(file) => vec![file.to_user_id],
            Forwarded::SignatureChanged(signature) => vec![signature.user_id],
            Forwarded::Extra(users) => users,
        };
        self.concerned_by(id, users).unwrap_or(Concerned::Others)
    }

    /// Whom a command with this id concerns that names these users; a message that names none is one
    /// of a group. None: it is not forwarded.
    pub fn concerned_by(&self, id: u16, users: Vec<u32>) -> Option<Concerned> {
        let command = match self.meaning(id)? {
            Meaning::Extra(Audience::Users(_)) => return Some(named(users)),
            Meaning::Extra(Audience::Reporters) => return Some(Concerned::Reporters),
            Meaning::Extra(Audience::Sessions) => return Some(Concerned::Sessions),
            Meaning::Extra(_) => return Some(Concerned::Others),
            Meaning::Command(command) => *command,
        };
        match command {
            Command::Message if users.is_empty() => Some(Concerned::Reporters),
            Command::Message
            | Command::ReadReceipt
            | Command::P2pCommand
            | Command::ConversationRemoved
            | Command::GroupChanged
            | Command::FileNotice => Some(named(users)),
            // A login may be on its way: never narrowed.
            Command::KickUser => Some(Concerned::Others),
            Command::SignatureChanged => Some(Concerned::Sessions),
            Command::Heartbeat
            | Command::RoleSet
            | Command::OnlineUserList
            | Command::UserStatusUpdate
            | Command::UsersStatusQuery
            | Command::UsersStatusAnswer
            | Command::DesktopLoginNotice
            | Command::StatusNotice => None,
        }
    }
}

fn named(users: Vec<u32>) -> Concerned {
    if users.len() > MAX_NAMED {
        Concerned::Others
    } else {
        Concerned::Users(users)
    }
}
