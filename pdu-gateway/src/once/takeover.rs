//! What one link has taken over, by origin: the filter that keeps a delivery from being written twice.
//!
//! A node that re-sends after a break, or a new node that repeats what its predecessor did, gives deliveries the same
//! (origin, sequence, index) as before. Each origin's deliveries to a link come in rising order, so one mark per origin
//! is enough: no window of ids.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use route_proto::attach::v1::{LinkId, TakenMark};

/// Place of a delivery in its origin's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Of the entry that caused it.
    pub sequence: u64,
    /// Among the deliveries that the entry caused.
    pub index: u32,
}

impl Mark {
    /// The place before this one.
    pub fn before(self) -> Mark {
        match self.index.checked_sub(1) {
            Some(index) => Mark { index, ..self },
            None => Mark {
                sequence: self.sequence.saturating_sub(1),
                index: u32::MAX,
            },
        }
    }
}

impl From<&TakenMark> for Mark {
    fn from(mark: &TakenMark) -> Mark {
        Mark {
            sequence: mark.sequence,
            index: mark.index,
        }
    }
}

/// What of a run is new to the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    /// Everything.
    All,
    /// What comes after this mark.
    After(Mark),
    /// Nothing.
    Nothing,
}

/// The marks of one target link.
#[derive(Debug)]
pub struct TakeOver {
    max_origins: usize,
    origins: HashMap<LinkId, Taken, RandomState>,
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    mark: Mark,
    at: u64,
}

impl TakeOver {
    /// Remembers so many origins. At the limit, the half that has been silent longest is forgotten: a repetition concerns
    /// what was on its way a moment ago.
    pub fn new(max_origins: usize) -> Self {
        TakeOver {
            max_origins,
            origins: HashMap::default(),
            clock: 0,
        }
    }

    /// Takes over a run of one origin, whose first and last delivery have these marks; says what of it is new.
    pub fn admit(&mut self, origin: LinkId, first: Mark, last: Mark) -> Fresh {
        self.clock += 1;
        let at = self.clock;
        if let Some(taken) = self.origins.get_mut(&origin) {
            let before = taken.mark;
            if last <= before {
                return Fresh::Nothing;
            }
            *taken = Taken { mark: last, at };
            return if first > before {
                Fresh::All
            } else {
                Fresh::After(before)
            };
        }
        if self.origins.len() >= self.max_origins {
            self.forget_the_silent();
        }
        self.origins.insert(origin, Taken { mark: last, at });
        Fresh::All
    }

    /// Takes over what other links of the MsgServer were written.
    pub fn inherit(&mut self, marks: &[TakenMark]) {
        for mark in marks {
            let (origin, last) = (mark.origin.unwrap_or_default(), Mark::from(mark));
            self.admit(origin, last, last);
        }
    }

    /// How far each origin's deliveries have come here.
    pub fn marks(&self) -> impl Iterator<Item = (LinkId, Mark)> + '_ {
        self.origins
            .iter()
            .map(|(origin, taken)| (*origin, taken.mark))
    }

    /// A new node: what it originates itself, it counts anew.
    pub fn new_node(&mut self) {
        self.origins.retain(|origin, _| origin.gateway != 0);
    }

    fn forget_the_silent(&mut self) {
        let mut times: Vec<u64> = self.origins.values().map(|taken| taken.at).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.origins.retain(|_, taken| taken.at > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_ORIGINS: usize = 64;

    #[test]
    fn what_was_taken_over_is_not_taken_again() {
        let mut taken = TakeOver::new(MAX_ORIGINS);
        assert_eq!(taken.admit(link(1), mark(1, 0), mark(5, 1)), Fresh::All);

        assert_eq!(taken.admit(link(1), mark(1, 0), mark(5, 1)), Fresh::Nothing);
        assert_eq!(
            taken.admit(link(1), mark(5, 0), mark(6, 0)),
            Fresh::After(mark(5, 1))
        );
        assert_eq!(taken.admit(link(1), mark(7, 0), mark(7, 0)), Fresh::All);
    }

    #[test]
    fn origins_do_not_concern_each_other() {
        let mut taken = TakeOver::new(MAX_ORIGINS);
        taken.admit(link(1), mark(9, 0), mark(9, 0));

        assert_eq!(taken.admit(link(2), mark(1, 0), mark(1, 0)), Fresh::All);
    }

    #[test]
    fn a_new_node_counts_anew() {
        let mut taken = TakeOver::new(MAX_ORIGINS);
        let node = LinkId {
            gateway: 0,
            number: 0,
        };
        taken.admit(node, mark(9, 0), mark(9, 0));
        taken.admit(link(1), mark(9, 0), mark(9, 0));

        taken.new_node();

        assert_eq!(taken.admit(node, mark(1, 0), mark(1, 0)), Fresh::All);
        assert_eq!(taken.admit(link(1), mark(9, 0), mark(9, 0)), Fresh::Nothing);
    }

    #[test]
    fn it_is_bounded_and_keeps_the_recent() {
        let mut taken = TakeOver::new(MAX_ORIGINS);
        for number in 0..10 * MAX_ORIGINS as u64 {
            taken.admit(link(number), mark(1, 0), mark(1, 0));
            taken.admit(link(0), mark(number + 1, 0), mark(number + 1, 0));
        }

        assert!(taken.origins.len() <= MAX_ORIGINS);
        assert_eq!(taken.admit(link(0), mark(1, 0), mark(1, 0)), Fresh::Nothing);
    }

    #[test]
    fn what_a_predecessor_was_written_is_not_taken_again() {
        let mut taken = TakeOver::new(MAX_ORIGINS);
        taken.admit(link(2), mark(9, 0), mark(9, 0));
        let inherited = |number, sequence| TakenMark {
            origin: Some(link(number)),
            sequence,
            index: 0,
        };

        taken.inherit(&[inherited(1, 5), inherited(2, 7)]);

        assert_eq!(taken.admit(link(1), mark(4, 0), mark(5, 0)), Fresh::Nothing);
        assert_eq!(taken.admit(link(2), mark(8, 0), mark(9, 0)), Fresh::Nothing);
        assert_eq!(taken.admit(link(1), mark(6, 0), mark(6, 0)), Fresh::All);
    }

    #[test]
    fn marks_have_a_place_before_them() {
        assert_eq!(mark(7, 2).before(), mark(7, 1));
        assert_eq!(mark(7, 0).before(), mark(6, u32::MAX));
    }

    fn link(number: u64) -> LinkId {
        LinkId { gateway: 1, number }
    }

    fn mark(sequence: u64, index: u32) -> Mark {
        Mark { sequence, index }
    }
}
