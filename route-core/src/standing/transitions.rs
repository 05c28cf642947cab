//! What is said of links whose part changes.

use crate::ids::LinkId;
use crate::links::{Claim, Link, Part};
use crate::presence::Presence;
use crate::transition::{Transition, TransitionKind};

/// This happens to a link now.
pub(super) fn transition(
    presence: &Presence,
    slot: u32,
    kind: TransitionKind,
    other: Option<LinkId>,
) -> Transition {
    let link = &presence.links[slot];
    Transition {
        link: link.id,
        peer: link.peer,
        identity: link.identity().to_string(),
        sessions: presence.sessions.held_by(slot),
        kind,
        other,
    }
}

/// It takes another one's place.
pub(super) fn of_heir(heir: &Link) -> TransitionKind {
    match heir.claim {
        Claim::Claimed { .. } => TransitionKind::Succeeds,
        Claim::StandIn | Claim::None => TransitionKind::StandsIn,
    }
}

/// It plays this part from now on, without a claim.
pub(super) fn of_part(part: Part) -> TransitionKind {
    match part {
        Part::Active => TransitionKind::Stands,
        Part::Shadow | Part::Waiting { .. } => TransitionKind::Follows,
    }
}
