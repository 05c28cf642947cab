//! All links: by slot, by id in delivery order, by MsgServer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::groups::{Groups, Identity};
use super::reach::Absent;
use super::{Claim, Doubt, Link, Part, Phase, Reported};
use crate::ids::LinkId;
use crate::work::Work;

/// All links.
///
/// A slot is a link's place in the arrays of this crate. It stays taken until the link's last
/// session is removed.
#[derive(Debug, Default)]
pub(crate) struct Links {
    slots: Vec<Option<Link>>,
    free: Vec<u32>,
    /// Open links, sorted: by gateway, then number, as deliveries name them.
    order: Vec<(LinkId, u32)>,
    /// Those of them that are active.
    active: BTreeMap<LinkId, u32>,
    groups: Groups,
    /// How many there have been.
    opened: u64,
    /// Slots of active links that are.
    opaque: BTreeSet<u32>,
    /// Links that have just begun to overflow.
    overflown: Vec<u32>,
    pub(crate) reach: Absent,
    /// Links whose part is doubted, and when that is decided.
    doubted: BTreeSet<(Duration, u32)>,
    /// Silent links, and when it is decided what that means.
    judged: BTreeSet<(Duration, u32)>,
    pub(crate) work: Work,
}

impl Links {
    /// Adds an open link. Its id must not be taken.
    pub(crate) fn insert(&mut self, mut link: Link) -> u32 {
        let id = link.id;
        self.opened += 1;
        link.number = self.opened;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(link);
                slot
            }
            None => {
                self.slots.push(Some(link));
                self.slots.len() as u32 - 1
            }
        };
        match self.place(id) {
            Ok(_) => debug_assert!(false, "link {id} is open already"),
            Err(place) => self.order.insert(place, (id, slot)),
        }
        let link = self.slots[slot as usize].as_ref();
        let crowd = link.map(|link| self.groups.join(slot, link));
        for member in crowd.unwrap_or_default() {
            let mut shared = std::mem::take(&mut self[member].shared);
            shared.retain(|(other, _)| self.count(member, *other));
            self[member].shared = shared;
        }
        self.set_phase(slot, self[slot].phase);
        slot
    }

    /// Where the link is in its life from now on.
    pub(crate) fn set_phase(&mut self, slot: u32, phase: Phase) {
        self[slot].phase = phase;
        let stands = match phase {
            Phase::Open(Part::Active | Part::Waiting { .. }) | Phase::Seat(_) => true,
            Phase::Open(Part::Shadow) | Phase::Ended(_) => false,
        };
        if let Some(link) = &self.slots[slot as usize] {
            self.groups.stands(slot, link, stands);
            match link.is_active() {
                true => self.active.insert(link.id, slot),
                false => self.active.remove(&link.id),
            };
        }
        self.set_opaque(slot, self[slot].opaque);
    }

    /// The connection is gone: nothing is delivered to the link any more. It still counts for its
    /// group until [`Links::leave_group`].
    pub(crate) fn end_connection(&mut self, slot: u32, phase: Phase) {
        self.set_opaque(slot, false);
        self.set_phase(slot, phase);
        if let Ok(place) = self.place(self[slot].id) {
            self.order.remove(place);
        }
    }

    /// The one takes the other's place. Returns all predecessors that it has then, this one first.
    pub(crate) fn succeeds(&mut self, from: u32, to: u32) -> Vec<LinkId> {
        let before = &self[from];
        let others = std::iter::once(before.id).chain(before.predecessors.clone());
        self[to].succeeds(others);
        self[to].predecessors.clone()
    }

    /// The same of all links of a gateway.
    pub(crate) fn end_connections(&mut self, gateway: u64, phase: Phase) {
        let bound = |gateways: &dyn Fn(u64) -> bool| {
            self.order.partition_point(|(id, _)| gateways(id.gateway))
        };
        let lost = bound(&|it| it < gateway)..bound(&|it| it <= gateway);
        let lost: Vec<u32> = self.order.drain(lost).map(|(_, slot)| slot).collect();
        for slot in lost {
            self.set_opaque(slot, false);
            self.set_phase(slot, phase);
        }
    }

    /// Several links of its identity have been there at a time.
    pub(crate) fn had_several(&self, slot: u32) -> bool {
        self.groups.had_several(&self[slot])
    }

    /// It is over, for all others.
    pub(crate) fn leave_group(&mut self, slot: u32) {
        if let Some(link) = &self.slots[slot as usize] {
            self.groups.leave(link);
        }
        for (other, _) in std::mem::take(&mut self[slot].shared) {
            self[other].shared.retain(|(it, _)| *it != slot);
        }
        self.doubt(slot, None);
        self.judge(slot, None);
    }

    /// Are tables compared with that of this link?
    pub(crate) fn compares(&self, slot: u32) -> bool {
        self.groups.compares(&self[slot])
    }

    /// With this link, there are too many at its address to be compared: all of them.
    pub(crate) fn crowd_made_by(&self, slot: u32) -> Vec<u32> {
        self.groups.crowd_made_by(&self[slot]).collect()
    }

    /// Is it counted what this link shares with any other one?
    pub(crate) fn counts(&self, slot: u32) -> bool {
        self.compares(slot) || self.groups.compares_name(&self[slot])
    }

    /// Is it counted what these two share?
    pub(crate) fn count(&self, a: u32, b: u32) -> bool {
        if self.have_one_name(a, b) {
            self.groups.compares_name(&self[a])
        } else {
            self.compares(a) && self.may_be_one(a, b)
        }
    }

    /// Two links that may be of one MsgServer hold, or do not hold any more, the same session.
    pub(crate) fn share(&mut self, a: u32, b: u32, holds: bool) {
        for (slot, other) in [(a, b), (b, a)] {
            let shared = &mut self[slot].shared;
            match shared.iter().position(|(it, _)| *it == other) {
                Some(place) if holds => shared[place].1 += 1,
                Some(place) if shared[place].1 > 1 => shared[place].1 -= 1,
                Some(place) => {
                    shared.swap_remove(place);
                }
                None if holds => shared.push((other, 1)),
                None => debug_assert!(false, "what they do not share any more, they shared"),
            }
        }
    }

    /// How many sessions both hold. Known of links that may be of one MsgServer.
    pub(crate) fn shared(&self, a: u32, b: u32) -> u32 {
        let shared = self[a].shared.iter().find(|(it, _)| *it == b);
        shared.map_or(0, |(_, count)| *count)
    }

    /// Its sessions say that it should play another part, or they say so no more.
    pub(crate) fn doubt(&mut self, slot: u32, doubt: Option<Doubt>) {
        if let Some(before) = std::mem::replace(&mut self[slot].doubted, doubt) {
            self.doubted.remove(&(before.due, slot));
        }
        self.doubted.extend(doubt.map(|doubt| (doubt.due, slot)));
    }

    /// Links whose part is doubted, and when that is decided, the first one first.
    pub(crate) fn doubted(&self) -> impl Iterator<Item = (Duration, u32)> + '_ {
        self.doubted.iter().copied()
    }

    /// What the silence of a link means is decided then, or not at all.
    pub(crate) fn judge(&mut self, slot: u32, at: Option<Duration>) {
        if let Some(before) = std::mem::replace(&mut self[slot].judged, at) {
            self.judged.remove(&(before, slot));
        }
        self.judged.extend(at.map(|at| (at, slot)));
    }

    /// It is known when the silence of this link is judged.
    pub(crate) fn awaits_judgement(&self, slot: u32) -> bool {
        self[slot].judged.is_some()
    }

    /// Silent links, and when that is judged, the first one first.
    pub(crate) fn judged(&self) -> impl Iterator<Item = (Duration, u32)> + '_ {
        self.judged.iter().copied()
    }

    /// Frees the slot of a link whose last session is gone.
    pub(crate) fn free(&mut self, slot: u32) {
        debug_assert!(matches!(self[slot].phase, Phase::Ended(_)));
        self.slots[slot as usize] = None;
        self.free.push(slot);
    }

    pub(crate) fn set_opaque(&mut self, slot: u32, opaque: bool) {
        self[slot].opaque = opaque;
        match opaque && self[slot].is_active() {
            true => self.opaque.insert(slot),
            false => self.opaque.remove(&slot),
        };
    }

    /// The link has reported more than is kept.
    pub(crate) fn overflows(&mut self, slot: u32) {
        if !std::mem::replace(&mut self[slot].overflows, true) {
            self.overflown.push(slot);
        }
        self.set_opaque(slot, true);
    }

    /// Links that have done so, each once.
    pub(crate) fn take_overflown(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.overflown)
    }

    /// The link's list is complete, so its table can be trusted, unless it has reported too much.
    /// True if it is the first one.
    pub(crate) fn list_ends(&mut self, slot: u32) -> bool {
        let overflows = self[slot].overflows;
        self.set_opaque(slot, overflows);
        let before = std::mem::replace(&mut self[slot].reported, Reported::List);
        before != Reported::List
    }

    /// The gateway of this link is away.
    pub(crate) fn is_detached(&self, slot: u32) -> bool {
        self.reach.is_away(self[slot].id.gateway)
    }

    /// Its sessions are presence, and it will not tell for now when one of them ends.
    pub(crate) fn is_mute(&self, slot: u32) -> bool {
        let link = &self[slot];
        link.is_seat() || (link.is_active() && self.is_detached(slot))
    }

    /// Slots of active links that are opaque.
    pub(crate) fn opaque(&self) -> impl Iterator<Item = u32> + '_ {
        self.opaque.iter().map(|slot| {
            self.work.step();
            *slot
        })
    }

    /// It may have users of whom nothing is known.
    pub(crate) fn is_uncertain(&self, slot: u32) -> bool {
        let link = &self[slot];
        link.opaque || link.silent || !link.is_listed() || self.is_detached(slot)
    }

    /// Slots of active links, by gateway and number.
    pub(crate) fn active(&self) -> impl Iterator<Item = u32> + '_ {
        self.active.values().map(|slot| {
            self.work.step();
            *slot
        })
    }

    pub(crate) fn slot(&self, id: LinkId) -> Option<u32> {
        self.work.step();
        let place = self.place(id).ok()?;
        Some(self.order[place].1)
    }

    /// Open links by gateway and number.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.order.iter().map(|(_, slot)| {
            self.work.step();
            (*slot, &self[*slot])
        })
    }

    /// Slots of open links with ids above this one, by gateway and number.
    pub(crate) fn after(&self, id: LinkId) -> impl Iterator<Item = u32> + use<'_> {
        let first = self.order.partition_point(|(it, _)| *it <= id);
        self.order[first..].iter().map(|(_, slot)| {
            self.work.step();
            *slot
        })
    }

    /// Open links of one gateway.
    pub(crate) fn of_gateway(&self, gateway: u64) -> impl Iterator<Item = (u32, &Link)> {
        let first = self.order.partition_point(|(id, _)| id.gateway < gateway);
        self.order[first..]
            .iter()
            .take_while(move |(id, _)| id.gateway == gateway)
            .map(|(_, slot)| {
                self.work.step();
                (*slot, &self[*slot])
            })
    }

    /// Open links and seats that are, or may be, of the same MsgServer as this one. Of a crowd nothing
    /// is known but names.
    pub(crate) fn kin(&self, slot: u32) -> impl Iterator<Item = u32> + use<'_> {
        let link = &self[slot];
        let of_name = self.groups.of_name(link);
        let of_name = of_name.filter(move |member| !self.are_known_as_two(slot, *member));
        let of_address = self.groups.compared(link);
        let of_address = of_address.filter(move |member| self.may_be_one(slot, *member));
        let all = of_name.chain(of_address).inspect(|_| self.work.step());
        all.filter(move |member| *member != slot)
    }

    /// Open links and seats of this identity, the newest first.
    pub(crate) fn newest(&self, identity: &Identity) -> impl Iterator<Item = u32> + use<'_> {
        let all = self.groups.newest(identity);
        all.inspect(|_| self.work.step())
    }

    /// They share an address, and not both have a name: they may be of one MsgServer.
    pub(crate) fn may_be_one(&self, a: u32, b: u32) -> bool {
        let (a, b) = (&self[a], &self[b]);
        a.peer.ip() == b.peer.ip() && (a.msg_server.is_none() || b.msg_server.is_none())
    }

    /// Both have the same name: they are of one MsgServer, unless it is known that two have it.
    pub(crate) fn are_one(&self, a: u32, b: u32) -> bool {
        self.have_one_name(a, b) && !self.are_known_as_two(a, b)
    }

    /// They have one name, and it is known that two MsgServers have it.
    pub(crate) fn are_known_as_two(&self, a: u32, b: u32) -> bool {
        let is_rival = |a: u32, b: u32| self[a].rivals.contains(&self[b].id);
        is_rival(a, b) || is_rival(b, a)
    }

    pub(crate) fn have_one_name(&self, a: u32, b: u32) -> bool {
        let (a, b) = (&self[a].msg_server, &self[b].msg_server);
        a.is_some() && a == b
    }

    /// Each is among the other one's [kin](Self::kin).
    pub(crate) fn are_kin(&self, a: u32, b: u32) -> bool {
        let compared = || self.compares(a) && self.may_be_one(a, b);
        a != b && (self.are_one(a, b) || compared())
    }

    /// They have one name, and are known to be of two MsgServers.
    pub(crate) fn are_rivals(&mut self, a: u32, b: u32) {
        for (slot, other) in [(a, b), (b, a)] {
            let id = self[other].id;
            let mut rivals = std::mem::take(&mut self[slot].rivals);
            // Those that are closed are nobody's.
            rivals.retain(|it| *it != id && self.slot(*it).is_some());
            rivals.push(id);
            self[slot].rivals = rivals;
        }
    }

    /// It is open and has not claimed: what others are decides its part.
    pub(crate) fn follows(&self, slot: u32) -> bool {
        let link = self.get(slot);
        link.is_some_and(|link| link.is_open() && link.claim == Claim::None)
    }

    /// This link, then others of its MsgServer, if what others are decides their part.
    pub(crate) fn followers(&self, slot: u32) -> Vec<u32> {
        let all = [slot].into_iter().chain(self.kin(slot));
        all.filter(|slot| self.follows(*slot)).collect()
    }

    /// A link has claimed.
    pub(crate) fn claims(&mut self, slot: u32) {
        if let Some(link) = &self.slots[slot as usize] {
            self.groups.claims(link);
        }
    }

    /// Of the crowd at its address, somebody has claimed.
    pub(crate) fn is_in_claiming_crowd(&self, slot: u32) -> bool {
        self.groups.is_claiming_crowd(&self[slot])
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Link> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    fn place(&self, id: LinkId) -> Result<usize, usize> {
        self.order.binary_search_by_key(&id, |(id, _)| *id)
    }
}

impl std::ops::Index<u32> for Links {
    type Output = Link;

    fn index(&self, slot: u32) -> &Link {
        self.slots[slot as usize]
            .as_ref()
            .expect("a slot in use holds a link")
    }
}

impl std::ops::IndexMut<u32> for Links {
    fn index_mut(&mut self, slot: u32) -> &mut Link {
        self.slots[slot as usize]
            .as_mut()
            .expect("a slot in use holds a link")
    }
}
