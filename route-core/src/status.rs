//! What a user is, over all links, and what one of the user's sessions is.

use std::net::SocketAddr;
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
}

impl Summary {
    /// Nobody is there.
    pub const OFFLINE: Summary = Summary {
        status: Status::Offline,
        legacy_online: false,
    };
}

/// One visible session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionView {
    /// Which client type.
    pub client_type: ClientType,
    /// Online if at least one of its logins is active, else away.
    pub state: Status,
    /// On which link.
    pub link: LinkId,
    /// That link's MsgServer.
    pub peer: SocketAddr,
    /// Visible logins, at least 1.
    pub logins: u32,
    /// When the first was reported, since the node started, in whole seconds.
    pub since: Duration,
}
