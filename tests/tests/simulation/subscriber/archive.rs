//! What each node had to tell to subscribers, event by event: put together from what any of them
//! was told, so that what one of them misses is known.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use route_proto::v1::event::Body as Routed;
use route_proto::v1::{ChangeReason, Event, UserStatus};

/// A place in a node's log: which life, and how many events came before. Clients may not look into
/// a position; this test does, to know what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub(crate) life: u64,
    pub(crate) seq: u64,
}

/// An event, as far as it matters.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    bytes: Vec<u8>,
    change: Option<Change>,
}

/// A user is online from now on, or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) user: u32,
    pub(crate) online: bool,
    pub(crate) reason: ChangeReason,
}

/// A stretch in which somebody followed who is online: a state, and what changed since.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stretch {
    pub(crate) from: Place,
    /// Up to here nothing was missed.
    pub(crate) to: u64,
    pub(crate) online: BTreeSet<u32>,
    pub(crate) changes: Vec<(u64, u32, bool)>,
}

/// All events of all lives that somebody has seen.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    events: BTreeMap<Place, Known>,
}

impl Place {
    /// None: no position.
    pub(crate) fn of(position: &str) -> Option<Self> {
        let number = |range| u64::from_str_radix(position.get(range)?, 16).ok();
        Some(Self {
            life: number(2..18)?,
            seq: number(18..34)?,
        })
    }
}

impl Change {
    /// Nobody here is away.
    pub(crate) fn of(user: &UserStatus, reason: ChangeReason) -> Self {
        Self {
            user: user.user_id,
            online: user.status != route_proto::v1::PresenceStatus::Offline as i32,
            reason,
        }
    }

    pub(crate) fn in_event(event: &Event) -> Option<Self> {
        match &event.body {
            Some(Routed::StatusChange(change)) => {
                let user = change.user.clone().unwrap_or_default();
                Some(Self::of(&user, change.reason()))
            }
            _ => None,
        }
    }
}

impl Archive {
    /// Somebody saw this there. False if somebody else saw something else.
    pub(crate) fn saw(&mut self, at: Place, event: &Event) -> bool {
        let known = Known {
            bytes: event.encode_to_vec(),
            change: Change::in_event(event),
        };
        let before = self.events.entry(at).or_insert_with(|| known.clone());
        *before == known
    }

    /// Somebody who is told everything was told nothing of what stands between these places: of each
    /// stands there a change of sessions alone. True if nobody was told anything there.
    pub(crate) fn passed_over(&mut self, after: Place, until: u64) -> bool {
        let nothing = Known {
            bytes: Vec::new(),
            change: None,
        };
        let mut between = (after.seq + 1..until).map(|seq| Place { seq, ..after });
        between.all(|at| *self.events.entry(at).or_insert_with(|| nothing.clone()) == nothing)
    }

    /// What is wrong with what somebody has followed, in itself, and beside what others have.
    pub(crate) fn check(&self, mut stretches: Vec<Stretch>) -> Vec<String> {
        stretches.sort_by_key(|stretch| stretch.from);
        let alone = stretches.iter().filter_map(|stretch| self.judge(stretch));
        let pairs = stretches.windows(2);
        let of_one_life = pairs.filter(|pair| pair[0].from.life == pair[1].from.life);
        let beside = of_one_life.filter_map(|pair| self.compare(&pair[0], &pair[1]));
        alone.chain(beside).collect()
    }

    /// What is wrong with a stretch, as far as all of it is known.
    fn judge(&self, stretch: &Stretch) -> Option<String> {
        let Place { life, seq: from } = stretch.from;
        let there_are = self.changes(life, from, stretch.to)?;
        let there_are: Vec<_> = there_are
            .into_iter()
            .map(|(seq, change)| (seq, change.user, change.online))
            .collect();
        let told = &stretch.changes;
        (*told != there_are).then(|| {
            format!("changes after {from} of {life:x}: {told:?}, there were {there_are:?}")
        })
    }

    /// What is wrong with a later stretch of the same life, given an earlier one.
    fn compare(&self, earlier: &Stretch, later: &Stretch) -> Option<String> {
        let life = earlier.from.life;
        let changes = self.changes(life, earlier.from.seq, later.from.seq)?;
        let mut online = earlier.online.clone();
        for (_, change) in changes {
            if change.online {
                online.insert(change.user);
            } else {
                online.remove(&change.user);
            }
        }
        (online != later.online).then(|| {
            let (at, is) = (later.from.seq, &later.online);
            format!("the snapshot at {at} of {life:x} says {is:?}, it was {online:?}")
        })
    }

    /// Changes after one place up to another. None if some event between is not known.
    fn changes(&self, life: u64, from: u64, to: u64) -> Option<Vec<(u64, Change)>> {
        if to <= from {
            return Some(Vec::new());
        }
        let place = |seq| Place { life, seq };
        let between = self.events.range(place(from + 1)..=place(to));
        let known: Vec<_> = between.collect();
        if known.len() as u64 != to - from {
            return None;
        }
        let changes = known
            .into_iter()
            .filter_map(|(at, known)| Some((at.seq, known.change?)));
        Some(changes.collect())
    }
}
