//! Whom a kick (0x070d) is for.

use crate::pdu::dialect::{Dialect, Field, ignore};

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

/// Whose clients a kick's body names, if it can be read.
pub fn kicked(dialect: &Dialect, body: &[u8]) -> Option<Clients> {
    const KICK: [Field; 3] = [Field::Number, Field::ClientType, Field::Number];
    let fields = dialect.read(body, &KICK, ignore).ok()?;
    Some(Clients::like(fields[1], fields[2]))
}
