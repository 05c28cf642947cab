//! Where MsgServers connect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cast::msg_server::GATEWAYS;

/// The gateways of a site. Clones are one.
#[derive(Debug, Clone)]
pub(super) struct Gateways {
    /// Where each listens for MsgServers.
    pub(super) addresses: [SocketAddr; GATEWAYS],
    lost: Arc<[AtomicBool; GATEWAYS]>,
}

impl Gateways {
    /// None is lost.
    pub(super) fn new(addresses: [SocketAddr; GATEWAYS]) -> Self {
        let lost = Arc::default();
        Self { addresses, lost }
    }

    /// One is killed, and its MsgServers lose their connections to it.
    pub(super) fn lose(&self, gateway: usize) {
        self.lost[gateway].store(true, Ordering::Release);
    }

    /// One was killed.
    pub(super) fn is_lost(&self, gateway: usize) -> bool {
        self.lost[gateway].load(Ordering::Acquire)
    }
}
