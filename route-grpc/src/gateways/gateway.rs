//! One gateway that the node has.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::hello::Hello;
use super::touch;
use crate::gateways::clock_offset::GatewayClock;
use crate::gateways::ingest::OpenQuery;
use crate::gateways::queue::{Outbound, Retention};
use crate::gateways::replays::Replays;
use crate::gateways::sequences::{Mark, Sequences};

/// One gateway that is attached, or detached and within its grace.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(super) hello: Hello,
    pub(super) connection: Connection,
    /// How its times are told from the node's.
    pub(crate) clock: GatewayClock,
    /// What has been applied of its links.
    pub(crate) sequences: Sequences,
    /// Links that are being restored.
    pub(crate) replays: Replays,
    /// What waits for it.
    pub(crate) outbound: Arc<Outbound>,
    pub(super) retention: Retention,
    /// The node lost this life of the gateway before, and had then applied so much of its links: that has had its effects.
    pub(super) seen_before: HashMap<u64, u64>,
    /// It has not yet sent again everything that it had read before.
    pub(crate) is_catching_up: bool,
    /// Its queries that wait for that.
    pub(crate) waiting_queries: Vec<OpenQuery>,
    /// How many entries of its queue it has taken.
    pub(super) taken: u64,
    /// The same when it was looked at last, and since when it has taken nothing although something waits.
    pub(super) taken_before: (u64, Duration),
    pub(super) congested: bool,
    pub(super) throttled: bool,
}

#[derive(Debug)]
pub(super) enum Connection {
    /// Its stream ends when the token is cancelled.
    Attached { session: CancellationToken },
    /// It is lost if it has not come back by then.
    Detached {
        until: Duration,
        /// From then on nobody waits for what it might give back: it has hung up, as a process that is gone does.
        departs: Option<Duration>,
    },
}

impl Gateway {
    /// Its stable name.
    pub(crate) fn id(&self) -> &str {
        &self.hello.id
    }

    /// The entry had its effects before the node lost the gateway, which sends it again.
    pub(crate) fn has_seen(&self, link: u64, sequence: u64) -> bool {
        let seen = self.seen_before.get(&link);
        seen.is_some_and(|seen| sequence <= *seen)
    }

    /// Which stream of its life is its last one.
    pub(crate) fn attempt(&self) -> u64 {
        self.hello.attempt
    }

    /// Everything up to this Downlink was taken.
    pub(crate) fn take_over(&mut self, number: u64) {
        self.sequences.taken(number);
        self.taken = self.outbound.taken(number);
    }

    pub(super) fn confirm(&mut self, marks: &[Mark]) {
        let number = self.outbound.confirm(marks);
        self.sequences.confirm(marks, number);
    }

    pub(super) fn is_attached(&self) -> bool {
        matches!(self.connection, Connection::Attached { .. })
    }

    pub(super) fn until(&self) -> Option<Duration> {
        match self.connection {
            Connection::Attached { .. } => None,
            Connection::Detached { until, .. } => Some(until),
        }
    }

    pub(super) fn departs(&self) -> Option<Duration> {
        match self.connection {
            Connection::Attached { .. } => None,
            Connection::Detached { departs, .. } => departs,
        }
    }

    pub(super) fn end_stream(&mut self, status: Option<Status>, touched: &mut Vec<Arc<Outbound>>) {
        let Connection::Attached { session } = &self.connection else {
            return;
        };
        session.cancel();
        if let Some(waker) = self.outbound.end_stream(status) {
            waker.wake();
        }
        touch(touched, &self.outbound);
    }
}
