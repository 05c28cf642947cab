//! What the lock of the uplink guards.

use std::task::Waker;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::outgoing::Outgoing;
use crate::pdu::deed::Deed;
use crate::unconfirmed::ledger::Ledger;

/// All ledgers, and what goes up.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ledgers: HashMap<u64, Ledger, RandomState>,
    /// Of all ledgers.
    pub(super) bytes: usize,
    /// Readers that wait for room, or for their last answer, by link.
    pub(super) waiting: HashMap<u64, Waker, RandomState>,
    pub(super) outgoing: Outgoing,
}

impl State {
    /// A link did something.
    pub(super) fn record(&mut self, now: Duration, link: u64, deeds: &mut Vec<Deed>) {
        let State {
            ledgers,
            bytes,
            outgoing,
            ..
        } = self;
        let Some(ledger) = ledgers.get_mut(&link) else {
            debug_assert!(false, "link {link} has no ledger");
            return;
        };
        let before = ledger.bytes();
        let last = deeds.last().map(Deed::command);
        for deed in deeds.drain(..) {
            let entry = ledger.record(now, deed);
            outgoing.push(entry);
        }
        if let Some(Some(command)) = last {
            ledger.measure(now, command);
        }
        // What a closed link drops may be more than its last entry adds.
        *bytes = *bytes + ledger.bytes() - before;
    }

    /// Whoever waits is woken when a ledger has become smaller.
    pub(super) fn wait(&mut self, link: u64, waker: &Waker) {
        self.waiting.insert(link, waker.clone());
    }

    /// Changes one ledger, and the sum of all with it.
    pub(super) fn settle<R>(
        &mut self,
        link: u64,
        change: impl FnOnce(&mut Ledger) -> R,
    ) -> Option<R> {
        let ledger = self.ledgers.get_mut(&link)?;
        let before = ledger.bytes();
        let result = change(ledger);
        let freed = before - ledger.bytes();
        self.bytes -= freed;
        if freed > 0 {
            for (_, waker) in std::mem::take(&mut self.waiting) {
                waker.wake();
            }
        }
        Some(result)
    }
}
