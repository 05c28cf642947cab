//! What a standby counts of the calls that it passes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};

/// What has become of a call that was to be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The leader has answered, whatever; of a stream, at least its beginning.
    Answered,
    /// Its caller left, or his time was over, before that.
    GivenUp,
    /// There was no connection to a leader in time.
    NotReached,
    /// The leader was lost, or leads no more, before the end.
    Lost,
    /// The leader does not take calls of this node.
    Refused,
    /// This node drains.
    Drained,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Answered,
        Self::GivenUp,
        Self::NotReached,
        Self::Lost,
        Self::Refused,
        Self::Drained,
    ];

    fn label(self) -> [KeyValue; 1] {
        let outcome = match self {
            Self::Answered => "answered",
            Self::GivenUp => "given_up",
            Self::NotReached => "not_reached",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Drained => "drained",
        };
        [KeyValue::new("outcome", outcome)]
    }
}

/// Instruments of one process. Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct PassedOn {
    calls: Counter<u64>,
    streams: Arc<AtomicU64>,
}

/// One call; it is counted when it is dropped.
#[derive(Debug)]
pub(crate) struct Passing {
    counts: PassedOn,
    outcome: Option<Outcome>,
    is_stream: bool,
}

impl PassedOn {
    pub(super) fn new(meter: &Meter) -> Self {
        let streams = Arc::<AtomicU64>::default();
        let open = Arc::clone(&streams);
        meter
            .u64_observable_gauge("teamtalk.route.passed_on.streams.open")
            .with_unit("{stream}")
            .with_description("Open streams that this process passes on to the leader")
            .with_callback(move |value| value.observe(open.load(Ordering::Relaxed), &[]))
            .build();
        let calls = meter
            .u64_counter("teamtalk.route.passed_on.calls")
            .with_unit("{call}")
            .with_description(
                "Calls and streams that were to be passed on to the leader, at their ends",
            )
            .build();
        for outcome in Outcome::ALL {
            calls.add(0, &outcome.label());
        }
        Self { calls, streams }
    }

    /// A call is to be passed on.
    pub(crate) fn begins(&self, is_stream: bool) -> Passing {
        if is_stream {
            self.streams.fetch_add(1, Ordering::Relaxed);
        }
        Passing {
            counts: self.clone(),
            outcome: Some(Outcome::GivenUp),
            is_stream,
        }
    }
}

impl Passing {
    /// This has become of it so far.
    pub(crate) fn becomes(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// It is not passed on.
    pub(crate) fn stays(mut self) {
        self.outcome = None;
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if self.is_stream {
            self.counts.streams.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(outcome) = self.outcome {
            self.counts.calls.add(1, &outcome.label());
        }
    }
}
