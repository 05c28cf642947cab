//! Legacy bodies and typed events: the only place that converts one into the other.
//!
//! Reading is lenient: whatever the API can show is shown, and what cannot be read is marked `unparsed`. Writing is
//! strict: MsgServers drop a PDU with a missing field or an unknown enum value without a word.

mod read;
mod write;

use bytes::Bytes;
use prost::Message;
use route_core::Event;
use route_proto::v1::EventKind;

pub(super) use read::{names_any, raw_pdu, typed};
pub(super) use write::{Publication, publication};

/// Which kind of event this is, without reading its body.
pub(crate) fn kind(event: &Event) -> EventKind {
    match event {
        Event::Envelope { command, .. } => COMMANDS
            .iter()
            .find(|known| known.id == *command)
            .map_or(EventKind::Unspecified, |known| known.kind),
        Event::StatusChanged { .. } => EventKind::StatusChanged,
        Event::DesktopLogin { .. } => EventKind::DesktopLoginChanged,
    }
}

/// A kind of PDU: service id, command id, kind of event. Only the command id selects a handler in a MsgServer.
struct Command {
    service: u16,
    id: u16,
    kind: EventKind,
}

const fn command(service: u16, id: u16, kind: EventKind) -> Command {
    Command { service, id, kind }
}

const CHAT_MESSAGE: Command = command(3, 0x0301, EventKind::ChatMessage);
const P2P_COMMAND: Command = command(6, 0x0601, EventKind::P2pCommand);
const READ_RECEIPT: Command = command(3, 0x0304, EventKind::ReadReceipt);
const KICK: Command = command(7, 0x070d, EventKind::Kick);
const GROUP_CHANGE: Command = command(4, 0x040b, EventKind::GroupChange);
const FILE_NOTICE: Command = command(5, 0x0508, EventKind::FileNotice);
const CONVERSATION_REMOVED: Command = command(2, 0x020f, EventKind::ConversationRemoved);
const SIGNATURE_CHANGED: Command = command(2, 0x0215, EventKind::SignatureChanged);

const COMMANDS: [&Command; 8] = [
    &CHAT_MESSAGE,
    &P2P_COMMAND,
    &READ_RECEIPT,
    &KICK,
    &GROUP_CHANGE,
    &FILE_NOTICE,
    &CONVERSATION_REMOVED,
    &SIGNATURE_CHANGED,
];

/// `IM.SwitchService.IMP2PCmdMsg`, whose text nobody checks to be UTF-8.
#[derive(Clone, PartialEq, Message)]
struct P2pBody {
    #[prost(uint32, required, tag = "1")]
    from_user_id: u32,
    #[prost(uint32, required, tag = "2")]
    to_user_id: u32,
    #[prost(bytes = "bytes", required, tag = "3")]
    command: Bytes,
}

#[cfg(test)]
mod tests;
