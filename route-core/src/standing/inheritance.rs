//! One link takes the place of another.

use std::time::Duration;

use super::Standing;
use crate::event_log::ChangeReason;
use crate::links::{Claim, Part, Phase};
use crate::presence::Follow;
use crate::routing::Routing;
use crate::succession::Heir;

/// `to` takes the place of `from`: presence, and deliveries. `told`: MsgServers are told what is
/// different. True if `from` is open; its gateway is asked to close it.
pub(super) fn take_place(
    routing: &mut Routing<'_>,
    now: Duration,
    from: u32,
    to: u32,
    told: bool,
) -> bool {
    let standing = Standing::new(routing.presence, routing.router.position);
    let has_served = standing.has_served(to);
    let is_new = !standing.are_alike(from, to);
    let Routing {
        router,
        presence,
        successions,
        out,
        ..
    } = routing;
    let was_active = presence.links[to].is_active();
    let led = presence.links[from].leads();
    let reason = ChangeReason::Standing;
    presence.swap(Some(from), Some(to), Follow { reason, told }, out);

    let heir = &mut presence.links[to];
    if !was_active {
        heir.serves_from = router.next_position();
    }
    heir.has_inherited = true;
    heir.supersedes = None;
    if heir.claim == Claim::None && led {
        heir.claim = Claim::StandIn;
    }
    let heir = Heir {
        slot: to,
        id: heir.id,
        from: heir.serves_from,
        has_served,
    };
    presence.links.set_phase(to, Phase::Open(Part::Active));
    let predecessor = &presence.links[from];
    let id = predecessor.id;
    let is_open = predecessor.is_open();
    let was_heard = is_open && !predecessor.silent;
    if is_open {
        // Whatever it still says is history.
        let shadow = Phase::Open(Part::Shadow);
        presence.links.set_phase(from, shadow);
        out.close(id);
    }
    if was_heard && is_new && presence.links.are_one(from, to) {
        presence.links[to].ousted = Some(now);
    }
    // The other MsgServer of its name is still another one.
    for rival in std::mem::take(&mut presence.links[from].rivals) {
        let rival = presence.links.slot(rival).filter(|it| *it != to);
        if let Some(rival) = rival {
            presence.links.are_rivals(to, rival);
        }
    }
    let predecessors = presence.links.succeeds(from, to);
    successions.inherit(now, from, predecessors, heir, out);
    is_open
}
