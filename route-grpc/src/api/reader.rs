//! One reader of the event log: a cursor, and the life of the stream around it.
//!
//! Nothing is queued for a reader, so there is nothing to bound: a slow one falls behind the log
//! and is told so.

use std::sync::Arc;
use std::time::Duration;

use route_core::{Gap, Logged};
use route_proto::v1::Draining;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits::{Place, Share, Weight};
use crate::node::Node;
use crate::node::readers::ReaderReport;
use crate::refusal::{DRAIN_RETRY, Refusal};

/// Events that are read under one lock of the log.
const PAGE: usize = 256;

/// Bytes that these take, unless one event alone takes more: a reader that stands still keeps them.
pub(crate) const PAGE_BYTES: usize = 256 << 10;

/// A stream on which nothing was sent for this long gets a watermark.
pub(crate) const WATERMARK: Duration = Duration::from_secs(10);

/// When the reader of a stream that has only become too old may come back.
const AGE_RETRY: Duration = Duration::from_millis(100);

/// What is said before a stream ends for a while.
pub(crate) fn draining(retry: Duration) -> Draining {
    Draining {
        retry_after: retry.try_into().ok(),
    }
}

/// What a stream has to do next.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Look through [`Reader::page`].
    Events,
    /// Say that events after `from` up to `to` are missing.
    Gap { from: u64, to: u64 },
    /// Say that nothing was missed up to [`Reader::after`].
    Idle,
    /// Say that an operator ends it.
    Closed,
    /// Say goodbye; the reader may come back after this time.
    Leave(Duration),
}

/// A cursor in the log. Holds one of the node's streams until it is dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    node: Arc<Node>,
    method: &'static str,
    head: watch::Receiver<u64>,
    draining: CancellationToken,
    after: u64,
    page: Vec<Logged>,
    opened: Instant,
    quiet_since: Instant,
    leave_at: Instant,
    /// What waits for whoever reads the stream.
    pending: Weight,
    /// What operators see of it.
    report: Arc<ReaderReport>,
    closed: CancellationToken,
    /// The drain has begun, and `leave_at` says so.
    leaving: bool,
    _place: Place,
}

impl Reader {
    /// A stream of `method` that reads what comes from now on; `about` what, in words.
    pub(crate) fn open(
        node: Arc<Node>,
        method: &'static str,
        client: &Share,
        about: String,
    ) -> Result<Self, Refusal> {
        let Some(place) = node.process.streams.take() else {
            let limit = node.process.streams.limit();
            return Err(Refusal::StreamLimit { limit });
        };
        let report = node.readers.opened(node.clock.now(), method, client, about);
        let now = Instant::now();
        // Streams that were opened together do not end together.
        let age = node.process.settings.max_stream_age;
        let age = age - age.mul_f64(0.2 * fastrand::f64());
        Ok(Self {
            method,
            head: node.log.follow(),
            draining: node.draining(),
            after: node.log.extent().0,
            page: Vec::new(),
            opened: now,
            quiet_since: now,
            leave_at: now + age,
            pending: Weight::new(&node.process.pending),
            closed: report.closed(),
            report,
            leaving: false,
            _place: place,
            node,
        })
    }

    fn read_page(&mut self) -> Result<(), Gap> {
        let page = &mut self.page;
        self.node.log.read(self.after, PAGE, PAGE_BYTES, page)
    }

    /// An operator ends the stream.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// What was read has become answers, which take so much.
    pub(crate) fn waits(&mut self, bytes: usize) {
        self.pending.set(bytes);
        self.report.waits(bytes);
        self.page = Vec::new();
    }

    /// The last turn's events have become answers, of which each takes so much beside its event.
    pub(crate) fn answered(&mut self, answers: usize, each: usize) {
        let events = self.page.iter().map(|logged| logged.event.cost());
        let bytes = match answers {
            0 => 0,
            _ => events.sum::<usize>() + answers * each,
        };
        self.waits(bytes);
    }

    /// The method whose stream this is.
    pub(crate) fn method(&self) -> &'static str {
        self.method
    }

    /// The node it reads from.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Everything up to here has been read, or was said to be missing.
    pub(crate) fn after(&self) -> u64 {
        self.after
    }

    /// Goes on after this position.
    pub(crate) fn seek(&mut self, after: u64) {
        self.after = after;
    }

    /// What the last turn read.
    pub(crate) fn page(&self) -> &[Logged] {
        &self.page
    }

    /// Reads on, without waiting, as far as `to`. False: there is nothing more.
    pub(crate) fn read_on(&mut self, to: u64) -> Result<bool, Gap> {
        self.page.clear();
        let left = usize::try_from(to.saturating_sub(self.after)).unwrap_or(PAGE);
        let (log, page) = (&self.node.log, &mut self.page);
        if let Err(gap) = log.read(self.after, left.min(PAGE), PAGE_BYTES, page) {
            self.after = gap.to;
            return Err(gap);
        }
        let Some(last) = self.page.last() else {
            return Ok(false);
        };
        self.after = last.position;
        Ok(true)
    }

    /// Something was sent: no watermark is due for a while.
    pub(crate) fn sent(&mut self) {
        self.quiet_since = Instant::now();
        self.report.was_sent(self.node.clock.now());
    }

    /// Counts a gap that the reader is told of.
    pub(crate) fn count_gap(&self) {
        self.node.process.metrics.gap(self.method);
    }

    /// Waits for something to do.
    pub(crate) async fn turn(&mut self) -> Turn {
        loop {
            // A reader whose filter lets nothing through must not keep the others from running.
            tokio::task::consume_budget().await;
            self.report.has_read(self.after);
            let now = Instant::now();
            if self.is_closed() {
                return Turn::Closed;
            }
            if !self.leaving && self.draining.is_cancelled() {
                let window = self.node.process.settings.drain_window;
                self.leave_at = self.leave_at.min(now + window.mul_f64(fastrand::f64()));
                self.leaving = true;
            }
            if now >= self.leave_at {
                return Turn::Leave(if self.leaving { DRAIN_RETRY } else { AGE_RETRY });
            }
            if now >= self.quiet_since + WATERMARK {
                return Turn::Idle;
            }
            self.head.borrow_and_update();
            self.page.clear();
            if let Err(gap) = self.read_page() {
                self.after = gap.to;
                return Turn::Gap {
                    from: gap.from,
                    to: gap.to,
                };
            }
            if let Some(last) = self.page.last() {
                self.after = last.position;
                return Turn::Events;
            }
            let wake_up = self.leave_at.min(self.quiet_since + WATERMARK);
            tokio::select! {
                () = self.draining.cancelled(), if !self.leaving => {}
                () = self.closed.cancelled() => {}
                // The sender lives as long as the node, which this reader holds.
                _ = self.head.changed() => {}
                () = tokio::time::sleep_until(wake_up) => {}
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.node.readers.ended(self.report.number);
        let seconds = self.opened.elapsed().as_secs_f64();
        self.node.process.metrics.stream_ended(self.method, seconds);
    }
}
