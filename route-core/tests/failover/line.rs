//! One connection between a MsgServer and a gateway, and what is wrong with it.

use std::time::Duration;

/// A gateway tells that nothing is heard of a connection after this.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(7);
/// A gateway closes a connection of which it hears nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A gateway closes a connection whose host takes nothing.
const HOST_TIMEOUT: Duration = Duration::from_secs(15);
/// A MsgServer closes a connection on which it gets nothing, heartbeats included.
const SERVER_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Line {
    pub(crate) server: usize,
    pub(crate) opened: Duration,
    /// The node knows since then that it has claimed.
    pub(crate) claimed: Option<Duration>,
    /// The node knows that it has listed, or updated.
    pub(crate) has_reported: bool,
    /// What the MsgServer sends arrives.
    pub(crate) is_heard: bool,
    /// What is sent to it arrives.
    pub(crate) is_reached: bool,
    /// The MsgServer knows that it is over.
    pub(crate) is_left: bool,
    /// Since then something is wrong.
    since: Duration,
    /// The gateway has told that nothing is heard.
    is_told: bool,
}

/// What happens to a line in time.
#[derive(PartialEq)]
pub(crate) enum Due {
    Nothing,
    /// Its gateway tells that nothing is heard.
    Silent,
    /// Its gateway closes it.
    Closes,
    /// Its MsgServer gives it up.
    IsLeft,
}

impl Line {
    pub(crate) fn new(server: usize, now: Duration) -> Line {
        Line {
            server,
            opened: now,
            claimed: None,
            has_reported: false,
            is_heard: true,
            is_reached: true,
            is_left: false,
            since: Duration::ZERO,
            is_told: false,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.is_heard && self.is_reached && !self.is_left
    }

    /// Since when the node may take it for one of which something is heard, and nothing is.
    /// `claims`: then it is told if another one stands for the MsgServer.
    pub(crate) fn unheard_since(&self, claims: bool) -> Option<Duration> {
        let is_replaced = self.is_left && claims;
        (!self.is_heard && !is_replaced).then_some(self.since)
    }

    /// One direction is cut, or both.
    pub(crate) fn is_cut(&mut self, now: Duration, is_heard: bool, is_reached: bool) {
        self.since = now;
        self.is_heard = is_heard;
        self.is_reached = is_reached;
    }

    /// Its MsgServer has left it, and the gateway does not know.
    pub(crate) fn is_half_open(&mut self, now: Duration) {
        if self.is_heard || self.is_reached {
            self.since = now;
        }
        self.is_left = true;
        self.is_heard = false;
        self.is_reached = false;
    }

    pub(crate) fn due(&mut self, now: Duration) -> Due {
        let after = |time| now >= self.since + time;
        let is_dead = !self.is_reached && after(HOST_TIMEOUT);
        if is_dead || (!self.is_heard && after(IDLE_TIMEOUT)) {
            return Due::Closes;
        }
        if !self.is_heard && !self.is_told && after(SILENT_AFTER) {
            self.is_told = true;
            return Due::Silent;
        }
        if !self.is_reached && !self.is_left && after(SERVER_TIMEOUT) {
            return Due::IsLeft;
        }
        Due::Nothing
    }
}
