//! The parts that links play, and how they change: what [`Standing`] decides is carried out.

mod following;
mod loss;
mod namesakes;
mod silence;

use std::collections::VecDeque;
use std::time::Duration;

use super::inheritance::take_place;
use super::{Due, Outcome, Return, Standing, transitions};
use crate::change::{CloseReason, Effect, micros};
use crate::closed::ClosedLink;
use crate::ending::Ending;
use crate::event_log::ChangeReason;
use crate::ids::LinkId;
use crate::links::{Claim, Link, Part, Phase};
use crate::presence::Follow;
use crate::routing::Routing;
use crate::settings::Settings;
use crate::transition::TransitionKind;
pub(crate) use loss::Lost;

/// How much longer than others a seat waits for a MsgServer that was sent elsewhere and has no other connection: it connects
/// anew after 4 s.
const COMES_BACK: u32 = 3;

/// The links' parts, and what changes with them.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) now: Duration,
    pub(crate) settings: Settings,
    pub(crate) ending: &'a mut Ending,
    pub(crate) lost: &'a mut VecDeque<Lost>,
    pub(crate) routing: Routing<'a>,
}

impl Parts<'_> {
    /// A link is opened, or known from before.
    pub(crate) fn open(&mut self, mut link: Link) {
        // Which part a restored one plays is decided when its table is there.
        let decided = link.opened().is_some();
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
    pub(crate) fn claim(&mut self, slot: u32, effect: Effect) {
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
            links.set_phase(other, Phase::Open(Part::Shadow));
            let before = links[other].id;
            let predecessors = links.succeeds(other, slot);
            let from = self.routing.router.next_position();
            self.routing.successions.record(before, id, from);
            self.routing.out.take_over(id, predecessors, Vec::new());
        }
        self.notes(slot, TransitionKind::Claims, None);
        if !stood_in {
            match self.standing().predecessor(slot) {
                Some(from) => self.inherit(from, slot, effect),
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
            self.play(slot, due.part(), false);
            self.doubt(slot, due == Due::Doubted);
            self.regroup(slot);
            return;
        }
        let heir = self.routing.successions.stands_for(links[slot].id, links);
        let heir = heir.filter(|heir| links[*heir].is_active());
        let stands = self.standing().back(slot, heir);
        self.stand_alone(slot, ChangeReason::Listed);
        match stands {
            Return::Succeeds(old) => self.inherit(old, slot, Effect::Silent),
            Return::IsSucceeded(new) => self.inherit(slot, new, Effect::Silent),
            Return::Waits { stand_in } => {
                self.step_back(slot, Part::Waiting { stand_in }, false);
                self.routing.presence.links[stand_in].claim = Claim::StandIn;
            }
            Return::Stands => {}
        }
        self.regroup(slot);
    }

    /// A link's first list is complete.
    pub(crate) fn first_list_is_complete(&mut self, slot: u32, effect: Effect) {
        let is_claimed = self.routing.presence.links[slot].is_claimed();
        self.find_rival(slot);
        if let Some(vacant) = self.standing().vacant(slot) {
            self.inherit(vacant, slot, effect);
        } else if is_claimed {
            self.stand_alone(slot, ChangeReason::Standing);
            self.await_namesake(slot);
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
    pub(crate) fn close(&mut self, slot: u32, reason: CloseReason, effect: Effect) {
        self.notes_close(slot, reason);
        let closing = self.standing().closing(slot);
        let link = &self.routing.presence.links[slot];
        let comes_back = reason == CloseReason::Drain && link.is_active() && link.leads();
        let hold = self.settings.seat_hold;
        let kin = self.routing.presence.links.kin(slot).collect::<Vec<_>>();
        let links = &mut self.routing.presence.links;
        links.end_connection(slot, Phase::Ended(reason));
        match closing {
            Outcome::Inherits(heir) => self.inherit(slot, heir, effect),
            Outcome::Seat => self.leave_seat(slot, reason, hold),
            Outcome::Ends if comes_back => self.leave_seat(slot, reason, hold * COMES_BACK),
            Outcome::Ends => self.end(slot),
        }
        self.is_gone(slot, &kin);
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
                self.routing.successions.settle(slot);
            }
        }
        self.dispel();
        self.judge_silent();
    }

    /// Nobody has claimed a seat.
    fn vacate(&mut self, slot: u32) {
        match self.standing().vacancy(slot) {
            Outcome::Inherits(heir) => self.inherit(slot, heir, Effect::Notify),
            Outcome::Seat => {
                let until = self.now + self.settings.seat_hold;
                self.routing.successions.prolong_seat(slot, until);
            }
            Outcome::Ends => self.seat_ends(slot),
        }
    }

    /// `to` takes the place of `from`: presence, deliveries, and notices for the differences.
    fn inherit(&mut self, from: u32, to: u32, effect: Effect) {
        let links = &self.routing.presence.links;
        let kind = transitions::of_heir(&links[to]);
        self.notes(to, kind, Some(links[from].id));
        // Until this is told, the close that left the seat is not.
        let causes = self.routing.successions.causes(from);
        let before = self.routing.out.also_caused_by(&causes);
        let told = effect == Effect::Notify;
        let is_open = take_place(&mut self.routing, self.now, from, to, told);
        if !is_open {
            self.end(from);
        }
        self.routing.out.no_more(before);
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
        let told = false;
        self.activate(slot, Follow { reason, told });
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

    /// The link receives what is routed from now on.
    fn activate(&mut self, slot: u32, follow: Follow) {
        let Routing {
            router,
            presence,
            out,
            ..
        } = &mut self.routing;
        if !presence.links[slot].is_active() {
            presence.swap(None, Some(slot), follow, out);
            let links = &mut presence.links;
            links.set_phase(slot, Phase::Open(Part::Active));
            links[slot].serves_from = router.next_position();
        }
    }

    /// Another link, or a seat, stands for the link's MsgServer from now on.
    fn step_back(&mut self, slot: u32, part: Part, told: bool) {
        let Routing { presence, out, .. } = &mut self.routing;
        if presence.links[slot].is_active() {
            let reason = ChangeReason::Standing;
            presence.swap(Some(slot), None, Follow { reason, told }, out);
        }
        presence.links.set_phase(slot, Phase::Open(part));
    }

    fn leave_seat(&mut self, slot: u32, reason: CloseReason, hold: Duration) {
        let links = &mut self.routing.presence.links;
        links.set_phase(slot, Phase::Seat(reason));
        let id = links[slot].id;
        let until = self.now + hold;
        let causes = self.routing.out.causes();
        let successions = &mut self.routing.successions;
        successions.leave_seat(slot, id, until, causes);
        self.notes(slot, TransitionKind::LeavesSeat, None);
    }

    fn seat_ends(&mut self, slot: u32) {
        if let Some(heir) = self.standing().moved_to(slot) {
            return self.inherit(slot, heir, Effect::Notify);
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

    /// Says that a link's connection has ended.
    fn notes_close(&mut self, slot: u32, reason: CloseReason) {
        let Routing { presence, out, .. } = &mut self.routing;
        let link = &presence.links[slot];
        out.closed(ClosedLink {
            id: link.id,
            peer: link.peer,
            msg_server: link.identity().to_string(),
            is_named: link.msg_server.is_some(),
            is_claimed: link.is_claimed(),
            sessions: presence.sessions.held_by(slot),
            opened_at: link.opened_at(),
            reason,
        });
    }

    /// Nothing but sessions is left of a closed link, and they go.
    fn end(&mut self, slot: u32) {
        self.ending.begin(slot, &mut self.routing);
    }

    pub(crate) fn standing(&self) -> Standing<'_> {
        let position = self.routing.router.position;
        Standing::new(self.routing.presence, position)
    }
}
