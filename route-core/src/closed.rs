//! What is said of links whose connections have ended.

use std::net::SocketAddr;

use crate::change::CloseReason;
use crate::ids::LinkId;

/// A link whose connection has ended: as it was then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClosedLink {
    /// Which link.
    pub id: LinkId,
    /// Its address.
    pub peer: SocketAddr,
    /// What tells its MsgServer apart: its name, else its IP.
    pub msg_server: String,
    /// That is a name.
    pub is_named: bool,
    /// It had claimed.
    pub is_claimed: bool,
    /// How many sessions it held, hidden ones included.
    pub sessions: u32,
    /// When it was opened: microseconds since the node started, negative if that was before.
    pub opened_at: i64,
    /// Why it has ended.
    pub reason: CloseReason,
}
