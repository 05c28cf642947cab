//! The gateway's clock: monotonic, so that a step of the wall clock closes no connection.

use std::time::Duration;

use tokio::time::Instant;

/// Time since the gateway started.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts it.
    pub fn start() -> Self {
        Clock {
            started: Instant::now(),
        }
    }

    /// What it shows.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A time since the start in microseconds, to be compared with times that may be before it.
pub fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Wall-clock time, for identities and for people.
pub fn unix_millis() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 is as good as none.
    now.map_or(1, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
