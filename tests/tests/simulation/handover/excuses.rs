//! What is excused, and nothing else: what nobody can know after two failures at once.
//! `docs/hand-over.md` lists it under "What is not kept".
//!
//! Beside what stands here:
//!
//! - A MsgServer that was without a connection, or whose gateway was lost, is not owed what was
//!   routed meanwhile (`MsgServer::is_strict`).
//! - If its gateway was lost, or cut off for longer than nodes wait, and a node was lost before
//!   everything was confirmed, its users' changes may be told twice, or not at all (`is_in_doubt`).
//! - One that had no connection and comes back on two at once may tell a change on each, and get on
//!   one what it sent on the other (`came_back_twice`).
//! - Of changes that were unconfirmed when a node was lost, the next one tells again, as things are
//!   (`doubts`).
//! - Who left by a connection that was cut off before that was read is gone with it, and by default
//!   nobody is told (`Doubts::is_unread`).
//! - What a gateway that was given up tells again has reasons again, and what a queue had no room
//!   for is lost (`bounds`).

use std::time::Duration;

use crate::handover::msg_server::Receipt;
use crate::handover::world::World;

impl World {
    /// A new node routes again what was unconfirmed. Then a message may come a second time
    ///
    /// - if the first copy was written by a gateway that has died since, or is cut off for longer
    ///   than nodes wait: nobody knows what it had written;
    /// - if the MsgServer had been without a connection, and came back after the message was sent:
    ///   it was not owed the first copy, which was on its way to an earlier connection; or if what
    ///   came late on its new one comes late again.
    pub(crate) fn may_repeat(&self, sent: Duration, first: Receipt, again: Receipt) -> bool {
        let Some(connection) = self.connections.get(&again.connection) else {
            return false;
        };
        let server = &self.servers[connection.server];
        let lost = self.lost_connections.contains(&first.connection);
        let was_away = connection.opened > sent || first.connection == again.connection;
        first.life < again.life && (lost || (server.interrupted && was_away))
    }
}
