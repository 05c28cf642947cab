//! How much is done while the lock is held, in steps: sessions, links and deliveries that are looked
//! at or made, and 16 bytes that are kept. Time would say more of the machine.

use std::time::Duration;

use parking_lot::Mutex;

/// For so long, and for as long again, the longest one is known.
const SPAN: Duration = Duration::from_secs(10);

/// The longest hold lately.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<Spans>);

#[derive(Debug, Default)]
struct Spans {
    began: Duration,
    longest: u64,
    before: u64,
}

impl Holds {
    /// The lock was held for so many steps.
    pub(super) fn ended(&self, now: Duration, steps: u64) {
        let mut spans = self.0.lock();
        spans.roll(now);
        spans.longest = spans.longest.max(steps);
    }

    /// The longest hold of this span and the one before.
    pub(super) fn longest(&self, now: Duration) -> u64 {
        let mut spans = self.0.lock();
        spans.roll(now);
        spans.longest.max(spans.before)
    }
}

impl Spans {
    fn roll(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.began);
        if passed >= SPAN {
            self.before = if passed < 2 * SPAN { self.longest } else { 0 };
            self.longest = 0;
            self.began = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_hold_is_known_for_a_while() {
        let holds = Holds::default();
        holds.ended(SPAN / 2, 7);
        holds.ended(SPAN / 2, 3);
        assert_eq!(holds.longest(SPAN), 7);
        holds.ended(SPAN, 1);
        assert_eq!(holds.longest(2 * SPAN), 1);
        assert_eq!(holds.longest(5 * SPAN), 0);
    }
}
