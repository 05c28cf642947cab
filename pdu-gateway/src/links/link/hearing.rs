//! What is heard of a link, and for how long nothing has been; written by its reader, read by the timer of all links.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A heartbeat of a MsgServer, up to 6 s after what it has sent last, and some time.
const SILENT: Duration = Duration::from_secs(7);

/// What one link's reader has heard.
#[derive(Debug)]
pub(super) struct Hearing {
    /// When something was last received, milliseconds since the gateway started.
    heard: AtomicU64,
    /// Since when the first PDU is incomplete, the same, and 1 more; 0: it is not.
    awaits_first_pdu: AtomicU64,
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
            awaits_first_pdu: AtomicU64::new(0),
            held_up: AtomicBool::new(false),
            told_silent: AtomicBool::new(false),
        }
    }

    /// Something was received.
    pub(super) fn heard(&self, now: Duration, awaits_first_pdu: bool) {
        self.heard.store(millis(now), Ordering::Relaxed);
        let since = self.awaits_first_pdu.load(Ordering::Relaxed);
        if awaits_first_pdu != (since != 0) {
            let since = if awaits_first_pdu { millis(now) + 1 } else { 0 };
            self.awaits_first_pdu.store(since, Ordering::Relaxed);
        }
    }

    /// We keep the reader from reading.
    pub(super) fn hold_up(&self) {
        self.held_up.store(true, Ordering::Relaxed);
    }

    /// We do not. Silence counts from the moment when we stopped doing so.
    pub(super) fn release(&self, now: impl FnOnce() -> Duration) {
        if self.is_held_up() {
            self.heard.store(millis(now()), Ordering::Relaxed);
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

    /// The first PDU has been incomplete for so long.
    pub(super) fn drips_for(&self, now: Duration) -> Duration {
        match self.awaits_first_pdu.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => now.saturating_sub(Duration::from_millis(since - 1)),
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // 500 million years
fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}
