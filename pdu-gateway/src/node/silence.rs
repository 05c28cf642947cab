//! Whether anything still comes from a node that has promised to speak.
//!
//! The time is counted in steps, and one counts only if this process ran in it: what a node sent while we stood still is in
//! the socket, and has to be read before the node is judged.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::Clock;

/// The time is over after so many steps.
const STEPS: u32 = 10;

/// Grows with everything that comes from a node: with bytes, so that one who sends a long message over a slow network is
/// heard.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<AtomicU64>);

impl Heard {
    /// So much has come.
    pub fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// What has come so far.
    pub fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Returns when nothing has been heard for so long; never without a limit.
pub(super) async fn silence(clock: Clock, limit: Option<Duration>, heard: &Heard) {
    let Some(limit) = limit else {
        return pending().await;
    };
    let step = limit / STEPS;
    let mut quiet = Quiet::since(heard);
    loop {
        let began = clock.now();
        sleep(step).await;
        let ran = clock.now().saturating_sub(began) < step * 2;
        if quiet.is_over(heard, ran) {
            return;
        }
    }
}

/// Steps in which nothing was heard.
#[derive(Debug)]
struct Quiet {
    heard: u64,
    steps: u32,
}

impl Quiet {
    fn since(heard: &Heard) -> Self {
        Quiet {
            heard: heard.so_far(),
            steps: 0,
        }
    }

    /// One more step has passed, in which we ran or did not.
    fn is_over(&mut self, heard: &Heard, ran: bool) -> bool {
        let now = heard.so_far();
        if now != self.heard {
            *self = Quiet::since(heard);
        } else if ran {
            self.steps += 1;
        }
        self.steps >= STEPS
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn it_is_over_when_nothing_was_heard_in_all_its_steps() {
        let heard = Heard::default();
        let mut quiet = Quiet::since(&heard);
        for _ in 1..STEPS {
            assert!(!quiet.is_over(&heard, true));
        }
        heard.add(1);
        for _ in 0..STEPS {
            assert!(!quiet.is_over(&heard, true));
        }
        assert!(quiet.is_over(&heard, true));
    }

    #[test]
    fn a_step_in_which_we_stood_still_counts_for_nothing() {
        let heard = Heard::default();
        let mut quiet = Quiet::since(&heard);
        for _ in 1..STEPS {
            quiet.is_over(&heard, true);
        }
        for _ in 0..100 {
            assert!(!quiet.is_over(&heard, false));
        }
        assert!(quiet.is_over(&heard, true));
    }

    /// Time jumps as it does for a process that was stopped just before the end.
    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_stopped_waits_for_what_came_meanwhile() {
        let (limit, heard) = (Duration::from_secs(1), Heard::default());
        let silent = silence(Clock::start(), Some(limit), &heard);
        tokio::pin!(silent);
        for _ in 1..STEPS {
            let over = timeout(limit / STEPS, silent.as_mut()).await;
            assert!(over.is_err());
        }

        tokio::time::advance(limit * 10).await;
        assert!(timeout(limit / STEPS / 2, silent.as_mut()).await.is_err());
        heard.add(1);

        let rest = limit - limit / STEPS;
        assert!(timeout(rest, silent.as_mut()).await.is_err());
        silent.await;
    }
}
