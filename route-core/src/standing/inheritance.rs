//! One link takes the place of another.

use std::time::Duration;

use crate::event_log::ChangeReason;
use crate::links::{Claim, Part, Phase};
use crate::routing::Routing;
use crate::succession::Heir;

/// `to` takes the place of `from`: presence, and deliveries. `has_served`: as the link that it is,
/// `to` has been routed something. True if `from` is open; its gateway is asked to close it.
pub(super) fn take_place(
    routing: &mut Routing<'_>,
    now: Duration,
    from: u32,
    to: u32,
    has_served: bool,
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
    if was_heard && presence.links.are_one(from, to) {
        presence.links[to].ousted = Some(now);
    }
    successions.inherit(now, from, id, heir, out);
    is_open
}
