//! The gateways that the node has: who is attached, who may come back, who is refused.
//!
//! Pure, but for the queues it holds. Time is a parameter; what follows for the links is the caller's business.
//!
//! Bounded: at most [`GatewayLimits::most`] at a time; [`MAX_GATEWAYS`] past ones are remembered.

mod census;
mod check;
pub(crate) mod clock_offset;
pub(crate) mod confirmations;
mod draining;
pub(crate) mod entry;
mod full;
mod gateway;
pub(crate) mod hello;
pub(crate) mod ingest;
mod judging;
mod limits;
mod lines;
mod looks;
mod past;
mod pauses;
pub(crate) mod queries;
pub(crate) mod queue;
pub(crate) mod reach;
mod replays;
mod rows;
pub(crate) mod sequences;
mod unfinished;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use route_core::{FanView, LinkId};
use route_runtime::quota::Quota;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::dialects::Spoken;
use crate::gateways::queue::{Counts, Part, Placed, Queue, Retention};
use crate::gateways::sequences::Progress;
use crate::refusal::Refusal;
use crate::trace::Traced;
pub(crate) use census::Census;
use full::Full;
pub(crate) use gateway::{Fill, Gateway, GatewayReport, Overdue};
use hello::Hello;
pub(crate) use limits::{GatewayLimits, MAX_GATEWAYS};
pub use looks::Figures;
use looks::Looks;
pub(crate) use looks::{MOST_AT_ONCE, MOST_LINKS, Rows};
use past::Past;
use pauses::Pauses;
use reach::{Event, Parting, Reach};

/// Log lines about the gateways of one host, a minute.
const LINES: u32 = 10;

/// All gateways of the node.
#[derive(Debug)]
pub(crate) struct Gateways {
    limits: GatewayLimits,
    by_incarnation: HashMap<u64, Gateway>,
    by_id: HashMap<String, u64>,
    past: Past,
    pauses: Pauses,
    looks: Looks,
    /// What queues of past gateways had dropped, and given up.
    dropped_before: u64,
    given_up: u64,
    lines: Quota,
    full: Full,
    /// Queues that got something since the last [`Gateways::take_touched`].
    touched: Vec<Arc<Queue>>,
}

impl Gateways {
    /// None yet.
    pub(crate) fn new(limits: GatewayLimits) -> Self {
        Self {
            limits,
            by_incarnation: HashMap::new(),
            by_id: HashMap::new(),
            past: Past::default(),
            pauses: Pauses::default(),
            looks: Looks::default(),
            dropped_before: 0,
            given_up: 0,
            lines: Quota::new(LINES),
            full: Full::default(),
            touched: Vec::new(),
        }
    }

    /// Adds a gateway that was judged [`Admission::Fresh`].
    pub(crate) fn insert(
        &mut self,
        now: Duration,
        hello: Hello,
        stream_end: CancellationToken,
        retention: Retention,
    ) {
        let incarnation = hello.incarnation;
        let seen_before = self.past.seen_of(incarnation);
        self.by_id.insert(hello.id.clone(), incarnation);
        let gateway = Gateway::new(now, hello, stream_end, retention, &self.limits, seen_before);
        self.by_incarnation.insert(incarnation, gateway);
        debug_assert_eq!(self.by_id.len(), self.by_incarnation.len());
        self.tell_pauses(incarnation);
    }

    /// Gives a gateway that was judged [`Admission::Resumed`] its new stream; an older one that is still open
    /// ends.
    pub(crate) fn resume(&mut self, now: Duration, hello: &Hello, stream_end: CancellationToken) {
        let incarnation = hello.incarnation;
        self.end_stream(incarnation, Some(superseded(&hello.id)));
        if let Some(gateway) = self.by_incarnation.get_mut(&incarnation) {
            gateway.resume(now, hello, stream_end);
            gateway.meet(Event::Attached, now, &self.limits);
        }
        // Unless it asks again on its new stream.
        self.ask_no_pauses(incarnation);
        self.tell_pauses(incarnation);
    }

    /// A gateway has sent everything again.
    pub(crate) fn caught_up(&mut self, now: Duration, incarnation: u64) {
        if let Some(gateway) = self.by_incarnation.get_mut(&incarnation) {
            gateway.meet(Event::CaughtUp, now, &self.limits);
        }
    }

    /// The stream of this attempt has ended. True if the gateway is detached by that, false if it
    /// already was or if a newer stream has taken over.
    pub(crate) fn detach(
        &mut self,
        now: Duration,
        incarnation: u64,
        attempt: u64,
        parting: Parting,
        reason: Option<Status>,
    ) -> bool {
        if self.of_stream(incarnation, attempt).is_none() {
            return false;
        }
        self.end_stream(incarnation, reason);
        if let Some(gateway) = self.by_incarnation.get_mut(&incarnation) {
            gateway.meet(Event::Detached(parting), now, &self.limits);
        }
        self.ask_no_pauses(incarnation);
        true
    }

    /// Attached gateways that have taken nothing for so long that nobody is to wait for them any longer. Not those that the
    /// node reads slowly.
    pub(crate) fn overdue(
        &mut self,
        now: Duration,
        is_slowed: impl Fn(u64) -> bool,
    ) -> Vec<Overdue> {
        let gateways = self.by_incarnation.iter_mut();
        let attached = gateways.filter(|(incarnation, _)| !is_slowed(**incarnation));
        let attached = attached.map(|(_, gateway)| gateway);
        let limits = &self.limits;
        attached.filter_map(|it| it.overdue(now, limits)).collect()
    }

    /// Attached gateways that have not sent everything again in time: incarnation and id.
    pub(crate) fn stuck(&self, now: Duration) -> Vec<(u64, String)> {
        let gateways = self.by_incarnation.iter();
        let stuck = gateways.filter(|(_, it)| it.is_stuck(now, &self.limits));
        stuck
            .map(|(incarnation, it)| (*incarnation, it.id().to_owned()))
            .collect()
    }

    /// Looks which of the attached gateways take what they are handed; returns how each can be reached.
    pub(crate) fn look_after(&mut self, now: Duration) -> Vec<(u64, Reach)> {
        // Within the process nobody is silent.
        let attached = self.by_incarnation.values_mut();
        let attached = attached.filter(|gateway| {
            gateway.reach().is_attached() && gateway.retention == Retention::UntilTaken
        });
        let looked_at = attached.map(|gateway| {
            let idle = gateway.idle(now);
            touch(&mut self.touched, &gateway.queue);
            let reach = gateway.meet(Event::Looked { idle }, now, &self.limits);
            gateway.queue.set_silent(reach == Reach::Silent);
            (gateway.hello.incarnation, reach)
        });
        looked_at.collect()
    }

    /// Takes a gateway away; its links are to be closed. A stream that is still open ends.
    pub(crate) fn remove(&mut self, incarnation: u64) -> Option<Gateway> {
        let id = self.by_incarnation.get(&incarnation)?.hello.id.clone();
        self.end_stream(incarnation, Some(superseded(&id)));
        self.by_id.remove(&id);
        self.ask_no_pauses(incarnation);
        let gateway = self.by_incarnation.remove(&incarnation)?;
        // What it had not begun to send again was applied all the same.
        let mut seen = gateway.seen_before.clone();
        for (link, applied) in gateway.sequences.applied() {
            let seen = seen.entry(link).or_default();
            *seen = applied.max(*seen);
        }
        self.past.remember(&gateway.hello, seen);
        Some(gateway)
    }

    fn end_stream(&mut self, incarnation: u64, reason: Option<Status>) {
        if let Some(gateway) = self.by_incarnation.get_mut(&incarnation)
            && gateway.reach().is_attached()
        {
            gateway.end_stream(reason);
        }
    }

    /// What the queue of a removed gateway has dropped and given up.
    pub(crate) fn count_dropped(&mut self, counts: Counts) {
        self.dropped_before += counts.dropped;
        self.given_up += counts.given_up;
    }

    /// What may wait for one gateway, bytes.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.limits.queue_bytes
    }

    /// Gateways of which something has begun that is not finished.
    pub(crate) fn unfinished(&self) -> Option<u64> {
        let mut gateways = self.by_incarnation.iter();
        gateways.find_map(|(incarnation, gateway)| gateway.is_unfinished().then_some(*incarnation))
    }

    /// What a gateway's MsgServers speak.
    pub(crate) fn spoken_by(&self, incarnation: u64) -> Option<Spoken> {
        let gateway = self.by_incarnation.get(&incarnation)?;
        Some(gateway.spoken().clone())
    }

    /// This gateway has a stream.
    pub(crate) fn is_attached(&self, incarnation: u64) -> bool {
        let gateway = self.by_incarnation.get(&incarnation);
        gateway.is_some_and(|it| it.reach().is_attached())
    }

    /// How many links a gateway has.
    pub(crate) fn open_links(&self, incarnation: u64) -> Option<usize> {
        let gateway = self.by_incarnation.get(&incarnation)?;
        Some(gateway.sequences.open_links().count())
    }

    /// All gateways, attached or not.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Gateway> {
        self.by_incarnation.values()
    }

    /// Whether this link is open, as far as its gateway has said.
    pub(crate) fn has_open(&self, link: LinkId) -> bool {
        let gateway = self.by_incarnation.get(&link.gateway);
        gateway.is_some_and(|it| it.sequences.is_open(link.number))
    }

    /// One of the gateways, attached or not.
    pub(crate) fn get_mut(&mut self, incarnation: u64) -> Option<&mut Gateway> {
        self.by_incarnation.get_mut(&incarnation)
    }

    /// The queue of one of the gateways, to put something in: its stream is woken afterwards.
    pub(crate) fn queue_of(&mut self, incarnation: u64) -> Option<&Arc<Queue>> {
        let queue = &self.by_incarnation.get(&incarnation)?.queue;
        touch(&mut self.touched, queue);
        Some(queue)
    }

    /// The gateway of this stream, if that is still its present one.
    pub(crate) fn of_stream(&mut self, incarnation: u64, attempt: u64) -> Option<&mut Gateway> {
        let gateway = self.by_incarnation.get_mut(&incarnation)?;
        (gateway.hello.attempt == attempt && gateway.reach().is_attached()).then_some(gateway)
    }

    /// The gateway of this stream has taken everything up to this Downlink. If it was silent, it may be handed more.
    pub(crate) fn took(
        &mut self,
        incarnation: u64,
        attempt: u64,
        number: u64,
    ) -> Option<&mut Gateway> {
        self.of_stream(incarnation, attempt)?;
        let gateway = self.by_incarnation.get_mut(&incarnation)?;
        gateway.take_over(number);
        if gateway.reach() == Reach::Silent {
            touch(&mut self.touched, &gateway.queue);
        }
        Some(gateway)
    }

    /// How the gateway with this name can be reached, if the node has it.
    pub(crate) fn reach(&self, id: &str) -> Option<Reach> {
        Some(self.get_by_id(id)?.reach())
    }

    /// Gateways whose grace is over.
    pub(crate) fn lost(&self, now: Duration) -> Vec<u64> {
        self.due(now, Reach::lost_at)
    }

    /// Gateways that have hung up and should have been back by now, if they live.
    pub(crate) fn departed(&self, now: Duration) -> Vec<u64> {
        self.due(now, Reach::departs_at)
    }

    fn due(&self, now: Duration, when: impl Fn(Reach) -> Option<Duration>) -> Vec<u64> {
        let gateways = self.by_incarnation.iter();
        let due = gateways.filter(|(_, gateway)| when(gateway.reach()).is_some_and(|at| at <= now));
        due.map(|(incarnation, _)| *incarnation).collect()
    }

    /// When the next gateway departs or is lost.
    pub(crate) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let reaches = self.by_incarnation.values().map(Gateway::reach);
        let deadlines = reaches.flat_map(|reach| [reach.departs_at(), reach.lost_at()]);
        deadlines.flatten().filter(|at| *at > now).min()
    }

    /// Ids of all gateways that the node has, sorted, but those that have finished: nobody has to wait for them.
    pub(crate) fn roster(&self) -> Vec<String> {
        let all = self.by_incarnation.values();
        let awaited = all.filter(|gateway| gateway.reach().is_awaited());
        let mut ids: Vec<_> = awaited.map(|gateway| gateway.id().to_owned()).collect();
        ids.sort_unstable();
        ids
    }

    /// Tells all gateways but one, whose welcome says it, which gateways there are.
    pub(crate) fn announce_roster(&mut self, except: Option<u64>) {
        let roster = self.roster();
        for gateway in self.by_incarnation.values() {
            if Some(gateway.hello.incarnation) != except {
                gateway.queue.roster(roster.clone());
                touch(&mut self.touched, &gateway.queue);
            }
        }
    }

    /// Queues one fan for the gateways of its targets (sorted by gateway), and notes where, if that
    /// is asked for.
    pub(crate) fn deliver(
        &mut self,
        fan: &FanView<'_>,
        traced: &Traced,
        mut placed: Option<&mut Vec<Placed>>,
    ) {
        let same_gateway = |a: &LinkId, b: &LinkId| a.gateway == b.gateway;
        for targets in fan.targets.chunk_by(same_gateway) {
            let incarnation = targets[0].gateway;
            // A link ends before its gateway is removed, so its gateway is here.
            let Some(gateway) = self.by_incarnation.get(&incarnation) else {
                debug_assert!(false, "a target of unknown gateway {incarnation:x}");
                continue;
            };
            let part = Part {
                fan,
                targets,
                clock: gateway.clock,
                traced,
            };
            let place = gateway.queue.deliver(part);
            if place.is_none() {
                self.full.note(fan, incarnation);
            }
            if let Some(placed) = &mut placed {
                let queue = Arc::clone(&gateway.queue);
                placed.push(Placed { queue, place });
            }
            touch(&mut self.touched, &gateway.queue);
        }
    }

    /// There was no room in the queue of this gateway for what was routed at this position.
    pub(crate) fn was_full(&self, position: u64, incarnation: u64) -> bool {
        self.full.has(position, incarnation)
    }

    /// Confirms what a gateway's links have come to.
    pub(crate) fn confirm(&mut self, origin: u64, progress: &[Progress]) {
        if let Some(gateway) = self.by_incarnation.get_mut(&origin) {
            gateway.confirm(progress);
            touch(&mut self.touched, &gateway.queue);
        }
    }

    /// Ends all streams, because the node drains.
    pub(crate) fn end_all(&mut self, reason: &Status) {
        let attached = self.by_incarnation.values_mut();
        for gateway in attached.filter(|gateway| gateway.reach().is_attached()) {
            gateway.end_stream(Some(reason.clone()));
        }
    }

    /// Queues that got something since the last call.
    pub(crate) fn take_touched(&mut self) -> Vec<Arc<Queue>> {
        self.full.clear();
        std::mem::take(&mut self.touched)
    }

    /// Counts, for metrics.
    pub(crate) fn census(&self) -> Census {
        let mut census = Census {
            dropped: self.dropped_before,
            given_up: self.given_up,
            ..Census::default()
        };
        let gateways = self.by_incarnation.values();
        gateways.for_each(|gateway| census.add(gateway));
        census
    }

    fn get_by_id(&self, id: &str) -> Option<&Gateway> {
        self.by_incarnation.get(self.by_id.get(id)?)
    }
}

/// What the older of two streams of one gateway is told.
fn superseded(id: &str) -> Status {
    Status::from(Refusal::AttachSuperseded {
        gateway: id.to_owned(),
    })
}

/// Few queues are touched by one batch, and mostly the same one over and over.
fn touch(touched: &mut Vec<Arc<Queue>>, queue: &Arc<Queue>) {
    if !touched.iter().rev().any(|known| Arc::ptr_eq(known, queue)) {
        touched.push(Arc::clone(queue));
    }
}

#[cfg(test)]
mod tests;
