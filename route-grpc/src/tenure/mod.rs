//! What it means to a node that it leads for a time: until when it may act, and which gateways it may let in.
//!
//! A node without an engine leads as long as it lives. Else `leadership` gives it a [`Tenure`], prolongs it, and ends the node.
//! The rules are those of `route_leadership`.

mod door;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use route_leadership::{TakeOver, Timing};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

pub(crate) use door::{Arrival, Door};

/// One life of one gateway: what a roster names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Its stable name.
    pub id: String,
    /// Which life of it.
    pub incarnation: u64,
}

/// Time by which a lease is counted: since some moment, and it goes on while the machine is suspended.
pub type LeaseClock = fn() -> Duration;

/// How long a node leads.
#[derive(Debug)]
pub(crate) struct Tenure {
    /// Its number; 0: there is no engine.
    pub(crate) term: u64,
    clock: LeaseClock,
    /// By that clock, microseconds.
    until: AtomicU64,
    /// Somebody at the door waits for a write, or should be left out by one.
    pub(crate) write_is_wanted: Notify,
}

impl Tenure {
    /// Of a node without an engine: it does not end.
    pub(crate) fn unlimited() -> Arc<Self> {
        Self::new(0, || Duration::ZERO, Duration::MAX)
    }

    /// Of this term, until then.
    pub(crate) fn new(term: u64, clock: LeaseClock, until: Duration) -> Arc<Self> {
        let tenure = Self {
            term,
            clock,
            until: AtomicU64::new(0),
            write_is_wanted: Notify::new(),
        };
        tenure.prolong(until);
        Arc::new(tenure)
    }

    /// It goes on until then.
    pub(crate) fn prolong(&self, until: Duration) {
        let until = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
        self.until.store(until, Ordering::Release);
    }

    /// How long it goes on if it is not prolonged.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        Duration::from_micros(self.until.load(Ordering::Acquire)).saturating_sub(now)
    }

    /// It was prolonged lately: no other node can lead yet.
    pub(crate) fn is_renewed(&self) -> bool {
        let Timing { serve, quiet, .. } = Timing::default();
        self.until.load(Ordering::Acquire) == u64::MAX || self.left((self.clock)()) + quiet > serve
    }

    /// It has not ended.
    pub(crate) fn holds(&self) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until == u64::MAX || (self.clock)() < Duration::from_micros(until)
    }
}

/// What a node's term begins with.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) tenure: Arc<Tenure>,
    /// Which gateways it may let in; none: each.
    pub(crate) door: Option<Door>,
}

impl Begun {
    /// Without an engine.
    pub(crate) fn alone() -> Self {
        Self {
            tenure: Tenure::unlimited(),
            door: None,
        }
    }

    /// With the roster of the record that was taken over.
    pub(crate) fn with(tenure: Arc<Tenure>, roster: BTreeSet<Member>, take_over: TakeOver) -> Self {
        let door = Some(Door::new(Arc::clone(&tenure), roster, take_over));
        Self { tenure, door }
    }
}
