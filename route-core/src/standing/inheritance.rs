//! One link takes the place of another.

use std::time::Duration;

use crate::event_log::ChangeReason;
use crate::links::{Claim, Part, Phase};
use crate::routing::Routing;
use crate::succession::Heir;

/// `to` takes the place of `from`: presence, and deliveries. `has_served`: as the link that it is,
/// `to` has been routed something. `is_new`: what they hold does not say that they are of one
/// MsgServer. True if `from` is open; its gateway is asked to close it.
pub(super) fn take_place(
    routing: &mut Routing<'_>,
    now: Duration,
    from: u32,
    to: u32,
    (has_served, is_new): (bool, bool),
) -> bool {
    let Routing {
        router,
        presence,
        successions,
        out,
        ..
    } = routing;
    let was_active = presence.links[to].is_active();
    let led = presence.links[from].leads();
    let show = (!was_active).then_some(to);
    presence.swap(Some(from), show, ChangeReason::Standing, out);

    let heir = &mut presence.links[to];
    if !was_active {
        heir.serves_from = router.next_position();
    }
    heir.has_inherited = true;
    heir.supersedes = None;
    if heir.claim == Claim::None && led {
        heir.claim = Claim::StandIn;
    }
    heir.phase = Phase::Open(Part::Active);
    let heir = Heir {
        slot: to,
        id: heir.id,
        from: heir.serves_from,
        has_served,
    };
    let predecessor = &mut presence.links[from];
    let id = predecessor.id;
    let is_open = predecessor.is_open();
    let was_heard = is_open && !predecessor.silent;
    if is_open {
        // Whatever it still says is history.
        predecessor.phase = Phase::Open(Part::Shadow);
        out.close(id);
    }
    if was_heard && is_new && presence.links.are_one(from, to) {
        presence.links[to].ousted = Some(now);
    }
    // The other MsgServer of its name is still another one.
    let rival = presence.links[from].rival.take();
    if let Some(rival) = rival
        .and_then(|id| presence.links.slot(id))
        .filter(|it| *it != to)
    {
        presence.links.are_rivals(to, rival);
    }
    let predecessors = presence.links.succeeds(from, to);
    successions.inherit(now, from, predecessors, heir, out);
    is_open
}
