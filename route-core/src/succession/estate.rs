//! What links leave to their successor.

use crate::delivery::{Item, ReturnedRun, Taken};
use crate::ids::LinkId;
use crate::receipt::{Kept, Receipt};

/// What waits for a successor, or, if there is one, until it is complete.
#[derive(Debug, Default)]
pub(super) struct Estate {
    /// In order of position.
    runs: Vec<Held>,
    bytes: usize,
    /// Links that may still give something back.
    pub(super) awaited: Vec<LinkId>,
    /// What was written to those that have given back everything.
    pub(super) taken: Vec<Taken>,
    /// Of what made it, and of what told the rest.
    causes: Vec<Kept>,
}

/// A run that is held.
#[derive(Debug)]
struct Held {
    origin: LinkId,
    position: u64,
    items: Vec<Item>,
    receipts: Vec<Kept>,
}

impl Estate {
    /// Keeps the run, or returns how many items are dropped because there is no room.
    pub(super) fn add(&mut self, limit: usize, run: ReturnedRun) -> u64 {
        let size: usize = run.items.iter().map(|item| item.payload.size()).sum();
        if self.bytes.saturating_add(size) > limit {
            return run.items.len() as u64;
        }
        self.bytes += size;
        // Beyond half of the bound, those who send rather stop.
        let rests = self.bytes <= limit / 2;
        let place = self
            .runs
            .partition_point(|held| held.position <= run.position);
        let held = Held {
            origin: run.origin,
            position: run.position,
            items: run.items,
            receipts: run.receipts.iter().map(|it| it.keep(rests)).collect(),
        };
        self.runs.insert(place, held);
        0
    }

    /// Keeps copies of these receipts.
    pub(super) fn caused_by(&mut self, receipts: &[Receipt]) {
        for receipt in receipts {
            if !self.causes().any(|cause| cause == receipt) {
                self.causes.push(receipt.keep(true));
            }
        }
    }

    /// Receipts of what made it, and of what told the rest.
    pub(super) fn causes(&self) -> impl Iterator<Item = &Receipt> {
        self.causes.iter().map(Kept::receipt)
    }

    /// Adds that of the successor itself, whatever its size.
    pub(super) fn absorb(&mut self, other: Estate) {
        self.awaited.extend(other.awaited);
        self.taken.extend(other.taken);
        self.causes.extend(other.causes);
        self.bytes += other.bytes;
        self.runs.extend(other.runs);
        self.runs.sort_by_key(|run| run.position);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn items(&self) -> u64 {
        self.runs.iter().map(|run| run.items.len() as u64).sum()
    }

    /// The deliveries, in order of position.
    pub(super) fn into_runs(self) -> impl Iterator<Item = ReturnedRun> {
        self.runs.into_iter().map(|run| ReturnedRun {
            origin: run.origin,
            position: run.position,
            items: run.items,
            receipts: run.receipts.iter().map(|it| it.receipt().clone()).collect(),
        })
    }
}
