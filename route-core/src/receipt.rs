//! What says that everything a batch caused has come to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Goes with everything that a batch of entries causes. As long as there is another copy, something
/// that the batch caused is on its way. To the core it means nothing: it copies and drops it.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// How many copies rest.
    resting: Arc<AtomicUsize>,
}

impl Receipt {
    /// A new one, of which there is no copy.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Receipt {
            resting: Arc::default(),
        }
    }

    /// Is there no other copy?
    pub fn is_last(&self) -> bool {
        self.others() == 0
    }

    /// Do all other copies rest, if there are any? Whoever has no patience need not wait for them.
    pub fn only_rests(&self) -> bool {
        self.others() == self.resting.load(Ordering::Relaxed)
    }

    /// A copy to be kept where nothing moves.
    pub fn rest(&self) -> Resting {
        self.resting.fetch_add(1, Ordering::Relaxed);
        Resting {
            receipt: self.clone(),
        }
    }

    fn others(&self) -> usize {
        Arc::strong_count(&self.resting) - 1
    }
}

impl PartialEq for Receipt {
    /// Is it a copy of the same?
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.resting, &other.resting)
    }
}

impl Eq for Receipt {}

/// A copy of a receipt that is kept where nothing moves for a while: at a seat, for a settling
/// link, in the queue of a gateway that is away.
#[derive(Debug)]
pub struct Resting {
    receipt: Receipt,
}

impl Resting {
    /// Of this one.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        self.receipt.resting.fetch_sub(1, Ordering::Relaxed);
    }
}
