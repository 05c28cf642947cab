//! Presence: the links, what each holds, and which of them are seen.
//!
//! A link that is active is *shown*: its sessions count. Whatever changes a user's summary tells
//! subscribers.

mod logins;
mod records;
mod sessions;

use std::time::Duration;

use crate::change::{CloseReason, ListEntry, ReportedStatus, TableEntry};
use crate::event_log::ChangeReason;
use crate::ids::{ClientType, UserId};
use crate::links::{Link, Links, Part, Phase};
use crate::output::Outputs;
pub(crate) use logins::Logins;
use logins::Step;
pub(crate) use sessions::Sessions;

/// A user's clients of one type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Client {
    pub(crate) user: UserId,
    pub(crate) client_type: ClientType,
}

/// Whether a link whose own logins of a user are gone may still make the user known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Linger {
    /// A session without logins is removed.
    No,
    /// As in the C++ server: a link that took its last login of a user away while another link
    /// still had one stays a holder of the user, until it closes or takes away what is then the
    /// last login of all. Only 0x070e asks.
    UntilLast,
}

/// Who is where, and who is seen.
#[derive(Debug)]
pub(crate) struct Presence {
    pub(crate) links: Links,
    pub(crate) sessions: Sessions,
}

impl Presence {
    pub(crate) fn new(linger: Linger) -> Self {
        Presence {
            links: Links::default(),
            sessions: Sessions::new(linger),
        }
    }

    /// Adds a link that holds nothing.
    pub(crate) fn open(&mut self, link: Link) -> u32 {
        let shown = link.is_active();
        let slot = self.links.insert(link);
        self.sessions.add_link(slot, shown);
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
            let step = Step::Add(Logins {
                online: entry.online,
                away: entry.away,
                hidden: entry.hidden,
                left: 0,
            });
            self.step(now, slot, client, step, ChangeReason::List, out);
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
            let mut one = Logins::default();
            let step = match entry.status {
                ReportedStatus::Online => {
                    one.online = 1;
                    Step::Add(one)
                }
                ReportedStatus::Away => {
                    one.away = 1;
                    Step::Add(one)
                }
                ReportedStatus::Offline if is_first => {
                    one.hidden = 1;
                    Step::Add(one)
                }
                ReportedStatus::Offline => Step::Report(ReportedStatus::Offline),
            };
            self.step(now, slot, client, step, ChangeReason::List, out);
            if !is_first && entry.status != ReportedStatus::Offline {
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
        let step = Step::Report(status);
        self.step(now, slot, client, step, ChangeReason::Client, out);
        if status != ReportedStatus::Offline {
            self.end_twins(now, slot, client, out);
        }
    }

    /// Ends the twins of everything that the link holds.
    pub(crate) fn end_all_twins(&mut self, now: Duration, slot: u32, out: &mut Outputs) {
        if self.links.reach.any_away() {
            let held = self.sessions.of_link(slot);
            let held: Vec<_> = held.map(|(client, _)| client).collect();
            for client in held {
                self.end_twins(now, slot, client, out);
            }
        }
    }

    /// The link plays this part from now on; what is routed from `position` on reaches it, if it is
    /// active. `reason`: why its users are seen.
    pub(crate) fn activate(
        &mut self,
        slot: u32,
        position: u64,
        reason: ChangeReason,
        out: &mut Outputs,
    ) {
        if !self.links[slot].is_active() {
            self.swap(None, Some(slot), reason, out);
        }
        let link = &mut self.links[slot];
        link.phase = Phase::Open(Part::Active);
        link.serves_from = position;
    }

    /// Another link, or a seat, stands for the link's MsgServer from now on.
    pub(crate) fn step_back(&mut self, slot: u32, part: Part, out: &mut Outputs) {
        debug_assert_ne!(part, Part::Active);
        if self.links[slot].is_active() {
            self.swap(Some(slot), None, ChangeReason::Role, out);
        }
        self.links[slot].phase = Phase::Open(part);
    }

    /// Hides the one and shows the other, in one step, so that nobody is gone in between.
    pub(crate) fn swap(
        &mut self,
        hide: Option<u32>,
        show: Option<u32>,
        reason: ChangeReason,
        out: &mut Outputs,
    ) {
        self.sessions.swap_shown(hide, show, |user, before, after| {
            out.changed(user, before, after, reason);
        });
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
            CloseReason::GatewayLost => ChangeReason::GatewayLost,
            CloseReason::Peer
            | CloseReason::Idle
            | CloseReason::BadFrame
            | CloseReason::SlowReader
            | CloseReason::Drain
            | CloseReason::Requested => ChangeReason::LinkClosed,
        };
        self.sessions
            .remove_some(slot, budget, |user, before, after| {
                out.changed(user, before, after, reason);
                if before.legacy_online && !after.legacy_online {
                    vanished.push(user);
                }
            })
    }

    /// A session that appears on a link ends its twin on a link of the same MsgServer whose gateway
    /// is away: that one will not tell when the client leaves, and would hide it.
    fn end_twins(&mut self, now: Duration, slot: u32, client: Client, out: &mut Outputs) {
        let links = &self.links;
        if !links.reach.any_away() || !links[slot].is_active() {
            return;
        }
        let ip = links[slot].peer.ip();
        let is_twin = |other: &u32| {
            let link = &links[*other];
            let serves = link.is_active() && link.peer.ip() == ip;
            *other != slot && serves && links.is_detached(*other)
        };
        // A link that holds several client types of the user comes several times.
        let twins: Vec<u32> = self.sessions.holders(client.user).filter(is_twin).collect();
        for twin in twins {
            self.step(now, twin, client, Step::Clear, ChangeReason::Client, out);
        }
    }

    /// Changes one session, and tells subscribers if the user's summary changed.
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
        let (before, after) = self.sessions.step(slot, client, step, since);
        out.changed(client.user, before, after, reason);
    }
}
