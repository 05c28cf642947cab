//! The records of the table, in a slab, and the two lists in which each stands.

use super::{Logins, Status, Summary};
use crate::ids::ClientType;

/// End of a list; also the most sessions that the table can hold.
pub(super) const NIL: u32 = (1 << 31) - 1;

#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) user: u32,
    /// Slot of the link; meaningless in a free record.
    pub(super) link: u32,
    /// In a free record: the next free one.
    pub(super) next_of_user: u32,
    pub(super) prev_of_link: u32,
    pub(super) next_of_link: u32,
    /// Seconds since the node started.
    pub(super) since: u32,
    pub(super) logins: Logins,
    pub(super) client_type: u8,
    /// The link reported a visible login and has not taken away what was the user's last one. See [`Linger`](super::Linger).
    pub(super) brought: bool,
}

/// A user's first session, and whether some shown session is a visible desktop login: all that a status query needs.
#[derive(Clone, Copy)]
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
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) first: u32,
    pub(super) sessions: u32,
    pub(super) desktop: u32,
    pub(super) shown: bool,
}

impl Held {
    pub(super) const NOTHING: Held = Held {
        first: NIL,
        sessions: 0,
        desktop: 0,
        shown: false,
    };
}

/// What a user is whose list of sessions begins here.
pub(super) fn summary(slab: &[Session], links: &[Held], first: u32) -> Summary {
    let (mut online, mut away, mut desktop) = (false, false, false);
    let mut at = first;
    while at != NIL {
        let session = &slab[at as usize];
        if links[session.link as usize].shown {
            online |= session.logins.online > 0;
            away |= session.logins.absent() > 0;
            desktop |= session.logins.visible() > 0 && ClientType(session.client_type).is_desktop();
        }
        at = session.next_of_user;
    }
    let status = match (online, away) {
        (true, _) => Status::Online,
        (false, true) => Status::Away,
        (false, false) => Status::Offline,
    };
    Summary {
        status,
        legacy_online: desktop,
    }
}

/// Puts the record into the slab and at the head of its link's list.
pub(super) fn insert(
    slab: &mut Vec<Session>,
    links: &mut [Held],
    first_free: &mut u32,
    session: Session,
) -> u32 {
    let at = if *first_free == NIL {
        assert!(
            slab.len() < NIL as usize,
            "2^31 sessions are the most that a table holds"
        );
        slab.push(session);
        slab.len() as u32 - 1
    } else {
        let at = *first_free;
        *first_free = slab[at as usize].next_of_user;
        slab[at as usize] = session;
        at
    };
    if session.next_of_link != NIL {
        slab[session.next_of_link as usize].prev_of_link = at;
    }
    let held = &mut links[session.link as usize];
    held.first = at;
    held.sessions += 1;
    held.desktop += u32::from(ClientType(session.client_type).is_desktop());
    at
}

/// Takes the record out of both lists and frees it; returns the user's new first session.
pub(super) fn remove(
    slab: &mut [Session],
    links: &mut [Held],
    first_free: &mut u32,
    first: u32,
    previous: u32,
    at: u32,
) -> u32 {
    let session = slab[at as usize];
    let held = &mut links[session.link as usize];
    held.sessions -= 1;
    held.desktop -= u32::from(ClientType(session.client_type).is_desktop());
    if session.prev_of_link == NIL {
        held.first = session.next_of_link;
    } else {
        slab[session.prev_of_link as usize].next_of_link = session.next_of_link;
    }
    if session.next_of_link != NIL {
        slab[session.next_of_link as usize].prev_of_link = session.prev_of_link;
    }
    let new_first = if previous == NIL {
        session.next_of_user
    } else {
        slab[previous as usize].next_of_user = session.next_of_user;
        first
    };
    let freed = &mut slab[at as usize];
    freed.logins = Logins::default();
    freed.next_of_user = *first_free;
    *first_free = at;
    new_first
}
