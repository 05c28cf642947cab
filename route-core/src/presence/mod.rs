//! Presence: the links, what each holds, and which of them are seen.
//!
//! A link that is active is *shown*: its sessions count. Whatever changes a user's summary tells
//! subscribers.

mod lagging;
mod logins;
mod records;
mod roll;
mod session;
mod sessions;
mod slab;
mod users;

use std::sync::Arc;
use std::time::Duration;

use crate::change::{CloseReason, ListEntry, ReportedStatus, TableEntry};
use crate::event_log::{ChangeReason, PresenceChange};
use crate::ids::{ClientType, UserId};
use crate::links::{Link, Links};
use crate::output::Outputs;
use crate::settings::Settings;
use crate::status::LinkView;
pub(crate) use lagging::Follow;
use lagging::Lagging;
pub(crate) use logins::Logins;
use logins::Step;
pub use records::MAX_SESSIONS_OF_USER;
pub use roll::{Counted, Counts};
use sessions::Became;
pub(crate) use sessions::{Held, Sessions};

/// A user's clients of one type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Client {
    pub(crate) user: UserId,
    pub(crate) client_type: ClientType,
}

/// Who is where, and who is seen.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) links: Links,
    pub(crate) sessions: Sessions,
    lagging: Lagging,
}

impl Presence {
    pub(crate) fn new(settings: Settings) -> Self {
        Presence {
            links: Links::default(),
            sessions: Sessions::new(settings),
            lagging: Lagging::default(),
        }
    }

    /// Adds a link that holds nothing.
    pub(crate) fn open(&mut self, link: Link) -> u32 {
        // One that had claimed will most probably be: then it is seen as its table comes.
        let shown = link.is_active() || link.is_claimed();
        let seen_as = LinkView {
            id: link.id,
            peer: link.peer,
            msg_server: link.identity().to_string(),
        };
        let slot = self.links.insert(link);
        self.sessions.add_link(slot, shown, Arc::new(seen_as));
        slot
    }

    /// Adds a part of a table.
    pub(crate) fn restore(
        &mut self,
        now: Duration,
        slot: u32,
        entries: &[TableEntry],
        out: &mut Outputs,
    ) {
        for entry in entries {
            let client = Client {
                user: entry.user,
                client_type: entry.client_type,
            };
            let step = Step::Restore(Logins {
                online: entry.online,
                away: entry.away,
                hidden: entry.hidden,
                left: 0,
            });
            self.step(now, slot, client, step, ChangeReason::Listed, out);
        }
    }

    /// Adds a part of a list. What it says of clients that are offline depends on whether it is the
    /// link's first one.
    pub(crate) fn list(
        &mut self,
        now: Duration,
        slot: u32,
        entries: &[ListEntry],
        out: &mut Outputs,
    ) {
        let is_first = !self.links[slot].is_listed();
        for entry in entries {
            let client = Client {
                user: entry.user,
                client_type: entry.client_type,
            };
            let is_offline = entry.status == ReportedStatus::Offline;
            let step = if is_offline && !is_first {
                Step::Report(entry.status)
            } else {
                Step::Add(Logins {
                    online: (entry.status == ReportedStatus::Online).into(),
                    away: (entry.status == ReportedStatus::Away).into(),
                    hidden: is_offline.into(),
                    left: 0,
                })
            };
            self.step(now, slot, client, step, ChangeReason::Listed, out);
            if !is_first && !is_offline {
                self.end_twins(now, slot, client, out);
            }
        }
    }

    /// A client came, went, left or came back.
    pub(crate) fn report(
        &mut self,
        now: Duration,
        slot: u32,
        client: Client,
        status: ReportedStatus,
        out: &mut Outputs,
    ) {
        let reason = reported(self.sessions.logins(slot, client), status);
        let step = Step::Report(status);
        self.step(now, slot, client, step, reason, out);
        if status != ReportedStatus::Offline {
            self.end_twins(now, slot, client, out);
        }
    }

    /// Removes up to `budget` sessions of a link that has ended. True while there are more.
    /// Whose last visible desktop login that was is added to `vanished`.
    pub(crate) fn remove_some(
        &mut self,
        slot: u32,
        budget: usize,
        ended: CloseReason,
        vanished: &mut Vec<UserId>,
        out: &mut Outputs,
    ) -> bool {
        let reason = match ended {
            CloseReason::Peer
            | CloseReason::Drain
            | CloseReason::BadFrame
            | CloseReason::SlowReader
            | CloseReason::Requested => ChangeReason::LinkClosed,
            CloseReason::TimedOut => ChangeReason::TimedOut,
            CloseReason::GatewayLost => ChangeReason::GatewayLost,
        };
        self.sessions
            .remove_some(slot, budget, |sessions, user, became| {
                tell(sessions, user, became, reason, out);
                if became.before.legacy_online && !became.after.legacy_online {
                    vanished.push(user);
                }
            })
    }

    /// A session that appears on a link ends its twin on a seat, or a link whose gateway is away, of
    /// the same MsgServer: that one will not tell when the client leaves, and would hide it.
    fn end_twins(&mut self, now: Duration, slot: u32, client: Client, out: &mut Outputs) {
        let links = &self.links;
        if !links[slot].is_active() {
            return;
        }
        let is_twin = |other: &u32| links.is_mute(*other) && links.are_kin(slot, *other);
        // A link that holds several client types of the user comes several times.
        let twins: Vec<u32> = self.sessions.holders(client.user).filter(is_twin).collect();
        for twin in twins {
            self.step(now, twin, client, Step::Clear, ChangeReason::Standing, out);
        }
    }

    /// Changes one session, and tells subscribers if the user's presence changed.
    fn step(
        &mut self,
        now: Duration,
        slot: u32,
        client: Client,
        step: Step,
        reason: ChangeReason,
        out: &mut Outputs,
    ) {
        let since = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let held = self.sessions.held_by(slot);
        let Some(became) = self.sessions.step(slot, client, step, since) else {
            self.links.overflows(slot);
            return;
        };
        let holds = self.sessions.held_by(slot);
        if holds != held && self.links.counts(slot) {
            for other in self.sessions.holders_of(client) {
                let is_there = other != slot && !self.links[other].has_ended();
                if is_there && self.links.count(slot, other) {
                    self.links.share(slot, other, holds > held);
                }
            }
        }
        tell(&self.sessions, client.user, became, reason, out);
    }
}

/// What a report means, of a client whose logins were these.
fn reported(before: Logins, status: ReportedStatus) -> ChangeReason {
    match status {
        ReportedStatus::Online if before.absent() > 0 => ChangeReason::Back,
        ReportedStatus::Away if before.online > 0 => ChangeReason::Away,
        ReportedStatus::Online | ReportedStatus::Away => ChangeReason::Login,
        ReportedStatus::Offline => ChangeReason::Logout,
    }
}

/// Tells subscribers what became of a user, if that is another presence than before.
fn tell(
    sessions: &Sessions,
    user: UserId,
    became: Became,
    reason: ChangeReason,
    out: &mut Outputs,
) {
    if !became.is_a_change() {
        return;
    }
    let seen: Vec<_> = sessions.seen(user).collect();
    out.changed(PresenceChange {
        user,
        before: became.before,
        after: became.after,
        sessions: (!seen.is_empty()).then(|| seen.into()),
        reason,
    });
}
