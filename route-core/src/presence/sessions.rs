//! The table: every login by (link, user, client type).
//!
//! A session is one record in a slab. It stands in two lists: its user's (singly linked, a handful
//! of entries) and its link's (doubly linked), so that a user is found by one look-up and a link is
//! removed at the cost of what it held. About 52 bytes a user with one session.
//!
//! A link may be *shown* or not: sessions of links that are not shown (shadows) are kept up to date
//! but are no presence.

use std::sync::Arc;

use super::records::{Head, Limits, NIL, Records};
use super::roll::Roll;
use super::session::Session;
use super::users::Users;
use super::{Client, Logins, Step};
use crate::change::ReportedStatus;
use crate::ids::{ClientType, UserId};
use crate::settings::{FanOut, Settings};
use crate::status::{LinkView, SessionView, Status, Summary};
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

    /// Does some visible desktop login of this user exist?
    pub(crate) fn legacy_online(&self, user: UserId) -> bool {
        self.records.work.step();
        self.users.get(user.0).is_some_and(Head::desktop)
    }

    /// What the user's visible desktop logins are, all together.
    pub(crate) fn desktop_status(&self, user: UserId) -> ReportedStatus {
        let desktops = || self.visible(user).filter(|(_, kind, ..)| kind.is_desktop());
        if desktops().any(|(.., logins, _)| logins.online > 0) {
            ReportedStatus::Online
        } else if desktops().next().is_some() {
            ReportedStatus::Away
        } else {
            ReportedStatus::Offline
        }
    }

    /// The same as if one link were hidden and another one shown.
    pub(crate) fn legacy_online_as_if(&self, user: UserId, hidden: u32, shown: u32) -> bool {
        let first = self.first(user);
        let is_seen = self.records.swapped(Some(hidden), Some(shown));
        self.records.summary_if(first, is_seen).legacy_online
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
            let counts = session.logins.visible() > 0 || (self.lingers && session.brought);
            counts && self.records.is_shown(session)
        })
    }

    /// The user's visible sessions on shown links: slot, client type, logins, seconds.
    pub(crate) fn visible(
        &self,
        user: UserId,
    ) -> impl Iterator<Item = (u32, ClientType, Logins, u32)> {
        let sessions = self.records.of_user(self.first(user));
        sessions
            .filter(|session| self.records.is_shown(session) && session.logins.visible() > 0)
            .map(|session| {
                let client_type = session.client_type;
                (session.link, client_type, session.logins, session.since)
            })
    }

    /// The same as they are shown.
    pub(crate) fn seen(&self, user: UserId) -> impl Iterator<Item = SessionView> {
        let sessions = self.records.of_user(self.first(user));
        sessions
            .filter(|session| self.records.is_shown(session) && session.logins.visible() > 0)
            .map(|session| self.records.view(session))
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
    pub(crate) fn of_link(&self, slot: u32) -> impl Iterator<Item = (Client, Logins)> {
        self.records.of_link(slot).map(|(_, session)| {
            let client = Client {
                user: UserId(session.user),
                client_type: session.client_type,
            };
            (client, session.logins)
        })
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
        let known = self.users.get(client.user.0);
        let first = known.map_or(NIL, Head::first);
        let before = self.records.summary(first);
        let kind = (slot, client.client_type);
        let state = |records: &Records, first| {
            records.state_at(first, kind, |session| records.is_shown(session))
        };
        let state_before = state(&self.records, first);
        let session = (slot, client);
        let mut first = self
            .records
            .step(first, session, step, since, self.lingers)?;
        let after = self.records.summary(first);
        let takes_away = matches!(step, Step::Report(ReportedStatus::Offline));
        if self.lingers && takes_away && after.status == Status::Offline {
            first = self.records.linger_no_more(first, slot);
        }
        let head = Head::new(first, after.legacy_online);
        if known != Some(head) {
            self.users.set(client.user.0, head);
        }
        self.roll.changed(client.user, before, after);
        Some(Became {
            before,
            after,
            sessions: state(&self.records, first) != state_before,
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
            let user = UserId(session.user);
            let kind = (slot, session.client_type);
            let first = self.first(user);
            let before = self.records.summary(first);
            let is_shown = |session: &Session| self.records.is_shown(session);
            let state_before = self.records.state_at(first, kind, is_shown);
            let first = self.records.take(first, at);
            let after = self.records.summary(first);
            let is_shown = |session: &Session| self.records.is_shown(session);
            let state_after = self.records.state_at(first, kind, is_shown);
            self.users
                .set(user.0, Head::new(first, after.legacy_online));
            self.roll.changed(user, before, after);
            let became = Became {
                before,
                after,
                sessions: state_after != state_before,
            };
            changed(self, user, became);
        }
        self.kept_by(slot) > 0
    }

    /// Hides one link and shows another in one step (either may be none), and returns every user
    /// whose presence that changes, once.
    pub(crate) fn swap_shown(
        &mut self,
        hide: Option<u32>,
        show: Option<u32>,
    ) -> Vec<(UserId, Became)> {
        let show = show.filter(|slot| !self.records.link(*slot).shown);
        let mut changed = Vec::new();
        for from in [hide, show].into_iter().flatten() {
            for (at, session) in self.records.of_link(from) {
                let user = UserId(session.user);
                let first = self.first(user);
                // Of the user's sessions on the two links, the first one speaks for the user.
                let of_these = |link| Some(link) == hide || Some(link) == show;
                if self.records.find(first, of_these) == Some(at) {
                    let before = self.records.summary(first);
                    let is_seen = self.records.swapped(hide, show);
                    let after = self.records.summary_if(first, is_seen);
                    let head = Head::new(first, after.legacy_online);
                    self.users.set(user.0, head);
                    self.roll.changed(user, before, after);
                    let became = Became {
                        before,
                        after,
                        sessions: self.records.swap_is_seen(first, hide, show),
                    };
                    if became.is_a_change() {
                        changed.push((user, became));
                    }
                }
            }
        }
        if let Some(slot) = hide {
            self.records.set_shown(slot, false);
        }
        if let Some(slot) = show {
            self.records.set_shown(slot, true);
        }
        changed
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
