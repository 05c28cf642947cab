//! What is known of one link.

use std::net::SocketAddr;
use std::time::Duration;

use crate::change::{CloseReason, Restored};
use crate::ids::LinkId;

/// One MsgServer connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) peer: SocketAddr,
    pub(crate) phase: Phase,
    pub(crate) claim: Claim,
    pub(crate) reported: Reported,
    /// Its table cannot be trusted, so it gets everything.
    pub(super) opaque: bool,
    /// Highest sequence applied.
    pub(crate) sequence: u64,
    /// It claimed while nothing was there to inherit, so the link that it succeeds may be closed
    /// late.
    pub(crate) expects: Option<Expectation>,
    /// The first position that was routed to it since it became active.
    pub(crate) serves_from: u64,
}

/// Where a link is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Its connection is open, as far as is known.
    Open(Part),
    /// Its connection is gone, its sessions stay for a while, what is routed to it is held for its
    /// successor.
    Seat(CloseReason),
    /// Only its sessions remain, to be removed piece by piece.
    Ended(End),
}

/// Which part a link plays for its MsgServer. Only in directed mode; in broadcast mode every open
/// link is active.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// It receives, its sessions are presence, its updates cause notices.
    Active,
    /// It receives nothing, its table is kept silently: another link stands for its MsgServer.
    Shadow,
    /// It has claimed, but was away when another link of its MsgServer began to stand in for it.
    /// As long as that one is open, this one is a shadow. Only its own queries see its own table.
    Waiting {
        /// Slot of the other link.
        stand_in: u32,
    },
}

/// How a link ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) reason: CloseReason,
    /// How many notices were made of it.
    pub(crate) notices: u32,
}

/// Whether a link is its MsgServer's primary one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// It has not said so.
    None,
    /// It has not said so, but stands for its MsgServer since the link that had is gone or was
    /// away.
    StandIn,
    /// It has sent `IMRoleSet` with a master other than 0.
    Claimed {
        /// As in [`Restored`].
        at: i64,
    },
}

/// What a link has told of its users.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Reported {
    Nothing,
    /// A list or an update.
    Something,
    /// The whole of its first list.
    List,
}

/// What a claiming link may still inherit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expectation {
    /// The first position that was routed to it by itself.
    pub(crate) from: u64,
    /// Not after this.
    pub(crate) until: Duration,
}

impl Link {
    /// A link that has just been opened, or is known from before.
    pub(crate) fn new(
        id: LinkId,
        sequence: u64,
        peer: SocketAddr,
        restored: Option<Restored>,
    ) -> Self {
        let claimed_at = restored.and_then(|restored| restored.claimed_at);
        Link {
            id,
            peer,
            phase: Phase::Open(Part::Active),
            claim: claimed_at.map_or(Claim::None, |at| Claim::Claimed { at }),
            reported: match restored {
                Some(Restored { listed: true, .. }) => Reported::List,
                Some(Restored { reported: true, .. }) => Reported::Something,
                Some(Restored { .. }) | None => Reported::Nothing,
            },
            opaque: restored.is_some_and(|restored| restored.opaque),
            sequence,
            expects: None,
            serves_from: 0,
        }
    }

    pub(crate) fn part(&self) -> Option<Part> {
        match self.phase {
            Phase::Open(part) => Some(part),
            Phase::Seat(_) | Phase::Ended(_) => None,
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.part() == Some(Part::Active)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.part().is_some()
    }

    pub(crate) fn is_seat(&self) -> bool {
        matches!(self.phase, Phase::Seat(_))
    }

    pub(crate) fn is_claimed(&self) -> bool {
        matches!(self.claim, Claim::Claimed { .. })
    }

    /// Its first list is complete.
    pub(crate) fn is_listed(&self) -> bool {
        self.reported == Reported::List
    }

    pub(crate) fn is_opaque(&self) -> bool {
        self.opaque
    }

    /// It has ever sent a list or an update.
    pub(crate) fn has_reported(&self) -> bool {
        self.reported != Reported::Nothing
    }

    /// It sends a list or an update.
    pub(crate) fn reports(&mut self) {
        self.reported = self.reported.max(Reported::Something);
    }

    /// Its MsgServer has, or seems to have, no better one, and its users are known.
    pub(crate) fn leads(&self) -> bool {
        match self.claim {
            Claim::None => false,
            Claim::StandIn => true,
            Claim::Claimed { .. } => self.is_listed(),
        }
    }

    /// It stands for its MsgServer while another one of it may do so, too.
    pub(crate) fn may_claim(&self) -> bool {
        self.is_open() && self.claim == Claim::None && self.is_listed()
    }
}
