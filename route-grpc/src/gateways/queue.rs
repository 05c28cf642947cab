//! What waits for one gateway: a bounded queue that outlives the gateway's streams.
//!
//! The node puts things in under its lock; the gateway's present Attach stream is handed everything that is ready, as
//! one message. What was handed out stays until the gateway has taken it (`Uplink.taken`): the next stream gets the
//! rest again, in order, before anything newer. Without a stream (detached) the queue holds what comes.
//!
//! All of that counts against one bound. Full: the stream is ended with SLOW_CONSUMER once, so that the gateway comes
//! back and takes what is held; what comes while the queue is full is dropped and counted. The next stream is spared
//! until half of the queue has gone. `confirmations` makes origins stop long before that, so only what services publish
//! can fill the queue of a gateway that stays away.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use hashbrown::HashMap;
use parking_lot::Mutex;
use route_core::{Course, FanView, Item, LinkId, Payload, ReportedStatus, Taken, Target};
use route_proto::attach::v1::{
    AttachRoster, CloseLink, Confirmation, Delivery, DeliveryRun, DesktopLoginNotice, Downlink,
    DownlinkEntry, LinkEnded, LinkId as WireLinkId, StatusAnswer, StatusNotice, TakenMark,
    TakenOver, delivery, downlink_entry,
};
use tonic::Status;

use crate::gateways::clock_offset::GatewayClock;
use crate::gateways::sequences::Mark;
use crate::trace::Traced;

/// Most bytes of payload in one Downlink, unless a single PDU is longer: large enough to pay for a message, small
/// enough to interleave with other streams.
const MESSAGE_BYTES: usize = 512 << 10;

/// Most entries in one Downlink.
const MESSAGE_ENTRIES: usize = 4096;

/// A run longer than this is not extended, so that messages can be cut between runs.
const RUN_BYTES: usize = 128 << 10;

/// What a delivery takes beside its payload, and an entry beside its deliveries, bytes (about, for the bound).
const OVERHEAD_BYTES: usize = 96;

/// The queue of one gateway. Shared by the node (in) and the gateway's stream (out).
#[derive(Debug)]
pub(crate) struct Outbound {
    limit_bytes: usize,
    retention: Retention,
    queue: Mutex<Queue>,
}

/// Whether a message can be lost on its way to the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Retention {
    /// Over a network: it is kept until it was taken.
    UntilTaken,
    /// Within the process: handed out is taken.
    None,
}

#[derive(Debug, Default)]
struct Queue {
    /// Not handed out to the present stream.
    entries: VecDeque<Queued>,
    /// Handed out and not known to be taken, older than all of `entries`.
    sent: VecDeque<Queued>,
    /// Number of each Downlink that is not known to be taken, and the offset at which it ends.
    handed_out: VecDeque<(u64, u64)>,
    /// How many entries were ever queued; how many of them were taken.
    end: u64,
    taken: u64,
    /// Number of the last Downlink that was taken.
    taken_number: u64,
    /// One is to be sent although there is nothing in it.
    beat: bool,
    /// Entries that had to be handed out again.
    resent: u64,
    /// Of `entries` and `sent`.
    bytes: usize,
    confirmations: HashMap<u64, u64>,
    throttle: Option<bool>,
    roster: Option<Vec<String>>,
    /// Full, and not yet half empty again.
    choked: bool,
    dropped: u64,
    /// The attempt whose stream may take; 0 for none.
    stream: u64,
    /// Why the last stream was ended, until it has heard it.
    ended: Option<(u64, Status)>,
    /// Downlinks so far, of all streams.
    number: u64,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Queued {
    entry: downlink_entry::Entry,
    bytes: usize,
}

/// Whether something found room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Queueing {
    /// It waits, and is taken when so many entries of the queue were.
    Queued(u64),
    /// It was dropped; the stream should be ended.
    Choked,
    /// It was dropped; that the gateway is slow is already known.
    Dropped,
}

impl Outbound {
    /// An empty queue without a stream.
    pub(crate) fn new(limit_bytes: usize, retention: Retention) -> Self {
        Self {
            limit_bytes,
            retention,
            queue: Mutex::new(Queue::default()),
        }
    }

    /// Queues one fan for some links of this gateway, whose clock this is. `place`: where an earlier node had routed it.
    pub(crate) fn deliver(
        &self,
        fan: &FanView<'_>,
        targets: &[Target],
        place: Option<u64>,
        clock: GatewayClock,
        traced: &Traced,
    ) -> Queueing {
        let bytes = fan.items.iter().map(item_bytes).sum();
        let mut queue = self.queue.lock();
        if let Err(full) = queue.make_room(bytes, self.limit_bytes, fan.items.len()) {
            return full;
        }
        if place.is_some() || !queue.extend_last_run(fan, targets, clock, traced, bytes) {
            let mut run = new_run(fan, targets, clock, traced);
            run.routed_before = place.unwrap_or_default();
            let run = downlink_entry::Entry::Run(run);
            let bytes = bytes + OVERHEAD_BYTES + size_of_val(targets);
            queue.push(run, bytes);
        }
        Queueing::Queued(queue.end)
    }

    /// Queues the answer to a status query. Outside the bound: one for each query that the gateway has open, which its window
    /// limits. One that was dropped would not be asked for again before the next stream.
    pub(crate) fn answer(&self, answer: StatusAnswer) {
        let bytes = answer.statuses.len() + OVERHEAD_BYTES;
        let answer = downlink_entry::Entry::Answer(answer);
        self.queue.lock().push(answer, bytes);
    }

    /// Says, after everything that was queued for a link, that nothing more comes. Outside the bound: once per link.
    pub(crate) fn end_link(&self, link: u64) {
        let ended = downlink_entry::Entry::Ended(LinkEnded { link });
        self.queue.lock().push(ended, OVERHEAD_BYTES);
    }

    /// The gateway has taken every Downlink up to this number. Returns how many entries that makes since the start.
    pub(crate) fn taken(&self, number: u64) -> u64 {
        let mut queue = self.queue.lock();
        queue.taken_up_to(number);
        queue.relax(self.limit_bytes);
        queue.taken
    }

    /// Asks for the close of a link whose MsgServer has claimed another one. Outside the bound: once per link.
    pub(crate) fn close_link(&self, link: u64) {
        let reason = "its MsgServer has another connection".to_owned();
        let close = downlink_entry::Entry::Close(CloseLink { link, reason });
        self.queue.lock().push(close, OVERHEAD_BYTES);
    }

    /// Tells the gateway what was written to the predecessors of one of its links. Outside the bound: a mark an origin.
    pub(crate) fn take_over(&self, link: u64, marks: &[Taken]) -> u64 {
        let bytes = OVERHEAD_BYTES + marks.len() * size_of::<TakenMark>();
        let marks = marks.iter().map(|mark| TakenMark {
            origin: Some(wire_link(mark.origin)),
            sequence: mark.sequence,
            index: mark.index,
        });
        let marks = marks.collect();
        let taken_over = downlink_entry::Entry::TakenOver(TakenOver { link, marks });
        let mut queue = self.queue.lock();
        queue.push(taken_over, bytes);
        queue.end
    }

    /// Takes everything that was never handed out to the gateway, for it will not come back. What was handed out and not
    /// taken may have been written by it: that is given up, and counted.
    pub(crate) fn take_held(&self) -> Vec<DeliveryRun> {
        let mut queue = self.queue.lock();
        let queue = &mut *queue;
        queue.bytes = 0;
        queue.handed_out.clear();
        queue.taken = queue.end;
        queue.dropped += queue
            .sent
            .drain(..)
            .map(|sent| deliveries(&sent.entry))
            .sum::<u64>();
        let held = queue.entries.drain(..);
        let runs = held.filter_map(|queued| match queued.entry {
            downlink_entry::Entry::Run(run) => Some(run),
            downlink_entry::Entry::Answer(_)
            | downlink_entry::Entry::Close(_)
            | downlink_entry::Entry::Ended(_)
            | downlink_entry::Entry::TakenOver(_) => None,
        });
        runs.collect()
    }

    /// Takes what waits for these links and was never handed out to the gateway.
    pub(crate) fn take_held_for(&self, links: &[u64]) -> Vec<DeliveryRun> {
        let mut queue = self.queue.lock();
        let queue = &mut *queue;
        let mut runs = Vec::new();
        for queued in &mut queue.entries {
            let downlink_entry::Entry::Run(run) = &mut queued.entry else {
                continue;
            };
            let taken: Vec<u64> = run.targets.extract_if(.., |t| links.contains(t)).collect();
            if taken.is_empty() {
                continue;
            }
            let deliveries = if run.targets.is_empty() {
                // Its place stays, because places are counted.
                queue.bytes -= queued.bytes - OVERHEAD_BYTES;
                queued.bytes = OVERHEAD_BYTES;
                std::mem::take(&mut run.deliveries)
            } else {
                run.deliveries.clone()
            };
            runs.push(DeliveryRun {
                origin: run.origin,
                targets: taken,
                position: run.position,
                deliveries,
                ..DeliveryRun::default()
            });
        }
        runs
    }

    /// Confirms links' sequences, outside the bound: one number per link. Returns the number of the Downlink that
    /// will carry them.
    pub(crate) fn confirm(&self, marks: &[Mark]) -> u64 {
        let mut queue = self.queue.lock();
        queue.confirmations.extend(marks.iter().copied());
        queue.number + 1
    }

    /// Asks the gateway to pause its readers, or to go on.
    pub(crate) fn throttle(&self, pause: bool) {
        self.queue.lock().throttle = Some(pause);
    }

    /// Tells the gateway which gateways there are.
    pub(crate) fn roster(&self, ids: Vec<String>) {
        self.queue.lock().roster = Some(ids);
    }

    /// Gives the queue to a new stream; an older one ends. What that one was handed out and the gateway has not taken
    /// waits again.
    pub(crate) fn open_stream(&self, attempt: u64) {
        let mut queue = self.queue.lock();
        queue.stream = attempt;
        queue.hand_out_again();
        queue.taken_number = queue.number;
        // The new stream is told everything that still matters.
        queue.confirmations.clear();
        queue.throttle = None;
        queue.roster = None;
        queue.waker = None;
    }

    /// Ends the present stream, with a status if there is something to say. What is queued stays.
    pub(crate) fn end_stream(&self, status: Option<Status>) -> Option<Waker> {
        let mut queue = self.queue.lock();
        if queue.stream == 0 {
            return None;
        }
        queue.ended = status.map(|status| (queue.stream, status));
        queue.stream = 0;
        queue.waker.take()
    }

    /// Takes the waker of a stream that waits although something is ready.
    pub(crate) fn wake(&self) -> Option<Waker> {
        let mut queue = self.queue.lock();
        if queue.is_empty() {
            return None;
        }
        queue.waker.take()
    }

    /// Takes everything that is ready for the stream of this attempt, as one message. None: the stream is over.
    pub(crate) fn poll_take(
        &self,
        attempt: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Downlink, Status>>> {
        let mut queue = self.queue.lock();
        if queue.stream != attempt {
            let ended = queue.ended.take_if(|(stream, _)| *stream == attempt);
            return Poll::Ready(ended.map(|(_, status)| Err(status)));
        }
        if queue.is_empty() {
            match &mut queue.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                waker => *waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        let downlink = queue.take(self.retention);
        queue.relax(self.limit_bytes);
        Poll::Ready(Some(Ok(downlink)))
    }

    /// It holds more than half of what it may.
    pub(crate) fn is_half_full(&self) -> bool {
        self.bytes() > self.limit_bytes / 2
    }

    /// Something is there and not taken. If there is nothing, an empty Downlink will ask whether the gateway is there.
    pub(crate) fn awaits_taking(&self) -> bool {
        let mut queue = self.queue.lock();
        let awaits = queue.taken < queue.end || queue.taken_number < queue.number;
        queue.beat = !awaits;
        awaits
    }

    /// Entries that were handed out more than once.
    pub(crate) fn resent(&self) -> u64 {
        self.queue.lock().resent
    }

    /// Bytes that wait, or were not taken.
    pub(crate) fn bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Deliveries that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.lock().dropped
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.confirmations.is_empty()
            && self.throttle.is_none()
            && self.roster.is_none()
            && !self.beat
    }

    fn make_room(&mut self, bytes: usize, limit: usize, things: usize) -> Result<(), Queueing> {
        // One thing always fits, whatever its size.
        if self.bytes == 0 || self.bytes + bytes <= limit {
            return Ok(());
        }
        self.dropped += things as u64;
        Err(if std::mem::replace(&mut self.choked, true) {
            Queueing::Dropped
        } else {
            Queueing::Choked
        })
    }

    fn relax(&mut self, limit: usize) {
        if self.bytes <= limit / 2 {
            self.choked = false;
        }
    }

    fn taken_up_to(&mut self, number: u64) {
        self.taken_number = self.taken_number.max(number);
        while let Some((_, end)) = self.handed_out.pop_front_if(|(n, _)| *n <= number) {
            for taken in self.sent.drain(..to_usize(end - self.taken)) {
                self.bytes -= taken.bytes;
            }
            self.taken = end;
        }
        if self.sent.is_empty() {
            self.sent.shrink_to(MESSAGE_ENTRIES);
        }
    }

    fn hand_out_again(&mut self) {
        self.handed_out.clear();
        self.resent += self.sent.len() as u64;
        while let Some(queued) = self.sent.pop_back() {
            self.entries.push_front(queued);
        }
    }

    fn push(&mut self, entry: downlink_entry::Entry, bytes: usize) {
        self.bytes += bytes;
        self.end += 1;
        self.entries.push_back(Queued { entry, bytes });
    }

    /// Adds the fan's items to the last run, if it goes to the same links and they follow without a hole.
    fn extend_last_run(
        &mut self,
        fan: &FanView<'_>,
        targets: &[Target],
        clock: GatewayClock,
        traced: &Traced,
        bytes: usize,
    ) -> bool {
        let Some(last) = self.entries.back_mut() else {
            return false;
        };
        let downlink_entry::Entry::Run(run) = &mut last.entry else {
            return false;
        };
        let follows = last.bytes + bytes <= RUN_BYTES
            && run.origin == Some(wire_link(fan.origin))
            && run.late == (fan.course == Course::Late)
            && run.routed_before == 0
            && run.position + run.deliveries.len() as u64 == fan.position
            && run.targets.len() == targets.len()
            && run.targets.iter().zip(targets).all(|(a, b)| *a == b.number);
        if follows {
            run.deliveries.extend(deliveries_of(fan, clock, traced));
            last.bytes += bytes;
            self.bytes += bytes;
        }
        follows
    }

    fn take(&mut self, retention: Retention) -> Downlink {
        let mut entries = Vec::with_capacity(self.entries.len().min(MESSAGE_ENTRIES));
        let mut bytes = 0;
        while let Some(next) = self.entries.front() {
            let full = bytes + next.bytes > MESSAGE_BYTES || entries.len() == MESSAGE_ENTRIES;
            if full && !entries.is_empty() {
                break;
            }
            if let Some(queued) = self.entries.pop_front() {
                bytes += queued.bytes;
                let entry = match retention {
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
        }
        self.number += 1;
        self.beat = false;
        match retention {
            Retention::UntilTaken => {
                let end = self.end - self.entries.len() as u64;
                self.handed_out.push_back((self.number, end));
            }
            Retention::None => {
                self.bytes -= bytes;
                self.taken += entries.len() as u64;
            }
        }
        if self.entries.is_empty() {
            // A burst's memory is not kept.
            self.entries.shrink_to(MESSAGE_ENTRIES);
        }
        Downlink {
            number: self.number,
            entries,
            confirmations: self
                .confirmations
                .drain()
                .map(|(link, sequence)| Confirmation { link, sequence })
                .collect(),
            throttle: self.throttle.take(),
            roster: self
                .roster
                .take()
                .map(|gateway_ids| AttachRoster { gateway_ids }),
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // entries that are in memory
fn to_usize(count: u64) -> usize {
    count as usize
}

/// To how many links, and how many things to each.
fn deliveries(entry: &downlink_entry::Entry) -> u64 {
    match entry {
        downlink_entry::Entry::Run(run) => (run.targets.len() * run.deliveries.len()) as u64,
        downlink_entry::Entry::Answer(_)
        | downlink_entry::Entry::Close(_)
        | downlink_entry::Entry::Ended(_)
        | downlink_entry::Entry::TakenOver(_) => 0,
    }
}

fn item_bytes(item: &Item) -> usize {
    item.payload.size() + OVERHEAD_BYTES
}

fn new_run(
    fan: &FanView<'_>,
    targets: &[Target],
    clock: GatewayClock,
    traced: &Traced,
) -> DeliveryRun {
    DeliveryRun {
        origin: Some(wire_link(fan.origin)),
        targets: targets.iter().map(|target| target.number).collect(),
        position: fan.position,
        deliveries: deliveries_of(fan, clock, traced).collect(),
        late: fan.course == Course::Late,
        routed_before: 0,
    }
}

fn wire_link(link: LinkId) -> WireLinkId {
    WireLinkId {
        gateway: link.gateway,
        number: link.number,
    }
}

fn deliveries_of<'a>(
    fan: &FanView<'a>,
    clock: GatewayClock,
    traced: &'a Traced,
) -> impl ExactSizeIterator<Item = Delivery> + 'a {
    let origin = fan.origin;
    fan.items
        .iter()
        .map(move |item| delivery(item, clock, traced.traceparent(origin, item.sequence)))
}

fn delivery(item: &Item, clock: GatewayClock, traceparent: String) -> Delivery {
    let mut read_at_micros = 0;
    let payload = match &item.payload {
        Payload::Pdu(pdu) => delivery::Payload::Pdu(pdu.clone()),
        Payload::Perishable(perishable) => {
            read_at_micros = match clock.gateway_micros(perishable.read_at) {
                // On the wire 0 says that there is none.
                0 => 1,
                read_at => read_at,
            };
            delivery::Payload::Pdu(perishable.pdu.clone())
        }
        Payload::DesktopLogin { user, on } => delivery::Payload::DesktopLogin(DesktopLoginNotice {
            user_id: user.0,
            logged_in: *on,
        }),
        Payload::Status { user, status } => delivery::Payload::Status(StatusNotice {
            user_id: user.0,
            status: match status {
                ReportedStatus::Online => 1,
                ReportedStatus::Offline => 2,
                ReportedStatus::Away => 3,
            },
        }),
    };
    Delivery {
        sequence: item.sequence,
        index: item.index,
        payload: Some(payload),
        traceparent,
        read_at_micros,
    }
}

#[cfg(test)]
mod tests;
