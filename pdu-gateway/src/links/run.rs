//! A run of deliveries, ready to be written to any number of links.
//!
//! The node sends deliveries of one origin to the same links as one run. It is prepared once: notices are encoded, small
//! PDUs are copied together, so that a link is written few and large pieces; large PDUs are only referred to. Then each
//! target link's queue holds a reference to the whole run, whatever its length.

use bytes::Bytes;
use route_proto::attach::v1::delivery::Payload;
use route_proto::attach::v1::{Delivery, DeliveryRun, DesktopLoginNotice, LinkId, StatusNotice};
use smallvec::SmallVec;

use crate::once::old_kicks::OldKick;
use crate::once::takeover::Mark;
use crate::pdu::codec;
use crate::pdu::wire::{Fields, Value, low32};
use crate::trace::Arriving;
use route_proto::pdu::command;
use route_proto::pdu::{HEADER_LEN, Header};

/// Longest block that small PDUs are copied into, bytes: more gains nothing, and larger blocks cost the allocator.
const BLOCK: usize = 64 << 10;

/// PDUs of less are always copied into a block: a slice of its own costs more to write.
const ALWAYS_COPY_BELOW: usize = 512;

/// PDUs of less are copied if at least [`MANY_LINKS`] are written them: one copy is cheaper than that many slices.
const COPY_FOR_MANY_BELOW: usize = 8 << 10;

/// See [`COPY_FOR_MANY_BELOW`].
const MANY_LINKS: usize = 3;

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
    /// Deliveries that are traced, by where they end.
    traced: Vec<(usize, Arriving)>,
    /// When those were read whose age matters, by where they end.
    read_at: Vec<(usize, i64)>,
    /// It is nothing but this.
    old_kick: Option<OldKick>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    mark: Mark,
    length: u32,
}

impl Run {
    /// Prepares what the node sent, for so many links here. `None` if there is nothing in it.
    pub fn prepare(run: DeliveryRun, links: usize) -> Option<Run> {
        let copy_below = match links {
            0..MANY_LINKS => ALWAYS_COPY_BELOW,
            _ => COPY_FOR_MANY_BELOW,
        };
        let mut builder = Builder {
            copy_below,
            unseen: run
                .deliveries
                .iter()
                .map(|delivery| copied(delivery, copy_below))
                .sum(),
            ..Builder::default()
        };
        let (mut traced, mut read_at) = (Vec::new(), Vec::new());
        let mut deliveries = SmallVec::with_capacity(run.deliveries.len());
        for delivery in run.deliveries {
            let mark = Mark {
                sequence: delivery.sequence,
                index: delivery.index,
            };
            let length = builder.add(delivery.payload);
            if let Some(arriving) = Arriving::now(delivery.traceparent) {
                traced.push((builder.bytes, arriving));
            }
            if delivery.read_at_micros != 0 {
                read_at.push((builder.bytes, delivery.read_at_micros));
            }
            let length = u32::try_from(length).expect("a message of Attach has less than 4 GiB");
            deliveries.push(Place { mark, length });
        }
        let (segments, bytes) = builder.finish();
        (!deliveries.is_empty()).then(|| Run {
            origin: run.origin.unwrap_or_default(),
            position: run.position,
            late: run.late,
            deliveries,
            segments,
            bytes,
            traced,
            read_at,
            old_kick: None,
        })
    }

    /// An answer that goes to whoever succeeds the link which has asked.
    pub fn answer(origin: LinkId, sequence: u64, answer: Bytes) -> Run {
        let run = DeliveryRun {
            origin: Some(origin),
            late: true,
            deliveries: vec![Delivery {
                sequence,
                payload: Some(Payload::Pdu(answer)),
                ..Delivery::default()
            }],
            ..DeliveryRun::default()
        };
        Run::prepare(run, 1).expect("it has one delivery")
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

    /// What is to be written.
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// How much that is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Deliveries that are traced, by where in the run they end.
    pub fn traced(&self) -> &[(usize, Arriving)] {
        &self.traced
    }

    /// The deliveries after a mark, as a run of their own.
    pub fn after(&self, mark: Mark) -> Option<Run> {
        let rest = self.rest(|place, _| place.mark > mark);
        Run::prepare(rest, 1)
    }

    /// As the node sent it, without targets, and without the deliveries of which all bytes are `written`.
    pub fn unwritten(&self, written: usize) -> DeliveryRun {
        self.rest(|_, end| end > written)
    }

    fn traceparent(&self, end: usize) -> String {
        let traced = self.traced.iter().find(|(at, _)| *at == end);
        traced.map_or_else(String::new, |(_, it)| it.traceparent().to_owned())
    }

    fn read_at(&self, end: usize) -> i64 {
        let read = self.read_at.iter().find(|(at, _)| *at == end);
        read.map_or(0, |(_, read_at)| *read_at)
    }

    /// From the first delivery on for which `begins` is true, given where in the run it ends.
    fn rest(&self, begins: impl Fn(&Place, usize) -> bool) -> DeliveryRun {
        let mut run = DeliveryRun {
            origin: Some(self.origin),
            position: self.position,
            late: self.late,
            ..DeliveryRun::default()
        };
        let mut segments = self.segments.iter();
        let mut segment = Bytes::new();
        let mut end = 0;
        for place in &self.deliveries {
            if segment.is_empty() {
                segment = segments.next().cloned().unwrap_or_default();
            }
            let pdu = segment.split_to(place.length as usize);
            end += pdu.len();
            if run.deliveries.is_empty() && !begins(place, end) {
                run.position += 1;
                continue;
            }
            run.deliveries.push(Delivery {
                sequence: place.mark.sequence,
                index: place.mark.index,
                payload: Some(payload(pdu)),
                traceparent: self.traceparent(end),
                read_at_micros: self.read_at(end),
            });
        }
        run
    }
}

/// The inverse of [`Builder::add`]. Notices are made by the gateway only: no MsgServer's PDU is forwarded under their
/// commands.
fn payload(pdu: Bytes) -> Payload {
    let Some((header, body)) = pdu.split_first_chunk::<HEADER_LEN>() else {
        return Payload::Pdu(pdu);
    };
    match Header::read(header).command {
        command::DESKTOP_LOGIN_NOTICE => {
            let [_, user_id, login, ..] = numbers(body);
            Payload::DesktopLogin(DesktopLoginNotice {
                user_id,
                logged_in: login != 0,
            })
        }
        command::STATUS_NOTICE => {
            let stat = match Fields::new(body).next() {
                Some(Ok((1, Value::Bytes(stat)))) => stat,
                _ => &[],
            };
            let [_, user_id, status, ..] = numbers(stat);
            let status = status.cast_signed();
            Payload::Status(StatusNotice { user_id, status })
        }
        _ => Payload::Pdu(pdu),
    }
}

/// Fields 1 and 2 of a message of two numbers.
fn numbers(message: &[u8]) -> [u32; 3] {
    let mut numbers = [0; 3];
    for field in Fields::new(message) {
        if let Ok((number @ 1..=2, Value::Varint(value))) = field {
            numbers[number as usize] = low32(value);
        }
    }
    numbers
}

/// Bytes that a delivery will take in blocks, at most.
fn copied(delivery: &Delivery, copy_below: usize) -> usize {
    match &delivery.payload {
        Some(Payload::Pdu(pdu)) if pdu.len() >= copy_below => 0,
        Some(Payload::Pdu(pdu)) => pdu.len(),
        Some(Payload::DesktopLogin(_) | Payload::Status(_)) | None => codec::MAX_NOTICE_LEN,
    }
}

#[derive(Default)]
struct Builder {
    copy_below: usize,
    /// Bytes to be copied that are not in a block yet, so that a block is no longer than it has to be.
    unseen: usize,
    block: Vec<u8>,
    segments: SmallVec<[Bytes; 1]>,
    bytes: usize,
}

impl Builder {
    /// Returns the length of the delivery's PDU; 0 for a payload of a kind that is unknown here.
    fn add(&mut self, payload: Option<Payload>) -> usize {
        let length = match payload {
            Some(Payload::Pdu(pdu)) if pdu.len() >= self.copy_below => {
                let length = pdu.len();
                self.end_block();
                self.segments.push(pdu);
                length
            }
            Some(Payload::Pdu(pdu)) => self.copy(pdu.len(), |block| block.extend_from_slice(&pdu)),
            Some(Payload::DesktopLogin(notice)) => self.copy(codec::MAX_NOTICE_LEN, |block| {
                codec::desktop_login_notice(block, notice.user_id, notice.logged_in);
            }),
            Some(Payload::Status(notice)) => self.copy(codec::MAX_NOTICE_LEN, |block| {
                codec::status_notice(block, notice.user_id, notice.status.cast_unsigned());
            }),
            None => 0,
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
