//! The bodies of legacy PDUs, read and written as the MsgServers at hand do it.
//!
//! TeamTalk has forks: their commands have other ids, their fields other numbers, their enums more values. A
//! [`Dialect`] says what a fork does differently; `docs/dialects.md` describes its definition. Everything that reads or
//! writes a body does it here, so a gateway that routes and a node that shows what was routed read the same.
//!
//! Bodies are held against the messages of the legacy protocol as C++ does it: a missing required field or a value
//! outside a closed enum makes the body unreadable.

mod command;
mod definition;
mod dialect;
mod fields;
mod forwarded;
mod played;
mod presence;
mod tables;
mod wire;

pub use command::Command;
pub use definition::{BUILT_IN, DefinitionError, MAX_DEFINITION};
pub use dialect::{BodyError, Dialect};
pub use forwarded::{
    ChatMessage, Concerned, ConversationRemoved, FileNotice, FileServer, Forwarded, GroupChange,
    Kick, P2pCommand, ReadReceipt, SignatureChange,
};
pub use played::StatusAnswer;
pub use presence::{AnswerTo, Report, Status, StatusQuery};
pub use tables::Class;
pub use wire::WireError;
