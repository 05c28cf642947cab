//! A MsgServer's connections: at most one to each of its gateways, and one of them claimed.

use std::time::Duration;

/// Gateways of a cast.
pub const GATEWAYS: usize = 2;
/// MsgServers come back 4 s after they lost a connection, at the earliest.
pub const RECONNECT_AFTER: Duration = Duration::from_secs(4);
/// They say so often that they are there.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// The connections of one MsgServer. Which is the first to be there is claimed; when that one dies,
/// the next one is.
#[derive(Debug)]
pub struct Connections<C> {
    /// Gateways that it connects to, and its connection to each, if there is one.
    slots: Vec<(usize, Option<C>)>,
    /// The slot of the claimed one.
    primary: Option<usize>,
}

impl<C> Connections<C> {
    /// None is there yet.
    pub fn new(gateways: impl IntoIterator<Item = usize>) -> Self {
        Self {
            slots: gateways
                .into_iter()
                .map(|gateway| (gateway, None))
                .collect(),
            primary: None,
        }
    }

    /// One is there. True if it has to be claimed.
    pub fn open(&mut self, slot: usize, connection: C) -> bool {
        self.slots[slot].1 = Some(connection);
        let claims = self.primary.is_none();
        if claims {
            self.primary = Some(slot);
        }
        claims
    }

    /// One is gone. The one that has to be claimed now, if it was the claimed one, and there is
    /// another.
    pub fn lose(&mut self, slot: usize) -> Option<&C> {
        self.slots[slot].1 = None;
        if self.primary != Some(slot) {
            return None;
        }
        self.primary = self.slots.iter().position(|(_, open)| open.is_some());
        self.primary()
    }

    /// The claimed one, on which everything is sent but status updates.
    pub fn primary(&self) -> Option<&C> {
        self.slots[self.primary?].1.as_ref()
    }

    /// All that are there.
    pub fn live(&self) -> impl Iterator<Item = &C> {
        self.slots.iter().filter_map(|(_, open)| open.as_ref())
    }

    /// All that are there, and whether each is the claimed one.
    pub fn with_primary(&self) -> impl Iterator<Item = (&C, bool)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, (_, open))| Some((open.as_ref()?, self.primary == Some(slot))))
    }

    /// By slot: the gateway, and the connection to it.
    pub fn slots(&self) -> &[(usize, Option<C>)] {
        &self.slots
    }

    /// The gateways.
    pub fn gateways(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().map(|(gateway, _)| *gateway)
    }

    /// Each of its connections is there.
    pub fn is_whole(&self) -> bool {
        self.slots.iter().all(|(_, open)| open.is_some())
    }
}

/// The gateways of each MsgServer of a cast, the one that it claims first: every second MsgServer
/// has both.
pub fn gateways_of(server: usize) -> Vec<usize> {
    let first = server % GATEWAYS;
    if server < super::population::SERVERS / 2 {
        vec![first]
    } else {
        vec![first, (first + 1) % GATEWAYS]
    }
}
