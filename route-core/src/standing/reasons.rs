//! Why a link plays its part, for people who ask.

use super::Standing;
use crate::links::{Claim, Part, Phase};
use crate::succession::Successions;

/// Why a link plays its part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PartReason {
    /// Active: its MsgServer has claimed it.
    Claimed,
    /// Active: it stands in for the claimed link of its MsgServer, which is gone or away.
    StandsIn,
    /// Active: it has not claimed, and no other link is known to stand for its MsgServer.
    Alone,
    /// Shadow: the other link leads, or is the seat of one that did.
    OtherClaimed,
    /// Shadow: the other link has not claimed either, and stands already.
    OtherStands,
    /// Shadow: there are too many links at its address to be compared.
    Crowd,
    /// Shadow: it is not known yet whose it is.
    Undecided,
    /// Shadow: the other link has taken its place.
    Succeeded,
    /// Waiting: the other link stands in for it.
    StoodInFor,
    /// Seat: its connection has ended.
    Closed,
}

impl Standing<'_> {
    /// Why a link that is open, or a seat, plays its part; and the slot of the other link that comes into it. None: it has
    /// ended.
    pub(crate) fn why(
        &self,
        slot: u32,
        successions: &Successions,
    ) -> Option<(PartReason, Option<u32>)> {
        let link = &self.links()[slot];
        let part = match link.phase {
            Phase::Open(part) => part,
            Phase::Seat(_) => return Some((PartReason::Closed, None)),
            Phase::Ended(_) => return None,
        };
        Some(match (part, link.claim) {
            (Part::Active, Claim::Claimed { .. }) => (PartReason::Claimed, None),
            (Part::Active, Claim::StandIn) => (PartReason::StandsIn, None),
            (Part::Active, Claim::None) => (PartReason::Alone, None),
            (Part::Waiting { stand_in }, _) => (PartReason::StoodInFor, Some(stand_in)),
            (Part::Shadow, _) => self.why_shadow(slot, successions),
        })
    }

    fn why_shadow(&self, slot: u32, successions: &Successions) -> (PartReason, Option<u32>) {
        let links = self.links();
        let heir = || successions.stands_for(links[slot].id, links);
        if let Some(heir) = heir() {
            (PartReason::Succeeded, Some(heir))
        } else if let Some(other) = self.superior(slot) {
            let reason = match self.leaders(slot).any(|leader| leader == other) {
                true => PartReason::OtherClaimed,
                false => PartReason::OtherStands,
            };
            (reason, Some(other))
        } else if links[slot].msg_server.is_none() && links.is_in_claiming_crowd(slot) {
            (PartReason::Crowd, None)
        } else {
            (PartReason::Undecided, None)
        }
    }
}
