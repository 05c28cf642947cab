//! Whether this node knows all links, so that an answer of OFFLINE is the truth.
//!
//! A node that starts with gateways which know of no other node is synced at once.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::status::Refusal;

/// How long a call waits for the node before it is refused with NOT_SYNCED.
const PATIENCE: Duration = Duration::from_secs(2);

/// The state, for those who wait for it.
#[derive(Debug)]
pub(crate) struct Sync {
    synced: watch::Sender<bool>,
}

impl Sync {
    /// A node that has nobody to wait for.
    pub(crate) fn new() -> Self {
        Self {
            synced: watch::Sender::new(true),
        }
    }

    /// Waits until the node knows all links, for 2 s at most.
    pub(crate) async fn wait(&self) -> Result<(), Refusal> {
        let mut synced = self.synced.subscribe();
        match timeout(PATIENCE, synced.wait_for(|synced| *synced)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Refusal::NotSynced),
        }
    }
}
