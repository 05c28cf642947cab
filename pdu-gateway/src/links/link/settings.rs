//! Limits and periods of a link.

use std::time::Duration;

use route_proto::pdu::HEADER_LEN;

/// Limits and periods of a link.
#[derive(Debug, Clone, Copy)]
pub struct LinkSettings {
    /// Its output queue, bytes.
    pub queue_bytes: usize,
    /// What shows that we are alive.
    pub heartbeat: [u8; HEADER_LEN],
    /// It is sent when nothing else was for so long.
    pub heartbeat_interval: Duration,
    /// The link ends when nothing was received for so long.
    pub idle_timeout: Duration,
    /// It ends when something could have been written and nothing was for so long.
    pub write_timeout: Duration,
    /// A PDU has to be complete so long after its first byte, and longer if it is long.
    pub pdu_timeout: Duration,
    /// By as long as its length takes at this rate, bytes a second.
    pub pdu_rate: u32,
    /// It ends when its host has not answered for so long.
    pub host_timeout: Duration,
    /// When we end it in order, it has so long to close, too, or to take what is due to it.
    pub close_timeout: Duration,
    /// Of so many origins it is remembered what it has taken over, because the node may repeat it; `None`: it does not.
    pub remembered_origins: Option<usize>,
}
