//! The only place in this crate that reads the clock.

use std::time::Duration;

pub(crate) use route_core::micros;
use route_runtime::life::unix_time;
use tokio::time::Instant;

/// Time since the node started, monotonic, and the calendar time of that start.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_unix: Duration,
}

impl Clock {
    /// Starts at zero, now.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            started_unix: unix_time(),
        }
    }

    /// Time since the start. A step of the wall clock does not touch it.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The moment `at` after the start, for timers.
    pub(crate) fn instant(&self, at: Duration) -> Instant {
        self.started + at
    }

    /// Unix time in milliseconds of the moment `at` after the start, to the second: details below
    /// that would only tell how long the report was on its way.
    pub(crate) fn unix_millis(&self, at: Duration) -> i64 {
        let seconds = (self.started_unix + at).as_secs();
        i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_starts_at_zero_and_follows_the_timer() {
        let clock = Clock::start();

        tokio::time::advance(Duration::from_secs(3)).await;

        assert_eq!(clock.now(), Duration::from_secs(3));
        let later = clock.unix_millis(Duration::from_secs(60));
        assert_eq!(later - clock.unix_millis(Duration::ZERO), 60_000);
        assert_eq!(later % 1000, 0);
    }
}
