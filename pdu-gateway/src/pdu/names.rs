//! The names of the commands that MsgServers send.

use route_proto::pdu::command as id;

/// Names of the commands that MsgServers send, for metrics and traces, and their ids. What is no command here comes last.
pub const NAMES: [(&str, u16); 14] = [
    ("heartbeat", id::HEARTBEAT),
    ("role_set", id::ROLE_SET),
    ("online_user_list", id::ONLINE_USER_LIST),
    ("user_status_update", id::USER_STATUS_UPDATE),
    ("users_status_query", id::USERS_STATUS_QUERY),
    ("message", id::MESSAGE),
    ("read_receipt", id::READ_RECEIPT),
    ("p2p_command", id::P2P_COMMAND),
    ("conversation_removed", id::CONVERSATION_REMOVED),
    ("kick_user", id::KICK_USER),
    ("group_changed", id::GROUP_CHANGED),
    ("file_notice", id::FILE_NOTICE),
    ("signature_changed", id::SIGNATURE_CHANGED),
    ("other", 0),
];

/// The place of a command among [`NAMES`].
pub fn place(command: u16) -> usize {
    let known = NAMES.iter().position(|(_, known)| *known == command);
    known.unwrap_or(NAMES.len() - 1)
}

/// The name of a command.
pub fn name(command: u16) -> &'static str {
    NAMES[place(command)].0
}
