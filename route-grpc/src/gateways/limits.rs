//! What gateways may have.

use std::time::Duration;

/// The most that `--max-gateways` may be; also how many a roster may name, and how many past ones are remembered, the
/// oldest being forgotten first.
pub(crate) const MAX_GATEWAYS: usize = 1024;

/// What all gateways may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GatewayLimits {
    /// How long a detached one is kept.
    pub(crate) grace: Duration,
    /// How long others wait for what one that has hung up may give back.
    pub(crate) departed_wait: Duration,
    /// One that has taken nothing of what it was handed for so long is silent: one that is there takes it within a round trip.
    pub(crate) silence: Duration,
    /// One that takes nothing for so long, although something waits, is cut off.
    pub(crate) given_up: Duration,
    /// How long one may take to send again what it had read.
    pub(crate) replay_wait: Duration,
    /// How many there may be at a time.
    pub(crate) most: usize,
    /// What waits for one, bytes.
    pub(crate) queue_bytes: usize,
    /// Longest PDU that one may send up.
    pub(crate) pdu_limit: usize,
}
