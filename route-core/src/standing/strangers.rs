//! One MsgServer that is taken for two, because its links have two addresses, or two names: it gets each
//! message twice, and its own kicks back. That can be seen, so it is said. If nothing more is heard of
//! the one address, the MsgServer has moved to the other one.

use super::transitions;
use crate::links::Link;
use crate::output::Outputs;
use crate::presence::Presence;
use crate::transition::TransitionKind;

/// So many sessions of a list are looked up.
const SAMPLE: usize = 64;
/// Fewer may be chance.
const FEW: usize = 4;
/// So many links of one client are looked at.
const HOLDERS: usize = 8;

/// A link's first list is complete. If most of it is held by one link that is taken for another
/// MsgServer's, that is said.
pub(crate) fn look_for_double(presence: &Presence, slot: u32, out: &mut Outputs) {
    if let Some(other) = double(presence, slot, |_| true) {
        let other = presence.links[other].id;
        let kind = TransitionKind::SameUsers;
        let said = transitions::transition(presence, slot, kind, Some(other));
        out.transition(said);
    }
}

/// The leading link that holds most of what this silent one does, and not much more: its MsgServer's
/// address has changed. Else its users have gone to another MsgServer.
pub(super) fn moved_to(presence: &Presence, silent: u32) -> Option<u32> {
    let has_name = presence.links[silent].msg_server.is_some();
    let held = |slot| u64::from(presence.sessions.kept_by(slot));
    let fits = |new: &u32| held(*new) <= 2 * held(silent);
    let new = double(presence, silent, |new| {
        let leads = new.is_active() && new.leads() && !new.silent;
        leads && !(has_name && new.msg_server.is_some())
    });
    new.filter(fits)
}

/// The link of another MsgServer, as it seems, that holds most of what this one does.
fn double(presence: &Presence, slot: u32, fits: impl Fn(&Link) -> bool) -> Option<u32> {
    let (links, sessions) = (&presence.links, &presence.sessions);
    let is_stranger = |other: &u32| {
        let is_here = links[*other].is_open() && !links.is_detached(*other);
        let may_be_one = links.may_be_one(slot, *other) || links.are_one(slot, *other);
        is_here && !may_be_one && fits(&links[*other])
    };
    let mut sampled = 0;
    let mut shared: Vec<(u32, usize)> = Vec::new();
    for client in sessions.of_link(slot).take(SAMPLE) {
        sampled += 1;
        for other in sessions
            .holders_of(client)
            .take(HOLDERS)
            .filter(is_stranger)
        {
            match shared.iter_mut().find(|(known, _)| *known == other) {
                Some((_, count)) => *count += 1,
                None => shared.push((other, 1)),
            }
        }
    }
    let is_most = |count: usize| sampled >= FEW && count * 2 > sampled;
    let most = shared.into_iter().find(|(_, count)| is_most(*count));
    most.map(|(other, _)| other)
}
