//! The event log that all readers share, behind a lock of its own, and what wakes them.

use parking_lot::Mutex;
use std::time::Duration;

use route_core::{Event, EventLog, Gap, LogLimits, Logged};
use tokio::sync::watch;

/// A node's event log.
#[derive(Debug)]
pub(crate) struct Log {
    events: Mutex<EventLog>,
    head: watch::Sender<u64>,
}

impl Log {
    /// An empty one.
    pub(super) fn new(limits: LogLimits) -> Self {
        Self {
            events: Mutex::new(EventLog::new(limits)),
            head: watch::Sender::new(0),
        }
    }

    /// Reads events after `after`: up to `max`, and no more bytes than that unless there is one event
    /// of more, are appended to `out`.
    pub(crate) fn read(
        &self,
        after: u64,
        max: usize,
        max_bytes: usize,
        out: &mut Vec<Logged>,
    ) -> Result<(), Gap> {
        self.events.lock().read(after, max, max_bytes, out)
    }

    /// The newest event, and the oldest position after which everything is still held.
    pub(crate) fn extent(&self) -> (u64, u64) {
        let events = self.events.lock();
        (events.head(), events.tail())
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.events.lock().bytes()
    }

    /// Waits until the newest event stands here, or behind.
    pub(crate) async fn reach(&self, seq: u64) {
        if self.extent().0 < seq {
            // The sender is this value's own, so there is no other end.
            let _ = self.follow().wait_for(|head| *head >= seq).await;
        }
    }

    /// Follows the newest event's position.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Adds events that happen so long after the start, under one lock; the newest one's position, if there are any, for
    /// [`announce`](Log::announce).
    pub(super) fn append(
        &self,
        at: Duration,
        added: impl ExactSizeIterator<Item = Event>,
    ) -> Option<u64> {
        if added.len() == 0 {
            return None;
        }
        let mut events = self.events.lock();
        for event in added {
            events.push(at, event);
        }
        Some(events.head())
    }

    /// Wakes those who follow. Without any other lock.
    pub(super) fn announce(&self, head: u64) {
        // Of two threads, the one with the older head may come later.
        self.head.send_if_modified(|known| {
            let newer = head > *known;
            *known = head.max(*known);
            newer
        });
    }
}
