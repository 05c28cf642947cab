//! One link as the rest of the gateway sees it: where deliveries are put, answers written, ends asked for.
//!
//! The connection's own task takes from here what it writes. A link ends in two
//! steps that may come in either order: its task stops writing and gives back what is left (*shut*), and the node
//! confirms that it knows of the end. What arrives between is given back too. After both, the gateway says that nothing more
//! comes back, and when the node has confirmed that, the link is forgotten.

mod figures;
mod hearing;
mod outbox;
mod settings;
mod telling;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use route_proto::attach::v1::{CloseReason, LinkId, TakenMark};

use self::figures::Received;
use self::hearing::Hearing;
use self::outbox::Outbox;
pub use self::settings::LinkSettings;
use self::telling::Telling;
use crate::links::brake::Brake;
use crate::links::fills::Fill;
use crate::links::host;
use crate::links::output::{Batch, GivenBack, Written};
use crate::links::peer::Peer;
use crate::links::pressure::Turn;
use crate::links::run::Run;
use crate::pdu::frame::Unfinished;
use crate::trace::Arriving;
use crate::unconfirmed::uplink::Uplink;

/// Time limits are looked at once a second. What is due within half of that is due now; else a heartbeat that was
/// written a moment after the tick would make the next one a second late.
const HALF_A_TICK: Duration = Duration::from_millis(500);

/// One link. Its task, the downlink and the registry share it.
#[derive(Debug)]
pub struct Link {
    number: u64,
    peer: Peer,
    telling: Telling,
    outbox: Mutex<Outbox>,
    hearing: Hearing,
    received: Received,
    brake: Brake,
}

/// What became of a run at one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// It stands in the queue, except so many deliveries that stood there before.
    Queued {
        /// Taken over before.
        repeated: usize,
    },
    /// It was an old kick, and the user has logged in since: it counts as taken over, and goes nowhere.
    Spared,
    /// The link has ended; it was given back, except so many deliveries beyond the limit.
    GivenBack {
        /// Lost.
        dropped: usize,
    },
}

/// How a link's task left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shut {
    /// Deliveries that were given back.
    pub given_back: usize,
    /// Deliveries that were dropped, because that would have been too much.
    pub dropped: usize,
    /// Those who fed it may go on.
    pub relief: Option<Turn>,
}

/// What the writer has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Write the batch.
    Write,
    /// Look whether the host is still there.
    Look,
    /// End.
    End(CloseReason),
}

/// A query of a link that is answered.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// Incarnation of the link's gateway.
    pub gateway: u64,
    /// Its number among the link's entries.
    pub sequence: u64,
}

impl Link {
    /// A link that has just been connected.
    pub fn new(number: u64, peer: Peer, settings: &LinkSettings, now: Duration) -> Arc<Self> {
        Arc::new(Link {
            number,
            peer,
            telling: Telling::new(now),
            outbox: Mutex::new(Outbox::new(settings, now)),
            hearing: Hearing::new(now),
            received: Received::default(),
            brake: Brake::default(),
        })
    }

    /// Its number within the gateway.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether its reader has to wait for links that it feeds.
    pub fn brake(&self) -> &Brake {
        &self.brake
    }

    /// Puts a run into the queue, or gives it back, or drops it if it is an old kick that would hit somebody new. The
    /// writer is not woken but appended to `wake`.
    pub fn deliver(
        &self,
        run: &Arc<Run>,
        now: Duration,
        uplink: &Uplink,
        wake: &mut Vec<Waker>,
    ) -> (Delivered, Option<Turn>) {
        let mut outbox = self.outbox.lock();
        let all = run.deliveries();
        let Some(run) = outbox.fresh(run) else {
            return (Delivered::Queued { repeated: all }, None);
        };
        if run
            .old_kick()
            .is_some_and(|kick| uplink.is_spared(self.number, kick))
        {
            return (Delivered::Spared, None);
        }
        if outbox.shut.is_some() {
            let dropped = outbox.give_back(&run, self.number, uplink);
            return (Delivered::GivenBack { dropped }, None);
        }
        let repeated = all - run.deliveries();
        let (origin, cost) = (run.origin(), run.cost());
        outbox.output.push_run(run);
        let turn = outbox.pushed(now, wake);
        let turn = turn.or_else(|| outbox.pressure.fed(origin, cost));
        (Delivered::Queued { repeated }, turn)
    }

    /// Writes an answer to this query, which `encode` appends to what it is given. A link that writes nothing any more
    /// holds it like a delivery, for its successor.
    pub fn answer(
        &self,
        now: Duration,
        wake: &mut Vec<Waker>,
        query: Query,
        traced: Option<Arriving>,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Turn> {
        let mut outbox = self.outbox.lock();
        if outbox.shut.is_some() {
            return None;
        }
        if outbox.holds {
            let mut answer = Vec::new();
            encode(&mut answer);
            let origin = LinkId {
                gateway: query.gateway,
                number: self.number,
            };
            let run = Run::answer(origin, query.sequence, answer.into());
            outbox.output.push_run(Arc::new(run));
            return outbox.pushed(now, wake);
        }
        outbox.output.push_own(encode);
        if let Some(arriving) = traced {
            outbox.output.trace(arriving);
        }
        outbox.pushed(now, wake)
    }

    /// Asks the link to end. The first reason counts.
    pub fn end(&self, reason: CloseReason) {
        let writer = {
            let mut outbox = self.outbox.lock();
            outbox.ending.get_or_insert(reason);
            outbox.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// The link succeeds others, which were written this.
    pub fn take_over(&self, marks: &[TakenMark]) {
        if let Some(takeover) = &mut self.outbox.lock().takeover {
            takeover.inherit(marks);
        }
    }

    /// A new node will say again that it knows of the end, behind what it still sends for the link.
    pub fn reopen_end(&self) {
        self.outbox.lock().end_confirmed = false;
    }

    /// Another node than before.
    pub fn new_node(&self) {
        if let Some(takeover) = &mut self.outbox.lock().takeover {
            takeover.new_node();
        }
    }

    /// The node knows that the link has ended. If that was the last thing to wait for, what is given back is complete, and
    /// says so.
    pub fn end_is_confirmed(&self, uplink: &Uplink) {
        let mut outbox = self.outbox.lock();
        if std::mem::replace(&mut outbox.end_confirmed, true) {
            return;
        }
        if outbox.shut.is_some() {
            uplink.finish(self.number, outbox.written());
        } else if let Some(writer) = outbox.writer.take() {
            writer.wake();
        }
    }

    /// Whether nothing has been heard for more than a heartbeat, if that is another answer than before. Once a second; asked by
    /// nobody else.
    pub fn turns_silent(&self, now: Duration, stopped: bool) -> Option<bool> {
        let held_up = stopped || self.is_held_up();
        (!held_up).then(|| self.hearing.turns_silent(now))?
    }

    /// Heartbeats and time limits, once a second. `stopped`: until now this process did not run.
    pub fn tick(
        &self,
        now: Duration,
        settings: &LinkSettings,
        stopped: bool,
        wake: &mut Vec<Waker>,
    ) -> Option<Turn> {
        let held_up = stopped || self.is_held_up();
        let silent_for = self.hearing.silent_for(now);
        let silent = !held_up && silent_for >= settings.idle_timeout;
        let (within, rate) = (settings.pdu_timeout, settings.pdu_rate);
        let dripping = !held_up && self.hearing.drips(now, within, rate);
        let mut outbox = self.outbox.lock();
        if outbox.shut.is_some() || outbox.holds {
            return None;
        }
        let reason = if silent {
            Some(CloseReason::Idle)
        } else if dripping {
            Some(CloseReason::BadFrame)
        } else if outbox.pressure.stalled(now) >= settings.write_timeout {
            Some(CloseReason::SlowReader)
        } else {
            None
        };
        if let Some(reason) = reason {
            outbox.ending.get_or_insert(reason);
            wake.extend(outbox.writer.take());
        } else if silent_for >= host::look_after(settings.host_timeout) {
            outbox.look = true;
            wake.extend(outbox.writer.take());
        }
        if now.saturating_sub(outbox.sent) + HALF_A_TICK >= settings.heartbeat_interval {
            outbox.sent = now;
            outbox
                .output
                .push_own(|out| out.extend_from_slice(&settings.heartbeat));
            let turn = outbox.pushed(now, wake);
            if turn.is_some() {
                return turn;
            }
        }
        outbox.pressure.tick(now)
    }

    /// As [`tick`](Self::tick), but only what concerns congestion, which is looked at more often.
    pub fn relieve(&self, now: Duration) -> Option<Turn> {
        self.outbox.lock().pressure.tick(now)
    }

    /// For the reader: something was received, and this is not complete.
    pub fn heard(&self, now: Duration, unfinished: Option<Unfinished>) {
        self.hearing.heard(now, unfinished);
    }

    /// For the reader: we keep it from reading.
    pub fn hold_up(&self) {
        self.hearing.hold_up();
    }

    /// For the reader: we do not keep it from reading. Silence counts from the moment when we stopped doing so.
    pub fn release(&self, now: impl FnOnce() -> Duration) {
        self.hearing.release(now);
    }

    /// For the writer: waits for something to do. Fills `batch`, which is done.
    pub fn poll_next(&self, cx: &Context<'_>, batch: &mut Batch) -> Poll<Next> {
        let mut outbox = self.outbox.lock();
        if let Some(next) = outbox.urgent() {
            return Poll::Ready(next);
        }
        if outbox.output.is_empty() {
            outbox.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        outbox.output.take(batch);
        Poll::Ready(Next::Write)
    }

    /// For the writer, while its socket takes nothing: waits for something to do but write.
    pub fn poll_urgent(&self, cx: &Context<'_>) -> Poll<Next> {
        let mut outbox = self.outbox.lock();
        match outbox.urgent() {
            Some(next) => Poll::Ready(next),
            None => {
                outbox.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// For the writer that flushes before its link ends: true when `batch` is filled, false when nothing waits. If the
    /// writer awaits the end, false when the node knows that the link ends, so that nothing more will come.
    pub fn poll_flush(&self, cx: &Context<'_>, batch: &mut Batch, awaits_end: bool) -> Poll<bool> {
        let mut outbox = self.outbox.lock();
        if !outbox.output.is_empty() {
            outbox.output.take(batch);
            return Poll::Ready(true);
        }
        if outbox.end_confirmed || !awaits_end {
            return Poll::Ready(false);
        }
        outbox.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// For the writer that is to fall silent: fills `batch`, or returns when something was written last. From then on what
    /// comes is held.
    pub fn fall_silent(&self, batch: &mut Batch) -> Option<Duration> {
        let mut outbox = self.outbox.lock();
        if outbox.output.is_empty() {
            outbox.holds = true;
            return Some(outbox.sent);
        }
        outbox.output.take(batch);
        None
    }

    /// For the task: ready when more waits than a queue may hold.
    pub fn poll_overfull(&self, cx: &Context<'_>) -> Poll<()> {
        let mut outbox = self.outbox.lock();
        if outbox.output.cost() > outbox.limit {
            return Poll::Ready(());
        }
        outbox.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// We keep its reader from reading.
    pub fn is_held_up(&self) -> bool {
        self.hearing.is_held_up()
    }

    /// For the writer: so much was written.
    pub fn wrote(&self, now: Duration, written: Written) -> Option<Turn> {
        let mut outbox = self.outbox.lock();
        outbox.sent = now;
        outbox.output.written(written);
        while let Some(arrived) = outbox.output.arrived() {
            arrived.written(self.number);
        }
        let queued = outbox.output.cost();
        outbox.pressure.wrote(now, written.bytes, queued)
    }

    /// For the task, when it is over: takes what is not written out of the batch and the queue and gives it back, after
    /// telling the node of the end (`reason`; `None` if it was told before).
    pub fn shut(&self, batch: &mut Batch, reason: Option<CloseReason>, uplink: &Uplink) -> Shut {
        let mut outbox = self.outbox.lock();
        let mut given_back = GivenBack::new(outbox.limit);
        given_back.collect(batch, &mut outbox.output);
        let runs = std::mem::take(&mut given_back.runs);
        let shut = Shut {
            given_back: runs.iter().map(|run| run.deliveries.len()).sum(),
            dropped: given_back.dropped,
            relief: outbox.pressure.ends(),
        };
        outbox.shut = Some(given_back);
        for run in &runs {
            outbox.note_given_back(run);
        }
        // Under the lock, so that nothing that comes later is given back before this.
        match reason {
            Some(reason) => uplink.close(self.number, reason, runs),
            None => uplink.give_back(self.number, runs),
        }
        if reason.is_none() && outbox.end_confirmed {
            uplink.finish(self.number, outbox.written());
        }
        shut
    }

    /// What it holds.
    pub fn fill(&self) -> Fill {
        let outbox = self.outbox.lock();
        Fill {
            link: self.number,
            queued: outbox.output.cost(),
            unfinished: self.hearing.unfinished(),
            ends: outbox.ending.is_some() || outbox.holds || outbox.shut.is_some(),
        }
    }

    /// The budget of all links is nearly used up, much of it for this one: those who feed it should pause, if it reads.
    pub fn press(&self, now: Duration) -> Option<Turn> {
        self.outbox.lock().pressure.press(now)
    }

    /// What waits to be written takes so many bytes of memory.
    pub fn queued(&self) -> usize {
        self.outbox.lock().output.cost()
    }
}

#[cfg(test)]
mod tests;
