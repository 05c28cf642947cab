//! Of many changes, the newest of each user.

use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use route_core::{Logged, PresenceChange, Summary, of_sessions};

use crate::api::watched::Watched;

/// Changes of so many users are merged at a time.
const MOST_USERS: usize = 16_384;

/// Or so many bytes, which they keep from leaving with the log.
const MOST_BYTES: usize = 4 << 20;

/// Changes that were read and wait to be told.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    of_users: HashMap<u32, Told>,
    bytes: usize,
}

/// A change, and how many older ones it stands for.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) position: u64,
    pub(crate) at: Duration,
    pub(crate) change: PresenceChange,
    pub(crate) merged: u32,
}

impl Told {
    /// One that stands for itself.
    pub(crate) fn new(logged: &Logged, change: &PresenceChange) -> Self {
        Self {
            position: logged.position,
            at: logged.at,
            change: change.clone(),
            merged: 0,
        }
    }

    /// What it takes, bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + of_sessions(self.change.sessions.as_deref())
    }
}

impl Newest {
    /// One more, newer than all before.
    pub(crate) fn add(&mut self, mut told: Told) {
        self.bytes += told.bytes();
        match self.of_users.entry(told.change.user.0) {
            Entry::Vacant(entry) => {
                entry.insert(told);
            }
            Entry::Occupied(mut entry) => {
                let before: Summary = entry.get().change.before;
                told.change.before = before;
                told.merged = entry.get().merged + 1;
                self.bytes -= entry.insert(told).bytes();
            }
        }
    }

    /// No more are to be merged with these.
    pub(crate) fn is_full(&self) -> bool {
        self.of_users.len() >= MOST_USERS || self.bytes >= MOST_BYTES
    }

    /// What is left to be told, in order: without what has cancelled itself out.
    pub(crate) fn into_told(self, watched: &Watched) -> Vec<Told> {
        let all = self.of_users.into_values();
        let mut told: Vec<_> = all.filter(|told| watched.wants(&told.change)).collect();
        told.sort_unstable_by_key(|told| told.position);
        told
    }
}
