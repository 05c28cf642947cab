//! One bound over what all links hold: what waits to be written to them, and PDUs that have begun.
//!
//! Each link has bounds of its own, but thousands of them may fill at once. Above four fifths of the budget, those who
//! feed a link with more than its share pause; close to the whole, the link that holds most is cut off.

/// What a link holds, bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Its number.
    pub link: u64,
    /// What waits to be written to it.
    pub queued: usize,
    /// What has come of an unfinished PDU.
    pub unfinished: usize,
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
    /// What is to be done when links hold so much, and `other` is held beside that: a link within its share of the
    /// budget, an equal part, is left alone.
    pub fn judge(self, mut fills: Vec<Fill>, other: usize) -> Measures {
        let mut all = fills.iter().map(Fill::bytes).sum::<usize>() + other;
        let mut measures = Measures::default();
        if all < self.limit / 5 * 4 {
            return measures;
        }
        let share = self.limit / fills.len().max(1);
        fills.retain(|fill| fill.bytes() > share);
        fills.sort_unstable_by_key(Fill::bytes);
        while all >= self.limit / 20 * 19 {
            let Some(fullest) = fills.pop() else {
                break;
            };
            all -= fullest.bytes();
            measures.cut.push(fullest);
        }
        let queues = fills.iter().filter(|fill| fill.queued > share);
        measures.press = queues.map(|fill| fill.link).collect();
        measures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { limit: 1000 };

    #[test]
    fn nothing_is_done_while_there_is_room() {
        let fills = vec![queue(1, 700), queue(2, 50)];
        assert_eq!(BUDGET.judge(fills, 49), Measures::default());
    }

    #[test]
    fn those_who_feed_more_than_a_share_pause_first() {
        let fills = vec![queue(1, 600), queue(2, 210), queue(3, 10), unfinished(4, 0)];
        let measures = BUDGET.judge(fills, 0);
        assert_eq!((measures.press, measures.cut), (vec![1], vec![]));
    }

    #[test]
    fn the_fullest_is_cut_off_and_only_as_many_as_have_to_be() {
        let fills = vec![
            queue(1, 300),
            unfinished(2, 400),
            queue(3, 260),
            queue(4, 10),
        ];
        let measures = BUDGET.judge(fills, 0);
        assert_eq!(measures.cut, [unfinished(2, 400)]);
        assert_eq!(measures.press, [3, 1]);
    }

    #[test]
    fn nobody_is_cut_off_for_what_others_hold() {
        let fills = vec![queue(1, 100), queue(2, 90)];
        assert_eq!(BUDGET.judge(fills, 5000), Measures::default());
    }

    fn queue(link: u64, queued: usize) -> Fill {
        Fill {
            link,
            queued,
            unfinished: 0,
        }
    }

    fn unfinished(link: u64, unfinished: usize) -> Fill {
        Fill {
            link,
            queued: 0,
            unfinished,
        }
    }
}
