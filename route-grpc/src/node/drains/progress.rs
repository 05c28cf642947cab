//! How far a drain is.

use std::collections::VecDeque;

use super::Moved;

/// Moves that are remembered for those who follow the drain; the oldest go.
const MOST_ROWS: usize = 1000;

/// How far a drain is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// MsgServers are being moved.
    #[default]
    Moving,
    /// There is no link left.
    Done,
    /// Somebody has undone it.
    Undone,
    /// The gateway is gone.
    Gone,
}

/// What a drain has done so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) state: State,
    /// Links that are left.
    pub(crate) links: usize,
    /// Links that have moved.
    moved: usize,
    rows: VecDeque<Moved>,
}

impl Progress {
    /// Of a gateway with so many links.
    pub(super) fn begin(links: usize) -> Self {
        Self {
            links,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, moved: Moved) {
        if self.rows.len() == MOST_ROWS {
            self.rows.pop_front();
        }
        self.rows.push_back(moved);
        self.moved += 1;
    }

    /// How many links have moved.
    pub(crate) fn moved(&self) -> usize {
        self.moved
    }

    /// What is remembered of those after so many.
    pub(crate) fn since(&self, told: usize) -> impl Iterator<Item = &Moved> {
        let forgotten = self.moved - self.rows.len();
        self.rows.iter().skip(told.saturating_sub(forgotten))
    }
}

#[cfg(test)]
mod tests {
    use route_core::LinkId;

    use super::*;

    #[test]
    fn each_move_is_told_once_and_the_oldest_are_forgotten() {
        let mut progress = Progress::default();
        let numbers = |progress: &Progress, told| -> Vec<u64> {
            progress.since(told).map(|it| it.link.number).collect()
        };
        let moved = |number| Moved {
            msg_server: String::new(),
            link: LinkId::new(1, number),
            to: None,
        };

        progress.add(moved(1));
        progress.add(moved(2));
        assert_eq!(
            (numbers(&progress, 0), numbers(&progress, 1)),
            (vec![1, 2], vec![2])
        );
        assert!(numbers(&progress, 2).is_empty());

        (3..=1002).for_each(|number| progress.add(moved(number)));
        assert_eq!(
            (progress.moved(), numbers(&progress, 0).len()),
            (1002, 1000)
        );
        assert_eq!(numbers(&progress, 1001), [1002]);
    }
}
