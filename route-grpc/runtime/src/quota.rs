//! So many log lines a minute of each of many; what is left out is counted.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;

const MINUTE: Duration = Duration::from_secs(60);
/// Between two looks for minutes that are over.
const PAUSE: Duration = Duration::from_secs(1);
/// Of so many it is known what was said; beyond, all begin anew.
const MOST: usize = 4096;

/// Lines that are left in this minute, by whom or what they are of.
#[derive(Debug)]
pub struct Quota {
    lines: u32,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    said: HashMap<String, Said>,
    looked_at: Duration,
}

#[derive(Debug, Default)]
struct Said {
    /// When its minute began.
    since: Duration,
    lines: u32,
    left_out: u64,
}

impl Quota {
    /// So many lines a minute of each.
    pub fn new(lines: u32) -> Self {
        let all = Mutex::default();
        Quota { lines, all }
    }

    /// The lines of this one.
    pub fn of(self: &Arc<Self>, whose: impl Into<Arc<str>>) -> Lines {
        let (quota, whose) = (Arc::clone(self), whose.into());
        Lines { quota, whose }
    }

    /// `Some` if there is a line for it, with how many were left out before. Times are of any clock that does not go
    /// back.
    pub fn take(&self, now: Duration, whose: &str) -> Option<u64> {
        self.take_up_to(self.lines, now, whose)
    }

    /// The same for what is usual: half of the lines are left for warnings.
    pub fn take_usual(&self, now: Duration, whose: &str) -> Option<u64> {
        self.take_up_to(self.lines / 2, now, whose)
    }

    /// Tells of each whose minute is over how many lines were left out, if any were; to be called about once a second.
    /// What is told is the first line of its next minute.
    pub fn tick(&self, now: Duration, mut tell: impl FnMut(&str, u64)) {
        let mut all = self.all.lock();
        if now.saturating_sub(all.looked_at) < PAUSE {
            return;
        }
        all.looked_at = now;
        all.said.retain(|whose, said| {
            if now.saturating_sub(said.since) < MINUTE {
                return true;
            }
            let left_out = std::mem::take(&mut said.left_out);
            if left_out > 0 {
                (said.since, said.lines) = (now, 1);
                tell(whose, left_out);
            }
            left_out > 0
        });
    }

    fn take_up_to(&self, most: u32, now: Duration, whose: &str) -> Option<u64> {
        let said = &mut self.all.lock().said;
        if said.len() >= MOST && !said.contains_key(whose) {
            said.clear();
        }
        let said = said.entry_ref(whose).or_insert_with(|| Said {
            since: now,
            ..Said::default()
        });
        if now.saturating_sub(said.since) >= MINUTE {
            (said.since, said.lines) = (now, 0);
        }
        if said.lines >= most {
            said.left_out += 1;
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.left_out))
    }
}

/// Those of one.
#[derive(Debug, Clone)]
pub struct Lines {
    quota: Arc<Quota>,
    whose: Arc<str>,
}

impl Lines {
    /// As [`Quota::take`].
    pub fn take(&self, now: Duration) -> Option<u64> {
        self.quota.take(now, &self.whose)
    }

    /// As [`Quota::take_usual`].
    pub fn take_usual(&self, now: Duration) -> Option<u64> {
        self.quota.take_usual(now, &self.whose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_a_minute_are_said_of_each() {
        let quota = Arc::new(Quota::new(10));
        let lines = quota.of("m1");
        let at = Duration::from_secs;

        for _ in 0..10 {
            assert_eq!(quota.take(at(5), "m1"), Some(0));
        }
        assert_eq!(quota.take(at(6), "m1"), None);
        assert_eq!(lines.take(at(7)), None);
        assert_eq!(quota.take(at(7), "10.0.0.1"), Some(0));
        assert_eq!(lines.take(at(65)), Some(2));
    }

    #[test]
    fn what_was_left_out_is_told_when_the_minute_is_over() {
        let quota = Quota::new(10);
        let at = Duration::from_secs;
        let told_at = |second| {
            let mut told = Vec::new();
            quota.tick(at(second), |whose, left_out| {
                told.push((whose.to_owned(), left_out))
            });
            told
        };
        for _ in 0..25 {
            quota.take(at(5), "m1");
        }
        quota.take(at(5), "m2");

        assert_eq!(told_at(64), []);
        assert_eq!(told_at(65), [("m1".to_owned(), 15)]);
        assert_eq!(told_at(66), []);
        let lines = (0..20).filter_map(|_| quota.take(at(67), "m1")).count();
        assert_eq!(lines, 9, "it was told in a line of this minute");
        assert_eq!(told_at(999), [("m1".to_owned(), 11)]);
        assert_eq!(told_at(9999), []);
        assert_eq!(quota.all.lock().said.len(), 0);
    }

    #[test]
    fn what_is_usual_leaves_lines_for_warnings() {
        let quota = Quota::new(10);
        let now = Duration::from_secs(5);

        let usual = (0..20).filter_map(|_| quota.take_usual(now, "m1")).count();
        let warnings: Vec<_> = (0..20).filter_map(|_| quota.take(now, "m1")).collect();

        assert_eq!(usual, 5);
        assert_eq!(warnings, [15, 0, 0, 0, 0]);
    }
}
