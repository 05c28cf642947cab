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
//! Refinements follow from several MsgServers behind one address, and from gateways that report at different speed or are
//! away for a while:
//!
//! - The tables tell MsgServers apart. Of several candidates, a claim inherits from the one whose table is most like its
//!   own. Two tables are **alike** if most of the smaller one is in both.
//! - A claim may be known before the close that caused it, or its gateway may be away. A MsgServer claims another connection
//!   when the old one is dead and not before; so the claiming link inherits at once, the old one is a shadow from then on,
//!   and its gateway is asked to close it.
//! - If the gateway of a claimed link is lost while its MsgServer does not know, nobody claims. Then an unclaimed link with a
//!   table like it stands in. When the claimed one comes back it **waits** as a shadow, for as long as its stand-in lives.
//!
//! What moves from one link to the other when one succeeds it, is in [`succession`](crate::succession); how tables are
//! compared, in [`likeness`](crate::likeness).

use std::net::IpAddr;
use std::time::Duration;

use crate::change::{CloseReason, Effect};
use crate::core::{Core, tell};
use crate::event_log::ChangeReason;
use crate::ids::LinkId;
use crate::likeness::Likeness;
use crate::links::{Expectation, Held, Part, Phase, Returns, Seat, Settling};
use crate::settings::FanOut;

/// How long after its claim a link may inherit from one that closes: a gateway may take the idle time of 30 s to notice
/// what the MsgServer noticed at once.
const LATE_CLOSE: Duration = Duration::from_secs(60);

/// A moment as in [`Restored`](crate::Restored).
#[allow(clippy::cast_possible_truncation)] // 292 000 years
pub fn micros(now: Duration) -> i64 {
    now.as_micros() as i64
}

impl Core {
    /// Ends what is due: seats without a successor, and waiting for returns that do not come.
    pub fn advance(&mut self, now: Duration) {
        let due: Vec<u32> = self
            .timed()
            .filter(|(until, _)| *until <= now)
            .map(|(_, slot)| slot)
            .collect();
        for slot in due {
            let ip = self.links[slot].peer.ip();
            match &self.links[slot].phase {
                Phase::Seat(_) => self.vacate(now, slot),
                Phase::Open(_) => self.settle(slot),
                Phase::Ended => {}
            }
            self.regroup(ip);
        }
    }

    /// Nobody has claimed: the MsgServer is gone, or does not know that the gateway of its claimed link is.
    fn vacate(&mut self, now: Duration, slot: u32) {
        let claim_may_come = self.claim_may_come(slot);
        if !claim_may_come && let Some(stand_in) = self.sibling(slot) {
            let origin = (LinkId::NODE, self.position + 1);
            self.inherit(now, slot, stand_in, origin, Effect::Notify);
            return;
        }
        if self.may_have_unknown_links(self.links[slot].peer.ip())
            && let Phase::Seat(seat) = &mut self.links[slot].phase
        {
            seat.until = now + self.settings.seat_hold;
            return;
        }
        if let Phase::Seat(seat) = &self.links[slot].phase {
            self.stats.seat_dropped += seat.held.items();
        }
        self.seats.retain(|seat| *seat != slot);
        self.end(slot);
    }

    /// Its MsgServer knows that it is closed, and another link of this address is one of a gateway that is away or silent: a
    /// claim may be on its way, and what that link has said so far is old.
    fn claim_may_come(&self, closed: u32) -> bool {
        let group = self.links.group(self.links[closed].peer.ip()).iter();
        let is_out_of_touch = |member: u32| {
            self.absent_gateways
                .contains(&self.links[member].id.gateway)
        };
        self.links[closed].ended != CloseReason::GatewayLost
            && group
                .copied()
                .any(|member| self.may_claim(member) && is_out_of_touch(member))
    }

    /// The unclaimed link whose table is most like that of this one, if they are alike.
    fn sibling(&self, slot: u32) -> Option<u32> {
        let group = self.links.group(self.links[slot].peer.ip()).iter();
        let siblings = group.copied().filter(|member| self.may_claim(*member));
        self.most_alike(slot, siblings)
    }

    /// When [`Core::advance`] has something to do next.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timed().map(|(until, _)| until).min()
    }

    fn timed(&self) -> impl Iterator<Item = (Duration, u32)> + '_ {
        self.links.all().filter_map(|(slot, link)| {
            let until = match (&link.phase, &link.settling) {
                (Phase::Seat(Seat { until, .. }), _)
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
        link.claimed_at = micros(now);
        if self.settings.fan_out == FanOut::Broadcast {
            return;
        }
        let link = &self.links[slot];
        let (id, ip, listed) = (link.id, link.peer.ip(), link.listed);
        if let Some(other) = self.waits_for(ip, slot) {
            // It receives already; now it is the primary one, too.
            self.links[other].phase = Phase::Open(Part::Shadow);
            let from = self.links[other].id;
            self.successions.record(from, id, self.position + 1);
        }
        if self.links[slot].stands_in {
            self.regroup(ip);
            return;
        }
        // Before its list, a claim is that of a MsgServer that has just connected: it succeeds nobody.
        match listed.then(|| self.predecessor(slot)).flatten() {
            Some(from) => self.inherit(now, from, slot, (id, sequence), effect),
            None => self.stand_alone(now, slot, ChangeReason::Role),
        }
        self.regroup(ip);
    }

    /// The open link of which this one is the stand-in, because its gateway was lost.
    fn waits_for(&self, ip: IpAddr, slot: u32) -> Option<u32> {
        self.links.group(ip).iter().copied().find(|member| {
            matches!(
                self.links[*member].phase,
                Phase::Open(Part::Waiting { stand_in }) if stand_in == slot
            )
        })
    }

    /// A link that a predecessor of this node, or this node until it lost the gateway, knew as claimed is back with its
    /// table. Which of its MsgServer's links stands for it now?
    pub(crate) fn restored(&mut self, now: Duration, slot: u32) {
        let link = &self.links[slot];
        if self.settings.fan_out == FanOut::Broadcast || !link.claimed {
            return;
        }
        let (ip, claimed_at) = (link.peer.ip(), link.claimed_at);
        self.stand_alone(now, slot, ChangeReason::List);
        match self.alike(slot) {
            // The one that claimed later succeeds the other.
            Some(other) if self.links[other].claimed => {
                let (old, new) = if self.links[other].claimed_at > claimed_at {
                    (slot, other)
                } else {
                    (other, slot)
                };
                let origin = (self.links[new].id, self.links[new].sequence);
                self.inherit(now, old, new, origin, Effect::Silent);
            }
            // It has served the MsgServer in the meantime, and goes on doing so: two links' reports cannot be compared
            // in the middle of their streams.
            Some(other) if self.links[other].stands_in || self.has_served(other) => {
                self.hide(slot);
                self.links[other].stands_in = true;
                self.links[slot].phase = Phase::Open(Part::Waiting { stand_in: other });
            }
            Some(_) | None => {}
        }
        self.regroup(ip);
    }

    /// The link that receives for the same MsgServer as this one, to judge by the tables.
    fn alike(&self, slot: u32) -> Option<u32> {
        let group = self.links.group(self.links[slot].peer.ip()).iter().copied();
        let serving = group.filter(|member| {
            let link = &self.links[*member];
            *member != slot && link.is_active() && link.listed
        });
        self.most_alike(slot, serving)
    }

    pub(crate) fn has_served(&self, slot: u32) -> bool {
        let link = &self.links[slot];
        link.is_active() && self.position >= link.serves_from
    }

    /// The link is active without having inherited. `reason`: why its users are seen.
    fn stand_alone(&mut self, now: Duration, slot: u32, reason: ChangeReason) {
        self.show(slot, reason);
        let from = self.position + 1;
        let link = &mut self.links[slot];
        link.phase = Phase::Open(Part::Active);
        link.serves_from = from;
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

    /// A link that claimed before its list may be the successor of a seat, or of a link whose gateway is away: a MsgServer
    /// that came back.
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
            self.activate(slot);
        }
        if self.links[slot].claimed && (!self.seats.is_empty() || self.links.any_detached()) {
            let half = |seat: u32| {
                let likeness = self.likeness(seat, slot);
                likeness.common > 0 && likeness.common * 2 >= u64::from(self.sessions.held_by(seat))
            };
            let mut group = self.links.group(ip).iter().rev().copied();
            let vacant = |member: u32| {
                let link = &self.links[member];
                !link.is_open() || (link.detached && link.leads() && link.is_active())
            };
            let vacant = group.find(|member| *member != slot && vacant(*member) && half(*member));
            if let Some(vacant) = vacant {
                self.inherit(now, vacant, slot, (id, sequence), effect);
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
        let stood = link.is_active() && link.leads();
        self.links.end_connection(slot, reason);
        if !stood || self.settings.fan_out == FanOut::Broadcast {
            self.end(slot);
        } else if let Some(heir) = self.heir(now, slot) {
            self.inherit(now, slot, heir, (id, sequence), effect);
        } else if self.may_be_claimed(slot) || self.may_have_unknown_links(ip) {
            self.leave_seat(now, slot);
        } else {
            self.end(slot);
        }
        self.wait_no_more(now, ip, slot);
        self.regroup(ip);
    }

    /// A gateway will not come back: its links end, all at once, so that nothing goes to one of them because of the end of
    /// another.
    pub fn lose_gateway(&mut self, now: Duration, gateway: u64) {
        self.absent_gateways.remove(&gateway);
        let lost: Vec<u32> = self
            .links
            .of_gateway(gateway)
            .map(|(slot, _)| slot)
            .collect();
        let (standing, ending): (Vec<u32>, Vec<u32>) = lost.into_iter().partition(|slot| {
            let link = &self.links[*slot];
            let directed = self.settings.fan_out == FanOut::Directed;
            directed && link.is_active() && link.leads()
        });
        for slot in &standing {
            self.links.end_connection(*slot, CloseReason::GatewayLost);
            self.leave_seat(now, *slot);
        }
        for slot in &ending {
            self.links.end_connection(*slot, CloseReason::GatewayLost);
            self.links[*slot].phase = Phase::Ended;
        }
        for slot in ending {
            let ip = self.links[slot].peer.ip();
            self.end(slot);
            self.wait_no_more(now, ip, slot);
            self.regroup(ip);
        }
        for slot in standing {
            let ip = self.links[slot].peer.ip();
            // Who has not claimed another link by now does not know that it should.
            match self.heir(now, slot) {
                Some(heir) => {
                    let origin = (LinkId::NODE, self.position + 1);
                    self.inherit(now, slot, heir, origin, Effect::Notify);
                }
                None => self.vacate(now, slot),
            }
            self.wait_no_more(now, ip, slot);
            self.regroup(ip);
        }
    }

    fn leave_seat(&mut self, now: Duration, slot: u32) {
        self.seats.push(slot);
        self.may_hold = true;
        let link = &mut self.links[slot];
        let (held, mut returns) = match link.settling.take() {
            Some(settling) => (settling.held, settling.returns),
            None => (Held::default(), Returns::default()),
        };
        returns.awaited.push(link.id);
        link.phase = Phase::Seat(Seat {
            until: now + self.settings.seat_hold,
            held,
            returns,
        });
    }

    /// Whoever waits for a closed link and has not inherited stands for itself.
    fn wait_no_more(&mut self, now: Duration, ip: IpAddr, closed: u32) {
        while let Some(waiting) = self.waits_for(ip, closed) {
            self.stand_alone(now, waiting, ChangeReason::Role);
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
                // One that waits stands through the one that it waits for.
                Phase::Open(part) => link.leads() && part == Part::Active,
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
            let follows = link.is_open() && !link.claimed && !link.stands_in;
            if follows && link.part() != Some(part) {
                if part == Part::Active {
                    self.activate(slot);
                } else {
                    self.hide(slot);
                    self.links[slot].phase = Phase::Open(part);
                }
            }
        }
    }

    /// From whom a claiming link inherits: the most similar seat or claimed link of its address. An open link counts only
    /// if their tables are alike; of equals, a seat before an open link, the newest before the others.
    fn predecessor(&self, slot: u32) -> Option<u32> {
        let mut best: Option<(u32, Likeness)> = None;
        for member in self.links.group(self.links[slot].peer.ip()) {
            let link = &self.links[*member];
            let is_seat = matches!(link.phase, Phase::Seat(_));
            let stands = link.leads() && link.is_active();
            let likeness = self.likeness(*member, slot);
            if *member == slot || !(is_seat || (stands && likeness.is_great())) {
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
            Phase::Open(Part::Waiting { stand_in }) => stand_in == closed,
            Phase::Open(_) => self.links[member].expects.is_some_and(|e| e.until >= now),
            Phase::Seat(_) | Phase::Ended => false,
        };
        let mut best: Option<(u32, Likeness)> = None;
        for member in others().filter(|member| expects(*member)) {
            let likeness = self.likeness(closed, member);
            let may_be = likeness.common > 0 || likeness.fewer == 0;
            if may_be && best.is_none_or(|(_, before)| likeness.exceeds(before)) {
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
                    && link.leads()
                    && self.likeness(member, heir).exceeds(likeness)
            }
        });
        (!rival).then_some(heir)
    }

    /// A MsgServer of this address has had several links at a time, and a gateway is away that may have one of them.
    fn may_have_unknown_links(&self, ip: IpAddr) -> bool {
        !self.absent_gateways.is_empty() && self.links.had_several(ip)
    }

    /// Could a known unclaimed link of this address be of the same MsgServer?
    fn may_be_claimed(&self, closed: u32) -> bool {
        let group = self.links.group(self.links[closed].peer.ip());
        group
            .iter()
            .any(|member| *member != closed && self.may_claim(*member))
    }

    fn may_claim(&self, slot: u32) -> bool {
        let link = &self.links[slot];
        link.is_open() && !link.claimed && !link.stands_in && link.listed
    }

    /// The link becomes active.
    fn activate(&mut self, slot: u32) {
        self.show(slot, ChangeReason::Role);
        let link = &mut self.links[slot];
        link.phase = Phase::Open(Part::Active);
        link.serves_from = self.position + 1;
    }

    fn show(&mut self, slot: u32, reason: ChangeReason) {
        if !self.links[slot].is_active() {
            let outbox = &mut self.outbox;
            self.sessions
                .swap_shown(None, Some(slot), |user, before, after| {
                    tell(outbox, user, before, after, reason);
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
