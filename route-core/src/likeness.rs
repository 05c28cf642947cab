//! How alike two links' tables are: that is what tells MsgServers of one address apart.

use crate::core::Core;

/// How alike two tables are: common sessions, of all sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Likeness {
    pub(crate) common: u64,
    all: u64,
    /// Sessions of the smaller table.
    pub(crate) fewer: u64,
}

impl Likeness {
    pub(crate) fn exceeds(self, other: Likeness) -> bool {
        u128::from(self.common) * u128::from(other.all)
            > u128::from(other.common) * u128::from(self.all)
    }

    /// Most of the smaller table is common.
    pub(crate) fn is_great(self) -> bool {
        self.common * 2 > self.fewer
    }
}

impl Core {
    /// The one whose table is most like that of this link, of those that are alike.
    pub(crate) fn most_alike(&self, slot: u32, others: impl Iterator<Item = u32>) -> Option<u32> {
        let mut best: Option<(u32, Likeness)> = None;
        for other in others {
            let likeness = self.likeness(other, slot);
            let better = best.is_none_or(|(_, before)| likeness.exceeds(before));
            if likeness.is_great() && better {
                best = Some((other, likeness));
            }
        }
        best.map(|(other, _)| other)
    }

    pub(crate) fn likeness(&self, a: u32, b: u32) -> Likeness {
        let (few, many) = if self.sessions.held_by(a) <= self.sessions.held_by(b) {
            (a, b)
        } else {
            (b, a)
        };
        let common = self
            .sessions
            .of_link(few)
            .filter(|(user, client_type, _)| {
                let logins = self.sessions.logins(many, *user, *client_type);
                logins.visible() > 0 || logins.hidden > 0
            })
            .count() as u64;
        let all =
            u64::from(self.sessions.held_by(a)) + u64::from(self.sessions.held_by(b)) - common;
        Likeness {
            common,
            all: all.max(1),
            fewer: self.sessions.held_by(few).into(),
        }
    }
}
