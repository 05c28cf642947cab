//! What goes up: every link's ledger, and the queue from which the Attach stream takes.
//!
//! Readers submit what they have read as one batch under one lock; the stream takes all that is ready as one message
//! under one lock. The queue needs no bound of its own: what stands in it also stands in a ledger, and a reader whose
//! ledger, or all ledgers together, hold too much waits ([`Uplink::poll_room`]) before it reads on.
//!
//! While no stream is attached nothing is queued. When the next one is, the queue is made from the ledgers.

mod outgoing;
mod pauses;
mod state;
mod turns;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    AttachHello, CloseReason, Confirmation, DeliveryRun, LinkClosed, LinkId, LinkOpened, LookedAt,
    Returned, SilenceReport, TakenMark,
};
use route_runtime::telemetry::Span;
use tokio::sync::Notify;

pub use self::outgoing::UplinkStream;
use self::state::State;
use crate::clock::Clock;
use crate::once::old_kicks::OldKick;
use crate::pdu::deed::{Deed, OpenQuery};
use crate::unconfirmed::ledger::{Keep, Ledger, Owed, Summary, Timing};
use crate::unconfirmed::windows::{Room, Windows};

/// All ledgers and the queue.
#[derive(Debug)]
pub struct Uplink {
    windows: Windows,
    keep: Keep,
    clock: Clock,
    state: Mutex<State>,
    /// A link has ended, or its ledger has gone.
    ended: Notify,
}

/// What a confirmation brought.
#[derive(Debug, Default)]
pub struct Confirmed {
    /// Entries whose way was timed.
    pub timings: Vec<Timing>,
    /// Links of which the node knows everything, their end included: they can be forgotten.
    pub finished: Vec<u64>,
}

/// How much waits, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Unconfirmed entries.
    pub entries: u64,
    /// Bytes in windows and open queries.
    pub bytes: usize,
    /// Ledgers, those of closed links included.
    pub ledgers: usize,
    /// Entries that were sent again since the start.
    pub resent: u64,
}

impl Uplink {
    /// No links, no stream.
    pub fn new(windows: Windows, keep: Keep) -> Arc<Self> {
        Arc::new(Uplink {
            windows,
            keep,
            clock: Clock::start(),
            state: Mutex::default(),
            ended: Notify::new(),
        })
    }

    /// What windows and open queries take, bytes.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// The gateway's clock, which entries refer to.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What may be unconfirmed.
    pub fn windows(&self) -> Windows {
        self.windows
    }

    /// A link begins.
    pub fn open(&self, link: u64, opened: LinkOpened) {
        self.change(|state| {
            let (ledger, entry) = Ledger::open(self.clock.now(), link, self.keep, opened);
            state.bytes += ledger.bytes();
            state.ledgers.insert(link, ledger);
            state.outgoing.push(entry);
        });
    }

    /// What a link did goes up, in this order. Leaves `deeds` empty.
    pub fn submit(&self, link: u64, deeds: &mut Vec<Deed>) -> Room {
        self.submit_traced(link, deeds, Vec::new())
    }

    /// The same; the spans end when it has gone.
    pub fn submit_traced(&self, link: u64, deeds: &mut Vec<Deed>, spans: Vec<Span>) -> Room {
        if deeds.is_empty() {
            return Room::Left;
        }
        let now = self.clock.now();
        self.change(|state| {
            state.record(now, link, deeds);
            state.outgoing.keep(spans);
            self.room(state, link)
        })
    }

    /// Nothing is heard of the link, or something is again. That is nothing to be told of one that has ended.
    pub fn report_silence(&self, link: u64, silent: bool) {
        let now = self.clock.now();
        self.change(|state| {
            if state.ledgers.get(&link).is_some_and(Ledger::is_open) {
                let report = Entry::Silence(SilenceReport { silent });
                state.record(now, link, &mut vec![Deed::Entry(report)]);
            }
        });
    }

    /// Ready when the link may be read from. Wakes the task when that may be so.
    pub fn poll_room(&self, cx: &Context<'_>, link: u64) -> Poll<()> {
        let mut state = self.state.lock();
        if self.room(&state, link) == Room::Left {
            return Poll::Ready(());
        }
        state.wait(link, cx.waker());
        Poll::Pending
    }

    /// Ready when everything that the link has asked is answered, or given up. Wakes the task when that may be so.
    pub fn poll_answered(&self, cx: &Context<'_>, link: u64) -> Poll<()> {
        let mut state = self.state.lock();
        let ledger = state.ledgers.get(&link);
        if !ledger.is_some_and(Ledger::has_open_queries) {
            return Poll::Ready(());
        }
        state.wait(link, cx.waker());
        Poll::Pending
    }

    /// The link ends. What is given back comes right after, before anything that [`give_back`](Self::give_back) adds.
    pub fn close(&self, link: u64, reason: CloseReason, given_back: Vec<DeliveryRun>) {
        let reason = reason.into();
        let closed = Deed::Entry(Entry::Closed(LinkClosed { reason }));
        self.submit(link, &mut vec![closed]);
        self.give_back(link, given_back);
        self.ended.notify_waiters();
    }

    /// Deliveries that an ended link cannot be sent.
    pub fn give_back(&self, link: u64, given_back: Vec<DeliveryRun>) {
        // Each run in a message of its own: it came in one, so it fits into one.
        let returned = |run| {
            Deed::Entry(Entry::Returned(Returned {
                runs: vec![run],
                ..Returned::default()
            }))
        };
        let mut deeds = given_back.into_iter().map(returned).collect();
        self.submit(link, &mut deeds);
    }

    /// Nothing more will come back of an ended link; this is what was written to it.
    pub fn finish(&self, link: u64, taken: Vec<TakenMark>) {
        let last = Returned {
            runs: Vec::new(),
            last: true,
            taken,
        };
        self.submit(link, &mut vec![Deed::Entry(Entry::Returned(last))]);
    }

    /// The node, and all whom it concerns, have taken over what these links did. Returns what was measured.
    pub fn confirm(&self, confirmations: &[Confirmation]) -> Confirmed {
        let mut confirmed = Confirmed::default();
        let mut released = HashMap::default();
        {
            let mut state = self.state.lock();
            let State {
                ledgers,
                bytes,
                waiting,
                ..
            } = &mut *state;
            for confirmation in confirmations {
                let Some(ledger) = ledgers.get_mut(&confirmation.link) else {
                    continue;
                };
                let before = ledger.bytes();
                confirmed
                    .timings
                    .extend(ledger.confirm(confirmation.sequence));
                *bytes -= before - ledger.bytes();
                if ledger.is_finished() {
                    ledgers.remove(&confirmation.link);
                    confirmed.finished.push(confirmation.link);
                }
            }
            if *bytes < self.windows.total {
                released = std::mem::take(waiting);
            }
        }
        for (_, waker) in released {
            waker.wake();
        }
        if !confirmed.finished.is_empty() {
            self.ended.notify_waiters();
        }
        confirmed
    }

    /// The query with this number, if it is open: the first answer wins.
    pub fn answer(&self, link: u64, sequence: u64) -> Option<OpenQuery> {
        self.state.lock().settle(link, |l| l.answer(sequence))?
    }

    /// Gives up queries from before `moment`. Returns how many.
    pub fn give_up_queries(&self, moment: Duration) -> usize {
        let mut state = self.state.lock();
        let links: Vec<u64> = state.ledgers.keys().copied().collect();
        let given_up = links
            .into_iter()
            .filter_map(|link| state.settle(link, |l| l.give_up_queries(moment)));
        given_up.sum()
    }

    /// What a link is, for people.
    pub fn summary(&self, link: u64) -> Summary {
        let state = self.state.lock();
        let ledger = state.ledgers.get(&link);
        ledger.map(Ledger::summary).unwrap_or_default()
    }

    /// The node has had the link take the place of these.
    pub fn succeeds(&self, link: u64, predecessors: Vec<LinkId>) {
        if let Some(ledger) = self.state.lock().ledgers.get_mut(&link) {
            ledger.succeeds(predecessors);
        }
    }

    /// The link has reported a login that this kick came before.
    pub fn is_spared(&self, link: u64, kick: OldKick) -> bool {
        let state = self.state.lock();
        let ledger = state.ledgers.get(&link);
        ledger.is_some_and(|ledger| ledger.is_spared(kick))
    }

    /// What the link has done and the node has not confirmed takes so many bytes.
    pub fn unconfirmed_bytes(&self, link: u64) -> usize {
        let state = self.state.lock();
        state.ledgers.get(&link).map_or(0, Ledger::bytes)
    }

    /// Tells the node what it has asked about links, if its stream is still there.
    pub fn looked_at(&self, links: LookedAt) {
        self.change(|state| state.outgoing.looked_at(links));
    }

    /// Everything up to this downlink message, which came at `now`, stands in the links' output queues.
    pub fn took_over(&self, now: Duration, number: u64) {
        self.change(|state| {
            state.outgoing.taken = number;
            state.outgoing.clock = now;
        });
    }

    /// A link here is fed more than it takes by this one of another gateway, which should pause, or may go on.
    pub fn pause(&self, feeder: LinkId, on: bool) {
        self.change(|state| state.outgoing.pauses.change(feeder, on));
    }

    /// The requests of a new stream, which begins with `hello`. The stream before ends.
    pub fn stream(self: &Arc<Self>, hello: AttachHello) -> UplinkStream {
        let generation = self.change(|state| state.outgoing.begin());
        UplinkStream::new(Arc::clone(self), generation, hello)
    }

    /// The newest stream was welcomed by a node that has applied so much of these links, and knows no others.
    ///
    /// Returns ended links whose last word was taken back ([`Ledger::reopen_end`]): it has to be said again.
    pub fn resume(&self, applied: &[Confirmation]) -> Vec<u64> {
        self.change(|state| {
            let mut reopened = Vec::new();
            let known: HashMap<u64, u64, RandomState> =
                applied.iter().map(|c| (c.link, c.sequence)).collect();
            let mut links: Vec<u64> = state.ledgers.keys().copied().collect();
            links.sort_unstable();
            let mut entries = Vec::new();
            for link in links {
                let applied = known.get(&link).copied();
                if applied.is_none() && state.settle(link, Ledger::reopen_end) == Some(true) {
                    reopened.push(link);
                }
                if let Some(ledger) = state.ledgers.get(&link) {
                    ledger.replay(applied, &mut entries);
                }
            }
            state.outgoing.attach(entries);
            reopened
        })
    }

    /// The stream broke: what is not confirmed waits in the ledgers.
    pub fn detach(&self) {
        self.state.lock().outgoing.detach();
    }

    /// Ends the stream when it has sent everything.
    pub fn end_stream(&self) {
        self.change(|state| state.outgoing.end());
    }

    /// Waits until every link has ended and the node knows everything about it.
    pub async fn all_finished(&self) {
        self.every_ledger(|_| false).await;
    }

    /// Waits until every link has ended, and no node has to be told anything but that.
    pub async fn nothing_owed(&self) {
        self.every_ledger(Ledger::owes_nothing).await;
    }

    /// Entries of MsgServers that no node has confirmed, of those links that have any.
    pub fn owed(&self) -> Vec<Owed> {
        Owed::of_all(self.state.lock().ledgers.values())
    }

    /// Waits until every link has ended.
    pub async fn all_closed(&self) {
        self.every_ledger(Ledger::is_closed).await;
    }

    async fn every_ledger(&self, is_done: impl Fn(&Ledger) -> bool) {
        loop {
            let ended = self.ended.notified();
            if self.state.lock().ledgers.values().all(&is_done) {
                return;
            }
            ended.await;
        }
    }

    /// A node takes what goes up.
    pub fn is_attached(&self) -> bool {
        self.state.lock().outgoing.is_attached()
    }

    /// How much waits.
    pub fn backlog(&self) -> Backlog {
        let state = self.state.lock();
        Backlog {
            entries: state.ledgers.values().map(Ledger::unconfirmed).sum(),
            bytes: state.bytes,
            ledgers: state.ledgers.len(),
            resent: state.outgoing.resent,
        }
    }

    fn room(&self, state: &State, link: u64) -> Room {
        let ledger = state.ledgers.get(&link);
        let used = ledger.map_or(0, Ledger::bytes);
        if used < self.windows.link && state.bytes < self.windows.total {
            Room::Left
        } else {
            Room::Full
        }
    }

    /// Changes something, and wakes the stream: there may be something to send, or it may be over.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, waker) = {
            let mut state = self.state.lock();
            (change(&mut state), state.outgoing.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }
}

#[cfg(test)]
mod tests;
