//! What is known of one link.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::change::{CloseReason, PREDECESSORS, Peer, Restored, micros};
use crate::ids::LinkId;

/// One MsgServer connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) peer: SocketAddr,
    /// What the operator calls its MsgServer, if that is said.
    pub(crate) msg_server: Option<Arc<str>>,
    /// Of the links that there have been, by age.
    pub(super) number: u64,
    /// Since when this node knows it.
    pub(crate) known: Duration,
    /// It is restored, and was opened then: as in [`Restored`].
    restored: Option<i64>,
    pub(crate) phase: Phase,
    pub(crate) claim: Claim,
    pub(crate) reported: Reported,
    /// Its table cannot be trusted, so it gets everything.
    pub(super) opaque: bool,
    /// It has reported more than is kept: its table will not be complete any more.
    pub(super) overflows: bool,
    /// Highest sequence applied.
    pub(crate) sequence: u64,
    /// The claimed link that held much the same when both its claim and its list were there: if that
    /// is still so when that one closes, it succeeds it.
    pub(crate) supersedes: Option<LinkId>,
    /// Its gateway, though it reads, has heard nothing of it for longer than a heartbeat.
    pub(crate) silent: bool,
    /// When it is decided what its silence means.
    pub(super) judged: Option<Duration>,
    /// When it took the place of a link of its name that was open and not silent.
    pub(crate) ousted: Option<Duration>,
    /// Links of its name that are another MsgServer's, by mistake: of those that are compared.
    pub(crate) rivals: Vec<LinkId>,
    /// The leading link with which it has had much in common, the last one.
    pub(crate) tied: Option<LinkId>,
    /// By slot: how many of its sessions these links hold, too.
    pub(super) shared: Vec<(u32, u32)>,
    /// Whose place it has taken, the last one first; [`PREDECESSORS`] at most.
    pub(crate) predecessors: Vec<LinkId>,
    /// It has taken another one's place, so it is known whose it is.
    pub(crate) has_inherited: bool,
    /// Its sessions say that it should play another part.
    pub(crate) doubted: Option<Doubt>,
    /// When it has done something last.
    pub(crate) acted: Duration,
    /// The first position that was routed to it since it became active.
    pub(crate) serves_from: u64,
}

/// A part that may not be the right one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Doubt {
    pub(crate) since: Duration,
    /// When that is decided.
    pub(crate) due: Duration,
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
    Ended(CloseReason),
}

/// Which part a link plays for its MsgServer.
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

impl Link {
    /// A link that has just been opened, or is known from before.
    pub(crate) fn new(
        id: LinkId,
        sequence: u64,
        peer: Peer<'_>,
        now: Duration,
        restored: Option<Restored>,
    ) -> Self {
        let claimed_at = restored.and_then(|restored| restored.claimed_at);
        Link {
            id,
            peer: peer.address,
            msg_server: peer.msg_server.map(Arc::from),
            number: 0,
            known: now,
            restored: restored.map(|restored| restored.opened_at),
            phase: Phase::Open(Part::Active),
            claim: claimed_at.map_or(Claim::None, |at| Claim::Claimed { at }),
            reported: match restored {
                Some(Restored { listed: true, .. }) => Reported::List,
                Some(Restored { reported: true, .. }) => Reported::Something,
                Some(Restored { .. }) | None => Reported::Nothing,
            },
            opaque: restored.is_some_and(|restored| restored.opaque),
            overflows: false,
            sequence,
            supersedes: None,
            silent: restored.is_some_and(|restored| restored.silent),
            judged: None,
            ousted: None,
            rivals: Vec::new(),
            tied: None,
            shared: Vec::new(),
            predecessors: Vec::new(),
            has_inherited: false,
            doubted: None,
            acted: now,
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

    /// When it was opened, unless it is restored.
    pub(crate) fn opened(&self) -> Option<Duration> {
        self.restored.is_none().then_some(self.known)
    }

    /// When it was opened, in any case: as in [`Restored`].
    pub(crate) fn opened_at(&self) -> i64 {
        self.restored.unwrap_or_else(|| micros(self.known))
    }

    pub(crate) fn is_seat(&self) -> bool {
        matches!(self.phase, Phase::Seat(_))
    }

    /// No other link is known to hold one of its sessions.
    pub(crate) fn shares_nothing(&self) -> bool {
        self.shared.is_empty()
    }

    /// Nothing but sessions is left of it.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
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

    /// It takes the place of these, the last one first.
    pub(crate) fn succeeds(&mut self, others: impl IntoIterator<Item = LinkId>) {
        let before = std::mem::take(&mut self.predecessors);
        for other in others.into_iter().chain(before) {
            if self.predecessors.len() < PREDECESSORS && !self.predecessors.contains(&other) {
                self.predecessors.push(other);
            }
        }
    }

    /// The more, the older.
    pub(crate) fn seniority(&self) -> Reverse<u64> {
        Reverse(self.number)
    }

    /// Its MsgServer has, or seems to have, no better one, and its users are known.
    pub(crate) fn leads(&self) -> bool {
        match self.claim {
            Claim::None => false,
            Claim::StandIn => true,
            Claim::Claimed { .. } => self.is_listed(),
        }
    }
}
