//! The gateways that the node has: who is attached, who may come back, who is refused.
//!
//! Pure, but for the queues it holds. Time is a parameter; what follows for the links is the caller's business.
//!
//! Bounded: at most [`MAX_GATEWAYS`] at a time, and as many past ones are remembered.

pub(crate) mod clock_offset;
pub(crate) mod confirmations;
pub(crate) mod entry;
mod gateway;
pub(crate) mod hello;
pub(crate) mod ingest;
mod past;
pub(crate) mod queue;
mod replays;
pub(crate) mod sequences;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use route_core::{Answer, FanView, LinkId, Taken, Target};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::gateways::clock_offset::GatewayClock;
use crate::gateways::confirmations::{Patience, Wait};
use crate::gateways::queue::{Outbound, Part, Queueing, Retention};
use crate::gateways::replays::Replays;
use crate::gateways::sequences::{Mark, Sequences};
use crate::refusal::Refusal;
use crate::trace::Traced;
use gateway::Connection;
pub(crate) use gateway::Gateway;
use hello::{Admission, Hello, Objection};
use past::Past;

/// Gateways at a time; also how many past ones are remembered, the oldest being forgotten first.
pub(crate) const MAX_GATEWAYS: usize = 1024;

/// What all gateways may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GatewayLimits {
    /// How long a detached one is kept.
    pub(crate) grace: Duration,
    /// How long others wait for what one that has hung up may give back.
    pub(crate) departed_wait: Duration,
    /// One that has taken nothing of what it was handed for so long is silent: one that is there takes it within a round trip.
    pub(crate) silence: Duration,
    /// What waits for one, bytes.
    pub(crate) queue_bytes: usize,
}

/// How many gateways there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// With a stream.
    pub(crate) attached: u64,
    /// Without, within their grace.
    pub(crate) detached: u64,
    /// Bytes that wait for all of them.
    pub(crate) queued_bytes: u64,
    /// Since the start: entries that were handed out again, to gateways that are still there.
    pub(crate) resent: u64,
    /// Since the start: deliveries that found a full queue.
    pub(crate) dropped: u64,
}

/// All gateways of the node.
#[derive(Debug)]
pub(crate) struct Gateways {
    limits: GatewayLimits,
    by_incarnation: HashMap<u64, Gateway>,
    by_id: HashMap<String, u64>,
    past: Past,
    /// What queues of past gateways had dropped.
    dropped_before: u64,
    /// Gateways whose queue has just become full.
    choked: Vec<u64>,
    /// Places behind which the deliveries since the last [`Gateways::take_waits`] stand.
    waits: Vec<Wait>,
    /// Queues that got something since the last [`Gateways::take_touched`].
    touched: Vec<Arc<Outbound>>,
}

impl Gateways {
    /// None yet.
    pub(crate) fn new(limits: GatewayLimits) -> Self {
        Self {
            limits,
            by_incarnation: HashMap::new(),
            by_id: HashMap::new(),
            past: Past::default(),
            dropped_before: 0,
            choked: Vec::new(),
            waits: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// Decides about a hello. Changes nothing.
    pub(crate) fn judge(&self, hello: &Hello) -> Result<Admission, Objection> {
        if let Some(taken) = self.by_incarnation.get(&hello.incarnation)
            && taken.hello.id != hello.id
        {
            return Err(Objection::IncarnationInUse);
        }
        let Some(present) = self.get_by_id(&hello.id) else {
            if self.past.has_newer(hello) {
                return Err(Objection::Superseded);
            }
            let full = self.by_incarnation.len() >= MAX_GATEWAYS;
            return if full {
                Err(Objection::TooMany)
            } else {
                Ok(Admission::Fresh)
            };
        };
        let known = (present.hello.incarnation, present.hello.attempt);
        if (hello.incarnation, hello.attempt) <= known {
            return Err(Objection::Superseded);
        }
        if hello.incarnation == present.hello.incarnation {
            return Ok(Admission::Resumed);
        }
        match present.connection {
            Connection::Attached { .. } => Err(Objection::IdInUse),
            Connection::Detached { .. } => Ok(Admission::Replaces(present.hello.incarnation)),
        }
    }

    /// Adds a gateway that was judged [`Admission::Fresh`].
    pub(crate) fn insert(
        &mut self,
        hello: Hello,
        session: CancellationToken,
        retention: Retention,
    ) {
        let outbound = Arc::new(Outbound::new(self.limits.queue_bytes, retention));
        outbound.open_stream(hello.attempt);
        self.by_id.insert(hello.id.clone(), hello.incarnation);
        let gateway = Gateway {
            seen_before: self.past.seen_of(hello.incarnation),
            connection: Connection::Attached { session },
            clock: GatewayClock::new(hello.clock_offset),
            sequences: Sequences::default(),
            replays: Replays::default(),
            outbound,
            retention,
            is_catching_up: true,
            waiting_queries: Vec::new(),
            taken: 0,
            taken_before: (0, Duration::ZERO),
            congested: false,
            throttled: false,
            hello,
        };
        self.by_incarnation
            .insert(gateway.hello.incarnation, gateway);
        debug_assert_eq!(self.by_id.len(), self.by_incarnation.len());
        self.relay_congestion();
    }

    /// Gives a gateway that was judged [`Admission::Resumed`] its new stream; an older one that is still open
    /// ends. It is told again what was confirmed, and gets again what it has not taken.
    pub(crate) fn resume(&mut self, hello: &Hello, session: CancellationToken) {
        let Some(gateway) = self.by_incarnation.get_mut(&hello.incarnation) else {
            return;
        };
        let superseded = Refusal::AttachSuperseded {
            gateway: hello.id.clone(),
        };
        gateway.end_stream(Some(superseded.into()), &mut self.touched);
        gateway.hello.attempt = hello.attempt;
        gateway.clock.greeted(hello.clock_offset);
        gateway.connection = Connection::Attached { session };
        gateway.taken = gateway.outbound.taken(hello.taken);
        gateway.outbound.open_stream(hello.attempt);
        // Unless it says otherwise on its new stream.
        gateway.congested = false;
        gateway.throttled = false;
        gateway.replays = Replays::default();
        gateway.is_catching_up = true;
        gateway.waiting_queries = Vec::new();
        gateway.sequences.resume();
        let confirmed = gateway.sequences.confirmed();
        gateway.confirm(&confirmed);
        self.relay_congestion();
    }

    /// The stream of this attempt has ended. True if the gateway is detached by that, false if it already was or
    /// if a newer stream has taken over.
    pub(crate) fn detach(
        &mut self,
        now: Duration,
        incarnation: u64,
        attempt: u64,
        reason: Option<Status>,
    ) -> bool {
        let Some(gateway) = self.by_incarnation.get_mut(&incarnation) else {
            return false;
        };
        if gateway.hello.attempt != attempt || !gateway.is_attached() {
            return false;
        }
        gateway.end_stream(reason, &mut self.touched);
        gateway.connection = Connection::Detached {
            until: now + self.limits.grace,
            departs: None,
        };
        gateway.congested = false;
        self.relay_congestion();
        true
    }

    /// A gateway that has just been detached has closed the connection itself.
    pub(crate) fn hung_up(&mut self, now: Duration, incarnation: u64) {
        if let Some(gateway) = self.by_incarnation.get_mut(&incarnation)
            && let Connection::Detached { departs, .. } = &mut gateway.connection
        {
            *departs = Some(now + self.limits.departed_wait);
        }
    }

    /// Takes a gateway away; its links are to be closed. A stream that is still open ends.
    pub(crate) fn remove(&mut self, incarnation: u64) -> Option<Gateway> {
        let mut gateway = self.by_incarnation.remove(&incarnation)?;
        self.by_id.remove(&gateway.hello.id);
        let superseded = Refusal::AttachSuperseded {
            gateway: gateway.hello.id.clone(),
        };
        gateway.end_stream(Some(superseded.into()), &mut self.touched);
        let seen = gateway.sequences.applied().collect();
        self.past.remember(gateway.hello.clone(), seen);
        self.relay_congestion();
        Some(gateway)
    }

    /// What the queue of a removed gateway has dropped in all.
    pub(crate) fn count_dropped(&mut self, outbound: &Outbound) {
        self.dropped_before += outbound.dropped();
    }

    /// One of the gateways, attached or not.
    pub(crate) fn get_mut(&mut self, incarnation: u64) -> Option<&mut Gateway> {
        self.by_incarnation.get_mut(&incarnation)
    }

    /// The queue of one of the gateways.
    pub(crate) fn outbound(&self, incarnation: u64) -> Option<Arc<Outbound>> {
        let gateway = self.by_incarnation.get(&incarnation)?;
        Some(Arc::clone(&gateway.outbound))
    }

    /// The gateway of an open stream, if this stream is still its present one.
    pub(crate) fn session(&mut self, incarnation: u64, attempt: u64) -> Option<&mut Gateway> {
        let gateway = self.by_incarnation.get_mut(&incarnation)?;
        (gateway.hello.attempt == attempt && gateway.is_attached()).then_some(gateway)
    }

    /// Incarnations of attached gateways, and whether nothing has been heard of them for a while although something should
    /// have been: their streams may be about to break.
    pub(crate) fn silent(&mut self, now: Duration) -> Vec<(u64, bool)> {
        // Within the process nobody is silent.
        let attached = self.by_incarnation.values_mut();
        let attached = attached.filter(|g| g.is_attached() && g.retention == Retention::UntilTaken);
        let looked_at = attached.map(|gateway| {
            let awaits = gateway.outbound.awaits_taking();
            if !awaits || gateway.taken != gateway.taken_before.0 {
                gateway.taken_before = (gateway.taken, now);
            }
            let silent = now >= gateway.taken_before.1 + self.limits.silence && awaits;
            touch(&mut self.touched, &gateway.outbound);
            (gateway.hello.incarnation, silent || gateway.is_catching_up)
        });
        looked_at.collect()
    }

    /// Gateways whose grace is over.
    pub(crate) fn lost(&self, now: Duration) -> Vec<u64> {
        let lost = |gateway: &&Gateway| gateway.until().is_some_and(|until| until <= now);
        let incarnation = |gateway: &Gateway| gateway.hello.incarnation;
        let gateways = self.by_incarnation.values();
        gateways.filter(lost).map(incarnation).collect()
    }

    /// Gateways that have hung up and should have been back by now, if they live.
    pub(crate) fn departed(&self, now: Duration) -> Vec<u64> {
        let departed = |gateway: &&Gateway| gateway.departs().is_some_and(|departs| departs <= now);
        let incarnation = |gateway: &Gateway| gateway.hello.incarnation;
        let gateways = self.by_incarnation.values();
        gateways.filter(departed).map(incarnation).collect()
    }

    /// When the next gateway departs or is lost.
    pub(crate) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let gateways = self.by_incarnation.values();
        let deadlines = gateways.flat_map(|gateway| [gateway.departs(), gateway.until()]);
        deadlines.flatten().filter(|at| *at > now).min()
    }

    /// Ids of all gateways that the node has, sorted.
    pub(crate) fn roster(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.by_id.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    /// Tells all gateways but one, whose welcome says it, which gateways there are.
    pub(crate) fn announce_roster(&mut self, except: Option<u64>) {
        let roster = self.roster();
        for gateway in self.by_incarnation.values() {
            if Some(gateway.hello.incarnation) != except {
                gateway.outbound.roster(roster.clone());
                touch(&mut self.touched, &gateway.outbound);
            }
        }
    }

    /// A gateway's links take less than they are sent, or take it again.
    pub(crate) fn set_congested(&mut self, incarnation: u64, congested: bool) {
        if let Some(gateway) = self.by_incarnation.get_mut(&incarnation) {
            gateway.congested = congested;
        }
        self.relay_congestion();
    }

    /// A gateway pauses its readers while any other one is congested.
    fn relay_congestion(&mut self) {
        let congested = self.by_incarnation.values().filter(|g| g.congested).count();
        for gateway in self.by_incarnation.values_mut() {
            let pause = congested > usize::from(gateway.congested);
            if std::mem::replace(&mut gateway.throttled, pause) != pause {
                gateway.outbound.throttle(pause);
                touch(&mut self.touched, &gateway.outbound);
            }
        }
    }

    /// Queues one fan for the gateways of its targets (sorted by gateway). `place`: where an earlier node had routed it.
    pub(crate) fn deliver(&mut self, fan: &FanView<'_>, place: Option<u64>, traced: &Traced) {
        let same_gateway = |a: &Target, b: &Target| a.gateway == b.gateway;
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
                place,
                clock: gateway.clock,
                traced,
            };
            match gateway.outbound.deliver(part) {
                Queueing::Queued(offset) if gateway.retention == Retention::UntilTaken => {
                    wait_for(&mut self.waits, incarnation, offset);
                }
                Queueing::Choked => self.choked.push(incarnation),
                Queueing::Queued(_) | Queueing::Dropped => {}
            }
            touch(&mut self.touched, &gateway.outbound);
        }
    }

    /// Tells a link's gateway what was written to the link's predecessors.
    pub(crate) fn take_over(&mut self, to: Target, taken: &[Taken]) {
        let Some(gateway) = self.by_incarnation.get(&to.gateway) else {
            debug_assert!(false, "a successor of unknown gateway {:x}", to.gateway);
            return;
        };
        // Within the process nothing is repeated.
        if gateway.retention == Retention::UntilTaken {
            let offset = gateway.outbound.take_over(to.number, taken);
            wait_for(&mut self.waits, to.gateway, offset);
            touch(&mut self.touched, &gateway.outbound);
        }
    }

    /// Where the deliveries since the last call stand.
    pub(crate) fn take_waits(&mut self) -> Vec<Wait> {
        std::mem::take(&mut self.waits)
    }

    /// Whether what a batch caused at one target is safe: the target has taken it, or is gone. If patience is over, what
    /// the node holds for a detached target counts, within half of its bound.
    pub(crate) fn stands(&self, wait: Wait, patience: Patience) -> bool {
        let Some(gateway) = self.by_incarnation.get(&wait.gateway) else {
            return true;
        };
        let held = || patience == Patience::Over && !gateway.outbound.is_half_full();
        gateway.taken >= wait.offset || (!gateway.is_attached() && held())
    }

    /// Confirms what a gateway's links have come to.
    pub(crate) fn confirm(&mut self, origin: u64, marks: &[Mark]) {
        if let Some(gateway) = self.by_incarnation.get_mut(&origin) {
            gateway.confirm(marks);
            touch(&mut self.touched, &gateway.outbound);
        }
    }

    /// Says that links of this gateway have ended, after everything that was queued for them.
    pub(crate) fn end_links(&mut self, incarnation: u64, links: &[u64]) {
        if let Some(gateway) = self.by_incarnation.get(&incarnation) {
            for link in links {
                gateway.outbound.end_link(*link);
            }
            touch(&mut self.touched, &gateway.outbound);
        }
    }

    /// Asks a gateway to close a link that another one has succeeded.
    pub(crate) fn close_link(&mut self, link: LinkId) {
        if let Some(gateway) = self.by_incarnation.get(&link.gateway) {
            gateway.outbound.close_link(link.number);
            touch(&mut self.touched, &gateway.outbound);
        }
    }

    /// Ends all streams, because the node drains.
    pub(crate) fn end_all(&mut self, reason: &Status) {
        for gateway in self.by_incarnation.values_mut() {
            gateway.end_stream(Some(reason.clone()), &mut self.touched);
        }
    }

    /// Says that this queue got something.
    pub(crate) fn touch(&mut self, outbound: &Arc<Outbound>) {
        touch(&mut self.touched, outbound);
    }

    /// Queues an answer to the gateway that asked.
    pub(crate) fn answer(&mut self, answer: &Answer, traceparent: String) {
        let Some(gateway) = self.by_incarnation.get(&answer.link.gateway) else {
            return;
        };
        gateway.outbound.answer(answer, traceparent);
        touch(&mut self.touched, &gateway.outbound);
    }

    /// Ends the streams of gateways whose queue has become full. Returns those that are detached by that.
    pub(crate) fn detach_choked(&mut self, now: Duration) -> Vec<u64> {
        let mut detached = std::mem::take(&mut self.choked);
        detached.retain(|&incarnation| {
            let Some(gateway) = self.by_incarnation.get(&incarnation) else {
                return false;
            };
            let attempt = gateway.hello.attempt;
            tracing::warn!(
                gateway = gateway.hello.id,
                queued_bytes = gateway.outbound.bytes(),
                "gateway is too slow, its stream ends"
            );
            let problem = format!(
                "gateway {:?} does not take what it is sent",
                gateway.hello.id
            );
            let reason = Status::from(Refusal::SlowConsumer { problem });
            self.detach(now, incarnation, attempt, Some(reason))
        });
        detached
    }

    /// Queues that got something since the last call.
    pub(crate) fn take_touched(&mut self) -> Vec<Arc<Outbound>> {
        std::mem::take(&mut self.touched)
    }

    /// Counts, for metrics.
    pub(crate) fn census(&self) -> Census {
        let mut census = Census {
            dropped: self.dropped_before,
            ..Census::default()
        };
        for gateway in self.by_incarnation.values() {
            if gateway.is_attached() {
                census.attached += 1;
            } else {
                census.detached += 1;
            }
            census.queued_bytes += gateway.outbound.bytes() as u64;
            census.resent += gateway.outbound.resent();
            census.dropped += gateway.outbound.dropped();
        }
        census
    }

    fn get_by_id(&self, id: &str) -> Option<&Gateway> {
        self.by_incarnation.get(self.by_id.get(id)?)
    }
}

/// What was queued last for a gateway stands when everything before it does.
fn wait_for(waits: &mut Vec<Wait>, gateway: u64, offset: u64) {
    let wait = Wait { gateway, offset };
    match waits.iter_mut().find(|w| w.gateway == gateway) {
        Some(earlier) => *earlier = wait,
        None => waits.push(wait),
    }
}

/// Few queues are touched by one batch, and mostly the same one over and over.
fn touch(touched: &mut Vec<Arc<Outbound>>, outbound: &Arc<Outbound>) {
    if !touched
        .iter()
        .rev()
        .any(|known| Arc::ptr_eq(known, outbound))
    {
        touched.push(Arc::clone(outbound));
    }
}

#[cfg(test)]
mod tests;
