//! One bound over what all links hold: what waits to be written to them, and PDUs that have begun.
//!
//! Each link has bounds of its own, but thousands of them may fill at once. Above four fifths of the budget, those who
//! feed a link with more than its share pause; close to the whole, a link is cut off.

use std::time::Duration;

/// An unfinished PDU of less is not worth a connection, bytes.
const SMALL: usize = 64 << 10;

/// What a link holds, bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Its number.
    pub link: u64,
    /// What waits to be written to it.
    pub queued: usize,
    /// What has come of an unfinished PDU.
    pub unfinished: usize,
    /// For how long that has been unfinished.
    pub since: Duration,
}

impl Fill {
    fn bytes(&self) -> usize {
        self.queued + self.unfinished
    }
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Those who feed these links should pause.
    pub press: Vec<u64>,
    /// These links are to be cut off.
    pub cut: Vec<Fill>,
}

/// The budget of all links.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Bytes of memory.
    pub limit: usize,
}

impl Budget {
    /// What is to be done when links hold so much, and `other` is held beside that. The PDU that has been unfinished for
    /// longest goes first. Then the fullest queue; one within its share of the budget, an equal part, is left alone.
    pub fn judge(self, mut fills: Vec<Fill>, other: usize) -> Measures {
        let mut all = fills.iter().map(Fill::bytes).sum::<usize>() + other;
        let mut measures = Measures::default();
        if all < self.limit / 5 * 4 {
            return measures;
        }
        let share = self.limit / fills.len().max(1);
        fills.retain(|fill| fill.unfinished > SMALL || fill.queued > share);
        fills.sort_unstable_by_key(|fill| {
            let age = (fill.unfinished > SMALL).then_some(fill.since);
            (age, fill.queued)
        });
        while all >= self.limit / 20 * 19 {
            let Some(first) = fills.pop() else {
                break;
            };
            all -= first.bytes();
            measures.cut.push(first);
        }
        let queues = fills.iter().filter(|fill| fill.queued > share);
        measures.press = queues.map(|fill| fill.link).collect();
        measures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { limit: 10 << 20 };
    const MIB: usize = 1 << 20;

    #[test]
    fn nothing_is_done_while_there_is_room() {
        let fills = vec![queue(1, 7 * MIB), queue(2, MIB / 2)];
        assert_eq!(BUDGET.judge(fills, MIB / 2 - 1), Measures::default());
    }

    #[test]
    fn those_who_feed_more_than_a_share_pause_first() {
        let fills = vec![queue(1, 6 * MIB), queue(2, 2 * MIB), queue(3, 10)];
        let measures = BUDGET.judge(fills, MIB);
        assert_eq!((measures.press, measures.cut), (vec![1], vec![]));
    }

    #[test]
    fn what_has_been_unfinished_for_longest_goes_before_the_fullest_queue() {
        let fills = vec![
            queue(1, 4 * MIB),
            unfinished(2, 2 * MIB, 1),
            unfinished(3, MIB, 9),
            queue(4, 3 * MIB),
            queue(5, MIB),
        ];
        let cut = |other| {
            let cut = BUDGET.judge(fills.clone(), other).cut;
            cut.iter().map(|fill| fill.link).collect::<Vec<_>>()
        };
        assert_eq!(cut(0), [3, 2]);
        assert_eq!(cut(2 * MIB), [3, 2, 1]);
        assert_eq!(
            cut(20 * MIB),
            [3, 2, 1, 4],
            "one has no more than its share"
        );
    }

    #[test]
    fn nobody_is_cut_off_for_what_others_hold() {
        let fills = vec![queue(1, MIB), unfinished(2, SMALL, 100)];
        assert_eq!(BUDGET.judge(fills, 50 * MIB), Measures::default());
    }

    fn queue(link: u64, queued: usize) -> Fill {
        Fill {
            link,
            queued,
            unfinished: 0,
            since: Duration::ZERO,
        }
    }

    fn unfinished(link: u64, unfinished: usize, seconds: u64) -> Fill {
        Fill {
            link,
            queued: 0,
            unfinished,
            since: Duration::from_secs(seconds),
        }
    }
}
