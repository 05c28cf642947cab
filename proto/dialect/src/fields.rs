//! The messages of the legacy protocol and their fields, as TeamTalk publishes them. Dialects give fields other numbers.

/// A message that stands in a body, or within another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Message {
    RoleSet,
    OnlineUserList,
    OnlineUser,
    UserStatusUpdate,
    UsersStatusQuery,
    UsersStatusAnswer,
    UserStatus,
    StatusNotice,
    DesktopLoginNotice,
    Chat,
    ReadReceipt,
    P2pCommand,
    ConversationRemoved,
    KickUser,
    GroupChanged,
    FileNotice,
    FileServer,
    SignatureChanged,
}

/// What a field may hold. All but optional and repeated ones are required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `uint32`.
    Number,
    /// `string` or `bytes`; C++ checks UTF-8 in neither.
    Text,
    /// The same, and it may be left out.
    OptionalText,
    /// `uint32` that may be left out.
    OptionalNumber,
    /// A closed enum from 1 to this.
    UpTo(u32),
    /// The closed enum that dialects extend.
    ClientType,
    /// The enum that forks extend without end: any value is taken, if there is none that the dialect
    /// names.
    MessageType,
    /// None, one or many.
    Repeated,
}

/// One field: as definitions of dialects call it, its number as published (0: it is not there), and what it may hold.
pub(crate) type Field = (&'static str, u32, Kind);

/// Most fields that a message has.
pub(crate) const MAX_FIELDS: usize = 8;

/// How many messages there are.
pub(crate) const MESSAGES: usize = 18;

const STATUS: Kind = Kind::UpTo(3);
const SESSION_TYPE: Kind = Kind::UpTo(2);

use Kind::{ClientType, Number, OptionalNumber, OptionalText, Repeated, Text, UpTo};

/// Every message by its name in definitions of dialects, in their order.
const PUBLISHED: [(&str, &[Field]); MESSAGES] = [
    ("role_set", &[("claimed", 1, Number)]),
    ("online_user_list", &[("users", 1, Repeated)]),
    (
        "online_user",
        &[
            ("user_id", 1, Number),
            ("status", 2, STATUS),
            ("client_type", 3, ClientType),
        ],
    ),
    (
        "user_status_update",
        // The status is a plain number here.
        &[
            ("status", 1, Number),
            ("user_id", 2, Number),
            ("client_type", 3, ClientType),
        ],
    ),
    (
        "users_status_query",
        &[
            ("user_id", 1, Number),
            ("user_ids", 2, Repeated),
            ("attach_data", 20, OptionalText),
        ],
    ),
    (
        "users_status_answer",
        &[
            ("user_id", 1, Number),
            ("users", 2, Repeated),
            ("attach_data", 20, OptionalText),
        ],
    ),
    (
        "user_status",
        &[("user_id", 1, Number), ("status", 2, STATUS)],
    ),
    ("status_notice", &[("user", 1, Repeated)]),
    (
        "desktop_login_notice",
        &[("user_id", 1, Number), ("logged_in", 2, Number)],
    ),
    (
        "message",
        &[
            ("from_user_id", 1, Number),
            ("to_id", 2, Number),
            ("message_id", 3, Number),
            ("create_time", 4, Number),
            ("message_type", 5, Kind::MessageType),
            ("content", 6, Text),
            ("attach_data", 20, OptionalText),
            // Only of forks: 2 is a group, whatever the type.
            ("conversation", 0, OptionalNumber),
        ],
    ),
    (
        "read_receipt",
        &[
            ("user_id", 1, Number),
            ("conversation_id", 2, Number),
            ("message_id", 3, Number),
            ("conversation", 4, SESSION_TYPE),
        ],
    ),
    (
        "p2p_command",
        &[
            ("from_user_id", 1, Number),
            ("to_user_id", 2, Number),
            ("command", 3, Text),
        ],
    ),
    (
        "conversation_removed",
        &[
            ("user_id", 1, Number),
            ("conversation", 2, SESSION_TYPE),
            ("conversation_id", 3, Number),
        ],
    ),
    (
        "kick_user",
        &[
            ("user_id", 1, Number),
            ("client_type", 2, ClientType),
            ("reason", 3, Number),
        ],
    ),
    (
        "group_changed",
        &[
            ("user_id", 1, Number),
            ("change", 2, UpTo(2)),
            ("group_id", 3, Number),
            ("member_ids", 4, Repeated),
            ("changed_ids", 5, Repeated),
        ],
    ),
    (
        "file_notice",
        &[
            ("from_user_id", 1, Number),
            ("to_user_id", 2, Number),
            ("file_name", 3, Text),
            ("file_size", 4, Number),
            ("task_id", 5, Text),
            ("servers", 6, Repeated),
            ("transfer_mode", 7, UpTo(2)),
            ("offline_ready", 8, Number),
        ],
    ),
    ("file_server", &[("ip", 1, Text), ("port", 2, Number)]),
    (
        "signature_changed",
        &[("user_id", 1, Number), ("signature", 2, Text)],
    ),
];

impl Message {
    /// The place of the one that definitions of dialects call so.
    pub(crate) fn named(name: &str) -> Option<usize> {
        PUBLISHED.iter().position(|(known, _)| *known == name)
    }

    /// The names of all of them.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        PUBLISHED.iter().map(|(name, _)| *name)
    }

    /// Its fields, in the order of their places.
    pub(crate) fn fields(self) -> &'static [Field] {
        fields_at(self as usize)
    }
}

/// The fields of the message at this place.
pub(crate) fn fields_at(message: usize) -> &'static [Field] {
    PUBLISHED[message].1
}
