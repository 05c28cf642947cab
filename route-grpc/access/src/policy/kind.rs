/// What an event is. Named and numbered as `EventKind` of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A chat message.
    ChatMessage = 1,
    /// A command from one client to another.
    P2pCommand = 2,
    /// A user has read messages.
    ReadReceipt = 3,
    /// Clients of a user are disconnected.
    Kick = 4,
    /// Members of a group were added or removed.
    GroupChange = 5,
    /// A file waits for a user.
    FileNotice = 6,
    /// A user removed a conversation.
    ConversationRemoval = 7,
    /// A user's signature is another one.
    SignatureChange = 8,
    /// A user's status is another one.
    StatusChange = 9,
    /// A user's first desktop client came, or the last one went.
    DesktopLoginChange = 10,
    /// A command that only a fork has.
    OtherCommand = 11,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::ChatMessage,
        Self::P2pCommand,
        Self::ReadReceipt,
        Self::Kick,
        Self::GroupChange,
        Self::FileNotice,
        Self::ConversationRemoval,
        Self::SignatureChange,
        Self::StatusChange,
        Self::DesktopLoginChange,
        Self::OtherCommand,
    ];

    /// As the field of the API's Event is named.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChatMessage => "chat_message",
            Self::P2pCommand => "p2p_command",
            Self::ReadReceipt => "read_receipt",
            Self::Kick => "kick",
            Self::GroupChange => "group_change",
            Self::FileNotice => "file_notice",
            Self::ConversationRemoval => "conversation_removal",
            Self::SignatureChange => "signature_change",
            Self::StatusChange => "status_change",
            Self::DesktopLoginChange => "desktop_login_change",
            Self::OtherCommand => "other_command",
        }
    }

    /// The kind of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
