//! Whom a kick (0x070d) is for.

use route_dialect::{Dialect, Forwarded};

/// A user's clients of which one kicks the other: those that MsgServers take for the same kind (`KickOutSameClientType`),
/// whose types differ in the low four bits only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Clients {
    user_id: u32,
    class: u32,
}

impl Clients {
    /// This one and its like.
    pub fn like(user_id: u32, client_type: u32) -> Self {
        Clients {
            user_id,
            class: client_type >> 4,
        }
    }
}

/// Whose clients a PDU kicks, if it is a kick and can be read.
pub fn kicked(dialect: &Dialect, command: u16, body: &[u8]) -> Option<Clients> {
    let Forwarded::KickUser(kick) = dialect.read_forwarded(command, body)?.ok()? else {
        return None;
    };
    Some(Clients::like(kick.user_id, kick.client_type))
}
