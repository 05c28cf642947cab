//! One route-grpc node: the core, its gateways and its event log, and the chores that nobody asks
//! for.
//!
//! **Architecture invariant:** the core and the gateways stand behind one private lock, the event
//! log, what was routed and what has closed lately behind others, always taken in this order and never across an `.await`. Whoever changes
//! something does so in `Node::transact`, which queues deliveries and logs events before the lock
//! is free again: so every queue and the log see the same order.

mod all_known;
mod chores;
pub(crate) mod closed;
mod commit;
pub(crate) mod drains;
mod figures;
pub(crate) mod gateways;
mod holds;
pub mod load;
mod log;
mod losses;
mod memory;
mod observed;
pub(crate) mod position;
pub(crate) mod readers;
pub(crate) mod routed;
mod routing;
mod take_back;
mod transaction;
mod transitions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::metrics::Meter;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use route_core::View;
use route_runtime::budget::Budget;
use route_runtime::life::new_life;
use route_runtime::shutdown::Shutdown;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cold_start::Sync;
use crate::dialects::Dialects;
pub use crate::gateways::Figures;
use crate::gateways::MOST_AT_ONCE;
use crate::gateways::ingest::Effects;
use crate::gateways::queue::Placed;
use crate::process::Process;
use crate::refusal::Refusal;
use crate::settings::NodeSettings;
use crate::tenure::{Begun, Door, Tenure};
pub(crate) use chores::BEAT_MILLIS;
use closed::{CLOSED_BYTES, Closed};
use commit::commit;
use drains::Drains;
use holds::Holds;
use log::Log;
use losses::Losses;
use memory::Slowed;
pub(crate) use observed::Observed;
use position::Position;
use readers::Readers;
use routed::Routed;
use routing::Routing;
pub(crate) use transaction::Transaction;
use transitions::Transitions;

/// As of when something is so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The newest event in the log.
    pub(crate) seq: u64,
    /// Time since the node started.
    pub(crate) at: Duration,
}

/// One node. All services and all gateways of a process share it.
#[derive(Debug)]
pub struct Node {
    pub(crate) process: Arc<Process>,
    /// The process's.
    pub(crate) clock: Clock,
    pub(crate) epoch: u64,
    pub(crate) sync: Sync,
    /// Watch and subscribe streams that are open.
    pub(crate) readers: Readers,
    /// For questions about links.
    looks: Semaphore,
    /// Gateways that fill the budget most.
    slowed: Slowed,
    pub(crate) log: Log,
    /// What was routed lately.
    pub(crate) routed: Routed,
    /// Links that have closed lately.
    pub(crate) closed: Closed,
    /// What MsgServers speak.
    pub(crate) dialects: Dialects,
    /// How long it may act.
    pub(crate) tenure: Arc<Tenure>,
    /// Held while it acts.
    acting: RwLock<()>,
    /// Cancelled when it ends.
    draining: CancellationToken,
    /// The gateway in this process closes its links: the node will drain after that.
    gateway_stops: AtomicBool,
    /// A gateway came, went or lost its stream.
    pub(crate) gateways_changed: Notify,
    routing: Mutex<Routing>,
    holds: Holds,
    chores: Notify,
    transitions: Transitions,
    losses: Losses,
    drains: Drains,
}

impl Node {
    /// A process with one node for all its life, which holds what this budget allows. Its chores run on the current
    /// runtime until `shutdown` drains.
    pub fn start(
        settings: NodeSettings,
        budget: Arc<Budget>,
        meter: &Meter,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        Self::start_in_epoch(new_life(), settings, budget, meter, shutdown)
    }

    /// As [`start`](Self::start), with the name of this life given: later ones have higher names, a
    /// million apart for each millisecond.
    pub fn start_in_epoch(
        epoch: u64,
        settings: NodeSettings,
        budget: Arc<Budget>,
        meter: &Meter,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        let process = Process::new(settings, budget, meter, shutdown);
        Self::alone_in_epoch(epoch, &process, meter)
    }

    /// The one node of this process, as long as that lives.
    pub fn alone(process: &Arc<Process>, meter: &Meter) -> Arc<Self> {
        Self::alone_in_epoch(new_life(), process, meter)
    }

    fn alone_in_epoch(epoch: u64, process: &Arc<Process>, meter: &Meter) -> Arc<Self> {
        let node = Self::begin(process, epoch, Begun::alone());
        Observed::new(meter).shows(&node);
        node
    }

    /// A node without gateways, in this process, until that drains or it is [ended](Self::end).
    pub(crate) fn begin(process: &Arc<Process>, epoch: u64, begun: Begun) -> Arc<Self> {
        let (settings, clock) = (&process.settings, process.clock);
        let routing = Routing::new(settings, epoch, clock.now(), begun.door);
        let node = Arc::new(Self {
            clock,
            epoch,
            sync: Sync::new(routing.cold_start.is_none(), settings.call_wait),
            readers: Readers::default(),
            looks: Semaphore::new(MOST_AT_ONCE),
            slowed: Slowed::default(),
            gateways_changed: Notify::new(),
            routing: Mutex::new(routing),
            holds: Holds::default(),
            log: Log::new(settings.log()),
            routed: Routed::new(settings.routed_bytes),
            closed: Closed::new(CLOSED_BYTES),
            dialects: Dialects::new(),
            chores: Notify::new(),
            transitions: Transitions::default(),
            losses: Losses::default(),
            drains: Drains::default(),
            tenure: begun.tenure,
            acting: RwLock::new(()),
            draining: process.draining().child_token(),
            gateway_stops: AtomicBool::new(false),
            process: Arc::clone(process),
        });
        let tracker = process.shutdown.tracker();
        tracker.spawn(chores::run(Arc::clone(&node)));
        tracker.spawn(memory::run(Arc::clone(&node)));
        node
    }

    /// It applies what gateways send, or would, if all links were known.
    pub(crate) fn serves(&self) -> bool {
        let routing = self.routing.lock();
        routing.door.as_ref().is_none_or(Door::serves)
    }

    /// That in which it is.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Changes something: runs `change` under the lock, then queues what it caused and logs its
    /// events, and wakes those who wait for them.
    pub(crate) fn transact<R>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>, Duration) -> R,
    ) -> R {
        self.transact_placed(change).0
    }

    /// The same, with where the deliveries stand, if the change has asked for that.
    pub(crate) fn transact_placed<R>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>, Duration) -> R,
    ) -> (R, Vec<Placed>) {
        let (result, committed) = {
            let mut routing = self.routing.lock();
            let now = self.clock.now();
            let before = routing.core.view().work();
            let mut transaction = routing.begin(now);
            let result = change(&mut transaction, now);
            let committed = commit(self, transaction, now);
            let steps = routing.core.view().work() - before;
            self.holds.ended(now, steps);
            (result, committed)
        };
        for queue in committed.touched {
            if let Some(waker) = queue.wake() {
                waker.wake();
            }
        }
        if let Some(head) = committed.head {
            self.log.announce(head);
        }
        (result, committed.placed)
    }

    /// Reads something: the core, and the moment that the answer describes.
    pub(crate) fn look<R>(&self, read: impl FnOnce(View<'_>, Moment) -> R) -> R {
        let routing = self.routing.lock();
        let moment = Moment {
            seq: self.log.extent().0,
            at: self.clock.now(),
        };
        let before = routing.core.view().work();
        let result = read(routing.core.view(), moment);
        let steps = routing.core.view().work() - before;
        self.holds.ended(self.clock.now(), steps);
        result
    }

    /// A place in this life's log.
    pub(crate) fn position(&self, seq: u64) -> Position {
        Position {
            epoch: self.epoch,
            seq,
            filter: None,
        }
    }

    /// Refuses calls while the node is draining, and makes them wait while it is not synced.
    pub(crate) async fn admit_call(&self) -> Result<(), Refusal> {
        self.act().map(drop)?;
        tokio::select! {
            biased;
            waited = self.sync.wait() => waited?,
            () = self.draining.cancelled() => {}
        }
        self.act().map(drop)
    }

    /// Allows to do, or to read, what nobody may any more when another node leads: while what this returns is held, none
    /// does that waits for the end of this one.
    pub(crate) fn act(&self) -> Result<RwLockReadGuard<'_, ()>, Refusal> {
        let acts = self.acting.read();
        match self.draining.is_cancelled() || !self.tenure.holds() {
            true => Err(self.ending()),
            false => Ok(acts),
        }
    }

    /// Changes something, unless another node may lead.
    pub(crate) fn transact_acting<R>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>, Duration) -> R,
    ) -> Result<R, Refusal> {
        let _acts = self.act()?;
        Ok(self.transact(change))
    }

    /// Why it refuses what comes when it ends.
    pub(crate) fn ending(&self) -> Refusal {
        match self.process.draining().is_cancelled() {
            true => Refusal::DRAINING,
            false => Refusal::NotLeader {
                leader: None,
                problem: None,
            },
        }
    }

    /// Ends it. When this returns, it has no streams of gateways any more, and nothing is done.
    pub(crate) fn end(&self) {
        self.draining.cancel();
        drop(self.acting.write());
        let ending = self.ending().into();
        self.transact(|transaction, _| transaction.gateways.end_all(&ending));
    }

    /// Returns when the node knows all links, so that it routes and answers.
    pub async fn synced(&self) {
        self.sync.reach().await;
    }

    /// Counts what a batch did.
    pub(crate) fn count(&self, effects: &Effects) {
        self.process.metrics.tallies.entries.add(effects.applied);
        self.process.metrics.tallies.repeated.add(effects.repeated);
        self.process
            .metrics
            .tallies
            .envelopes
            .add(effects.envelopes);
        self.process.metrics.tallies.asked.add(effects.asked);
        if effects.links_changed {
            self.chores_changed();
        }
    }

    /// Cancelled when the node drains.
    pub(crate) fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// The process ends.
    pub(crate) fn is_draining(&self) -> bool {
        self.gateway_stops.load(Ordering::Relaxed) || self.draining().is_cancelled()
    }

    /// The gateway in this process begins to close its links, and the node will end with it: nobody is told that their users
    /// go, for all of them will be back.
    pub fn stops_with_its_gateway(&self) {
        self.gateway_stops.store(true, Ordering::Relaxed);
        self.transact(|transaction, _| transaction.core.keep_ended());
    }

    /// Sessions may have to be freed, a seat or a grace may end sooner than before.
    pub(crate) fn chores_changed(&self) {
        self.chores.notify_one();
    }
}
