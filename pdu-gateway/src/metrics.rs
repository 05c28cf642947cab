//! The gateway's instruments, `teamtalk.pdu.*`.
//!
//! Hot paths add to plain counters, once a batch; the instruments read them when they are scraped. Labels are closed
//! sets: no addresses, no users.

mod counters;

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use route_dialect::Command;

use crate::pdu::input::{KINDS, RECEIVED};
use counters::{CLOSE_REASONS, Ways};
pub use counters::{Counter, Counters, REFUSALS, Refused};

/// Bounds of the ways of PDUs in seconds: from what one process takes to what a hand-over does.
const WAY_SECONDS: [f64; 17] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

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
    /// Links that are not read, because they feed others too much.
    pub paused: u64,
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
            KeyValue::new("command", name(command)),
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
    let commands = Command::all().map(Some).chain([None]);
    let labels = commands.map(|it| [KeyValue::new("command", name(it))]);
    let labels = labels.collect();
    // A second registration counts into the first one's instrument.
    let _ = counters.ways.set(Ways { seconds, labels });
}

/// What a command is called in metrics and traces.
pub fn name(command: Option<Command>) -> &'static str {
    command.map_or("other", Command::name)
}

/// Name, unit, description, and how it is read.
type Named<T> = (&'static str, &'static str, &'static str, T);

type ReadCounter = fn(&Counters) -> &Counter;

type ReadLevel = fn(&Levels) -> u64;

const COUNTERS: [Named<ReadCounter>; 19] = [
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
        "teamtalk.pdu.unspoken",
        "{delivery}",
        "Notices and published events of which nothing was written, because the MsgServer's dialect has no such command or type",
        |c| &c.unspoken,
    ),
    (
        "teamtalk.pdu.links.opened",
        "{link}",
        "Links that began",
        |c| &c.opened,
    ),
    (
        "teamtalk.pdu.links.cut_off",
        "{link}",
        "Links that were cut off because they held most when --memory-limit was nearly reached",
        |c| &c.cut_off,
    ),
    (
        "teamtalk.pdu.congestions",
        "{episode}",
        "Times that a link took less than it was sent, so that those who feed it much paused",
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
    (
        "teamtalk.pdu.attach.silent",
        "{stream}",
        "Attach streams that the gateway left because nothing came from their node; attach_failed counts them too",
        |c| &c.silent,
    ),
    (
        "teamtalk.pdu.attach.not_leader",
        "{stream}",
        "Attach streams and attempts that a node ended because another one leads; no failures",
        |c| &c.not_leader,
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
        "Memory that the output queues of all links take",
        |l| l.queued_bytes,
    ),
    (
        "teamtalk.pdu.attached",
        "1",
        "1 while a node is attached, else 0",
        |l| u64::from(l.attached),
    ),
    (
        "teamtalk.pdu.links.paused",
        "{link}",
        "Links that are not read for a moment, because they feed others more than these take",
        |l| l.paused,
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
