//! Traces at the gateway: which PDUs begin one, and the first and the last hops of their way.
//!
//! `pdu.receive`, from the read to the end of translation; `pdu.attach`, until the Attach stream takes it; then come
//! the node's; and `pdu.write`, for each link that gets it, until the kernel has the last byte.

use std::time::{Duration, SystemTime};

use route_dialect::{Command, Dialect};
use route_proto::attach::v1::uplink_entry::Entry;
use route_runtime::telemetry::{Roots, Span, SpanKind, Traces, traces};
use tracing::debug;

use crate::metrics::name;
use crate::pdu::deed::Deed;

/// The number of a connection within its gateway.
const LINK: &str = "teamtalk.link";

/// Chooses, among what one connection's MsgServer sends, what is traced.
#[derive(Debug, Default)]
pub struct Sampling {
    roots: Roots,
}

impl Sampling {
    /// Begins a trace for some of what a link did; `age` is how long ago it was read. Returns the spans that end when the
    /// Attach stream takes it.
    pub fn begin(
        &mut self,
        dialect: &Dialect,
        link: u64,
        deeds: &mut [Deed],
        age: impl Fn() -> Duration,
    ) -> Vec<Span> {
        let Some(traces) = traces() else {
            return Vec::new();
        };
        let mut spans = Vec::new();
        let mut passed = 0;
        while let Some(place) = self.roots.among(traces, deeds.len() - passed) {
            let deed = &mut deeds[passed + place];
            passed += place + 1;
            spans.extend(begin(traces, dialect, link, deed, &age));
        }
        spans
    }
}

/// Makes the first two spans, and returns the second. `None`: what changes presence has no single way.
fn begin(
    traces: &Traces,
    dialect: &Dialect,
    link: u64,
    deed: &mut Deed,
    age: impl Fn() -> Duration,
) -> Option<Span> {
    let (command, traceparent) = match deed {
        Deed::Query(query) => (Some(Command::UsersStatusQuery), &mut query.traceparent),
        Deed::Entry(Entry::Envelope(envelope)) => {
            let command = u16::try_from(envelope.command).unwrap_or_default();
            (dialect.command(command), &mut envelope.traceparent)
        }
        Deed::Entry(_) => return None,
    };
    let command = name(command);
    let now = SystemTime::now();
    let read_at = now.checked_sub(age()).unwrap_or(now);
    let mut receive = traces.root("pdu.receive", SpanKind::Server, read_at);
    receive.set("teamtalk.pdu.command", command);
    receive.set(LINK, number(link));
    receive.within(|| debug!(command, "PDU received"));
    let attach = traces.child(
        &receive.traceparent(),
        "pdu.attach",
        SpanKind::Producer,
        now,
    );
    *traceparent = attach.as_ref().unwrap_or(&receive).traceparent();
    attach
}

/// Something traced that has arrived and is to be written to links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arriving {
    traceparent: String,
    since: SystemTime,
}

impl Arriving {
    /// It has arrived now. `None` if it is not traced, or nothing is here.
    pub fn now(traceparent: String) -> Option<Self> {
        // In this order: the first costs nothing.
        if traceparent.is_empty() || traces().is_none() {
            return None;
        }
        Some(Arriving {
            traceparent,
            since: SystemTime::now(),
        })
    }

    /// As if it had come from a hop of this name.
    #[cfg(test)]
    pub(crate) fn from_hop(name: &str) -> Self {
        Arriving {
            traceparent: name.to_owned(),
            since: SystemTime::UNIX_EPOCH,
        }
    }

    /// Names the hop that it comes from.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// The kernel has all of it, for this link.
    pub fn written(&self, link: u64) {
        let write = traces().and_then(|traces| {
            traces.child(
                &self.traceparent,
                "pdu.write",
                SpanKind::Producer,
                self.since,
            )
        });
        if let Some(mut write) = write {
            write.set(LINK, number(link));
            write.within(|| debug!(link, "PDU written"));
        }
    }
}

/// Attributes have no unsigned numbers.
fn number(link: u64) -> i64 {
    i64::try_from(link).unwrap_or(i64::MAX)
}
