//! How far the node has come with each link of one gateway: which entry is next, which were seen
//! before.
//!
//! Pure. The rules are those of `attach.proto`: a link's entries are numbered without a hole, a
//! number that was seen is ignored (after a break the gateway sends again what it is not sure of),
//! a link that the node has lost comes back with its table as of a cut.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::check;
use crate::refusal::Refusal;

/// Links that one gateway may have at a time. Beyond, its stream is refused.
const MAX_LINKS: usize = 65_536;

/// Closed links that are remembered until the gateway has surely heard that its `closed` was
/// applied. Beyond, the oldest are forgotten: a gateway that repeats such an entry is told that it
/// broke the protocol, and starts anew.
const MAX_CLOSED: usize = 65_536;

const LINK: &str = "entries.link";
const SEQUENCE: &str = "entries.sequence";

/// What an entry is, as far as its number is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A new link.
    Opened,
    /// A link that the node has lost, with its table to follow.
    Reopened,
    /// Part of that table.
    Table { last: bool },
    /// Something that has an answer.
    Query,
    /// The end of a link.
    Closed,
    /// What could not be delivered to it; follows its end. After the last one there is nothing more
    /// to say of it.
    Returned { last: bool },
    /// Anything else.
    Other,
}

/// What to do with an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Apply it.
    Apply,
    /// It was applied before.
    Ignore,
}

#[derive(Debug)]
struct LinkState {
    applied: u64,
    confirmed: u64,
    stage: Stage,
    /// Something was applied since it was reported last.
    unreported: bool,
}

/// A link of the gateway, and how far it has come.
pub(crate) type Progress = (u64, u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Its table is being restored.
    Restoring,
    Open,
    /// Deliveries may still come back.
    Closed,
    Finished,
}

/// Progress of all links of one gateway.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    links: HashMap<u64, LinkState>,
    unreported: Vec<u64>,
    /// Finished links, with the number of the Downlink that confirmed that.
    closed: VecDeque<(u64, u64)>,
}

impl Sequences {
    /// Judges the next entry of a link, and counts it if it is to be applied.
    pub(crate) fn step(&mut self, link: u64, sequence: u64, kind: Kind) -> Result<Step, Refusal> {
        check::count(LINK, link)?;
        check::count(SEQUENCE, sequence)?;
        let Some(state) = self.links.get_mut(&link) else {
            return self.first(link, sequence, kind);
        };
        if let Kind::Table { last } = kind {
            if state.stage == Stage::Restoring && sequence == state.applied {
                if last {
                    state.stage = Stage::Open;
                }
                return Ok(Step::Apply);
            }
            return state.seen_before(link, sequence);
        }
        if sequence <= state.applied {
            // An answer may have been lost with the stream; asking twice does no harm.
            let again = kind == Kind::Query && state.stage == Stage::Open;
            return Ok(if again { Step::Apply } else { Step::Ignore });
        }
        let fits = match state.stage {
            Stage::Open => !matches!(kind, Kind::Opened | Kind::Reopened),
            Stage::Closed => matches!(kind, Kind::Returned { .. }),
            Stage::Restoring | Stage::Finished => false,
        };
        if sequence != state.applied + 1 || !fits {
            let problem = format!(
                "entry {sequence} ({kind:?}) of link {link} after entry {} ({:?})",
                state.applied, state.stage
            );
            return Err(Refusal::field(SEQUENCE, problem));
        }
        state.applied = sequence;
        match kind {
            Kind::Closed => state.stage = Stage::Closed,
            Kind::Returned { last: true } => state.stage = Stage::Finished,
            Kind::Opened
            | Kind::Reopened
            | Kind::Table { .. }
            | Kind::Query
            | Kind::Returned { last: false }
            | Kind::Other => {}
        }
        if !std::mem::replace(&mut state.unreported, true) {
            self.unreported.push(link);
        }
        Ok(Step::Apply)
    }

    /// The entry is of a link that is not known.
    fn first(&mut self, link: u64, sequence: u64, kind: Kind) -> Result<Step, Refusal> {
        let full = self.links.len() >= MAX_LINKS;
        match kind {
            Kind::Opened | Kind::Reopened if full => {
                let problem = format!("more than {MAX_LINKS} links of one gateway");
                Err(Refusal::field(LINK, problem))
            }
            Kind::Opened if sequence == 1 => Ok(self.open(link, sequence, Stage::Open)),
            Kind::Reopened if sequence >= 1 => Ok(self.open(link, sequence, Stage::Restoring)),
            // Its link has been forgotten, so it was handled.
            Kind::Returned { .. } => Ok(Step::Ignore),
            Kind::Opened
            | Kind::Reopened
            | Kind::Table { .. }
            | Kind::Query
            | Kind::Closed
            | Kind::Other => {
                let problem = format!("entry {sequence} of link {link}, which is not open");
                Err(Refusal::field(LINK, problem))
            }
        }
    }

    fn open(&mut self, link: u64, sequence: u64, stage: Stage) -> Step {
        let state = LinkState {
            applied: sequence,
            confirmed: 0,
            stage,
            unreported: true,
        };
        self.links.insert(link, state);
        self.unreported.push(link);
        Step::Apply
    }

    /// How far the links have come that something was applied of since the last call.
    pub(crate) fn take_progress(&mut self) -> Vec<Progress> {
        let links = &mut self.links;
        let progress = self.unreported.drain(..).filter_map(|link| {
            let state = links.get_mut(&link)?;
            state.unreported = false;
            Some((link, state.applied))
        });
        progress.collect()
    }

    /// This is confirmed by the Downlink with this number.
    pub(crate) fn confirm(&mut self, progress: &[Progress], number: u64) {
        for &(link, sequence) in progress {
            let Some(state) = self.links.get_mut(&link) else {
                continue;
            };
            state.confirmed = state.confirmed.max(sequence);
            if state.stage == Stage::Finished && sequence == state.applied {
                self.closed.push_back((link, number));
            }
        }
        while self.closed.len() > MAX_CLOSED {
            self.forget_oldest();
        }
    }

    /// Everything that has been confirmed, for a stream that may not have heard of it.
    pub(crate) fn confirmed(&self) -> Vec<Progress> {
        let links = self.links.iter();
        let confirmed = links.map(|(link, state)| (*link, state.confirmed));
        confirmed.filter(|(_, sequence)| *sequence > 0).collect()
    }

    /// The gateway has taken every Downlink up to this number: what they confirmed as finished can
    /// be forgotten.
    pub(crate) fn taken(&mut self, number: u64) {
        while self.closed.front().is_some_and(|(_, n)| *n <= number) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((link, _)) = self.closed.pop_front() {
            // Entries may have followed its end; they are confirmed with it or after it.
            self.links.remove(&link);
        }
    }

    /// A new stream. Links whose table has not come completely are forgotten, for they must come
    /// again from the start.
    pub(crate) fn resume(&mut self) {
        self.links
            .retain(|_, state| state.stage != Stage::Restoring);
        self.closed.clear();
    }

    /// What has been applied of each link.
    pub(crate) fn applied(&self) -> impl Iterator<Item = (u64, u64)> {
        let applied = |(link, state): (&u64, &LinkState)| (*link, state.applied);
        self.links.iter().map(applied)
    }

    /// Links of which something may still come back.
    pub(crate) fn unfinished_links(&self) -> impl Iterator<Item = u64> {
        let unfinished = |(link, state): (&u64, &LinkState)| {
            matches!(state.stage, Stage::Open | Stage::Closed).then_some(*link)
        };
        self.links.iter().filter_map(unfinished)
    }

    /// The core has this link.
    pub(crate) fn is_open(&self, link: u64) -> bool {
        let link = self.links.get(&link);
        link.is_some_and(|link| link.stage == Stage::Open)
    }

    /// Links that the core has.
    pub(crate) fn open_links(&self) -> impl Iterator<Item = u64> {
        let open =
            |(link, state): (&u64, &LinkState)| (state.stage == Stage::Open).then_some(*link);
        self.links.iter().filter_map(open)
    }
}

impl LinkState {
    fn seen_before(&self, link: u64, sequence: u64) -> Result<Step, Refusal> {
        if sequence <= self.applied {
            return Ok(Step::Ignore);
        }
        let problem = format!(
            "a table as of entry {sequence} of link {link}, which is at entry {}",
            self.applied
        );
        Err(Refusal::field(SEQUENCE, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_applied_once_and_without_a_hole() {
        let mut sequences = Sequences::default();

        assert_eq!(sequences.step(1, 1, Kind::Opened), Ok(Step::Apply));
        assert_eq!(sequences.step(1, 2, Kind::Other), Ok(Step::Apply));
        assert_eq!(sequences.step(1, 2, Kind::Other), Ok(Step::Ignore));
        assert_eq!(sequences.step(1, 1, Kind::Opened), Ok(Step::Ignore));
        assert!(sequences.step(1, 4, Kind::Other).is_err());
    }

    #[test]
    fn a_link_begins_with_its_opening() {
        let mut sequences = Sequences::default();

        assert!(sequences.step(1, 1, Kind::Other).is_err());
        assert!(sequences.step(1, 2, Kind::Opened).is_err());
        assert!(sequences.step(1, 0, Kind::Reopened).is_err());
        assert_eq!(
            sequences.step(1, 1, Kind::Returned { last: true }),
            Ok(Step::Ignore)
        );
    }

    #[test]
    fn a_repeated_query_is_answered_again() {
        let mut sequences = Sequences::default();
        open(&mut sequences, 1);

        assert_eq!(sequences.step(1, 2, Kind::Query), Ok(Step::Apply));
        assert_eq!(sequences.step(1, 3, Kind::Other), Ok(Step::Apply));
        assert_eq!(sequences.step(1, 2, Kind::Query), Ok(Step::Apply));
        assert_eq!(sequences.take_progress(), [(1, 3)]);
    }

    #[test]
    fn a_lost_link_comes_back_with_its_table_and_goes_on() {
        let mut sequences = Sequences::default();

        assert_eq!(sequences.step(1, 9, Kind::Reopened), Ok(Step::Apply));
        let part = Kind::Table { last: false };
        assert_eq!(sequences.step(1, 9, part), Ok(Step::Apply));
        assert!(sequences.step(1, 10, Kind::Other).is_err());
        let end = Kind::Table { last: true };
        assert_eq!(sequences.step(1, 9, end), Ok(Step::Apply));
        assert_eq!(sequences.step(1, 9, end), Ok(Step::Ignore));
        assert_eq!(sequences.step(1, 10, Kind::Other), Ok(Step::Apply));
    }

    #[test]
    fn half_a_table_does_not_survive_a_break() {
        let mut sequences = Sequences::default();
        open(&mut sequences, 1);
        sequences
            .step(2, 9, Kind::Reopened)
            .expect("a link may come back");

        sequences.resume();

        assert_eq!(sequences.applied().collect::<Vec<_>>(), [(1, 1)]);
        assert_eq!(sequences.take_progress(), [(1, 1)]);
    }

    #[test]
    fn a_new_stream_hears_again_what_was_confirmed_and_no_more() {
        let mut sequences = Sequences::default();
        open(&mut sequences, 1);
        let progress = sequences.take_progress();
        sequences.confirm(&progress, 1);
        let later = sequences.step(1, 2, Kind::Other);
        assert_eq!(later, Ok(Step::Apply));

        sequences.resume();

        assert_eq!(sequences.confirmed(), [(1, 1)]);
        assert_eq!(sequences.applied().collect::<Vec<_>>(), [(1, 2)]);
    }

    #[test]
    fn a_closed_link_is_known_until_the_gateway_has_heard_so() {
        let mut sequences = Sequences::default();
        open(&mut sequences, 1);
        assert_eq!(sequences.step(1, 2, Kind::Closed), Ok(Step::Apply));
        assert_eq!(
            sequences.step(1, 3, Kind::Returned { last: true }),
            Ok(Step::Apply)
        );
        assert!(sequences.step(1, 4, Kind::Other).is_err());
        assert_eq!(sequences.open_links().count(), 0);

        let progress = sequences.take_progress();
        assert_eq!(progress, [(1, 3)]);
        sequences.confirm(&progress, 5);
        sequences.taken(4);
        assert_eq!(sequences.applied().count(), 1);
        sequences.taken(5);
        assert_eq!(sequences.applied().count(), 0);
    }

    fn open(sequences: &mut Sequences, link: u64) {
        sequences
            .step(link, 1, Kind::Opened)
            .expect("a new link opens with 1");
    }
}
