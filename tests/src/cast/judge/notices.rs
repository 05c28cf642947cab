//! What MsgServers are told of each user, and what they may be told after a node was lost.
//!
//! Notices narrate: each change causes its own, due once and in order. But of changes that were
//! unconfirmed when a node was lost nobody knows what that node has told, so the next one tells,
//! once, how the user is. Of such users a MsgServer may be told something again, or not at all what
//! was overtaken; never something older after something newer, and last what is true.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use route_proto::legacy::im::buddy::ImUserStatNotify;
use route_proto::legacy::im::server::ImServerPcLoginStatusNotify;
use tokio::time::Instant;

use crate::cast::population::{SERVERS, State};
use crate::player::pdu::{HEADER, command, command_of};

/// How long it takes, at most, until a gateway knows that a change is confirmed which everybody
/// concerned has been told of.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);
/// Changes are remembered for so long: longer than any of them is unconfirmed.
const REMEMBERED: Duration = Duration::from_secs(120);

/// One thing that one notice says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Saying {
    pub(super) user: u32,
    subject: Subject,
    value: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// 0x0203
    Status,
    /// 0x070e
    DesktopLogin,
}

impl Saying {
    /// Reads a notice; `None` if it is none.
    pub(super) fn of(raw: &[u8]) -> Option<Self> {
        let body = &raw[HEADER..];
        match command_of(raw) {
            command::STATUS_NOTICE => {
                let told = ImUserStatNotify::decode(body).ok()?.user_stat;
                Some(Self {
                    user: told.user_id,
                    subject: Subject::Status,
                    value: told.status as u32,
                })
            }
            command::DESKTOP_LOGIN_NOTICE => {
                let told = ImServerPcLoginStatusNotify::decode(body).ok()?;
                Some(Self {
                    user: told.user_id,
                    subject: Subject::DesktopLogin,
                    value: told.login_status,
                })
            }
            _ => None,
        }
    }
}

/// Everybody who may be told of.
#[derive(Debug)]
pub(super) struct Notices {
    users: BTreeMap<u32, User>,
    /// A node was lost, and the next one may not have told everything yet.
    is_open: bool,
}

#[derive(Debug, Default)]
struct User {
    /// In order. Of somebody who is in doubt: the last one that is not, for that may be told again
    /// before the others, and since then.
    changes: Vec<Change>,
    in_doubt: bool,
    /// Nodes that were lost meanwhile: each next one may tell something again.
    losses: usize,
    /// What each MsgServer was told last of somebody in doubt.
    heard: BTreeMap<(usize, u8), Heard>,
}

/// What a MsgServer knows of a user.
#[derive(Debug, Clone, Copy)]
struct Heard {
    /// Since this change it may be so.
    from: usize,
    value: u32,
    /// How often it was told the same again.
    repeats: usize,
}

#[derive(Debug)]
struct Change {
    at: Instant,
    /// How the user was after it.
    state: State,
    /// What it caused: for whom, and whether that has not come yet.
    caused: Vec<(usize, Saying, bool)>,
}

impl Notices {
    /// Nobody has done anything yet. `states`: how those are who may.
    pub(super) fn new(states: impl IntoIterator<Item = (u32, State)>) -> Self {
        let users = states.into_iter().map(|(user, state)| {
            let changes = vec![Change::to(state, &[])];
            (
                user,
                User {
                    changes,
                    ..User::default()
                },
            )
        });
        Self {
            users: users.collect(),
            is_open: false,
        }
    }

    /// A user did something; `caused`: what that causes, for whom. True if that is due as it is.
    pub(super) fn changed(
        &mut self,
        user: u32,
        state: State,
        caused: &[(usize, Saying)],
        excused: [bool; SERVERS],
    ) -> bool {
        let (is_open, now) = (self.is_open, Instant::now());
        let it = self.users.entry(user).or_default();
        if it.in_doubt && !is_open && it.lacks(excused).is_none() {
            it.settle();
        }
        if !it.in_doubt {
            let remembered =
                |change: &Change| change.is_due(excused) || change.at + REMEMBERED > now;
            let last = it.changes.pop();
            it.changes.retain(remembered);
            it.changes.extend(last);
            it.in_doubt = is_open;
        }
        it.changes.push(Change::to(state, caused));
        !it.in_doubt
    }

    /// Something has come in its turn.
    pub(super) fn came(&mut self, target: usize, what: Saying) {
        let changes = self.users.get_mut(&what.user).map(|user| &mut user.changes);
        let caused = changes
            .into_iter()
            .flatten()
            .flat_map(|change| &mut change.caused);
        let mut due = caused.filter(|(to, it, is_due)| *is_due && (*to, *it) == (target, what));
        if let Some((.., is_due)) = due.next() {
            *is_due = false;
        }
    }

    /// A node is lost. `missing`: when the oldest message was sent that has not come. Whoever has
    /// changed since the oldest thing that has not come, or a moment before, is in doubt.
    pub(super) fn node_is_lost(
        &mut self,
        now: Instant,
        missing: Option<Instant>,
        excused: [bool; SERVERS],
    ) {
        self.is_open = true;
        let changes = self.users.values().flat_map(|user| &user.changes);
        let due = changes
            .filter(|change| change.is_due(excused))
            .map(|change| change.at);
        let oldest = due.chain(missing).min().unwrap_or(now);
        let since = oldest.min(now) - CONFIRMED_WITHIN;
        for user in self.users.values_mut().filter(|user| !user.in_doubt) {
            let in_doubt = |change: &Change| change.at >= since || change.is_due(excused);
            if let Some(first) = user.changes.iter().position(in_doubt) {
                user.changes.drain(..first.saturating_sub(1));
                user.in_doubt = true;
            }
        }
        let in_doubt = self.users.values_mut().filter(|user| user.in_doubt);
        in_doubt.for_each(|user| user.losses += 1);
    }

    /// The next node has told everything that there was to tell.
    pub(super) fn node_knows(&mut self) {
        self.is_open = false;
    }

    /// Of this user something may come again.
    pub(super) fn is_in_doubt(&self, user: u32) -> bool {
        self.users.get(&user).is_some_and(|user| user.in_doubt)
    }

    /// A MsgServer is told something of a user in doubt. False: it is older than what it was told
    /// before, was never so, or has come again too often.
    pub(super) fn heard(&mut self, target: usize, what: Saying) -> bool {
        let Some(user) = self.users.get_mut(&what.user) else {
            return false;
        };
        let before = user.knows(target, what.subject);
        let from = before.map_or(0, |before| before.from);
        let changes = user.changes.iter().enumerate().skip(from);
        let mut fitting = changes.filter(|(_, change)| change.may_say(what));
        let Some((at, _)) = fitting.next() else {
            return false;
        };
        // Each of the others may be what tells it, and each node that is lost.
        let most = fitting.count() + user.losses;
        let same = before.filter(|before| (before.from, before.value) == (at, what.value));
        let repeats = same.map_or(0, |same| same.repeats + 1);
        let heard = Heard {
            from: at,
            value: what.value,
            repeats,
        };
        user.heard.insert((target, what.subject as u8), heard);
        repeats <= most
    }

    /// Everything that is due of this user has come.
    pub(super) fn is_told(&self, user: u32, excused: [bool; SERVERS]) -> bool {
        let user = self.users.get(&user);
        user.is_none_or(|user| user.lacks(excused).is_none())
    }

    /// Of users in doubt: what MsgServers have not been told.
    pub(super) fn lacking(
        &self,
        excused: [bool; SERVERS],
    ) -> impl Iterator<Item = (usize, Saying)> + '_ {
        let in_doubt = self.users.values().filter(|user| user.in_doubt);
        in_doubt.filter_map(move |user| user.lacks(excused))
    }

    /// Everything is told, or never will be.
    pub(super) fn forget(&mut self) {
        self.users.values_mut().for_each(User::settle);
    }
}

impl User {
    /// Everything is told. How he is may be told again some day.
    fn settle(&mut self) {
        let last = self.changes.pop();
        let last = last.map(|last| Change::to(last.state, &[]));
        *self = Self {
            changes: last.into_iter().collect(),
            ..Self::default()
        };
    }

    /// Something of which a MsgServer was not told, nor of anything newer.
    fn lacks(&self, excused: [bool; SERVERS]) -> Option<(usize, Saying)> {
        for (number, change) in self.changes.iter().enumerate() {
            for (target, what, is_due) in &change.caused {
                let (target, what) = (*target, *what);
                if *is_due && !excused[target] && !self.has_heard(target, what, number) {
                    return Some((target, what));
                }
            }
        }
        None
    }

    /// It was told this, or something newer, of the change with this number.
    fn has_heard(&self, target: usize, what: Saying, number: usize) -> bool {
        // Who does not hold the user any more is not told of desktop logins, even if he comes back.
        let mut since = self.changes.iter().skip(number);
        let was_left = since.any(|change| !change.state.holders.contains(&target));
        let is_over = what.subject == Subject::DesktopLogin && was_left;
        let heard = self.heard.get(&(target, what.subject as u8));
        is_over
            || heard.is_some_and(|heard| {
                let told = Saying {
                    value: heard.value,
                    ..what
                };
                let newer = self.changes.iter().skip(number.max(heard.from));
                newer.into_iter().any(|change| change.may_say(told))
            })
    }

    /// What a MsgServer was told last, in its turn or while the user is in doubt.
    fn knows(&self, target: usize, subject: Subject) -> Option<Heard> {
        let mut came = self.changes.iter().enumerate().rev();
        let came = came.find_map(|(from, change)| {
            let mut all = change.caused.iter();
            let (_, what, _) =
                all.find(|(to, what, is_due)| !is_due && (*to, what.subject) == (target, subject))?;
            let value = what.value;
            Some(Heard {
                from,
                value,
                repeats: 0,
            })
        });
        let heard = self.heard.get(&(target, subject as u8)).copied();
        heard
            .into_iter()
            .chain(came)
            .max_by_key(|it| (it.from, it.repeats))
    }
}

impl Change {
    /// It happens now.
    fn to(state: State, caused: &[(usize, Saying)]) -> Self {
        Self {
            at: Instant::now(),
            state,
            caused: caused.iter().map(|(to, what)| (*to, *what, true)).collect(),
        }
    }

    fn is_due(&self, excused: [bool; SERVERS]) -> bool {
        let mut due = self.caused.iter().filter(|(.., is_due)| *is_due);
        due.any(|(to, ..)| !excused[*to])
    }

    /// It caused that, or it is how the user was then.
    fn may_say(&self, what: Saying) -> bool {
        let is_so = match what.subject {
            Subject::Status => what.value == self.state.status as u32,
            Subject::DesktopLogin => (what.value == 1) == self.state.has_desktop(),
        };
        is_so || self.caused.iter().any(|(_, it, _)| *it == what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::player::messages::Status;

    const NOBODY: [bool; SERVERS] = [false; SERVERS];

    #[test]
    fn of_a_change_that_was_unconfirmed_it_may_be_told_again() {
        let (mut notices, now) = (notices(), Instant::now());
        assert!(reported(&mut notices, Status::Online));
        notices.came(1, ONLINE);

        notices.node_is_lost(now, None, NOBODY);

        assert!(notices.is_in_doubt(7));
        assert!(notices.is_told(7, NOBODY), "it was told before");
        assert!(notices.heard(1, ONLINE));
        assert!(!notices.heard(1, ONLINE), "again and again");
        assert!(!notices.heard(1, AWAY), "it is older");
        assert!(!notices.heard(1, OFFLINE), "he never was");
    }

    #[test]
    fn of_a_change_that_was_not_told_it_may_be_told_first_what_was_before() {
        let (mut notices, now) = (notices(), Instant::now());
        assert!(reported(&mut notices, Status::Online));

        notices.node_is_lost(now, None, NOBODY);

        assert!(notices.heard(1, AWAY));
        assert!(!notices.is_told(7, NOBODY));
        assert!(notices.heard(1, ONLINE));
        assert!(notices.is_told(7, NOBODY));
    }

    #[test]
    fn what_was_confirmed_long_ago_is_not_told_again() {
        let (mut notices, now) = (notices(), Instant::now());
        reported(&mut notices, Status::Online);
        notices.came(1, ONLINE);

        let later = now + 2 * CONFIRMED_WITHIN;
        notices.node_is_lost(later, None, NOBODY);

        assert!(!notices.is_in_doubt(7));
    }

    #[test]
    fn the_last_is_told_and_nothing_older_after_that() {
        let (mut notices, now) = (notices(), Instant::now());
        reported(&mut notices, Status::Online);
        reported(&mut notices, Status::Offline);
        notices.node_is_lost(now, None, NOBODY);
        assert_eq!(notices.lacking(NOBODY).count(), 1);

        assert!(notices.heard(1, OFFLINE));

        assert_eq!(notices.lacking(NOBODY).count(), 0);
        assert!(!notices.heard(1, ONLINE), "it is older");
    }

    #[test]
    fn a_desktop_login_need_not_be_told_to_who_lost_the_user_meanwhile() {
        let state = |status, holders: &[usize]| State {
            status,
            holders: holders.to_vec(),
        };
        let login = Saying {
            subject: Subject::DesktopLogin,
            ..ONLINE
        };
        for (meanwhile, is_told) in [(vec![], true), (vec![1], false)] {
            let mut notices = notices();
            notices.node_is_lost(Instant::now(), None, NOBODY);
            notices.changed(7, state(Status::Online, &[1]), &[(1, login)], NOBODY);
            notices.changed(7, state(Status::Offline, &meanwhile), &[], NOBODY);

            notices.changed(7, state(Status::Offline, &[1]), &[], NOBODY);

            assert_eq!(notices.is_told(7, NOBODY), is_told);
        }
    }

    #[test]
    fn the_first_of_two_is_not_enough() {
        let (mut notices, now) = (notices(), Instant::now());
        reported(&mut notices, Status::Online);
        reported(&mut notices, Status::Offline);
        notices.node_is_lost(now, None, NOBODY);

        assert!(notices.heard(1, ONLINE));

        assert!(!notices.is_told(7, NOBODY));
    }

    #[test]
    fn when_the_next_node_knows_everything_changes_are_told_as_they_are() {
        let (mut notices, now) = (notices(), Instant::now());
        notices.node_is_lost(now, None, NOBODY);
        assert!(!reported(&mut notices, Status::Online), "held");

        notices.node_knows();
        assert!(!reported(&mut notices, Status::Offline), "not told yet");
        notices.heard(1, OFFLINE);

        assert!(reported(&mut notices, Status::Online));
    }

    const ONLINE: Saying = Saying {
        user: 7,
        subject: Subject::Status,
        value: 1,
    };

    const OFFLINE: Saying = Saying { value: 2, ..ONLINE };
    const AWAY: Saying = Saying { value: 3, ..ONLINE };

    /// MsgServer 1 is to be told of it.
    fn reported(notices: &mut Notices, status: Status) -> bool {
        let what = if status == Status::Online {
            ONLINE
        } else {
            OFFLINE
        };
        notices.changed(7, state(status), &[(1, what)], NOBODY)
    }

    fn notices() -> Notices {
        Notices::new([(7, state(Status::Leave))])
    }

    fn state(status: Status) -> State {
        State {
            status,
            holders: Vec::new(),
        }
    }
}
