//! How alike two links' tables are: that is what tells MsgServers of one address apart.

use crate::presence::Sessions;

/// How alike two tables are: common sessions, of all sessions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Likeness {
    pub(super) common: u64,
    all: u64,
    /// Sessions of the smaller table.
    pub(super) fewer: u64,
}

impl Likeness {
    pub(super) fn exceeds(self, other: Likeness) -> bool {
        u128::from(self.common) * u128::from(other.all)
            > u128::from(other.common) * u128::from(self.all)
    }

    /// Most of the smaller table is common.
    pub(super) fn is_great(self) -> bool {
        self.common * 2 > self.fewer
    }
}

/// The one whose table is most like that of this link, of those that are alike.
pub(super) fn most_alike(
    sessions: &Sessions,
    slot: u32,
    others: impl Iterator<Item = u32>,
) -> Option<u32> {
    let mut best: Option<(u32, Likeness)> = None;
    for other in others {
        let likeness = likeness(sessions, other, slot);
        let better = best.is_none_or(|(_, before)| likeness.exceeds(before));
        if likeness.is_great() && better {
            best = Some((other, likeness));
        }
    }
    best.map(|(other, _)| other)
}

pub(super) fn likeness(sessions: &Sessions, a: u32, b: u32) -> Likeness {
    let (few, many) = if sessions.held_by(a) <= sessions.held_by(b) {
        (a, b)
    } else {
        (b, a)
    };
    let is_common = |client| !sessions.logins(many, client).is_empty();
    let of_few = sessions.of_link(few);
    let common = of_few.filter(|(client, _)| is_common(*client)).count() as u64;
    let (few, many) = (sessions.held_by(few), sessions.held_by(many));
    let all = u64::from(few) + u64::from(many) - common;
    Likeness {
        common,
        all: all.max(1),
        fewer: few.into(),
    }
}
