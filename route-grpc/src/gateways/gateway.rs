//! One gateway that the node has.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use route_proto::attach::v1::Uplink;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::hello::Hello;
use super::reach::{Event, Pulse, Reach};
use super::{GatewayLimits, check, looks};
use crate::dialects::Spoken;
use crate::gateways::clock_offset::ClockOffset;
use crate::gateways::queries::OpenQueries;
use crate::gateways::queue::{Counts, Queue, Retention};
use crate::gateways::replays::Replays;
use crate::gateways::sequences::{Progress, Sequences};
use crate::gateways::unfinished::Unfinished;
use crate::refusal::Refusal;
use crate::tenure::Member;

/// One gateway that is attached, or detached and within its grace.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(super) hello: Hello,
    reach: Reach,
    /// Ends its stream.
    stream_end: CancellationToken,
    /// When that began.
    stream_since: Duration,
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
    pub(crate) waiting_queries: OpenQueries,
    /// An entry that is being applied.
    pub(super) unfinished: Option<Unfinished>,
    /// Queries that are being answered.
    pub(crate) answering: OpenQueries,
    /// How many entries of its queue it has taken.
    pub(super) taken: u64,
    /// Number of the last Downlink that it has taken. One that only sends gets no entries.
    last_taken: u64,
    /// Number of the last Downlink before its last welcome.
    handed_out_before: u64,
    /// An operator drains it: it takes no connections.
    pub(super) draining: bool,
    /// Number of the last question about its links.
    pub(super) asked: u64,
    /// Longest PDU that it may send up, bytes.
    pub(super) pdu_limit: usize,
    /// How many entries it had taken when it was cut off last.
    cut_off_at: Option<u64>,
}

/// A gateway that takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overdue {
    pub(crate) incarnation: u64,
    pub(crate) id: String,
    /// It was cut off before, and has taken nothing since.
    pub(crate) again: bool,
}

/// What the node holds for a gateway, bytes of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) incarnation: u64,
    pub(crate) id: String,
    /// What waits for it.
    pub(crate) bytes: usize,
    /// What it has sent and is not confirmed.
    pub(crate) unconfirmed: usize,
    /// It is in another process, so it can come again.
    pub(crate) can_be_cut_off: bool,
}

/// A gateway as operators see it.
#[derive(Debug)]
pub(crate) struct GatewayReport {
    pub(crate) id: String,
    pub(crate) incarnation: u64,
    /// Where it is, and what it says of itself.
    pub(crate) whence: String,
    pub(crate) reach: Reach,
    /// Open links.
    pub(crate) links: usize,
    /// What waits for it, and what became of the rest.
    pub(crate) queued: Counts,
    /// Of what its MsgServers speak, the name.
    pub(crate) dialect: String,
    /// When its last stream began.
    pub(crate) stream_since: Duration,
    /// An operator drains it.
    pub(crate) is_draining: bool,
}

impl Gateway {
    /// One that has just attached, within these limits.
    pub(super) fn new(
        now: Duration,
        hello: Hello,
        stream_end: CancellationToken,
        retention: Retention,
        limits: &GatewayLimits,
        seen_before: HashMap<u64, u64>,
    ) -> Self {
        let queue = Arc::new(Queue::new(limits.queue_bytes, retention));
        // If the node has lost it before, it may not have heard yet that it is counted anew.
        queue.begin_after(hello.taken);
        queue.open_stream(hello.attempt);
        Self {
            reach: Reach::CatchingUp,
            stream_end,
            stream_since: now,
            pulse: Pulse::default(),
            clock: ClockOffset::new(hello.clock_offset),
            sequences: Sequences::default(),
            replays: Replays::default(),
            queue,
            retention,
            seen_before,
            waiting_queries: OpenQueries::default(),
            unfinished: None,
            answering: OpenQueries::default(),
            taken: 0,
            last_taken: 0,
            handed_out_before: hello.taken,
            draining: false,
            asked: 0,
            pdu_limit: limits.pdu_limit,
            cut_off_at: None,
            hello,
        }
    }

    /// It goes on with a new stream. It is told again what was confirmed, and gets again what it
    /// has not taken.
    pub(super) fn resume(&mut self, now: Duration, hello: &Hello, stream_end: CancellationToken) {
        self.stream_since = now;
        self.hello.attempt = hello.attempt;
        self.clock.greeted(hello.clock_offset);
        self.stream_end = stream_end;
        self.taken = self.queue.taken(hello.taken);
        self.pulse = Pulse::default();
        self.queue.open_stream(hello.attempt);
        self.handed_out_before = self.queue.handed_out();
        self.replays = Replays::default();
        self.waiting_queries = OpenQueries::default();
        self.sequences.resume();
        let confirmed = self.sequences.confirmed();
        self.confirm(&confirmed);
    }

    /// Something that it has sent is not finished.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.unfinished.is_some() || !self.answering.is_empty()
    }

    /// What waits for it.
    pub(crate) fn fill(&self) -> Fill {
        let queries = self.waiting_queries.bytes() + self.answering.bytes();
        Fill {
            incarnation: self.hello.incarnation,
            id: self.hello.id.clone(),
            bytes: self.queue.counts().bytes + queries,
            unconfirmed: 0,
            can_be_cut_off: self.retention == Retention::UntilTaken,
        }
    }

    /// As operators see it.
    pub(crate) fn report(&self) -> GatewayReport {
        GatewayReport {
            id: self.hello.id.clone(),
            incarnation: self.hello.incarnation,
            whence: self.hello.whence.clone(),
            reach: self.reach,
            links: self.sequences.open_links().count(),
            queued: self.queue.counts(),
            dialect: self.hello.spoken.dialect.name().to_owned(),
            stream_since: self.stream_since,
            is_draining: self.draining,
        }
    }

    /// As rosters name it.
    pub(crate) fn member(&self) -> Member {
        Member {
            id: self.hello.id.clone(),
            incarnation: self.hello.incarnation,
        }
    }

    /// It has taken something that was sent after its last welcome.
    pub(crate) fn knows_of_welcome(&self) -> bool {
        self.last_taken > self.handed_out_before
    }

    /// Which life of it this is.
    pub(crate) fn incarnation(&self) -> u64 {
        self.hello.incarnation
    }

    /// An operator drains it.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining
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

    /// Refuses what cannot be in a message around its entries.
    pub(crate) fn check(&self, uplink: &Uplink) -> Result<(), Refusal> {
        check::number("uplink.clock_micros", uplink.clock_micros)?;
        let handed_out = self.queue.handed_out();
        if uplink.taken > handed_out {
            let problem = format!("{handed_out} is the last Downlink so far");
            return Err(Refusal::field("uplink.taken", problem));
        }
        if uplink.caught_up && self.reach.has_caught_up() {
            let problem = "was said on this stream before";
            return Err(Refusal::field("uplink.caught_up", problem));
        }
        if uplink.pauses.iter().any(|pause| pause.origin.is_none()) {
            return Err(Refusal::field("uplink.pauses.origin", "is missing"));
        }
        looks::check(uplink, self.asked)
    }

    /// Everything up to this Downlink was taken.
    pub(crate) fn take_over(&mut self, number: u64) {
        self.sequences.taken(number);
        self.taken = self.queue.taken(number);
        self.last_taken = self.last_taken.max(number);
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
        self.pulse.look(now, self.last_taken, waits)
    }

    /// Whether it is to be cut off, because it takes nothing; from then on that is known. One in this process takes all.
    pub(super) fn overdue(&mut self, now: Duration, limits: &GatewayLimits) -> Option<Overdue> {
        let is_asked = self.reach.is_attached() && self.retention == Retention::UntilTaken;
        if !is_asked || self.idle(now) < limits.given_up {
            return None;
        }
        let again = self.cut_off_at.replace(self.taken) == Some(self.taken);
        Some(Overdue {
            incarnation: self.hello.incarnation,
            id: self.hello.id.clone(),
            again,
        })
    }

    /// Whether it has not sent everything again in time. One in this process is only as slow as the process.
    pub(super) fn is_stuck(&self, now: Duration, limits: &GatewayLimits) -> bool {
        let is_asked = self.reach == Reach::CatchingUp && self.retention == Retention::UntilTaken;
        is_asked && now >= self.stream_since + limits.replay_wait
    }

    /// Ends its stream, with a status if there is something to say.
    pub(super) fn end_stream(&mut self, status: Option<Status>) {
        self.stream_end.cancel();
        if let Some(waker) = self.queue.end_stream(status) {
            waker.wake();
        }
    }
}
