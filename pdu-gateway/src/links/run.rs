//! A run of deliveries, ready to be written to any number of links.
//!
//! The node sends deliveries of one origin to the same links as one run. It is prepared once: notices are encoded, small
//! PDUs are copied together, so that a link is written few and large pieces; large PDUs are only referred to. Then each
//! target link's queue holds a reference to the whole run, whatever its length.

use bytes::Bytes;
use route_dialect::{Dialect, Status};
use route_proto::attach::v1::delivery::Payload;
use route_proto::attach::v1::{Delivery, DeliveryRun, LinkId};
use smallvec::SmallVec;

use crate::memory::allocated;
use crate::once::old_kicks::OldKick;
use crate::once::takeover::Mark;
use crate::trace::Arriving;

/// Longest block that small PDUs are copied into, bytes: more gains nothing, and larger blocks cost the allocator.
const BLOCK: usize = 64 << 10;

/// PDUs of less are copied into a block. A slice of its own costs more to write, and keeps the whole message in memory
/// of which it is a part.
const COPY_BELOW: usize = 32 << 10;

/// Room for a notice, bytes. One of an odd dialect may need more.
const NOTICE: usize = 32;

/// Deliveries of one origin, in order, as bytes.
#[derive(Debug)]
pub struct Run {
    origin: LinkId,
    /// Where the node routed the first one.
    position: u64,
    /// Newer ones of this origin may have come before.
    late: bool,
    /// One of each is the usual case of a message between two users: no allocations of their own.
    deliveries: SmallVec<[Place; 1]>,
    /// All PDUs, one after the other. No PDU is cut by the end of a segment.
    segments: SmallVec<[Bytes; 1]>,
    bytes: usize,
    /// What all of it takes in memory.
    cost: usize,
    /// Deliveries that are traced, by where they end.
    traced: Box<[(usize, Arriving)]>,
    /// When those were read whose age matters, by their place.
    read_at: Box<[(usize, i64)]>,
    /// Those whose bytes are not as they came, by their place: notices, and what services publish.
    made: Box<[(usize, Payload)]>,
    /// Deliveries of which nothing is written, for MsgServers here have no such command or type.
    unspoken: usize,
    /// It is nothing but this.
    old_kick: Option<OldKick>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    mark: Mark,
    length: u32,
}

impl Run {
    /// Prepares what the node sent, for links that speak this dialect. `None` if there is nothing in it.
    pub fn prepare(run: DeliveryRun, dialect: &Dialect) -> Option<Run> {
        let origin = run.origin.unwrap_or_default();
        // What comes from no gateway was published.
        let as_it_is = |pdu: &[u8]| origin.gateway != 0 || dialect.takes(pdu);
        let mut builder = Builder {
            unseen: run.deliveries.iter().map(copied).sum(),
            ..Builder::default()
        };
        let (mut traced, mut read_at, mut made) = (Vec::new(), Vec::new(), Vec::new());
        let mut unspoken = 0;
        let mut deliveries = SmallVec::with_capacity(run.deliveries.len());
        for (place, delivery) in run.deliveries.into_iter().enumerate() {
            let mark = Mark {
                sequence: delivery.sequence,
                index: delivery.index,
            };
            let length = match delivery.payload {
                Some(Payload::Pdu(pdu)) if as_it_is(&pdu) => builder.add(pdu),
                Some(payload) => {
                    let length = builder.make(dialect, &payload);
                    unspoken += usize::from(length == 0);
                    made.push((place, payload));
                    length
                }
                // Of a kind that is unknown here.
                None => 0,
            };
            if let Some(arriving) = Arriving::now(delivery.traceparent) {
                traced.push((builder.bytes, arriving));
            }
            if delivery.read_at_micros != 0 {
                read_at.push((place, delivery.read_at_micros));
            }
            let length = u32::try_from(length).expect("a message of Attach has less than 4 GiB");
            deliveries.push(Place { mark, length });
        }
        let (segments, bytes) = builder.finish();
        if deliveries.is_empty() {
            return None;
        }
        let run = Run {
            origin,
            position: run.position,
            late: run.late,
            deliveries,
            segments,
            bytes,
            cost: 0,
            traced: traced.into(),
            read_at: read_at.into(),
            made: made.into(),
            unspoken,
            old_kick: None,
        };
        Some(run.counted())
    }

    /// An answer that goes to whoever succeeds the link which has asked.
    pub fn answer(origin: LinkId, sequence: u64, answer: Bytes) -> Run {
        let length = u32::try_from(answer.len()).expect("an answer has less than 4 GiB");
        let mark = Mark { sequence, index: 0 };
        Run {
            origin,
            position: 0,
            late: true,
            deliveries: SmallVec::from_elem(Place { mark, length }, 1),
            bytes: answer.len(),
            cost: 0,
            segments: SmallVec::from_elem(answer, 1),
            traced: Box::default(),
            read_at: Box::default(),
            made: Box::default(),
            unspoken: 0,
            old_kick: None,
        }
        .counted()
    }

    /// The same run, which is nothing but this kick.
    pub fn of_old_kick(self, kick: Option<OldKick>) -> Run {
        debug_assert!(kick.is_none() || self.deliveries.len() == 1);
        Run {
            old_kick: kick,
            ..self
        }
    }

    /// The old kick that the run is.
    pub fn old_kick(&self) -> Option<OldKick> {
        self.old_kick
    }

    /// Whose deliveries these are.
    pub fn origin(&self) -> LinkId {
        self.origin
    }

    /// They were meant for another link of the MsgServer, and newer ones of this origin may have been delivered before.
    pub fn late(&self) -> bool {
        self.late
    }

    /// Mark of the first delivery.
    pub fn first(&self) -> Mark {
        self.deliveries[0].mark
    }

    /// Mark of the last delivery.
    pub fn last(&self) -> Mark {
        self.deliveries[self.deliveries.len() - 1].mark
    }

    /// How many deliveries.
    pub fn deliveries(&self) -> usize {
        self.deliveries.len()
    }

    /// PDUs that are to be written.
    pub fn pdus(&self) -> usize {
        self.lengths().filter(|length| *length > 0).count()
    }

    /// What is to be written.
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// How much that is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much is written of each delivery.
    pub fn lengths(&self) -> impl Iterator<Item = u32> {
        self.deliveries.iter().map(|place| place.length)
    }

    /// What it takes in memory, bytes.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// It is complete: what it takes is counted, once.
    fn counted(mut self) -> Self {
        self.cost = self.count();
        self
    }

    fn count(&self) -> usize {
        let spilled = |inline: bool, bytes| if inline { 0 } else { allocated(bytes) };
        let places = size_of_val(&self.deliveries[..]);
        let segments = size_of_val(&self.segments[..]);
        let blocks = self.segments.iter().map(|segment| allocated(segment.len()));
        // Beside itself, two counts.
        allocated(size_of::<Self>() + 2 * size_of::<usize>())
            + spilled(!self.deliveries.spilled(), places)
            + spilled(!self.segments.spilled(), segments)
            + blocks.sum::<usize>()
            + allocated(size_of_val(&self.traced[..]))
            + allocated(size_of_val(&self.read_at[..]))
            + allocated(size_of_val(&self.made[..]))
    }

    /// Deliveries that are traced, by where in the run they end.
    pub fn traced(&self) -> &[(usize, Arriving)] {
        &self.traced
    }

    /// Deliveries that MsgServers here would not take; nothing is written of them.
    pub fn unspoken(&self) -> usize {
        self.unspoken
    }

    /// The deliveries after a mark, as a run of their own.
    pub fn after(&self, mark: Mark) -> Option<Run> {
        let first = self.deliveries.iter().position(|it| it.mark > mark)?;
        let lengths = self.deliveries[..first].iter().map(|it| it.length as usize);
        let start: usize = lengths.sum();
        let mut skipped = start;
        let segments = self.segments.iter().filter_map(|segment| {
            let here = skipped.min(segment.len());
            skipped -= here;
            (here < segment.len()).then(|| segment.slice(here..))
        });
        let run = Run {
            origin: self.origin,
            position: self.position + first as u64,
            late: self.late,
            deliveries: SmallVec::from_slice(&self.deliveries[first..]),
            segments: segments.collect(),
            bytes: self.bytes - start,
            cost: 0,
            traced: self
                .traced
                .iter()
                .filter(|(end, _)| *end > start)
                .map(|(end, it)| (end - start, it.clone()))
                .collect(),
            read_at: from(first, &self.read_at),
            made: from(first, &self.made),
            unspoken: 0,
            old_kick: self.old_kick,
        };
        Some(run.counted())
    }

    /// As the node sent it, without targets, and without the deliveries of which all bytes are `written`.
    pub fn unwritten(&self, written: usize) -> DeliveryRun {
        let mut run = DeliveryRun {
            origin: Some(self.origin),
            position: self.position,
            late: self.late,
            ..DeliveryRun::default()
        };
        let mut segments = self.segments.iter();
        let mut segment = Bytes::new();
        let mut end = 0;
        for (index, place) in self.deliveries.iter().enumerate() {
            if segment.is_empty() && place.length > 0 {
                segment = segments.next().cloned().unwrap_or_default();
            }
            let pdu = segment.split_to(place.length as usize);
            end += pdu.len();
            if run.deliveries.is_empty() && end <= written {
                run.position += 1;
                continue;
            }
            run.deliveries.push(Delivery {
                sequence: place.mark.sequence,
                index: place.mark.index,
                payload: Some(find(index, &self.made).unwrap_or(Payload::Pdu(pdu))),
                traceparent: find(end, &self.traced)
                    .map_or_else(String::new, |it| it.traceparent().to_owned()),
                read_at_micros: find(index, &self.read_at).unwrap_or_default(),
            });
        }
        run
    }
}

/// What belongs to a place, of a list that is in order.
fn find<T: Clone>(place: usize, list: &[(usize, T)]) -> Option<T> {
    let found = list.binary_search_by_key(&place, |(at, _)| *at).ok()?;
    Some(list[found].1.clone())
}

/// What belongs to this place and those after it, which become the first ones.
fn from<T: Clone>(first: usize, list: &[(usize, T)]) -> Box<[(usize, T)]> {
    let rest = list.iter().filter(|(place, _)| *place >= first);
    rest.map(|(place, it)| (place - first, it.clone()))
        .collect()
}

/// Bytes that a delivery will take in blocks, at most.
fn copied(delivery: &Delivery) -> usize {
    match &delivery.payload {
        Some(Payload::Pdu(pdu)) if pdu.len() >= COPY_BELOW => 0,
        Some(Payload::Pdu(pdu)) => pdu.len(),
        Some(Payload::DesktopLogin(_) | Payload::Status(_)) | None => NOTICE,
    }
}

#[derive(Default)]
struct Builder {
    /// Bytes to be copied that are not in a block yet, so that a block is no longer than it has to be.
    unseen: usize,
    block: Vec<u8>,
    segments: SmallVec<[Bytes; 1]>,
    bytes: usize,
}

impl Builder {
    /// Adds a PDU as it is. Returns its length.
    fn add(&mut self, pdu: Bytes) -> usize {
        let length = pdu.len();
        if length >= COPY_BELOW {
            self.end_block();
            self.segments.push(pdu);
        } else {
            self.copy(length, |block| block.extend_from_slice(&pdu));
        }
        self.bytes += length;
        length
    }

    /// Adds the PDU that MsgServers of this dialect read. Returns its length; 0 if they would take none.
    fn make(&mut self, dialect: &Dialect, payload: &Payload) -> usize {
        let length = match payload {
            Payload::Pdu(pdu) => self.copy(pdu.len(), |block| {
                dialect.write_published(block, pdu);
            }),
            Payload::DesktopLogin(notice) => self.copy(NOTICE, |block| {
                dialect.write_desktop_login_notice(block, notice.user_id, notice.logged_in);
            }),
            Payload::Status(notice) => self.copy(NOTICE, |block| {
                let status = Status::of(notice.status.cast_unsigned());
                let status = status.unwrap_or(Status::Offline);
                dialect.write_status_notice(block, notice.user_id, status);
            }),
        };
        self.bytes += length;
        length
    }

    fn copy(&mut self, most: usize, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        if self.block.len() + most > self.block.capacity() {
            self.end_block();
            self.block
                .reserve_exact(self.unseen.clamp(most, BLOCK.max(most)));
        }
        let before = self.block.len();
        write(&mut self.block);
        self.unseen = self.unseen.saturating_sub(most);
        self.block.len() - before
    }

    fn end_block(&mut self) {
        if !self.block.is_empty() {
            let block = std::mem::take(&mut self.block);
            self.segments.push(Bytes::from(block));
        }
    }

    fn finish(mut self) -> (SmallVec<[Bytes; 1]>, usize) {
        self.end_block();
        (self.segments, self.bytes)
    }
}

#[cfg(test)]
mod tests;
