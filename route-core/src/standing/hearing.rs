//! What it says that nothing is heard of a link: of the rules in the parent module, those that need it.

use std::time::Duration;

use super::Standing;
use crate::links::Part;

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
        let opened = links[slot].opened;
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

/// Silent links whose place this one may take, or that it may show to be cut.
pub(super) fn silent_before(standing: Standing<'_>, slot: u32) -> Vec<u32> {
    let links = standing.links();
    let link = &links[slot];
    let is_before = |leader: &u32| match link.part() {
        _ if link.supersedes == Some(links[*leader].id) => true,
        Some(Part::Waiting { stand_in }) => stand_in == *leader,
        Some(Part::Shadow) => true,
        Some(Part::Active) | None => false,
    };
    let silent = |it: &u32| links[*it].silent;
    let leaders = standing.leaders(slot).filter(is_before);
    leaders.chain(standing.elder(slot)).filter(silent).collect()
}

/// The link that takes the place of this claimed one because nothing is heard of it.
pub(super) fn successor(standing: Standing<'_>, slot: u32) -> Option<u32> {
    let links = standing.links();
    let link = &links[slot];
    if !link.silent || !link.is_active() || !link.leads() {
        return None;
    }
    standing.heir(slot).filter(|heir| !links[*heir].silent)
}

/// Shadows of this link of which something is heard. If there are any, and nothing is heard of itself,
/// it is cut in one direction.
pub(super) fn heard_shadows(standing: Standing<'_>, slot: u32) -> Vec<u32> {
    let links = standing.links();
    let link = &links[slot];
    if !link.silent || !link.is_active() {
        return Vec::new();
    }
    let is_heard = |shadow: &u32| {
        let shadow = &links[*shadow];
        !shadow.silent && shadow.is_listed() && !links.reach.is_absent(shadow.id.gateway)
    };
    match link.leads() {
        true => standing.shadows(slot).filter(is_heard).collect(),
        false => standing.juniors(slot).filter(is_heard).collect(),
    }
}
