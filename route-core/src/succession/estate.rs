//! What links leave to their successor.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use crate::delivery::{Item, ReturnedRun, Taken};
use crate::ids::LinkId;
use crate::memory::allocated;
use crate::receipt::{Kept, Receipt};

/// Items in a run that more are added to.
const LONGEST: usize = 256;

/// What waits for a successor, or, if there is one, until it is complete.
#[derive(Debug)]
pub(super) struct Estate {
    /// The link whose seat this is, or that is settling.
    pub(super) holder: LinkId,
    pub(super) is_seat: bool,
    pub(super) until: Duration,
    /// The holder was active before it inherited, and what is older than this position comes late.
    pub(super) late_before: u64,
    /// In the order in which they came, without their receipts. In that of their positions, once it is
    /// complete.
    runs: VecDeque<(ReturnedRun, Vec<Kept>)>,
    /// Everything has come back: the holder is being given what is here.
    pub(super) is_complete: bool,
    /// What came too late for its turn, and has been given to the holder.
    late: HashSet<(LinkId, u64, u32)>,
    /// What they take.
    pub(super) bytes: usize,
    /// Links that may still give something back.
    pub(super) awaited: BTreeSet<LinkId>,
    /// What was written to those that have given back everything.
    pub(super) taken: Vec<Taken>,
    /// Of what made it, and of what told the rest.
    causes: BTreeSet<Kept>,
}

impl Estate {
    /// That of a link that leaves nothing yet.
    pub(super) fn of(holder: LinkId) -> Self {
        Estate {
            holder,
            is_seat: false,
            until: Duration::ZERO,
            late_before: 0,
            runs: VecDeque::new(),
            is_complete: false,
            late: HashSet::new(),
            bytes: 0,
            awaited: BTreeSet::new(),
            taken: Vec::new(),
            causes: BTreeSet::new(),
        }
    }

    /// Keeps the run, or returns how many items are dropped because there is no room.
    pub(super) fn add(&mut self, limit: usize, run: ReturnedRun) -> u64 {
        let cost = cost(&run);
        if self.bytes.saturating_add(cost) > limit {
            return run.items.len() as u64;
        }
        let Some(mut run) = self.extend_last(run) else {
            return 0;
        };
        self.bytes += cost;
        // Beyond half of the bound, those who send rather stop.
        let rests = self.bytes <= limit / 2;
        let receipts = std::mem::take(&mut run.receipts);
        let receipts = receipts.iter().map(|it| it.keep(rests)).collect();
        self.runs.push_back((run, receipts));
        0
    }

    /// Adds the items to the last run, if they follow it and have the same causes, or gives them
    /// back.
    fn extend_last(&mut self, run: ReturnedRun) -> Option<ReturnedRun> {
        let Some((last, kept)) = self.runs.back_mut() else {
            return Some(run);
        };
        let follows = last.origin == run.origin
            && last.position + last.items.len() as u64 == run.position
            && last.items.len() < LONGEST
            && run.receipts.iter().eq(kept.iter().map(Kept::receipt));
        if !follows {
            return Some(run);
        }
        let before = rows(&last.items);
        self.bytes += payloads(&run.items);
        last.items.extend(run.items);
        self.bytes += rows(&last.items) - before;
        None
    }

    /// Keeps copies of these receipts.
    pub(super) fn caused_by(&mut self, receipts: &[Receipt]) {
        for receipt in receipts {
            if !self.causes.contains(receipt) {
                self.causes.insert(receipt.keep(true));
            }
        }
    }

    /// Receipts of what made it, and of what told the rest.
    pub(super) fn causes(&self) -> Vec<Receipt> {
        copies(&self.causes)
    }

    /// Adds that of the successor itself, whatever its size.
    pub(super) fn absorb(&mut self, other: Estate) {
        self.awaited.extend(other.awaited);
        self.taken.extend(other.taken);
        self.causes.extend(other.causes);
        self.bytes += other.bytes;
        self.runs.extend(other.runs);
    }

    /// The lowest position.
    pub(super) fn from(&self) -> u64 {
        let positions = self.runs.iter().map(|(run, _)| run.position);
        positions.min().unwrap_or(u64::MAX)
    }

    pub(super) fn items(&self) -> u64 {
        self.runs
            .iter()
            .map(|(run, _)| run.items.len() as u64)
            .sum()
    }

    /// Everything has come back.
    pub(super) fn completes(&mut self) {
        self.is_complete = true;
        // What came back is mostly older than what was held before that.
        let runs = self.runs.make_contiguous();
        runs.sort_by_key(|(run, _)| run.position);
    }

    /// Some deliveries are still here.
    pub(super) fn waits(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Takes the next deliveries, in order of position.
    pub(super) fn take_next(&mut self) -> Option<ReturnedRun> {
        let (mut run, receipts) = self.runs.pop_front()?;
        run.receipts = copies(&receipts);
        self.bytes = self.bytes.saturating_sub(cost(&run));
        Some(run)
    }

    /// What a predecessor could not be sent may come back from an earlier node's time, and be routed by
    /// this one. Of what is late, gateways do not know what they have taken over.
    pub(super) fn is_news(&mut self, origin: LinkId, item: &Item) -> bool {
        self.late.insert((origin, item.sequence, item.index))
    }
}

/// What a run takes here, bytes.
fn cost(run: &ReturnedRun) -> usize {
    let receipts = allocated(run.receipts.len() * size_of::<Kept>());
    size_of::<(ReturnedRun, Vec<Kept>)>() + receipts + rows(&run.items) + payloads(&run.items)
}

fn rows(items: &Vec<Item>) -> usize {
    allocated(items.capacity() * size_of::<Item>())
}

fn payloads(items: &[Item]) -> usize {
    items.iter().map(|item| item.payload.cost()).sum()
}

fn copies<'a>(kept: impl IntoIterator<Item = &'a Kept>) -> Vec<Receipt> {
    let receipts = kept.into_iter().map(Kept::receipt);
    receipts.cloned().collect()
}
