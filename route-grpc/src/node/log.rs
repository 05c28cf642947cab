//! The event log that all readers share, behind a lock of its own, and what wakes them.

use parking_lot::{Mutex, MutexGuard};
use route_core::{Event, EventLog, Gap, LogLimits};
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

    /// Reads events after `after`: up to `max` are appended to `out`.
    pub(crate) fn read(
        &self,
        after: u64,
        max: usize,
        out: &mut Vec<(u64, Event)>,
    ) -> Result<(), Gap> {
        self.events.lock().read(after, max, out)
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

    /// Follows the newest event's position.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Adds events, under one lock if there are any.
    pub(super) fn appender(&self) -> Appender<'_> {
        Appender {
            log: self,
            events: None,
        }
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

/// Adds events.
#[derive(Debug)]
pub(super) struct Appender<'a> {
    log: &'a Log,
    events: Option<MutexGuard<'a, EventLog>>,
}

impl Appender<'_> {
    /// Adds one.
    pub(super) fn push(&mut self, event: Event) {
        let events = &mut self.events;
        events
            .get_or_insert_with(|| self.log.events.lock())
            .push(event);
    }

    /// The newest event's position if one was added, for [`announce`](Log::announce).
    pub(super) fn head(self) -> Option<u64> {
        self.events.map(|events| events.head())
    }
}
