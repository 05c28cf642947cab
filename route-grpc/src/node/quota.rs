//! So many log lines a minute and identity; what is left out is counted.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;

/// Lines a minute and identity.
const LINES: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// Identities that are told apart; beyond, all begin anew.
const IDENTITIES: usize = 4096;

/// What has been said of each identity.
#[derive(Debug, Default)]
pub(super) struct Quota(Mutex<HashMap<String, Said>>);

#[derive(Debug, Default)]
struct Said {
    since: Duration,
    lines: u32,
    left_out: u64,
}

impl Quota {
    /// `Some` if there is a line for it, with how many were left out before. This one counts as so
    /// many when it is left out.
    pub(super) fn take(&self, now: Duration, identity: &str, count: u64) -> Option<u64> {
        let mut said = self.0.lock();
        if said.len() >= IDENTITIES && !said.contains_key(identity) {
            said.clear();
        }
        let said = said.entry_ref(identity).or_default();
        if now.saturating_sub(said.since) >= MINUTE {
            (said.since, said.lines) = (now, 0);
        }
        if said.lines == LINES {
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
    fn ten_lines_a_minute_are_said_of_each_identity() {
        let quota = Quota::default();
        let at = Duration::from_secs;

        for _ in 0..LINES {
            assert_eq!(quota.take(at(5), "m1", 1), Some(0));
        }
        assert_eq!(quota.take(at(6), "m1", 1), None);
        assert_eq!(quota.take(at(7), "m1", 7), None);
        assert_eq!(quota.take(at(7), "10.0.0.1", 1), Some(0));
        assert_eq!(quota.take(at(65), "m1", 1), Some(8));
    }
}
