//! What becomes of the sessions of links that have ended, and who is told.

use std::collections::VecDeque;

use crate::ids::UserId;
use crate::links::Phase;
use crate::receipt::Receipt;
use crate::routing::Routing;
use crate::settings::NotifyOnLoss;

/// Sessions that are removed before it is looked at whether that is enough.
const PIECE: usize = 64;

/// Ended links whose sessions are still to be removed.
#[derive(Debug)]
pub(crate) struct Ending {
    notify: NotifyOnLoss,
    slots: VecDeque<(u32, Vec<Receipt>)>,
    /// Sessions of links that end now stay: the node is being stopped, with the gateway of its links.
    keeps: bool,
}

impl Ending {
    /// None yet.
    pub(crate) fn new(notify: NotifyOnLoss) -> Self {
        Ending {
            notify,
            slots: VecDeque::new(),
            keeps: false,
        }
    }

    /// From now on sessions of links that end stay, and nobody is told.
    pub(crate) fn keep(&mut self) {
        self.keeps = true;
    }

    /// The link is over; its sessions go by [`Ending::reap`].
    pub(crate) fn begin(&mut self, slot: u32, routing: &mut Routing<'_>) {
        let (presence, out) = (&*routing.presence, &mut *routing.out);
        routing.successions.forget(slot, presence, out);
        let links = &mut routing.presence.links;
        if let Phase::Seat(reason) = links[slot].phase {
            links.set_phase(slot, Phase::Ended(reason));
        }
        links.leave_group(slot);
        if self.keeps {
            return;
        }
        // Those of whom somebody is still to be told.
        let causes = match self.notify {
            NotifyOnLoss::None => Vec::new(),
            NotifyOnLoss::All => routing.out.causes().to_vec(),
        };
        self.slots.push_back((slot, causes));
    }

    /// Something is left of links that have ended.
    pub(crate) fn any(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Removes sessions of them, until so much has been done. True while there are more.
    pub(crate) fn reap(&mut self, routing: &mut Routing<'_>, until: u64) -> bool {
        while let Some((slot, causes)) = self.slots.front() {
            if routing.work() >= until {
                return true;
            }
            let slot = *slot;
            let before = routing.out.also_caused_by(causes);
            let more = remove_sessions(slot, self.notify, routing);
            routing.out.no_more(before);
            if !more {
                self.slots.pop_front();
                routing.presence.free(slot);
            }
        }
        false
    }
}

/// As if the link had reported that the last desktop clients of its users left.
fn remove_sessions(slot: u32, notify: NotifyOnLoss, routing: &mut Routing<'_>) -> bool {
    let Phase::Ended(reason) = routing.presence.links[slot].phase else {
        debug_assert!(false, "its connection is gone");
        return false;
    };
    if routing.presence.lags(slot) {
        let next = routing.presence.sessions.of_link(slot).take(PIECE);
        let next: Vec<UserId> = next.map(|client| client.user).collect();
        routing.align_all(next);
    }
    let mut vanished = Vec::new();
    let presence = &mut routing.presence;
    let more = presence.remove_some(slot, PIECE, reason, &mut vanished, routing.out);
    if notify == NotifyOnLoss::All {
        for user in vanished {
            routing.is_different(user, true);
        }
    }
    more
}
