//! What waits for one gateway: a bounded queue that outlives the gateway's streams.
//!
//! The node puts things in under its lock; the gateway's present Attach stream is handed everything
//! that is ready, as one message. What was handed out stays until the gateway has taken it
//! (`Uplink.taken`): the next stream gets the rest again, in order, before anything newer. Without
//! a stream (detached) the queue holds what comes; so it does while the gateway is silent, because
//! what was never handed out can go elsewhere if the gateway is lost.
//!
//! What waits for long is packed: many entries in one allocation, so that a short one takes little more
//! than what stands on the wire.
//!
//! All of that counts against one bound, by the memory that it takes. What comes while the queue is full is dropped and counted.
//! `confirmations` makes origins stop long before that, so only what services publish can fill the
//! queue of a gateway that stays away.

mod backlog;
mod caused;
mod given_up;
mod news;
mod queued;
mod run;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hashbrown::HashSet;
use parking_lot::Mutex;
use route_core::{Answer, LinkId, Receipt, Taken};
use route_proto::attach::v1::downlink_entry::Entry;
use route_proto::attach::v1::{
    CloseLink, Downlink, LinkEnded, LookAtLinks, ReportedStatus, StatusAnswer, TakenOver,
};
use tokio::sync::Notify;
use tonic::Status;

use super::sequences::Progress;
use super::wire;
use backlog::Backlog;
pub use given_up::Counts;
pub(crate) use given_up::{GivenUp, HeldRun};
use news::News;
pub(crate) use run::Part;

/// The queue of one gateway. Shared by the node (in) and the gateway's stream (out).
#[derive(Debug)]
pub(crate) struct Queue {
    contents: Mutex<Contents>,
    /// More was taken, or the gateway is away from now on.
    moved: Notify,
}

#[derive(Debug)]
struct Contents {
    backlog: Backlog,
    news: News,
    /// Links whose close is asked for, and that have not ended.
    closing: HashSet<u64>,
    /// The attempt whose stream may take; 0 for none.
    stream: u64,
    /// The gateway will not come back.
    lost: bool,
    /// The gateway has not taken what it was handed for a while.
    silent: bool,
    /// Why the last stream was ended, until it has heard it.
    ended: Option<(u64, Status)>,
    waker: Option<Waker>,
}

/// Where in the queue of a gateway something stands; nowhere if that was full.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) queue: Arc<Queue>,
    pub(crate) place: Option<u64>,
}

/// What has become of something in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// The gateway has taken it.
    Taken,
    /// The gateway is away, or lost.
    Away,
}

/// Whether a message can be lost on its way to the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Retention {
    /// Over a network: it is kept until it was taken.
    UntilTaken,
    /// Within the process: handed out is taken.
    None,
}

impl Queue {
    /// An empty queue without a stream.
    pub(crate) fn new(limit_bytes: usize, retention: Retention) -> Self {
        Self {
            contents: Mutex::new(Contents {
                backlog: Backlog::new(limit_bytes, retention),
                news: News::default(),
                closing: HashSet::new(),
                stream: 0,
                lost: false,
                silent: false,
                ended: None,
                waker: None,
            }),
            moved: Notify::new(),
        }
    }

    /// Queues what some links of this gateway get of one fan. Returns its place, for
    /// [`fate`](Self::fate); none: the queue is full.
    pub(crate) fn deliver(&self, part: Part<'_>) -> Option<u64> {
        self.contents.lock().backlog.deliver(part)
    }

    /// Waits until the gateway has taken what stands at this place, or is away.
    pub(crate) async fn fate(&self, place: u64) -> Fate {
        loop {
            let mut moved = pin!(self.moved.notified());
            moved.as_mut().enable();
            if let Some(fate) = self.contents.lock().fate(place) {
                return fate;
            }
            moved.await;
        }
    }

    /// Queues the answer to a status query. Outside the bound: one for each query that the gateway
    /// has open, which its window limits. One that was dropped would not be asked for again before
    /// the next stream.
    pub(crate) fn answer(&self, answer: &Answer, traceparent: String) {
        let statuses = answer.online.iter();
        let statuses = statuses.map(|online| match online {
            true => ReportedStatus::Online as u8,
            false => ReportedStatus::Offline as u8,
        });
        let answer = StatusAnswer {
            link: answer.link.number,
            sequence: answer.sequence,
            statuses: statuses.collect(),
            traceparent,
        };
        self.push(Entry::Answer(answer));
    }

    /// Says, after everything that was queued for a link, that nothing more comes. Outside the
    /// bound: once per link.
    pub(crate) fn end_link(&self, link: u64) {
        let mut contents = self.contents.lock();
        contents.closing.remove(&link);
        let ended = Entry::Ended(LinkEnded { link });
        contents.backlog.push(ended, &[]);
    }

    /// Asks for the close of a link, at once or as when its gateway stops. Outside the bound: once per link, for the
    /// gateway will do it.
    pub(crate) fn close_link(&self, link: u64, why: &str, planned: bool) {
        let mut contents = self.contents.lock();
        if contents.closing.insert(link) {
            let reason = why.to_owned();
            let close = Entry::Close(CloseLink {
                link,
                reason,
                planned,
            });
            contents.backlog.push(close, &[]);
        }
    }

    /// Tells the gateway whose place one of its links has taken, and what was written to these, as these
    /// batches have caused. Outside the bound: a mark an origin. Within the process nothing is
    /// repeated.
    pub(crate) fn take_over(
        &self,
        link: u64,
        predecessors: &[LinkId],
        marks: &[Taken],
        receipts: &[Receipt],
    ) {
        let taken_over = Entry::TakenOver(TakenOver {
            link,
            marks: marks.iter().map(wire::taken).collect(),
            predecessors: predecessors.iter().copied().map(wire::link).collect(),
        });
        let mut contents = self.contents.lock();
        if contents.backlog.retention() == Retention::UntilTaken {
            contents.backlog.push(taken_over, receipts);
        }
    }

    fn push(&self, entry: Entry) {
        self.contents.lock().backlog.push(entry, &[]);
    }

    /// The gateway has taken every Downlink up to this number. Returns how many entries that makes
    /// since the start.
    pub(crate) fn taken(&self, number: u64) -> u64 {
        let taken = self.contents.lock().backlog.taken_up_to(number);
        self.moved.notify_waiters();
        taken
    }

    /// Counts Downlinks from this one on, which is taken.
    pub(crate) fn begin_after(&self, number: u64) {
        self.contents.lock().backlog.begin_after(number);
    }

    /// Number of the last Downlink that was handed out, on any stream.
    pub(crate) fn handed_out(&self) -> u64 {
        self.contents.lock().backlog.number()
    }

    /// Takes everything that was never handed out to the gateway, for it will not come back. What
    /// was handed out and not taken may have been written by it: that is given up, and counted.
    pub(crate) fn give_up(&self) -> GivenUp {
        let mut contents = self.contents.lock();
        contents.lost = true;
        self.moved.notify_waiters();
        contents.backlog.give_up()
    }

    /// Takes what waits for these links and was never handed out to the gateway.
    pub(crate) fn give_up_for(&self, links: &[u64]) -> Vec<HeldRun> {
        self.contents.lock().backlog.give_up_for(links)
    }

    /// Confirms links' sequences. Returns the number of the Downlink that will carry them.
    pub(crate) fn confirm(&self, progress: &[Progress]) -> u64 {
        let mut contents = self.contents.lock();
        contents.news.confirm(progress);
        contents.backlog.number() + 1
    }

    /// Asks the gateway not to read a link, or to go on.
    pub(crate) fn pause(&self, link: u64, on: bool) {
        self.contents.lock().news.pauses.insert(link, on);
    }

    /// Tells the gateway which gateways there are.
    pub(crate) fn roster(&self, ids: Vec<String>) {
        self.contents.lock().news.roster = Some(ids);
    }

    /// Tells the gateway that an operator drains it, or no longer does.
    pub(crate) fn drain(&self, on: bool) {
        self.contents.lock().news.draining = Some(on);
    }

    /// Asks the gateway about some of its links.
    pub(crate) fn look_at(&self, look: LookAtLinks) {
        self.contents.lock().news.look_at(look);
    }

    /// Gives the queue to a new stream; an older one ends. What that one was handed out and the
    /// gateway has not taken waits again.
    pub(crate) fn open_stream(&self, attempt: u64) {
        let mut contents = self.contents.lock();
        contents.stream = attempt;
        contents.silent = false;
        contents.backlog.hand_out_again();
        contents.backlog.set_away(false);
        // The new stream is told everything that still matters.
        contents.news = News::default();
        contents.waker = None;
    }

    /// The gateway takes what it is handed, or has not for a while. Then it is handed nothing more before it has
    /// taken that.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.contents.lock().silent = silent;
    }

    /// Ends the present stream, with a status if there is something to say. What is queued stays.
    pub(crate) fn end_stream(&self, status: Option<Status>) -> Option<Waker> {
        let mut contents = self.contents.lock();
        if contents.stream == 0 {
            return None;
        }
        contents.ended = status.map(|status| (contents.stream, status));
        contents.stream = 0;
        contents.backlog.set_away(true);
        self.moved.notify_waiters();
        contents.waker.take()
    }

    /// Takes the waker of a stream that waits although something is ready.
    pub(crate) fn wake(&self) -> Option<Waker> {
        let mut contents = self.contents.lock();
        if contents.is_empty() {
            return None;
        }
        contents.waker.take()
    }

    /// Takes everything that is ready for the stream of this attempt, as one message. None: the
    /// stream is over.
    pub(crate) fn poll_take(
        &self,
        attempt: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Downlink, Status>>> {
        let mut contents = self.contents.lock();
        if contents.stream != attempt {
            let ended = contents.ended.take_if(|(stream, _)| *stream == attempt);
            return Poll::Ready(ended.map(|(_, status)| Err(status)));
        }
        if contents.is_empty() {
            match &mut contents.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                waker => *waker = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        if contents.is_held_back() {
            contents.news.beat = false;
            return Poll::Ready(Some(Ok(Downlink {
                number: contents.backlog.number(),
                ..Downlink::default()
            })));
        }
        let (number, entries) = contents.backlog.hand_out();
        if contents.backlog.retention() == Retention::None {
            self.moved.notify_waiters();
        }
        Poll::Ready(Some(Ok(Downlink {
            number,
            entries,
            ..contents.news.take()
        })))
    }

    /// Something is there and not taken. An empty Downlink, if no other one, will ask whether the gateway is there, and
    /// show it that the node is.
    pub(crate) fn awaits_taking(&self) -> bool {
        let mut contents = self.contents.lock();
        contents.news.beat = true;
        contents.backlog.awaits_taking()
    }

    /// What it holds, and what became of the rest.
    pub(crate) fn counts(&self) -> Counts {
        self.contents.lock().backlog.counts()
    }
}

impl Contents {
    /// None yet: the gateway is there, and has not taken it.
    fn fate(&self, place: u64) -> Option<Fate> {
        if !self.lost && self.backlog.taken() >= place {
            Some(Fate::Taken)
        } else {
            (self.lost || self.stream == 0).then_some(Fate::Away)
        }
    }

    /// There is nothing to hand out now.
    fn is_empty(&self) -> bool {
        match self.is_held_back() {
            true => !self.news.beat,
            false => self.backlog.is_handed_out() && self.news.is_empty(),
        }
    }

    /// The gateway gets nothing but beats before it has taken what it was handed.
    fn is_held_back(&self) -> bool {
        self.silent && self.backlog.awaits_answer()
    }
}

#[cfg(test)]
mod tests;
