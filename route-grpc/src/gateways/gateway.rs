//! One gateway that the node has.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::GatewayLimits;
use super::hello::Hello;
use super::reach::{Event, Pulse, Reach};
use crate::dialects::Spoken;
use crate::gateways::clock_offset::ClockOffset;
use crate::gateways::ingest::OpenQuery;
use crate::gateways::queue::{Queue, Retention};
use crate::gateways::replays::Replays;
use crate::gateways::sequences::{Progress, Sequences};

/// One gateway that is attached, or detached and within its grace.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(super) hello: Hello,
    reach: Reach,
    /// Ends its stream.
    stream_end: CancellationToken,
    pulse: Pulse,
    /// How its times are told from the node's.
    pub(crate) clock: ClockOffset,
    /// What has been applied of its links.
    pub(crate) sequences: Sequences,
    /// Links that are being restored.
    pub(crate) replays: Replays,
    /// What waits for it.
    pub(crate) queue: Arc<Queue>,
    pub(super) retention: Retention,
    /// The node lost this life of the gateway before, and had then applied so much of its links:
    /// that has had its effects.
    pub(super) seen_before: HashMap<u64, u64>,
    /// Its queries that wait until it has caught up.
    pub(crate) waiting_queries: Vec<OpenQuery>,
    /// How many entries of its queue it has taken.
    pub(super) taken: u64,
}

impl Gateway {
    /// One that has just attached, with a queue of so many bytes.
    pub(super) fn new(
        hello: Hello,
        stream_end: CancellationToken,
        retention: Retention,
        queue_bytes: usize,
        seen_before: HashMap<u64, u64>,
    ) -> Self {
        let queue = Arc::new(Queue::new(queue_bytes, retention));
        queue.open_stream(hello.attempt);
        Self {
            reach: Reach::CatchingUp,
            stream_end,
            pulse: Pulse::default(),
            clock: ClockOffset::new(hello.clock_offset),
            sequences: Sequences::default(),
            replays: Replays::default(),
            queue,
            retention,
            seen_before,
            waiting_queries: Vec::new(),
            taken: 0,
            hello,
        }
    }

    /// It goes on with a new stream. It is told again what was confirmed, and gets again what it
    /// has not taken.
    pub(super) fn resume(&mut self, hello: &Hello, stream_end: CancellationToken) {
        self.hello.attempt = hello.attempt;
        self.clock.greeted(hello.clock_offset);
        self.stream_end = stream_end;
        self.taken = self.queue.taken(hello.taken);
        self.queue.open_stream(hello.attempt);
        self.replays = Replays::default();
        self.waiting_queries = Vec::new();
        self.sequences.resume();
        let confirmed = self.sequences.confirmed();
        self.confirm(&confirmed);
    }

    /// Its stable name.
    pub(crate) fn id(&self) -> &str {
        &self.hello.id
    }

    /// The host that it is on; none: it is in this process.
    pub(crate) fn host(&self) -> Option<IpAddr> {
        self.hello.host
    }

    /// What its MsgServers speak.
    pub(crate) fn spoken(&self) -> &Spoken {
        &self.hello.spoken
    }

    /// The entry had its effects before the node lost the gateway, which sends it again.
    pub(crate) fn has_seen(&self, link: u64, sequence: u64) -> bool {
        let seen = self.seen_before.get(&link);
        seen.is_some_and(|seen| sequence <= *seen)
    }

    /// Which stream of its life is its last one.
    pub(crate) fn attempt(&self) -> u64 {
        self.hello.attempt
    }

    /// Everything up to this Downlink was taken.
    pub(crate) fn take_over(&mut self, number: u64) {
        self.sequences.taken(number);
        self.taken = self.queue.taken(number);
    }

    pub(super) fn confirm(&mut self, progress: &[Progress]) {
        let number = self.queue.confirm(progress);
        self.sequences.confirm(progress, number);
    }

    /// How it can be reached.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// Something happens to it. Returns how it can be reached from then on; there is no other way
    /// in which that changes.
    pub(super) fn meet(&mut self, event: Event, now: Duration, limits: &GatewayLimits) -> Reach {
        self.reach = self.reach.after(event, now, limits);
        self.reach
    }

    /// For how long it has taken nothing although something waits. Asks it for a sign of life if
    /// nothing does.
    pub(super) fn idle(&mut self, now: Duration) -> Duration {
        let waits = self.queue.awaits_taking();
        self.pulse.look(now, self.taken, waits)
    }

    /// Ends its stream, with a status if there is something to say.
    pub(super) fn end_stream(&mut self, status: Option<Status>) {
        self.stream_end.cancel();
        if let Some(waker) = self.queue.end_stream(status) {
            waker.wake();
        }
    }
}
