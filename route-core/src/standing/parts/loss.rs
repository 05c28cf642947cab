//! The links of a gateway that will not come back.

use super::Parts;
use crate::change::{CloseReason, Effect};
use crate::ids::LinkId;
use crate::links::{Phase, Reach};

/// A link that was lost with its gateway, of which it is still to be decided what becomes of it.
#[derive(Debug)]
pub(crate) struct Lost {
    slot: u32,
    id: LinkId,
    has_seat: bool,
}

impl Parts<'_> {
    /// A gateway will not come back: its links end, all at once, so that nothing goes to one of
    /// them because of the end of another. What becomes of each is decided one after the other,
    /// those that leave seats last.
    pub(crate) fn lose_gateway(&mut self, gateway: u64) {
        const REASON: CloseReason = CloseReason::GatewayLost;
        let links = &mut self.routing.presence.links;
        links.reach.set(gateway, Reach::Here);
        let lost: Vec<u32> = links.of_gateway(gateway).map(|(slot, _)| slot).collect();
        for slot in &lost {
            self.notes_close(*slot, REASON);
        }
        let (seats, ending): (Vec<u32>, Vec<u32>) = lost.into_iter().partition(|slot| {
            let link = &self.routing.presence.links[*slot];
            link.is_active() && (link.leads() || self.standing().junior(*slot).is_some())
        });
        let links = &mut self.routing.presence.links;
        links.end_connections(gateway, Phase::Ended(REASON));
        for slot in &seats {
            self.leave_seat(*slot, REASON, self.settings.seat_hold);
        }
        for (slots, has_seat) in [(ending, false), (seats, true)] {
            let links = &self.routing.presence.links;
            self.lost.extend(slots.into_iter().map(|slot| Lost {
                slot,
                id: links[slot].id,
                has_seat,
            }));
        }
    }

    /// Goes on with that. True while there are more.
    pub(crate) fn lose_some(&mut self, until: u64) -> bool {
        while self.routing.work() < until {
            let Some(Lost { slot, id, has_seat }) = self.lost.pop_front() else {
                return false;
            };
            let links = &self.routing.presence.links;
            let link = links.get(slot).filter(|link| link.id == id);
            // Else somebody has claimed the seat.
            if link.is_none_or(|link| link.is_seat() != has_seat) {
                continue;
            }
            let kin = links.kin(slot).collect::<Vec<_>>();
            if !has_seat {
                self.end(slot);
            } else if let Some(heir) = self.standing().heir(slot) {
                // Who has not claimed another link by now does not know that it should.
                self.inherit(slot, heir, Effect::Notify);
            } else {
                self.vacate(slot);
            }
            self.is_gone(slot, &kin);
        }
        !self.lost.is_empty()
    }
}
