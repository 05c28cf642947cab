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
