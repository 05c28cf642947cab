//! One route-grpc node: the core, its gateways and its event log, and the chores that nobody asks for.
//!
//! **Architecture invariant:** the core and the gateways stand behind one private lock, the event log behind another,
//! always taken in this order and never across an `.await`. Whoever changes something does so in `Node::transact`,
//! which queues deliveries and logs events before the lock is free again: so every queue and the log see the same
//! order.

pub mod load;
mod observed;
pub(crate) mod position;
mod settle;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::metrics::Meter;
use parking_lot::Mutex;
use route_core::{Change, Core, Effect, Event, EventLog, Gap, LinkId};
use route_proto::attach::v1::{DeliveryRun, UplinkEntry};
use route_runtime::shutdown::Shutdown;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::api::requests::Requests;
use crate::clock::{Clock, new_epoch};
use crate::cold_start::{ColdStart, Sync, Waits};
use crate::gateways::clock_offset::GatewayClock;
use crate::gateways::confirmations::{Confirmations, Left};
use crate::gateways::ingest::{self, Answer, Answers, Effects, OpenQuery};
use crate::gateways::sequences::Mark;
use crate::gateways::{GatewayLimits, Gateways};
use crate::limits::{Places, SNAPSHOTS_AT_ONCE};
use crate::metrics::Metrics;
use crate::node::position::Position;
use crate::refusal::Refusal;
use crate::settings::NodeSettings;
use crate::trace::Traced;

/// Sessions of closed links that are freed under one lock: some hundred microseconds.
const REAPED_AT_ONCE: usize = 2048;

/// How often the node looks after itself when nothing is due.
const TICK: Duration = Duration::from_secs(1);

/// When a caller that meets a draining node should come back: its successor needs a moment.
pub(crate) const DRAIN_RETRY: Duration = Duration::from_millis(500);

/// One node. All services and all gateways of a process share it.
#[derive(Debug)]
pub struct Node {
    pub(crate) settings: NodeSettings,
    pub(crate) clock: Clock,
    pub(crate) epoch: u64,
    pub(crate) sync: Sync,
    /// For watch and subscribe streams.
    pub(crate) streams: Places,
    /// For gRPC connections.
    pub(crate) connections: Arc<Places>,
    pub(crate) snapshots: Arc<Semaphore>,
    pub(crate) requests: Mutex<Requests>,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    /// A gateway came, went or lost its stream.
    pub(crate) gateways_changed: Notify,
    routing: Mutex<Routing>,
    log: Mutex<EventLog>,
    head: watch::Sender<u64>,
    chores: Notify,
    turns: AtomicU64,
}

/// What stands behind the node's lock.
#[derive(Debug)]
pub(crate) struct Routing {
    /// Presence, roles, fan-out.
    pub(crate) core: Core,
    /// Who is attached.
    pub(crate) gateways: Gateways,
    /// Answers that wait for the deliveries before them to be queued.
    answers: Vec<Answer>,
    /// What has been applied and waits to be confirmed.
    pub(crate) confirmations: Confirmations,
    /// What waits until all links are known; None: they are.
    pub(crate) cold_start: Option<ColdStart>,
    /// Batches of the present transaction, whose deliveries are not queued yet.
    unsettled: Vec<Unsettled>,
    /// What of the present transaction was routed before.
    repeated: Vec<Repeated>,
    /// Queues that deliveries have left in the present transaction.
    left: Vec<Left>,
    /// What is traced in the present transaction.
    pub(crate) traced: Traced,
}

/// Notices that an earlier node had routed.
#[derive(Debug)]
struct Repeated {
    /// Whose entry caused them.
    origin: LinkId,
    /// Among these of the present transaction.
    fans: Range<usize>,
    /// Where it had.
    place: u64,
}

/// One applied batch of a gateway.
#[derive(Debug)]
struct Unsettled {
    gateway: u64,
    marks: Vec<Mark>,
    ended: Vec<u64>,
    bytes: usize,
}

impl Node {
    /// A node without gateways. Its chores run on the current runtime until `shutdown` drains.
    pub fn start(settings: NodeSettings, meter: &Meter, shutdown: Shutdown) -> Arc<Self> {
        Self::start_in_epoch(new_epoch(), settings, meter, shutdown)
    }

    /// As [`start`](Self::start), with the name of this life given: later ones have higher names, a million apart for
    /// each millisecond.
    pub fn start_in_epoch(
        epoch: u64,
        settings: NodeSettings,
        meter: &Meter,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        let wait = settings.cold_start_wait;
        let waits = Waits {
            missing: wait,
            newcomers: settings.newcomer_wait,
        };
        let cold_start =
            (!wait.is_zero()).then(|| ColdStart::new(waits, settings.cold_start_bytes));
        let node = Arc::new(Self {
            clock: Clock::start(),
            epoch,
            sync: Sync::new(cold_start.is_none(), settings.call_wait),
            streams: Places::new(settings.max_streams),
            connections: Arc::new(Places::new(settings.max_grpc_connections)),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS_AT_ONCE)),
            requests: Mutex::default(),
            metrics: Metrics::new(meter),
            gateways_changed: Notify::new(),
            routing: Mutex::new(Routing {
                // Positions go on where those of a predecessor ended, as far as gateways can see.
                core: Core::following(settings.core(), epoch),
                gateways: Gateways::new(GatewayLimits {
                    grace: settings.detach_grace,
                    departed_wait: settings.departed_wait,
                    silence: settings.gateway_silence,
                    queue_bytes: settings.gateway_queue_bytes,
                }),
                answers: Vec::new(),
                confirmations: Confirmations::new(settings.patient_bytes),
                cold_start,
                unsettled: Vec::new(),
                repeated: Vec::new(),
                left: Vec::new(),
                traced: Traced::default(),
            }),
            log: Mutex::new(EventLog::new(settings.log())),
            head: watch::Sender::new(0),
            chores: Notify::new(),
            turns: AtomicU64::new(0),
            shutdown,
            settings,
        });
        observed::observe(meter, &node);
        let chores = Arc::clone(&node).do_chores();
        node.shutdown.tracker().spawn(chores);
        node
    }

    /// Changes something: runs `change` under the lock, then queues what it caused and logs its events, and
    /// wakes those who wait for them.
    pub(crate) fn transact<R>(&self, change: impl FnOnce(&mut Routing, Duration) -> R) -> R {
        let (result, settled) = {
            let mut routing = self.routing.lock();
            let now = self.clock.now();
            let result = change(&mut routing, now);
            let settled = self.settle(&mut routing, now);
            (result, settled)
        };
        for outbound in settled.touched {
            if let Some(waker) = outbound.wake() {
                waker.wake();
            }
        }
        if let Some(head) = settled.head {
            // Of two threads, the one with the older head may come later.
            self.head.send_if_modified(|known| {
                let newer = head > *known;
                *known = head.max(*known);
                newer
            });
        }
        result
    }

    /// Reads something: the core and the position that the answer describes.
    pub(crate) fn look<R>(&self, read: impl FnOnce(&Core, Position) -> R) -> R {
        let routing = self.routing.lock();
        let position = self.position(self.log.lock().head());
        read(&routing.core, position)
    }

    /// Reads events after `after`: up to `max` are appended to `out`.
    pub(crate) fn read_log(
        &self,
        after: u64,
        max: usize,
        out: &mut Vec<(u64, Event)>,
    ) -> Result<(), Gap> {
        self.log.lock().read(after, max, out)
    }

    /// The newest event, and the oldest position after which everything is still held.
    pub(crate) fn log_extent(&self) -> (u64, u64) {
        let log = self.log.lock();
        (log.head(), log.tail())
    }

    /// What the log takes.
    pub(crate) fn log_bytes(&self) -> usize {
        self.log.lock().bytes()
    }

    /// Follows the newest event's position.
    pub(crate) fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// A place in this life's log.
    pub(crate) fn position(&self, seq: u64) -> Position {
        Position {
            epoch: self.epoch,
            seq,
        }
    }

    /// Refuses calls while the node is draining, and makes them wait while it is not synced.
    pub(crate) async fn admit_call(&self) -> Result<(), Refusal> {
        if self.draining().is_cancelled() {
            return Err(Refusal::Draining { retry: DRAIN_RETRY });
        }
        self.sync.wait().await
    }

    /// Returns when the node knows all links, so that it routes and answers.
    pub async fn synced(&self) {
        self.sync.reach().await;
    }

    /// Returns when the node drains and its streams have ended, or the drain window is over.
    pub(crate) async fn drained(&self) {
        self.draining().cancelled().await;
        // Streams take as long as their readers need, within the window.
        let _ = tokio::time::timeout(self.settings.drain_window, self.streams.all_free()).await;
    }

    /// Counts what a batch did.
    pub(crate) fn count(&self, effects: &Effects) {
        self.metrics.entries.add(effects.applied);
        self.metrics.repeated.add(effects.repeated);
        self.metrics.envelopes.add(effects.envelopes);
        self.metrics.asked.add(effects.asked);
        if effects.links_changed {
            self.chores_changed();
        }
    }

    /// Cancelled when the node drains.
    pub(crate) fn draining(&self) -> CancellationToken {
        self.shutdown.draining()
    }

    /// How often the chores' loop has turned: grows while the node is alive.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Sessions may have to be freed, a seat or a grace may end sooner than before.
    pub(crate) fn chores_changed(&self) {
        self.chores.notify_one();
    }

    /// All links are known, or there is no use in waiting: what was held is applied, in order. Queries are answered last,
    /// because their users' logins may stand among what other gateways sent.
    fn end_cold_start(&self, routing: &mut Routing, now: Duration, cold_start: ColdStart) {
        tracing::info!(
            missing = ?cold_start.missing(),
            entries = cold_start.entries(),
            after = ?now,
            "all links are known"
        );
        routing.claim_early(now, &cold_start.claims());
        let mut queries = Vec::new();
        let address = |link| routing.core.link(link).map(|link| link.peer.ip());
        for held in cold_start.into_held(address) {
            let later = Some(&mut queries);
            let repeats = held.place.zip(held.entries.first()).map(|(place, entry)| {
                let origin = LinkId {
                    gateway: held.gateway,
                    number: entry.link,
                };
                (origin, place, routing.core.outbox().seal())
            });
            let (effects, result) = routing.apply(now, held.gateway, held.entries, later);
            if let Some((origin, place, first)) = repeats {
                let fans = first..routing.core.outbox().seal();
                routing.repeated.push(Repeated {
                    origin,
                    fans,
                    place,
                });
            }
            self.count(&effects);
            if let Err(refusal) = result {
                self.metrics.attach_refused(&refusal);
                routing.refuse(now, held.gateway, refusal);
                self.gateways_changed.notify_waiters();
            }
        }
        routing.answer(&queries);
        routing.gateways.announce_roster(None);
        self.metrics.cold_start_ended(now);
        self.sync.reached();
        self.chores_changed();
    }

    /// Ends seats and graces in time, and frees the sessions of closed links in steps.
    async fn do_chores(self: Arc<Self>) {
        let draining = self.draining();
        loop {
            self.transact(|routing, now| {
                for (gateway, silent) in routing.gateways.silent(now) {
                    routing.core.gateway_is_there(gateway, !silent);
                }
                routing.core.advance(now);
                for gateway in routing.gateways.departed(now) {
                    routing.give_up_returns(gateway);
                }
            });
            while self.lose_next() {}
            let due = self.transact(|routing, now| {
                let deadlines = [
                    routing.core.next_deadline(),
                    routing.gateways.next_deadline(now),
                    routing.cold_start.as_ref().map(ColdStart::until),
                ];
                let next = deadlines.into_iter().flatten().min();
                next.map_or(now + TICK, |next| next.min(now + TICK))
            });
            while self.transact(|routing, _| routing.core.reap(REAPED_AT_ONCE)) {
                tokio::task::yield_now().await;
            }
            self.turns.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                biased;
                () = draining.cancelled() => break,
                () = self.chores.notified() => {}
                () = tokio::time::sleep_until(self.clock.instant(due)) => {}
            }
        }
        // All at once, so that nothing is routed to gateways that stay for those that have gone.
        let draining = Refusal::Draining { retry: DRAIN_RETRY }.into();
        self.transact(|routing, _| routing.gateways.end_all(&draining));
    }

    /// Gives up one gateway whose grace is over; false if there is none. Each in a transaction of its own: what its end
    /// causes for links of the next one has to stand in that one's queue, to be taken back from there.
    fn lose_next(&self) -> bool {
        self.transact(|routing, now| {
            let Some(gateway) = routing.gateways.lost(now).into_iter().min() else {
                return false;
            };
            routing.lose_gateway(now, gateway);
            self.gateways_changed.notify_waiters();
            true
        })
    }
}

impl Routing {
    /// A restored link whose claim is held and that has nobody to inherit from has succeeded a link of which the predecessor
    /// had confirmed everything. It stands for its MsgServer from the beginning: else all links of the MsgServer would be
    /// sent what is older than the claim, those that were opened later included.
    fn claim_early(&mut self, now: Duration, claims: &[LinkId]) {
        for &id in claims {
            let vacant = self
                .core
                .link(id)
                .is_some_and(|link| !link.claimed && !self.core.is_claimed(link.peer.ip()));
            if vacant {
                let claim = Change::Role { claimed: true };
                let claimed = self.core.apply(now, id, 0, claim, Effect::Silent);
                debug_assert!(claimed.is_ok(), "the link is open");
            }
        }
    }

    /// Applies a batch of one gateway; the end of the transaction sees to its confirmation. Queries are answered, or
    /// kept in `later`.
    pub(crate) fn apply(
        &mut self,
        now: Duration,
        incarnation: u64,
        entries: Vec<UplinkEntry>,
        later: Option<&mut Vec<OpenQuery>>,
    ) -> (Effects, Result<(), Refusal>) {
        let Some(gateway) = self.gateways.get_mut(incarnation) else {
            return (Effects::default(), Ok(()));
        };
        let answers = match later {
            Some(queries) => Answers::Later(queries),
            None => Answers::AtOnce(&mut self.answers),
        };
        let (core, traced) = (&mut self.core, &mut self.traced);
        let (mut effects, result) =
            ingest::apply(core, now, incarnation, gateway, entries, answers, traced);
        let outbound = Arc::clone(&gateway.outbound);
        self.unsettled.push(Unsettled {
            gateway: incarnation,
            marks: gateway.sequences.take_marks(),
            ended: std::mem::take(&mut effects.ended),
            bytes: effects.bytes,
        });
        self.gateways.touch(&outbound);
        (effects, result)
    }

    /// As [`apply`](Self::apply), for a gateway that sends again what it had read before, link by link: its queries wait for
    /// the rest.
    pub(crate) fn apply_again(
        &mut self,
        now: Duration,
        incarnation: u64,
        entries: Vec<UplinkEntry>,
        caught_up: bool,
    ) -> (Effects, Result<(), Refusal>) {
        let mut queries = match self.gateways.get_mut(incarnation) {
            Some(gateway) => std::mem::take(&mut gateway.waiting_queries),
            None => Vec::new(),
        };
        let applied = self.apply(now, incarnation, entries, Some(&mut queries));
        if caught_up {
            self.core.gateway_is_there(incarnation, true);
            self.answer(&queries);
        }
        if let Some(gateway) = self.gateways.get_mut(incarnation) {
            if caught_up {
                gateway.is_catching_up = false;
            } else {
                gateway.waiting_queries = queries;
            }
        }
        applied
    }

    /// Answers queries as things are now.
    fn answer(&mut self, queries: &[OpenQuery]) {
        for query in queries {
            let answer = ingest::answer(&mut self.core, query);
            self.answers.push(answer);
        }
    }

    /// A gateway's stream is over. True if the gateway is detached by that.
    pub(crate) fn detach(
        &mut self,
        now: Duration,
        incarnation: u64,
        attempt: u64,
        reason: Option<Refusal>,
    ) -> bool {
        let status = reason.map(Into::into);
        let detached = self.gateways.detach(now, incarnation, attempt, status);
        if detached {
            self.core.detach_gateway(incarnation);
        }
        if detached
            && let Some(cold_start) = &mut self.cold_start
            && let Some(gateway) = self.gateways.get_mut(incarnation)
        {
            cold_start.detached(gateway.id(), incarnation);
        }
        detached
    }

    fn refuse(&mut self, now: Duration, incarnation: u64, refusal: Refusal) {
        if let Some(gateway) = self.gateways.get_mut(incarnation) {
            let attempt = gateway.attempt();
            self.detach(now, incarnation, attempt, Some(refusal));
        }
    }

    /// A gateway has been away for too long, or begins a new life: its links end, and what it has not taken goes to their
    /// successors.
    pub(crate) fn lose_gateway(&mut self, now: Duration, incarnation: u64) {
        let Some(gateway) = self.gateways.remove(incarnation) else {
            return;
        };
        let id = gateway.id();
        let links = gateway.sequences.open_links().count();
        if links == 0 {
            tracing::info!(gateway = id, "gateway forgotten, it had no links");
        } else {
            tracing::warn!(gateway = id, links, "gateway lost, its links end");
        }
        self.confirmations.forget(incarnation);
        self.left.push(Left::all(incarnation));
        self.core.lose_gateway(now, incarnation);
        self.take_back(incarnation, gateway.clock, gateway.outbound.take_held());
        for number in gateway.sequences.unfinished_links() {
            let link = LinkId {
                gateway: incarnation,
                number,
            };
            self.core.all_returned(link, Vec::new());
        }
        self.gateways.count_dropped(&gateway.outbound);
        if self.cold_start.is_none() {
            self.gateways.announce_roster(None);
        }
    }

    /// A gateway has hung up and is not back. Of its links, those whose MsgServers have turned to others are closed, however
    /// it has ended: their successors get at once what it was not handed, and do not wait for what it may have been.
    ///
    /// If it does live, what it gives back when it returns comes late.
    fn give_up_returns(&mut self, incarnation: u64) {
        let awaited = self.core.awaited_of(incarnation);
        if awaited.is_empty() {
            return;
        }
        let Some(gateway) = self.gateways.get_mut(incarnation) else {
            return;
        };
        tracing::warn!(
            gateway = gateway.id(),
            links = awaited.len(),
            "gateway has hung up, its MsgServers' new connections do not wait for it"
        );
        let numbers: Vec<u64> = awaited.iter().map(|link| link.number).collect();
        let held = gateway.outbound.take_held_for(&numbers);
        let clock = gateway.clock;
        self.left.push(Left::some(incarnation));
        self.take_back(incarnation, clock, held);
        for link in awaited {
            self.core.all_returned(link, Vec::new());
        }
    }

    /// What was not handed out to a gateway, whose clock this is, goes to the successors of its links.
    fn take_back(&mut self, incarnation: u64, clock: GatewayClock, held: Vec<DeliveryRun>) {
        for mut run in held {
            let targets = std::mem::take(&mut run.targets);
            let Ok(run) = ingest::returned_run(LinkId::NODE, run, clock) else {
                debug_assert!(false, "the node has made this run itself");
                continue;
            };
            for number in targets {
                let link = LinkId {
                    gateway: incarnation,
                    number,
                };
                self.core.returned(link, run.clone());
            }
        }
    }
}
