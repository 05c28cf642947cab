//! Which link stands for a MsgServer.
//!
//! A MsgServer may be connected to several gateways. It claims one of its connections, reports
//! status on all of them and everything else on the claimed one; when that dies, it claims another
//! within milliseconds. The protocol carries no identity. So the operator may give a name: links of
//! one name are of one MsgServer. Others are compared with the links of their address, for several
//! MsgServers may share it: by the sessions (user and client type) that both hold. A link **counts**
//! when its first list is complete; one that does not matters to nobody. The rules:
//!
//! 1. A claimed link is **active**: it receives, its sessions are presence, its updates cause
//!    notices. An unclaimed one is active, too, unless it is a **shadow**, whose table is kept
//!    silently: it has no sessions while a claimed link that counts, or a seat, may be of its
//!    MsgServer, or a claimed link has its name; or one of these holds more than half of its
//!    sessions, or it holds much the same as an unclaimed link that is older or stands already.
//! 2. What lists and claims say holds at once. What updates say, only after [`DOUBT`]: the same
//!    login may be read on either connection first. A link that has done nothing since may be dead,
//!    and a claimed one may be cut: before their gateways would have told, no shadow begins to stand.
//! 3. A shadow that claims **succeeds** the link whose shadow it is, whether or not the end of that
//!    link is known: it gets what could not be sent to it, its table replaces the other's, and
//!    notices are made for the differences only, piece by piece. The old one is a shadow from then on, and its
//!    gateway is asked to close it.
//! 4. Any other claimed link is a MsgServer of its own. If another claimed link holds much the same
//!    when its list and its claim are there, and still does when that one closes, it succeeds it; at
//!    once, if its gateway is away or both have one name.
//! 5. A claimed link that closes leaves a **seat** while an open link may be of its MsgServer: its
//!    sessions stay, what is routed to it is held. The claim of a link that holds much the same
//!    inherits. If nobody claims in time, a shadow of it **stands in**. A seat without a link that
//!    may claim it ends at once, unless its gateway has closed the link because it stops: then the
//!    MsgServer comes back. A link whose own claimed link lives never gets another's seat.
//! 6. If the gateway of a claimed link comes back after another link has begun to stand in for it,
//!    it **waits** as a shadow, for as long as its stand-in lives.
//!
//! With more than 16 links at one address, or of one name, nothing is compared, until all of them
//! are gone: claimed links stand, unclaimed ones without a name keep their part, seats and
//! successions are for names. Of such a name only those that stand and the oldest are looked at.
//!
//! [`Standing`] decides, and changes nothing. `parts` carries out what it decides.

mod hearing;
mod inheritance;
mod likeness;
mod namesakes;
mod outcome;
pub(crate) mod parts;
mod places;
mod reasons;
pub(crate) mod strangers;
mod transitions;

use std::time::Duration;

use crate::ids::LinkId;
use crate::links::{Claim, Links, Part, Phase};
use crate::presence::Presence;
use likeness::Likeness;
pub(crate) use outcome::{Due, Outcome, Return};
pub use reasons::PartReason;

/// How long updates have to contradict a link's part before it changes: by then both connections
/// of a MsgServer have told of a login.
const DOUBT: Duration = Duration::from_secs(2);
/// How long a link has in which it does nothing: by then its gateway has told if nothing is heard of it.
const UNHEARD: Duration = Duration::from_secs(9);

/// Two unclaimed links are compared if each holds as much as this.
const FEW: u32 = 3;

/// The facts by which it is decided which link stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    presence: &'a Presence,
    /// Of the last thing that was routed.
    position: u64,
}

impl<'a> Standing<'a> {
    /// As things are now.
    pub(crate) fn new(presence: &'a Presence, position: u64) -> Self {
        Standing { presence, position }
    }

    /// Whose shadow an unclaimed link is: a leading link's, or a seat's.
    pub(crate) fn master(&self, slot: u32) -> Option<u32> {
        let held = self.held_by(slot);
        let nearest = self.nearest(slot).filter(|leader| {
            let shared = u64::from(self.links().shared(slot, *leader));
            held == 0 || self.links().are_one(slot, *leader) || shared * 2 > u64::from(held)
        });
        self.succeeded(slot).or(nearest)
    }

    /// The leading link, or the seat, whose place this one has taken already, as an earlier node
    /// decided: they are of one MsgServer, whatever they hold now.
    fn succeeded(&self, slot: u32) -> Option<u32> {
        let links = self.links();
        let before = &links[slot].predecessors;
        if before.is_empty() {
            return None;
        }
        let mut leaders = self.leaders(slot);
        leaders.find(|leader| before.contains(&links[*leader].id))
    }

    /// The leading link, or the seat, that has most in common with this one. Open links come before
    /// seats, so that a link whose own claimed link lives is no other's.
    fn nearest(&self, slot: u32) -> Option<u32> {
        let links = self.links();
        self.leaders(slot).max_by_key(|leader| {
            let named = links.are_one(slot, *leader);
            (named, links.shared(slot, *leader), links[*leader].is_open())
        })
    }

    /// The leading link, or the seat, that has much in common with this unclaimed one. That stays
    /// known when they are told of at different speed.
    pub(crate) fn tie(&self, slot: u32) -> Option<LinkId> {
        let is_alone = || self.leaders(slot).count() == 1;
        let is_like = |leader: &u32| {
            let likeness = self.likeness(slot, *leader);
            likeness.is_great() || (likeness.is_of_nothing() && is_alone())
        };
        let leader = self.nearest(slot).filter(is_like);
        leader.map(|leader| self.links()[leader].id)
    }

    /// The unclaimed link, older than it if both stand, that stands for the MsgServer of this unclaimed one.
    fn elder(&self, slot: u32) -> Option<u32> {
        let links = self.links();
        let mut kin = links.kin(slot);
        kin.find(|other| {
            let (elder, link) = (&links[*other], &links[slot]);
            let likeness = self.likeness(slot, *other);
            let is_older = elder.seniority() > link.seniority();
            let enough = self.held_by(slot).min(self.held_by(*other)) >= FEW;
            // Of a name one stands, even before anybody has listed, or has any users.
            if likeness.named && !elder.is_listed() && self.held_by(slot) == 0 {
                let comes_first = elder.is_claimed() || (is_older && !link.is_listed());
                return elder.is_active() && comes_first;
            }
            let may_stand = elder.is_active() && elder.claim == Claim::None && elder.is_listed();
            // One that is a shadow so far stays one.
            let is_elder = is_older || !link.is_listed() || !link.is_active();
            let is_one = likeness.named || (enough && likeness.is_great());
            may_stand && is_elder && is_one
        })
    }

    /// Another link of this one's MsgServer that receives, as far as can be told: nothing that this
    /// one sends goes there.
    pub(crate) fn partner(&self, slot: u32) -> Option<u32> {
        let links = self.links();
        let link = &links[slot];
        match link.part()? {
            Part::Waiting { stand_in } => Some(stand_in),
            Part::Shadow => self.stands_for(slot),
            // Who would supersede it, or it, holds much the same.
            Part::Active if link.shares_nothing() && link.supersedes.is_none() => None,
            Part::Active => {
                let superseded = link.supersedes.and_then(|id| links.slot(id));
                let superseded = superseded.filter(|other| self.likeness(slot, *other).is_great());
                superseded.or_else(|| self.heir(slot))
            }
        }
    }

    /// The link that receives for this shadow, if it holds anything by which that can be told.
    fn stands_for(&self, slot: u32) -> Option<u32> {
        let is_told = |other: &u32| self.held_by(slot) > 0 || self.links().are_one(slot, *other);
        let links = self.links();
        let is_companion = !links[slot].is_listed();
        let stands = self.superior(slot).filter(is_told);
        stands.filter(|_| !is_companion)
    }

    /// Whose shadow an unclaimed link is. One of its name comes before one that only shares its address.
    fn superior(&self, slot: u32) -> Option<u32> {
        let (master, elder) = (self.master(slot), self.elder(slot));
        let has_its_name = |other: &u32| self.links().are_one(slot, *other);
        let named = master.filter(has_its_name);
        let named = named.or_else(|| elder.filter(has_its_name));
        named.or(master).or(elder)
    }

    /// The part of an open unclaimed link, as its sessions and those of others say now.
    pub(crate) fn due(&self, slot: u32, now: Duration) -> Due {
        let link = &self.links()[slot];
        let is_shadow = link.part() == Some(Part::Shadow);
        let is_new = link.opened().is_some_and(|opened| opened + DOUBT > now);
        let is_restored = link.opened().is_none() && link.known + DOUBT > now;
        let follows = is_shadow || (is_new && !link.has_inherited);
        self.due_after(slot, follows, is_restored)
    }

    /// It has stood for a while, and what `decided`, if anything, is not its own list, nor that or
    /// the claim of a link that would stand for it: only time decides.
    pub(crate) fn may_stay(&self, slot: u32, now: Duration, decided: Option<u32>) -> bool {
        let link = &self.links()[slot];
        let is_new = link.known + DOUBT > now && !link.has_inherited;
        let concerns = |by| [Some(slot), self.nearest(slot), self.elder(slot)].contains(&Some(by));
        let stands = link.is_active() && link.is_listed() && self.held_by(slot) > 0;
        stands && !is_new && !decided.is_some_and(concerns)
    }

    /// The same for an unclaimed link that has just been restored.
    pub(crate) fn due_of_restored(&self, slot: u32) -> Due {
        self.due_after(slot, false, true)
    }

    /// `follows`: it is, or may be, a shadow so far. `is_restored`: just now, so that what links hold may be of two moments.
    fn due_after(&self, slot: u32, follows: bool, is_restored: bool) -> Due {
        if let Some(other) = self.superior(slot) {
            return match namesakes::is_strange(*self, slot, other) {
                true => Due::Doubted,
                false => Due::Now(Part::Shadow),
            };
        }
        let of_leader = |leader| u64::from(self.links().shared(slot, leader));
        let shared: u64 = self.leaders(slot).map(of_leader).sum();
        // One of which nothing is heard may have missed that its users have left.
        let restored = is_restored && (shared > 0 || self.links()[slot].silent);
        let has_name = self.links()[slot].msg_server.is_some();
        if follows && !has_name && self.links().is_in_claiming_crowd(slot) {
            return Due::Now(Part::Shadow);
        }
        if self.leaders(slot).next().is_none() || !(follows || restored) {
            return Due::Now(Part::Active);
        }
        if shared * 2 >= u64::from(self.held_by(slot)) {
            return Due::Now(Part::Shadow);
        }
        Due::Doubted
    }

    /// This link, or a claimed one that may be of its MsgServer, has done nothing since then.
    pub(crate) fn any_may_be_dead(&self, slot: u32, since: Duration) -> bool {
        let links = self.links();
        let mut all = self.open_leaders(slot).chain([slot]);
        all.any(|it| links[it].acted < since)
    }

    /// Of no claimed link that may be of its MsgServer is nothing heard: one that is cut in one
    /// direction is closed soon.
    pub(crate) fn leaders_are_heard(&self, slot: u32) -> bool {
        let links = self.links();
        self.open_leaders(slot).all(|it| !links[it].silent)
    }

    fn leaders_of_nothing(&self, slot: u32) -> usize {
        let leaders = self.leaders(slot);
        leaders.filter(|it| self.held_by(*it) == 0).count()
    }

    /// If nobody has a name, that is all that is known.
    fn open_leaders(&self, slot: u32) -> impl Iterator<Item = u32> + use<'_, 'a> {
        let links = self.links();
        let has_no_name = |slot: u32| links[slot].msg_server.is_none();
        let leaders = self.leaders(slot).filter(move |_| has_no_name(slot));
        leaders.filter(move |it| links[*it].is_open() && has_no_name(*it))
    }

    /// Every gateway is here, so that what other links have told is known.
    pub(crate) fn is_known(&self) -> bool {
        !self.links().reach.any_absent()
    }

    /// From whom a claiming link inherits at once.
    pub(crate) fn predecessor(&self, slot: u32) -> Option<u32> {
        let links = self.links();
        // Before its list, a claim is that of a MsgServer that has just connected.
        if !links[slot].is_listed() {
            return None;
        }
        if let Some(before) = self.succeeded(slot) {
            return Some(before);
        }
        let tied = links[slot].tied.and_then(|id| links.slot(id));
        // Of two MsgServers with one name, its own.
        if let Some(tied) = tied.filter(|tied| links.are_one(slot, *tied)) {
            let mut leaders = self.leaders(slot);
            return leaders.find(|it| *it == tied).or_else(|| self.likest(slot));
        }
        self.likest(slot)
    }

    fn likest(&self, slot: u32) -> Option<u32> {
        let links = self.links();
        self.best(
            slot,
            self.leaders(slot).filter(|leader| {
                let likeness = self.likeness(slot, *leader);
                let of_nothing = likeness.is_of_nothing()
                    && (links[*leader].is_seat() || self.leaders_of_nothing(slot) == 1);
                let is_tied = links[slot].tied == Some(links[*leader].id);
                likeness.is_great() || is_tied || of_nothing
            }),
        )
    }

    /// Of a link that claimed before its list: whom it succeeds now, because it is that of a
    /// MsgServer that came back.
    pub(crate) fn vacant(&self, slot: u32) -> Option<u32> {
        let links = self.links();
        if !links[slot].is_claimed() {
            return None;
        }
        let is_vacant = |leader: &u32| {
            let gone = !links[*leader].is_open() || links.is_detached(*leader);
            let likeness = self.likeness(slot, *leader);
            let is_contested = namesakes::is_contested(*self, slot, *leader);
            (likeness.named && !is_contested) || (gone && likeness.is_great())
        };
        self.best(slot, self.leaders(slot).filter(is_vacant))
    }

    /// Another link of its name stands with its list, or has left a seat.
    pub(crate) fn is_led(&self, slot: u32) -> bool {
        let links = self.links();
        let stands = |other: &u32| {
            let link = &links[*other];
            link.is_seat() || (link.is_active() && link.is_listed())
        };
        let mut others = links.kin(slot).filter(stands);
        others.any(|other| links.are_one(slot, other))
    }

    /// The claimed link that this claimed one will succeed when it closes.
    pub(crate) fn superseded(&self, slot: u32) -> Option<u32> {
        let links = self.links();
        if !links[slot].is_listed() {
            return None;
        }
        let open = |leader: &u32| links[*leader].is_open();
        let alike = |leader: &u32| self.likeness(slot, *leader).is_great();
        self.best(slot, self.leaders(slot).filter(open).filter(alike))
    }

    /// A link that a predecessor of this node, or this node until it lost the gateway, knew as
    /// claimed is back with its table. Which of its MsgServer's links stands for it now? `heir`: an
    /// open link that has succeeded it.
    pub(crate) fn back(&self, slot: u32, heir: Option<u32>) -> Return {
        let links = self.links();
        let serves = |member: &u32| {
            let other = &links[*member];
            other.is_active() && other.is_listed() && self.likeness(slot, *member).is_great()
        };
        let alike = || self.best(slot, links.kin(slot).filter(serves));
        let before = || self.succeeded(slot).filter(|it| links[*it].is_active());
        let Some(other) = heir.or_else(before).or_else(alike) else {
            return Return::Stands;
        };
        match (links[slot].claim, links[other].claim) {
            (Claim::Claimed { at }, Claim::Claimed { at: others }) if others > at => {
                Return::IsSucceeded(other)
            }
            (_, Claim::Claimed { .. }) => Return::Succeeds(other),
            // Two links' reports cannot be compared in the middle of their streams.
            (_, Claim::StandIn) => Return::Waits { stand_in: other },
            (_, Claim::None) if self.has_served(other) => Return::Waits { stand_in: other },
            (_, Claim::None) => Return::Stands,
        }
    }

    /// The open link that waits for this one, its stand-in.
    pub(crate) fn waits_for(&self, stand_in: u32) -> Option<u32> {
        let waits = Phase::Open(Part::Waiting { stand_in });
        let mut kin = self.links().kin(stand_in);
        kin.find(|member| self.links()[*member].phase == waits)
    }

    /// What they hold says that they are of one MsgServer.
    pub(crate) fn are_alike(&self, a: u32, b: u32) -> bool {
        self.likeness(a, b).of_tables()
    }

    /// Something was routed to it while it was active.
    pub(crate) fn has_served(&self, slot: u32) -> bool {
        let link = &self.links()[slot];
        link.is_active() && self.position >= link.serves_from
    }

    /// Seats, and open links that lead, that are or may be of the MsgServer of this link.
    fn leaders(&self, slot: u32) -> impl Iterator<Item = u32> + use<'_, 'a> {
        let links = self.links();
        links.kin(slot).filter(move |member| {
            let link = &links[*member];
            link.is_seat() || (link.leads() && link.is_active())
        })
    }

    /// The one that is most like this link. Of equals, an open link before a seat if they hold
    /// anything, the newest before the others.
    fn best(&self, slot: u32, others: impl Iterator<Item = u32>) -> Option<u32> {
        let mut best: Option<(u32, Likeness)> = None;
        for other in others {
            let likeness = self.likeness(slot, other);
            let better = best.is_none_or(|(chosen, before)| {
                let prefers_seat = likeness.is_of_nothing() || likeness.named;
                let as_good = !before.exceeds(likeness);
                let kind = self.links()[other].is_seat() == prefers_seat
                    || self.links()[chosen].is_seat() != prefers_seat;
                likeness.exceeds(before) || (as_good && kind)
            });
            if better {
                best = Some((other, likeness));
            }
        }
        best.map(|(chosen, _)| chosen)
    }

    fn likeness(&self, a: u32, b: u32) -> Likeness {
        Likeness {
            named: self.links().are_one(a, b),
            shared: self.links().shared(a, b),
            larger: self.held_by(a).max(self.held_by(b)),
        }
    }

    fn held_by(&self, slot: u32) -> u32 {
        self.presence.sessions.held_by(slot)
    }

    fn links(&self) -> &'a Links {
        &self.presence.links
    }
}

#[cfg(test)]
mod tests;
