//! Two MsgServers with one name, by mistake: how that is found out.

use std::time::Duration;

use super::Standing;
use crate::links::Claim;

/// A dead link is known to be silent by then, and both links of a MsgServer have told the same: two that
/// are heard for so long, and do not fit, are of two MsgServers.
pub(super) const FOUND_OUT: Duration = Duration::from_secs(12);
/// A MsgServer whose link was closed is back within this time: after 4 s, or 8, or less if it had
/// another connection.
const FIGHT: Duration = Duration::from_secs(20);

/// A claimed link of this one's name, which has just taken the place of another one of the name, and
/// is alive, but has other users: two MsgServers have one name, by mistake. This one has claimed as it
/// connected, so its MsgServer had no other.
pub(super) fn rival(standing: Standing<'_>, slot: u32, now: Duration) -> Option<u32> {
    let links = standing.links();
    let is_rival = |leader: &u32| {
        let other = &links[*leader];
        let opened = links[slot].opened();
        let fights = other
            .ousted
            .is_some_and(|at| opened > Some(at) && now < at + FIGHT);
        let is_heard = other.is_open() && !other.silent && !links.is_detached(*leader);
        let likeness = standing.likeness(slot, *leader);
        let differs = !likeness.of_tables() && !likeness.is_of_nothing();
        // Of a crowd it is not known what they share.
        let differs = differs && links.count(slot, *leader);
        links.are_one(slot, *leader) && other.is_claimed() && fights && is_heard && differs
    };
    standing.leaders(slot).find(is_rival)
}

/// The link of its name that may be another MsgServer's. If this one has claimed: beside which it stands
/// until that is known. Else the one whose shadow it is.
pub(super) fn namesake(standing: Standing<'_>, slot: u32) -> Option<u32> {
    let links = standing.links();
    if links[slot].claim != Claim::None {
        let other = links[slot].supersedes.and_then(|id| links.slot(id));
        return other.filter(|it| links.are_one(slot, *it) && links[*it].is_claimed());
    }
    let other = standing.superior(slot);
    other.filter(|it| is_strange(standing, slot, *it))
}

/// This unclaimed link is a shadow of the other one by their name only: most of what it holds is not
/// there.
pub(super) fn is_strange(standing: Standing<'_>, slot: u32, other: u32) -> bool {
    let links = standing.links();
    let shared = u64::from(links.shared(slot, other));
    let differs = shared * 2 < u64::from(standing.held_by(slot));
    let is_told = |slot: u32| links[slot].is_open() && links[slot].is_listed();
    let are_told = is_told(slot) && is_told(other);
    // Of a crowd it is not known what they share.
    let is_counted = links.are_one(slot, other) && links.count(slot, other);
    are_told && is_counted && differs && standing.succeeded(slot).is_none()
}

/// A claimed link of this one's name, which is heard, while neither has any users: it is not known yet
/// whether this one's MsgServer is the same.
pub(super) fn is_contested(standing: Standing<'_>, slot: u32, leader: u32) -> bool {
    let links = standing.links();
    let other = &links[leader];
    let is_heard = other.is_open() && !other.silent && !links.is_detached(leader);
    let likeness = standing.likeness(slot, leader);
    likeness.named && likeness.is_of_nothing() && other.is_claimed() && is_heard
}

/// Links of this one's name that hold much the same, and itself.
pub(super) fn alike(standing: Standing<'_>, slot: u32) -> Vec<u32> {
    let links = standing.links();
    let is_alike = |other: &u32| links.are_one(slot, *other) && standing.are_alike(slot, *other);
    links.kin(slot).filter(is_alike).chain([slot]).collect()
}
