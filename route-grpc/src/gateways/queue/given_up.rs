//! What is left in the queue of a gateway that will not come back. It may be much, so it is taken in
//! pieces.

use std::collections::{BTreeMap, VecDeque};

use route_core::Receipt;
use route_proto::attach::v1::DeliveryRun;
use route_proto::attach::v1::downlink_entry::Entry;

use super::caused::Caused;
use super::queued::Queued;

/// What a queue holds, and what became of the rest since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of memory that what waits takes, or was not taken.
    pub bytes: usize,
    /// Entries that were handed out more than once.
    pub resent: u64,
    /// Deliveries that found no room.
    pub dropped: u64,
    /// Deliveries that were handed to the gateway, which was lost before it had taken them.
    pub given_up: u64,
}

/// A run that was never handed out, and who has caused it.
#[derive(Debug)]
pub(crate) struct HeldRun {
    pub(crate) run: DeliveryRun,
    pub(crate) receipts: Vec<Receipt>,
}

/// What was handed out and not taken, and what was never handed out.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(super) sent: VecDeque<Queued>,
    pub(super) waiting: VecDeque<Queued>,
    /// Of the first entry that waits.
    pub(super) offset: u64,
    pub(super) caused: Caused,
    pub(super) counts: Counts,
    /// Of what was looked at and is given up, by number of the link: the first position, and how many deliveries.
    pub(super) by_link: BTreeMap<u64, (u64, u64)>,
    /// What all of it takes, bytes of memory.
    pub(super) bytes: usize,
}

impl GivenUp {
    /// What is left takes so many bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Looks at some more. Returns how many entries these were, and the runs among them that were
    /// never handed out. What was handed out may have been written: it is given up, and counted.
    pub(crate) fn take_next(&mut self) -> Option<(usize, VecDeque<HeldRun>)> {
        if let Some(sent) = self.sent.pop_front() {
            self.bytes = self.bytes.saturating_sub(sent.bytes());
            let entries = sent.entries();
            let sent = sent.into_entries();
            for entry in sent {
                self.give_up(&entry);
            }
            return Some((entries, VecDeque::new()));
        }
        // Who has caused what was handed out waits for it no longer.
        self.caused.taken_up_to(self.offset - 1);
        let waiting = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(waiting.bytes());
        let entries = waiting.entries();
        let mut runs = VecDeque::new();
        for (offset, entry) in (self.offset..).zip(waiting.into_entries()) {
            if let Entry::Run(run) = entry {
                let receipts = self.caused.receipts_at(offset);
                runs.push_back(HeldRun { run, receipts });
            }
        }
        self.offset += entries as u64;
        Some((entries, runs))
    }

    fn give_up(&mut self, entry: &Entry) {
        let Entry::Run(run) = entry else {
            return;
        };
        let deliveries = run.deliveries.len() as u64;
        for link in &run.targets {
            let (from, lost) = self.by_link.entry(*link).or_insert((run.position, 0));
            *from = run.position.min(*from);
            *lost += deliveries;
            self.counts.given_up += deliveries;
        }
    }

    /// One more link of which something was given up, once everything was looked at: its number, the first position, and how
    /// many deliveries.
    pub(crate) fn next_given_up(&mut self) -> Option<(u64, (u64, u64))> {
        self.by_link.pop_first()
    }

    /// What became of everything.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}
