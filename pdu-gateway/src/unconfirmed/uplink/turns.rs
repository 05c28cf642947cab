//! What waits to go up: each link's entries in order, and the links take turns, so that who has little to say does not
//! wait for who has much.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use route_proto::attach::cost;
use route_proto::attach::v1::UplinkEntry;

/// A link's turn ends after so many entries, or when they take so many bytes.
const TURN_ENTRIES: usize = 64;
const TURN_BYTES: usize = 16 << 10;

/// Entries of all links.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Those of links that have some.
    links: HashMap<u64, VecDeque<UplinkEntry>, RandomState>,
    /// These links, in the order of their turns.
    order: VecDeque<u64>,
    entries: usize,
    bytes: usize,
}

impl Turns {
    /// There are none.
    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Adds an entry behind those of its link.
    pub(super) fn push(&mut self, entry: UplinkEntry) {
        self.entries += 1;
        self.bytes += cost_of(&entry);
        let of_link = self.links.entry(entry.link).or_default();
        if of_link.is_empty() {
            self.order.push_back(entry.link);
        }
        of_link.push_back(entry);
    }

    /// Takes about as many as this, at least one if there is one.
    pub(super) fn take(&mut self, entries: usize, bytes: usize) -> Vec<UplinkEntry> {
        let mut taken = Vec::with_capacity(self.entries.min(entries));
        let (mut left, mut is_full) = (bytes, false);
        while !is_full && let Some(link) = self.order.pop_front() {
            let Some(of_link) = self.links.get_mut(&link) else {
                debug_assert!(false, "who has a turn has entries");
                continue;
            };
            let (mut turn, before) = (TURN_BYTES, taken.len());
            while let Some(next) = of_link.front() {
                let cost = cost_of(next);
                // A long entry goes alone.
                is_full = taken.len() == entries || (cost > left && !taken.is_empty());
                let is_over = taken.len() - before == TURN_ENTRIES || turn == 0;
                if is_full || is_over {
                    break;
                }
                taken.extend(of_link.pop_front());
                left = left.saturating_sub(cost);
                turn = turn.saturating_sub(cost);
            }
            if of_link.is_empty() {
                self.links.remove(&link);
            } else if is_full && taken.len() == before {
                self.order.push_front(link);
            } else {
                self.order.push_back(link);
            }
        }
        self.entries -= taken.len();
        self.bytes -= taken.iter().map(cost_of).sum::<usize>();
        taken
    }
}

/// What an entry takes, bytes.
pub(super) fn cost_of(entry: &UplinkEntry) -> usize {
    entry.entry.as_ref().map_or(0, cost)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use route_proto::attach::v1::Envelope;
    use route_proto::attach::v1::uplink_entry::Entry;

    use super::*;

    #[test]
    fn who_has_little_to_say_does_not_wait_for_who_has_much() {
        let mut turns = Turns::default();
        for sequence in 0..1000 {
            turns.push(entry(1, sequence, 10));
        }
        turns.push(entry(2, 0, 10));
        let taken = turns.take(1000, usize::MAX);
        let place = taken.iter().position(|entry| entry.link == 2);
        assert_eq!(place, Some(TURN_ENTRIES));
    }

    #[test]
    fn a_long_entry_goes_alone() {
        let mut turns = Turns::default();
        turns.push(entry(1, 0, 5000));
        turns.push(entry(2, 0, 5000));
        assert_eq!(turns.take(100, 1000).len(), 1);
        assert_eq!(turns.take(100, 1000).len(), 1);
        assert!(turns.is_empty());
    }

    proptest! {
        #[test]
        fn each_links_entries_stay_in_order_and_none_is_lost(
            pushes in prop::collection::vec((0..5_u64, 0..40_000_usize), 0..300),
            takes in prop::collection::vec((1..100_usize, 1..100_000_usize), 0..50),
        ) {
            let mut turns = Turns::default();
            let mut taken = Vec::new();
            let mut takes = takes.into_iter();
            for (sequence, (link, length)) in (0..).zip(pushes.clone()) {
                turns.push(entry(link, sequence, length));
                if sequence % 7 == 0 && let Some((entries, bytes)) = takes.next() {
                    let some = turns.take(entries, bytes);
                    let cost: usize = some.iter().map(cost_of).sum();
                    prop_assert!((1..=entries).contains(&some.len()));
                    prop_assert!(cost <= bytes || some.len() == 1);
                    taken.extend(some);
                }
            }
            while !turns.is_empty() {
                taken.extend(turns.take(50, 50_000));
            }
            prop_assert_eq!(taken.len(), pushes.len());
            prop_assert_eq!((turns.bytes, turns.order.len(), turns.links.len()), (0, 0, 0));
            for link in 0..5 {
                let of_link = taken.iter().filter(|entry| entry.link == link);
                prop_assert!(of_link.map(|entry| entry.sequence).is_sorted());
            }
        }
    }

    fn entry(link: u64, sequence: u64, length: usize) -> UplinkEntry {
        let pdu = Bytes::from(vec![0; length]);
        UplinkEntry {
            link,
            sequence,
            entry: Some(Entry::Envelope(Envelope {
                pdu,
                ..Envelope::default()
            })),
            ..UplinkEntry::default()
        }
    }
}
