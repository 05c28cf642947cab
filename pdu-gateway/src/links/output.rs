//! What waits to be written to one link.
//!
//! [`Output`] is the queue: runs that other links get too, and the link's own PDUs (answers, heartbeats). The link's
//! writer takes all of it at once as a [`Batch`] and writes that, as much as its socket takes at a time, without holding
//! the queue's lock. Both know what of them is written, so that what is not can be given back when the link ends.

mod packed;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use route_proto::attach::v1::DeliveryRun;
use route_proto::pdu;

use self::packed::Packed;
use crate::links::run::Run;
use crate::memory::allocated;
use crate::trace::Arriving;

/// Own PDUs are gathered in pieces of about this, bytes.
const OWN_PIECE: usize = 64 << 10;

/// So many small runs wait as they are. Beyond, they are packed: what is written at once costs nothing for that.
const LOOSE: usize = 256;

/// What is given back may take so many times what a queue may. What was packed there takes three times as much.
const GIVEN_BACK: usize = 2;

/// A queue that has had room for more items gives it back when it is empty.
const ROOMY: usize = 4 * LOOSE;

#[derive(Debug)]
enum Item {
    Run(Arc<Run>),
    /// Small runs that have waited.
    Packed(Box<Packed>),
    /// PDUs for this link only.
    Own(Vec<u8>),
}

impl Item {
    /// One of its segments, which are written one after the other.
    fn segment(&self, index: usize) -> Option<&[u8]> {
        match self {
            Item::Run(run) => run.segments().get(index).map(|segment| &**segment),
            Item::Packed(packed) => (index == 0).then_some(packed.wire()),
            Item::Own(piece) => (index == 0).then_some(piece),
        }
    }

    /// What it takes, bytes. What is shared counts at each link.
    fn cost(&self) -> usize {
        // Its place, in a queue that doubles.
        2 * size_of::<Self>()
            + match self {
                Item::Run(run) => run.cost(),
                Item::Packed(packed) => packed.cost(),
                Item::Own(piece) => allocated(piece.capacity()),
            }
    }

    /// PDUs in it.
    fn pdus(&self) -> usize {
        match self {
            Item::Run(run) => run.pdus(),
            Item::Packed(packed) => packed.pdus(),
            Item::Own(piece) => pdu::count(piece),
        }
    }

    fn small_run(&self) -> Option<&Run> {
        match self {
            Item::Run(run) if Packed::takes(run) => Some(run),
            Item::Run(_) | Item::Packed(_) | Item::Own(_) => None,
        }
    }
}

/// The queue of one link.
#[derive(Debug, Default)]
pub struct Output {
    items: VecDeque<Item>,
    /// Not yet written, what the writer has taken included.
    bytes: usize,
    /// What that takes in memory.
    cost: usize,
    /// So many items at the end are small runs.
    loose: usize,
    /// Memory for the next own piece.
    spare: Vec<u8>,
    /// Written since the start.
    written: u64,
    /// The same of whole PDUs.
    written_pdus: u64,
    /// What is traced, by how much has to be written since the start.
    traced: VecDeque<(u64, Arriving)>,
}

impl Output {
    /// Appends a run, unless there is nothing of it to be written.
    pub fn push_run(&mut self, run: Arc<Run>) {
        if run.bytes() == 0 {
            return;
        }
        for (end, arriving) in run.traced() {
            let end = self.written + (self.bytes + end) as u64;
            self.traced.push_back((end, arriving.clone()));
        }
        self.bytes += run.bytes();
        let item = Item::Run(run);
        self.loose = item.small_run().map_or(0, |_| self.loose + 1);
        self.cost += item.cost();
        self.items.push_back(item);
        if self.loose == LOOSE {
            self.pack();
        }
    }

    fn pack(&mut self) {
        let loose = self.items.range(self.items.len() - self.loose..);
        let packed = Packed::of(loose.clone().filter_map(Item::small_run));
        let before: usize = loose.map(Item::cost).sum();
        let packed = Item::Packed(Box::new(packed));
        self.cost = self.cost + packed.cost() - before;
        self.items.truncate(self.items.len() - self.loose);
        self.items.push_back(packed);
        self.loose = 0;
    }

    /// Appends PDUs for this link only, which `encode` appends to what it is given.
    pub fn push_own(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.loose = 0;
        if !matches!(self.items.back(), Some(Item::Own(piece)) if piece.len() < OWN_PIECE) {
            let item = Item::Own(std::mem::take(&mut self.spare));
            self.cost += item.cost();
            self.items.push_back(item);
        }
        if let Some(item) = self.items.back_mut() {
            let cost = item.cost();
            if let Item::Own(piece) = item {
                let before = piece.len();
                encode(piece);
                self.bytes += piece.len() - before;
            }
            self.cost = self.cost + item.cost() - cost;
        }
    }

    /// What was pushed last is traced.
    pub fn trace(&mut self, arriving: Arriving) {
        let end = self.written + self.bytes as u64;
        self.traced.push_back((end, arriving));
    }

    /// The next traced thing that has been written.
    pub fn arrived(&mut self) -> Option<Arriving> {
        let written = self.written;
        let (_, arriving) = self.traced.pop_front_if(|(end, _)| *end <= written)?;
        Some(arriving)
    }

    /// Moves everything that waits to `batch`, which is done.
    pub fn take(&mut self, batch: &mut Batch) {
        debug_assert!(batch.is_done());
        std::mem::swap(&mut self.items, &mut batch.items);
        self.loose = 0;
        if self.items.capacity() > ROOMY {
            self.items = VecDeque::new();
        }
        if self.spare.capacity() == 0 {
            self.spare = std::mem::take(&mut batch.spare);
        }
    }

    /// The writer has written so much of what it took.
    pub fn written(&mut self, written: Written) {
        self.bytes -= written.bytes;
        self.cost -= written.freed;
        self.written += written.bytes as u64;
        self.written_pdus += written.pdus as u64;
    }

    /// PDUs and bytes that have been written since the start.
    pub fn sent(&self) -> (u64, u64) {
        (self.written_pdus, self.written)
    }

    /// What all of it takes in memory, bytes.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Not yet written, what the writer has taken included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing waits that the writer has not taken.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// What the writer has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub bytes: usize,
    /// Memory that is free by that, bytes.
    pub freed: usize,
    /// PDUs that are complete by that; those of one run are when all of them are.
    pub pdus: usize,
}

/// What the writer is writing.
#[derive(Debug, Default)]
pub struct Batch {
    items: VecDeque<Item>,
    /// In the first item: segments that are written.
    segments: usize,
    /// In the segment after those: bytes that are written.
    offset: usize,
    spare: Vec<u8>,
}

impl Batch {
    /// Everything is written.
    pub fn is_done(&self) -> bool {
        self.items.is_empty()
    }

    /// Fills `slices` with what is to be written next. Returns how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut filled, mut next, mut offset) = (0, self.segments, self.offset);
        for item in &self.items {
            while let Some(segment) = item.segment(next) {
                let Some(slice) = slices.get_mut(filled) else {
                    return filled;
                };
                *slice = IoSlice::new(&segment[offset..]);
                filled += 1;
                next += 1;
                offset = 0;
            }
            next = 0;
        }
        filled
    }

    /// So many bytes of the slices have been written.
    pub fn advance(&mut self, bytes: usize) -> Written {
        let (freed, pdus) = self.skip(bytes);
        Written { bytes, freed, pdus }
    }

    /// Returns what is free by that, and how many PDUs are complete.
    fn skip(&mut self, mut bytes: usize) -> (usize, usize) {
        let (mut freed, mut pdus) = (0, 0);
        while let Some(item) = self.items.front() {
            let Some(segment) = item.segment(self.segments) else {
                freed += item.cost();
                pdus += item.pdus();
                self.end_item();
                continue;
            };
            let left = segment.len() - self.offset;
            if bytes < left {
                self.offset += bytes;
                return (freed, pdus);
            }
            bytes -= left;
            self.segments += 1;
            self.offset = 0;
        }
        debug_assert_eq!(bytes, 0, "more was written than there was");
        (freed, pdus)
    }

    fn end_item(&mut self) {
        if let Some(Item::Own(mut piece)) = self.items.pop_front()
            && piece.capacity() <= 2 * OWN_PIECE
        {
            piece.clear();
            self.spare = piece;
        }
        self.segments = 0;
    }

    /// Written bytes of the first item.
    fn begun(&self) -> usize {
        let segments = match self.items.front() {
            Some(Item::Run(run)) => run.segments(),
            Some(Item::Packed(_) | Item::Own(_)) | None => &[],
        };
        let whole = segments.iter().take(self.segments).map(bytes::Bytes::len);
        whole.sum::<usize>() + self.offset
    }
}

/// Deliveries that could not be written.
#[derive(Debug, PartialEq)]
pub struct GivenBack {
    /// Most bytes in all; more are dropped, and counted.
    limit: usize,
    /// In order, up to the limit.
    pub runs: Vec<DeliveryRun>,
    /// What they take in memory.
    cost: usize,
    /// Deliveries beyond the limit.
    pub dropped: usize,
}

impl GivenBack {
    /// Nothing yet, of a link whose queue may take so many bytes.
    pub fn new(limit: usize) -> Self {
        GivenBack {
            limit: limit * GIVEN_BACK,
            runs: Vec::new(),
            cost: 0,
            dropped: 0,
        }
    }

    /// Takes what the writer and the queue still have. The link's own PDUs are of no use to anybody else.
    pub fn collect(&mut self, batch: &mut Batch, output: &mut Output) {
        let mut begun = batch.begun();
        let items = std::mem::take(&mut batch.items);
        for item in items.into_iter().chain(std::mem::take(&mut output.items)) {
            match item {
                Item::Run(run) => self.add(&run, begun),
                Item::Packed(packed) => {
                    for run in packed.unwritten(begun) {
                        self.keep(run);
                    }
                }
                Item::Own(_) => {}
            }
            begun = 0;
        }
        *batch = Batch::default();
        *output = Output::default();
    }

    /// Takes a run of which so many bytes are written.
    pub fn add(&mut self, run: &Run, written: usize) {
        self.keep((run.unwritten(written), run.bytes() - written));
    }

    /// Takes a run with so many bytes of PDUs.
    fn keep(&mut self, (run, bytes): (DeliveryRun, usize)) {
        let cost = bytes + size_of_val(&run) + allocated(size_of_val(&run.deliveries[..]));
        // Once something is missing, nothing that comes later may take its place.
        if self.dropped > 0 || self.cost + cost > self.limit {
            self.dropped += run.deliveries.len();
            return;
        }
        self.cost += cost;
        self.runs.push(run);
    }
}

#[cfg(test)]
mod tests;
