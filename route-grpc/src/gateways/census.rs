//! The gateways in figures, for metrics.

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
