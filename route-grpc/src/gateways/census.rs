//! The gateways in figures, for metrics.

use super::gateway::Gateway;
use super::reach::Reach;

/// How many gateways there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// With a stream.
    pub(crate) attached: u64,
    /// Without, within their grace.
    pub(crate) detached: u64,
    /// Of those with a stream: silent ones.
    pub(crate) silent: u64,
    /// Bytes that wait for all of them.
    pub(crate) queued_bytes: u64,
    /// Since the start: entries that were handed out again, to gateways that are still there.
    pub(crate) resent: u64,
    /// Since the start: deliveries that found a full queue.
    pub(crate) dropped: u64,
    /// Since the start: deliveries that were handed to a gateway that was lost before it had taken them.
    pub(crate) given_up: u64,
}

impl Census {
    /// Counts one more.
    pub(super) fn add(&mut self, gateway: &Gateway) {
        if gateway.reach().is_attached() {
            self.attached += 1;
        } else {
            self.detached += 1;
        }
        self.silent += u64::from(gateway.reach() == Reach::Silent);
        let counts = gateway.queue.counts();
        let queries = gateway.waiting_queries.bytes() + gateway.answering.bytes();
        self.queued_bytes += (counts.bytes + queries) as u64;
        self.resent += counts.resent;
        self.dropped += counts.dropped;
    }
}
