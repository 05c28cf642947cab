//! Log lines about what may happen often: one a minute, and how many were left out.

use std::time::Duration;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(60);

/// Lines of one kind. Times are of any clock that does not go back.
#[derive(Debug, Default)]
pub struct Seldom {
    said_at: Option<Duration>,
    left_out: u64,
}

impl Seldom {
    /// It has happened. `Some` if that is to be said, with how many were left out since the last time.
    pub fn happened(&mut self, now: Duration) -> Option<u64> {
        self.many_happened(now, 1)
    }

    /// So many have. They are no part of those that were left out, if they are said.
    pub fn many_happened(&mut self, now: Duration, count: u64) -> Option<u64> {
        self.left_out += count;
        self.is_due(now).then(|| self.say(now) - count)
    }

    /// Some were left out and it is time to say so: how many.
    pub fn left_out(&mut self, now: Duration) -> Option<u64> {
        (self.left_out > 0 && self.is_due(now)).then(|| self.say(now))
    }

    fn is_due(&self, now: Duration) -> bool {
        self.said_at
            .is_none_or(|at| now.saturating_sub(at) >= PAUSE)
    }

    fn say(&mut self, now: Duration) -> u64 {
        self.said_at = Some(now);
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_said_a_minute_and_the_others_are_counted() {
        let mut seldom = Seldom::default();
        let at = Duration::from_secs;

        assert_eq!(seldom.happened(at(5)), Some(0));
        assert_eq!(seldom.left_out(at(5)), None);
        for second in 5..65 {
            assert_eq!(seldom.happened(at(second)), None);
        }
        assert_eq!(seldom.happened(at(65)), Some(60));

        assert_eq!(seldom.happened(at(70)), None);
        assert_eq!(seldom.left_out(at(124)), None);
        assert_eq!(seldom.left_out(at(125)), Some(1));
        assert_eq!(seldom.left_out(at(999)), None);
    }
}
