//! What moves when one link takes another one's place: presence, notices for the differences, deliveries that the old one
//! could not be sent, and the knowledge of what was written to it.
//!
//! So that order holds, a successor gets nothing newer before all that its predecessor could not be sent has come back
//! (**settling**).

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::change::{Effect, ReportedStatus};
use crate::core::{Core, tell};
use crate::event_log::ChangeReason;
use crate::ids::{ClientType, LinkId, UserId};
use crate::links::{Held, Part, Phase, Returns, Settling};
use crate::notices;
use crate::outbox::{Course, Item, ReturnedRun, Taken, Target};

/// What is held for successors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Holding {
    /// Nothing.
    Nothing,
    /// Deliveries, or what was written to a predecessor.
    Something,
    /// For one of them, more than half of what it may be.
    Much,
}

/// Who inherited from closed links, so that late returns find their way. The oldest are forgotten beyond 1 024, far more
/// than there are MsgServers.
#[derive(Debug, Default)]
pub(crate) struct Successions {
    /// By closed link: the heir, and the first position that was routed to the heir by itself.
    heirs: HashMap<LinkId, (LinkId, u64)>,
    order: VecDeque<LinkId>,
}

impl Successions {
    const MOST: usize = 1024;

    /// Links that one MsgServer can have had one after the other while something of the first is on its way.
    const LONGEST: usize = 8;

    pub(crate) fn record(&mut self, closed: LinkId, heir: LinkId, position: u64) {
        if self.heirs.insert(closed, (heir, position)).is_none() {
            self.order.push_back(closed);
        }
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.heirs.remove(&oldest);
        }
    }

    fn heir(&self, closed: LinkId) -> Option<(LinkId, u64)> {
        self.heirs.get(&closed).copied()
    }

    /// Who inherited from this link, and from that one, and so on.
    fn heirs_of(&self, link: LinkId) -> impl Iterator<Item = LinkId> + '_ {
        let heir = |link: &LinkId| self.heir(*link).map(|(heir, _)| heir);
        std::iter::successors(heir(&link), heir).take(Self::LONGEST)
    }
}

/// A gateway that is asked to close a link, or told of its end, gives back what could not be written within a round trip; one
/// that is away, when it is back or, by the node, when it is lost. If neither comes within this time, there is something
/// wrong with it, and its MsgServer's new link waits no longer.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

impl Core {
    /// Takes back deliveries that could not be written to a link that is now closed: its seat holds them, or its
    /// successor gets what it has not got by itself.
    pub fn returned(&mut self, link: LinkId, mut run: ReturnedRun) {
        let mut closed = link;
        for _ in 0..Successions::LONGEST {
            if let Some(slot) = self.seat_of(closed) {
                self.deliver_or_hold(slot, run);
                return;
            }
            let Some((heir, from)) = self.successions.heir(closed) else {
                break;
            };
            let known = from
                .saturating_sub(run.position)
                .min(run.items.len() as u64);
            run.items.truncate(known as usize);
            if let Some(slot) = self.links.slot(heir) {
                self.deliver_or_hold(slot, run);
                return;
            }
            closed = heir;
        }
        self.stats.returned_dropped += run.items.len() as u64;
    }

    /// Everything that could not be written to this closed link has come back, and this is what was written to it: its
    /// successor is told, and gets what waited for that.
    pub fn all_returned(&mut self, link: LinkId, taken: Vec<Taken>) {
        let Some(slot) = self.stands_for(link) else {
            return;
        };
        let id = self.links[slot].id;
        let link_or_seat = &mut self.links[slot];
        if let Phase::Seat(seat) = &mut link_or_seat.phase {
            seat.returns.awaited.retain(|awaited| *awaited != link);
            seat.returns.taken.extend(taken);
            return;
        }
        self.outbox.take_over(id, taken);
        if let Some(settling) = &mut link_or_seat.settling {
            settling.returns.awaited.retain(|awaited| *awaited != link);
            if settling.returns.awaited.is_empty() {
                self.settle(slot);
            }
        }
    }

    /// How much is held for successors that have not come, or not settled. Costs a walk over the links, but only while there
    /// are seats or settling links.
    pub fn holding(&mut self) -> Holding {
        let mut holding = Holding::Nothing;
        if !self.may_hold {
            return holding;
        }
        self.may_hold = false;
        let much = self.settings.seat_bytes / 2;
        for (_, link) in self.links.all() {
            let Some((held, returns)) = link.holds() else {
                continue;
            };
            self.may_hold = true;
            let of_link = if held.bytes > much {
                Holding::Much
            } else if !held.runs.is_empty() || (!link.is_open() && !returns.taken.is_empty()) {
                Holding::Something
            } else {
                Holding::Nothing
            };
            holding = holding.max(of_link);
        }
        holding
    }

    /// Links of a gateway that others have succeeded, or that have left a seat, and that may still give something back.
    pub fn awaited_of(&self, gateway: u64) -> Vec<LinkId> {
        let returns = self.links.all().filter_map(|(_, link)| link.holds());
        let awaited = returns.flat_map(|(_, returns)| &returns.awaited);
        let of_gateway = |link: &LinkId| link.gateway == gateway;
        awaited.copied().filter(of_gateway).collect()
    }

    pub(crate) fn seat_of(&self, link: LinkId) -> Option<u32> {
        let mut seats = self.seats.iter().copied();
        seats.find(|slot| self.links[*slot].id == link)
    }

    /// The seat, or the open link, that stands where this closed or succeeded link stood.
    fn stands_for(&self, link: LinkId) -> Option<u32> {
        if let Some(seat) = self.seat_of(link) {
            return Some(seat);
        }
        let mut heirs = self.successions.heirs_of(link);
        heirs.find_map(|heir| self.links.slot(heir).or_else(|| self.seat_of(heir)))
    }

    /// Another link of the same MsgServer, that receives for this one.
    pub(crate) fn stand_in(&self, slot: u32) -> Option<u32> {
        match self.links[slot].part()? {
            Part::Active => None,
            Part::Waiting { stand_in } => Some(stand_in),
            Part::Shadow => self.stands_for(self.links[slot].id),
        }
    }

    fn deliver_or_hold(&mut self, slot: u32, run: ReturnedRun) {
        let link = &mut self.links[slot];
        let id = link.id;
        match link.held() {
            Some(held) => self.stats.seat_dropped += held.add(self.settings.seat_bytes, run),
            // Too late for its turn.
            None => self.deliver_moved(id, run, Course::Late),
        }
    }

    /// The successor gets what waited for its predecessors' returns.
    pub(crate) fn settle(&mut self, slot: u32) {
        let link = &mut self.links[slot];
        let id = link.id;
        if let Some(settling) = link.settling.take() {
            // What a predecessor could not be sent may come back from an earlier node's time, and be routed by this one. Of what
            // is late, gateways do not know what they have taken over.
            let mut late = HashSet::new();
            for run in settling.held.runs {
                if run.position >= settling.late_before {
                    self.deliver_moved(id, run, Course::Moved);
                    continue;
                }
                let origin = run.origin;
                for (position, item) in (run.position..).zip(run.items) {
                    if late.insert((origin, item.sequence, item.index)) {
                        self.deliver_one(id, origin, position, item, Course::Late);
                    }
                }
            }
        }
    }

    /// `to` takes the place of `from`: presence, deliveries, and notices for the differences. `origin` and `sequence` name
    /// the entry that caused it.
    pub(crate) fn inherit(
        &mut self,
        now: Duration,
        from: u32,
        to: u32,
        (origin, sequence): (LinkId, u64),
        effect: Effect,
    ) {
        let was_active = self.links[to].is_active();
        let differences = self.differences(from, to, was_active);

        let show = (!was_active).then_some(to);
        let outbox = &mut self.outbox;
        self.sessions
            .swap_shown(Some(from), show, |user, before, after| {
                tell(outbox, user, before, after, ChangeReason::Role);
            });
        // A link that was active all along received by itself from its claim on.
        let position = match self.links[to].expects.take() {
            Some(expectation) if was_active => expectation.from,
            Some(_) | None => self.position + 1,
        };
        let late_before = if was_active && self.has_served(to) {
            position
        } else {
            0
        };
        let link = &mut self.links[to];
        if !was_active {
            link.serves_from = position;
        }
        link.stands_in |= !link.claimed;
        self.links[to].phase = Phase::Open(Part::Active);
        let (from_id, to_id) = (self.links[from].id, self.links[to].id);
        self.successions.record(from_id, to_id, position);
        self.stats.successions += 1;

        let settling = self.links[from].settling.take();
        let is_open = self.links[from].is_open() && self.links.slot(from_id) == Some(from);
        // Whatever an open one still says is history.
        let next = if is_open {
            Phase::Open(Part::Shadow)
        } else {
            Phase::Ended
        };
        let (mut held, mut returns) = match std::mem::replace(&mut self.links[from].phase, next) {
            Phase::Seat(seat) => (seat.held, seat.returns),
            Phase::Open(_) | Phase::Ended => {
                let (held, mut returns) = match settling {
                    Some(settling) => (settling.held, settling.returns),
                    None => (Held::default(), Returns::default()),
                };
                returns.awaited.push(from_id);
                (held, returns)
            }
        };
        if is_open {
            self.outbox.close(from_id);
        } else {
            self.seats.retain(|seat| *seat != from);
            self.end(from);
        }
        if let Some(own) = self.links[to].settling.take() {
            returns.awaited.extend(own.returns.awaited);
            for run in own.held.runs {
                self.stats.seat_dropped += held.add(usize::MAX, run);
            }
        }
        self.outbox
            .take_over(to_id, std::mem::take(&mut returns.taken));
        let all_returned = returns.awaited.is_empty();
        self.may_hold = true;
        self.links[to].settling = Some(Settling {
            until: now + SETTLED_AFTER,
            held,
            returns,
            late_before,
        });
        if all_returned {
            self.settle(to);
        }

        if effect == Effect::Notify {
            let mut index = 0;
            for (user, client_type, status) in differences {
                let after = self.sessions.summary(user);
                let known = self.sessions.is_known(user);
                for notice in notices::after_update(user, client_type, status, known, after) {
                    self.notify(origin, sequence, &mut index, notice);
                }
            }
        }
    }

    /// What clients did that only the successor's table tells, as if they had reported it. If the successor was active
    /// already, its own logins were notified when they came.
    fn differences(
        &self,
        from: u32,
        to: u32,
        was_active: bool,
    ) -> Vec<(UserId, ClientType, ReportedStatus)> {
        let gone = self.sessions.of_link(from).filter_map(|(user, kind, old)| {
            let new = self.sessions.logins(to, user, kind);
            (new.visible() < old.visible()).then_some((user, kind, ReportedStatus::Offline))
        });
        let come = self.sessions.of_link(to).filter_map(|(user, kind, new)| {
            let old = self.sessions.logins(from, user, kind);
            let status = if new.online > 0 {
                ReportedStatus::Online
            } else {
                ReportedStatus::Away
            };
            let changed = new.visible() > old.visible() || (new.online == 0) != (old.online == 0);
            (!was_active && new.visible() > 0 && changed).then_some((user, kind, status))
        });
        let mut differences: Vec<_> = gone.chain(come).collect();
        // A node that does this again has to number the notices as its predecessor did.
        differences.sort_unstable_by_key(|(user, client_type, _)| (*user, *client_type));
        differences
    }

    fn deliver_moved(&mut self, to: LinkId, run: ReturnedRun, course: Course) {
        for (position, item) in (run.position..).zip(run.items) {
            self.deliver_one(to, run.origin, position, item, course);
        }
    }

    fn deliver_one(
        &mut self,
        to: LinkId,
        origin: LinkId,
        position: u64,
        item: Item,
        course: Course,
    ) {
        let target = std::iter::once(Target::from(to));
        self.outbox.deliver(origin, position, target, item, course);
    }
}
