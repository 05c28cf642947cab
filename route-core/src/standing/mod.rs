//! Which link stands for a MsgServer.
//!
//! A MsgServer may be connected to several gateways. It claims one of its connections, reports
//! status on all of them and everything else on the claimed one; when that dies, it claims another
//! within milliseconds. The protocol carries no identity: links may belong to one MsgServer when
//! their IP addresses are equal, and several MsgServers may share an address. The rules:
//!
//! - A claimed link is **active**: it receives, its sessions are presence, its updates cause
//!   notices.
//! - An unclaimed link is active too, unless an active claimed link with a complete list, or a
//!   seat, has its address: then it is a **shadow**, whose table is kept silently.
//! - A claimed link that closes while an unclaimed link with a complete list has its address leaves
//!   a **seat**: its sessions stay, what is routed to it is held. The claim of another link of that
//!   address inherits: it gets what was held, its own table replaces the seat's, and notices are
//!   made for the differences only. A seat that nobody inherits ends as a closed link.
//!
//! Refinements follow from several MsgServers behind one address, and from gateways that report at
//! different speed or are away for a while:
//!
//! - The tables tell MsgServers apart. Of several candidates, a claim inherits from the one whose
//!   table is most like its own. Two tables are **alike** if most of the smaller one is in both.
//! - A claim may be known before the close that caused it, or its gateway may be away. A MsgServer
//!   claims another connection when the old one is dead and not before; so the claiming link
//!   inherits at once, the old one is a shadow from then on, and its gateway is asked to close it.
//! - If the gateway of a claimed link is lost while its MsgServer does not know, nobody claims.
//!   Then an unclaimed link with a table like it stands in. When the claimed one comes back it
//!   **waits** as a shadow, for as long as its stand-in lives.
//!
//! [`Standing`] decides, and changes nothing. `parts` carries out what it decides.

mod likeness;
pub(crate) mod parts;

use std::net::IpAddr;
use std::time::Duration;

use crate::change::CloseReason;
use crate::links::{Claim, Links, Part, Phase};
use crate::presence::Presence;
use likeness::{Likeness, likeness, most_alike};

/// The facts by which it is decided which link stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    presence: &'a Presence,
    now: Duration,
    /// Of the last thing that was routed.
    position: u64,
}

/// What becomes of a link that closes, or of a seat that nobody has claimed in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// This one takes its place.
    Inherits(u32),
    /// It is a seat from now on, or for longer: somebody may claim.
    Seat,
    /// It is over.
    Ends,
}

/// How a claimed link that is back stands to the others of its MsgServer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Return {
    /// It has claimed later than this one, and succeeds it.
    Succeeds(u32),
    /// This one has claimed later, and succeeds it.
    IsSucceeded(u32),
    /// This one has stood in for it, and goes on doing so.
    Waits {
        /// Its slot.
        stand_in: u32,
    },
    /// It has none.
    Stands,
}

impl<'a> Standing<'a> {
    /// As things are now.
    pub(crate) fn new(presence: &'a Presence, now: Duration, position: u64) -> Self {
        Standing {
            presence,
            now,
            position,
        }
    }

    /// From whom a claiming link inherits: the most similar seat or claimed link of its address. An
    /// open link counts only if their tables are alike; of equals, a seat before an open link, the
    /// newest before the others.
    pub(crate) fn predecessor(&self, slot: u32) -> Option<u32> {
        let links = self.links();
        // Before its list, a claim is that of a MsgServer that has just connected: it succeeds
        // nobody.
        if !links[slot].is_listed() {
            return None;
        }
        let mut best: Option<(u32, Likeness)> = None;
        for member in self.others(slot) {
            let link = &links[member];
            let stands = link.leads() && link.is_active();
            let likeness = self.likeness(member, slot);
            if !(link.is_seat() || (stands && likeness.is_great())) {
                continue;
            }
            let better = match best {
                None => true,
                Some((chosen, before)) => {
                    likeness.exceeds(before)
                        || (!before.exceeds(likeness)
                            && (link.is_seat() || links[chosen].is_open()))
                }
            };
            if better {
                best = Some((member, likeness));
            }
        }
        best.map(|(chosen, _)| chosen)
    }

    /// A claimed link steps back while its first list comes in parts, if another link of its
    /// address serves the same users: so nobody gets anything twice.
    pub(crate) fn is_served(&self, slot: u32) -> bool {
        let links = self.links();
        let link = &links[slot];
        let serves = |other: u32| {
            let other = &links[other];
            other.is_active() && !other.is_claimed() && other.is_listed()
        };
        link.is_claimed() && link.is_active() && self.others(slot).any(serves)
    }

    /// Of a link that claimed before its list: the seat, or the link whose gateway is away, that it
    /// succeeds, because it is that of a MsgServer that came back.
    pub(crate) fn vacant(&self, slot: u32) -> Option<u32> {
        let links = self.links();
        if !links[slot].is_claimed() {
            return None;
        }
        let is_vacant = |member: u32| {
            let link = &links[member];
            let serves = link.leads() && link.is_active();
            !link.is_open() || (serves && links.is_detached(member))
        };
        let half = |member: u32| {
            let common = self.likeness(member, slot).common;
            common > 0 && common * 2 >= u64::from(self.presence.sessions.held_by(member))
        };
        let group = links.group(links[slot].peer.ip()).iter().rev().copied();
        let mut others = group.filter(|member| *member != slot);
        others.find(|member| is_vacant(*member) && half(*member))
    }

    /// A link that a predecessor of this node, or this node until it lost the gateway, knew as
    /// claimed is back with its table. Which of its MsgServer's links stands for it now?
    pub(crate) fn back(&self, slot: u32) -> Return {
        let links = self.links();
        let serves = |member: &u32| links[*member].is_active() && links[*member].is_listed();
        let Some(other) = self.most_alike(slot, self.others(slot).filter(serves)) else {
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

    /// What becomes of a link whose connection is gone.
    pub(crate) fn closing(&self, slot: u32) -> Outcome {
        let link = &self.links()[slot];
        if !(link.is_active() && link.leads()) {
            return Outcome::Ends;
        }
        if let Some(heir) = self.heir(slot) {
            return Outcome::Inherits(heir);
        }
        let may_claim = |member| self.links()[member].may_claim();
        // A known unclaimed link may be of the same MsgServer.
        if self.others(slot).any(may_claim) || self.may_have_unknown_links(link.peer.ip()) {
            return Outcome::Seat;
        }
        Outcome::Ends
    }

    /// What becomes of a seat: nobody has claimed, so the MsgServer is gone, or does not know that
    /// the gateway of its claimed link is.
    pub(crate) fn vacancy(&self, seat: u32) -> Outcome {
        let siblings = || {
            let others = self.others(seat);
            others.filter(|member| self.links()[*member].may_claim())
        };
        // What a sibling that is out of touch has said so far is old, and if the MsgServer knows
        // that this link is closed, a claim may be on its way.
        let reach = &self.links().reach;
        let is_absent = |member: u32| reach.is_absent(self.links()[member].id.gateway);
        let claim_may_come = self.links()[seat].phase != Phase::Seat(CloseReason::GatewayLost)
            && siblings().any(is_absent);
        if !claim_may_come && let Some(sibling) = self.most_alike(seat, siblings()) {
            return Outcome::Inherits(sibling);
        }
        if self.may_have_unknown_links(self.links()[seat].peer.ip()) {
            return Outcome::Seat;
        }
        Outcome::Ends
    }

    /// Who succeeds a link that has just closed: of the links that claimed without inheriting, the
    /// one most like it, unless one that has not claimed yet is more like it, or it is less like
    /// that one than some other claimed link.
    pub(crate) fn heir(&self, closed: u32) -> Option<u32> {
        let links = self.links();
        let expects = |member: &u32| match links[*member].phase {
            Phase::Open(Part::Waiting { stand_in }) => stand_in == closed,
            Phase::Open(_) => {
                let expects = links[*member].expects;
                expects.is_some_and(|expects| expects.until >= self.now)
            }
            Phase::Seat(_) | Phase::Ended(_) => false,
        };
        let mut best: Option<(u32, Likeness)> = None;
        for member in self.others(closed).filter(expects) {
            let likeness = self.likeness(closed, member);
            let may_be = likeness.common > 0 || likeness.fewer == 0;
            if may_be && best.is_none_or(|(_, before)| likeness.exceeds(before)) {
                best = Some((member, likeness));
            }
        }
        let (heir, likeness) = best?;
        let waits = matches!(links[heir].phase, Phase::Open(Part::Waiting { .. }));
        let rival = self.others(closed).any(|member| {
            let link = &links[member];
            if link.may_claim() {
                let rivals = self.likeness(closed, member);
                rivals.exceeds(likeness) || (!waits && !likeness.exceeds(rivals))
            } else {
                let stands = link.is_active() && link.leads();
                member != heir && stands && self.likeness(member, heir).exceeds(likeness)
            }
        });
        (!rival).then_some(heir)
    }

    /// The open link that waits for this one, its stand-in.
    pub(crate) fn waits_for(&self, ip: IpAddr, stand_in: u32) -> Option<u32> {
        let waits = Phase::Open(Part::Waiting { stand_in });
        let mut group = self.links().group(ip).iter().copied();
        group.find(|member| self.links()[*member].phase == waits)
    }

    /// Unclaimed links of an address are shadows while another link, or a seat, stands there.
    /// Returns those that play another part so far, and the part.
    pub(crate) fn followers(&self, ip: IpAddr) -> (Part, Vec<u32>) {
        let links = self.links();
        let group = || links.group(ip).iter().copied();
        // One that waits stands through the one that it waits for.
        let stands = |slot: u32| {
            let link = &links[slot];
            link.is_seat() || (link.leads() && link.is_active())
        };
        let part = if group().any(stands) {
            Part::Shadow
        } else {
            Part::Active
        };
        let changes = |slot: &u32| {
            let link = &links[*slot];
            link.claim == Claim::None && link.is_open() && link.part() != Some(part)
        };
        (part, group().filter(changes).collect())
    }

    /// Something was routed to it while it was active.
    pub(crate) fn has_served(&self, slot: u32) -> bool {
        let link = &self.links()[slot];
        link.is_active() && self.position >= link.serves_from
    }

    /// A MsgServer of this address has had several links at a time, and a gateway is away that may
    /// have one of them.
    fn may_have_unknown_links(&self, ip: IpAddr) -> bool {
        self.links().reach.any_absent() && self.links().had_several(ip)
    }

    fn links(&self) -> &'a Links {
        &self.presence.links
    }

    /// Links and seats of the same address, oldest first.
    fn others(&self, slot: u32) -> impl Iterator<Item = u32> + use<'a> {
        let links = self.links();
        let group = links.group(links[slot].peer.ip()).iter().copied();
        group.filter(move |member| *member != slot)
    }

    fn likeness(&self, a: u32, b: u32) -> Likeness {
        likeness(&self.presence.sessions, a, b)
    }

    fn most_alike(&self, slot: u32, others: impl Iterator<Item = u32>) -> Option<u32> {
        most_alike(&self.presence.sessions, slot, others)
    }
}

#[cfg(test)]
mod tests;
