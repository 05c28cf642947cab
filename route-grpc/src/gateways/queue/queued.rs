//! Entries of a queue, as they are or packed, and what they take.

use bytes::Bytes;
use prost::Message;
use route_core::memory::{allocated, of_pdu};
use route_proto::attach::v1::delivery::Payload;
use route_proto::attach::v1::downlink_entry::Entry;
use route_proto::attach::v1::{Delivery, Downlink, DownlinkEntry, LinkId, TakenMark};

use super::run::{Part, RUN_BYTES};

/// Deliveries that are longer on average are not packed: their PDUs are shared with other queues.
const LARGE_BYTES: usize = 4 << 10;

/// One entry, or many.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    content: Content,
    /// What it takes.
    bytes: usize,
}

#[derive(Debug, Clone)]
enum Content {
    One(Entry),
    /// So many, as they will stand in a message. Each takes a fraction of what it does as it is.
    Packed(usize, Bytes),
}

impl Queued {
    /// One entry.
    pub(super) fn new(entry: Entry) -> Self {
        let bytes = size_of::<Self>() + cost(&entry);
        let content = Content::One(entry);
        Self { content, bytes }
    }

    /// Many in one allocation.
    pub(super) fn packed(all: impl Iterator<Item = Self>) -> Self {
        let entries = all.flat_map(Self::into_entries);
        let entries = entries.map(|entry| DownlinkEntry { entry: Some(entry) });
        let downlink = Downlink {
            entries: entries.collect(),
            ..Downlink::default()
        };
        let packed = downlink.encode_to_vec();
        Self {
            bytes: size_of::<Self>() + of_pdu(packed.len()),
            content: Content::Packed(downlink.entries.len(), packed.into()),
        }
    }

    /// How many entries.
    pub(super) fn entries(&self) -> usize {
        match &self.content {
            Content::One(_) => 1,
            Content::Packed(entries, _) => *entries,
        }
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// It is not worth packing.
    pub(super) fn is_large(&self) -> bool {
        match &self.content {
            Content::One(Entry::Run(run)) => self.bytes > LARGE_BYTES * run.deliveries.len().max(1),
            Content::One(_) => false,
            Content::Packed(..) => true,
        }
    }

    /// The entries.
    pub(super) fn into_entries(self) -> impl Iterator<Item = Entry> {
        let (one, packed) = match self.content {
            Content::One(entry) => (Some(entry), Vec::new()),
            Content::Packed(_, packed) => (None, unpack(packed)),
        };
        one.into_iter()
            .chain(packed.into_iter().flat_map(|it| it.entry))
    }

    /// Adds deliveries to its run, if they follow it. Returns by how much it has grown.
    pub(super) fn extend(&mut self, part: Part<'_>) -> Option<usize> {
        let Content::One(Entry::Run(run)) = &mut self.content else {
            return None;
        };
        let fits = self.bytes + part.bytes() <= RUN_BYTES && part.follows(run);
        if !fits {
            return None;
        }
        let (first, before) = (run.deliveries.len(), rows(&run.deliveries));
        run.deliveries.extend(part.deliveries());
        let added = run.deliveries[first..].iter().map(payload_cost);
        let grown = added.sum::<usize>() + rows(&run.deliveries) - before;
        self.bytes += grown;
        Some(grown)
    }

    /// Shows each entry with its place; `change` says whether it has changed it.
    pub(super) fn edit(&mut self, mut change: impl FnMut(usize, &mut Entry) -> bool) {
        let changed = match &mut self.content {
            Content::One(entry) => change(0, entry).then(|| Self::new(entry.clone())),
            Content::Packed(_, packed) => {
                let mut entries = unpack(packed.clone());
                let mut changed = false;
                let each = entries.iter_mut().flat_map(|it| &mut it.entry);
                for (place, entry) in each.enumerate() {
                    changed |= change(place, entry);
                }
                let entries = entries.into_iter().flat_map(|it| it.entry);
                changed.then(|| Self::packed(entries.map(Self::new)))
            }
        };
        if let Some(changed) = changed {
            *self = changed;
        }
    }
}

fn unpack(packed: Bytes) -> Vec<DownlinkEntry> {
    let downlink = Downlink::decode(packed);
    downlink.expect("the node has packed this itself").entries
}

/// What an entry takes beside itself.
fn cost(entry: &Entry) -> usize {
    match entry {
        Entry::Run(run) => {
            let payloads = run.deliveries.iter().map(payload_cost);
            let targets = allocated(run.targets.capacity() * size_of::<u64>());
            targets + rows(&run.deliveries) + payloads.sum::<usize>()
        }
        Entry::Answer(answer) => {
            of_pdu(answer.statuses.len()) + allocated(answer.traceparent.capacity())
        }
        Entry::Close(close) => allocated(close.reason.capacity()),
        Entry::Ended(_) => 0,
        Entry::TakenOver(taken) => {
            let predecessors = taken.predecessors.capacity() * size_of::<LinkId>();
            allocated(predecessors) + allocated(taken.marks.capacity() * size_of::<TakenMark>())
        }
    }
}

fn rows(deliveries: &Vec<Delivery>) -> usize {
    allocated(deliveries.capacity() * size_of::<Delivery>())
}

fn payload_cost(delivery: &Delivery) -> usize {
    let pdu = match &delivery.payload {
        Some(Payload::Pdu(pdu)) => of_pdu(pdu.len()),
        Some(Payload::DesktopLogin(_) | Payload::Status(_)) | None => 0,
    };
    pdu + allocated(delivery.traceparent.capacity())
}
