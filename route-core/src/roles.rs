//! Which link stands for a MsgServer.
//!
//! A MsgServer may be connected to several gateways. It claims one of its connections, reports status on all of them
//! and everything else on the claimed one; when that dies, it claims another within milliseconds. The protocol carries
//! no identity: links may belong to one MsgServer when their IP addresses are equal, and several MsgServers may share
//! an address. The rules:
//!
//! - A claimed link is **active**: it receives, its sessions are presence, its updates cause notices.
//! - An unclaimed link is active too, unless an active claimed link with a complete list, or a seat, has its address:
//!   then it is a **shadow**, whose table is kept silently.
//! - A claimed link that closes while an unclaimed link with a complete list has its address leaves a **seat**: its
//!   sessions stay, what is routed to it is held. The claim of another link of that address inherits: it gets what was
//!   held, its own table replaces the seat's, and notices are made for the differences only. A seat that nobody
//!   inherits ends as a closed link.
//!
//! Two refinements follow from several MsgServers behind one address and from gateways that report at different speed:
//!
//! - Of several candidates, a claim inherits from the one whose table is most like its own: the tables are what tells
//!   MsgServers apart.
//! - A claim may be known before the close that caused it. If the most similar link is still open, the claiming one
//!   **waits** for it, up to the seat time: deliveries still go to the old link, whose gateway returns what it cannot
//!   write, and then to the successor.
//!
//! So that order holds, a successor gets nothing newer before all that its predecessor could not be sent has come back
//! (**settling**, up to the seat time).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::change::{CloseReason, Effect, ReportedStatus};
use crate::core::{Core, FanOut, tell};
use crate::event_log::ChangeReason;
use crate::ids::{ClientType, LinkId, UserId};
use crate::links::{Expectation, Held, Part, Phase, Seat, Settling};
use crate::notices;
use crate::outbox::{ReturnedRun, Target};

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

    fn record(&mut self, closed: LinkId, heir: LinkId, position: u64) {
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
}

/// How long after its claim a link may inherit from one that closes: a gateway may take the idle time of 30 s to notice
/// what the MsgServer noticed at once.
const LATE_CLOSE: Duration = Duration::from_secs(60);

/// How alike two tables are: common sessions, of all sessions.
#[derive(Clone, Copy, Debug)]
struct Likeness {
    common: u64,
    all: u64,
}

impl Likeness {
    fn exceeds(self, other: Likeness) -> bool {
        u128::from(self.common) * u128::from(other.all)
            > u128::from(other.common) * u128::from(self.all)
    }
}

impl Core {
    /// Takes back deliveries that could not be written to a link that is now closed: its seat holds them, or its
    /// successor gets what it has not got by itself.
    pub fn returned(&mut self, link: LinkId, mut run: ReturnedRun) {
        let mut closed = link;
        // A successor may be gone as well; nobody has more than a few.
        for _ in 0..8 {
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
            if run.origin == heir {
                run.items.clear();
            }
            if let Some(slot) = self.links.slot(heir) {
                self.deliver_or_hold(slot, run);
                return;
            }
            closed = heir;
        }
        self.stats.returned_dropped += run.items.len() as u64;
    }

    /// Everything that could not be written to this closed link has come back: its successor gets what waited for that.
    pub fn all_returned(&mut self, link: LinkId) {
        if let Some(slot) = self.seat_of(link) {
            if let Phase::Seat(seat) = &mut self.links[slot].phase {
                seat.all_returned = true;
            }
        } else if let Some((heir, _)) = self.successions.heir(link)
            && let Some(slot) = self.links.slot(heir)
            && self.links[slot]
                .settling
                .as_ref()
                .is_some_and(|settling| settling.predecessor == link)
        {
            self.settle(slot);
        }
    }

    fn seat_of(&self, link: LinkId) -> Option<u32> {
        let mut seats = self.seats.iter().copied();
        seats.find(|slot| self.links[*slot].id == link)
    }

    fn deliver_or_hold(&mut self, slot: u32, run: ReturnedRun) {
        let link = &mut self.links[slot];
        let id = link.id;
        match link.held() {
            Some(held) => self.stats.seat_dropped += held.add(self.settings.seat_bytes, run),
            None => self.deliver_moved(id, run),
        }
    }

    /// The successor gets what waited for its predecessor's returns.
    fn settle(&mut self, slot: u32) {
        let link = &mut self.links[slot];
        let id = link.id;
        if let Some(settling) = link.settling.take() {
            for run in settling.held.runs {
                self.deliver_moved(id, run);
            }
        }
    }

    /// Ends what is due: seats without a successor, links that wait for a close or for returns.
    pub fn advance(&mut self, now: Duration) {
        let due: Vec<u32> = self
            .timed()
            .filter(|(until, _)| *until <= now)
            .map(|(_, slot)| slot)
            .collect();
        for slot in due {
            let ip = self.links[slot].peer.ip();
            match &self.links[slot].phase {
                Phase::Seat(seat) => {
                    self.stats.seat_dropped += seat.held.items();
                    self.seats.retain(|seat| *seat != slot);
                    self.end(slot);
                }
                Phase::Open(Part::Waiting { .. }) => self.stand_alone(now, slot),
                Phase::Open(Part::Active | Part::Shadow) => self.settle(slot),
                Phase::Ended => {}
            }
            self.regroup(ip);
        }
    }

    /// When [`Core::advance`] has something to do next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timed().map(|(until, _)| until).min()
    }

    fn timed(&self) -> impl Iterator<Item = (Duration, u32)> + '_ {
        self.links.all().filter_map(|(slot, link)| {
            let until = match (&link.phase, &link.settling) {
                (Phase::Seat(Seat { until, .. }), _)
                | (Phase::Open(Part::Waiting { until, .. }), _)
                | (Phase::Open(_), Some(Settling { until, .. })) => *until,
                (Phase::Open(_), None) | (Phase::Ended, _) => return None,
            };
            Some((until, slot))
        })
    }

    /// A link says that it is its MsgServer's primary connection.
    pub(crate) fn claim(&mut self, now: Duration, slot: u32, sequence: u64, effect: Effect) {
        let link = &mut self.links[slot];
        if link.claimed {
            return;
        }
        link.claimed = true;
        if self.settings.fan_out == FanOut::Broadcast {
            return;
        }
        let link = &self.links[slot];
        let (id, ip, listed) = (link.id, link.peer.ip(), link.listed);
        // Before its list, a claim is that of a MsgServer that has just connected: it succeeds nobody.
        match listed.then(|| self.predecessor(slot)).flatten() {
            Some(from) if !self.links[from].is_open() || self.links[from].detached => {
                self.inherit(now, from, slot, (id, sequence), effect);
            }
            Some(predecessor) => {
                self.hide(slot);
                let until = now + self.settings.seat_hold;
                self.links[slot].phase = Phase::Open(Part::Waiting { predecessor, until });
            }
            None => self.stand_alone(now, slot),
        }
        self.regroup(ip);
    }

    /// The link is active without having inherited.
    fn stand_alone(&mut self, now: Duration, slot: u32) {
        self.show(slot);
        let from = self.position + 1;
        let link = &mut self.links[slot];
        link.phase = Phase::Open(Part::Active);
        link.expects = link.listed.then_some(Expectation {
            from,
            until: now + LATE_CLOSE,
        });
    }

    /// A claimed link sends its first list in several parts. While another link of its address serves the same users, it
    /// steps back until the list is complete, so that nobody gets anything twice.
    pub(crate) fn first_list_begins(&mut self, slot: u32) {
        let link = &self.links[slot];
        if self.settings.fan_out == FanOut::Broadcast || !link.claimed || !link.is_active() {
            return;
        }
        let served = self.links.group(link.peer.ip()).iter().any(|member| {
            let other = &self.links[*member];
            *member != slot && other.is_active() && !other.claimed && other.listed
        });
        if served {
            self.hide(slot);
            self.links[slot].phase = Phase::Open(Part::Shadow);
        }
    }

    /// A link that sends what MsgServers send on their primary connection only was taken for dead by mistake.
    pub(crate) fn reinstate(&mut self, slot: u32) {
        let link = &self.links[slot];
        if link.claimed && link.listed && !link.detached && link.part() == Some(Part::Shadow) {
            self.show(slot);
            self.links[slot].phase = Phase::Open(Part::Active);
        }
    }

    /// A link that claimed before its list may be the successor of a seat: a MsgServer that came back.
    pub(crate) fn first_list_is_complete(
        &mut self,
        now: Duration,
        slot: u32,
        sequence: u64,
        effect: Effect,
    ) {
        if self.settings.fan_out == FanOut::Broadcast {
            return;
        }
        let (id, ip) = (self.links[slot].id, self.links[slot].peer.ip());
        if self.links[slot].claimed && self.links[slot].part() == Some(Part::Shadow) {
            self.show(slot);
            self.links[slot].phase = Phase::Open(Part::Active);
        }
        if self.links[slot].claimed && !self.seats.is_empty() {
            let half = |seat: u32| {
                let likeness = self.likeness(seat, slot);
                likeness.common > 0 && likeness.common * 2 >= u64::from(self.sessions.held_by(seat))
            };
            let mut group = self.links.group(ip).iter().rev().copied();
            let seat = group.find(|member| !self.links[*member].is_open() && half(*member));
            if let Some(seat) = seat {
                self.inherit(now, seat, slot, (id, sequence), effect);
            }
        }
        self.regroup(ip);
    }

    /// The connection of a link is gone.
    pub(crate) fn close(
        &mut self,
        now: Duration,
        slot: u32,
        sequence: u64,
        reason: CloseReason,
        effect: Effect,
    ) {
        let link = &self.links[slot];
        let (id, ip) = (link.id, link.peer.ip());
        let stood = link.is_active() && link.claimed && link.listed;
        self.links.end_connection(slot, reason);
        if !stood || self.settings.fan_out == FanOut::Broadcast {
            self.end(slot);
        } else if let Some(heir) = self.heir(now, slot) {
            self.inherit(now, slot, heir, (id, sequence), effect);
        } else if self.may_be_claimed(slot) {
            self.seats.push(slot);
            let settling = self.links[slot].settling.take();
            self.links[slot].phase = Phase::Seat(Seat {
                until: now + self.settings.seat_hold,
                held: settling.map_or_else(Held::default, |settling| settling.held),
                all_returned: false,
            });
        } else {
            self.end(slot);
        }
        self.wait_no_more(now, slot, ip);
        self.regroup(ip);
    }

    /// Nobody waits for a link that is closed and was inherited by somebody else, or by nobody.
    fn wait_no_more(&mut self, now: Duration, closed: u32, ip: IpAddr) {
        for member in self.links.group(ip).to_vec() {
            match self.links[member].phase {
                Phase::Open(Part::Waiting { predecessor, .. }) if predecessor == closed => {
                    self.stand_alone(now, member);
                }
                Phase::Open(_) | Phase::Seat(_) | Phase::Ended => {}
            }
        }
    }

    /// Unclaimed links of an address are shadows while another link, or a seat, stands there.
    pub(crate) fn regroup(&mut self, ip: IpAddr) {
        if self.settings.fan_out == FanOut::Broadcast {
            return;
        }
        let group = self.links.group(ip).to_vec();
        let stands = |slot: &u32| {
            let link = &self.links[*slot];
            match link.phase {
                Phase::Open(part) => link.claimed && link.listed && part != Part::Shadow,
                Phase::Seat(_) => true,
                Phase::Ended => false,
            }
        };
        let part = if group.iter().any(stands) {
            Part::Shadow
        } else {
            Part::Active
        };
        for slot in group {
            let link = &self.links[slot];
            if link.is_open() && !link.claimed && link.part() != Some(part) {
                if part == Part::Active {
                    self.show(slot);
                } else {
                    self.hide(slot);
                }
                self.links[slot].phase = Phase::Open(part);
            }
        }
    }

    /// From whom a claiming link inherits: the most similar seat or claimed link of its address. An open link counts only
    /// if there is some likeness at all; of equals, a seat before an open link, the newest before the others.
    fn predecessor(&self, slot: u32) -> Option<u32> {
        let mut best: Option<(u32, Likeness)> = None;
        for member in self.links.group(self.links[slot].peer.ip()) {
            let link = &self.links[*member];
            let stands = link.claimed && link.listed && link.part() != Some(Part::Shadow);
            if *member == slot || !stands {
                continue;
            }
            let likeness = self.likeness(*member, slot);
            if link.is_open() && likeness.common == 0 {
                continue;
            }
            let better = match best {
                None => true,
                Some((chosen, before)) => {
                    likeness.exceeds(before)
                        || (!before.exceeds(likeness)
                            && (!link.is_open() || self.links[chosen].is_open()))
                }
            };
            if better {
                best = Some((*member, likeness));
            }
        }
        best.map(|(chosen, _)| chosen)
    }

    /// Who succeeds a link that has just closed: of the links that claimed without inheriting, the one most like it,
    /// unless one that has not claimed yet is more like it, or it is less like that one than some other claimed link.
    fn heir(&self, now: Duration, closed: u32) -> Option<u32> {
        let group = self.links.group(self.links[closed].peer.ip());
        let others = || group.iter().copied().filter(|member| *member != closed);
        let expects = |member: u32| match self.links[member].phase {
            Phase::Open(Part::Waiting { .. }) => true,
            Phase::Open(_) => self.links[member].expects.is_some_and(|e| e.until >= now),
            Phase::Seat(_) | Phase::Ended => false,
        };
        let mut best: Option<(u32, Likeness)> = None;
        for member in others().filter(|member| expects(*member)) {
            let likeness = self.likeness(closed, member);
            if best.is_none_or(|(_, before)| likeness.exceeds(before)) {
                best = Some((member, likeness));
            }
        }
        let (heir, likeness) = best?;
        let waits = matches!(self.links[heir].phase, Phase::Open(Part::Waiting { .. }));
        let rival = others().any(|member| {
            let link = &self.links[member];
            if self.may_claim(member) {
                let rivals = self.likeness(closed, member);
                rivals.exceeds(likeness) || (!waits && !likeness.exceeds(rivals))
            } else {
                member != heir
                    && link.is_active()
                    && link.claimed
                    && link.listed
                    && self.likeness(member, heir).exceeds(likeness)
            }
        });
        (!rival).then_some(heir)
    }

    /// Could an unclaimed link of this address be of the same MsgServer?
    fn may_be_claimed(&self, closed: u32) -> bool {
        let group = self.links.group(self.links[closed].peer.ip());
        group
            .iter()
            .any(|member| *member != closed && self.may_claim(*member))
    }

    fn may_claim(&self, slot: u32) -> bool {
        let link = &self.links[slot];
        link.is_open() && !link.claimed && link.listed
    }

    fn likeness(&self, a: u32, b: u32) -> Likeness {
        let (few, many) = if self.sessions.held_by(a) <= self.sessions.held_by(b) {
            (a, b)
        } else {
            (b, a)
        };
        let common = self
            .sessions
            .of_link(few)
            .filter(|(user, client_type, _)| {
                let logins = self.sessions.logins(many, *user, *client_type);
                logins.visible() > 0 || logins.hidden > 0
            })
            .count() as u64;
        let all =
            u64::from(self.sessions.held_by(a)) + u64::from(self.sessions.held_by(b)) - common;
        Likeness {
            common,
            all: all.max(1),
        }
    }

    /// `to` takes the place of `from`: presence, deliveries, and notices for the differences. `origin` and `sequence` name
    /// the entry that caused it.
    fn inherit(
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
        self.links[to].phase = Phase::Open(Part::Active);
        let (from_id, to_id) = (self.links[from].id, self.links[to].id);
        self.successions.record(from_id, to_id, position);
        self.stats.successions += 1;

        if self.links[from].is_open() && self.links.slot(from_id) == Some(from) {
            // Its gateway is detached; whatever it still says is history.
            self.links[from].phase = Phase::Open(Part::Shadow);
        } else {
            let phase = std::mem::replace(&mut self.links[from].phase, Phase::Ended);
            let settling = self.links[from].settling.take();
            self.seats.retain(|seat| *seat != from);
            self.end(from);
            let (mut held, all_returned) = match phase {
                Phase::Seat(seat) => (seat.held, seat.all_returned),
                Phase::Open(_) | Phase::Ended => {
                    (settling.map_or_else(Held::default, |s| s.held), false)
                }
            };
            held.runs.retain(|run| run.origin != to_id);
            self.links[to].settling = Some(Settling {
                predecessor: from_id,
                until: now + self.settings.seat_hold,
                held,
            });
            if all_returned {
                self.settle(to);
            }
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
        gone.chain(come).collect()
    }

    fn deliver_moved(&mut self, to: LinkId, run: ReturnedRun) {
        for (position, item) in (run.position..).zip(run.items) {
            let target = std::iter::once(Target::from(to));
            self.outbox
                .deliver(run.origin, position, target, item, true);
        }
    }

    fn show(&mut self, slot: u32) {
        if !self.links[slot].is_active() {
            let outbox = &mut self.outbox;
            self.sessions
                .swap_shown(None, Some(slot), |user, before, after| {
                    tell(outbox, user, before, after, ChangeReason::Role);
                });
        }
    }

    fn hide(&mut self, slot: u32) {
        if self.links[slot].is_active() {
            let outbox = &mut self.outbox;
            self.sessions
                .swap_shown(Some(slot), None, |user, before, after| {
                    tell(outbox, user, before, after, ChangeReason::Role);
                });
        }
    }
}
