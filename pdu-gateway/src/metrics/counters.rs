//! What is counted.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use route_dialect::Command;

use crate::pdu::input::{RECEIVED, Tally};

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Refused {
    /// Its address is not in the allow-list.
    Address,
    /// There are as many as there may be.
    Total,
    /// There are as many from its address as there may be.
    Source,
    /// It broke before it was served, or its socket could not be set up.
    Broken,
    /// A proxy did not say in time, or as it should, whose connection it is.
    ProxyHeader,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Address => "its address is not in --allow-cidr",
            Refused::Total => "there are --max-connections",
            Refused::Source => "there are --max-connections-per-source of its address",
            Refused::Broken => "it broke before it was served",
            Refused::ProxyHeader => "it did not say whose connection it is",
        })
    }
}

/// Reasons, in the order of [`Refused`].
pub const REFUSALS: [&str; 5] = ["address", "total", "source", "broken", "proxy_header"];

/// Why links ended, in the order of `CloseReason`.
pub(super) const CLOSE_REASONS: [&str; 7] = [
    "unspecified",
    "peer",
    "idle",
    "bad_frame",
    "slow_reader",
    "drain",
    "requested",
];

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds so many.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) received: [Counter; RECEIVED.len()],
    pub(super) ways: OnceLock<Ways>,
    /// Bytes read from MsgServers.
    pub received_bytes: Counter,
    /// Bytes written to MsgServers.
    pub written_bytes: Counter,
    /// Deliveries put into links' queues.
    pub delivered: Counter,
    /// Status answers sent.
    pub answered: Counter,
    /// Queries that the node did not answer in time.
    pub unanswered: Counter,
    /// Deliveries that had been taken over before.
    pub repeated: Counter,
    /// Deliveries given back because their link had ended.
    pub given_back: Counter,
    /// Deliveries of an ended link that were lost, because too much would have come back or it was forgotten.
    pub lost: Counter,
    /// Bytes that MsgServers had sent and we did not read before we ended their connections at a stop.
    pub unread_bytes: Counter,
    /// Entries that no node had confirmed when we ended.
    pub unconfirmed_lost: Counter,
    /// Kicks that were dropped because they were old and their user had logged in since.
    pub kicks_dropped: Counter,
    /// Notices and published events of which nothing was written: the MsgServer's dialect has no such command or type.
    pub unspoken: Counter,
    pub(super) refused: [Counter; REFUSALS.len()],
    pub(super) opened: Counter,
    pub(super) closed: [Counter; CLOSE_REASONS.len()],
    /// Links that were cut off because of what all links held.
    pub cut_off: Counter,
    /// Times that a link was congested, so that those who feed it much paused.
    pub congestions: Counter,
    /// Streams that a node welcomed.
    pub attached: Counter,
    /// Streams that broke, and attempts that failed, but because another node leads.
    pub attach_failures: Counter,
    /// Those of them where a node was left because nothing came from it.
    pub silent: Counter,
    /// Streams and attempts that a node ended because another one leads.
    pub not_leader: Counter,
}

impl Counters {
    /// Counts what one read brought.
    pub fn received(&self, tally: &Tally, bytes: usize) {
        self.received_bytes.add(bytes as u64);
        for (counter, count) in self.received.iter().zip(tally) {
            if *count > 0 {
                counter.add(*count);
            }
        }
    }

    /// A PDU was read so long ago, and now everybody whom it concerns has taken it; or it has been answered.
    pub fn taken_over(&self, command: Option<Command>, after: Duration) {
        if let Some(ways) = self.ways.get() {
            let labels = &ways.labels[command.map_or(Command::COUNT, |command| command as usize)];
            ways.seconds.record(after.as_secs_f64(), labels);
        }
    }

    /// A connection was refused.
    pub fn refused(&self, reason: Refused) {
        self.refused[reason as usize].add(1);
    }

    /// A link began.
    pub fn opened(&self) {
        self.opened.add(1);
    }

    /// A link ended.
    pub fn closed(&self, reason: route_proto::attach::v1::CloseReason) {
        self.closed[reason as usize].add(1);
    }

    /// Links that are connected.
    pub fn open_links(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(Counter::get).sum();
        self.opened.get().saturating_sub(closed)
    }
}

/// How long PDUs take.
#[derive(Debug)]
pub(super) struct Ways {
    pub(super) seconds: Histogram<f64>,
    /// By the command's place; others come last.
    pub(super) labels: Vec<[KeyValue; 1]>,
}
