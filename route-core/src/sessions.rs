//! The table: every login by (link, user, client type).
//!
//! A session is one record in a slab. It stands in two lists: its user's (singly linked, a handful of entries) and its
//! link's (doubly linked), so that a user is found by one look-up and a link is removed at the cost of what it
//! held. About 52 bytes a user with one session.
//!
//! A link may be *shown* or not: sessions of links that are not shown (shadows) are kept up to date but are no
//! presence.

mod logins;
mod records;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

pub(crate) use self::logins::{Logins, Step};
use self::records::{Head, Held, NIL, Session, insert, remove, summary};
use crate::change::ReportedStatus;
use crate::ids::{ClientType, UserId};

/// What a user is, over all links.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// Some session is active.
    Online,
    /// There are sessions, all away.
    Away,
    /// There is none.
    Offline,
}

/// What there is to know of a user's presence.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Summary {
    /// By all visible sessions.
    pub status: Status,
    /// By desktop sessions only, as the C++ RouteServer answers: away counts as online.
    pub legacy_online: bool,
}

impl Summary {
    /// Nobody is there.
    pub const OFFLINE: Summary = Summary {
        status: Status::Offline,
        legacy_online: false,
    };
}

/// What a session is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SessionState {
    /// At least one of its logins is active.
    Online,
    /// All are away.
    Away,
}

/// One visible session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionView {
    /// Which client type.
    pub client_type: ClientType,
    /// Active or away.
    pub state: SessionState,
    /// On which link.
    pub link: crate::ids::LinkId,
    /// That link's MsgServer.
    pub peer: std::net::SocketAddr,
    /// Visible logins, at least 1.
    pub logins: u32,
    /// When the first was reported, since the node started, in whole seconds.
    pub since: std::time::Duration,
}

/// Whether a link whose own logins of a user are gone may still make the user known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Linger {
    /// A session without logins is removed.
    No,
    /// As in the C++ server: a link that took its last login of a user away while another link still had one stays a
    /// holder of the user, until it closes or takes away what is then the last login of all. Only 0x070e asks.
    UntilLast,
}

/// All sessions of all links.
pub(crate) struct Sessions {
    linger: Linger,
    slab: Vec<Session>,
    first_free: u32,
    live: usize,
    users: HashMap<u32, Head, RandomState>,
    /// By link slot.
    links: Vec<Held>,
}

impl Sessions {
    pub(crate) fn new(linger: Linger) -> Self {
        Sessions {
            linger,
            slab: Vec::new(),
            first_free: NIL,
            live: 0,
            users: HashMap::with_hasher(RandomState::default()),
            links: Vec::new(),
        }
    }

    /// Prepares a slot for a link that holds nothing.
    pub(crate) fn add_link(&mut self, slot: u32, shown: bool) {
        let index = slot as usize;
        if self.links.len() <= index {
            self.links.resize(index + 1, Held::NOTHING);
        }
        debug_assert_eq!(self.links[index].sessions, 0);
        self.links[index] = Held {
            shown,
            ..Held::NOTHING
        };
    }

    /// How many sessions the link holds.
    pub(crate) fn held_by(&self, slot: u32) -> u32 {
        self.links[slot as usize].sessions
    }

    /// How many of them are desktop sessions, hidden ones included.
    pub(crate) fn desktop_held_by(&self, slot: u32) -> u32 {
        self.links[slot as usize].desktop
    }

    pub(crate) fn users(&self) -> usize {
        self.users.len()
    }

    pub(crate) fn sessions(&self) -> usize {
        self.live
    }

    /// Does some visible desktop login of this user exist?
    pub(crate) fn legacy_online(&self, user: UserId) -> bool {
        self.users.get(&user.0).is_some_and(|head| head.desktop())
    }

    /// The same as if one link were hidden and another one shown.
    pub(crate) fn legacy_online_as_if(&self, user: UserId, hidden: u32, shown: u32) -> bool {
        let mut at = self.users.get(&user.0).map_or(NIL, |head| head.first());
        while at != NIL {
            let session = &self.slab[at as usize];
            let counts = session.link == shown
                || (session.link != hidden && self.links[session.link as usize].shown);
            let desktop = ClientType(session.client_type).is_desktop();
            if counts && desktop && session.logins.visible() > 0 {
                return true;
            }
            at = session.next_of_user;
        }
        false
    }

    pub(crate) fn summary(&self, user: UserId) -> Summary {
        let first = self.users.get(&user.0).map_or(NIL, |head| head.first());
        summary(&self.slab, &self.links, first)
    }

    /// Calls `visit` with the slot of every session of the user, shown or not, hidden logins included. A link is
    /// visited once for each client type.
    pub(crate) fn holders(&self, user: UserId, mut visit: impl FnMut(u32)) {
        let mut at = self.users.get(&user.0).map_or(NIL, |head| head.first());
        while at != NIL {
            let session = &self.slab[at as usize];
            visit(session.link);
            at = session.next_of_user;
        }
    }

    /// Is the user known at all: some login is visible, or some link lingers?
    pub(crate) fn is_known(&self, user: UserId) -> bool {
        let mut at = self.users.get(&user.0).map_or(NIL, |head| head.first());
        while at != NIL {
            let session = &self.slab[at as usize];
            let counts = match self.linger {
                Linger::No => session.logins.visible() > 0,
                Linger::UntilLast => session.brought,
            };
            if counts && self.links[session.link as usize].shown {
                return true;
            }
            at = session.next_of_user;
        }
        false
    }

    /// The user's visible sessions on shown links: slot, client type, logins, seconds.
    pub(crate) fn visible(
        &self,
        user: UserId,
    ) -> impl Iterator<Item = (u32, ClientType, Logins, u32)> + '_ {
        let mut at = self.users.get(&user.0).map_or(NIL, |head| head.first());
        std::iter::from_fn(move || {
            while at != NIL {
                let session = &self.slab[at as usize];
                at = session.next_of_user;
                if self.links[session.link as usize].shown && session.logins.visible() > 0 {
                    return Some((
                        session.link,
                        ClientType(session.client_type),
                        session.logins,
                        session.since,
                    ));
                }
            }
            None
        })
    }

    /// What the link holds of this user and client type.
    pub(crate) fn logins(&self, slot: u32, user: UserId, client_type: ClientType) -> Logins {
        let mut at = self.users.get(&user.0).map_or(NIL, |head| head.first());
        while at != NIL {
            let session = &self.slab[at as usize];
            if session.link == slot && session.client_type == client_type.0 {
                return session.logins;
            }
            at = session.next_of_user;
        }
        Logins::default()
    }

    /// Everything that the link holds, newest first.
    pub(crate) fn of_link(
        &self,
        slot: u32,
    ) -> impl Iterator<Item = (UserId, ClientType, Logins)> + '_ {
        let mut at = self.links[slot as usize].first;
        std::iter::from_fn(move || {
            let session = self.slab.get(at as usize)?;
            at = session.next_of_link;
            Some((
                UserId(session.user),
                ClientType(session.client_type),
                session.logins,
            ))
        })
    }

    /// Up to `max` records from `cursor` on: the summary of each one's user. A user with several sessions is visited
    /// several times. Returns where to go on.
    pub(crate) fn scan(
        &self,
        cursor: usize,
        max: usize,
        mut visit: impl FnMut(UserId, Summary),
    ) -> Option<usize> {
        let end = self.slab.len().min(cursor.saturating_add(max));
        for session in self.slab.get(cursor..end).unwrap_or(&[]) {
            if session.logins.visible() > 0 {
                let user = UserId(session.user);
                visit(user, self.summary(user));
            }
        }
        (end < self.slab.len()).then_some(end)
    }

    /// Changes one session of the link and returns the user's summary before and after.
    pub(crate) fn step(
        &mut self,
        slot: u32,
        user: UserId,
        client_type: ClientType,
        step: Step,
        since: u32,
    ) -> (Summary, Summary) {
        let result = self.change(slot, user, client_type, step, since);
        if self.linger == Linger::UntilLast
            && matches!(step, Step::Report(ReportedStatus::Offline))
            && result.1.status == Status::Offline
        {
            self.linger_no_more(slot, user);
        }
        result
    }

    /// The link took away what was the user's last login of all.
    fn linger_no_more(&mut self, slot: u32, user: UserId) {
        let Some(head) = self.users.get(&user.0).copied() else {
            return;
        };
        let mut first = head.first();
        let (mut previous, mut at) = (NIL, first);
        while at != NIL {
            let session = self.slab[at as usize];
            if session.link == slot {
                self.slab[at as usize].brought = false;
            }
            if session.link == slot && session.logins.is_empty() {
                self.live -= 1;
                let Self {
                    slab,
                    links,
                    first_free,
                    ..
                } = self;
                first = remove(slab, links, first_free, first, previous, at);
            } else {
                previous = at;
            }
            at = session.next_of_user;
        }
        if first == NIL {
            self.users.remove(&user.0);
        } else {
            self.users.insert(user.0, Head::new(first, head.desktop()));
        }
    }

    fn change(
        &mut self,
        slot: u32,
        user: UserId,
        client_type: ClientType,
        step: Step,
        since: u32,
    ) -> (Summary, Summary) {
        let Self {
            linger,
            slab,
            links,
            users,
            first_free,
            live,
        } = self;
        let mut entry = match users.entry(user.0) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => {
                let logins = Logins::default().after(step);
                if logins.is_empty() {
                    return (Summary::OFFLINE, Summary::OFFLINE);
                }
                let session = Session {
                    user: user.0,
                    link: slot,
                    next_of_user: NIL,
                    prev_of_link: NIL,
                    next_of_link: links[slot as usize].first,
                    since,
                    logins,
                    client_type: client_type.0,
                    brought: step.brings(),
                };
                let first = insert(slab, links, first_free, session);
                *live += 1;
                let after = summary(slab, links, first);
                entry.insert(Head::new(first, after.legacy_online));
                return (Summary::OFFLINE, after);
            }
        };
        let first = entry.get().first();
        let before = summary(slab, links, first);

        let (mut previous, mut at) = (NIL, first);
        while at != NIL {
            let session = &slab[at as usize];
            if session.link == slot && session.client_type == client_type.0 {
                break;
            }
            (previous, at) = (at, session.next_of_user);
        }
        let new_first = if at == NIL {
            let logins = Logins::default().after(step);
            if logins.is_empty() {
                return (before, before);
            }
            let session = Session {
                user: user.0,
                link: slot,
                next_of_user: first,
                prev_of_link: NIL,
                next_of_link: links[slot as usize].first,
                since,
                logins,
                client_type: client_type.0,
                brought: step.brings(),
            };
            *live += 1;
            insert(slab, links, first_free, session)
        } else {
            let logins = slab[at as usize].logins.after(step);
            if slab[at as usize].logins.is_empty() {
                slab[at as usize].since = since;
            }
            slab[at as usize].logins = logins;
            slab[at as usize].brought |= step.brings();
            let lingers = *linger == Linger::UntilLast && slab[at as usize].brought;
            if logins.is_empty() && !lingers {
                *live -= 1;
                remove(slab, links, first_free, first, previous, at)
            } else {
                first
            }
        };
        if new_first == NIL {
            entry.remove();
            return (before, Summary::OFFLINE);
        }
        let after = summary(slab, links, new_first);
        *entry.get_mut() = Head::new(new_first, after.legacy_online);
        (before, after)
    }

    /// Removes up to `budget` sessions of a link, reporting each user's summary before and after. True while there are
    /// more.
    pub(crate) fn remove_some(
        &mut self,
        slot: u32,
        budget: usize,
        mut changed: impl FnMut(UserId, Summary, Summary),
    ) -> bool {
        for _ in 0..budget {
            let at = self.links[slot as usize].first;
            if at == NIL {
                return false;
            }
            let user = self.slab[at as usize].user;
            let first = self.users[&user].first();
            let before = summary(&self.slab, &self.links, first);
            let (mut previous, mut walk) = (NIL, first);
            while walk != at {
                (previous, walk) = (walk, self.slab[walk as usize].next_of_user);
            }
            self.live -= 1;
            let new_first = remove(
                &mut self.slab,
                &mut self.links,
                &mut self.first_free,
                first,
                previous,
                at,
            );
            let after = summary(&self.slab, &self.links, new_first);
            if new_first == NIL {
                self.users.remove(&user);
            } else {
                self.users
                    .insert(user, Head::new(new_first, after.legacy_online));
            }
            changed(UserId(user), before, after);
        }
        self.links[slot as usize].first != NIL
    }

    /// Hides one link and shows another in one step (either may be none), and reports every user that either holds
    /// once, with the summary before and after.
    pub(crate) fn swap_shown(
        &mut self,
        hide: Option<u32>,
        show: Option<u32>,
        mut changed: impl FnMut(UserId, Summary, Summary),
    ) {
        let moves = |links: &mut Vec<Held>, done: bool| {
            if let Some(slot) = hide {
                links[slot as usize].shown = !done;
            }
            if let Some(slot) = show {
                links[slot as usize].shown = done;
            }
        };
        for from in [hide, show].into_iter().flatten() {
            let mut at = self.links[from as usize].first;
            while at != NIL {
                let session = self.slab[at as usize];
                let first = self.users[&session.user].first();
                if self.reports(at, first, hide, show) {
                    moves(&mut self.links, false);
                    let before = summary(&self.slab, &self.links, first);
                    moves(&mut self.links, true);
                    let after = summary(&self.slab, &self.links, first);
                    self.users
                        .insert(session.user, Head::new(first, after.legacy_online));
                    changed(UserId(session.user), before, after);
                }
                at = session.next_of_link;
            }
        }
        moves(&mut self.links, true);
    }

    /// Of a user's sessions on the two links, only the first in the user's list speaks for the user.
    fn reports(&self, at: u32, first: u32, a: Option<u32>, b: Option<u32>) -> bool {
        let mut walk = first;
        loop {
            let link = Some(self.slab[walk as usize].link);
            if link == a || link == b {
                return walk == at;
            }
            walk = self.slab[walk as usize].next_of_user;
        }
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("users", &self.users.len())
            .field("sessions", &self.live)
            .finish_non_exhaustive()
    }
}
