//! What a user is, over all links, and what one of the user's sessions is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{ClientType, LinkId};

/// What a user is, over all links.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// Some session is active.
    Online,
    /// There are sessions, all away.
    Away,
    /// There is none.
    Offline,
}

/// What there is to know of a user's presence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Summary {
    /// By all visible sessions.
    pub status: Status,
    /// By desktop sessions only, as the C++ RouteServer answers: away counts as online.
    pub legacy_online: bool,
    /// Some visible session is a mobile one.
    pub mobile: bool,
}

impl Summary {
    /// Nobody is there.
    pub const OFFLINE: Summary = Summary {
        status: Status::Offline,
        legacy_online: false,
        mobile: false,
    };

    /// The same for those who look at the status, by either rule.
    pub fn is_status_of(self, other: Summary) -> bool {
        (self.status, self.legacy_online) == (other.status, other.legacy_online)
    }
}

/// How a node has learned of a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum LearnedBy {
    /// From a list of the link.
    List,
    /// From an update of the link.
    Update,
    /// From the link's gateway, which knew it from before this node.
    Restored,
}

/// A link as the sessions on it are shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkView {
    /// Which one.
    pub id: LinkId,
    /// Its address.
    pub peer: SocketAddr,
    /// What tells its MsgServer apart: its name, else its IP.
    pub msg_server: String,
}

/// One visible session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionView {
    /// Which client type.
    pub client_type: ClientType,
    /// Online if at least one of its logins is active, else away.
    pub state: Status,
    /// On which link.
    pub link: Arc<LinkView>,
    /// Visible logins, at least 1.
    pub logins: u32,
    /// When the first was reported: whole seconds since the node started.
    pub since_seconds: u32,
}

impl SessionView {
    /// When the first login was reported, since the node started, in whole seconds.
    pub fn since(&self) -> Duration {
        Duration::from_secs(self.since_seconds.into())
    }
}
