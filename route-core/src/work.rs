//! Work, counted: what one hold of a lock costs, whatever the machine.

use std::cell::Cell;

/// Steps so far. A step is one session or link that is looked at, one thing for one link, or
/// [`STEP_BYTES`] that are kept.
#[derive(Debug, Default)]
pub(crate) struct Work(Cell<u64>);

/// So many bytes are copied in a step.
const STEP_BYTES: usize = 16;

impl Work {
    /// Something is looked at or made.
    pub(crate) fn step(&self) {
        self.steps(1);
    }

    /// So many things are.
    pub(crate) fn steps(&self, steps: usize) {
        self.0.set(self.0.get().wrapping_add(steps as u64));
    }

    /// So many bytes are kept.
    pub(crate) fn bytes(&self, bytes: usize) {
        self.steps(bytes / STEP_BYTES);
    }

    /// All so far.
    pub(crate) fn done(&self) -> u64 {
        self.0.get()
    }
}
