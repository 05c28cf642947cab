//! Whom a PDU names as its sender and its receiver.

use route_dialect::{Command, Forwarded};
use route_proto::pdu::HEADER_LEN;

use crate::dialects::Dialects;

/// A conversation of a group, in the bodies that say which kind it is.
const GROUP: u32 = 2;

/// What is noted of a PDU by its body. 0 is nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) command: Option<Command>,
    pub(super) sender: u32,
    /// A user, or a group.
    pub(super) receiver: u32,
    pub(super) of_group: bool,
    pub(super) unparsed: bool,
}

/// Reads a PDU with this command.
pub(super) fn read(dialects: &Dialects, command: route_core::Command, pdu: &[u8]) -> Named {
    let dialect = dialects.get(command.dialect);
    let body = pdu.get(HEADER_LEN..).unwrap_or_default();
    let found = Named {
        command: dialect.command(command.id),
        ..Named::default()
    };
    let (sender, receiver, of_group) = match dialect.read_forwarded(command.id, body) {
        Some(Ok(body)) => between(&body),
        Some(Err(_)) | None => {
            return Named {
                unparsed: true,
                ..found
            };
        }
    };
    Named {
        sender,
        receiver,
        of_group,
        ..found
    }
}

fn between(body: &Forwarded<'_>) -> (u32, u32, bool) {
    match body {
        Forwarded::Message(it) => (it.from_user_id, it.to_id, it.of_group),
        Forwarded::ReadReceipt(it) => {
            let of_group = it.conversation == GROUP;
            (it.user_id, it.conversation_id, of_group)
        }
        Forwarded::P2pCommand(it) => (it.from_user_id, it.to_user_id, false),
        Forwarded::ConversationRemoved(it) => {
            let of_group = it.conversation == GROUP;
            (it.user_id, it.conversation_id, of_group)
        }
        Forwarded::KickUser(it) => (0, it.user_id, false),
        Forwarded::GroupChanged(it) => (it.user_id, it.group_id, true),
        Forwarded::FileNotice(it) => (it.from_user_id, it.to_user_id, false),
        Forwarded::SignatureChanged(it) => (it.user_id, 0, false),
        Forwarded::Extra(users) => (0, users.first().copied().unwrap_or_default(), false),
    }
}
