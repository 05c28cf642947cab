//! From a gateway's batch to the core: each entry is checked, numbered and applied, once.
//!
//! Runs under the node's lock, for a whole batch at a time.

use std::time::Duration;

use bytes::Bytes;
use route_core::memory::allocated;
use route_core::{
    Audience, Change, CloseReason, Command, Effect, LinkError, LinkId, ListEntry, Peer, Restored,
    TableEntry, Transaction, UserId,
};
use route_proto::attach::cost;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    AudienceScope, CloseReason as WireReason, Envelope, LinkOpened, Returned, SessionList,
    SessionState, SessionTable, SessionUpdate, StatusQuery, UplinkEntry,
};

use crate::clock::micros;
use crate::gateways::Gateway;
use crate::gateways::check;
use crate::gateways::clock_offset::signed;
use crate::gateways::entry::kind;
use crate::gateways::queue::Retention;
use crate::gateways::sequences::Step;
use crate::gateways::wire::{read_client_type, read_peer, read_run, read_status, read_taken};
use crate::refusal::Refusal;
use crate::trace::Traced;

/// Marks of one closed link: of each link that may have written to it.
const MAX_MARKS: usize = 65_536;

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

/// Queries whose answers have to wait.
#[derive(Debug, Default)]
pub(crate) struct OpenQueries {
    all: Vec<OpenQuery>,
    bytes: usize,
}

impl OpenQueries {
    fn push(&mut self, open: OpenQuery) {
        let query = &open.query;
        self.bytes += size_of::<OpenQuery>()
            + allocated(query.user_ids.capacity() * size_of::<u32>())
            + allocated(query.traceparent.capacity());
        self.all.push(open);
    }

    /// In order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OpenQuery> {
        self.all.iter()
    }

    /// What they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A query whose answer has to wait.
#[derive(Debug)]
pub(crate) struct OpenQuery {
    link: LinkId,
    sequence: u64,
    query: StatusQuery,
}

/// Applies the entries of one gateway in order. Stops at the first one that breaks the protocol;
/// what came before it stays applied. Queries are answered in their place, or kept in `later`.
#[allow(clippy::too_many_arguments)] // what one transaction consists of
pub(crate) fn apply(
    core: &mut Transaction<'_>,
    now: Duration,
    incarnation: u64,
    gateway: &mut Gateway,
    entries: Vec<UplinkEntry>,
    later: Option<&mut OpenQueries>,
    traced: &mut Traced,
) -> (Effects, Result<(), Refusal>) {
    let mut batch = Batch {
        core,
        now,
        gateway,
        later,
        traced,
        effects: Effects::default(),
        effect: Effect::Notify,
    };
    for entry in entries {
        if let Err(refusal) = batch.entry(incarnation, entry) {
            return (batch.effects, Err(refusal));
        }
    }
    (batch.effects, Ok(()))
}

/// Answers a query as things are now.
pub(crate) fn answer(core: &mut Transaction<'_>, open: &OpenQuery, traced: &mut Traced) {
    let OpenQuery {
        link,
        sequence,
        query,
    } = open;
    traced.answer(*link, *sequence, query.traceparent.clone());
    core.query(*link, *sequence, &query.user_ids);
}

/// What applying one batch needs.
struct Batch<'a, 'c> {
    core: &'a mut Transaction<'c>,
    now: Duration,
    gateway: &'a mut Gateway,
    later: Option<&'a mut OpenQueries>,
    traced: &'a mut Traced,
    effects: Effects,
    /// Of the present entry.
    effect: Effect,
}

impl Batch<'_, '_> {
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
                // Why it has closed, a newer gateway may say in a word that is not known here.
                let reason = if closed.reason() == WireReason::Idle {
                    CloseReason::TimedOut
                } else {
                    CloseReason::Peer
                };
                self.change(link, sequence, Change::Closed { reason }, self.effect)
            }
            Entry::Table(part) => self.table(link, sequence, &part),
            Entry::List(list) => self.list(link, sequence, &list),
            Entry::Update(update) => self.update(link, sequence, update),
            Entry::Role(role) => {
                let claimed = role.claimed;
                self.change(link, sequence, Change::Role { claimed }, self.effect)
            }
            Entry::Query(query) => self.query(link, sequence, query),
            Entry::Envelope(envelope) => self.envelope(link, sequence, envelope),
            Entry::Unreadable(_) => self.change(link, sequence, Change::Unreadable, self.effect),
            Entry::Silence(report) => {
                let silent = report.silent;
                self.change(link, sequence, Change::Silence { silent }, self.effect)
            }
            Entry::Returned(returned) => self.given_back(link, returned),
        }
    }

    fn given_back(&mut self, link: LinkId, returned: Returned) -> Result<(), Refusal> {
        let news = self.effect == Effect::Notify;
        let (clock, pdu_limit) = (self.gateway.clock, self.gateway.pdu_limit);
        for run in returned.runs {
            let run = read_run(link, run, clock, pdu_limit)?;
            if news {
                self.core.returned(link, run);
            }
        }
        check::length("entries.returned.taken", returned.taken.len(), MAX_MARKS)?;
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
        let claimed_at = self.moment(restored.claimed_at_micros);
        let restored = Restored {
            claimed_at: restored.claimed.then_some(claimed_at),
            reported: restored.reported,
            listed: restored.listed,
            opaque: restored.opaque,
            silent: restored.silent,
        };
        self.gateway.replays.begin(link.number, peer, restored);
        Ok(())
    }

    fn table(&mut self, link: LinkId, sequence: u64, part: &SessionTable) -> Result<(), Refusal> {
        let rows = part.user_ids.len();
        check_lengths(
            "entries.table",
            link,
            [
                rows,
                part.client_types.len(),
                part.states.len(),
                part.logins.len(),
            ],
        )?;
        let dialect = &self.gateway.spoken().dialect;
        let mut entries = Vec::with_capacity(rows);
        for row in 0..rows {
            let logins = u16::try_from(part.logins[row]).map_err(|_| {
                let problem = format!("link {link}: more than 65535 logins");
                Refusal::field("entries.table.logins", problem)
            })?;
            let mut entry = TableEntry {
                user: UserId(part.user_ids[row]),
                client_type: read_client_type(
                    "entries.table.client_types",
                    link,
                    dialect,
                    part.client_types[row],
                )?,
                online: 0,
                away: 0,
                hidden: 0,
            };
            match SessionState::try_from(part.states[row]) {
                Ok(SessionState::Online) => entry.online = logins,
                Ok(SessionState::Away) => entry.away = logins,
                Ok(SessionState::Hidden) => entry.hidden = logins,
                Ok(SessionState::Unspecified) | Err(_) => {
                    let problem = format!("link {link}: a session in an unknown state");
                    return Err(Refusal::field("entries.table.states", problem));
                }
            }
            entries.push(entry);
        }
        let replays = &mut self.gateway.replays;
        let Some(whole) = replays.add(link.number, entries, part.last) else {
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
        let table = Change::Table(&whole.entries);
        self.change(link, sequence, table, Effect::Silent)
    }

    fn list(&mut self, link: LinkId, sequence: u64, list: &SessionList) -> Result<(), Refusal> {
        check_lengths(
            "entries.list",
            link,
            [
                list.user_ids.len(),
                list.client_types.len(),
                list.statuses.len(),
            ],
        )?;
        let dialect = &self.gateway.spoken().dialect;
        let columns = list.client_types.iter().zip(&list.statuses);
        let rows = list.user_ids.iter().zip(columns);
        let entries = rows
            .map(|(&user, (&client, &status))| {
                Ok(ListEntry {
                    user: UserId(user),
                    client_type: read_client_type(
                        "entries.list.client_types",
                        link,
                        dialect,
                        client,
                    )?,
                    status: read_status("entries.list.statuses", link, status)?,
                })
            })
            .collect::<Result<Vec<_>, Refusal>>()?;
        let change = Change::List {
            entries: &entries,
            last: list.last,
        };
        self.change(link, sequence, change, self.effect)
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
        check::traceparent("entries.query.traceparent", &query.traceparent)?;
        self.core.pass(link, sequence).map_err(unlike_sequences)?;
        self.effects.asked += query.user_ids.len() as u64;
        let open = OpenQuery {
            link,
            sequence,
            query,
        };
        match &mut self.later {
            Some(later) => later.push(open),
            None => answer(self.core, &open, self.traced),
        }
        Ok(())
    }

    fn envelope(&mut self, link: LinkId, sequence: u64, envelope: Envelope) -> Result<(), Refusal> {
        check::traceparent("entries.envelope.traceparent", &envelope.traceparent)?;
        let pdu_limit = self.gateway.pdu_limit;
        let header = check::pdu("entries.envelope.pdu", &envelope.pdu, pdu_limit)?;
        // Each is named in the PDU.
        let (users, most) = (envelope.user_ids.len(), envelope.pdu.len());
        check::length("entries.envelope.user_ids", users, most)?;
        if u32::from(header.command) != envelope.command {
            let problem = format!("link {link}: the PDU's header has another one");
            return Err(Refusal::field("entries.envelope.command", problem));
        }
        if self.effect == Effect::Silent {
            return self.core.pass(link, sequence).map_err(unlike_sequences);
        }
        self.effects.envelopes += 1;
        let command = Command {
            id: header.command,
            dialect: self.gateway.spoken().number,
        };
        let audience = match envelope.scope() {
            AudienceScope::Users => Audience::Users(&envelope.user_ids),
            AudienceScope::Reporters => Audience::Reporters,
            AudienceScope::Others => Audience::Others,
            AudienceScope::UnparsedAll => Audience::UnparsedAll,
            AudienceScope::Sessions => Audience::Sessions,
            AudienceScope::Unspecified => {
                let problem = format!("link {link}: an unknown one");
                return Err(Refusal::field("entries.envelope.scope", problem));
            }
        };
        self.traced.route(link, sequence, envelope.traceparent);
        let read_at = match envelope.read_at_micros {
            0 => None,
            read_at => Some(self.moment(read_at)),
        };
        let pdu = match self.gateway.retention {
            // It is a part of what one message brought, and would keep all of that in memory.
            Retention::UntilTaken => Bytes::copy_from_slice(&envelope.pdu),
            Retention::None => envelope.pdu,
        };
        let routed = self
            .core
            .route(link, sequence, command, audience, pdu, read_at);
        routed.map_err(unlike_sequences)
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

fn check_lengths<const N: usize>(
    field: &'static str,
    link: LinkId,
    columns: [usize; N],
) -> Result<(), Refusal> {
    if columns.iter().all(|length| *length == columns[0]) {
        return Ok(());
    }
    let problem = format!("link {link}: columns of unequal lengths {columns:?}");
    Err(Refusal::field(field, problem))
}

/// `Sequences` and the core agree about which links are open.
fn unlike_sequences(error: LinkError) -> Refusal {
    debug_assert!(false, "{error}");
    Refusal::protocol(error.to_string())
}
