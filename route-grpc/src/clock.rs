//! The only place in this crate that reads the clock.

use std::time::Duration;

use prost_types::Timestamp;
pub(crate) use route_core::micros;
use route_runtime::life::unix_time;
use tokio::time::Instant;

/// Time since the process started, monotonic, and the calendar time of that start.
#[derive(Debug, Clone, Copy)]
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

    /// The moment `at` after the start as calendars have it, to the microsecond.
    pub(crate) fn timestamp(&self, at: Duration) -> Timestamp {
        Self::timestamp_of(self.started_unix + at)
    }

    fn timestamp_of(unix: Duration) -> Timestamp {
        Timestamp {
            seconds: i64::try_from(unix.as_secs()).unwrap_or(i64::MAX),
            nanos: unix.subsec_micros().cast_signed() * 1000,
        }
    }

    /// The same of microseconds since the start, negative before it.
    pub(crate) fn timestamp_micros(&self, at: i64) -> Timestamp {
        let distance = Duration::from_micros(at.unsigned_abs());
        match at < 0 {
            true => Self::timestamp_of(self.started_unix.saturating_sub(distance)),
            false => self.timestamp(distance),
        }
    }

    /// The same to the second, of what was reported: details below that would only tell how long the
    /// report was on its way.
    pub(crate) fn second(&self, at: Duration) -> Timestamp {
        let nanos = 0;
        Timestamp {
            nanos,
            ..self.timestamp(at)
        }
    }

    /// Unix time now, in whole seconds.
    pub(crate) fn unix_seconds(&self) -> u32 {
        let unix = self.started_unix + self.now();
        u32::try_from(unix.as_secs()).unwrap_or(u32::MAX)
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
        let start = clock.timestamp(Duration::ZERO);
        let later = clock.timestamp(Duration::from_secs(60));
        assert_eq!(later.seconds - start.seconds, 60);
        assert_eq!((later.nanos, later.nanos % 1000), (start.nanos, 0));
        assert_eq!(clock.second(Duration::ZERO).nanos, 0);
        let before = clock.timestamp_micros(-2_000_000);
        assert_eq!(
            (before.seconds + 2, before.nanos),
            (start.seconds, start.nanos)
        );
        assert_eq!(clock.timestamp_micros(60_000_000), later);
    }
}
