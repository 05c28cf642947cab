//! What a gateway has not taken yet, in order, and bounded. Pure.

use std::collections::{BTreeMap, HashSet, VecDeque};

use route_core::Receipt;
use route_proto::attach::v1::downlink_entry::Entry;
use route_proto::attach::v1::{DeliveryRun, DownlinkEntry};

use super::Retention;
use super::caused::Caused;
use super::given_up::{Counts, GivenUp, HeldRun};
use super::queued::Queued;
use super::run::{Part, RUN_BYTES};

/// Most bytes in one Downlink, unless a single PDU is longer: large enough to pay for a message,
/// small enough to interleave with other streams.
const MESSAGE_BYTES: usize = 512 << 10;

/// Most entries in one Downlink.
const MESSAGE_ENTRIES: usize = 4096;

/// So much waits as it is. Beyond, it is packed: what is taken at once costs nothing for that.
const LOOSE_ENTRIES: usize = 256;
const LOOSE_BYTES: usize = RUN_BYTES;

/// Entries, and which of them the present stream was handed.
#[derive(Debug)]
pub(super) struct Backlog {
    limit_bytes: usize,
    retention: Retention,
    /// Not handed out to the present stream.
    waiting: VecDeque<Queued>,
    /// How many entries that are.
    waiting_entries: u64,
    /// The last ones of those are not packed: how many, and their bytes.
    loose: (usize, usize),
    /// Handed out and not known to be taken, older than all that waits.
    sent: VecDeque<Queued>,
    /// Number of each Downlink that is not known to be taken, and the offset at which it ends.
    handed_out: VecDeque<(u64, u64)>,
    /// What the batches that caused an entry wait for: that so many entries were taken.
    caused: Caused,
    /// The gateway is away.
    away: bool,
    /// How many entries were ever queued; how many of them were taken.
    end: u64,
    taken: u64,
    /// Downlinks so far, of all streams; the last one that was taken.
    number: u64,
    taken_number: u64,
    /// What entries take, whether they wait or not.
    entry_bytes: usize,
    counts: Counts,
}

impl Backlog {
    /// An empty one.
    pub(super) fn new(limit_bytes: usize, retention: Retention) -> Self {
        Self {
            limit_bytes,
            retention,
            waiting: VecDeque::new(),
            waiting_entries: 0,
            loose: (0, 0),
            sent: VecDeque::new(),
            handed_out: VecDeque::new(),
            caused: Caused::default(),
            away: true,
            end: 0,
            taken: 0,
            number: 0,
            taken_number: 0,
            entry_bytes: 0,
            counts: Counts::default(),
        }
    }

    /// Adds deliveries, to the last run if they follow it, if there is room. Returns how many entries
    /// have to be taken before these are; none if there was no room.
    pub(super) fn deliver(&mut self, part: Part<'_>) -> Option<u64> {
        // One thing always fits, whatever its size.
        let bytes = self.bytes();
        if bytes > 0 && bytes + part.bytes() > self.limit_bytes {
            self.counts.dropped += part.fan.items.len() as u64;
            return None;
        }
        let last = self.waiting.back_mut();
        if let Some(grown) = last.and_then(|last| last.extend(part)) {
            self.entry_bytes += grown;
            if self.loose.0 > 0 {
                self.loose.1 += grown;
                self.pack_if_much();
            }
        } else {
            self.push(Entry::Run(part.run()), &[]);
        }
        self.keep(part.fan.receipts);
        Some(self.end)
    }

    /// Adds something that these batches have caused, whatever the bound.
    pub(super) fn push(&mut self, entry: Entry, receipts: &[Receipt]) {
        let queued = Queued::new(entry);
        self.end += 1;
        self.waiting_entries += 1;
        self.entry_bytes += queued.bytes();
        self.loose = match queued.is_large() {
            true => (0, 0),
            false => (self.loose.0 + 1, self.loose.1 + queued.bytes()),
        };
        self.waiting.push_back(queued);
        self.pack_if_much();
        self.keep(receipts);
    }

    fn pack_if_much(&mut self) {
        let (entries, bytes) = self.loose;
        if entries < LOOSE_ENTRIES && bytes < LOOSE_BYTES {
            return;
        }
        let loose = self.waiting.drain(self.waiting.len() - entries..);
        let packed = Queued::packed(loose);
        self.entry_bytes = self.entry_bytes + packed.bytes() - bytes;
        self.waiting.push_back(packed);
        self.loose = (0, 0);
    }

    /// Keeps the receipts of those who have caused the last entry, or more of it.
    fn keep(&mut self, receipts: &[Receipt]) {
        if self.retention == Retention::UntilTaken {
            self.caused.add(self.end, receipts, self.rests());
        }
    }

    /// What is kept for a gateway that is away is not waited for by those who have no patience, as
    /// long as it is not much.
    fn rests(&self) -> bool {
        self.away && self.bytes() <= self.limit_bytes / 2
    }

    /// The gateway has no stream any more, or it has one.
    pub(super) fn set_away(&mut self, away: bool) {
        self.away = away;
        self.caused.set_rests(self.rests());
    }

    /// Hands out what is ready, as the Downlink with this number. Bounded; there may be more.
    pub(super) fn hand_out(&mut self) -> (u64, Vec<DownlinkEntry>) {
        let mut entries = Vec::new();
        let mut bytes = 0;
        while let Some(queued) = self.waiting.pop_front_if(|next| {
            let full = bytes + next.bytes() > MESSAGE_BYTES
                || entries.len() + next.entries() > MESSAGE_ENTRIES;
            !full || entries.is_empty()
        }) {
            bytes += queued.bytes();
            self.waiting_entries -= queued.entries() as u64;
            match self.retention {
                Retention::UntilTaken => {
                    // Payloads are shared; what is copied is one list for a whole run.
                    entries.extend(queued.clone().into_entries());
                    self.sent.push_back(queued);
                }
                Retention::None => entries.extend(queued.into_entries()),
            }
        }
        self.number += 1;
        match self.retention {
            Retention::UntilTaken => {
                let end = self.end - self.waiting_entries;
                self.handed_out.push_back((self.number, end));
            }
            Retention::None => {
                self.entry_bytes -= bytes;
                self.taken += entries.len() as u64;
            }
        }
        if self.waiting.len() < self.loose.0 {
            let bytes = self.waiting.iter().map(Queued::bytes);
            self.loose = (self.waiting.len(), bytes.sum());
        }
        if self.waiting.is_empty() {
            // A burst's memory is not kept.
            self.waiting.shrink_to(MESSAGE_ENTRIES);
        }
        let entries = entries.into_iter();
        let entries = entries.map(|entry| DownlinkEntry { entry: Some(entry) });
        (self.number, entries.collect())
    }

    /// Every Downlink up to this number was taken. Returns how many entries that makes since the
    /// start.
    pub(super) fn taken_up_to(&mut self, number: u64) -> u64 {
        self.taken_number = self.taken_number.max(number);
        while let Some((_, end)) = self.handed_out.pop_front_if(|(n, _)| *n <= number) {
            while self.taken < end
                && let Some(taken) = self.sent.pop_front()
            {
                self.entry_bytes -= taken.bytes();
                self.taken += taken.entries() as u64;
            }
        }
        self.caused.taken_up_to(self.taken);
        if self.sent.is_empty() {
            self.sent.shrink_to(MESSAGE_ENTRIES);
        }
        self.taken
    }

    /// Nothing was handed out yet: counts Downlinks from this one on, which is taken.
    pub(super) fn begin_after(&mut self, number: u64) {
        (self.number, self.taken_number) = (number, number);
    }

    /// A new stream: what was handed out and not taken waits again.
    pub(super) fn hand_out_again(&mut self) {
        self.handed_out.clear();
        while let Some(queued) = self.sent.pop_back() {
            self.counts.resent += queued.entries() as u64;
            self.waiting_entries += queued.entries() as u64;
            self.waiting.push_front(queued);
        }
        self.taken_number = self.number;
    }

    /// Takes everything, for the gateway will not come back.
    pub(super) fn give_up(&mut self) -> GivenUp {
        let given_up = GivenUp {
            offset: self.first_offset(),
            sent: std::mem::take(&mut self.sent),
            waiting: std::mem::take(&mut self.waiting),
            caused: std::mem::take(&mut self.caused),
            by_link: BTreeMap::new(),
            bytes: self.entry_bytes,
            counts: Counts {
                bytes: 0,
                ..self.counts
            },
        };
        self.entry_bytes = 0;
        self.waiting_entries = 0;
        self.loose = (0, 0);
        self.handed_out.clear();
        self.taken = self.end;
        given_up
    }

    /// Takes what waits for these links and was never handed out.
    pub(super) fn give_up_for(&mut self, links: &[u64]) -> Vec<HeldRun> {
        let links: HashSet<u64> = links.iter().copied().collect();
        let mut runs = Vec::new();
        let mut emptied = Vec::new();
        let mut offset = self.first_offset();
        let mut waiting = std::mem::take(&mut self.waiting);
        for queued in &mut waiting {
            let first = offset;
            offset += queued.entries() as u64;
            let before = queued.bytes();
            queued.edit(|place, entry| {
                let Entry::Run(run) = entry else {
                    return false;
                };
                let Some(given_up) = take_for(run, &links) else {
                    return false;
                };
                let offset = first + place as u64;
                // Its place stays, because places are counted.
                emptied.extend(run.targets.is_empty().then_some(offset));
                let receipts = self.caused.receipts_at(offset);
                runs.push(HeldRun {
                    run: given_up,
                    receipts,
                });
                true
            });
            self.entry_bytes = self.entry_bytes + queued.bytes() - before;
        }
        self.waiting = waiting;
        // What is left of them is not loose any more, as far as that is counted.
        self.loose = (0, 0);
        self.caused.forget(&emptied);
        runs
    }

    /// Of the first entry that was not handed out.
    fn first_offset(&self) -> u64 {
        self.end - self.waiting_entries + 1
    }

    /// How many entries were taken since the start.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Something was handed out that is not taken.
    pub(super) fn awaits_answer(&self) -> bool {
        !self.handed_out.is_empty()
    }

    /// Nothing is left to be handed out.
    pub(super) fn is_handed_out(&self) -> bool {
        self.waiting.is_empty()
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

    /// What it holds, and what became of the rest.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            bytes: self.bytes(),
            ..self.counts
        }
    }

    fn bytes(&self) -> usize {
        self.entry_bytes + self.caused.bytes()
    }
}

/// Takes what is for these links out of a run, if anything is.
fn take_for(run: &mut DeliveryRun, links: &HashSet<u64>) -> Option<DeliveryRun> {
    let targets: Vec<u64> = run.targets.extract_if(.., |t| links.contains(t)).collect();
    if targets.is_empty() {
        return None;
    }
    let deliveries = match run.targets.is_empty() {
        true => std::mem::take(&mut run.deliveries),
        false => run.deliveries.clone(),
    };
    Some(DeliveryRun {
        origin: run.origin,
        targets,
        position: run.position,
        deliveries,
        ..DeliveryRun::default()
    })
}
