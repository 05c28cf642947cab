//! What a gateway has not taken yet, in order, and bounded. Pure.

use std::collections::VecDeque;

use route_core::{Kept, Receipt};
use route_proto::attach::v1::downlink_entry::Entry;
use route_proto::attach::v1::{DeliveryRun, DownlinkEntry};

use super::run::{Part, RUN_BYTES};
use super::{OVERHEAD_BYTES, Retention};

/// Most bytes of payload in one Downlink, unless a single PDU is longer: large enough to pay for a
/// message, small enough to interleave with other streams.
const MESSAGE_BYTES: usize = 512 << 10;

/// Most entries in one Downlink.
const MESSAGE_ENTRIES: usize = 4096;

/// Entries, and which of them the present stream was handed.
#[derive(Debug)]
pub(super) struct Backlog {
    limit_bytes: usize,
    retention: Retention,
    /// Not handed out to the present stream.
    entries: VecDeque<Queued>,
    /// Handed out and not known to be taken, older than all of `entries`.
    sent: VecDeque<Queued>,
    /// Number of each Downlink that is not known to be taken, and the offset at which it ends.
    handed_out: VecDeque<(u64, u64)>,
    /// What the batches that caused an entry wait for: that so many entries were taken. In order.
    receipts: VecDeque<(u64, Kept)>,
    /// The gateway is away.
    away: bool,
    /// How many entries were ever queued; how many of them were taken.
    end: u64,
    taken: u64,
    /// Downlinks so far, of all streams; the last one that was taken.
    number: u64,
    taken_number: u64,
    pub(super) counts: Counts,
}

/// What a queue holds, and what became of the rest since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes that wait, or were not taken.
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

#[derive(Debug)]
struct Queued {
    entry: Entry,
    bytes: usize,
}

impl Backlog {
    /// An empty one.
    pub(super) fn new(limit_bytes: usize, retention: Retention) -> Self {
        Self {
            limit_bytes,
            retention,
            entries: VecDeque::new(),
            sent: VecDeque::new(),
            handed_out: VecDeque::new(),
            receipts: VecDeque::new(),
            away: true,
            end: 0,
            taken: 0,
            number: 0,
            taken_number: 0,
            counts: Counts::default(),
        }
    }

    /// Adds deliveries, to the last run if they follow it, if there is room.
    pub(super) fn deliver(&mut self, part: Part<'_>) {
        let bytes = part.bytes();
        // One thing always fits, whatever its size.
        if self.counts.bytes > 0 && self.counts.bytes + bytes > self.limit_bytes {
            self.counts.dropped += part.fan.items.len() as u64;
            return;
        }
        if !self.extend_last_run(part, bytes) {
            let bytes = bytes + OVERHEAD_BYTES + size_of_val(part.targets);
            self.push(Entry::Run(part.run()), bytes, &[]);
        }
        self.keep(part.fan.receipts);
    }

    fn extend_last_run(&mut self, part: Part<'_>, bytes: usize) -> bool {
        let Some(Queued {
            entry: Entry::Run(run),
            bytes: of_last,
        }) = self.entries.back_mut()
        else {
            return false;
        };
        let follows = *of_last + bytes <= RUN_BYTES && part.follows(run);
        if follows {
            run.deliveries.extend(part.deliveries());
            *of_last += bytes;
            self.counts.bytes += bytes;
        }
        follows
    }

    /// Adds something that these batches have caused, whatever the bound.
    pub(super) fn push(&mut self, entry: Entry, bytes: usize, receipts: &[Receipt]) {
        self.counts.bytes += bytes;
        self.end += 1;
        self.entries.push_back(Queued { entry, bytes });
        self.keep(receipts);
    }

    /// Keeps the receipts of those who have caused the last entry, or more of it.
    fn keep(&mut self, receipts: &[Receipt]) {
        if self.retention == Retention::None {
            return;
        }
        let rests = self.rests();
        for receipt in receipts {
            let last = self.receipts.back();
            let is_kept =
                |(offset, kept): &(u64, Kept)| *offset == self.end && kept.receipt() == receipt;
            if !last.is_some_and(is_kept) {
                self.receipts.push_back((self.end, receipt.keep(rests)));
            }
        }
    }

    /// What is kept for a gateway that is away is not waited for by those who have no patience, as
    /// long as it is not much.
    fn rests(&self) -> bool {
        self.away && !self.is_half_full()
    }

    /// The gateway has no stream any more, or it has one.
    pub(super) fn set_away(&mut self, away: bool) {
        self.away = away;
        let rests = self.rests();
        for (_, kept) in &mut self.receipts {
            kept.set_rests(rests);
        }
    }

    /// Hands out what is ready, as the Downlink with this number. Bounded; there may be more.
    pub(super) fn hand_out(&mut self) -> (u64, Vec<DownlinkEntry>) {
        let mut entries = Vec::with_capacity(self.entries.len().min(MESSAGE_ENTRIES));
        let mut bytes = 0;
        while let Some(queued) = self.entries.pop_front_if(|next| {
            let full = bytes + next.bytes > MESSAGE_BYTES || entries.len() == MESSAGE_ENTRIES;
            !full || entries.is_empty()
        }) {
            bytes += queued.bytes;
            let entry = match self.retention {
                Retention::UntilTaken => {
                    // Payloads are shared; what is copied is one list for a whole run.
                    let entry = queued.entry.clone();
                    self.sent.push_back(queued);
                    entry
                }
                Retention::None => queued.entry,
            };
            entries.push(DownlinkEntry { entry: Some(entry) });
        }
        self.number += 1;
        match self.retention {
            Retention::UntilTaken => {
                let end = self.end - self.entries.len() as u64;
                self.handed_out.push_back((self.number, end));
            }
            Retention::None => {
                self.counts.bytes -= bytes;
                self.taken += entries.len() as u64;
            }
        }
        if self.entries.is_empty() {
            // A burst's memory is not kept.
            self.entries.shrink_to(MESSAGE_ENTRIES);
        }
        (self.number, entries)
    }

    /// Every Downlink up to this number was taken. Returns how many entries that makes since the
    /// start.
    pub(super) fn taken_up_to(&mut self, number: u64) -> u64 {
        self.taken_number = self.taken_number.max(number);
        while let Some((_, end)) = self.handed_out.pop_front_if(|(n, _)| *n <= number) {
            for taken in self.sent.drain(..to_usize(end - self.taken)) {
                self.counts.bytes -= taken.bytes;
            }
            self.taken = end;
        }
        while self
            .receipts
            .pop_front_if(|(offset, _)| *offset <= self.taken)
            .is_some()
        {}
        if self.sent.is_empty() {
            self.sent.shrink_to(MESSAGE_ENTRIES);
            self.receipts.shrink_to(MESSAGE_ENTRIES);
        }
        self.taken
    }

    /// A new stream: what was handed out and not taken waits again.
    pub(super) fn hand_out_again(&mut self) {
        self.handed_out.clear();
        self.counts.resent += self.sent.len() as u64;
        while let Some(queued) = self.sent.pop_back() {
            self.entries.push_front(queued);
        }
        self.taken_number = self.number;
    }

    /// Takes the runs that were never handed out, for the gateway will not come back. What was
    /// handed out and not taken may have been written by it: that is given up, and counted.
    pub(super) fn give_up(&mut self) -> Vec<HeldRun> {
        let sent = self.sent.drain(..);
        self.counts.given_up += sent.map(|sent| deliveries(&sent.entry)).sum::<u64>();
        let mut runs = Vec::new();
        let first = self.first_offset();
        for (offset, queued) in (first..).zip(std::mem::take(&mut self.entries)) {
            if let Entry::Run(run) = queued.entry {
                let receipts = self.receipts_at(offset);
                runs.push(HeldRun { run, receipts });
            }
        }
        self.counts.bytes = 0;
        self.handed_out.clear();
        self.receipts.clear();
        self.taken = self.end;
        runs
    }

    /// Takes what waits for these links and was never handed out.
    pub(super) fn give_up_for(&mut self, links: &[u64]) -> Vec<HeldRun> {
        let mut runs = Vec::new();
        let mut emptied = Vec::new();
        let first = self.first_offset();
        let mut entries = std::mem::take(&mut self.entries);
        for (offset, queued) in (first..).zip(&mut entries) {
            let Entry::Run(run) = &mut queued.entry else {
                continue;
            };
            let targets: Vec<u64> = run.targets.extract_if(.., |t| links.contains(t)).collect();
            if targets.is_empty() {
                continue;
            }
            let deliveries = if run.targets.is_empty() {
                // Its place stays, because places are counted.
                self.counts.bytes -= queued.bytes - OVERHEAD_BYTES;
                queued.bytes = OVERHEAD_BYTES;
                emptied.push(offset);
                std::mem::take(&mut run.deliveries)
            } else {
                run.deliveries.clone()
            };
            let run = DeliveryRun {
                origin: run.origin,
                targets,
                position: run.position,
                deliveries,
                ..DeliveryRun::default()
            };
            let receipts = self.receipts_at(offset);
            runs.push(HeldRun { run, receipts });
        }
        self.entries = entries;
        let is_emptied = |offset: &u64| emptied.binary_search(offset).is_ok();
        self.receipts.retain(|(offset, _)| !is_emptied(offset));
        runs
    }

    /// Of the first entry that was not handed out.
    fn first_offset(&self) -> u64 {
        self.end - self.entries.len() as u64 + 1
    }

    /// Receipts of those who have caused this entry.
    fn receipts_at(&self, offset: u64) -> Vec<Receipt> {
        let from = self.receipts.partition_point(|(at, _)| *at < offset);
        let to = self.receipts.partition_point(|(at, _)| *at <= offset);
        let receipts = self.receipts.range(from..to);
        receipts.map(|(_, kept)| kept.receipt().clone()).collect()
    }

    /// Something was handed out that is not taken.
    pub(super) fn awaits_answer(&self) -> bool {
        !self.handed_out.is_empty()
    }

    /// Nothing is left to be handed out.
    pub(super) fn is_handed_out(&self) -> bool {
        self.entries.is_empty()
    }

    /// Something is there that the gateway has not taken.
    pub(super) fn awaits_taking(&self) -> bool {
        self.taken < self.end || self.taken_number < self.number
    }

    /// Whether what is handed out may be lost on its way.
    pub(super) fn retention(&self) -> Retention {
        self.retention
    }

    /// Downlinks so far.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// It holds more than half of what it may.
    fn is_half_full(&self) -> bool {
        self.counts.bytes > self.limit_bytes / 2
    }
}

#[allow(clippy::cast_possible_truncation)] // entries that are in memory
fn to_usize(count: u64) -> usize {
    count as usize
}

/// To how many links, and how many things to each.
fn deliveries(entry: &Entry) -> u64 {
    match entry {
        Entry::Run(run) => (run.targets.len() * run.deliveries.len()) as u64,
        Entry::Answer(_) | Entry::Close(_) | Entry::Ended(_) | Entry::TakenOver(_) => 0,
    }
}
