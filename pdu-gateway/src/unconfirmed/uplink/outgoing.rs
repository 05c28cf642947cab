//! What waits for the Attach stream, and the stream that takes it.
//!
//! Everything that is ready goes as one message. While no stream is attached nothing is queued: it waits in the ledgers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use route_proto::attach::v1::{
    AttachHello, AttachRequest, LookedAt, Uplink as UplinkMessage, UplinkEntry, attach_request,
};
use route_runtime::telemetry::Span;
use tokio_stream::Stream;

use super::Uplink;
use super::pauses::Pauses;
use super::turns::{Turns, cost_of};
use crate::clock::micros;

/// One message of the stream takes about so many bytes at most, unless a single entry is longer.
pub(super) const MESSAGE_BYTES: usize = 512 << 10;

/// ... and so many entries.
pub(super) const MESSAGE_ENTRIES: usize = 4096;

/// How often the node is told what our clock shows.
const CLOCK_TOLD_EVERY: Duration = Duration::from_secs(1);

/// Answers about links that wait for the stream, as many as a node asks at a time. Of more, the newest stay.
const MAX_LOOKED_AT: usize = 16;

/// Spans that wait for a stream; those of what is read while there is none for long end early.
const MAX_SPANS: usize = 1024;

/// The queue, and what else the node is to be told.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: Turns,
    /// What was sent before, on earlier streams: it comes first.
    again: VecDeque<UplinkEntry>,
    /// Of traced entries, until the stream takes them.
    spans: Vec<Span>,
    stream: StreamState,
    /// The node has not been told yet that nothing more was sent before.
    is_catching_up: bool,
    /// Counts streams, so that an old one ends.
    generation: u64,
    /// The stream, when it waits.
    pub(super) waker: Option<Waker>,
    /// Downlink messages that were taken over, and as last told.
    pub(super) taken: u64,
    taken_told: u64,
    /// When the last of them came, and as last told.
    pub(super) clock: Duration,
    clock_told: Duration,
    /// Links elsewhere that should pause.
    pub(super) pauses: Pauses,
    /// What the node wants to know of links.
    looked_at: VecDeque<LookedAt>,
    /// Entries that were sent again since the start.
    pub(super) resent: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum StreamState {
    /// There is none, or it has not been welcomed.
    #[default]
    Detached,
    /// Takes from the queue.
    Attached,
    /// Ends when the queue is empty.
    Ending,
}

impl Outgoing {
    /// A node takes what is queued.
    pub(super) fn is_attached(&self) -> bool {
        self.stream != StreamState::Detached
    }

    /// Queues an entry, if somebody takes it.
    pub(super) fn push(&mut self, entry: UplinkEntry) {
        if self.is_attached() {
            self.queue.push(entry);
        }
    }

    /// Keeps spans until what they are about has gone.
    pub(super) fn keep(&mut self, spans: Vec<Span>) {
        if !spans.is_empty() && self.spans.len() < MAX_SPANS {
            self.spans.extend(spans);
        }
    }

    /// Queues an answer about links, if somebody takes it.
    pub(super) fn looked_at(&mut self, links: LookedAt) {
        if self.is_attached() {
            if self.looked_at.len() == MAX_LOOKED_AT {
                self.looked_at.pop_front();
            }
            self.looked_at.push_back(links);
        }
    }

    /// A new stream begins, and is not welcomed yet. Returns its number.
    pub(super) fn begin(&mut self) -> u64 {
        self.generation += 1;
        self.detach();
        self.generation
    }

    /// The newest stream is welcome, and has to send these again.
    pub(super) fn attach(&mut self, entries: Vec<UplinkEntry>) {
        self.resent += entries.len() as u64;
        self.is_catching_up = true;
        self.queue = Turns::default();
        self.again = entries.into();
        self.stream = StreamState::Attached;
        (self.taken, self.taken_told) = (0, 0);
        // What it showed before the break is of no use, and the hello has just told.
        self.clock_told = self.clock;
        self.pauses.begin();
    }

    /// Nothing is queued any more.
    pub(super) fn detach(&mut self) {
        self.stream = StreamState::Detached;
        self.queue = Turns::default();
        self.again = VecDeque::new();
        self.looked_at = VecDeque::new();
        self.is_catching_up = false;
    }

    /// Ends the stream when it has sent everything.
    pub(super) fn end(&mut self) {
        self.stream = StreamState::Ending;
    }

    /// Everything that is ready, within the limits of a message.
    fn take(&mut self) -> Option<UplinkMessage> {
        let news = self.taken != self.taken_told
            || self.pauses.is_news
            || self.is_catching_up
            || !self.looked_at.is_empty();
        if self.queue.is_empty() && !news {
            return None;
        }
        self.taken_told = self.taken;
        let clock_is_due = self.clock >= self.clock_told + CLOCK_TOLD_EVERY;
        if clock_is_due {
            self.clock_told = self.clock;
        }
        let entries = self.take_entries();
        if !self.spans.is_empty() {
            // Some may be those of a later message of a burst: that is near enough.
            self.spans = Vec::new();
        }
        let caught_up = self.is_catching_up && self.again.is_empty();
        self.is_catching_up &= !caught_up;
        Some(UplinkMessage {
            entries,
            taken: self.taken,
            pauses: self.pauses.take(),
            caught_up,
            clock_micros: match clock_is_due {
                true => micros(self.clock).cast_unsigned(),
                false => 0,
            },
            looked_at: std::mem::take(&mut self.looked_at).into(),
        })
    }

    fn take_entries(&mut self) -> Vec<UplinkEntry> {
        if self.again.is_empty() {
            return self.queue.take(MESSAGE_ENTRIES, MESSAGE_BYTES);
        }
        let mut bytes = 0;
        let fitting = self.again.iter().take(MESSAGE_ENTRIES).take_while(|entry| {
            bytes += cost_of(entry);
            bytes <= MESSAGE_BYTES
        });
        // A long entry goes alone.
        let count = fitting.count().max(1);
        self.again.drain(..count).collect()
    }
}

/// The requests of one Attach stream. Ends when a newer stream begins.
#[derive(Debug)]
pub struct UplinkStream {
    uplink: Arc<Uplink>,
    generation: u64,
    hello: Option<AttachHello>,
}

impl UplinkStream {
    pub(super) fn new(uplink: Arc<Uplink>, generation: u64, hello: AttachHello) -> Self {
        UplinkStream {
            uplink,
            generation,
            hello: Some(hello),
        }
    }
}

impl Stream for UplinkStream {
    type Item = AttachRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<AttachRequest>> {
        let request = |frame| Poll::Ready(Some(AttachRequest { frame: Some(frame) }));
        if let Some(mut hello) = self.hello.take() {
            hello.clock_micros = micros(self.uplink.clock.now()).cast_unsigned();
            return request(attach_request::Frame::Hello(hello));
        }
        let mut state = self.uplink.state.lock();
        let outgoing = &mut state.outgoing;
        if outgoing.generation != self.generation {
            return Poll::Ready(None);
        }
        if outgoing.is_attached()
            && let Some(message) = outgoing.take()
        {
            return request(attach_request::Frame::Uplink(message));
        }
        if outgoing.stream == StreamState::Ending {
            return Poll::Ready(None);
        }
        outgoing.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
