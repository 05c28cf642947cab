//! The parts that links play, and how they change: what [`Standing`] decides is carried out.

mod following;
mod silence;

use std::time::Duration;

use super::differences::differences;
use super::inheritance::take_place;
use super::{Due, Outcome, Return, Standing, transitions};
use crate::change::{CloseReason, Effect, micros};
use crate::ending::Ending;
use crate::event_log::ChangeReason;
use crate::ids::LinkId;
use crate::links::{Claim, End, Link, Part, Phase, Reach};
use crate::routing::{Cause, Routing};
use crate::settings::Settings;
use crate::transition::TransitionKind;

/// The links' parts, and what changes with them.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) now: Duration,
    pub(crate) settings: Settings,
    pub(crate) ending: &'a mut Ending,
    pub(crate) routing: Routing<'a>,
}

impl Parts<'_> {
    /// A link is opened, or known from before.
    pub(crate) fn open(&mut self, mut link: Link) {
        // Which part a restored one plays is decided when its table is there.
        let decided = link.opened.is_some();
        if decided {
            link.serves_from = self.routing.router.next_position();
        } else {
            link.phase = Phase::Open(Part::Shadow);
        }
        let slot = self.routing.presence.open(link);
        if self.routing.presence.links[slot].silent {
            self.await_judgement(slot);
        }
        let crowd = self.routing.presence.links.crowd_made_by(slot);
        if !crowd.is_empty() {
            self.notes(slot, TransitionKind::Crowds, None);
        }
        // Of a crowd, nobody knows who waits for whom.
        for member in crowd {
            if let Some(Part::Waiting { .. }) = self.routing.presence.links[member].part() {
                self.stand_alone(member, ChangeReason::Standing);
            }
        }
        if decided {
            self.regroup(slot);
        }
    }

    /// A link says that it is its MsgServer's primary connection.
    pub(crate) fn claim(&mut self, slot: u32, sequence: u64, effect: Effect) {
        let link = &mut self.routing.presence.links[slot];
        let id = link.id;
        let stood_in = link.claim == Claim::StandIn && link.is_active();
        if link.is_claimed() {
            return;
        }
        link.claim = Claim::Claimed {
            at: micros(self.now),
        };
        self.routing.presence.links.claims(slot);
        if let Some(other) = self.standing().waits_for(slot) {
            // It receives already; now it is the primary one, too.
            let links = &mut self.routing.presence.links;
            links[other].phase = Phase::Open(Part::Shadow);
            let before = links[other].id;
            let predecessors = links.succeeds(other, slot);
            let from = self.routing.router.next_position();
            self.routing.successions.record(before, id, from);
            self.routing.out.take_over(id, predecessors, Vec::new());
        }
        self.notes(slot, TransitionKind::Claims, None);
        if !stood_in {
            match self.standing().predecessor(slot) {
                Some(from) => self.inherit(from, slot, Cause::entry(id, sequence), effect),
                // With its list it takes the place of another link; what that one holds is older.
                None if self.waits_for_list(slot) && self.standing().is_led(slot) => {}
                None => self.stand_alone(slot, ChangeReason::Standing),
            }
        }
        self.regroup(slot);
    }

    /// A link that was known before is back with its table.
    pub(crate) fn restored(&mut self, slot: u32) {
        let links = &self.routing.presence.links;
        if !links[slot].is_claimed() {
            let due = self.standing().due_of_restored(slot);
            self.play(slot, due.part());
            self.doubt(slot, due == Due::Doubted);
            self.regroup(slot);
            return;
        }
        let heir = self.routing.successions.stands_for(links[slot].id, links);
        let heir = heir.filter(|heir| links[*heir].is_active());
        let stands = self.standing().back(slot, heir);
        self.stand_alone(slot, ChangeReason::Listed);
        match stands {
            Return::Succeeds(old) => self.inherit_silently(old, slot),
            Return::IsSucceeded(new) => self.inherit_silently(slot, new),
            Return::Waits { stand_in } => {
                self.step_back(slot, Part::Waiting { stand_in });
                self.routing.presence.links[stand_in].claim = Claim::StandIn;
            }
            Return::Stands => {}
        }
        self.regroup(slot);
    }

    /// A link's first list is complete.
    pub(crate) fn first_list_is_complete(&mut self, slot: u32, sequence: u64, effect: Effect) {
        let link = &self.routing.presence.links[slot];
        let (id, is_claimed) = (link.id, link.is_claimed());
        if is_claimed {
            self.find_rival(slot);
        }
        if let Some(vacant) = self.standing().vacant(slot) {
            self.inherit(vacant, slot, Cause::entry(id, sequence), effect);
        } else if is_claimed {
            self.stand_alone(slot, ChangeReason::Standing);
        }
        self.regroup(slot);
    }

    /// What a link lists cannot be read: it will have no list, and gets everything.
    pub(crate) fn unreadable(&mut self, slot: u32) {
        self.routing.presence.links.set_opaque(slot, true);
        if self.waits_for_list(slot) {
            self.stand_alone(slot, ChangeReason::Standing);
        }
    }

    /// It has claimed, and gets nothing before its list.
    fn waits_for_list(&self, slot: u32) -> bool {
        let link = self.routing.presence.links.get(slot);
        link.is_some_and(|link| {
            link.is_claimed() && !link.is_listed() && link.part() == Some(Part::Shadow)
        })
    }

    /// The connection of a link is gone.
    pub(crate) fn close(&mut self, slot: u32, sequence: u64, reason: CloseReason, effect: Effect) {
        let closing = self.standing().closing(slot);
        let kin = self.routing.presence.links.kin(slot).collect::<Vec<_>>();
        let id = self.end_connection(slot, reason);
        match closing {
            Outcome::Inherits(heir) => {
                self.inherit(slot, heir, Cause::entry(id, sequence), effect);
            }
            Outcome::Seat => self.leave_seat(slot, reason),
            Outcome::Ends => self.end(slot),
        }
        self.is_gone(slot, &kin);
    }

    /// A gateway will not come back: its links end, all at once, so that nothing goes to one of
    /// them because of the end of another.
    pub(crate) fn lose_gateway(&mut self, gateway: u64) {
        const REASON: CloseReason = CloseReason::GatewayLost;
        let links = &mut self.routing.presence.links;
        links.reach.set(gateway, Reach::Here);
        let lost: Vec<u32> = links.of_gateway(gateway).map(|(slot, _)| slot).collect();
        let (standing, ending): (Vec<u32>, Vec<u32>) = lost.into_iter().partition(|slot| {
            let link = &self.routing.presence.links[*slot];
            link.is_active() && (link.leads() || self.standing().junior(*slot).is_some())
        });
        for slot in &standing {
            self.end_connection(*slot, REASON);
            self.leave_seat(*slot, REASON);
        }
        for slot in &ending {
            self.end_connection(*slot, REASON);
        }
        for slot in ending {
            let kin = self.routing.presence.links.kin(slot).collect::<Vec<_>>();
            self.end(slot);
            self.is_gone(slot, &kin);
        }
        for slot in standing {
            let links = &self.routing.presence.links;
            if links.get(slot).is_none_or(|link| !link.is_seat()) {
                continue;
            }
            let kin = links.kin(slot).collect::<Vec<_>>();
            // Who has not claimed another link by now does not know that it should.
            match self.standing().heir(slot) {
                Some(heir) => self.inherit(slot, heir, self.cause_of_node(), Effect::Notify),
                None => self.vacate(slot),
            }
            self.is_gone(slot, &kin);
        }
    }

    /// Ends what is due: seats without a successor, and waiting for returns that do not come.
    pub(crate) fn advance(&mut self) {
        let due = self.routing.successions.deadlines();
        let due = due.filter(|(until, _)| *until <= self.now);
        let mut due: Vec<u32> = due.map(|(_, slot)| slot).collect();
        due.sort_unstable();
        for slot in due {
            let links = &self.routing.presence.links;
            if links[slot].is_seat() {
                let kin = links.kin(slot).collect::<Vec<_>>();
                self.vacate(slot);
                self.regroup_all(&kin, None);
            } else {
                self.routing.successions.settle(slot, self.routing.out);
            }
        }
        self.dispel();
        self.judge_silent();
    }

    /// Nobody has claimed a seat.
    fn vacate(&mut self, slot: u32) {
        match self.standing().vacancy(slot) {
            Outcome::Inherits(heir) => {
                self.inherit(slot, heir, self.cause_of_node(), Effect::Notify);
            }
            Outcome::Seat => {
                let until = self.now + self.settings.seat_hold;
                self.routing.successions.prolong_seat(slot, until);
            }
            Outcome::Ends => self.seat_ends(slot),
        }
    }

    /// `to` takes the place of `from`: presence, deliveries, and notices for the differences.
    fn inherit(&mut self, from: u32, to: u32, mut cause: Cause, effect: Effect) {
        let links = &self.routing.presence.links;
        let kind = transitions::of_heir(&links[to]);
        self.notes(to, kind, Some(links[from].id));
        let has_served = self.standing().has_served(to);
        // Until this is told, the close that left the seat is not.
        let causes = self.routing.successions.causes(from);
        let before = self.routing.out.also_caused_by(&causes);
        let was_active = self.routing.presence.links[to].is_active();
        let differences = differences(&self.routing.presence.sessions, from, to, was_active);
        let is_new = !self.standing().are_alike(from, to);
        let how = (has_served, is_new);
        let is_open = take_place(&mut self.routing, self.now, from, to, how);
        if !is_open {
            self.end(from);
        }
        if effect == Effect::Notify {
            for (client, status) in differences {
                self.routing.notify(&mut cause, client, status);
            }
        }
        self.routing.out.no_more(before);
    }

    /// Of two restored links that have claimed, the later one succeeds the other.
    fn inherit_silently(&mut self, old: u32, new: u32) {
        let new_link = &self.routing.presence.links[new];
        let cause = Cause::entry(new_link.id, new_link.sequence);
        self.inherit(old, new, cause, Effect::Silent);
    }

    /// The link is active without having inherited, yet. `reason`: why its users are seen.
    fn stand_alone(&mut self, slot: u32, reason: ChangeReason) {
        let links = &self.routing.presence.links;
        let other = self.standing().superseded(slot);
        let superseded = other.map(|other| links[other].id);
        if superseded.is_some() {
            self.notes(slot, TransitionKind::Supersedes, superseded);
        }
        self.routing.presence.links[slot].supersedes = superseded;
        self.activate(slot, reason);
    }

    /// A connection is gone: whoever waits for it and has not inherited stands for itself, and a
    /// seat that nobody can claim any more ends.
    fn is_gone(&mut self, closed: u32, kin: &[u32]) {
        let waits = Phase::Open(Part::Waiting { stand_in: closed });
        for slot in kin {
            let Some(link) = self.routing.presence.links.get(*slot) else {
                continue;
            };
            if link.phase == waits {
                self.stand_alone(*slot, ChangeReason::Standing);
            } else if link.is_seat() && !self.standing().may_be_claimed(*slot) {
                self.seat_ends(*slot);
            }
        }
        self.wake_waiting(kin);
        self.regroup_all(kin, None);
    }

    /// The link receives what is routed from now on. `reason`: why its users are seen.
    fn activate(&mut self, slot: u32, reason: ChangeReason) {
        let Routing {
            router,
            presence,
            out,
            ..
        } = &mut self.routing;
        if !presence.links[slot].is_active() {
            presence.swap(None, Some(slot), reason, out);
            let link = &mut presence.links[slot];
            link.phase = Phase::Open(Part::Active);
            link.serves_from = router.next_position();
        }
    }

    /// Another link, or a seat, stands for the link's MsgServer from now on.
    fn step_back(&mut self, slot: u32, part: Part) {
        let Routing { presence, out, .. } = &mut self.routing;
        if presence.links[slot].is_active() {
            presence.swap(Some(slot), None, ChangeReason::Standing, out);
        }
        presence.links[slot].phase = Phase::Open(part);
    }

    /// Nothing is delivered to the link any more; what becomes of it is decided next.
    fn end_connection(&mut self, slot: u32, reason: CloseReason) -> LinkId {
        let links = &mut self.routing.presence.links;
        let end = End { reason, notices: 0 };
        links.end_connection(slot, Phase::Ended(end));
        links[slot].id
    }

    fn leave_seat(&mut self, slot: u32, reason: CloseReason) {
        let link = &mut self.routing.presence.links[slot];
        link.phase = Phase::Seat(reason);
        let until = self.now + self.settings.seat_hold;
        let causes = self.routing.out.causes();
        let successions = &mut self.routing.successions;
        successions.leave_seat(slot, link.id, until, causes);
        self.notes(slot, TransitionKind::LeavesSeat, None);
    }

    fn seat_ends(&mut self, slot: u32) {
        if let Some(heir) = self.standing().moved_to(slot) {
            return self.inherit(slot, heir, self.cause_of_node(), Effect::Notify);
        }
        self.notes(slot, TransitionKind::SeatEnds, None);
        let kin: Vec<u32> = self.routing.presence.links.kin(slot).collect();
        self.end(slot);
        self.wake_waiting(&kin);
    }

    /// Who waits for its list, though nobody is left whose place it could take, stands for itself.
    fn wake_waiting(&mut self, kin: &[u32]) {
        for slot in kin {
            if self.waits_for_list(*slot) && !self.standing().is_led(*slot) {
                self.stand_alone(*slot, ChangeReason::Standing);
            }
        }
    }

    /// Says of links that they have reported more than is kept.
    pub(crate) fn tell_overflown(&mut self) {
        for slot in self.routing.presence.links.take_overflown() {
            self.notes(slot, TransitionKind::Overflows, None);
        }
    }

    /// Says what happens to a link.
    fn notes(&mut self, slot: u32, kind: TransitionKind, other: Option<LinkId>) {
        let transition = transitions::transition(self.routing.presence, slot, kind, other);
        self.routing.out.transition(transition);
    }

    /// Nothing but sessions is left of a closed link, and they go.
    fn end(&mut self, slot: u32) {
        self.ending.begin(slot, &mut self.routing);
    }

    pub(crate) fn standing(&self) -> Standing<'_> {
        let position = self.routing.router.position;
        Standing::new(self.routing.presence, position)
    }

    /// Nobody's entry: it is the node that does this.
    fn cause_of_node(&self) -> Cause {
        Cause::entry(LinkId::NODE, self.routing.router.next_position())
    }
}
