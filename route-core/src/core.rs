//! The entry points: what links did goes in, outputs come out.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::change::{Change, Effect, ReportedStatus};
use crate::delivery::{Payload, ReturnedRun, Taken};
use crate::ending::Ending;
use crate::event_log::Event;
use crate::ids::{Command, LinkId};
use crate::links::{Link, Part, Reach};
use crate::output::{Answer, Outputs};
use crate::presence::{Client, Presence};
use crate::receipt::Receipt;
use crate::routed::RoutedEnvelope;
use crate::routing::{Audience, Cause, Routed, Router, Routing, Untold};
use crate::settings::{FanOut, Settings};
use crate::standing::parts::{Lost, Parts};
use crate::standing::strangers::look_for_double;
use crate::succession::Successions;
use crate::view::View;

/// Presence and routing state. It is changed by transactions, and seen through a view.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    presence: Presence,
    successions: Successions,
    router: Router,
    ending: Ending,
    /// Links of lost gateways.
    lost: VecDeque<Lost>,
    /// Set while notices wait.
    untold: Option<Untold>,
    /// Empty between transactions; keeps its memory.
    outputs: Outputs,
    /// Steps that may still be taken at once of what is done piece by piece.
    at_once: u64,
}

impl Core {
    /// An empty state.
    pub fn new(settings: Settings) -> Self {
        Core::following(settings, 0)
    }

    /// An empty state whose positions come after `position`: after those of every node before it,
    /// so that what these could not deliver is known to be older.
    pub fn following(settings: Settings, position: u64) -> Self {
        Core {
            settings,
            presence: Presence::new(settings),
            successions: Successions::new(settings.seat_bytes),
            router: Router::new(settings.fan_out, position),
            ending: Ending::new(settings.notify_on_loss),
            lost: VecDeque::new(),
            untold: None,
            outputs: Outputs::default(),
            at_once: 0,
        }
    }

    /// Begins a change. `now` is the time since the node started, never going back.
    pub fn transaction(&mut self, now: Duration) -> Transaction<'_> {
        self.at_once = self.settings.at_once;
        Transaction { core: self, now }
    }

    /// What can be seen.
    pub fn view(&self) -> View<'_> {
        let caused = &self.outputs.work;
        View::new(&self.presence, &self.successions, &self.router, caused)
    }
}

/// A change of the core, by any number of calls, and what they produced. Outputs that are not
/// drained before it is dropped are forgotten.
#[derive(Debug)]
pub struct Transaction<'a> {
    core: &'a mut Core,
    now: Duration,
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

impl Transaction<'_> {
    /// What the following calls cause, and what that causes later, carries copies of this receipt.
    /// At first there is none.
    pub fn under(&mut self, receipt: Option<Receipt>) {
        self.core.outputs.caused_by(receipt);
    }

    /// What the calls so far have produced.
    pub fn outputs(&mut self) -> &mut Outputs {
        &mut self.core.outputs
    }

    /// Where the envelopes went that the calls so far have routed, in order, while their events are among
    /// the outputs.
    pub fn routed(&self) -> impl Iterator<Item = RoutedEnvelope<'_>> {
        self.core.outputs.routed()
    }

    /// The caller has done so much itself, as [`View::work`] counts.
    pub fn has_done(&self, steps: usize) {
        self.core.outputs.work.steps(steps);
    }

    /// The gateway of this link was lost before it had taken so many deliveries for it, the first at this position.
    pub fn lost_with_gateway(&mut self, link: LinkId, from: u64, deliveries: u64) {
        let core = &mut *self.core;
        core.successions
            .lost_with_gateway(link, from, deliveries, &mut core.outputs);
    }

    /// What can be seen, with what has been done so far.
    pub fn view(&self) -> View<'_> {
        self.core.view()
    }

    /// Applies what a link did. `sequence` is the entry's number on this link; the core keeps it,
    /// the caller checks it.
    ///
    /// # Errors
    ///
    /// [`LinkError::AlreadyOpen`] for a second `Opened`, [`LinkError::Unknown`] for anything else
    /// from a link that is not open. The state is as before then.
    pub fn apply(
        &mut self,
        id: LinkId,
        sequence: u64,
        change: Change<'_>,
        effect: Effect,
    ) -> Result<(), LinkError> {
        if let Change::Opened { peer, restored } = change {
            if self.core.presence.links.slot(id).is_some() {
                return Err(LinkError::AlreadyOpen(id));
            }
            let link = Link::new(id, sequence, peer, self.now, restored);
            self.parts().open(link);
            return Ok(());
        }
        let slot = self.entry(id, sequence)?;
        self.routing().align_all(change.users());
        let (now, core) = (self.now, &mut *self.core);
        match change {
            Change::Opened { .. } => {}
            Change::Succeeds { predecessors } => {
                let from = core.router.next_position();
                core.presence.links[slot].succeeds(predecessors.iter().copied());
                for before in predecessors {
                    core.successions.record(*before, id, from);
                }
            }
            Change::Table { entries, last } => {
                core.presence.restore(now, slot, entries, &mut core.outputs);
                if last {
                    self.parts().restored(slot);
                }
            }
            Change::List { entries, last } => {
                core.presence.links[slot].reports();
                core.presence.list(now, slot, entries, &mut core.outputs);
                if last && core.presence.links.list_ends(slot) {
                    self.parts().first_list_is_complete(slot, effect);
                    let core = &mut *self.core;
                    look_for_double(&core.presence, slot, &mut core.outputs);
                    core.presence.end_all_twins(now, slot);
                } else {
                    self.parts().updated(slot);
                }
            }
            Change::Update {
                user,
                client_type,
                status,
            } => {
                let client = Client { user, client_type };
                self.update(slot, Cause::entry(id, sequence), client, status, effect);
            }
            Change::Role { claimed: true } => self.parts().claim(slot, effect),
            Change::Role { claimed: false } => {}
            Change::Unreadable => {
                core.presence.links[slot].reports();
                self.parts().unreadable(slot);
            }
            Change::Silence { silent } => self.parts().silence(slot, silent),
            Change::Closed { reason } => self.parts().close(slot, reason, effect),
        }
        self.parts().tell_overflown();
        self.proceed_at_once();
        Ok(())
    }

    /// Routes a PDU that a link sent. `read_at`: as in [`Perishable`](crate::Perishable).
    ///
    /// # Errors
    ///
    /// [`LinkError::Unknown`] if the link is not open.
    pub fn route(
        &mut self,
        id: LinkId,
        sequence: u64,
        command: Command,
        audience: Audience<'_>,
        pdu: Bytes,
        read_at: Option<i64>,
    ) -> Result<(), LinkError> {
        let slot = self.entry(id, sequence)?;
        self.core.outputs.event(Event::Envelope {
            origin: Some(self.core.presence.sessions.link(slot)),
            command,
            pdu: pdu.clone(),
        });
        let cause = Cause::entry(id, sequence);
        let stand_in = self.stand_in(slot);
        let payload = Payload::of_pdu(pdu, read_at);
        self.routing()
            .envelope(cause, [Some(slot), stand_in], audience, payload);
        Ok(())
    }

    /// Routes a PDU that a service publishes. `read_at`: as in [`Perishable`](crate::Perishable).
    pub fn publish(
        &mut self,
        command: Command,
        audience: Audience<'_>,
        pdu: Bytes,
        read_at: Option<i64>,
    ) -> Routed {
        self.core.outputs.event(Event::Envelope {
            origin: None,
            command,
            pdu: pdu.clone(),
        });
        let cause = Cause::entry(LinkId::NODE, self.core.router.next_position());
        let payload = Payload::of_pdu(pdu, read_at);
        self.routing().envelope(cause, [None; 2], audience, payload)
    }

    /// Answers a query, as [`View::legacy_online_for`] has found it out.
    pub fn answer(&mut self, link: LinkId, sequence: u64, online: Vec<bool>) {
        self.core.outputs.answer(Answer {
            link,
            sequence,
            online,
        });
    }

    /// Notes that a link sent something that changes nothing, so that its number is known.
    ///
    /// # Errors
    ///
    /// [`LinkError::Unknown`] if the link is not open.
    pub fn pass(&mut self, id: LinkId, sequence: u64) -> Result<(), LinkError> {
        self.entry(id, sequence).map(|_| ())
    }

    /// Takes back deliveries that could not be written to a link that is now closed: its seat holds
    /// them, or its successor gets what it has not got by itself. Notices of an earlier node are
    /// dropped, and their users told of as things are.
    pub fn returned(&mut self, link: LinkId, run: ReturnedRun) {
        self.routing().returned(link, run);
    }

    /// Everything that could not be written to this closed link has come back, and this is what was
    /// written to it: its successor is told, and gets what waited for that.
    pub fn all_returned(&mut self, link: LinkId, taken: Vec<Taken>) {
        let core = &mut *self.core;
        let links = &core.presence.links;
        core.successions
            .all_returned(link, taken, links, &mut core.outputs);
        self.proceed_at_once();
    }

    /// A gateway can be reached in another way than before.
    pub fn set_reach(&mut self, gateway: u64, reach: Reach) {
        let links = &mut self.core.presence.links;
        let was_absent = links.reach.is_absent(gateway);
        links.reach.set(gateway, reach);
        if was_absent && reach == Reach::Here {
            self.parts().doubt_anew();
        }
    }

    /// A gateway will not come back: its links end.
    pub fn lose_gateway(&mut self, gateway: u64) {
        self.parts().lose_gateway(gateway);
        self.proceed_at_once();
    }

    /// Something was routed at this position by an earlier node: what is routed from now on comes
    /// after it.
    pub fn follow(&mut self, position: u64) {
        self.core.router.follow(position);
    }

    /// Notices state, they do not narrate: from now on, until everything is [told](Self::tell), in this
    /// transaction or a later one, it is noted whom they would be about.
    pub fn postpone_notices(&mut self) {
        self.core.untold.get_or_insert_default();
    }

    /// Tells, once, of each user whom postponed notices would have been about, as things are now. Stops
    /// when [so much](View::work) has been done; true while there are more.
    pub fn tell(&mut self, until: u64) -> bool {
        if self.routing().align_some(until) {
            return true;
        }
        while self.core.untold.is_some() {
            if self.view().work() >= until {
                return true;
            }
            self.routing().tell_next();
        }
        false
    }

    /// The node is being stopped, and so is the gateway of its links: users of links that end from now
    /// on stay as they are, for nobody is to be told of a stop.
    pub fn keep_ended(&mut self) {
        self.core.ending.keep();
    }

    /// Ends what is due: seats without a successor, and waiting for returns that do not come.
    pub fn advance(&mut self) {
        self.parts().advance();
        self.proceed_at_once();
    }

    /// Goes on with what is done piece by piece: the ends of links, what heirs get, users that follow
    /// their links. Stops when [so much](View::work) has been done; true while there is more.
    pub fn proceed(&mut self, until: u64) -> bool {
        let mut parts = self.parts();
        if parts.lose_some(until) {
            return true;
        }
        let Parts {
            ending, routing, ..
        } = &mut parts;
        routing.pass_on(until) || routing.align_some(until) || ending.reap(routing, until)
    }

    /// There is something to [proceed](Self::proceed) with.
    pub fn goes_on(&self) -> bool {
        let core = &*self.core;
        let passes_on = core.successions.any_complete();
        !core.lost.is_empty() || passes_on || core.presence.is_lagging() || core.ending.any()
    }

    /// If that is not much, all of it is done in the transaction that has begun it.
    fn proceed_at_once(&mut self) {
        if self.goes_on() {
            let before = self.view().work();
            self.proceed(before + self.core.at_once);
            let steps = self.view().work() - before;
            self.core.at_once = self.core.at_once.saturating_sub(steps);
        }
    }

    fn entry(&mut self, id: LinkId, sequence: u64) -> Result<u32, LinkError> {
        let links = &mut self.core.presence.links;
        let slot = links.slot(id).ok_or(LinkError::Unknown(id))?;
        links[slot].sequence = links[slot].sequence.max(sequence);
        links[slot].acted = self.now;
        Ok(slot)
    }

    fn update(
        &mut self,
        slot: u32,
        mut cause: Cause,
        client: Client,
        status: ReportedStatus,
        effect: Effect,
    ) {
        let core = &mut *self.core;
        let presence = &mut core.presence;
        presence.links[slot].reports();
        // A hidden login never causes a notice, its end neither. In broadcast mode it does, for the
        // C++ server does not know the client at all and tells everybody that it is gone.
        let directed = core.settings.fan_out == FanOut::Directed;
        let is_hidden = || {
            let logins = presence.sessions.logins(slot, client);
            logins.visible() == 0 && logins.hidden > 0
        };
        let unseen = directed && status == ReportedStatus::Offline && is_hidden();
        presence.report(self.now, slot, client, status, &mut core.outputs);
        // Of what a new node applies, it does not matter on which link it came.
        let shows = presence.links[slot].is_active() || core.untold.is_some();
        if effect == Effect::Notify && shows && !unseen {
            self.routing().notify(&mut cause, client, status);
        }
        self.parts().updated(slot);
    }

    /// Another link of the same MsgServer, that receives for this one.
    pub(crate) fn stand_in(&mut self, slot: u32) -> Option<u32> {
        let links = &self.core.presence.links;
        let heir = match links[slot].part() {
            Some(Part::Shadow) => self.core.successions.stands_for(links[slot].id, links),
            Some(Part::Active | Part::Waiting { .. }) | None => None,
        };
        heir.or_else(|| self.parts().standing().partner(slot))
    }

    /// The slot of an open link.
    pub(crate) fn slot(&self, id: LinkId) -> Option<u32> {
        self.core.presence.links.slot(id)
    }

    pub(crate) fn routing(&mut self) -> Routing<'_> {
        self.parts().routing
    }

    fn parts(&mut self) -> Parts<'_> {
        let core = &mut *self.core;
        Parts {
            now: self.now,
            settings: core.settings,
            ending: &mut core.ending,
            lost: &mut core.lost,
            routing: Routing {
                router: &mut core.router,
                presence: &mut core.presence,
                successions: &mut core.successions,
                out: &mut core.outputs,
                untold: &mut core.untold,
            },
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        self.core.outputs.clear();
    }
}
