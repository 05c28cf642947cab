//! One link in figures, for operators who look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use route_proto::attach::v1::LinkFigures;

use super::Link;
use crate::clock::micros;

/// What has been received since the link was opened.
#[derive(Debug, Default)]
pub(super) struct Received {
    pdus: AtomicU64,
    bytes: AtomicU64,
}

impl Link {
    /// For the reader: so much came with one read.
    pub fn received(&self, pdus: u64, bytes: usize) {
        self.received.pdus.fetch_add(pdus, Ordering::Relaxed);
        let bytes = bytes as u64;
        self.received.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What it is at this moment, but for what is unconfirmed. `None`: it has ended.
    pub fn figures(&self, now: Duration) -> Option<LinkFigures> {
        let outbox = self.outbox.lock();
        if outbox.shut.is_some() {
            return None;
        }
        let (sent_pdus, sent_bytes) = outbox.output.sent();
        Some(LinkFigures {
            link: self.number,
            queued_bytes: outbox.output.bytes() as u64,
            stalled_micros: micros(outbox.pressure.stalled(now)).cast_unsigned(),
            unconfirmed_bytes: 0,
            received_pdus: self.received.pdus.load(Ordering::Relaxed),
            received_bytes: self.received.bytes.load(Ordering::Relaxed),
            sent_pdus,
            sent_bytes,
            idle_micros: micros(self.hearing.silent_for(now)).cast_unsigned(),
            paused: self.is_held_up(),
        })
    }
}
