//! What can be seen from outside: users, links, numbers for metrics. Nothing here changes anything.

use std::net::IpAddr;
use std::time::Duration;

use crate::explanation::Explanation;
use crate::ids::{LinkId, UserId};
use crate::links::{Identity, Links, Part};
use crate::presence::{Counts, Presence, Sessions};
use crate::report::{LinkReport, Relation, Reporter};
use crate::routing::Router;
use crate::status::{SessionView, Summary};
use crate::succession::Successions;
use crate::work::Work;

/// Numbers for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Open links.
    pub links: usize,
    /// Open links that have claimed.
    pub claimed: usize,
    /// Open links for which another one stands.
    pub shadows: usize,
    /// Open links whose gateway is detached.
    pub detached: usize,
    /// Seats that wait for a claim.
    pub seats: usize,
    /// Open links that wait for what could not be written to their predecessors.
    pub settling: usize,
    /// Users with a session, hidden or shadow ones included.
    pub users: usize,
    /// Sessions, likewise.
    pub sessions: usize,
    /// What the order of users that are not offline takes, bytes.
    pub roll_bytes: usize,
    /// Deliveries held at seats and for successors, bytes.
    pub held_bytes: usize,
    /// Since the start: envelopes whose audience was empty.
    pub without_target: u64,
    /// Since the start: deliveries dropped because a seat was full, or ended without a successor.
    pub seat_dropped: u64,
    /// Since the start: returned deliveries without a successor to get them.
    pub returned_dropped: u64,
}

/// The core, to look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    presence: &'a Presence,
    successions: &'a Successions,
    router: &'a Router,
    /// What outputs have cost.
    caused: &'a Work,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        presence: &'a Presence,
        successions: &'a Successions,
        router: &'a Router,
        caused: &'a Work,
    ) -> Self {
        View {
            presence,
            successions,
            router,
            caused,
        }
    }

    /// A user's status by both rules.
    pub fn summary(self, user: UserId) -> Summary {
        self.sessions().summary(user)
    }

    /// A user's visible sessions, newest first.
    pub fn sessions_of(self, user: UserId) -> impl Iterator<Item = SessionView> + use<'a> {
        self.sessions().seen(user)
    }

    /// Users that are not offline, with ids above this one, in the order of their ids.
    pub fn online_after(self, user: Option<UserId>) -> impl Iterator<Item = UserId> + use<'a> {
        let sessions = self.sessions();
        let users = sessions.roll().after(user);
        users.inspect(move |_| sessions.work().step())
    }

    /// How many users there are that are not offline.
    pub fn counts(self) -> Counts {
        self.sessions().roll().counts()
    }

    /// The legacy rule: does the user have any visible desktop login, away or not?
    pub fn legacy_online(self, user: UserId) -> bool {
        self.sessions().legacy_online(user)
    }

    /// Visits the users of up to `max` session records from `cursor` (0 at first) on, and returns
    /// where to go on. A user may be visited more than once; one who comes meanwhile may be left
    /// out.
    pub fn scan_users(
        self,
        cursor: usize,
        max: usize,
        visit: impl FnMut(UserId, Summary),
    ) -> Option<usize> {
        self.sessions().scan(cursor, max, visit)
    }

    /// Is this link open, as far as is known?
    pub fn is_open(self, id: LinkId) -> bool {
        self.index().slot(id).is_some()
    }

    /// A link that is open, or whose seat is held.
    pub fn link(self, id: LinkId) -> Option<LinkReport> {
        let reporter = self.reporter();
        reporter.report(reporter.slot(id)?)
    }

    /// Open links with ids above this one, in the order of their ids.
    pub fn links_after(self, after: LinkId) -> impl Iterator<Item = LinkReport> + use<'a> {
        let reporter = self.reporter();
        let slots = self.index().after(after);
        slots.filter_map(move |slot| reporter.report(slot))
    }

    /// Links and seats that are, or may be, of the same MsgServer as this one.
    pub fn relations(self, id: LinkId) -> impl Iterator<Item = Relation> + use<'a> {
        let reporter = self.reporter();
        let slot = reporter.slot(id).into_iter();
        slot.flat_map(move |slot| reporter.relations(slot))
    }

    /// Why a user is what he is.
    pub fn explain(self, user: UserId) -> Explanation {
        self.reporter().explain(user)
    }

    /// Active links that may have users of whom nothing is known: opaque, silent, without a list, or of a gateway that is
    /// away. At most 16, of the first 16 384.
    pub fn uncertain(self) -> Vec<LinkReport> {
        self.reporter().uncertain()
    }

    /// Links whose place this one has taken, the last one first.
    pub fn predecessors(self, id: LinkId) -> &'a [LinkId] {
        let slot = self.reporter().slot(id);
        slot.map_or(&[], |slot| &self.index()[slot].predecessors)
    }

    /// The link that receives now in the place of this one, which has closed or has been succeeded.
    pub fn stands_for(self, id: LinkId) -> Option<LinkId> {
        let slot = self.successions.stands_for(id, self.index())?;
        let link = &self.index()[slot];
        link.is_active().then_some(link.id)
    }

    /// Open links and seats that have this name, or else this address and no name, the newest first.
    pub fn newest_of(
        self,
        name: Option<&str>,
        address: IpAddr,
    ) -> impl Iterator<Item = LinkReport> + use<'a> {
        let identity = name.map_or(Identity::Address(address), |name| {
            Identity::Name(name.into())
        });
        let reporter = self.reporter();
        let slots = self.index().newest(&identity);
        let links = slots.filter_map(move |slot| reporter.report(slot));
        let is_named = name.is_some();
        links.filter(move |link| link.is_named == is_named)
    }

    /// Is this an open link that has not claimed, and no claimed link of its MsgServer, as far as
    /// that is known, stands?
    pub fn is_unclaimed(self, id: LinkId) -> bool {
        let links = self.index();
        let stands = |member: &u32| links[*member].is_claimed() && links[*member].is_active();
        links.slot(id).is_some_and(|slot| {
            let link = &links[slot];
            !link.is_claimed() && !links.kin(slot).any(|member| stands(&member))
        })
    }

    /// Numbers for metrics. Costs a walk over the links.
    pub fn stats(self) -> Stats {
        let mut stats = Stats {
            seats: self.successions.seats().count(),
            settling: self.successions.settling(),
            users: self.sessions().users(),
            sessions: self.sessions().sessions(),
            roll_bytes: self.counts().bytes(),
            held_bytes: self.successions.held_bytes(),
            without_target: self.router.without_target,
            seat_dropped: self.successions.seat_dropped,
            returned_dropped: self.successions.returned_dropped,
            ..Stats::default()
        };
        for (slot, link) in self.index().in_order() {
            stats.links += 1;
            stats.claimed += usize::from(link.is_claimed());
            stats.shadows += usize::from(link.part() == Some(Part::Shadow));
            stats.detached += usize::from(self.index().is_detached(slot));
        }
        stats
    }

    /// Bytes of memory that what is held for seats and for links that settle takes.
    pub fn held_bytes(self) -> usize {
        self.successions.held_bytes()
    }

    /// Steps that the core has taken so far: sessions, links and deliveries that it has looked at or made.
    pub fn work(self) -> u64 {
        let (sessions, links) = (self.sessions().work(), &self.index().work);
        let all = [sessions, links, &self.successions.work, self.caused];
        all.iter().map(|work| work.done()).sum()
    }

    /// When [`advance`](crate::Transaction::advance) has something to do next.
    pub fn next_deadline(self) -> Option<Duration> {
        let deadlines = self.successions.deadlines().map(|(until, _)| until);
        let doubted = self.index().doubted().next();
        let judged = self.index().judged().next();
        deadlines
            .chain(doubted.map(|(due, _)| due))
            .chain(judged.map(|(at, _)| at))
            .min()
    }

    /// Links of a gateway that others have succeeded, or that have left a seat, and that may still
    /// give something back.
    pub fn awaited_of(self, gateway: u64) -> Vec<LinkId> {
        self.successions.awaited_of(gateway)
    }

    /// Who of these users is online by the legacy rule, as the given link may see it, in order. A
    /// link sees every update of its own, even while another one stands in for it.
    pub fn legacy_online_for(self, link: LinkId, users: &[u32]) -> Vec<bool> {
        let sessions = self.sessions();
        let users = users.iter().map(|user| UserId(*user));
        let slot = self.index().slot(link);
        let waits = slot.and_then(|slot| match self.index()[slot].part()? {
            Part::Waiting { stand_in } => Some((stand_in, slot)),
            Part::Active | Part::Shadow => None,
        });
        match waits {
            Some((hidden, shown)) => users
                .map(|user| sessions.legacy_online_as_if(user, hidden, shown))
                .collect(),
            None => users.map(|user| sessions.legacy_online(user)).collect(),
        }
    }

    fn reporter(self) -> Reporter<'a> {
        Reporter {
            presence: self.presence,
            successions: self.successions,
            position: self.router.position,
        }
    }

    fn index(self) -> &'a Links {
        &self.presence.links
    }

    fn sessions(self) -> &'a Sessions {
        &self.presence.sessions
    }
}
