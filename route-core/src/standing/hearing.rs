//! What it says that nothing is heard of a link: of the rules in the parent module, those that need it.

use super::Standing;
use crate::links::Part;

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
