//! The one place where reading from MsgServers is stopped for all of them: while a link here is congested, or the node
//! says that one elsewhere is. A link that only has too much unconfirmed is stopped by its own window.
//!
//! Never for long: a link may slow down the others for 5 s at a stretch (`pressure`), and the node's word is good for
//! as long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::links::pressure::Turn;

/// A node that does not say that it goes on is not waited for any longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Stops and releases all readers.
#[derive(Debug, Default)]
pub struct Throttle {
    /// The same as [`State::is_paused`], for readers that do not have to wait.
    paused: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Links here that are congested.
    congested: usize,
    /// Until when the node wants a pause.
    node: Option<Duration>,
    /// At most one for each link.
    waiting: Vec<Waker>,
}

impl State {
    fn is_paused(&self) -> bool {
        self.congested > 0 || self.node.is_some()
    }
}

impl Throttle {
    /// A link became congested or was relieved. Returns whether some link is congested now, if that has changed.
    pub fn turn(&self, turn: Turn) -> Option<bool> {
        let mut changed = None;
        self.change(|state| {
            let before = state.congested;
            state.congested = match turn {
                Turn::Congested => before + 1,
                Turn::Relieved => before.saturating_sub(1),
            };
            if (before == 0) != (state.congested == 0) {
                changed = Some(state.congested > 0);
            }
        });
        changed
    }

    /// The node wants a pause, or its end.
    pub fn node(&self, now: Duration, pause: bool) {
        self.change(|state| state.node = pause.then(|| now + LONGEST_PAUSE));
    }

    /// Time has passed.
    pub fn tick(&self, now: Duration) {
        if self.is_paused() {
            self.change(|state| state.node = state.node.filter(|until| now < *until));
        }
    }

    /// Readers have to wait.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Ready when reading is allowed.
    pub fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_paused() {
            return Poll::Ready(());
        }
        let mut state = self.state.lock();
        if !state.is_paused() {
            return Poll::Ready(());
        }
        let waker = cx.waker();
        if !state.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        Poll::Pending
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let released = {
            let mut state = self.state.lock();
            change(&mut state);
            let paused = state.is_paused();
            self.paused.store(paused, Ordering::Release);
            if paused {
                Vec::new()
            } else {
                std::mem::take(&mut state.waiting)
            }
        };
        for waker in released {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[test]
    fn readers_wait_until_the_last_congested_link_is_relieved() {
        let throttle = Throttle::default();
        let woken = Arc::new(Woken::default());

        assert_eq!(throttle.turn(Turn::Congested), Some(true));
        assert_eq!(throttle.turn(Turn::Congested), None);
        assert!(is_waiting(&throttle, &woken));
        assert_eq!(throttle.turn(Turn::Relieved), None);
        assert!(is_waiting(&throttle, &woken));
        assert_eq!(throttle.turn(Turn::Relieved), Some(false));

        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(!is_waiting(&throttle, &woken));
    }

    #[test]
    fn the_nodes_word_is_good_for_five_seconds() {
        let throttle = Throttle::default();
        let woken = Arc::new(Woken::default());
        let second = Duration::from_secs(1);

        throttle.node(second, true);
        throttle.tick(second * 5);
        assert!(is_waiting(&throttle, &woken));

        throttle.tick(second * 6);
        assert!(!is_waiting(&throttle, &woken));
    }

    #[derive(Debug, Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_waiting(throttle: &Throttle, woken: &Arc<Woken>) -> bool {
        let waker = Waker::from(Arc::clone(woken));
        throttle
            .poll_open(&Context::from_waker(&waker))
            .is_pending()
    }
}
