//! What is heard of a link, and for how long nothing has been; written by its reader, read by the timer of all links.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::pdu::frame::Unfinished;

/// A heartbeat of a MsgServer, up to 6 s after what it has sent last, and some time.
const SILENT: Duration = Duration::from_secs(7);

/// Who has sent a whole PDU has so many times as long for the next ones: the C++ RouteServer waits for ever.
const LATER: u32 = 6;

/// What one link's reader has heard.
#[derive(Debug)]
pub(super) struct Hearing {
    /// When something was last received, milliseconds since the gateway started.
    heard: AtomicU64,
    /// Since when a PDU is unfinished, the same, and 1 more; 0: none is.
    unfinished_since: AtomicU64,
    /// Which one, and how long it will be.
    unfinished_number: AtomicU64,
    unfinished_length: AtomicUsize,
    unfinished_is_first: AtomicBool,
    /// What has come of it takes so many bytes of memory.
    unfinished_bytes: AtomicUsize,
    /// Its reader is held up by us: what is not read says nothing about the MsgServer.
    held_up: AtomicBool,
    /// The node has been told that nothing is heard.
    told_silent: AtomicBool,
}

impl Hearing {
    /// The link has just been connected.
    pub(super) fn new(now: Duration) -> Self {
        Hearing {
            heard: AtomicU64::new(millis(now)),
            unfinished_since: AtomicU64::new(0),
            unfinished_number: AtomicU64::new(0),
            unfinished_length: AtomicUsize::new(0),
            unfinished_is_first: AtomicBool::new(false),
            unfinished_bytes: AtomicUsize::new(0),
            held_up: AtomicBool::new(false),
            told_silent: AtomicBool::new(false),
        }
    }

    /// Something was received, and this is not complete.
    pub(super) fn heard(&self, now: Duration, unfinished: Option<Unfinished>) {
        self.heard.store(millis(now), Ordering::Relaxed);
        let bytes = unfinished.map_or(0, |it| it.bytes);
        self.unfinished_bytes.store(bytes, Ordering::Relaxed);
        let Some(it) = unfinished else {
            self.unfinished_since.store(0, Ordering::Relaxed);
            return;
        };
        self.unfinished_length.store(it.length, Ordering::Relaxed);
        self.unfinished_is_first
            .store(it.is_first, Ordering::Relaxed);
        let before = self.unfinished_number.swap(it.number, Ordering::Relaxed);
        if before != it.number || self.unfinished_since.load(Ordering::Relaxed) == 0 {
            let since = millis(now) + 1;
            self.unfinished_since.store(since, Ordering::Relaxed);
        }
    }

    /// We keep the reader from reading.
    pub(super) fn hold_up(&self) {
        self.held_up.store(true, Ordering::Relaxed);
    }

    /// We do not. Silence counts from the moment when we stopped doing so.
    pub(super) fn release(&self, now: impl FnOnce() -> Duration) {
        if self.is_held_up() {
            let now = millis(now());
            self.heard.store(now, Ordering::Relaxed);
            if self.unfinished_since.load(Ordering::Relaxed) != 0 {
                self.unfinished_since.store(now + 1, Ordering::Relaxed);
            }
            self.held_up.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn is_held_up(&self) -> bool {
        self.held_up.load(Ordering::Relaxed)
    }

    /// For how long nothing has been received.
    pub(super) fn silent_for(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }

    /// Whether nothing has been heard for [`SILENT`], if that is another answer than the last one.
    pub(super) fn turns_silent(&self, now: Duration) -> Option<bool> {
        let silent = self.silent_for(now) >= SILENT;
        let before = self.told_silent.swap(silent, Ordering::Relaxed);
        (before != silent).then_some(silent)
    }

    /// A first PDU is not complete `within` this, or a later one within [`LATER`] times as long, and what its length takes
    /// at this rate, in bytes a second.
    pub(super) fn drips(&self, now: Duration, within: Duration, rate: u32) -> bool {
        let since = self.unfinished_since.load(Ordering::Relaxed);
        let length = self.unfinished_length.load(Ordering::Relaxed);
        let is_first = self.unfinished_is_first.load(Ordering::Relaxed);
        let within = within * if is_first { 1 } else { LATER };
        let due = within + Duration::from_secs((length / rate.max(1) as usize) as u64);
        since != 0 && now.saturating_sub(Duration::from_millis(since - 1)) >= due
    }

    /// What has come of an unfinished PDU takes so many bytes of memory.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished_bytes.load(Ordering::Relaxed)
    }
}

#[allow(clippy::cast_possible_truncation)] // 500 million years
fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}
