//! Legacy bodies and typed events: the only place that converts one into the other.
//!
//! Reading is lenient: whatever the API can show is shown, and what cannot be read is marked
//! `unparsed`. Writing is strict: MsgServers drop a PDU with a missing field or an unknown enum
//! value without a word.

mod read;
mod write;

use bytes::Bytes;
use prost::Message;
use route_core::Event;
use route_proto::pdu::command;
use route_proto::v1::EventKind;

pub(super) use read::{names_any, raw_pdu, typed};
pub(super) use write::{Publication, publication};

/// Which kind of event this is, without reading its body.
pub(crate) fn kind(event: &Event) -> EventKind {
    match event {
        Event::Envelope { command, .. } => COMMANDS
            .iter()
            .find(|(known, _)| known == command)
            .map_or(EventKind::Unspecified, |(_, kind)| *kind),
        Event::StatusChanged { .. } => EventKind::StatusChanged,
        Event::DesktopLogin { .. } => EventKind::DesktopLoginChanged,
    }
}

/// The commands that services see and publish, and the kinds of their events.
const COMMANDS: [(u16, EventKind); 8] = [
    (command::MESSAGE, EventKind::ChatMessage),
    (command::P2P_COMMAND, EventKind::P2pCommand),
    (command::READ_RECEIPT, EventKind::ReadReceipt),
    (command::KICK_USER, EventKind::Kick),
    (command::GROUP_CHANGED, EventKind::GroupChange),
    (command::FILE_NOTICE, EventKind::FileNotice),
    (
        command::CONVERSATION_REMOVED,
        EventKind::ConversationRemoved,
    ),
    (command::SIGNATURE_CHANGED, EventKind::SignatureChanged),
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
