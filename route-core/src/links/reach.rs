//! Which gateways can be reached. Those that are there are not in the table.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Gateways that may have links, or news of links, that are not known here.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    gateways: HashMap<u64, Absence, RandomState>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Absence {
    /// Its stream is broken.
    Detached,
    /// Its stream is open, but it is silent, or has not told everything that has happened.
    Silent,
}

impl Reach {
    /// The stream broke.
    pub(crate) fn detach(&mut self, gateway: u64) {
        self.gateways.insert(gateway, Absence::Detached);
    }

    /// There is a new stream; what happened meanwhile is still to be told.
    pub(crate) fn reattach(&mut self, gateway: u64) {
        if self.is_detached(gateway) {
            self.gateways.insert(gateway, Absence::Silent);
        }
    }

    /// A gateway with a stream has told everything, or may be about to be lost.
    pub(crate) fn set_silent(&mut self, gateway: u64, silent: bool) {
        if self.is_detached(gateway) {
            return;
        }
        if silent {
            self.gateways.insert(gateway, Absence::Silent);
        } else {
            self.gateways.remove(&gateway);
        }
    }

    /// The gateway will not come back.
    pub(crate) fn forget(&mut self, gateway: u64) {
        self.gateways.remove(&gateway);
    }

    /// What it has said so far may be old.
    pub(crate) fn is_absent(&self, gateway: u64) -> bool {
        self.gateways.contains_key(&gateway)
    }

    /// Is any?
    pub(crate) fn any_absent(&self) -> bool {
        !self.gateways.is_empty()
    }

    pub(crate) fn is_detached(&self, gateway: u64) -> bool {
        self.gateways.get(&gateway) == Some(&Absence::Detached)
    }

    /// Is any?
    pub(crate) fn any_detached(&self) -> bool {
        let mut absences = self.gateways.values();
        absences.any(|absence| *absence == Absence::Detached)
    }
}
