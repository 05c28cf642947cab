//! What says that everything a batch caused has come to its end.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

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
        self.others() == self.resting.load(Relaxed)
    }

    /// A copy to be kept. It rests where nothing moves for a while and little is kept: at a seat, for
    /// a settling link, in the queue of a gateway that is away.
    pub fn keep(&self, rests: bool) -> Kept {
        let mut kept = Kept {
            receipt: self.clone(),
            rests: false,
        };
        kept.set_rests(rests);
        kept
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

impl PartialOrd for Receipt {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Receipt {
    /// Some order, so that each is found once among many.
    fn cmp(&self, other: &Self) -> Ordering {
        Arc::as_ptr(&self.resting).cmp(&Arc::as_ptr(&other.resting))
    }
}

/// A copy of a receipt that may rest.
#[derive(Debug)]
pub struct Kept {
    receipt: Receipt,
    rests: bool,
}

impl Kept {
    /// Of this one.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// It rests from now on, or does not.
    pub fn set_rests(&mut self, rests: bool) {
        let resting = &self.receipt.resting;
        match (self.rests, rests) {
            (false, true) => resting.fetch_add(1, Relaxed),
            (true, false) => resting.fetch_sub(1, Relaxed),
            (false, false) | (true, true) => return,
        };
        self.rests = rests;
    }
}

impl Borrow<Receipt> for Kept {
    fn borrow(&self) -> &Receipt {
        &self.receipt
    }
}

impl PartialEq for Kept {
    /// Is it of the same?
    fn eq(&self, other: &Self) -> bool {
        self.receipt == other.receipt
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    /// As those that they are of.
    fn cmp(&self, other: &Self) -> Ordering {
        self.receipt.cmp(&other.receipt)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.set_rests(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_copy_may_rest_until_it_is_dropped() {
        let receipt = Receipt::new();
        let mut kept = receipt.keep(true);
        let moving = receipt.clone();
        assert!(!receipt.only_rests());

        drop(moving);
        assert!(receipt.only_rests() && !receipt.is_last());
        kept.set_rests(false);
        assert!(!receipt.only_rests());
        kept.set_rests(true);
        drop(kept);

        assert!(receipt.only_rests() && receipt.is_last());
    }
}
