//! The entry points: what links did goes in, deliveries and events come out.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use thiserror::Error;

use crate::change::{Change, Effect, ListEntry, ReportedStatus, Restored, TableEntry};
use crate::event_log::{ChangeReason, Event};
use crate::fan_out::{Concern, FanOuter};
use crate::ids::{ClientType, LinkId, UserId};
use crate::links::{Links, Part, Phase};
use crate::notices;
use crate::outbox::{Course, HeldRun, Item, Outbox, Payload, Target};
use crate::sessions::{Linger, Logins, Sessions, Step, Summary};
use crate::settings::{FanOut, Settings};
use crate::succession::Successions;
use crate::view::Stats;

/// Whom an envelope concerns, by the table of commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience<'a> {
    /// Other links that hold one of these users.
    Users(&'a [u32]),
    /// Other links that have ever sent a list or an update.
    Reporters,
    /// All other links.
    Others,
    /// An unreadable body of a command that goes to the origin too: all other links; in broadcast mode, all links.
    UnparsedAll,
    /// All links with a session, the origin too.
    Sessions,
    /// All links.
    Everyone,
}

/// A link id that does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum LinkError {
    /// It was never opened, or it is closed.
    #[error("link {0} is not open")]
    Unknown(LinkId),
    /// It was opened before.
    #[error("link {0} is open already")]
    AlreadyOpen(LinkId),
}

/// Presence and routing state. See the crate's documentation for how it is used.
#[derive(Debug)]
pub struct Core {
    pub(crate) settings: Settings,
    pub(crate) links: Links,
    pub(crate) sessions: Sessions,
    pub(crate) seats: Vec<u32>,
    pub(crate) successions: Successions,
    /// There is a seat or a settling link, or was a moment ago.
    pub(crate) may_hold: bool,
    /// Ended links whose sessions are still to be removed.
    pub(crate) ending: VecDeque<u32>,
    fan_outer: FanOuter,
    pub(crate) outbox: Outbox,
    /// Of the last thing that was routed.
    pub(crate) position: u64,
    /// Gateways that may have links that are not known here.
    pub(crate) absent_gateways: HashSet<u64, RandomState>,
    pub(crate) stats: Stats,
}

impl Core {
    /// An empty state.
    pub fn new(settings: Settings) -> Self {
        Core::following(settings, 0)
    }

    /// An empty state whose positions come after `position`: after those of every node before it, so that what these could
    /// not deliver is known to be older.
    pub fn following(settings: Settings, position: u64) -> Self {
        Core {
            settings,
            links: Links::default(),
            sessions: Sessions::new(match settings.fan_out {
                FanOut::Directed => Linger::No,
                FanOut::Broadcast => Linger::UntilLast,
            }),
            seats: Vec::new(),
            successions: Successions::default(),
            may_hold: false,
            ending: VecDeque::new(),
            fan_outer: FanOuter::new(settings.fan_out),
            outbox: Outbox::default(),
            position,
            absent_gateways: HashSet::default(),
            stats: Stats::default(),
        }
    }

    /// Something was routed at this position by a predecessor: what is routed from now on comes after it.
    pub fn follow(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// Applies what a link did. `now` is the time since the node started, never going back. `sequence` is the entry's
    /// number on this link; the core keeps it, the caller checks it.
    ///
    /// # Errors
    ///
    /// [`LinkError::AlreadyOpen`] for a second `Opened`, [`LinkError::Unknown`] for anything else from a link that is
    /// not open. The state is as before then.
    pub fn apply(
        &mut self,
        now: Duration,
        id: LinkId,
        sequence: u64,
        change: Change<'_>,
        effect: Effect,
    ) -> Result<(), LinkError> {
        if let Change::Opened { peer, restored } = change {
            return self.open(now, id, sequence, peer, restored);
        }
        let slot = self.advance_sequence(id, sequence)?;
        match change {
            Change::Opened { .. } => {}
            Change::Table(entries) => self.restore(now, slot, entries),
            Change::List { entries, last } => {
                self.list(now, slot, entries, last);
                if last {
                    self.list_ends(now, slot, sequence, effect);
                }
            }
            Change::Update {
                user,
                client_type,
                status,
            } => self.update(now, slot, sequence, user, client_type, status, effect),
            Change::Role { claimed: true } => self.claim(now, slot, sequence, effect),
            Change::Role { claimed: false } => {}
            Change::Unreadable => {
                self.links[slot].reported = true;
                self.links.set_opaque(slot, true);
            }
            Change::Closed { reason } => self.close(now, slot, sequence, reason, effect),
        }
        Ok(())
    }

    /// Routes a PDU that a link sent. `read_at`: as in [`Perishable`](crate::outbox::Perishable).
    ///
    /// # Errors
    ///
    /// [`LinkError::Unknown`] if the link is not open.
    pub fn route(
        &mut self,
        id: LinkId,
        sequence: u64,
        command: u16,
        audience: Audience<'_>,
        pdu: Bytes,
        read_at: Option<i64>,
    ) -> Result<(), LinkError> {
        let slot = self.advance_sequence(id, sequence)?;
        self.outbox.event(Event::Envelope {
            origin: Some(id),
            command,
            pdu: pdu.clone(),
        });
        let item = Item {
            sequence,
            index: 0,
            payload: Payload::of_pdu(pdu, read_at),
        };
        let skipped = [Some(slot), self.stand_in(slot)];
        let targets = self.emit(id, skipped, Concern::Audience(audience), item);
        self.stats.without_target += u64::from(targets == 0);
        Ok(())
    }

    /// Notes that a link sent something that concerns nobody else (a query), so that its number is known.
    ///
    /// # Errors
    ///
    /// [`LinkError::Unknown`] if the link is not open.
    pub fn pass(&mut self, id: LinkId, sequence: u64) -> Result<(), LinkError> {
        self.advance_sequence(id, sequence).map(|_| ())
    }

    /// Routes a PDU that a service publishes; returns to how many links. `read_at`: as in
    /// [`Perishable`](crate::outbox::Perishable).
    pub fn publish(
        &mut self,
        command: u16,
        audience: Audience<'_>,
        pdu: Bytes,
        read_at: Option<i64>,
    ) -> usize {
        self.outbox.event(Event::Envelope {
            origin: None,
            command,
            pdu: pdu.clone(),
        });
        let item = Item {
            sequence: self.position + 1,
            index: 0,
            payload: Payload::of_pdu(pdu, read_at),
        };
        let targets = self.emit(LinkId::NODE, [None; 2], Concern::Audience(audience), item);
        self.stats.without_target += u64::from(targets == 0);
        targets
    }

    /// The stream of a gateway broke: its links stay, with their sessions, and are still delivered to.
    pub fn detach_gateway(&mut self, gateway: u64) {
        self.absent_gateways.insert(gateway);
        self.set_detached(gateway, true);
    }

    /// The gateway is there and has told everything that has happened, or it may be about to be lost.
    pub fn gateway_is_there(&mut self, gateway: u64, is_there: bool) {
        if is_there {
            self.absent_gateways.remove(&gateway);
        } else {
            self.absent_gateways.insert(gateway);
        }
    }

    /// The gateway is back.
    pub fn reattach_gateway(&mut self, gateway: u64) {
        self.set_detached(gateway, false);
    }

    /// What the last calls produced.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    // ---- what links do

    fn open(
        &mut self,
        now: Duration,
        id: LinkId,
        sequence: u64,
        peer: SocketAddr,
        restored: Option<Restored>,
    ) -> Result<(), LinkError> {
        if self.links.slot(id).is_some() {
            return Err(LinkError::AlreadyOpen(id));
        }
        let slot = self.links.insert(now, id, sequence, peer, restored);
        // Which part a claimed one plays is decided when its table is there.
        let decided = !self.links[slot].claimed || self.settings.fan_out == FanOut::Broadcast;
        self.sessions.add_link(slot, decided);
        if decided {
            self.links[slot].serves_from = self.position + 1;
            self.regroup(peer.ip());
        } else {
            self.links[slot].phase = Phase::Open(Part::Shadow);
        }
        Ok(())
    }

    fn advance_sequence(&mut self, id: LinkId, sequence: u64) -> Result<u32, LinkError> {
        let slot = self.links.slot(id).ok_or(LinkError::Unknown(id))?;
        let link = &mut self.links[slot];
        link.sequence = link.sequence.max(sequence);
        Ok(slot)
    }

    fn restore(&mut self, now: Duration, slot: u32, entries: &[TableEntry]) {
        for entry in entries {
            let logins = Logins {
                online: entry.online,
                away: entry.away,
                hidden: entry.hidden,
                left: 0,
            };
            self.step(
                now,
                slot,
                entry.user,
                entry.client_type,
                Step::Add(logins),
                ChangeReason::List,
            );
        }
        self.restored(now, slot);
    }

    fn list(&mut self, now: Duration, slot: u32, entries: &[ListEntry], last: bool) {
        let link = &mut self.links[slot];
        link.reported = true;
        let first_list = link.first_list;
        if first_list && !last {
            self.first_list_begins(slot);
        }
        for entry in entries {
            let one = match (entry.status, first_list) {
                (ReportedStatus::Online, _) => Step::Add(Logins {
                    online: 1,
                    ..Logins::default()
                }),
                (ReportedStatus::Away, _) => Step::Add(Logins {
                    away: 1,
                    ..Logins::default()
                }),
                (ReportedStatus::Offline, true) => Step::Add(Logins {
                    hidden: 1,
                    ..Logins::default()
                }),
                (ReportedStatus::Offline, false) => Step::Report(ReportedStatus::Offline),
            };
            self.step(
                now,
                slot,
                entry.user,
                entry.client_type,
                one,
                ChangeReason::List,
            );
            if !first_list && entry.status != ReportedStatus::Offline {
                self.end_twins(now, slot, entry.user, entry.client_type);
            }
        }
    }

    fn list_ends(&mut self, now: Duration, slot: u32, sequence: u64, effect: Effect) {
        self.links.set_opaque(slot, false);
        let link = &mut self.links[slot];
        link.reported = true;
        link.first_list = false;
        if !link.listed {
            link.listed = true;
            self.first_list_is_complete(now, slot, sequence, effect);
            if self.links.any_detached() {
                let listed = self.sessions.of_link(slot);
                let listed: Vec<_> = listed
                    .map(|(user, client_type, _)| (user, client_type))
                    .collect();
                for (user, client_type) in listed {
                    self.end_twins(now, slot, user, client_type);
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // one value each, named where it is called
    fn update(
        &mut self,
        now: Duration,
        slot: u32,
        sequence: u64,
        user: UserId,
        client_type: ClientType,
        status: ReportedStatus,
        effect: Effect,
    ) {
        self.links[slot].reported = true;
        let unseen = self.takes_hidden_login(slot, user, client_type, status);
        let mut after = self.step(
            now,
            slot,
            user,
            client_type,
            Step::Report(status),
            ChangeReason::Client,
        );
        if status != ReportedStatus::Offline {
            self.end_twins(now, slot, user, client_type);
            after = self.sessions.summary(user);
        }
        if effect == Effect::Notify && self.links[slot].is_active() && !unseen {
            let id = self.links[slot].id;
            let mut index = 0;
            let known = self.sessions.is_known(user);
            for notice in notices::after_update(user, client_type, status, known, after) {
                self.notify(id, sequence, &mut index, notice);
            }
        }
    }

    /// A hidden login never causes a notice, its end neither. In broadcast mode it does, for the C++ server does not know
    /// the client at all and tells everybody that it is gone.
    fn takes_hidden_login(
        &self,
        slot: u32,
        user: UserId,
        client_type: ClientType,
        status: ReportedStatus,
    ) -> bool {
        if status != ReportedStatus::Offline || self.settings.fan_out == FanOut::Broadcast {
            return false;
        }
        let logins = self.sessions.logins(slot, user, client_type);
        logins.visible() == 0 && logins.hidden > 0
    }

    /// Changes one session, tells subscribers if the user's summary changed, and returns it.
    fn step(
        &mut self,
        now: Duration,
        slot: u32,
        user: UserId,
        client_type: ClientType,
        step: Step,
        reason: ChangeReason,
    ) -> Summary {
        let since = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let (before, after) = self.sessions.step(slot, user, client_type, step, since);
        tell(&mut self.outbox, user, before, after, reason);
        after
    }

    /// A session that appears on a link ends its twin on a link of the same MsgServer whose gateway is away: that one will
    /// not tell when the client leaves, and would hide it.
    fn end_twins(&mut self, now: Duration, slot: u32, user: UserId, client_type: ClientType) {
        if !self.links.any_detached() || !self.links[slot].is_active() {
            return;
        }
        let (links, ip) = (&self.links, self.links[slot].peer.ip());
        let mut twins = Vec::new();
        self.sessions.holders(user, |other| {
            let link = &links[other];
            let is_twin = other != slot && link.detached && link.is_active();
            if is_twin && link.peer.ip() == ip && !twins.contains(&other) {
                twins.push(other);
            }
        });
        for twin in twins {
            let reason = ChangeReason::Client;
            self.step(now, twin, user, client_type, Step::Clear, reason);
        }
    }

    // ---- pieces that roles use too

    /// Routes one item to whom it concerns; returns to how many links and seats.
    pub(crate) fn emit(
        &mut self,
        origin: LinkId,
        skipped: [Option<u32>; 2],
        concern: Concern<'_>,
        item: Item,
    ) -> usize {
        self.position += 1;
        let position = self.position;
        let chosen =
            self.fan_outer
                .choose(&self.links, &self.seats, &self.sessions, skipped, concern);
        let links = &mut self.links;
        for slot in chosen {
            if let Some(held) = links[*slot].held() {
                let run = HeldRun {
                    origin,
                    position,
                    items: vec![item.clone()],
                };
                self.stats.seat_dropped += held.add(self.settings.seat_bytes, run);
            }
        }
        let direct = chosen.iter().filter_map(|slot| {
            let link = &links[*slot];
            (link.is_open() && link.settling.is_none()).then(|| Target::from(link.id))
        });
        self.outbox
            .deliver(origin, position, direct, item, Course::Direct);
        chosen.len()
    }

    /// Does a claimed link stand for a MsgServer at this address?
    pub fn is_claimed(&self, ip: IpAddr) -> bool {
        let mut group = self.links.group(ip).iter().map(|slot| &self.links[*slot]);
        group.any(|link| link.claimed && link.is_active())
    }

    /// Sends one notice; `index` counts those of one entry.
    pub(crate) fn notify(
        &mut self,
        origin: LinkId,
        sequence: u64,
        index: &mut u32,
        payload: Payload,
    ) {
        let concern = match &payload {
            Payload::DesktopLogin { user, .. } => Concern::DesktopLogin(*user),
            Payload::Status { .. } => Concern::Status,
            Payload::Pdu(_) | Payload::Perishable(_) => Concern::Audience(Audience::Everyone),
        };
        let item = Item {
            sequence,
            index: *index,
            payload,
        };
        *index += 1;
        self.emit(origin, [None; 2], concern, item);
    }

    fn set_detached(&mut self, gateway: u64, detached: bool) {
        let slots: Vec<u32> = self
            .links
            .of_gateway(gateway)
            .map(|(slot, _)| slot)
            .collect();
        for slot in slots {
            self.links.set_detached(slot, detached);
        }
    }
}

/// Events for subscribers, if the summary changed.
pub(crate) fn tell(
    outbox: &mut Outbox,
    user: UserId,
    before: Summary,
    after: Summary,
    reason: ChangeReason,
) {
    if before == after {
        return;
    }
    outbox.event(Event::StatusChanged {
        user,
        summary: after,
        reason,
    });
    if before.legacy_online != after.legacy_online {
        outbox.event(Event::DesktopLogin {
            user,
            on: after.legacy_online,
        });
    }
}
