//! From a gateway's batch to the core: each entry is checked, numbered and applied, once.
//!
//! Runs under the node's lock, for a whole batch at a time.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use route_core::{
    Change, CloseReason, Command, Effect, LinkId, Peer, Receipt, Restored, Transaction, UserId,
};
use route_proto::attach::cost;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    CloseReason as WireReason, Envelope, LinkOpened, Returned, SessionTable, SessionUpdate,
    StatusQuery, UplinkEntry,
};

use crate::clock::micros;
use crate::gateways::Gateway;
use crate::gateways::clock_offset::signed;
use crate::gateways::entry::{self, kind};
use crate::gateways::queries::{OpenQueries, OpenQuery};
use crate::gateways::queue::Retention;
use crate::gateways::sequences::Step;
use crate::gateways::unfinished::{Content, Unfinished, unlike_sequences};
use crate::gateways::wire::{
    read_client_type, read_peer, read_predecessors, read_run, read_status, read_taken,
};
use crate::refusal::Refusal;
use crate::trace::Traced;

/// By how much the comparison of clocks may err, microseconds, many times over.
const CLOCKS_ERR_BY: i64 = 1_000_000;

/// What one batch did, for metrics, for its confirmation and for the node's chores.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Entries that were applied.
    pub(crate) applied: u64,
    /// Entries that had been applied before.
    pub(crate) repeated: u64,
    /// PDUs among the applied entries.
    pub(crate) envelopes: u64,
    /// User ids that queries asked for.
    pub(crate) asked: u64,
    /// Links or their roles changed: sessions may have to be freed, seats to be ended in time.
    pub(crate) links_changed: bool,
    /// Links that have been closed.
    pub(crate) ended: Vec<u64>,
    /// What was applied and is to be confirmed, bytes (about).
    pub(crate) bytes: usize,
}

/// Applies entries of one gateway in order, until so much has been done; the others stay. Stops at the first one that
/// breaks the protocol; what came before it stays applied. Queries are answered in their place, or kept in `later`.
///
/// What has begun is finished first. True while something that has begun, or an entry, is left.
pub(crate) fn apply(
    batch: &mut Batch<'_, '_>,
    incarnation: u64,
    entries: &mut VecDeque<UplinkEntry>,
) -> Result<bool, Refusal> {
    loop {
        if batch.finish()? {
            return Ok(true);
        }
        if entries.is_empty() {
            return Ok(false);
        }
        if batch.core.view().work() >= batch.until {
            return Ok(true);
        }
        if let Some(entry) = entries.pop_front() {
            batch.core.has_done(1);
            batch.entry(incarnation, entry)?;
        }
    }
}

/// What applying one batch needs.
pub(crate) struct Batch<'a, 'c> {
    pub(crate) core: &'a mut Transaction<'c>,
    pub(crate) now: Duration,
    pub(crate) gateway: &'a mut Gateway,
    pub(crate) later: Option<&'a mut OpenQueries>,
    pub(crate) traced: &'a mut Traced,
    /// Of everything that it causes.
    pub(crate) receipt: &'a Receipt,
    /// It stops when so much has been done.
    pub(crate) until: u64,
    pub(crate) effects: Effects,
    /// Of the present entry.
    pub(crate) effect: Effect,
}

impl Batch<'_, '_> {
    /// Goes on with what has begun. True while there is more of it.
    fn finish(&mut self) -> Result<bool, Refusal> {
        if let Some(unfinished) = &mut self.gateway.unfinished {
            let dialect = &self.gateway.hello.spoken.dialect;
            let more = unfinished.proceed(self.core, dialect, self.until);
            self.core.under(Some(self.receipt.clone()));
            // One that cannot be is not begun again.
            if !matches!(more, Ok(true)) {
                self.gateway.unfinished = None;
            }
            if more? {
                return Ok(true);
            }
        }
        let answering = &mut self.gateway.answering;
        Ok(answering.answer(self.core, self.traced, self.until))
    }

    /// From here on the entry is applied piece by piece.
    fn begin(&mut self, link: LinkId, sequence: u64, effect: Effect, content: Content) {
        let receipt = self.receipt.clone();
        let unfinished = Unfinished::new((link, sequence), effect, content, receipt);
        self.gateway.unfinished = Some(unfinished);
        self.effects.links_changed = true;
    }

    fn entry(&mut self, gateway: u64, entry: UplinkEntry) -> Result<(), Refusal> {
        let (number, sequence) = (entry.link, entry.sequence);
        let Some(entry) = entry.entry else {
            let problem = format!("entry {sequence} of link {number} is of an unknown kind");
            return Err(Refusal::field("entries.entry", problem));
        };
        let step = self
            .gateway
            .sequences
            .step(number, sequence, kind(&entry))?;
        match step {
            Step::Ignore => {
                self.effects.repeated += 1;
                return Ok(());
            }
            Step::Apply => {
                self.effects.applied += 1;
                self.effects.bytes += cost(&entry);
            }
        }
        let link = LinkId::new(gateway, number);
        self.effect = if self.gateway.has_seen(number, sequence) {
            Effect::Silent
        } else {
            Effect::Notify
        };
        match entry {
            Entry::Opened(opened) => self.opened(link, sequence, &opened),
            Entry::Closed(closed) => {
                self.effects.ended.push(number);
                let reason = match closed.reason() {
                    WireReason::Idle => CloseReason::TimedOut,
                    WireReason::Drain => CloseReason::Drain,
                    WireReason::BadFrame => CloseReason::BadFrame,
                    WireReason::SlowReader => CloseReason::SlowReader,
                    WireReason::Requested => CloseReason::Requested,
                    // Why it has closed, a newer gateway may say in a word that is not known here.
                    WireReason::Unspecified | WireReason::Peer => CloseReason::Peer,
                };
                self.change(link, sequence, Change::Closed { reason }, self.effect)
            }
            Entry::Table(part) => self.table(link, sequence, part),
            Entry::List(list) => {
                self.begin(link, sequence, self.effect, Content::List(list));
                Ok(())
            }
            Entry::Update(update) => self.update(link, sequence, update),
            Entry::Role(role) => {
                let claimed = role.claimed;
                self.change(link, sequence, Change::Role { claimed }, self.effect)
            }
            Entry::Query(query) => self.query(link, sequence, query),
            Entry::Envelope(envelope) => self.envelope(link, sequence, &envelope),
            Entry::Unreadable(_) => self.change(link, sequence, Change::Unreadable, self.effect),
            Entry::Silence(report) => {
                let silent = report.silent;
                self.change(link, sequence, Change::Silence { silent }, self.effect)
            }
            Entry::Returned(returned) => self.given_back(link, returned),
        }
    }

    fn given_back(&mut self, link: LinkId, returned: Returned) -> Result<(), Refusal> {
        self.core.has_done(returned.taken.len());
        let news = self.effect == Effect::Notify;
        let (clock, pdu_limit) = (self.gateway.clock, self.gateway.pdu_limit);
        for run in returned.runs {
            let run = read_run(link, run, clock, pdu_limit)?;
            if news {
                self.core.returned(link, run);
            }
        }
        let taken = returned.taken.iter().map(read_taken);
        let taken = taken.collect::<Result<_, _>>()?;
        if returned.last {
            self.core.all_returned(link, taken);
        }
        Ok(())
    }

    fn opened(&mut self, link: LinkId, sequence: u64, opened: &LinkOpened) -> Result<(), Refusal> {
        let peer = read_peer(link, opened)?;
        let Some(restored) = &opened.restored else {
            let restored = None;
            return self.change(
                link,
                sequence,
                Change::Opened { peer, restored },
                self.effect,
            );
        };
        let claimed_at = self.past_moment(restored.claimed_at_micros);
        let predecessors = read_predecessors(restored)?;
        let restored = Restored {
            opened_at: self.moment(opened.opened_at_micros),
            claimed_at: restored.claimed.then_some(claimed_at),
            reported: restored.reported,
            listed: restored.listed,
            opaque: restored.opaque,
            silent: restored.silent,
        };
        let replays = &mut self.gateway.replays;
        replays.begin(link.number, peer, restored, predecessors);
        Ok(())
    }

    fn table(&mut self, link: LinkId, sequence: u64, part: SessionTable) -> Result<(), Refusal> {
        let Some(whole) = self.gateway.replays.add(link.number, part) else {
            return Ok(());
        };
        let opened = Change::Opened {
            peer: Peer {
                address: whole.peer,
                msg_server: whole.msg_server.as_deref(),
            },
            restored: Some(whole.restored),
        };
        self.change(link, sequence, opened, Effect::Silent)?;
        let succeeds = Change::Succeeds {
            predecessors: &whole.predecessors,
        };
        self.change(link, sequence, succeeds, Effect::Silent)?;
        self.begin(link, sequence, Effect::Silent, Content::Table(whole.parts));
        Ok(())
    }

    fn update(
        &mut self,
        link: LinkId,
        sequence: u64,
        update: SessionUpdate,
    ) -> Result<(), Refusal> {
        let dialect = &self.gateway.spoken().dialect;
        let change = Change::Update {
            user: UserId(update.user_id),
            client_type: read_client_type(
                "entries.update.client_type",
                link,
                dialect,
                update.client_type,
            )?,
            status: read_status("entries.update.status", link, update.status)?,
        };
        self.change(link, sequence, change, self.effect)
    }

    fn query(&mut self, link: LinkId, sequence: u64, query: StatusQuery) -> Result<(), Refusal> {
        self.core.pass(link, sequence).map_err(unlike_sequences)?;
        self.effects.asked += query.user_ids.len() as u64;
        let open = OpenQuery {
            link,
            sequence,
            query,
        };
        match &mut self.later {
            Some(later) => later.push(open),
            None => self.gateway.answering.push(open),
        }
        Ok(())
    }

    fn envelope(
        &mut self,
        link: LinkId,
        sequence: u64,
        envelope: &Envelope,
    ) -> Result<(), Refusal> {
        let (header, audience) = entry::read_envelope(link, envelope, self.gateway.pdu_limit)?;
        if self.effect == Effect::Silent {
            return self.core.pass(link, sequence).map_err(unlike_sequences);
        }
        self.effects.envelopes += 1;
        let command = Command {
            id: header.command,
            dialect: self.gateway.spoken().number,
        };
        self.traced
            .route(link, sequence, envelope.traceparent.clone());
        let read_at = match envelope.read_at_micros {
            0 => None,
            read_at => Some(self.moment(read_at)),
        };
        let pdu = match self.gateway.retention {
            // It is a part of what one message brought, and would keep all of that in memory.
            Retention::UntilTaken => Bytes::copy_from_slice(&envelope.pdu),
            Retention::None => envelope.pdu.clone(),
        };
        let routed = self
            .core
            .route(link, sequence, command, audience, pdu, read_at);
        routed.map_err(unlike_sequences)
    }

    /// The same of a moment that decides something: one that is still to come is none, and older than all others.
    fn past_moment(&self, gateway_micros: u64) -> i64 {
        let moment = self.gateway.clock.node_micros(signed(gateway_micros));
        match moment > micros(self.now).saturating_add(CLOCKS_ERR_BY) {
            true => i64::MIN,
            false => moment.min(micros(self.now)),
        }
    }

    /// A moment of the gateway's clock, by the node's. Not after its message has arrived, whatever is known of that clock.
    fn moment(&self, gateway_micros: u64) -> i64 {
        let moment = self.gateway.clock.node_micros(signed(gateway_micros));
        moment.min(micros(self.now))
    }

    fn change(
        &mut self,
        link: LinkId,
        sequence: u64,
        change: Change<'_>,
        effect: Effect,
    ) -> Result<(), Refusal> {
        // A status is no more than that; everything else may decide which link stands for a
        // MsgServer.
        self.effects.links_changed |= !matches!(change, Change::Update { .. });
        let applied = self.core.apply(link, sequence, change, effect);
        applied.map_err(unlike_sequences)
    }
}
