//! The gateway's instruments, `teamtalk.pdu.*`.
//!
//! Hot paths add to plain counters, once a batch; the instruments read them when they are scraped. Labels are closed
//! sets: no addresses, no users.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use crate::pdu::input::{KINDS, RECEIVED, Tally};
use crate::pdu::names;

/// Bounds of the ways of PDUs in seconds: from what one process takes to what a hand-over does.
const WAY_SECONDS: [f64; 17] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

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
const CLOSE_REASONS: [&str; 7] = [
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
    received: [Counter; RECEIVED.len()],
    ways: OnceLock<Ways>,
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
    refused: [Counter; REFUSALS.len()],
    opened: Counter,
    closed: [Counter; CLOSE_REASONS.len()],
    /// Times that all readers were paused because a link here was congested.
    pub congestions: Counter,
    /// Streams that a node welcomed.
    pub attached: Counter,
    /// Streams that broke, and attempts that failed.
    pub attach_failures: Counter,
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
    pub fn taken_over(&self, command: u16, after: Duration) {
        if let Some(ways) = self.ways.get() {
            let labels = &ways.labels[names::place(command)];
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
struct Ways {
    seconds: Histogram<f64>,
    /// By the command's place.
    labels: [[KeyValue; 1]; names::NAMES.len()],
}

/// What is measured when somebody looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    /// Entries that the node has not confirmed.
    pub unconfirmed: u64,
    /// Bytes of those, and of open queries.
    pub unconfirmed_bytes: u64,
    /// Entries that were sent again.
    pub resent: u64,
    /// Bytes in the output queues of all links.
    pub queued_bytes: u64,
    /// Whether a node is attached.
    pub attached: bool,
    /// Whether reading is paused.
    pub paused: bool,
}

/// Registers the instruments.
pub fn observe(
    meter: &Meter,
    counters: &Arc<Counters>,
    levels: impl Fn() -> Levels + Send + Sync + 'static,
) {
    let levels = Arc::new(levels);
    observe_received(meter, counters);
    observe_ways(meter, counters);
    labelled(
        meter,
        counters,
        "teamtalk.pdu.connections.refused",
        "{connection}",
        "Connections refused",
        ("reason", &REFUSALS),
        |counters| &counters.refused,
    );
    labelled(
        meter,
        counters,
        "teamtalk.pdu.links.closed",
        "{link}",
        "Links that ended",
        ("reason", &CLOSE_REASONS),
        |counters| &counters.closed,
    );
    for (name, unit, description, counter) in COUNTERS {
        let counters = Arc::clone(counters);
        meter
            .u64_observable_counter(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(move |observer| observer.observe(counter(&counters).get(), &[]))
            .build();
    }
    let counters = Arc::clone(counters);
    gauge(
        meter,
        "teamtalk.pdu.links",
        "{link}",
        "Connected MsgServers' links",
        move || counters.open_links(),
    );
    for (name, unit, description, level) in LEVELS {
        let levels = Arc::clone(&levels);
        gauge(meter, name, unit, description, move || level(&levels()));
    }
    meter
        .u64_observable_counter("teamtalk.pdu.uplink.resent")
        .with_unit("{entry}")
        .with_description("Entries sent again after an Attach stream broke")
        .with_callback(move |observer| observer.observe(levels().resent, &[]))
        .build();
}

fn observe_received(meter: &Meter, counters: &Arc<Counters>) {
    let received = Arc::clone(counters);
    let labels = RECEIVED.map(|(kind, command)| {
        [
            KeyValue::new("kind", KINDS[kind as usize]),
            KeyValue::new("command", names::name(command)),
        ]
    });
    meter
        .u64_observable_counter("teamtalk.pdu.received")
        .with_unit("{pdu}")
        .with_description("PDUs read from MsgServers")
        .with_callback(move |observer| {
            for (counter, labels) in received.received.iter().zip(&labels) {
                observer.observe(counter.get(), labels);
            }
        })
        .build();
}

fn observe_ways(meter: &Meter, counters: &Counters) {
    let seconds = meter
        .f64_histogram("teamtalk.pdu.duration")
        .with_unit("s")
        .with_description("From reading a PDU until everybody whom it concerns has taken it, or the query is answered")
        .with_boundaries(WAY_SECONDS.to_vec())
        .build();
    let labels = names::NAMES.map(|(name, _)| [KeyValue::new("command", name)]);
    // A second registration counts into the first one's instrument.
    let _ = counters.ways.set(Ways { seconds, labels });
}

/// Name, unit, description, and how it is read.
type Named<T> = (&'static str, &'static str, &'static str, T);

type ReadCounter = fn(&Counters) -> &Counter;

type ReadLevel = fn(&Levels) -> u64;

const COUNTERS: [Named<ReadCounter>; 15] = [
    (
        "teamtalk.pdu.received.size",
        "By",
        "Bytes read from MsgServers",
        |c| &c.received_bytes,
    ),
    (
        "teamtalk.pdu.written.size",
        "By",
        "Bytes written to MsgServers",
        |c| &c.written_bytes,
    ),
    (
        "teamtalk.pdu.delivered",
        "{delivery}",
        "Deliveries put into links' output queues",
        |c| &c.delivered,
    ),
    (
        "teamtalk.pdu.answered",
        "{query}",
        "Status queries answered",
        |c| &c.answered,
    ),
    (
        "teamtalk.pdu.unanswered",
        "{query}",
        "Status queries given up because no answer came",
        |c| &c.unanswered,
    ),
    (
        "teamtalk.pdu.repeated",
        "{delivery}",
        "Deliveries dropped because they had been taken over before",
        |c| &c.repeated,
    ),
    (
        "teamtalk.pdu.given_back",
        "{delivery}",
        "Deliveries given back because their link had ended",
        |c| &c.given_back,
    ),
    (
        "teamtalk.pdu.lost",
        "{delivery}",
        "Deliveries of ended links beyond what is given back",
        |c| &c.lost,
    ),
    (
        "teamtalk.pdu.stop.unread.size",
        "By",
        "Bytes that MsgServers sent until their connections ended at a stop, and that were not read",
        |c| &c.unread_bytes,
    ),
    (
        "teamtalk.pdu.stop.lost",
        "{entry}",
        "What MsgServers did and no node had confirmed when the gateway stopped",
        |c| &c.unconfirmed_lost,
    ),
    (
        "teamtalk.pdu.kicks.dropped",
        "{kick}",
        "Kicks dropped because they were old and their user had logged in since",
        |c| &c.kicks_dropped,
    ),
    (
        "teamtalk.pdu.links.opened",
        "{link}",
        "Links that began",
        |c| &c.opened,
    ),
    (
        "teamtalk.pdu.congestions",
        "{episode}",
        "Times that reading was paused because a link was behind",
        |c| &c.congestions,
    ),
    (
        "teamtalk.pdu.attach.welcomed",
        "{stream}",
        "Attach streams that a node welcomed",
        |c| &c.attached,
    ),
    (
        "teamtalk.pdu.attach.failed",
        "{stream}",
        "Attach streams that broke, and attempts that failed",
        |c| &c.attach_failures,
    ),
];

const LEVELS: [Named<ReadLevel>; 5] = [
    (
        "teamtalk.pdu.uplink.unconfirmed",
        "{entry}",
        "Entries that the node has not confirmed",
        |l| l.unconfirmed,
    ),
    (
        "teamtalk.pdu.uplink.unconfirmed.size",
        "By",
        "Bytes that the node has not confirmed",
        |l| l.unconfirmed_bytes,
    ),
    (
        "teamtalk.pdu.queued.size",
        "By",
        "Bytes in the output queues of all links",
        |l| l.queued_bytes,
    ),
    (
        "teamtalk.pdu.attached",
        "1",
        "1 while a node is attached, else 0",
        |l| u64::from(l.attached),
    ),
    (
        "teamtalk.pdu.paused",
        "1",
        "1 while reading from all MsgServers is paused, else 0",
        |l| u64::from(l.paused),
    ),
];

fn labelled<const N: usize>(
    meter: &Meter,
    counters: &Arc<Counters>,
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    (label, values): (&'static str, &[&'static str; N]),
    counter: fn(&Counters) -> &[Counter; N],
) {
    let counters = Arc::clone(counters);
    let labels = values.map(|value| [KeyValue::new(label, value)]);
    meter
        .u64_observable_counter(name)
        .with_unit(unit)
        .with_description(description)
        .with_callback(move |observer| {
            for (counter, label) in counter(&counters).iter().zip(&labels) {
                observer.observe(counter.get(), label);
            }
        })
        .build();
}

fn gauge(
    meter: &Meter,
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    level: impl Fn() -> u64 + Send + Sync + 'static,
) {
    meter
        .u64_observable_gauge(name)
        .with_unit(unit)
        .with_description(description)
        .with_callback(move |observer| observer.observe(level(), &[]))
        .build();
}

#[cfg(test)]
mod tests;
