//! Routing: from what concerns somebody to deliveries for links.

mod audience;
mod fan_out;
mod notices;

use crate::change::ReportedStatus;
use crate::delivery::{Item, Payload, ReturnedRun, Target};
use crate::ids::LinkId;
use crate::output::Outputs;
use crate::presence::{Client, Presence};
use crate::settings::FanOut;
use crate::succession::Successions;
pub use audience::Audience;
pub(crate) use audience::Concern;
use fan_out::FanOuter;

/// Finds out who gets something, and numbers what is routed.
#[derive(Debug)]
pub(crate) struct Router {
    fan_outer: FanOuter,
    /// Of the last thing that was routed.
    pub(crate) position: u64,
    /// Envelopes that concerned nobody.
    pub(crate) without_target: u64,
}

impl Router {
    /// Positions come after this one.
    pub(crate) fn new(mode: FanOut, position: u64) -> Self {
        Router {
            fan_outer: FanOuter::new(mode),
            position,
            without_target: 0,
        }
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
    /// Routes a PDU; returns to how many links and seats. `skipped`: links of its sender.
    pub(crate) fn envelope(
        &mut self,
        cause: Cause,
        skipped: [Option<u32>; 2],
        audience: Audience<'_>,
        payload: Payload,
    ) -> usize {
        let concern = Concern::Audience(audience);
        let targets = self.emit(cause, skipped, concern, payload);
        self.router.without_target += u64::from(targets == 0);
        targets
    }

    /// Makes the notices that follow from what was reported of a client. The report is applied.
    pub(crate) fn notify(&mut self, cause: &mut Cause, client: Client, status: ReportedStatus) {
        let sessions = &self.presence.sessions;
        let after = sessions.summary(client.user);
        let known = sessions.is_known(client.user);
        for notice in notices::after_update(client, status, known, after) {
            let concern = match &notice {
                Payload::DesktopLogin { user, .. } => Concern::DesktopLogin(*user),
                Payload::Status { .. } => Concern::Status,
                Payload::Pdu(_) | Payload::Perishable(_) => Concern::Audience(Audience::Everyone),
            };
            self.emit(*cause, [None; 2], concern, notice);
            cause.index += 1;
        }
    }

    fn emit(
        &mut self,
        cause: Cause,
        skipped: [Option<u32>; 2],
        concern: Concern<'_>,
        payload: Payload,
    ) -> usize {
        self.router.position += 1;
        let (origin, position) = (cause.origin, self.router.position);
        let item = Item {
            sequence: cause.sequence,
            index: cause.index,
            payload,
        };
        let links = &self.presence.links;
        let fan_outer = &mut self.router.fan_outer;
        let chosen = fan_outer.choose(self.presence, self.successions, skipped, concern);
        if !self.successions.any() {
            let targets = chosen.iter().map(|slot| Target::from(links[*slot].id));
            self.out.deliver(origin, position, targets, item);
            return chosen.len();
        }
        for slot in chosen {
            if self.successions.holds(*slot) {
                let run = ReturnedRun {
                    origin,
                    position,
                    items: vec![item.clone()],
                    receipts: self.out.causes().to_vec(),
                };
                self.successions.hold(*slot, run);
            }
        }
        let at_once = chosen.iter().filter(|slot| !self.successions.holds(**slot));
        let targets = at_once.map(|slot| Target::from(links[*slot].id));
        self.out.deliver(origin, position, targets, item);
        chosen.len()
    }
}
