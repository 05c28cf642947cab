//! What operators see of terms.

use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use parking_lot::Mutex;

use crate::tenure::{LeaseClock, Tenure};

/// How a term ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The process drains.
    Drained,
    /// The record could not be renewed for too long.
    LeaseOver,
    /// The record is another one's.
    Refused,
    /// The engine was lost before the node served.
    Interrupted,
}

impl End {
    const ALL: [Self; 4] = [
        Self::Drained,
        Self::LeaseOver,
        Self::Refused,
        Self::Interrupted,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::LeaseOver => "lease_over",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
        }
    }

    fn label(self) -> [KeyValue; 1] {
        [KeyValue::new("reason", self.as_str())]
    }
}

/// Instruments of one process.
#[derive(Debug)]
pub(super) struct Counts {
    begun: Counter<u64>,
    ended: Counter<u64>,
    unanswered: Counter<u64>,
    now: Arc<Mutex<Weak<Tenure>>>,
}

impl Counts {
    pub(super) fn new(meter: &Meter, clock: LeaseClock) -> Self {
        let now = Arc::<Mutex<Weak<Tenure>>>::default();
        let (of_term, of_lease) = (Arc::clone(&now), Arc::clone(&now));
        meter
            .u64_observable_gauge("teamtalk.route.term")
            .with_unit("{term}")
            .with_description("The term in which this process leads; 0 if it stands by")
            .with_callback(move |value| {
                let term = of_term.lock().upgrade().map_or(0, |it| it.term);
                value.observe(term, &[]);
            })
            .build();
        meter
            .f64_observable_gauge("teamtalk.route.lease.left")
            .with_unit("s")
            .with_description(
                "How long this process leads if it cannot renew its record; 0 if it stands by",
            )
            .with_callback(move |value| {
                let left = of_lease.lock().upgrade().map(|it| it.left(clock()));
                value.observe(left.unwrap_or(Duration::ZERO).as_secs_f64(), &[]);
            })
            .build();
        let counter = |name, unit, text| {
            let counter = meter.u64_counter(name).with_unit(unit);
            counter.with_description(text).build()
        };
        let counts = Self {
            begun: counter(
                "teamtalk.route.terms",
                "{term}",
                "Terms that this process has begun",
            ),
            ended: counter(
                "teamtalk.route.terms.ended",
                "{term}",
                "Terms of this process that are over",
            ),
            unanswered: counter(
                "teamtalk.route.renewals.unanswered",
                "{write}",
                "Renewals of the record that the engine has not answered",
            ),
            now,
        };
        counts.begun.add(0, &[]);
        counts.unanswered.add(0, &[]);
        for end in End::ALL {
            counts.ended.add(0, &end.label());
        }
        counts
    }

    /// A term begins.
    pub(super) fn begins(&self, tenure: &Arc<Tenure>) {
        self.begun.add(1, &[]);
        *self.now.lock() = Arc::downgrade(tenure);
    }

    /// It is over.
    pub(super) fn ended(&self, end: End) {
        self.ended.add(1, &end.label());
        *self.now.lock() = Weak::new();
    }

    /// The engine has not answered a renewal.
    pub(super) fn unanswered(&self) {
        self.unanswered.add(1, &[]);
    }
}
