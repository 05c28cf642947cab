//! So many log lines a minute of each of many; what is left out is counted.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;

const MINUTE: Duration = Duration::from_secs(60);
/// Of so many it is known what was said; beyond, all begin anew.
const MOST: usize = 4096;

/// Lines that are left in this minute, by whom or what they are of.
#[derive(Debug)]
pub struct Quota {
    lines: u32,
    said: Mutex<HashMap<String, Said>>,
}

#[derive(Debug, Default)]
struct Said {
    since: Duration,
    lines: u32,
    left_out: u64,
}

impl Quota {
    /// So many lines a minute of each.
    pub fn new(lines: u32) -> Self {
        let said = Mutex::default();
        Quota { lines, said }
    }

    /// `Some` if there is a line for it, with how many were left out before. This one counts as so many when it is left
    /// out. Times are of any clock that does not go back.
    pub fn take(&self, now: Duration, whose: &str, count: u64) -> Option<u64> {
        let mut all = self.said.lock();
        if all.len() >= MOST && !all.contains_key(whose) {
            all.clear();
        }
        let said = all.entry_ref(whose).or_default();
        if now.saturating_sub(said.since) >= MINUTE {
            (said.since, said.lines) = (now, 0);
        }
        if said.lines == self.lines {
            said.left_out += count;
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_a_minute_are_said_of_each() {
        let quota = Quota::new(10);
        let at = Duration::from_secs;

        for _ in 0..10 {
            assert_eq!(quota.take(at(5), "m1", 1), Some(0));
        }
        assert_eq!(quota.take(at(6), "m1", 1), None);
        assert_eq!(quota.take(at(7), "m1", 7), None);
        assert_eq!(quota.take(at(7), "10.0.0.1", 1), Some(0));
        assert_eq!(quota.take(at(65), "m1", 1), Some(8));
    }
}
