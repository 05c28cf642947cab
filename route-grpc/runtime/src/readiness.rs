//! Whether this process wants work, and why not.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::info;

/// One process's readiness. Clones share it. Starts as not ready, "starting".
#[derive(Debug, Clone)]
pub struct Readiness {
    state: Arc<watch::Sender<State>>,
}

/// Readiness at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Whether work is welcome.
    pub ready: bool,
    /// Why it is or is not, for a person.
    pub reason: &'static str,
}

impl Readiness {
    /// Not ready yet.
    pub fn new() -> Self {
        let starting = State {
            ready: false,
            reason: "starting",
        };
        Self {
            state: Arc::new(watch::Sender::new(starting)),
        }
    }

    /// Changes the state. A change is logged; setting the same again does nothing.
    pub fn set(&self, ready: bool, reason: &'static str) {
        let state = State { ready, reason };
        let changed = self
            .state
            .send_if_modified(|held| std::mem::replace(held, state) != state);
        if changed {
            info!(ready, reason, "readiness changed");
        }
    }

    /// Whether work is welcome now.
    pub fn is_ready(&self) -> bool {
        self.state().ready
    }

    /// The state now.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Follows the state, beginning with the present one.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn watchers_see_each_change_once() {
        let readiness = Readiness::new();
        let mut watcher = readiness.watch();
        assert_eq!(
            *watcher.borrow_and_update(),
            State {
                ready: false,
                reason: "starting"
            }
        );

        readiness.clone().set(true, "serving");

        watcher.changed().await.unwrap();
        assert_eq!(
            *watcher.borrow_and_update(),
            State {
                ready: true,
                reason: "serving"
            }
        );
        readiness.set(true, "serving");
        assert!(!watcher.has_changed().unwrap());
        assert!(readiness.is_ready());
    }
}
