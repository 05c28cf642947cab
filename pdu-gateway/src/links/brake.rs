//! Stops the reader of a link that feeds others more than they take: here, or at another gateway, of which the node
//! tells. A link that only has too much unconfirmed is stopped by its own window.
//!
//! Never for long: a link may stop those who feed it for 5 s at a stretch (`pressure`), and the node's word is good for
//! as long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

/// Nobody who does not say that the link may go on is waited for any longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The brake of one link.
#[derive(Debug, Default)]
pub struct Brake {
    /// The same as [`State::is_on`], for a reader that does not have to wait.
    is_on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Links here that take less than this one feeds them. With several threads, the end of such a pause may come before
    /// its beginning.
    here: isize,
    /// Until when they are waited for.
    here_until: Duration,
    /// Until when the node wants a pause, for links elsewhere.
    node: Option<Duration>,
    /// They have been waited for long enough.
    is_late: bool,
    reader: Option<Waker>,
}

impl State {
    fn is_on(&self) -> bool {
        (self.here > 0 && !self.is_late) || self.node.is_some()
    }
}

impl Brake {
    /// A link here is fed too much by this one.
    pub fn hold(&self, now: Duration) {
        self.change(|state| {
            state.here += 1;
            state.here_until = now + LONGEST_PAUSE;
            state.is_late = false;
        });
    }

    /// A link for which this one was held may be fed again.
    pub fn let_go(&self) {
        self.change(|state| state.here -= 1);
    }

    /// The node wants a pause, or its end.
    pub fn node(&self, now: Duration, pause: bool) {
        self.change(|state| state.node = pause.then(|| now + LONGEST_PAUSE));
    }

    /// Time has passed.
    pub fn tick(&self, now: Duration) {
        if self.is_on() {
            self.change(|state| {
                state.node = state.node.filter(|until| now < *until);
                state.is_late = now >= state.here_until;
            });
        }
    }

    /// The reader has to wait.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Ready when reading is allowed.
    pub fn poll_off(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_on() {
            return Poll::Ready(());
        }
        let mut state = self.state.lock();
        if !state.is_on() {
            return Poll::Ready(());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let released = {
            let mut state = self.state.lock();
            change(&mut state);
            let is_on = state.is_on();
            self.is_on.store(is_on, Ordering::Release);
            state.reader.take_if(|_| !is_on)
        };
        if let Some(reader) = released {
            reader.wake();
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
    fn a_reader_waits_until_the_last_link_that_it_feeds_is_relieved() {
        let brake = Brake::default();
        let woken = Arc::new(Woken::default());

        brake.hold(Duration::ZERO);
        brake.hold(Duration::ZERO);
        assert!(is_waiting(&brake, &woken));
        brake.let_go();
        assert!(is_waiting(&brake, &woken));
        brake.let_go();

        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(!is_waiting(&brake, &woken));
    }

    #[test]
    fn nobody_is_waited_for_any_longer_and_an_end_may_come_first() {
        let brake = Brake::default();
        brake.let_go();
        brake.hold(Duration::ZERO);
        assert!(!brake.is_on());

        brake.hold(Duration::ZERO);
        brake.tick(LONGEST_PAUSE / 2);
        assert!(brake.is_on());
        brake.tick(LONGEST_PAUSE);
        assert!(!brake.is_on());
    }

    #[test]
    fn the_nodes_word_is_good_for_five_seconds() {
        let brake = Brake::default();
        let woken = Arc::new(Woken::default());
        let second = Duration::from_secs(1);

        brake.node(second, true);
        brake.tick(second * 5);
        assert!(is_waiting(&brake, &woken));

        brake.tick(second * 6);
        assert!(!is_waiting(&brake, &woken));
    }

    #[derive(Debug, Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_waiting(brake: &Brake, woken: &Arc<Woken>) -> bool {
        let waker = Waker::from(Arc::clone(woken));
        brake.poll_off(&Context::from_waker(&waker)).is_pending()
    }
}
