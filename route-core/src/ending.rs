//! What becomes of the sessions of links that have ended, and who is told.

use std::collections::VecDeque;

use crate::change::{CloseReason, ReportedStatus};
use crate::ids::{ClientType, LinkId};
use crate::links::{End, Phase};
use crate::presence::Client;
use crate::receipt::Receipt;
use crate::routing::{Cause, Routing};
use crate::settings::NotifyOnLoss;

/// Sessions of a link are freed in pieces of this many.
const PIECE: usize = 256;
/// The same if others are told of it, whatever else happens: notices are numbered by piece, and a node
/// that frees them again has to number them as its predecessor did.
const TOLD_PIECE: usize = 1024;
/// Links that close in one transaction free this many sessions at once, or a piece more; the rest is
/// left to [`Ending::reap`], so that one large link, or many, do not hold up everybody else.
const FREED_AT_CLOSE: usize = 1024;

/// Ended links whose sessions are still to be removed.
#[derive(Debug)]
pub(crate) struct Ending {
    notify: NotifyOnLoss,
    slots: VecDeque<(u32, Vec<Receipt>)>,
    /// What may still be freed at once.
    budget: usize,
}

impl Ending {
    /// None yet.
    pub(crate) fn new(notify: NotifyOnLoss) -> Self {
        Ending {
            notify,
            slots: VecDeque::new(),
            budget: FREED_AT_CLOSE,
        }
    }

    /// A transaction begins.
    pub(crate) fn begins(&mut self) {
        self.budget = FREED_AT_CLOSE;
    }

    /// The link is over; its sessions go, some now and the rest by [`Ending::reap`].
    pub(crate) fn begin(&mut self, slot: u32, routing: &mut Routing<'_>) {
        let (presence, out) = (&*routing.presence, &mut *routing.out);
        routing.successions.forget(slot, presence, out);
        let links = &mut routing.presence.links;
        if let Phase::Seat(reason) = links[slot].phase {
            links[slot].phase = Phase::Ended(End { reason, notices: 0 });
        }
        links.leave_group(slot);
        let kept = |routing: &Routing<'_>| routing.presence.sessions.kept_by(slot) as usize;
        let mut left = kept(routing);
        while left > 0 && self.budget > 0 {
            remove_sessions(slot, self.notify, routing);
            let removed = left - kept(routing);
            self.budget = self.budget.saturating_sub(removed);
            left -= removed;
        }
        if left > 0 {
            // Those of whom somebody is still to be told.
            let causes = match self.notify {
                NotifyOnLoss::None => Vec::new(),
                NotifyOnLoss::All => routing.out.causes().to_vec(),
            };
            self.slots.push_back((slot, causes));
        } else {
            routing.presence.links.free(slot);
        }
    }

    /// Something is left of links that have ended.
    pub(crate) fn any(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Removes a piece of the sessions of one of them.
    pub(crate) fn reap(&mut self, routing: &mut Routing<'_>) {
        let Some((slot, causes)) = self.slots.front() else {
            return;
        };
        let slot = *slot;
        let before = routing.out.also_caused_by(causes);
        let more = remove_sessions(slot, self.notify, routing);
        routing.out.no_more(before);
        if !more {
            self.slots.pop_front();
            routing.presence.links.free(slot);
        }
    }
}

/// As if the link had reported that the last desktop clients of its users left.
fn remove_sessions(slot: u32, notify: NotifyOnLoss, routing: &mut Routing<'_>) -> bool {
    let Phase::Ended(end) = routing.presence.links[slot].phase else {
        debug_assert!(false, "its connection is gone");
        return false;
    };
    let piece = match notify {
        NotifyOnLoss::None => PIECE,
        NotifyOnLoss::All => TOLD_PIECE,
    };
    let mut vanished = Vec::new();
    let presence = &mut routing.presence;
    let more = presence.remove_some(slot, piece, end.reason, &mut vanished, routing.out);
    if notify == NotifyOnLoss::All {
        let mut cause = cause_of_end(slot, end, routing);
        vanished.sort_unstable();
        for user in vanished {
            let client_type = ClientType::published(1);
            let client = Client { user, client_type };
            routing.notify(&mut cause, client, ReportedStatus::Offline);
        }
        routing.presence.links[slot].phase = Phase::Ended(End {
            notices: cause.index,
            ..end
        });
    }
    more
}

/// Names the notices of a link's end.
fn cause_of_end(slot: u32, end: End, routing: &Routing<'_>) -> Cause {
    // The link may come back, and use its next number itself.
    if end.reason == CloseReason::GatewayLost {
        return Cause::entry(LinkId::NODE, routing.router.next_position());
    }
    let link = &routing.presence.links[slot];
    Cause {
        origin: link.id,
        // After everything that its entries caused.
        sequence: link.sequence + 1,
        index: end.notices,
    }
}
