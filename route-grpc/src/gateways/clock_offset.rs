//! A gateway's clock as the node sees it: by how much the two differ.
//!
//! Pure. A reading is on its way for a moment, or for seconds if the line stalls, and so makes the
//! gateway's clock look slower than it is, never faster. So the smallest difference of the last
//! minute or two counts; older ones do not, for clocks drift.

use std::time::Duration;

use crate::clock::micros;

/// A reading is forgotten after one to two of these. Clocks that nobody corrects drift by some
/// milliseconds in that time.
const WINDOW: Duration = Duration::from_secs(60);

/// What one gateway's clock has to be set forward by to show the node's time, microseconds;
/// negative if the gateway has been up for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockOffset {
    /// The smallest difference of the present window, and of the one before.
    least: [i64; 2],
    /// When the present window began.
    since: Duration,
}

impl ClockOffset {
    /// By the reading that a hello brought.
    pub(crate) fn new(offset: i64) -> Self {
        Self {
            least: [offset; 2],
            since: Duration::ZERO,
        }
    }

    /// Another hello of the same life.
    pub(crate) fn greeted(&mut self, offset: i64) {
        let [least, _] = &mut self.least;
        *least = offset.min(*least);
    }

    /// The clock showed this a moment before `now`, microseconds.
    pub(crate) fn read(&mut self, now: Duration, shown: u64) {
        let offset = micros(now).saturating_sub(signed(shown));
        let [least, before] = &mut self.least;
        if now >= self.since + WINDOW {
            (*before, *least) = (*least, offset);
            self.since = now;
        } else {
            *least = offset.min(*least);
        }
    }

    /// The node's time at a moment of the gateway's clock, microseconds.
    pub(crate) fn node_micros(self, gateway_micros: i64) -> i64 {
        gateway_micros.saturating_add(self.offset())
    }

    /// What the gateway's clock shows at a moment of the node's time, microseconds; negative before
    /// it started.
    pub(crate) fn gateway_micros(self, node_micros: i64) -> i64 {
        node_micros.saturating_sub(self.offset())
    }

    fn offset(self) -> i64 {
        let [least, before] = self.least;
        least.min(before)
    }
}

/// Readings of clocks, which start at zero.
pub(crate) fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn times_go_there_and_back() {
        let clock = ClockOffset::new(-30 * SECOND);

        assert_eq!(clock.node_micros(40 * SECOND), 10 * SECOND);
        assert_eq!(clock.gateway_micros(10 * SECOND), 40 * SECOND);
        let younger = ClockOffset::new(30 * SECOND);
        assert_eq!(younger.gateway_micros(10 * SECOND), -20 * SECOND);
    }

    #[test]
    fn a_reading_that_was_held_up_does_not_count() {
        // given: the clocks differ by 10 s, and the hello took 5 s
        let mut clock = ClockOffset::new(15 * SECOND);

        clock.read(at(20), 10_000_000);
        clock.read(at(28), 15_000_000);
        clock.greeted(12 * SECOND);

        assert_eq!(clock.node_micros(0), 10 * SECOND);
    }

    #[test]
    fn the_window_before_counts_until_the_next_one_is_over() {
        let mut clock = ClockOffset::new(10 * SECOND);
        clock.read(at(60), 50_000_000);

        for (second, shown) in [(120, 105), (150, 138), (179, 164)] {
            clock.read(at(second), shown * 1_000_000);
            assert_eq!(clock.node_micros(0), 10 * SECOND, "in second {second}");
        }
        clock.read(at(180), 165_000_000);

        assert_eq!(clock.node_micros(0), 12 * SECOND);
    }

    #[test]
    fn a_clock_that_drifts_is_followed_within_two_windows() {
        let mut clock = ClockOffset::new(0);
        for second in 1..=200 {
            // It has lost a second after the first.
            clock.read(at(second), (second - 1) * 1_000_000);
        }

        assert_eq!(clock.node_micros(0), SECOND);
    }

    #[test]
    fn what_cannot_be_is_taken_for_the_end_of_time() {
        let mut clock = ClockOffset::new(i64::MIN);

        clock.read(at(1), u64::MAX);

        assert_eq!(clock.node_micros(-1), i64::MIN);
        assert_eq!(clock.gateway_micros(1), i64::MAX);
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }
}
