//! Which links' queues are too full when the budget of the process is nearly used up.
//!
//! Each link has a bound of its own, but thousands of them may fill at once. Those who feed a link with more than its
//! share pause; when that is not enough, the fullest are cut off, as many as it takes. A link within its share, an equal
//! part of the budget, is left alone.

/// What a link holds, bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Its number.
    pub link: u64,
    /// What waits to be written to it.
    pub queued: usize,
    /// What has come of a PDU that has no memory of the budget, because it is short or waits.
    pub unfinished: usize,
    /// It ends, and will soon hold nothing.
    pub ends: bool,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Those who feed these links should pause.
    pub press: Vec<u64>,
    /// These links are to be cut off.
    pub cut: Vec<Fill>,
    /// Long PDUs are to give back so much.
    pub inputs: usize,
}

/// What is to be done when the budget of so many bytes is nearly used up, and `excess` has to go. `input` is what the host has
/// whose long PDUs take most.
pub fn judge(mut fills: Vec<Fill>, limit: usize, excess: usize, mut input: usize) -> Measures {
    let share = limit / fills.len().max(1);
    fills.retain(|fill| fill.queued > share && !fill.ends);
    fills.sort_unstable_by_key(|fill| fill.queued);
    let mut measures = Measures::default();
    let mut gone = 0;
    while gone < excess {
        let fullest = fills.pop_if(|fill| fill.queued >= input);
        if let Some(fullest) = fullest {
            gone += fullest.queued;
            measures.cut.push(fullest);
        } else if input > share {
            let some = input.min(excess - gone);
            gone += some;
            measures.inputs += some;
            input -= some;
        } else if input > 0 {
            input = 0;
        } else {
            break;
        }
    }
    measures.press = fills.iter().map(|fill| fill.link).collect();
    measures
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const LIMIT: usize = 10 * MIB;

    #[test]
    fn those_who_feed_more_than_a_share_pause_first() {
        let fills = vec![queue(1, 6 * MIB), queue(2, 2 * MIB), queue(3, 10)];
        let measures = judge(fills, LIMIT, 0, 0);
        assert_eq!((measures.press, measures.cut), (vec![1], vec![]));
    }

    #[test]
    fn so_many_go_as_it_takes_the_fullest_first() {
        let mut fills = vec![queue(1, 4 * MIB), queue(2, 3 * MIB), queue(3, 5 * MIB)];
        fills.extend([queue(4, MIB), queue(5, 9 * MIB)]);
        fills[4].ends = true;
        let cut = |excess| {
            let cut = judge(fills.clone(), LIMIT, excess, 0).cut;
            cut.iter().map(|fill| fill.link).collect::<Vec<_>>()
        };
        assert_eq!(cut(1), [3]);
        assert_eq!(cut(5 * MIB + 1), [3, 1]);
        assert_eq!(cut(50 * MIB), [3, 1, 2], "one has no more than its share");
    }

    #[test]
    fn the_fullest_goes_whether_it_waits_or_comes() {
        let fills = vec![queue(1, 6 * MIB), queue(2, 10)];
        let first = judge(fills.clone(), LIMIT, 1, 7 * MIB);
        assert_eq!((first.inputs, first.cut.len()), (1, 0));
        let first = judge(fills.clone(), LIMIT, 1, 2 * MIB);
        assert_eq!((first.inputs, first.cut.len()), (0, 1));
        let both = judge(fills, LIMIT, 50 * MIB, 2 * MIB);
        assert_eq!((both.inputs, both.cut.len()), (0, 1), "within its share");
    }

    fn queue(link: u64, queued: usize) -> Fill {
        Fill {
            link,
            queued,
            unfinished: 0,
            ends: false,
        }
    }
}
