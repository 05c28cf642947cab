//! Which gateways can be reached. Those that are here are not in the table.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// How a gateway can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// It has told everything that has happened.
    Here,
    /// Its stream is open, but it is silent, or has not told everything that has happened.
    Silent,
    /// Its stream is broken. Its links stay, with their sessions, and are still delivered to.
    Away,
}

/// Gateways that may have links, or news of links, that are not known here.
#[derive(Debug, Default)]
pub(crate) struct Absent {
    gateways: HashMap<u64, Reach, RandomState>,
}

impl Absent {
    /// From now on the gateway can be reached like this.
    pub(crate) fn set(&mut self, gateway: u64, reach: Reach) {
        match reach {
            Reach::Here => self.gateways.remove(&gateway),
            Reach::Silent | Reach::Away => self.gateways.insert(gateway, reach),
        };
    }

    /// What it has said so far may be old.
    pub(crate) fn is_absent(&self, gateway: u64) -> bool {
        self.gateways.contains_key(&gateway)
    }

    /// Is any?
    pub(crate) fn any_absent(&self) -> bool {
        !self.gateways.is_empty()
    }

    /// It has no stream.
    pub(crate) fn is_away(&self, gateway: u64) -> bool {
        self.gateways.get(&gateway) == Some(&Reach::Away)
    }
}
