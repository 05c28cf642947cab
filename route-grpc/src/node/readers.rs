//! Open streams of readers, as operators see them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::limits::Share;

/// Longest text about what a stream is about, bytes.
const MAX_ABOUT: usize = 200;

/// All of them, by number. As many as there are places for streams.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    last: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<ReaderReport>>>,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct ReaderReport {
    /// Counts streams of the node, from 1.
    pub(crate) number: u64,
    pub(crate) method: &'static str,
    /// What it is about, in words.
    pub(crate) about: String,
    pub(crate) opened: Duration,
    /// Up to where it has read.
    after: AtomicU64,
    /// Bytes of answers that wait for its client.
    waiting: AtomicUsize,
    /// When it was handed something last, microseconds since the node started.
    sent: AtomicU64,
    client: Share,
    closed: CancellationToken,
}

impl ReaderReport {
    /// Of whom; none: somebody in this process.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.client.peer
    }

    /// Up to where it has read.
    pub(crate) fn after(&self) -> u64 {
        self.after.load(Ordering::Relaxed)
    }

    /// Bytes of answers that wait for its client.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// When it was handed something last.
    pub(crate) fn sent(&self) -> Duration {
        Duration::from_micros(self.sent.load(Ordering::Relaxed))
    }

    /// It has read so far.
    pub(crate) fn has_read(&self, after: u64) {
        self.after.store(after, Ordering::Relaxed);
    }

    /// So much waits for its client.
    pub(crate) fn waits(&self, bytes: usize) {
        self.waiting.store(bytes, Ordering::Relaxed);
    }

    /// It was handed something.
    pub(crate) fn was_sent(&self, now: Duration) {
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.sent.store(micros, Ordering::Relaxed);
    }

    /// Has it end: at once, unless its client takes nothing.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Ends its client's connection, and with it all streams there.
    pub(crate) fn cut_client(&self) {
        self.client.reading.cut();
    }

    /// Cancelled when it is to end.
    pub(crate) fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }
}

impl Readers {
    /// One more. It is there until [`Readers::ended`].
    pub(crate) fn opened(
        &self,
        now: Duration,
        method: &'static str,
        client: &Share,
        mut about: String,
    ) -> Arc<ReaderReport> {
        let end = about.floor_char_boundary(MAX_ABOUT);
        about.truncate(end);
        let report = Arc::new(ReaderReport {
            number: self.last.fetch_add(1, Ordering::Relaxed) + 1,
            method,
            about,
            opened: now,
            after: AtomicU64::default(),
            waiting: AtomicUsize::default(),
            sent: AtomicU64::default(),
            client: client.clone(),
            closed: CancellationToken::new(),
        });
        report.was_sent(now);
        self.open.lock().insert(report.number, Arc::clone(&report));
        report
    }

    /// It is over.
    pub(crate) fn ended(&self, number: u64) {
        self.open.lock().remove(&number);
    }

    /// The one with this number.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<ReaderReport>> {
        self.open.lock().get(&number).cloned()
    }

    /// So many with numbers above this one, and whether there are more.
    pub(crate) fn after(&self, number: u64, most: usize) -> (Vec<Arc<ReaderReport>>, bool) {
        let open = self.open.lock();
        let later = open.range((Bound::Excluded(number), Bound::Unbounded));
        let mut later = later.map(|(_, it)| Arc::clone(it));
        let page = later.by_ref().take(most).collect();
        (page, later.next().is_some())
    }
}
