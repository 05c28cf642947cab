//! Of many changes, the newest of each user.

use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use route_core::{Logged, PresenceChange, Summary};

use crate::api::watched::Watched;

/// Changes that were read and wait to be told.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    of_users: HashMap<u32, Told>,
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
}

impl Newest {
    /// One more, newer than all before.
    pub(crate) fn add(&mut self, mut told: Told) {
        match self.of_users.entry(told.change.user.0) {
            Entry::Vacant(entry) => {
                entry.insert(told);
            }
            Entry::Occupied(mut entry) => {
                let before: Summary = entry.get().change.before;
                told.change.before = before;
                told.merged = entry.get().merged + 1;
                entry.insert(told);
            }
        }
    }

    /// Of how many users.
    pub(crate) fn users(&self) -> usize {
        self.of_users.len()
    }

    /// What is left to be told, in order: without what has cancelled itself out.
    pub(crate) fn into_told(self, watched: &Watched) -> Vec<Told> {
        let all = self.of_users.into_values();
        let mut told: Vec<_> = all.filter(|told| watched.wants(&told.change)).collect();
        told.sort_unstable_by_key(|told| told.position);
        told
    }
}
