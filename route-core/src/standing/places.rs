//! Whose place is taken by whom: what becomes of links that close, and of seats.

use super::{Outcome, Standing, strangers};
use crate::change::CloseReason;
use crate::links::{Claim, Part, Phase};

impl<'a> Standing<'a> {
    /// What becomes of a link whose connection is gone.
    pub(crate) fn closing(&self, slot: u32) -> Outcome {
        let link = &self.links()[slot];
        if !link.is_active() {
            return Outcome::Ends;
        }
        if let Some(heir) = self.heir(slot) {
            return Outcome::Inherits(heir);
        }
        if link.leads() && self.may_be_claimed(slot) {
            return Outcome::Seat;
        }
        let heir = self.junior(slot).or_else(|| self.moved_to(slot));
        heir.map_or(Outcome::Ends, Outcome::Inherits)
    }

    /// A shadow of this link, neither of which has claimed: the oldest that is heard, if any is.
    pub(crate) fn junior(&self, slot: u32) -> Option<u32> {
        let juniors = self.juniors(slot);
        juniors.min_by_key(|junior| self.links()[*junior].silent)
    }

    /// Shadows of this link, none of which has claimed, nor it.
    pub(super) fn juniors(&self, slot: u32) -> impl Iterator<Item = u32> + use<'_, 'a> {
        self.links().kin(slot).filter(move |other| {
            let junior = &self.links()[*other];
            let is_shadow = junior.part() == Some(Part::Shadow) && junior.claim == Claim::None;
            is_shadow && self.elder(*other) == Some(slot)
        })
    }

    /// What becomes of a seat: nobody has claimed, so the MsgServer is gone, or does not know that
    /// the gateway of its claimed link is.
    pub(crate) fn vacancy(&self, seat: u32) -> Outcome {
        let links = self.links();
        // What a shadow that is out of touch has said so far is old, and if the MsgServer knows
        // that this link is closed, a claim may be on its way.
        let shadows: Vec<u32> = self.shadows(seat).collect();
        let is_absent = |member: &u32| links.reach.is_absent(links[*member].id.gateway);
        let claim_may_come = links[seat].phase != Phase::Seat(CloseReason::GatewayLost)
            && shadows.iter().any(is_absent);
        if !claim_may_come {
            // It may have told of much since the gateway of this link was cut off.
            let is_told = |shadow: &u32| {
                let likeness = self.likeness(seat, *shadow);
                let is_tied = links[*shadow].tied == Some(links[seat].id);
                let is_tied = is_tied && likeness.shared > 0;
                let is_heard = links[*shadow].is_listed() && !links[*shadow].silent;
                is_heard && (is_tied || likeness.is_great())
            };
            let nearest = |shadow: &u32| (links.shared(seat, *shadow), links[*shadow].seniority());
            let told = shadows.iter().copied().filter(is_told);
            if let Some(shadow) = told.max_by_key(nearest) {
                return Outcome::Inherits(shadow);
            }
        }
        // A MsgServer that stands still knows of nothing.
        let is_silent = |shadow: &u32| links[*shadow].silent && links[*shadow].is_listed();
        let stands_still = shadows.iter().any(is_silent);
        if claim_may_come || stands_still || self.may_have_unknown_links(seat) {
            return Outcome::Seat;
        }
        Outcome::Ends
    }

    /// Somebody may still have the seat of this link: an heir, a shadow of it, or one of which it
    /// cannot be told, or one that the node does not know; or its MsgServer comes back, for we have
    /// asked it to go.
    pub(crate) fn may_be_claimed(&self, slot: u32) -> bool {
        self.links()[slot].phase == Phase::Seat(CloseReason::Drain)
            || self.heir(slot).is_some()
            || self.shadows(slot).next().is_some()
            || self.may_have_unknown_links(slot)
    }

    /// Who succeeds a link that has just closed: one that waits for it, or has claimed while it was
    /// open; the oldest of those of its name.
    pub(crate) fn heir(&self, closed: u32) -> Option<u32> {
        let links = self.links();
        let id = links[closed].id;
        let succeeds = |member: &u32| match links[*member].phase {
            Phase::Open(Part::Waiting { stand_in }) => stand_in == closed,
            Phase::Open(_) => {
                let supersedes = links[*member].supersedes == Some(id);
                supersedes && self.likeness(closed, *member).is_great()
            }
            Phase::Seat(_) | Phase::Ended(_) => false,
        };
        links.kin(closed).find(succeeds)
    }

    /// Nothing is left of this claimed link's MsgServer at its address: the claimed link to which it
    /// has moved.
    pub(crate) fn moved_to(&self, slot: u32) -> Option<u32> {
        let link = &self.links()[slot];
        let leads = link.leads() && (link.is_active() || link.is_seat());
        leads.then(|| strangers::moved_to(self.presence, slot))?
    }

    /// Shadows that may claim in the place of this link.
    pub(super) fn shadows(&self, slot: u32) -> impl Iterator<Item = u32> + use<'_, 'a> {
        let links = self.links();
        links.kin(slot).filter(move |member| {
            let link = &links[*member];
            let has_claimed =
                link.is_claimed() && (link.is_listed() || !links.are_one(slot, *member));
            let is_shadow = link.part() == Some(Part::Shadow) && !has_claimed;
            let shares_nothing = || {
                let mut leaders = self.leaders(*member);
                leaders.all(|leader| links.shared(*member, leader) == 0)
            };
            let may_be =
                || !link.is_listed() || self.nearest(*member) == Some(slot) || shares_nothing();
            let is_own = || self.elder(*member).is_none() || self.master(*member) == Some(slot);
            is_shadow && may_be() && is_own()
        })
    }

    /// Its identity has had several links at a time, and a gateway is away that may have one.
    fn may_have_unknown_links(&self, slot: u32) -> bool {
        self.links().reach.any_absent() && self.links().had_several(slot)
    }
}
