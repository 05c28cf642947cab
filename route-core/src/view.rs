//! What can be seen from outside: users, links, numbers for metrics. Nothing here changes anything.

use std::net::SocketAddr;
use std::time::Duration;

use crate::core::Core;
use crate::ids::{LinkId, UserId};
use crate::links::{Link, Part, Phase};
use crate::sessions::{SessionState, SessionView, Status, Summary};

/// Numbers for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Open links.
    pub links: usize,
    /// Open links that have claimed.
    pub claimed: usize,
    /// Open links for which another one stands.
    pub shadows: usize,
    /// Open links whose gateway is detached.
    pub detached: usize,
    /// Seats that wait for a claim.
    pub seats: usize,
    /// Open links that wait for what could not be written to their predecessors.
    pub settling: usize,
    /// Users with a session, hidden or shadow ones included.
    pub users: usize,
    /// Sessions, likewise.
    pub sessions: usize,
    /// Deliveries held at seats and for successors, bytes.
    pub held_bytes: usize,
    /// Since the start: envelopes whose audience was empty.
    pub without_target: u64,
    /// Since the start: deliveries dropped because a seat was full, or ended without a successor.
    pub seat_dropped: u64,
    /// Since the start: returned deliveries without a successor to get them.
    pub returned_dropped: u64,
    /// Since the start: links that inherited from a closed one.
    pub successions: u64,
}

/// One link, for operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkView {
    /// Its name.
    pub id: LinkId,
    /// Its MsgServer.
    pub peer: SocketAddr,
    /// It has claimed.
    pub claimed: bool,
    /// It receives, its sessions are presence.
    pub active: bool,
    /// It has sent a list or an update.
    pub reported: bool,
    /// Its table cannot be trusted, so it gets everything.
    pub opaque: bool,
    /// Its gateway's stream is broken.
    pub detached: bool,
    /// Sessions it holds.
    pub sessions: u32,
    /// Since the node started.
    pub opened: Duration,
}

impl Core {
    /// The legacy rule: does the user have any visible desktop login, away or not?
    pub fn legacy_online(&self, user: UserId) -> bool {
        self.sessions.legacy_online(user)
    }

    /// The same for many users, as the given link may see it: `answer` gets one value an id, in order. A link sees every
    /// update of its own, even while another one stands in for it.
    pub fn legacy_online_for(&self, link: LinkId, users: &[u32], mut answer: impl FnMut(bool)) {
        let slot = self.links.slot(link);
        match slot.and_then(|slot| Some((slot, self.links[slot].part()?))) {
            Some((slot, Part::Waiting { stand_in })) => {
                for user in users {
                    answer(
                        self.sessions
                            .legacy_online_as_if(UserId(*user), stand_in, slot),
                    );
                }
            }
            Some((_, Part::Active | Part::Shadow)) | None => {
                for user in users {
                    answer(self.sessions.legacy_online(UserId(*user)));
                }
            }
        }
    }

    /// Everything about one user.
    pub fn user(&self, user: UserId) -> UserView<'_> {
        UserView { core: self, user }
    }

    /// Visits the users of up to `max` session records from `cursor` (0 at first) on, and returns where to go on. A user
    /// may be visited more than once; one who comes meanwhile may be left out.
    pub fn scan_users(
        &self,
        cursor: usize,
        max: usize,
        visit: impl FnMut(UserId, Summary),
    ) -> Option<usize> {
        self.sessions.scan(cursor, max, visit)
    }

    /// Numbers for metrics. Costs a walk over the links.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            seats: self.seats.len(),
            users: self.sessions.users(),
            sessions: self.sessions.sessions(),
            ..self.stats
        };
        for (_, link) in self.links.all() {
            stats.held_bytes += link.holds().map_or(0, |(held, _)| held.bytes);
            match &link.phase {
                Phase::Open(part) => {
                    stats.links += 1;
                    stats.claimed += usize::from(link.claimed);
                    stats.shadows += usize::from(*part == Part::Shadow);
                    stats.detached += usize::from(link.detached);
                    stats.settling += usize::from(link.settling.is_some());
                }
                Phase::Seat(_) | Phase::Ended => {}
            }
        }
        stats
    }

    /// Open links, by gateway and number.
    pub fn links(&self) -> impl Iterator<Item = LinkView> + '_ {
        self.links
            .in_order()
            .map(|(slot, link)| self.view(slot, link))
    }

    /// One open link.
    pub fn link(&self, id: LinkId) -> Option<LinkView> {
        let slot = self.links.slot(id)?;
        Some(self.view(slot, &self.links[slot]))
    }

    fn view(&self, slot: u32, link: &Link) -> LinkView {
        LinkView {
            id: link.id,
            peer: link.peer,
            claimed: link.claimed,
            active: link.is_active(),
            reported: link.reported,
            opaque: link.opaque,
            detached: link.detached,
            sessions: self.sessions.held_by(slot),
            opened: link.opened,
        }
    }
}

/// One user's presence.
#[derive(Clone, Copy, Debug)]
pub struct UserView<'a> {
    core: &'a Core,
    user: UserId,
}

impl<'a> UserView<'a> {
    /// Status by both rules.
    pub fn summary(&self) -> Summary {
        self.core.sessions.summary(self.user)
    }

    /// Status by all visible sessions.
    pub fn status(&self) -> Status {
        self.summary().status
    }

    /// Status as legacy clients see it.
    pub fn legacy_online(&self) -> bool {
        self.core.sessions.legacy_online(self.user)
    }

    /// The visible sessions, newest first.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView> + use<'a> {
        let core = self.core;
        core.sessions
            .visible(self.user)
            .map(move |(slot, client_type, logins, since)| {
                let link = &core.links[slot];
                SessionView {
                    client_type,
                    state: if logins.online > 0 {
                        SessionState::Online
                    } else {
                        SessionState::Away
                    },
                    link: link.id,
                    peer: link.peer,
                    logins: logins.visible(),
                    since: Duration::from_secs(since.into()),
                }
            })
    }
}
