//! What a link can do to the state, as values.
//!
//! Every change to presence, roles and links is a [`Change`], numbered per link by the gateway that
//! owns the link. A change can be applied anywhere; only the node that owns the origin link also
//! makes notices from it ([`Effect::Notify`]).

use std::net::SocketAddr;
use std::time::Duration;

use crate::ids::{ClientType, LinkId, UserId};

/// What a MsgServer reports of a client (legacy `UserStatType`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReportedStatus {
    /// 1
    Online,
    /// 2
    Offline,
    /// 3, LEAVE in the C++ code.
    Away,
}

/// One logged-in client of a legacy user list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListEntry {
    /// Whose client.
    pub user: UserId,
    /// Which type.
    pub client_type: ClientType,
    /// Online and away add a login. Offline is a hidden login in a link's first list, a logout
    /// later.
    pub status: ReportedStatus,
}

/// All logins of one (user, client type) on a link, for a table that is restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableEntry {
    /// Whose clients.
    pub user: UserId,
    /// Which type.
    pub client_type: ClientType,
    /// Visible and active logins.
    pub online: u16,
    /// Visible logins that are away.
    pub away: u16,
    /// Hidden logins: they receive, they never show.
    pub hidden: u16,
}

/// Where a link comes from, and so what tells MsgServers apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer<'a> {
    /// Its address. Several MsgServers may share the IP, and one may have several.
    pub address: SocketAddr,
    /// What the operator calls the MsgServer, if that is said: links of one name are of one
    /// MsgServer, links of two names are not.
    pub msg_server: Option<&'a str>,
}

impl From<SocketAddr> for Peer<'_> {
    /// Without a name.
    fn from(address: SocketAddr) -> Self {
        Peer {
            address,
            msg_server: None,
        }
    }
}

/// Why a link ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// Its MsgServer closed it, or it broke.
    Peer,
    /// Its gateway asked its MsgServer to go, because that gateway stops or is drained.
    Drain,
    /// Nothing came on its connection for too long.
    TimedOut,
    /// It sent what cannot be a PDU, or did not end one.
    BadFrame,
    /// It did not take what it was sent.
    SlowReader,
    /// The node had asked for it, or its gateway had no node for too long.
    Requested,
    /// Its gateway was lost for longer than the grace period, or restarted.
    GatewayLost,
}

/// What is restored of a link that a predecessor of this node knew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restored {
    /// When it was opened: microseconds since the node started, negative if that was before.
    pub opened_at: i64,
    /// When it had claimed, if it had: microseconds since the node started, negative if that was
    /// before.
    pub claimed_at: Option<i64>,
    /// It had sent a list or an update.
    pub reported: bool,
    /// Its first list was complete.
    pub listed: bool,
    /// A list or update of it could not be read, and no list since could.
    pub opaque: bool,
    /// Nothing was heard of it, as of [`Change::Silence`].
    pub silent: bool,
}

/// A moment as in [`Restored`].
#[allow(clippy::cast_possible_truncation)] // 292 000 years
pub fn micros(now: Duration) -> i64 {
    now.as_micros() as i64
}

/// Predecessors of a link that are known: enough for what a gateway that was away still has to tell of them.
pub const PREDECESSORS: usize = 8;

/// One thing that a link did.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A MsgServer connected. First change of every link.
    Opened {
        /// Where from.
        peer: Peer<'a>,
        /// Set when the link is older than this node.
        restored: Option<Restored>,
    },
    /// An earlier node had this restored link take the place of others. Comes before its table.
    Succeeds {
        /// The last one first; what is beyond [`PREDECESSORS`] is ignored.
        predecessors: &'a [LinkId],
    },
    /// Part of a restored table.
    Table {
        /// In any order.
        entries: &'a [TableEntry],
        /// The table ends here.
        last: bool,
    },
    /// Part of a user list.
    List {
        /// In the list's order.
        entries: &'a [ListEntry],
        /// The list ends here.
        last: bool,
    },
    /// A client came, went, left or came back.
    Update {
        /// Whose client.
        user: UserId,
        /// Which type.
        client_type: ClientType,
        /// What it is now.
        status: ReportedStatus,
    },
    /// The MsgServer said whether this is its primary connection.
    Role {
        /// False changes nothing: a claim is never given back.
        claimed: bool,
    },
    /// Its gateway, though it reads, has heard nothing of it for longer than a heartbeat; or it is
    /// heard again.
    Silence {
        /// Nothing.
        silent: bool,
    },
    /// A list or an update that could not be read: from now on the link gets everything.
    Unreadable,
    /// The connection is gone. Last change of every link.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

impl Change<'_> {
    /// Whose sessions it may change, a user as often as it says so.
    pub(crate) fn users(self) -> impl Iterator<Item = UserId> {
        let (table, list, update) = match self {
            Change::Table { entries, .. } => (entries, &[][..], None),
            Change::List { entries, .. } => (&[][..], entries, None),
            Change::Update { user, .. } => (&[][..], &[][..], Some(user)),
            Change::Opened { .. }
            | Change::Succeeds { .. }
            | Change::Role { .. }
            | Change::Silence { .. }
            | Change::Unreadable
            | Change::Closed { .. } => (&[][..], &[][..], None),
        };
        let table = table.iter().map(|entry| entry.user);
        let list = list.iter().map(|entry| entry.user);
        table.chain(list).chain(update)
    }
}

/// Whether an update makes notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The state changes, MsgServers are not told.
    Silent,
    /// As the legacy rules say.
    Notify,
}
