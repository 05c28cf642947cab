//! The parts that links play, and how they change: what [`Standing`] decides is carried out.

use std::net::IpAddr;
use std::time::Duration;

use super::{Outcome, Return, Standing};
use crate::change::{CloseReason, Effect, ReportedStatus, micros};
use crate::ending::Ending;
use crate::event_log::ChangeReason;
use crate::ids::LinkId;
use crate::links::{Claim, End, Expectation, Link, Part, Phase, Reach};
use crate::presence::{Client, Sessions};
use crate::routing::{Cause, Routing};
use crate::settings::{FanOut, Settings};
use crate::succession::Heir;

/// How long after its claim a link may inherit from one that closes: a gateway may take the idle
/// time of 30 s to notice what the MsgServer noticed at once.
const LATE_CLOSE: Duration = Duration::from_secs(60);

/// The links' parts, and what changes with them. In broadcast mode all links are active.
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
        let ip = link.peer.ip();
        // Which part a claimed one plays is decided when its table is there.
        let decided = !link.is_claimed() || self.broadcasts();
        if decided {
            link.serves_from = self.routing.router.next_position();
        } else {
            link.phase = Phase::Open(Part::Shadow);
        }
        self.routing.presence.open(link);
        if decided {
            self.regroup(ip);
        }
    }

    /// A link says that it is its MsgServer's primary connection.
    pub(crate) fn claim(&mut self, slot: u32, sequence: u64, effect: Effect) {
        let link = &mut self.routing.presence.links[slot];
        let (id, ip, before) = (link.id, link.peer.ip(), link.claim);
        if link.is_claimed() {
            return;
        }
        link.claim = Claim::Claimed {
            at: micros(self.now),
        };
        if self.broadcasts() {
            return;
        }
        if let Some(other) = self.standing().waits_for(ip, slot) {
            // It receives already; now it is the primary one, too.
            let links = &mut self.routing.presence.links;
            links[other].phase = Phase::Open(Part::Shadow);
            let from = self.routing.router.next_position();
            self.routing.successions.record(links[other].id, id, from);
        }
        if before != Claim::StandIn {
            match self.standing().predecessor(slot) {
                Some(from) => self.inherit(from, slot, Cause::entry(id, sequence), effect),
                None => self.stand_alone(slot, ChangeReason::Role),
            }
        }
        self.regroup(ip);
    }

    /// A link that was known before is back with its table.
    pub(crate) fn restored(&mut self, slot: u32) {
        let links = &self.routing.presence.links;
        if self.broadcasts() || !links[slot].is_claimed() {
            return;
        }
        let ip = links[slot].peer.ip();
        let stands = self.standing().back(slot);
        self.stand_alone(slot, ChangeReason::List);
        match stands {
            Return::Succeeds(old) => self.inherit_silently(old, slot),
            Return::IsSucceeded(new) => self.inherit_silently(slot, new),
            Return::Waits { stand_in } => {
                self.step_back(slot, Part::Waiting { stand_in });
                self.routing.presence.links[stand_in].claim = Claim::StandIn;
            }
            Return::Stands => {}
        }
        self.regroup(ip);
    }

    /// A link sends its first list in several parts.
    pub(crate) fn first_list_begins(&mut self, slot: u32) {
        if !self.broadcasts() && self.standing().is_served(slot) {
            self.step_back(slot, Part::Shadow);
        }
    }

    /// A link's first list is complete.
    pub(crate) fn first_list_is_complete(&mut self, slot: u32, sequence: u64, effect: Effect) {
        if self.broadcasts() {
            return;
        }
        let link = &self.routing.presence.links[slot];
        let (id, ip) = (link.id, link.peer.ip());
        if link.is_claimed() && link.part() == Some(Part::Shadow) {
            self.activate(slot, ChangeReason::Role);
        }
        if let Some(vacant) = self.standing().vacant(slot) {
            self.inherit(vacant, slot, Cause::entry(id, sequence), effect);
        }
        self.regroup(ip);
    }

    /// The connection of a link is gone.
    pub(crate) fn close(&mut self, slot: u32, sequence: u64, reason: CloseReason, effect: Effect) {
        let closing = if self.broadcasts() {
            Outcome::Ends
        } else {
            self.standing().closing(slot)
        };
        let (id, ip) = self.end_connection(slot, reason);
        match closing {
            Outcome::Inherits(heir) => {
                self.inherit(slot, heir, Cause::entry(id, sequence), effect);
            }
            Outcome::Seat => self.leave_seat(slot, reason),
            Outcome::Ends => self.end(slot),
        }
        self.wait_no_more(ip, slot);
        self.regroup(ip);
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
            !self.broadcasts() && link.is_active() && link.leads()
        });
        for slot in &standing {
            self.end_connection(*slot, REASON);
            self.leave_seat(*slot, REASON);
        }
        for slot in &ending {
            self.end_connection(*slot, REASON);
        }
        for slot in ending {
            let ip = self.routing.presence.links[slot].peer.ip();
            self.end(slot);
            self.wait_no_more(ip, slot);
            self.regroup(ip);
        }
        for slot in standing {
            let ip = self.routing.presence.links[slot].peer.ip();
            // Who has not claimed another link by now does not know that it should.
            match self.standing().heir(slot) {
                Some(heir) => self.inherit(slot, heir, self.cause_of_node(), Effect::Notify),
                None => self.vacate(slot),
            }
            self.wait_no_more(ip, slot);
            self.regroup(ip);
        }
    }

    /// Ends what is due: seats without a successor, and waiting for returns that do not come.
    pub(crate) fn advance(&mut self) {
        let due = self.routing.successions.deadlines();
        let due = due.filter(|(until, _)| *until <= self.now);
        let mut due: Vec<u32> = due.map(|(_, slot)| slot).collect();
        due.sort_unstable();
        for slot in due {
            let link = &self.routing.presence.links[slot];
            let ip = link.peer.ip();
            if link.is_seat() {
                self.vacate(slot);
            } else {
                self.routing.successions.settle(slot, self.routing.out);
            }
            self.regroup(ip);
        }
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
            Outcome::Ends => self.end(slot),
        }
    }

    /// `to` takes the place of `from`: presence, deliveries, and notices for the differences.
    fn inherit(&mut self, from: u32, to: u32, mut cause: Cause, effect: Effect) {
        let has_served = self.standing().has_served(to);
        let Routing {
            router,
            presence,
            successions,
            out,
            ..
        } = &mut self.routing;
        // Until this is told, the close that left the seat is not.
        let before = out.also_caused_by(&successions.causes(from));
        let was_active = presence.links[to].is_active();
        let differences = differences(&presence.sessions, from, to, was_active);
        let show = (!was_active).then_some(to);
        presence.swap(Some(from), show, ChangeReason::Role, out);

        let heir = &mut presence.links[to];
        // A link that was active all along received by itself from its claim on.
        let position = match heir.expects.take() {
            Some(expectation) if was_active => expectation.from,
            Some(_) | None => router.next_position(),
        };
        if !was_active {
            heir.serves_from = position;
        }
        if heir.claim == Claim::None {
            heir.claim = Claim::StandIn;
        }
        heir.phase = Phase::Open(Part::Active);
        let heir = Heir {
            slot: to,
            id: heir.id,
            from: position,
            has_served,
        };
        let predecessor = &mut presence.links[from];
        let id = predecessor.id;
        let is_open = predecessor.is_open();
        if is_open {
            // Whatever it still says is history.
            predecessor.phase = Phase::Open(Part::Shadow);
            out.close(id);
        }
        successions.inherit(self.now, from, id, heir, out);
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

    /// The link is active without having inherited. `reason`: why its users are seen.
    fn stand_alone(&mut self, slot: u32, reason: ChangeReason) {
        self.activate(slot, reason);
        let link = &mut self.routing.presence.links[slot];
        link.expects = link.is_listed().then_some(Expectation {
            from: link.serves_from,
            until: self.now + LATE_CLOSE,
        });
    }

    /// Whoever waits for a closed link and has not inherited stands for itself.
    fn wait_no_more(&mut self, ip: IpAddr, closed: u32) {
        while let Some(waiting) = self.standing().waits_for(ip, closed) {
            self.stand_alone(waiting, ChangeReason::Role);
        }
    }

    fn regroup(&mut self, ip: IpAddr) {
        if self.broadcasts() {
            return;
        }
        let (part, followers) = self.standing().followers(ip);
        for slot in followers {
            if part == Part::Active {
                self.activate(slot, ChangeReason::Role);
            } else {
                self.step_back(slot, part);
            }
        }
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
        }
        let link = &mut presence.links[slot];
        link.phase = Phase::Open(Part::Active);
        link.serves_from = router.next_position();
    }

    /// Another link, or a seat, stands for the link's MsgServer from now on.
    fn step_back(&mut self, slot: u32, part: Part) {
        let Routing { presence, out, .. } = &mut self.routing;
        if presence.links[slot].is_active() {
            presence.swap(Some(slot), None, ChangeReason::Role, out);
        }
        presence.links[slot].phase = Phase::Open(part);
    }

    /// Nothing is delivered to the link any more; what becomes of it is decided next.
    fn end_connection(&mut self, slot: u32, reason: CloseReason) -> (LinkId, IpAddr) {
        let links = &mut self.routing.presence.links;
        let end = End { reason, notices: 0 };
        links.end_connection(slot, Phase::Ended(end));
        (links[slot].id, links[slot].peer.ip())
    }

    fn leave_seat(&mut self, slot: u32, reason: CloseReason) {
        let link = &mut self.routing.presence.links[slot];
        link.phase = Phase::Seat(reason);
        let until = self.now + self.settings.seat_hold;
        let causes = self.routing.out.causes();
        self.routing
            .successions
            .leave_seat(slot, link.id, until, causes);
    }

    /// Nothing but sessions is left of a closed link, and they go.
    fn end(&mut self, slot: u32) {
        self.ending.begin(slot, &mut self.routing);
    }

    fn standing(&self) -> Standing<'_> {
        let position = self.routing.router.position;
        Standing::new(self.routing.presence, self.now, position)
    }

    /// Nobody's entry: it is the node that does this.
    fn cause_of_node(&self) -> Cause {
        Cause::entry(LinkId::NODE, self.routing.router.next_position())
    }

    fn broadcasts(&self) -> bool {
        self.settings.fan_out == FanOut::Broadcast
    }
}

/// What clients did that only the successor's table tells, as if they had reported it. If the
/// successor was active already, its own logins were notified when they came.
fn differences(
    sessions: &Sessions,
    from: u32,
    to: u32,
    was_active: bool,
) -> Vec<(Client, ReportedStatus)> {
    let gone = sessions.of_link(from).filter_map(|(client, old)| {
        let new = sessions.logins(to, client);
        (new.visible() < old.visible()).then_some((client, ReportedStatus::Offline))
    });
    let come = sessions.of_link(to).filter_map(|(client, new)| {
        let old = sessions.logins(from, client);
        let status = if new.online > 0 {
            ReportedStatus::Online
        } else {
            ReportedStatus::Away
        };
        let changed = new.visible() > old.visible() || (new.online == 0) != (old.online == 0);
        (!was_active && new.visible() > 0 && changed).then_some((client, status))
    });
    let mut differences: Vec<_> = gone.chain(come).collect();
    // A node that does this again has to number the notices as its predecessor did.
    differences.sort_unstable_by_key(|(client, _)| *client);
    differences
}
