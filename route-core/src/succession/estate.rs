//! What links leave to their successor.

use crate::delivery::{ReturnedRun, Taken};
use crate::ids::LinkId;

/// What waits for a successor, or, if there is one, until it is complete.
#[derive(Debug, Default)]
pub(super) struct Estate {
    /// In order of position.
    runs: Vec<ReturnedRun>,
    bytes: usize,
    /// Links that may still give something back.
    pub(super) awaited: Vec<LinkId>,
    /// What was written to those that have given back everything.
    pub(super) taken: Vec<Taken>,
}

impl Estate {
    /// Keeps the run, or returns how many items are dropped because there is no room.
    pub(super) fn add(&mut self, limit: usize, run: ReturnedRun) -> u64 {
        let size: usize = run.items.iter().map(|item| item.payload.size()).sum();
        if self.bytes.saturating_add(size) > limit {
            return run.items.len() as u64;
        }
        self.bytes += size;
        let place = self
            .runs
            .partition_point(|held| held.position <= run.position);
        self.runs.insert(place, run);
        0
    }

    /// Adds that of the successor itself, whatever its size.
    pub(super) fn absorb(&mut self, other: Estate) {
        self.awaited.extend(other.awaited);
        self.taken.extend(other.taken);
        for run in other.runs {
            self.add(usize::MAX, run);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_deliveries(&self) -> bool {
        !self.runs.is_empty()
    }

    pub(super) fn items(&self) -> u64 {
        self.runs.iter().map(|run| run.items.len() as u64).sum()
    }

    /// The deliveries, in order of position.
    pub(super) fn into_runs(self) -> Vec<ReturnedRun> {
        self.runs
    }
}
