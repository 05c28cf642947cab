//! Routing: from what concerns somebody to deliveries for links.

mod audience;
mod fan_out;
mod following;
mod notices;
mod targets;
mod untold;

use std::collections::BTreeSet;
use std::ops::Range;

use crate::change::ReportedStatus;
use crate::delivery::{Item, Payload, ReturnedRun};
use crate::ids::{LinkId, UserId};
use crate::output::Outputs;
use crate::presence::{Client, Presence};
use crate::routed::Way;
use crate::settings::FanOut;
use crate::succession::Successions;
pub use audience::Audience;
use fan_out::FanOuter;
pub use targets::{Recipients, Spared, Target, Why};
pub(crate) use untold::Untold;
use untold::Whom;

/// Finds out who gets something, and numbers what is routed.
#[derive(Debug)]
pub(crate) struct Router {
    fan_outer: FanOuter,
    /// Of the last thing that was routed.
    pub(crate) position: u64,
    /// What was routed up to here, earlier nodes routed.
    followed: u64,
    /// Envelopes that concerned nobody.
    pub(crate) without_target: u64,
}

impl Router {
    /// Positions come after this one.
    pub(crate) fn new(mode: FanOut, position: u64) -> Self {
        Router {
            fan_outer: FanOuter::new(mode),
            position,
            followed: position,
            without_target: 0,
        }
    }

    /// Something was routed at this position by an earlier node.
    pub(crate) fn follow(&mut self, position: u64) {
        if position > self.position {
            (self.position, self.followed) = (position, position);
        }
    }

    /// Was it an earlier node that routed at this position?
    pub(crate) fn is_earlier(&self, position: u64) -> bool {
        position <= self.followed
    }

    /// Where the next thing will be routed.
    pub(crate) fn next_position(&self) -> u64 {
        self.position + 1
    }
}

/// A router at work: among these, with this outcome.
#[derive(Debug)]
pub(crate) struct Routing<'a> {
    pub(crate) router: &'a mut Router,
    pub(crate) presence: &'a mut Presence,
    pub(crate) successions: &'a mut Successions,
    pub(crate) out: &'a mut Outputs,
    /// Set while notices wait.
    pub(crate) untold: &'a mut Option<Untold>,
}

/// To how many links something was routed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Routed {
    /// All of them, seats too.
    pub links: usize,
    /// For how many of these it is held.
    pub held: usize,
}

/// Where something went: how many links, and where in the outputs they stand.
#[derive(Debug)]
struct Emitted {
    links: usize,
    targets: Range<usize>,
    held: Range<usize>,
}

/// Names what an entry causes: each thing has the entry's number, and an index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause {
    pub(crate) origin: LinkId,
    pub(crate) sequence: u64,
    pub(crate) index: u32,
}

impl Cause {
    /// Nothing has been caused yet.
    pub(crate) fn entry(origin: LinkId, sequence: u64) -> Self {
        Cause {
            origin,
            sequence,
            index: 0,
        }
    }
}

impl Routing<'_> {
    /// Routes a PDU. `skipped`: links of its sender.
    pub(crate) fn envelope(
        &mut self,
        cause: Cause,
        skipped: [Option<u32>; 2],
        audience: Audience<'_>,
        payload: Payload,
    ) -> Routed {
        let Emitted {
            links,
            targets,
            held,
        } = self.emit(cause, skipped, audience, None, payload);
        let routed = Routed {
            links,
            held: held.len(),
        };
        let nobody = match links {
            0 => self.why_nobody(skipped, audience),
            _ => None,
        };
        self.router.without_target += u64::from(links == 0);
        self.out.ways.add(Way {
            event: self.out.event_count().saturating_sub(1),
            position: self.router.position,
            targets,
            held,
            unknown_users: self.router.fan_outer.unknown,
            nobody,
        });
        routed
    }

    /// Makes the notices that follow from what was reported of a client. The report is applied.
    pub(crate) fn notify(&mut self, cause: &mut Cause, client: Client, status: ReportedStatus) {
        if let Some(untold) = self.untold {
            untold.note(client.user, client.client_type.is_desktop(), self.out);
            return;
        }
        let sessions = &self.presence.sessions;
        let after = sessions.summary(client.user);
        let known = sessions.is_known(client.user);
        for notice in notices::after_update(client, status, known, after) {
            self.tell(cause, notice, None);
        }
    }

    /// Takes back deliveries of a link that is now closed, see [`Successions::returned`]. Notices of
    /// an earlier node may be older than what was told since: whoever stands for the link is told how
    /// things are instead, and nobody else.
    pub(crate) fn returned(&mut self, link: LinkId, run: ReturnedRun) {
        let Routing {
            router,
            presence,
            successions,
            out,
            untold,
        } = self;
        if !router.is_earlier(run.position) {
            successions.returned(link, run, presence, out);
            return;
        }
        let at_once = untold.is_none();
        let untold = untold.get_or_insert_default();
        for (position, item) in (run.position..).zip(run.items) {
            match &item.payload {
                Payload::DesktopLogin { user, .. } | Payload::Status { user, .. } => {
                    untold.note_unwritten(*user, link, out);
                }
                Payload::Pdu(_) | Payload::Perishable(_) => {
                    let one = ReturnedRun {
                        origin: run.origin,
                        position,
                        items: vec![item],
                        receipts: run.receipts.clone(),
                    };
                    successions.returned(link, one, presence, out);
                }
            }
        }
        while at_once && self.untold.is_some() {
            self.tell_next();
        }
    }

    /// Tells of the next user, as things are now.
    pub(crate) fn tell_next(&mut self) {
        let Some((user, subject)) = self.untold.as_mut().and_then(Untold::take_next) else {
            *self.untold = None;
            return;
        };
        let standing = self.standing_for(&subject.to);
        let receipts: Vec<_> = subject.receipts.into_iter().collect();
        let before = self.out.also_caused_by(&receipts);
        self.tell_state(user, subject.of_desktop, standing.as_ref());
        self.out.no_more(before);
    }

    /// Tells how things are with a user: everybody, or only these. `of_desktop`: a desktop client is
    /// concerned. Nobody's entry causes that, but the node.
    fn tell_state(&mut self, user: UserId, of_desktop: bool, only: Option<&BTreeSet<u32>>) {
        let sessions = &self.presence.sessions;
        let known = sessions
            .is_known(user)
            .then(|| sessions.summary(user).legacy_online);
        let status = sessions.desktop_status(user);
        let mut cause = Cause::entry(LinkId::NODE, self.router.next_position());
        for notice in notices::of_state(user, known, status, of_desktop) {
            self.tell(&mut cause, notice, only);
        }
    }

    /// All that has been done so far.
    pub(crate) fn work(&self) -> u64 {
        let (sessions, links) = (self.presence.sessions.work(), &self.presence.links.work);
        let all = [sessions, links, &self.successions.work, &self.out.work];
        all.iter().map(|work| work.done()).sum()
    }

    /// Slots of those that stand for closed links, if only they are to be told.
    fn standing_for(&self, whom: &Whom) -> Option<BTreeSet<u32>> {
        let Whom::Only(closed) = whom else {
            return None;
        };
        let links = &self.presence.links;
        let standing = |link: &LinkId| self.successions.stands_for(*link, links);
        Some(closed.iter().filter_map(standing).collect())
    }

    fn tell(&mut self, cause: &mut Cause, notice: Payload, only: Option<&BTreeSet<u32>>) {
        let user;
        let audience = match &notice {
            Payload::DesktopLogin { user: whose, .. } => {
                user = [whose.0];
                Audience::Users(&user)
            }
            Payload::Status { .. } | Payload::Pdu(_) | Payload::Perishable(_) => Audience::Desktops,
        };
        self.emit(*cause, [None; 2], audience, only, notice);
        cause.index += 1;
    }

    fn emit(
        &mut self,
        cause: Cause,
        skipped: [Option<u32>; 2],
        audience: Audience<'_>,
        only: Option<&BTreeSet<u32>>,
        payload: Payload,
    ) -> Emitted {
        self.router.position += 1;
        let (origin, position) = (cause.origin, self.router.position);
        let item = Item {
            sequence: cause.sequence,
            index: cause.index,
            payload,
        };
        let links = &self.presence.links;
        let fan_outer = &mut self.router.fan_outer;
        let chosen = fan_outer.choose(self.presence, self.successions, skipped, audience, only);
        if !self.successions.any() {
            let targets = chosen.iter().map(|slot| links[*slot].id);
            return Emitted {
                links: chosen.len(),
                targets: self.out.deliver(origin, position, targets, item),
                held: 0..0,
            };
        }
        let first_held = self.out.ways.held_end();
        for slot in chosen {
            if self.successions.holds(*slot) {
                let run = ReturnedRun {
                    origin,
                    position,
                    items: vec![item.clone()],
                    receipts: self.out.causes().to_vec(),
                };
                let dropped = self.successions.seat_dropped;
                let _ = self.successions.hold(*slot, run, self.presence, self.out);
                let full = self.successions.seat_dropped > dropped;
                self.out.ways.hold(links[*slot].id, full);
            }
        }
        let at_once = chosen.iter().filter(|slot| !self.successions.holds(**slot));
        let targets = at_once.map(|slot| links[*slot].id);
        Emitted {
            links: chosen.len(),
            targets: self.out.deliver(origin, position, targets, item),
            held: first_held..self.out.ways.held_end(),
        }
    }
}
