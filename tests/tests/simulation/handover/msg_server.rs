//! MsgServers: who is logged in, which connection is the primary one, what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use system_tests::cast::msg_server::Connections;

/// Users that are logged in from the start and stay: the first of each MsgServer.
pub(crate) const STABLE: u32 = 2;
/// Users of each MsgServer.
pub(crate) const USERS: u32 = 5;
/// Users of this number and above are now at one MsgServer, now at another.
pub(crate) const MOVERS: u32 = 9000;
/// How many of them there are.
pub(crate) const MOVING: u32 = 3;

/// A user of a MsgServer.
pub(crate) fn user(server: usize, number: u32) -> u32 {
    server as u32 * 100 + number
}

/// The MsgServer of a user who stays with it.
pub(crate) fn home(user: u32) -> usize {
    (user / 100) as usize
}

/// Logged in from the start and for good.
pub(crate) fn is_stable(user: u32) -> bool {
    user < MOVERS && user % 100 < STABLE
}

/// How a message came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receipt {
    pub(crate) connection: usize,
    /// Which life of the node it was.
    pub(crate) life: u64,
}

#[derive(Debug)]
pub(crate) struct MsgServer {
    pub(crate) peer: SocketAddr,
    /// What the operator calls it; empty if nothing.
    pub(crate) name: String,
    /// An HttpMsgServer: no users, no list.
    pub(crate) http: bool,
    /// To one gateway or two, by number.
    pub(crate) links: Connections<usize>,
    /// By slot.
    pub(crate) retry_at: Vec<Duration>,
    pub(crate) died: Duration,
    /// One of its connections was lost, or its gateway, and not everything that was read before is
    /// confirmed.
    pub(crate) unsettled: bool,
    /// It was so when the node was lost.
    pub(crate) claim_in_doubt: bool,
    pub(crate) online: BTreeSet<u32>,
    /// It has been without a connection since the schedule began, or came late: what was routed
    /// meanwhile is not for it.
    pub(crate) interrupted: bool,
    /// What a lost gateway held for it is lost.
    pub(crate) lossy: bool,
    /// Until then one of its gateways was cut off for longer than the grace. What was on its way to
    /// that one when the node gave it up, and another connection began to stand in, may still
    /// arrive, after newer messages.
    pub(crate) cut_off_until: Duration,
    /// By user: what it was told, 1 online, 2 offline.
    pub(crate) notices: BTreeMap<u32, Vec<bool>>,
    /// The same of desktop logins.
    pub(crate) logins: BTreeMap<u32, Vec<bool>>,
}

impl MsgServer {
    pub(crate) fn new(peer: SocketAddr, http: bool, gateways: Vec<usize>) -> Self {
        Self {
            peer,
            name: String::new(),
            http,
            retry_at: vec![Duration::ZERO; gateways.len()],
            links: Connections::new(gateways),
            died: Duration::ZERO,
            unsettled: false,
            claim_in_doubt: false,
            online: BTreeSet::new(),
            interrupted: false,
            lossy: false,
            cut_off_until: Duration::ZERO,
            notices: BTreeMap::new(),
            logins: BTreeMap::new(),
        }
    }

    /// It connects to this gateway.
    pub(crate) fn is_at(&self, gateway: usize) -> bool {
        self.links.gateways().any(|of| of == gateway)
    }

    /// It has one connection.
    pub(crate) fn is_single(&self) -> bool {
        self.links.slots().len() == 1
    }

    /// One of its connections has been lost.
    pub(crate) fn has_lost_one(&self) -> bool {
        self.died > Duration::ZERO
    }

    /// It had no connection, and came back on two at about the same time: until its claim and its
    /// list are known, both count.
    pub(crate) fn came_back_twice(&self) -> bool {
        self.interrupted && !self.is_single()
    }

    /// Its gateway was lost, or cut off for longer than nodes wait, and so was a node before
    /// everything was confirmed.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.lossy && self.claim_in_doubt
    }

    /// What it reports may be told twice, see [`excuses`](crate::handover::excuses).
    pub(crate) fn may_tell_twice(&self) -> bool {
        self.is_in_doubt() || self.came_back_twice()
    }

    /// It must miss nothing.
    pub(crate) fn is_strict(&self) -> bool {
        !self.interrupted && !self.lossy
    }
}
