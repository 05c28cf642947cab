//! The rules as the played nodes follow them: the crate's own, or with one decision taken otherwise.

use std::collections::BTreeSet;
use std::time::Duration;

use route_leadership::{
    Admission, Asked, Beginning, Found, Lease, Record, Roster, Sight, State, Stored, TakeOver,
    Timing,
};

/// One life of a gateway.
pub(crate) type Member = u8;

/// Long enough for every age that matters: a clock that shows it, and stamps that get older beside it.
pub(crate) const NOW: Duration = Duration::from_secs(3);

/// Seconds of the model stand for more: a leader's clock may lose one of them.
pub(crate) const TIMING: Timing = Timing {
    serve: Duration::from_secs(2),
    lease: Duration::from_secs(3),
    quiet: Duration::from_secs(1),
    renew: Duration::from_secs(1),
};

/// A decision that is taken otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    // Rule 1
    LeaseFromTheAnswer,
    NoMarginForClocks,
    NobodyLooksAtTheClock,
    // Rule 2
    RosterOfTheNewTerm,
    SameTerm,
    NoComparison,
    RefusedAndGoesOn,
    EarlyWithoutHavingFollowed,
    ReleasedWithoutHavingFollowed,
    InterruptionsIgnored,
    // Rule 3
    ServesAtOnce,
    WelcomeIsEnough,
    AnyGatewayIsEnough,
    QuietIsOver,
    // Rule 4
    NewcomersAtOnce,
    NewcomersWhenTheWriteIsSent,
    GivenUpAreWelcome,
    UnansweredIsForgotten,
    AnyLifeOfAGateway,
    // Rule 5
    ClaimsIgnored,
    ClaimsByAnyWrite,
    // Rule 6
    ReleasedBeforeStreamsEnd,
    ReleasedByWhoHasNotServed,
    // Rule 7
    UnansweredIsSuccess,
    LeaseFromTheRead,
    WritesLookAlike,
    // What keeps a site going
    LaterClaimsAreRefused,
    WaitsForEverybody,
}

/// The rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) broken: Option<Broken>,
}

impl Rules {
    pub(crate) fn is(self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    pub(crate) fn holds(self, lease: &Lease) -> bool {
        if self.is(Broken::NobodyLooksAtTheClock) {
            return true;
        }
        let serve = if self.is(Broken::NoMarginForClocks) {
            TIMING.lease
        } else {
            TIMING.serve
        };
        lease.holds(NOW, &Timing { serve, ..TIMING })
    }

    /// Gateways may come or not: that decides how soon, not whether.
    pub(crate) fn may_take_over(self, sight: &Sight<Member>) -> Option<TakeOver> {
        let mut sight = sight.clone();
        if self.is(Broken::EarlyWithoutHavingFollowed)
            && let Some(seen) = &mut sight.seen
        {
            seen.followed = true;
        }
        if self.is(Broken::ReleasedWithoutHavingFollowed)
            && let Some(seen) = &mut sight.seen
            && let Some(stored) = &seen.stored
        {
            seen.followed |= stored.record.state == State::Released;
        }
        let mut take_over = sight.may_take_over(NOW, &TIMING, true)?;
        if self.is(Broken::QuietIsOver) {
            take_over.old_lease_over = NOW;
        }
        Some(take_over)
    }

    pub(crate) fn successor(
        self,
        sight: &Sight<Member>,
        node: u64,
        counter: u64,
    ) -> Record<Member> {
        let mut record = sight.successor(node, counter);
        if self.is(Broken::RosterOfTheNewTerm) {
            record.roster.clear();
        }
        if self.is(Broken::SameTerm) {
            record.term = record.term.max(2) - 1;
        }
        record
    }

    pub(crate) fn may_serve(self, beginning: &Beginning<Member>, everybody: usize) -> bool {
        if self.is(Broken::ServesAtOnce) {
            return true;
        }
        if self.is(Broken::AnyGatewayIsEnough) && beginning.missing.len() < everybody {
            return true;
        }
        if self.is(Broken::WaitsForEverybody) {
            return beginning.missing.is_empty();
        }
        beginning.may_serve(NOW)
    }

    pub(crate) fn admission(
        self,
        roster: &Roster<Member>,
        member: Member,
        claim: u64,
        term: u64,
    ) -> Admission {
        let claim = if self.is(Broken::ClaimsIgnored) {
            0
        } else {
            claim
        };
        let mut roster = roster.clone();
        if self.is(Broken::NewcomersAtOnce) {
            roster.certain.insert(member);
        }
        if self.is(Broken::NewcomersWhenTheWriteIsSent)
            && let Some(asked) = &roster.asked
        {
            roster.certain.extend(asked);
        }
        if self.is(Broken::AnyLifeOfAGateway)
            && roster.certain.iter().any(|other| other / 4 == member / 4)
        {
            roster.certain.insert(member);
        }
        roster.admission(&member, claim, term)
    }

    pub(crate) fn ask(self, roster: &mut Roster<Member>, named: BTreeSet<Member>) {
        let certain = roster.certain.clone();
        roster.ask(named);
        if self.is(Broken::GivenUpAreWelcome) {
            roster.certain = certain;
        }
    }

    pub(crate) fn accepted(self, lease: &mut Lease, revision: u64) {
        lease.accepted(revision);
        if self.is(Broken::LeaseFromTheAnswer) {
            lease.sent = NOW;
        }
    }

    pub(crate) fn first(self, asked: Asked, revision: u64) -> Lease {
        let mut lease = Lease::new(asked, revision);
        if self.is(Broken::LeaseFromTheAnswer) {
            lease.sent = NOW;
        }
        lease
    }

    pub(crate) fn found(
        self,
        lease: &mut Lease,
        node: u64,
        stored: Option<&Stored<Member>>,
    ) -> Found {
        let found = lease.found(node, stored);
        if self.is(Broken::LeaseFromTheRead) && found != Found::Lost {
            lease.sent = NOW;
        }
        found
    }

    pub(crate) fn may_release(self, state: State) -> bool {
        self.is(Broken::ReleasedByWhoHasNotServed) || state.may_release()
    }
}
