//! What happened to the links of a MsgServer, and what was lost, for people who ask why.

use std::fmt;
use std::net::SocketAddr;

use crate::ids::LinkId;

/// A link plays another part than before, or will.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// Which link.
    pub link: LinkId,
    /// Its address.
    pub peer: SocketAddr,
    /// What tells its MsgServer apart: its name, else its IP.
    pub identity: String,
    /// How many sessions it holds, hidden ones included.
    pub sessions: u32,
    /// What happened to it.
    pub kind: TransitionKind,
    /// The other link, of those kinds that have one.
    pub other: Option<LinkId>,
}

/// What happened to a link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TransitionKind {
    /// It said that it is its MsgServer's primary connection.
    Claims,
    /// It took the place of another link of its MsgServer.
    Succeeds,
    /// The same without a claim: the claimed link was lost, or nobody claimed its seat.
    StandsIn,
    /// It will take the place of another link, which seems to be of its MsgServer, when that closes.
    Supersedes,
    /// It was claimed and has closed; another link may claim its seat.
    LeavesSeat,
    /// Nobody claimed its seat.
    SeatEnds,
    /// It never claimed, and stands for a MsgServer of its own: no claimed link holds its sessions.
    Stands,
    /// With it there are more links at its address than are compared: without names, MsgServers
    /// there lose what is on its way when they change connections.
    Crowds,
    /// It was claimed, and nothing is heard of it, though another connection of its MsgServer is: it
    /// is cut in one direction, and closed.
    FallsSilent,
    /// Two MsgServers have its name, by mistake, and fought for their links: both stand.
    SharesName,
    /// Most of its users are on a link that is taken for another MsgServer's, too.
    SameUsers,
    /// It never claimed, and is a shadow from now on: another link holds most of its sessions.
    Follows,
    /// It has reported more sessions than are kept, of it, of one user, or in all: it gets everything
    /// from now on.
    Overflows,
}

/// Deliveries for a link that nobody gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loss {
    /// Which link.
    pub link: LinkId,
    /// Whose it is or was, unless it ended long ago.
    pub whose: Option<Whose>,
    /// How many.
    pub deliveries: u64,
    /// The position of the first one: what was routed before is not among them.
    pub from: u64,
    /// Why.
    pub reason: LossReason,
}

/// What is known of a link for logs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whose {
    /// Its address.
    pub peer: SocketAddr,
    /// As in [`Transition`].
    pub identity: String,
    /// Its sessions, or how many it had when it ended.
    pub sessions: u32,
}

/// Why nobody gets a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LossReason {
    /// As much was held for the link as may be.
    Full,
    /// It was held at a seat that nobody claimed.
    SeatEnds,
    /// It came back from a link that has closed, or was held for one, and no other link of its
    /// MsgServer is there.
    NoSuccessor,
    /// Its gateway was handed it, and was lost before it had taken it: perhaps it was written.
    GatewayLost,
}

impl LossReason {
    /// A name for logs, in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            LossReason::Full => "full",
            LossReason::SeatEnds => "seat_ends",
            LossReason::NoSuccessor => "no_successor",
            LossReason::GatewayLost => "gateway_lost",
        }
    }
}

impl TransitionKind {
    /// Every kind.
    pub const ALL: [TransitionKind; 13] = [
        TransitionKind::Claims,
        TransitionKind::Succeeds,
        TransitionKind::StandsIn,
        TransitionKind::Supersedes,
        TransitionKind::LeavesSeat,
        TransitionKind::SeatEnds,
        TransitionKind::Stands,
        TransitionKind::Crowds,
        TransitionKind::FallsSilent,
        TransitionKind::SharesName,
        TransitionKind::SameUsers,
        TransitionKind::Follows,
        TransitionKind::Overflows,
    ];

    /// A name for logs and metrics, in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            TransitionKind::Claims => "claims",
            TransitionKind::Succeeds => "succeeds",
            TransitionKind::StandsIn => "stands_in",
            TransitionKind::Supersedes => "supersedes",
            TransitionKind::LeavesSeat => "leaves_seat",
            TransitionKind::SeatEnds => "seat_ends",
            TransitionKind::Stands => "stands",
            TransitionKind::Crowds => "crowds",
            TransitionKind::FallsSilent => "falls_silent",
            TransitionKind::SharesName => "shares_name",
            TransitionKind::SameUsers => "same_users",
            TransitionKind::Follows => "follows",
            TransitionKind::Overflows => "overflows",
        }
    }
}

impl fmt::Display for TransitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
