//! The records of the table, in a slab, and the two lists in which each stands.

use std::sync::Arc;

use super::session::{Session, Told, summary};
use super::slab::Slab;
use super::{Client, Logins, Step};
use crate::ids::ClientType;
use crate::status::{LinkView, SessionView, Status, Summary};
use crate::work::Work;

/// End of a list; also the most sessions that the table can hold.
pub(super) const NIL: u32 = (1 << 31) - 1;

/// Most sessions of one user, those of shadows included. They are walked through, and nobody has so many clients on so many
/// MsgServers.
pub const MAX_SESSIONS_OF_USER: usize = 64;

/// Of those, how many may be on links of one address: so one host leaves room for others. Links of an
/// address are not compared either if they are more.
const MOST_AT_ADDRESS: usize = MAX_SESSIONS_OF_USER / 4;

/// All sessions, in a slab. Each stands in the list of its user, whose first one the caller knows,
/// and in the list of its link.
#[derive(Debug)]
pub(super) struct Records {
    slab: Slab,
    first_free: u32,
    live: usize,
    /// By link slot.
    links: Vec<OfLink>,
    /// Links that are walked through.
    walked: usize,
    limits: Limits,
    pub(super) work: Work,
}

/// How many sessions there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) of_link: u32,
    pub(super) in_all: u32,
}

/// A user's first session, and whether some shown session is a visible desktop login: all that a
/// status query needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Head(u32);

impl Head {
    const DESKTOP: u32 = 1 << 31;

    pub(super) fn new(first: u32, desktop: bool) -> Head {
        Head(first | if desktop { Head::DESKTOP } else { 0 })
    }

    pub(super) fn first(self) -> u32 {
        self.0 & !Head::DESKTOP
    }

    pub(super) fn desktop(self) -> bool {
        self.0 & Head::DESKTOP != 0
    }
}

/// What one link holds.
#[derive(Debug)]
pub(super) struct OfLink {
    first: u32,
    /// Lingering ones included.
    pub(super) sessions: u32,
    /// Those with logins.
    pub(super) held: u32,
    pub(super) desktop: u32,
    pub(super) shown: bool,
    /// Where a walk through its sessions goes on.
    next: u32,
    seen_as: Arc<LinkView>,
}

impl Records {
    pub(super) fn new(limits: Limits) -> Self {
        Records {
            limits,
            slab: Slab::default(),
            first_free: NIL,
            live: 0,
            links: Vec::new(),
            walked: 0,
            work: Work::default(),
        }
    }

    /// How many there are.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Places, free ones included.
    pub(super) fn slab(&self) -> &Slab {
        &self.slab
    }

    pub(super) fn link(&self, slot: u32) -> &OfLink {
        &self.links[slot as usize]
    }

    /// The link as it is shown.
    pub(super) fn shown_as(&self, slot: u32) -> &Arc<LinkView> {
        &self.links[slot as usize].seen_as
    }

    /// Prepares a slot for a link that holds nothing.
    pub(super) fn add_link(&mut self, slot: u32, shown: bool, seen_as: Arc<LinkView>) {
        let link = OfLink {
            first: NIL,
            sessions: 0,
            held: 0,
            desktop: 0,
            shown,
            next: NIL,
            seen_as,
        };
        match self.links.get_mut(slot as usize) {
            Some(former) => {
                debug_assert_eq!((former.sessions, former.next), (0, NIL));
                *former = link;
            }
            None => {
                debug_assert_eq!(self.links.len(), slot as usize, "slots come in order");
                self.links.push(link);
            }
        }
    }

    pub(super) fn set_shown(&mut self, slot: u32, shown: bool) {
        self.links[slot as usize].shown = shown;
    }

    /// All sessions that a link holds now are walked through. Those that come are none of them.
    pub(super) fn begin_walk(&mut self, slot: u32) {
        self.goes_on_at(slot, self.links[slot as usize].first);
    }

    /// The next one.
    pub(super) fn walk(&mut self, slot: u32) -> Option<&Session> {
        let at = self.links[slot as usize].next;
        let next = self.slab.get(at)?.next_of_link;
        self.goes_on_at(slot, next);
        self.work.step();
        self.slab.get(at)
    }

    fn goes_on_at(&mut self, slot: u32, at: u32) {
        let before = std::mem::replace(&mut self.links[slot as usize].next, at);
        self.walked += usize::from(at != NIL);
        self.walked -= usize::from(before != NIL);
    }

    /// Some link is walked through.
    pub(super) fn is_walking(&self) -> bool {
        self.walked > 0
    }

    /// The sessions of a user, newest first.
    pub(super) fn of_user(&self, first: u32) -> impl Iterator<Item = &Session> {
        self.list(first, |session| session.next_of_user)
            .map(|(_, session)| session)
    }

    /// The sessions of a link, newest first, and their places.
    pub(super) fn of_link(&self, slot: u32) -> impl Iterator<Item = (u32, &Session)> {
        let first = self.links[slot as usize].first;
        self.list(first, |session| session.next_of_link)
    }

    /// The newest session of a link.
    pub(super) fn first_of_link(&self, slot: u32) -> Option<(u32, &Session)> {
        self.of_link(slot).next()
    }

    fn list(
        &self,
        first: u32,
        next: impl Fn(&Session) -> u32,
    ) -> impl Iterator<Item = (u32, &Session)> {
        let mut at = first;
        std::iter::from_fn(move || {
            let here = at;
            // NIL is beyond every slab.
            let session = self.slab.get(here)?;
            self.work.step();
            at = next(session);
            Some((here, session))
        })
    }

    /// Its link is shown, so it counts for others, or will in a moment.
    pub(super) fn is_due(&self, session: &Session) -> bool {
        self.links[session.link as usize].shown
    }

    /// What a user is whose list begins here.
    pub(super) fn summary(&self, first: u32) -> Summary {
        summary(self.of_user(first).filter(|session| session.seen))
    }

    /// All sessions of a user, whose list begins here, are seen as their links are shown.
    pub(super) fn align(&mut self, first: u32) {
        let mut at = first;
        while let Some(session) = self.slab.get_mut(at) {
            session.seen = self.links[session.link as usize].shown;
            at = session.next_of_user;
        }
    }

    /// A session as it is shown.
    pub(super) fn view(&self, session: &Session) -> SessionView {
        SessionView {
            client_type: session.client_type,
            state: session.logins.status(),
            link: Arc::clone(self.shown_as(session.link)),
            logins: session.logins.visible(),
            since_seconds: session.since,
        }
    }

    /// The best state of a client type on the MsgServer of a link, by these sessions of a user.
    pub(super) fn state_at<'a>(
        &self,
        sessions: impl Iterator<Item = &'a Session>,
        (slot, client_type): (u32, ClientType),
    ) -> Status {
        let there = &self.links[slot as usize].seen_as;
        let of_it = |session: &&Session| {
            let link = &self.links[session.link as usize].seen_as;
            session.client_type == client_type
                && (session.link == slot || link.msg_server == there.msg_server)
        };
        let states = sessions.filter(of_it);
        let states = states.map(|session| session.logins.status());
        states.fold(Status::Offline, best)
    }

    /// How many sessions of a user, whose list begins here, are on links of this one's address.
    fn at_address_of(&self, slot: u32, first: u32) -> usize {
        let ip = |slot: u32| self.links[slot as usize].seen_as.peer.ip();
        let all = self.of_user(first);
        all.filter(|session| ip(session.link) == ip(slot)).count()
    }

    /// Changes one session of a link, which may come or go by that; returns where its user's list
    /// begins now. `None`: it would be one too many.
    pub(super) fn step(
        &mut self,
        first: u32,
        (slot, client): (u32, Client),
        step: Step,
        since: u32,
        lingers: bool,
    ) -> Option<u32> {
        let (mut previous, mut at) = (NIL, first);
        let mut others = 0;
        while let Some(session) = self.slab.get(at) {
            if session.link == slot && session.client_type == client.client_type {
                break;
            }
            (previous, at) = (at, session.next_of_user);
            others += 1;
        }
        self.work.steps(others + 1);
        let Some(session) = self.slab.get_mut(at) else {
            let logins = Logins::default().after(step);
            if logins.is_empty() {
                return Some(first);
            }
            let is_full = others >= MAX_SESSIONS_OF_USER
                || (others >= MOST_AT_ADDRESS
                    && self.at_address_of(slot, first) >= MOST_AT_ADDRESS)
                || self.links[slot as usize].sessions >= self.limits.of_link
                || self.live >= self.limits.in_all as usize;
            if is_full {
                return None;
            }
            let session = Session {
                user: client.user.0,
                link: slot,
                next_of_user: first,
                prev_of_link: NIL,
                next_of_link: self.links[slot as usize].first,
                since,
                logins,
                client_type: client.client_type,
                told: Told::first(step),
                seen: self.links[slot as usize].shown,
            };
            return Some(self.insert(session));
        };
        let of_link = &mut self.links[slot as usize];
        if session.logins.is_empty() {
            session.since = since;
            session.told = session.told.anew(step);
        } else {
            of_link.held -= 1;
        }
        session.logins = session.logins.after(step);
        session.told = session.told.then(step);
        of_link.held += u32::from(!session.logins.is_empty());
        let is_over = session.logins.is_empty() && !(lingers && session.told.brought());
        Some(if is_over {
            self.remove(first, previous, at)
        } else {
            first
        })
    }

    /// A link took away what was a user's last login of all: none of its sessions lingers. Returns
    /// where the user's list begins now.
    pub(super) fn linger_no_more(&mut self, first: u32, slot: u32) -> u32 {
        let mut new_first = first;
        let (mut previous, mut at) = (NIL, first);
        while let Some(session) = self.slab.get_mut(at) {
            self.work.step();
            let next = session.next_of_user;
            let of_link = session.link == slot;
            if of_link {
                session.told = session.told.taken_away();
            }
            if of_link && session.logins.is_empty() {
                new_first = self.remove(new_first, previous, at);
            } else {
                previous = at;
            }
            at = next;
        }
        new_first
    }

    /// Takes a record away that stands somewhere in this list of its user; returns where that
    /// begins now.
    pub(super) fn take(&mut self, first: u32, at: u32) -> u32 {
        let (mut previous, mut walk) = (NIL, first);
        while walk != at {
            self.work.step();
            (previous, walk) = (walk, self.slab[walk].next_of_user);
        }
        self.remove(first, previous, at)
    }

    /// Puts the record into the slab and at the head of its link's list.
    fn insert(&mut self, session: Session) -> u32 {
        self.live += 1;
        let at = self.first_free;
        let at = if at == NIL {
            assert!(
                self.slab.len() < NIL as usize,
                "2^31 sessions are the most that a table holds"
            );
            self.slab.push(session)
        } else {
            self.first_free = self.slab[at].next_of_user;
            self.slab[at] = session;
            at
        };
        if session.next_of_link != NIL {
            self.slab[session.next_of_link].prev_of_link = at;
        }
        let of_link = &mut self.links[session.link as usize];
        of_link.first = at;
        of_link.sessions += 1;
        of_link.held += 1;
        of_link.desktop += u32::from(session.client_type.is_desktop());
        at
    }

    /// Takes the record out of both lists and frees it; returns the user's new first session.
    fn remove(&mut self, first: u32, previous: u32, at: u32) -> u32 {
        self.live -= 1;
        let session = self.slab[at];
        if self.links[session.link as usize].next == at {
            self.goes_on_at(session.link, session.next_of_link);
        }
        let of_link = &mut self.links[session.link as usize];
        of_link.sessions -= 1;
        of_link.held -= u32::from(!session.logins.is_empty());
        of_link.desktop -= u32::from(session.client_type.is_desktop());
        if session.prev_of_link == NIL {
            of_link.first = session.next_of_link;
        } else {
            self.slab[session.prev_of_link].next_of_link = session.next_of_link;
        }
        if session.next_of_link != NIL {
            self.slab[session.next_of_link].prev_of_link = session.prev_of_link;
        }
        let new_first = if previous == NIL {
            session.next_of_user
        } else {
            self.slab[previous].next_of_user = session.next_of_user;
            first
        };
        let freed = &mut self.slab[at];
        freed.logins = Logins::default();
        freed.next_of_user = self.first_free;
        self.first_free = at;
        new_first
    }
}

/// What somebody is who is both.
fn best(one: Status, other: Status) -> Status {
    match (one, other) {
        (Status::Online, _) | (_, Status::Online) => Status::Online,
        (Status::Away, _) | (_, Status::Away) => Status::Away,
        (Status::Offline, Status::Offline) => Status::Offline,
    }
}
