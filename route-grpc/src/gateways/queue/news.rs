//! What a gateway is told beside its entries: only the newest counts, so it needs no bound and no
//! order.

use hashbrown::HashMap;
use route_proto::attach::v1::{AttachRoster, Confirmation, Downlink, LinkPause, LookAtLinks};

use crate::gateways::looks::MOST_AT_ONCE;
use crate::gateways::sequences::Progress;

/// What the present stream has not been told.
#[derive(Debug, Default)]
pub(super) struct News {
    /// One number for each link.
    confirmed: HashMap<u64, u64>,
    /// Links that are not to be read, or may be read again.
    pub(super) pauses: HashMap<u64, bool>,
    /// Which gateways there are.
    pub(super) roster: Option<Vec<String>>,
    /// Whether an operator drains the gateway.
    pub(super) draining: Option<bool>,
    /// Questions about links, the oldest first.
    looks: Vec<LookAtLinks>,
    /// A message is to be sent although there is nothing in it.
    pub(super) beat: bool,
}

impl News {
    /// There is none.
    pub(super) fn is_empty(&self) -> bool {
        self.confirmed.is_empty()
            && self.pauses.is_empty()
            && self.roster.is_none()
            && self.draining.is_none()
            && self.looks.is_empty()
            && !self.beat
    }

    /// Links have come so far.
    pub(super) fn confirm(&mut self, progress: &[Progress]) {
        self.confirmed.extend(progress.iter().copied());
    }

    /// Asks about links. Of more questions than may be, the oldest goes: nobody waits for its answer any more.
    pub(super) fn look_at(&mut self, look: LookAtLinks) {
        if self.looks.len() == MOST_AT_ONCE {
            self.looks.remove(0);
        }
        self.looks.push(look);
    }

    /// Takes it, in a message that has no entries yet.
    pub(super) fn take(&mut self) -> Downlink {
        self.beat = false;
        let confirmed = self.confirmed.drain();
        let confirmations = confirmed.map(|(link, sequence)| Confirmation { link, sequence });
        Downlink {
            confirmations: confirmations.collect(),
            pauses: self
                .pauses
                .drain()
                .map(|(link, on)| LinkPause { link, on })
                .collect(),
            roster: self
                .roster
                .take()
                .map(|gateway_ids| AttachRoster { gateway_ids }),
            looks: std::mem::take(&mut self.looks),
            draining: self.draining.take(),
            ..Downlink::default()
        }
    }
}
