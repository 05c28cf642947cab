//! The table: every login by (link, user, client type).
//!
//! A session is one record in a slab. It stands in two lists: its user's (singly linked, a handful
//! of entries) and its link's (doubly linked), so that a user is found by one look-up and a link is
//! removed at the cost of what it held. About 52 bytes a user with one session.
//!
//! A link may be *shown* or not: sessions of links that are not shown (shadows) are kept up to date
//! but are no presence. When that changes, its sessions follow user by user, see
//! [`Lagging`](super::lagging::Lagging).

use std::sync::Arc;

use super::records::{Head, Limits, NIL, Records};
use super::roll::Roll;
use super::session::{Session, desktop_status, summary};
use super::users::Users;
use super::{Client, Logins, Step};
use crate::change::ReportedStatus;
use crate::ids::{ClientType, UserId};
use crate::settings::{FanOut, Settings};
use crate::status::{LearnedBy, LinkView, SessionView, Status, Summary};
use crate::work::Work;

/// All sessions of all links.
pub(crate) struct Sessions {
    /// As in the C++ server: a link that took its last login of a user away while another link still
    /// had one stays a holder of the user, until it closes or takes away what is then the last login
    /// of all. Only 0x070e asks. Otherwise a session without logins is removed.
    lingers: bool,
    records: Records,
    users: Users,
    roll: Roll,
}

/// What a step made of a user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Became {
    pub(crate) before: Summary,
    pub(crate) after: Summary,
    /// Some client type came to a MsgServer, went, or has another state there.
    sessions: bool,
}

impl Became {
    /// Somebody who watches the user sees another presence.
    pub(crate) fn is_a_change(self) -> bool {
        self.sessions || self.before != self.after
    }
}

/// What became of a user whose sessions lagged behind their links.
#[derive(Debug)]
pub(crate) struct Aligned {
    pub(crate) became: Became,
    /// Something is different that MsgServers are told of: of a desktop client, or not.
    pub(crate) of_desktop: Option<bool>,
    /// The links behind which they lagged.
    pub(crate) links: Vec<u32>,
}

/// What a link holds of a user, seen or not.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) slot: u32,
    pub(crate) link: Arc<LinkView>,
    pub(crate) client_type: ClientType,
    pub(crate) logins: Logins,
    pub(crate) learned_by: LearnedBy,
    pub(crate) since_seconds: u32,
    /// It counts for others.
    pub(crate) seen: bool,
}

impl Sessions {
    pub(crate) fn new(settings: Settings) -> Self {
        Sessions {
            lingers: settings.fan_out == FanOut::Broadcast,
            records: Records::new(Limits {
                of_link: settings.link_sessions,
                in_all: settings.sessions.min(NIL),
            }),
            users: Users::new(),
            roll: Roll::default(),
        }
    }

    /// Prepares a slot for a link that holds nothing.
    pub(crate) fn add_link(&mut self, slot: u32, shown: bool, seen_as: Arc<LinkView>) {
        self.records.add_link(slot, shown, seen_as);
    }

    /// The link as it is shown.
    pub(crate) fn link(&self, slot: u32) -> Arc<LinkView> {
        Arc::clone(self.records.shown_as(slot))
    }

    /// Users that are not offline.
    pub(crate) fn roll(&self) -> &Roll {
        &self.roll
    }

    /// How many sessions with logins the link holds.
    pub(crate) fn held_by(&self, slot: u32) -> u32 {
        self.records.link(slot).held
    }

    /// The same with those that linger.
    pub(crate) fn kept_by(&self, slot: u32) -> u32 {
        self.records.link(slot).sessions
    }

    /// How many of them are desktop sessions, hidden ones included.
    pub(crate) fn desktop_held_by(&self, slot: u32) -> u32 {
        self.records.link(slot).desktop
    }

    /// What has been done here.
    pub(crate) fn work(&self) -> &Work {
        &self.records.work
    }

    pub(crate) fn users(&self) -> usize {
        self.users.len()
    }

    pub(crate) fn sessions(&self) -> usize {
        self.records.live()
    }

    /// Does some visible desktop login of this user exist? As the links are shown now.
    pub(crate) fn legacy_online(&self, user: UserId) -> bool {
        if self.records.is_walking() {
            return self.legacy_online_if(user, |session| self.records.is_due(session));
        }
        self.records.work.step();
        self.users.get(user.0).is_some_and(Head::desktop)
    }

    /// The same as if one link were hidden and another one shown.
    pub(crate) fn legacy_online_as_if(&self, user: UserId, hidden: u32, shown: u32) -> bool {
        self.legacy_online_if(user, |session| {
            let link = session.link;
            link == shown || (link != hidden && self.records.is_due(session))
        })
    }

    fn legacy_online_if(&self, user: UserId, counts: impl Fn(&Session) -> bool) -> bool {
        let mut sessions = self.records.of_user(self.first(user));
        sessions.any(|session| session.is_desktop() && counts(session))
    }

    /// What the user's visible desktop logins are, all together.
    pub(crate) fn desktop_status(&self, user: UserId) -> ReportedStatus {
        desktop_status(self.visible(user))
    }

    pub(crate) fn summary(&self, user: UserId) -> Summary {
        self.records.summary(self.first(user))
    }

    /// The slot of every session of the user, shown or not, hidden logins included. A link comes
    /// once for each client type.
    pub(crate) fn holders(&self, user: UserId) -> impl Iterator<Item = u32> {
        let sessions = self.records.of_user(self.first(user));
        sessions.map(|session| session.link)
    }

    /// Is the user known at all: some login is visible, or some link lingers?
    pub(crate) fn is_known(&self, user: UserId) -> bool {
        self.records.of_user(self.first(user)).any(|session| {
            let counts = session.logins.visible() > 0 || (self.lingers && session.told.brought());
            counts && session.seen
        })
    }

    /// The user's visible sessions as they are shown.
    pub(crate) fn seen(&self, user: UserId) -> impl Iterator<Item = SessionView> {
        let visible = self.visible(user);
        visible.map(|session| self.records.view(session))
    }

    fn visible(&self, user: UserId) -> impl Iterator<Item = &Session> {
        let sessions = self.records.of_user(self.first(user));
        sessions.filter(|session| session.seen && session.logins.visible() > 0)
    }

    /// Everything that links hold of a user, newest first.
    pub(crate) fn all_of(&self, user: UserId) -> impl Iterator<Item = Held> {
        let sessions = self.records.of_user(self.first(user));
        sessions
            .filter(|session| !session.logins.is_empty())
            .map(|session| Held {
                slot: session.link,
                link: Arc::clone(self.records.shown_as(session.link)),
                client_type: session.client_type,
                logins: session.logins,
                learned_by: session.told.learned_by(),
                since_seconds: session.since,
                seen: session.seen,
            })
    }

    /// The slots of links that hold this client.
    pub(crate) fn holders_of(&self, client: Client) -> impl Iterator<Item = u32> {
        let sessions = self.records.of_user(self.first(client.user));
        sessions
            .filter(move |session| {
                session.client_type == client.client_type && !session.logins.is_empty()
            })
            .map(|session| session.link)
    }

    /// What the link holds of this user and client type.
    pub(crate) fn logins(&self, slot: u32, client: Client) -> Logins {
        let mut sessions = self.records.of_user(self.first(client.user));
        let found = sessions
            .find(|session| session.link == slot && session.client_type == client.client_type);
        found.map_or_else(Logins::default, |session| session.logins)
    }

    /// Everything that the link holds, newest first.
    pub(crate) fn of_link(&self, slot: u32) -> impl Iterator<Item = Client> {
        let sessions = self.records.of_link(slot);
        sessions.map(|(_, session)| session.client())
    }

    /// What links hold of a user.
    pub(crate) fn held_of(&self, user: UserId) -> impl Iterator<Item = (u32, Client)> {
        let sessions = self.records.of_user(self.first(user));
        sessions.map(|session| (session.link, session.client()))
    }

    /// Up to `max` records from `cursor` on: the summary of each one's user. A user with several
    /// sessions is visited several times. Returns where to go on.
    pub(crate) fn scan(
        &self,
        cursor: usize,
        max: usize,
        mut visit: impl FnMut(UserId, Summary),
    ) -> Option<usize> {
        let slab = self.records.slab();
        let end = slab.len().min(cursor.saturating_add(max));
        for session in slab.from(cursor).take(end.saturating_sub(cursor)) {
            self.records.work.step();
            if session.logins.visible() > 0 {
                let user = UserId(session.user);
                visit(user, self.summary(user));
            }
        }
        (end < slab.len()).then_some(end)
    }

    /// Changes one session of the link and returns what that makes of the user. `None`: it would be
    /// one too many, of the user, of the link, or in all.
    pub(crate) fn step(
        &mut self,
        slot: u32,
        client: Client,
        step: Step,
        since: u32,
    ) -> Option<Became> {
        let lingers = self.lingers;
        let takes_away = matches!(step, Step::Report(ReportedStatus::Offline));
        self.change((slot, client), |records, first| {
            let first = records.step(first, (slot, client), step, since, lingers)?;
            let is_last = || records.summary(first).status == Status::Offline;
            Some(match lingers && takes_away && is_last() {
                true => records.linger_no_more(first, slot),
                false => first,
            })
        })
    }

    /// Removes up to `budget` sessions of a link, reporting what each makes of its user. True while
    /// there are more.
    pub(crate) fn remove_some(
        &mut self,
        slot: u32,
        budget: usize,
        mut changed: impl FnMut(&Sessions, UserId, Became),
    ) -> bool {
        for _ in 0..budget {
            let Some((at, session)) = self.records.first_of_link(slot) else {
                return false;
            };
            let client = session.client();
            let became = self.change((slot, client), |records, first| {
                Some(records.take(first, at))
            });
            if let Some(became) = became {
                changed(self, client.user, became);
            }
        }
        self.kept_by(slot) > 0
    }

    /// Does something to a client's session on a link, by which its user's list may begin elsewhere.
    fn change(
        &mut self,
        (slot, client): (u32, Client),
        change: impl FnOnce(&mut Records, u32) -> Option<u32>,
    ) -> Option<Became> {
        let known = self.users.get(client.user.0);
        let first = known.map_or(NIL, Head::first);
        let before = self.records.summary(first);
        let state = |records: &Records, first| {
            let seen = records.of_user(first).filter(|session| session.seen);
            records.state_at(seen, (slot, client.client_type))
        };
        let state_before = state(&self.records, first);
        let first = change(&mut self.records, first)?;
        let after = self.records.summary(first);
        self.becomes(client.user, known, (before, after), first);
        Some(Became {
            before,
            after,
            sessions: state(&self.records, first) != state_before,
        })
    }

    /// The link is shown from now on, or not any more. Its sessions follow.
    pub(crate) fn show(&mut self, slot: u32, shown: bool) {
        self.records.set_shown(slot, shown);
        self.records.begin_walk(slot);
    }

    /// Is it?
    pub(crate) fn is_shown(&self, slot: u32) -> bool {
        self.records.link(slot).shown
    }

    /// All sessions that the link holds are walked through, from the beginning.
    pub(crate) fn begin_walk(&mut self, slot: u32) {
        self.records.begin_walk(slot);
    }

    /// Whose is the next session?
    pub(crate) fn walk(&mut self, slot: u32) -> Option<UserId> {
        let session = self.records.walk(slot);
        session.map(|session| UserId(session.user))
    }

    /// All sessions of a user are seen, or not, as their links are shown. `None`: they were.
    pub(crate) fn align(&mut self, user: UserId) -> Option<Aligned> {
        let known = self.users.get(user.0)?;
        let first = known.first();
        let records = &self.records;
        let is_due = |session: &&Session| records.is_due(session);
        let lags = |session: &&Session| session.seen != records.is_due(session);
        if !records.of_user(first).any(|session| lags(&session)) {
            return None;
        }
        let all: Vec<Session> = records.of_user(first).copied().collect();
        let seen = || all.iter().filter(|session| session.seen);
        let due = || all.iter().filter(is_due);
        let (before, after) = (summary(seen()), summary(due()));
        let is_other = |session: &Session| {
            let kind = (session.link, session.client_type);
            records.state_at(seen(), kind) != records.state_at(due(), kind)
        };
        let sessions = before != after || all.iter().filter(lags).any(is_other);
        let come = all.iter().filter(|it| is_due(it) && !it.seen);
        let gone = || all.iter().filter(|it| it.seen && !is_due(it));
        let mut desktop = desktop_status(seen()) != desktop_status(due());
        let mut mobile = false;
        for session in come.filter(|session| session.logins.visible() > 0) {
            let of_kind = gone().filter(|it| it.client_type == session.client_type);
            let former = summary(of_kind).status;
            let is_new = former == Status::Offline;
            match session.client_type.is_desktop() {
                true => desktop |= !is_new && former != session.logins.status(),
                false => mobile |= is_new,
            }
        }
        let lagging = all.iter().filter(lags).map(|session| session.link);
        let aligned = Aligned {
            became: Became {
                before,
                after,
                sessions,
            },
            of_desktop: (desktop || mobile).then_some(desktop),
            links: lagging.collect(),
        };
        self.records.align(first);
        self.becomes(user, Some(known), (before, after), first);
        Some(aligned)
    }

    /// A user is another one than before, whose list begins here.
    fn becomes(
        &mut self,
        user: UserId,
        known: Option<Head>,
        (before, after): (Summary, Summary),
        first: u32,
    ) {
        let head = Head::new(first, after.legacy_online);
        if known != Some(head) {
            self.users.set(user.0, head);
        }
        self.roll.changed(user, before, after);
    }

    fn first(&self, user: UserId) -> u32 {
        self.records.work.step();
        self.users.get(user.0).map_or(NIL, Head::first)
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("users", &self.users.len())
            .field("sessions", &self.records.live())
            .finish_non_exhaustive()
    }
}
