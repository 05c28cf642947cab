//! Users that are not offline: in the order of their ids, and how many of which kind.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::ids::UserId;
use crate::status::{Status, Summary};

/// What a user takes in the order, bytes: nodes of a B-tree that are half full, which is the least
/// that they are.
const BYTES_EACH: usize = 20;

/// How many users of one kind there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// Some client is active.
    pub online: u64,
    /// All clients are away.
    pub away: u64,
}

/// How many users there are that are not offline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// All of them.
    pub all: Counted,
    /// Those with a desktop client.
    pub with_desktop: Counted,
    /// Those with a mobile client.
    pub with_mobile: Counted,
    /// Those with both.
    pub with_both: Counted,
}

/// Who is not offline.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    users: BTreeSet<u32>,
    counts: Counts,
}

impl Roll {
    /// A user is another one than before.
    pub(super) fn changed(&mut self, user: UserId, before: Summary, after: Summary) {
        if before == after {
            return;
        }
        self.counts.of(before, |number| *number -= 1);
        self.counts.of(after, |number| *number += 1);
        match (before.status, after.status) {
            (Status::Offline, Status::Online | Status::Away) => {
                self.users.insert(user.0);
            }
            (Status::Online | Status::Away, Status::Offline) => {
                self.users.remove(&user.0);
            }
            (Status::Offline, Status::Offline)
            | (Status::Online | Status::Away, Status::Online | Status::Away) => {}
        }
        debug_assert_eq!(
            self.users.len() as u64,
            self.counts.all.online + self.counts.all.away
        );
    }

    /// Those with ids above this one, in order.
    pub(crate) fn after(&self, user: Option<UserId>) -> impl Iterator<Item = UserId> {
        let from = user.map_or(Bound::Unbounded, |user| Bound::Excluded(user.0));
        let users = self.users.range((from, Bound::Unbounded));
        users.map(|user| UserId(*user))
    }

    /// How many there are.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

impl Counts {
    /// What the order of these users takes, bytes.
    pub(crate) fn bytes(&self) -> usize {
        (self.all.online + self.all.away) as usize * BYTES_EACH
    }

    /// Changes the numbers to which a user counts who is this.
    fn of(&mut self, user: Summary, change: impl Fn(&mut u64)) {
        let (desktop, mobile) = (user.legacy_online, user.mobile);
        for (counted, counts) in [
            (&mut self.all, true),
            (&mut self.with_desktop, desktop),
            (&mut self.with_mobile, mobile),
            (&mut self.with_both, desktop && mobile),
        ] {
            match user.status {
                Status::Online if counts => change(&mut counted.online),
                Status::Away if counts => change(&mut counted.away),
                Status::Online | Status::Away | Status::Offline => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESKTOP: Summary = Summary {
        status: Status::Online,
        legacy_online: true,
        mobile: false,
    };

    #[test]
    fn users_are_counted_by_what_they_are_and_stand_in_order() {
        let mut roll = Roll::default();
        let away_on_both = Summary {
            status: Status::Away,
            mobile: true,
            ..DESKTOP
        };
        roll.changed(UserId(9), Summary::OFFLINE, DESKTOP);
        roll.changed(UserId(u32::MAX), Summary::OFFLINE, DESKTOP);
        roll.changed(UserId(0), Summary::OFFLINE, DESKTOP);
        roll.changed(UserId(9), DESKTOP, away_on_both);

        let counted = |online, away| Counted { online, away };
        let counts = Counts {
            all: counted(2, 1),
            with_desktop: counted(2, 1),
            with_mobile: counted(0, 1),
            with_both: counted(0, 1),
        };
        assert_eq!(roll.counts(), counts);
        let after = |user| roll.after(user).map(|user| user.0).collect::<Vec<_>>();
        assert_eq!(after(None), [0, 9, u32::MAX]);
        assert_eq!(after(Some(UserId(0))), [9, u32::MAX]);
        assert!(after(Some(UserId(u32::MAX))).is_empty());
    }

    #[test]
    fn nobody_is_left_of_those_who_have_gone() {
        let mut roll = Roll::default();
        roll.changed(UserId(9), Summary::OFFLINE, DESKTOP);
        roll.changed(UserId(9), DESKTOP, Summary::OFFLINE);

        assert_eq!(roll.counts(), Counts::default());
        assert_eq!(roll.after(None).count(), 0);
    }
}
