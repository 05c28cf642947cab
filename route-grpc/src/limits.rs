//! What a caller may ask for at most.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::Refusal;

/// User ids in one request.
pub(crate) const MAX_IDS: usize = 10_000;

/// Longest message of a unary call or of a request that opens a stream, bytes (gRPC's usual limit).
pub(crate) const MAX_REQUEST_BYTES: usize = 4 << 20;

/// What an Attach message may be longer than the longest PDU, bytes: everything around it.
pub(crate) const ATTACH_OVERHEAD_BYTES: usize = 1 << 20;

/// Longest gateway id, and longest request id, bytes.
pub(crate) const MAX_ID_BYTES: usize = 128;

/// Snapshots that are made or sent at the same time: each holds a table of all users.
pub(crate) const SNAPSHOTS_AT_ONCE: usize = 8;

/// Refuses more than [`MAX_IDS`] ids.
pub(crate) fn check_ids(ids: &[u32], field: &'static str) -> Result<(), Refusal> {
    if ids.len() > MAX_IDS {
        let problem = format!("{} ids, at most {MAX_IDS} are allowed", ids.len());
        return Err(Refusal::field(field, problem));
    }
    Ok(())
}

/// Places of which there are so many: for connections, for long streams.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    limit: usize,
}

/// One of them. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// All are free.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Takes one, if one is free.
    pub(crate) fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    /// How many there are.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many are taken.
    pub(crate) fn in_use(&self) -> usize {
        self.limit.saturating_sub(self.free.available_permits())
    }

    /// Returns when all are free.
    pub(crate) async fn all_free(&self) {
        let limit = u32::try_from(self.limit).unwrap_or(u32::MAX);
        // The semaphore is never closed; if it were, nothing would be taken.
        let _ = self.free.acquire_many(limit).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_dropped_is_free_for_the_next() {
        let places = Places::new(1);

        let first = places.take().expect("one is free");
        assert!(places.take().is_none());
        drop(first);

        assert!(places.take().is_some());
    }

    #[test]
    fn ten_thousand_ids_are_the_most() {
        assert!(check_ids(&vec![0; MAX_IDS], "user_ids").is_ok());
        assert!(check_ids(&vec![0; MAX_IDS + 1], "user_ids").is_err());
    }
}
