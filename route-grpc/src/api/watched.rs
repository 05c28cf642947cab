//! Whom a watch is about, and what it is to tell of them.

use hashbrown::HashSet;
use route_core::PresenceChange;
use route_proto::v1::{
    ChangeKind, GapPolicy, LagPolicy, WatchUserSetStart, WatchUserStatusRequest,
};

use crate::api::resume;
use crate::limits::{MAX_IDS, check_ids, fingerprint, too_many_ids};
use crate::refusal::{Mistakes, Refusal};

/// What a client asks for at first, as it has said it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) user_ids: Vec<u32>,
    pub(crate) new_user_ids: Vec<u32>,
    /// Instead of those.
    pub(crate) all_users: bool,
    /// The users may become others, so it may be nobody at first.
    pub(crate) may_change: bool,
    pub(crate) resume_position: String,
    pub(crate) on_gap: i32,
    pub(crate) include_sessions: bool,
    pub(crate) change_kinds: Vec<i32>,
    pub(crate) on_lag: i32,
}

/// The users of a watch, and what it is to tell of them.
#[derive(Debug)]
pub(crate) struct Watched {
    users: Users,
    kinds: Kinds,
    /// Tell the sessions.
    pub(crate) sessions: bool,
}

#[derive(Debug)]
enum Users {
    Everybody,
    /// Some, and a sum over them by which sets are told apart, in whatever order they come.
    Some(HashSet<u32>, u64),
}

/// What counts as a change.
#[derive(Debug, Clone, Copy)]
struct Kinds {
    status: bool,
    legacy_status: bool,
    sessions: bool,
}

impl From<WatchUserStatusRequest> for Asked {
    fn from(request: WatchUserStatusRequest) -> Self {
        Self {
            all_users: request.all_users,
            may_change: false,
            user_ids: request.user_ids,
            new_user_ids: request.new_user_ids,
            resume_position: request.resume_position,
            on_gap: request.on_gap,
            include_sessions: request.include_sessions,
            change_kinds: request.change_kinds,
            on_lag: request.on_lag,
        }
    }
}

impl From<WatchUserSetStart> for Asked {
    fn from(start: WatchUserSetStart) -> Self {
        Self {
            all_users: false,
            may_change: true,
            user_ids: start.user_ids,
            new_user_ids: Vec::new(),
            resume_position: start.resume_position,
            on_gap: start.on_gap,
            include_sessions: start.include_sessions,
            change_kinds: start.change_kinds,
            on_lag: start.on_lag,
        }
    }
}

impl Asked {
    /// Refuses what cannot be asked for.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let mut mistakes = Mistakes::default();
        mistakes.note(check_ids(&self.user_ids, "user_ids"));
        mistakes.note(check_ids(&self.new_user_ids, "new_user_ids"));
        mistakes.note(self.check_sets());
        mistakes.note(resume::check(&self.resume_position));
        mistakes.note(self.on_gap());
        mistakes.note(self.newest());
        mistakes.note(Kinds::new(&self.change_kinds, self.include_sessions));
        mistakes.end()
    }

    /// Refuses users that cannot be asked for together.
    fn check_sets(&self) -> Result<(), Refusal> {
        if self.all_users != self.user_ids.is_empty() && !self.may_change {
            let problem = "name users, or set all_users, and not both";
            return Err(Refusal::field("user_ids", problem));
        }
        if self.new_user_ids.is_empty() {
            return Ok(());
        }
        let ids = self.user_ids.len() + self.new_user_ids.len();
        if ids > MAX_IDS {
            return Err(too_many_ids(ids, "new_user_ids"));
        }
        if self.resume_position.is_empty() {
            let problem = "without resume_position all users are new: name them in user_ids";
            return Err(Refusal::field("new_user_ids", problem));
        }
        if self.all_users {
            let problem = "all users are watched already";
            return Err(Refusal::field("new_user_ids", problem));
        }
        Ok(())
    }

    /// What to do about a gap.
    pub(crate) fn on_gap(&self) -> Result<GapPolicy, Refusal> {
        resume::gap_policy(self.on_gap)
    }

    /// Only the newest change of each user that waits is to be told.
    pub(crate) fn newest(&self) -> Result<bool, Refusal> {
        let policy = LagPolicy::try_from(self.on_lag);
        let policy = policy.map_err(|_| no_policy("on_lag", self.on_lag))?;
        Ok(policy == LagPolicy::Newest)
    }

    /// The users that a position has to be of.
    pub(crate) fn watched(&self) -> Result<Watched, Refusal> {
        let mut watched = Watched {
            users: if self.all_users {
                Users::Everybody
            } else {
                Users::Some(HashSet::new(), 0)
            },
            kinds: Kinds::new(&self.change_kinds, self.include_sessions)?,
            sessions: self.include_sessions,
        };
        watched.add(&self.user_ids);
        Ok(watched)
    }
}

fn no_policy(field: &'static str, number: i32) -> Refusal {
    Refusal::field(field, format!("{number} is no policy"))
}

impl Watched {
    /// What it is about, in words, for operators.
    pub(crate) fn about(&self) -> String {
        let users = match self.some() {
            Some(users) => format!("{} users", users.len()),
            None => "all users".to_owned(),
        };
        match self.sessions {
            true => format!("{users}, with sessions"),
            false => users,
        }
    }

    /// What tells this from every other watch: the set, whatever its order, and the options.
    pub(crate) fn fingerprint(&self) -> u64 {
        let Kinds {
            status,
            legacy_status,
            sessions,
        } = self.kinds;
        let options = [self.sessions, status, legacy_status, sessions];
        let options = options.iter().fold(0, |sum, on| sum << 1 | u64::from(*on));
        match &self.users {
            Users::Everybody => fingerprint(options),
            Users::Some(users, sum) => {
                fingerprint(sum ^ (users.len() as u64) << 40 ^ (options | 1 << 4))
            }
        }
    }

    /// None: everybody.
    pub(crate) fn some(&self) -> Option<&HashSet<u32>> {
        match &self.users {
            Users::Everybody => None,
            Users::Some(users, _) => Some(users),
        }
    }

    /// Is to be told of this.
    pub(crate) fn wants(&self, change: &PresenceChange) -> bool {
        let is_watched = match &self.users {
            Users::Everybody => true,
            Users::Some(users, _) => users.contains(&change.user.0),
        };
        let (before, after) = (change.before, change.after);
        is_watched
            && (self.kinds.sessions
                || (self.kinds.status && before.status != after.status)
                || (self.kinds.legacy_status && before.legacy_online != after.legacy_online))
    }

    /// Of these users from now on, too.
    pub(crate) fn add(&mut self, ids: &[u32]) {
        if let Users::Some(users, sum) = &mut self.users {
            for &id in ids {
                if users.insert(id) {
                    *sum = sum.wrapping_add(fingerprint(u64::from(id) + 1));
                }
            }
        }
    }

    /// Not of these users any more.
    pub(crate) fn remove(&mut self, ids: &[u32]) {
        if let Users::Some(users, sum) = &mut self.users {
            for id in ids {
                if users.remove(id) {
                    *sum = sum.wrapping_sub(fingerprint(u64::from(*id) + 1));
                }
            }
        }
    }
}

impl Kinds {
    fn new(numbers: &[i32], with_sessions: bool) -> Result<Self, Refusal> {
        let mut kinds = Self {
            status: numbers.is_empty(),
            legacy_status: numbers.is_empty(),
            sessions: numbers.is_empty() && with_sessions,
        };
        for &number in numbers {
            match ChangeKind::try_from(number) {
                Ok(ChangeKind::Status) => kinds.status = true,
                Ok(ChangeKind::LegacyStatus) => kinds.legacy_status = true,
                Ok(ChangeKind::Sessions) => kinds.sessions = true,
                Ok(ChangeKind::Unspecified) | Err(_) => {
                    let problem = format!("{number} is no kind of change");
                    return Err(Refusal::field("change_kinds", problem));
                }
            }
        }
        Ok(kinds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(user_ids: &[u32]) -> Asked {
        Asked::from(WatchUserStatusRequest {
            user_ids: user_ids.to_vec(),
            all_users: user_ids.is_empty(),
            ..WatchUserStatusRequest::default()
        })
    }

    fn fingerprint(asked: &Asked) -> u64 {
        asked.watched().expect("it can be asked for").fingerprint()
    }

    #[test]
    fn a_set_is_the_same_in_any_order_and_however_it_came_about() {
        let set = fingerprint(&asked(&[1, 2, u32::MAX]));
        assert_eq!(set, fingerprint(&asked(&[u32::MAX, 1, 2, 1])));

        let mut other = asked(&[7, 1]).watched().expect("it can be asked for");
        other.remove(&[7, 9]);
        other.add(&[2, u32::MAX, 1]);
        assert_eq!(set, other.fingerprint());
    }

    #[test]
    fn other_users_and_other_options_are_told_apart() {
        let nobody = Asked {
            all_users: false,
            ..asked(&[])
        };
        let mut all = vec![fingerprint(&asked(&[])), fingerprint(&nobody)];
        all.extend([0, 1, 2, 3].map(|user| fingerprint(&asked(&[user]))));
        all.push(fingerprint(&asked(&[0, 3])));
        all.push(fingerprint(&asked(&[1, 2])));
        all.push(fingerprint(&Asked {
            include_sessions: true,
            ..asked(&[1])
        }));
        all.push(fingerprint(&Asked {
            change_kinds: vec![ChangeKind::Sessions.into()],
            ..asked(&[1])
        }));

        let distinct: HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn all_kinds_said_are_the_same_as_none_with_sessions() {
        let all = Asked {
            include_sessions: true,
            change_kinds: vec![3, 2, 1],
            ..asked(&[1])
        };
        let none = Asked {
            include_sessions: true,
            ..asked(&[1])
        };

        assert_eq!(fingerprint(&all), fingerprint(&none));
    }
}
