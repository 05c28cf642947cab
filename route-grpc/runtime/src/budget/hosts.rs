//! What each host has of what comes in, in the orders in which it is asked for: nothing is searched, however
//! many there are.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hashbrown::HashMap;
use tokio::time::Instant;

/// None: a host that is not known.
pub(super) type Host = Option<IpAddr>;

/// All that have something, or wait.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    all: HashMap<Host, OfHost>,
    /// Those that wait: what they have, and who of them waits first.
    waiting: BTreeSet<(usize, u64, Host)>,
    /// Those that have something: how much.
    holding: BTreeSet<(usize, Host)>,
}

/// By number.
#[derive(Debug, Default)]
pub(super) struct OfHost {
    /// What those take that have their memory and were not cut off.
    pub(super) bytes: usize,
    /// Who waits.
    pub(super) waits: BTreeSet<u64>,
    /// Who has memory, since when.
    pub(super) has: BTreeSet<(Instant, u64)>,
    /// How many there are, with those that were cut off.
    pub(super) count: usize,
}

impl Hosts {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// What this one has.
    pub(super) fn bytes_of(&self, host: Host) -> usize {
        self.all.get(&host).map_or(0, |it| it.bytes)
    }

    /// Who waits and is next: of the host that has least, the first.
    pub(super) fn next(&self) -> Option<u64> {
        self.waiting.first().map(|(_, number, _)| *number)
    }

    /// The one that has most, and how much.
    pub(super) fn fullest(&self) -> Option<(Host, usize)> {
        self.holding.last().map(|(bytes, host)| (*host, *bytes))
    }

    /// Who of this one has had memory for longest.
    pub(super) fn oldest_of(&self, host: Host) -> Option<u64> {
        let oldest = self.all.get(&host)?.has.first();
        oldest.map(|(_, number)| *number)
    }

    /// Changes what one has.
    pub(super) fn change(&mut self, host: Host, change: impl FnOnce(&mut OfHost)) {
        let mut it = self.all.remove(&host).unwrap_or_default();
        if let Some(first) = it.waits.first() {
            self.waiting.remove(&(it.bytes, *first, host));
        }
        self.holding.remove(&(it.bytes, host));
        change(&mut it);
        if let Some(first) = it.waits.first() {
            self.waiting.insert((it.bytes, *first, host));
        }
        if it.bytes > 0 {
            self.holding.insert((it.bytes, host));
        }
        if it.count > 0 {
            self.all.insert(host, it);
        }
    }
}
