//! Whether the node is told of a link: with its first words, or when the gateway stops, whichever comes first; or never.

use std::time::Duration;

use parking_lot::Mutex;
use route_proto::attach::v1::LinkOpened;

use super::Link;
use crate::clock::micros;
use crate::links::peer::{Name, Peer};
use crate::unconfirmed::uplink::Uplink;

/// Of one link.
#[derive(Debug)]
pub(super) struct Telling {
    /// When it was connected.
    since: Duration,
    /// It is, or never will be.
    is_decided: Mutex<bool>,
}

impl Telling {
    /// It is not decided yet.
    pub(super) fn new(since: Duration) -> Self {
        Self {
            since,
            is_decided: Mutex::new(false),
        }
    }
}

impl Link {
    /// Tells the node of it, if nobody has.
    pub fn tell(&self, uplink: &Uplink) {
        // Whoever comes second finds the ledger there.
        let mut is_decided = self.telling.is_decided.lock();
        if std::mem::replace(&mut *is_decided, true) {
            return;
        }
        let Peer { address, name } = &self.peer;
        let opened = LinkOpened {
            peer: address.to_string(),
            msg_server: name.as_ref().map(Name::to_string).unwrap_or_default(),
            opened_at_micros: micros(self.telling.since).cast_unsigned(),
            ..LinkOpened::default()
        };
        uplink.open(self.number, opened);
    }

    /// It ends, and the node has not been told of it, nor will be. False if it has.
    pub fn stays_untold(&self) -> bool {
        let mut is_decided = self.telling.is_decided.lock();
        !std::mem::replace(&mut *is_decided, true)
    }
}
