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

/// Long streams that may be open at the same time. Full: new ones are refused with STREAM_LIMIT.
#[derive(Debug)]
pub(crate) struct Streams {
    free: Arc<Semaphore>,
    limit: usize,
}

/// One open stream. It ends with this value, so the stream holds it.
#[derive(Debug)]
pub(crate) struct StreamPermit {
    _permit: OwnedSemaphorePermit,
}

impl Streams {
    /// All are free.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Takes one, or refuses.
    pub(crate) fn open(&self) -> Result<StreamPermit, Refusal> {
        let permit = Arc::clone(&self.free).try_acquire_owned();
        match permit {
            Ok(permit) => Ok(StreamPermit { _permit: permit }),
            Err(_) => Err(Refusal::StreamLimit { limit: self.limit }),
        }
    }

    /// Returns when none is open.
    pub(crate) async fn all_closed(&self) {
        let limit = u32::try_from(self.limit).unwrap_or(u32::MAX);
        // The semaphore is never closed; if it were, there would be no streams.
        let _ = self.free.acquire_many(limit).await;
    }

    /// How many are open.
    pub(crate) fn in_use(&self) -> usize {
        self.limit.saturating_sub(self.free.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_stream_makes_room_for_the_next() {
        let streams = Streams::new(1);

        let first = streams.open().expect("one is free");
        assert_eq!(
            streams.open().err(),
            Some(Refusal::StreamLimit { limit: 1 })
        );
        drop(first);

        assert!(streams.open().is_ok());
    }

    #[test]
    fn ten_thousand_ids_are_the_most() {
        assert!(check_ids(&vec![0; MAX_IDS], "user_ids").is_ok());
        assert!(check_ids(&vec![0; MAX_IDS + 1], "user_ids").is_err());
    }
}
