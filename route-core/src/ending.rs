//! What becomes of the sessions of a link that has ended, and who is told.

use crate::change::{CloseReason, ReportedStatus};
use crate::core::{Core, tell};
use crate::event_log::ChangeReason;
use crate::ids::{ClientType, LinkId, UserId};
use crate::links::Phase;
use crate::notices;
use crate::settings::NotifyOnLoss;

/// A closing link frees this many sessions at once; the rest is left to [`Core::reap`], so that one large link does not
/// hold up everybody else.
const FREED_AT_CLOSE: usize = 1024;

impl Core {
    /// Removes up to `budget` sessions of links that have ended. True while there are more.
    pub fn reap(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while let Some(slot) = self.ending.front().copied() {
            let before = self.sessions.held_by(slot) as usize;
            if self.remove_sessions(slot, left) {
                return true;
            }
            self.ending.pop_front();
            self.links.free(slot);
            left = left.saturating_sub(before);
        }
        false
    }

    /// The link is over; its sessions go, some now and the rest by [`Core::reap`].
    pub(crate) fn end(&mut self, slot: u32) {
        self.links[slot].phase = Phase::Ended;
        self.links.leave_group(slot);
        if self.remove_sessions(slot, FREED_AT_CLOSE) {
            self.ending.push_back(slot);
        } else {
            self.links.free(slot);
        }
    }

    fn remove_sessions(&mut self, slot: u32, budget: usize) -> bool {
        let reason = match self.links[slot].ended {
            CloseReason::GatewayLost => ChangeReason::GatewayLost,
            CloseReason::Peer
            | CloseReason::Idle
            | CloseReason::BadFrame
            | CloseReason::SlowReader
            | CloseReason::Drain
            | CloseReason::Requested => ChangeReason::LinkClosed,
        };
        let outbox = &mut self.outbox;
        let mut vanished = Vec::new();
        let more = self
            .sessions
            .remove_some(slot, budget, |user, before, after| {
                tell(outbox, user, before, after, reason);
                if before.legacy_online && !after.legacy_online {
                    vanished.push(user);
                }
            });
        if self.settings.notify_on_loss == NotifyOnLoss::All {
            // A node that does this again has to number the notices as its predecessor did.
            vanished.sort_unstable();
            self.notify_of_loss(slot, &vanished);
        }
        more
    }

    /// As if the link had reported that these users' last desktop client left.
    fn notify_of_loss(&mut self, slot: u32, vanished: &[UserId]) {
        let link = &self.links[slot];
        let (origin, sequence, mut index) = match link.ended {
            // The link may come back, and use its next number itself.
            CloseReason::GatewayLost => (LinkId::NODE, self.position + 1, 0),
            CloseReason::Peer
            | CloseReason::Idle
            | CloseReason::BadFrame
            | CloseReason::SlowReader
            | CloseReason::Drain
            // After everything that its entries caused.
            | CloseReason::Requested => (link.id, link.sequence + 1, link.loss_notices),
        };
        for &user in vanished {
            let known = self.sessions.is_known(user);
            let after = self.sessions.summary(user);
            let left = ReportedStatus::Offline;
            for notice in notices::after_update(user, ClientType(1), left, known, after) {
                self.notify(origin, sequence, &mut index, notice);
            }
        }
        self.links[slot].loss_notices = index;
    }
}
