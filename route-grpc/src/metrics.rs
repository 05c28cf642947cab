//! What the node counts as it happens, with unit and description. What is read from it instead
//! stands in `node/observed.rs`.
//!
//! Labels are small closed sets. No user id, no address, no link is ever one.

pub(crate) mod passed_on;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use route_core::TransitionKind;
use route_proto::attach::v1 as attach;
use route_proto::v1::ErrorReason;

use crate::methods;
use crate::refusal::{Reason, Refusal};
use passed_on::PassedOn;

/// Why an Attach stream may be refused or ended.
const ATTACH_REASONS: [Reason; 8] = [
    Reason::Api(ErrorReason::FieldInvalid),
    Reason::Api(ErrorReason::TooLarge),
    Reason::Attach(attach::ErrorReason::AttachProtocol),
    Reason::Attach(attach::ErrorReason::AttachSuperseded),
    Reason::Attach(attach::ErrorReason::GatewayIdInUse),
    Reason::Api(ErrorReason::SlowConsumer),
    Reason::Api(ErrorReason::Draining),
    Reason::Api(ErrorReason::NotLeader),
];

/// Why a watch or a subscription may be.
const STREAM_REASONS: [Reason; 10] = [
    Reason::Api(ErrorReason::FieldInvalid),
    Reason::Api(ErrorReason::TooLarge),
    Reason::Api(ErrorReason::RequestTooSlow),
    Reason::Api(ErrorReason::NotSynced),
    Reason::Api(ErrorReason::StreamLimit),
    Reason::Api(ErrorReason::RateLimit),
    Reason::Api(ErrorReason::SlowConsumer),
    Reason::Api(ErrorReason::PositionCompacted),
    Reason::Api(ErrorReason::EpochChanged),
    Reason::Api(ErrorReason::FilterChanged),
];

/// Bounds of call durations in seconds, as OpenTelemetry's conventions have them, and finer ones
/// below.
const CALL_SECONDS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0,
];

/// Bounds of stream durations in seconds: a second to a day.
const STREAM_SECONDS: [f64; 10] = [
    1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0,
];

/// Ready-made handles.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// What happens most often.
    pub(crate) tallies: Tallies,
    /// Published events routed.
    pub(crate) published: Counter<u64>,
    /// Gateways that were replaced by a newer life of theirs.
    pub(crate) superseded: Counter<u64>,
    transitions: Counter<u64>,
    /// Duration of unary calls.
    pub(crate) calls: Histogram<f64>,
    gaps: Counter<u64>,
    refused: Refused,
    streams: Histogram<f64>,
    cold_start: Histogram<f64>,
    /// Calls that a standby passes on.
    pub(crate) passed_on: PassedOn,
}

/// What is refused, or ended because of the other side.
#[derive(Debug)]
struct Refused {
    attach: Counter<u64>,
    http2: Counter<u64>,
    streams: Counter<u64>,
    unknown_calls: Counter<u64>,
}

/// For the hot paths.
#[derive(Debug)]
pub(crate) struct Tallies {
    /// Uplink entries applied.
    pub(crate) entries: Tally,
    /// Uplink entries that had been applied before.
    pub(crate) repeated: Tally,
    /// PDUs routed for MsgServers.
    pub(crate) envelopes: Tally,
    /// Deliveries queued.
    pub(crate) deliveries: Tally,
    /// User ids that legacy queries asked for.
    pub(crate) asked: Tally,
    /// gRPC connections beyond the limit.
    pub(crate) refused_connections: Tally,
    /// gRPC connections that never spoke HTTP/2.
    pub(crate) silent_connections: Tally,
    /// Cut off for what they hold.
    pub(crate) cut_off: Tally,
}

/// A counter that costs one uncontended atomic addition; read when metrics are collected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<AtomicU64>);

impl Tally {
    /// Counts.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// What was counted.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn declare(meter: &Meter, name: &'static str, unit: &'static str, text: &'static str) -> Self {
        let tally = Self::default();
        let read = tally.clone();
        meter
            .u64_observable_counter(name)
            .with_unit(unit)
            .with_description(text)
            .with_callback(move |count| count.observe(read.count(), &[]))
            .build();
        tally
    }
}

impl Tallies {
    fn declare(meter: &Meter) -> Self {
        Self {
            entries: Tally::declare(
                meter,
                "teamtalk.route.uplink.entries",
                "{entry}",
                "Entries from gateways that were applied",
            ),
            repeated: Tally::declare(
                meter,
                "teamtalk.route.uplink.repeated",
                "{entry}",
                "Entries from gateways that had been applied before",
            ),
            envelopes: Tally::declare(
                meter,
                "teamtalk.route.envelopes",
                "{envelope}",
                "PDUs from MsgServers that were routed",
            ),
            deliveries: Tally::declare(
                meter,
                "teamtalk.route.deliveries",
                "{delivery}",
                "Deliveries queued for links",
            ),
            asked: Tally::declare(
                meter,
                "teamtalk.route.queried",
                "{user}",
                "Users whose status MsgServers asked for",
            ),
            refused_connections: Tally::declare(
                meter,
                "teamtalk.route.connections.refused",
                "{connection}",
                "gRPC connections refused, because there were as many as there may be",
            ),
            silent_connections: Tally::declare(
                meter,
                "teamtalk.route.connections.silent",
                "{connection}",
                "gRPC connections closed, because they did not begin to speak HTTP/2 in time",
            ),
            cut_off: Tally::declare(
                meter,
                "teamtalk.route.cut_off",
                "{cut}",
                "Gateways and requests that were cut off because they held most when --memory-limit or --unfinished-bytes was nearly reached",
            ),
        }
    }
}

impl Refused {
    fn declare(
        counter: &impl Fn(&'static str, &'static str, &'static str) -> Counter<u64>,
    ) -> Self {
        Self {
            attach: counter(
                "teamtalk.route.attach.refused",
                "{stream}",
                "Attach streams that were refused or ended by the node",
            ),
            http2: counter(
                "teamtalk.route.http2.ended",
                "{end}",
                "gRPC connections and streams that HTTP/2 ended because of what the peer did",
            ),
            streams: counter(
                "teamtalk.route.streams.refused",
                "{stream}",
                "Streams that were refused or ended by the node, but for a drain",
            ),
            unknown_calls: counter(
                "teamtalk.route.calls.unknown",
                "{call}",
                "Calls of methods that nobody serves",
            ),
        }
    }
}

impl Metrics {
    /// Declares everything that is counted as it happens.
    pub(crate) fn new(meter: &Meter) -> Self {
        let counter = |name: &'static str, unit: &'static str, text: &'static str| {
            meter
                .u64_counter(name)
                .with_unit(unit)
                .with_description(text)
                .build()
        };
        let metrics = Self {
            tallies: Tallies::declare(meter),
            published: counter(
                "teamtalk.route.published",
                "{event}",
                "Events that services published, repeated requests left out",
            ),
            superseded: counter(
                "teamtalk.route.gateways.superseded",
                "{gateway}",
                "Gateways that were replaced by another process with the same id",
            ),
            transitions: counter(
                "teamtalk.route.links.transitions",
                "{transition}",
                "What happened to the links of MsgServers: claims, successions, seats",
            ),
            calls: meter
                .f64_histogram("rpc.server.call.duration")
                .with_unit("s")
                .with_description("Duration of unary calls")
                .with_boundaries(CALL_SECONDS.to_vec())
                .build(),
            gaps: counter(
                "teamtalk.route.gaps",
                "{gap}",
                "Gaps that subscribers were told of",
            ),
            refused: Refused::declare(&counter),
            streams: meter
                .f64_histogram("teamtalk.route.stream.duration")
                .with_unit("s")
                .with_description("Duration of streams")
                .with_boundaries(STREAM_SECONDS.to_vec())
                .build(),
            cold_start: meter
                .f64_histogram("teamtalk.route.hand_over.duration")
                .with_unit("s")
                .with_description("From the start of the node until all links were known")
                .with_boundaries(CALL_SECONDS.to_vec())
                .build(),
            passed_on: PassedOn::new(meter),
        };
        metrics.begin_with_zero();
        metrics
    }

    /// Prometheus sees no increase in a series that begins with its first event, and alerts go by
    /// increases.
    fn begin_with_zero(&self) {
        let unknown_calls = &self.refused.unknown_calls;
        for counter in [&self.published, &self.superseded, unknown_calls] {
            counter.add(0, &[]);
        }
        for kind in TransitionKind::ALL {
            self.transitions
                .add(0, &[KeyValue::new("kind", kind.as_str())]);
        }
        for method in methods::READERS {
            self.gaps.add(0, &[KeyValue::new("rpc.method", method)]);
        }
        for reason in STREAM_REASONS {
            for method in methods::STREAMS {
                let reason = KeyValue::new("reason", reason.as_str_name());
                let labels = [KeyValue::new("rpc.method", method), reason];
                self.refused.streams.add(0, &labels);
            }
        }
        for reason in ATTACH_REASONS {
            self.refused
                .attach
                .add(0, &[KeyValue::new("reason", reason.as_str_name())]);
        }
    }

    /// All links are known, so long after the start.
    pub(crate) fn cold_start_ended(&self, after: Duration) {
        self.cold_start.record(after.as_secs_f64(), &[]);
    }

    /// This has happened to a link.
    pub(crate) fn transition(&self, kind: TransitionKind) {
        self.transitions
            .add(1, &[KeyValue::new("kind", kind.as_str())]);
    }

    /// A subscriber is told of a gap.
    pub(crate) fn gap(&self, method: &'static str) {
        self.gaps.add(1, &[KeyValue::new("rpc.method", method)]);
    }

    /// An Attach stream ends because of this.
    pub(crate) fn attach_refused(&self, refusal: &Refusal) {
        let reason = refusal.reason().as_str_name();
        let labels = [KeyValue::new("reason", reason)];
        self.refused.attach.add(1, &labels);
    }

    /// Counts calls of methods that nobody serves.
    pub(crate) fn unknown_calls(&self) -> Counter<u64> {
        self.refused.unknown_calls.clone()
    }

    /// HTTP/2 has ended so many connections or streams for this reason.
    pub(crate) fn http2_ended(&self, scope: &'static str, reason: &'static str, count: u64) {
        let labels = [
            KeyValue::new("scope", scope),
            KeyValue::new("reason", reason),
        ];
        self.refused.http2.add(count, &labels);
    }

    /// A stream ends because of this, or does not begin.
    pub(crate) fn stream_refused(&self, method: &'static str, refusal: &Refusal) {
        if matches!(refusal, Refusal::Draining { .. }) {
            return;
        }
        let reason = refusal.reason().as_str_name();
        let labels = [
            KeyValue::new("rpc.method", method),
            KeyValue::new("reason", reason),
        ];
        self.refused.streams.add(1, &labels);
    }

    /// Counts, each time, a watch whose reader has got nothing of its snapshot for too long.
    pub(crate) fn unread_snapshots(&self) -> impl Fn() + Send + 'static {
        let streams = self.refused.streams.clone();
        let reason = ErrorReason::SlowConsumer.as_str_name();
        move || {
            let labels = [
                KeyValue::new("rpc.method", methods::WATCH),
                KeyValue::new("reason", reason),
            ];
            streams.add(1, &labels);
        }
    }

    /// A stream has ended.
    pub(crate) fn stream_ended(&self, method: &'static str, seconds: f64) {
        self.streams
            .record(seconds, &[KeyValue::new("rpc.method", method)]);
    }
}
