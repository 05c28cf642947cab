//! What one link has done and its node has not confirmed.
//!
//! Everything that goes up for a link gets its sequence number here. Until the node confirms it, it is kept, so that it
//! can be sent again; what is confirmed moves into the link's [`Table`]. A node that has lost everything is told the
//! table, as of the *cut*, and then what came after the cut, with the same numbers as before.
//!
//! The cut stays before a query that nobody has answered, and before the end of a link that has not given back
//! everything yet, for a new node has to be told of both.
//!
//! In an embedded gateway nobody can come back and ask: of entries only byte counts are kept ([`Keep::Counts`]), and the
//! table is as of the last entry, for people.

use std::collections::VecDeque;
use std::time::Duration;

use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{LinkId, LinkOpened, ReportedStatus, StatusQuery, UplinkEntry};
use route_proto::attach::{ENTRY_COST, cost};

use crate::clock::micros;
use crate::once::old_kicks::{CLOCKS_ERR, OldKick};
use crate::once::recent_logins::RecentLogins;
use crate::pdu::deed::{Deed, OpenQuery};
use crate::pdu::kick::Clients;
use crate::unconfirmed::table::Table;

/// The way of a link's entries is measured at most so often: often enough, and it costs nothing.
const MEASURED_EVERY: Duration = Duration::from_millis(100);

/// Embedded: entries up to this cost share one record.
const COUNTED_TOGETHER: usize = 64 << 10;

/// Whether unconfirmed entries can be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Two processes.
    Contents,
    /// One process.
    Counts,
}

/// An entry whose way is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Its legacy command.
    pub command: u32,
    /// When it was read, since the gateway started.
    pub read_at: Duration,
    sequence: u64,
}

/// See [`Ledger::summary`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// It has said that it is its MsgServer's primary one.
    pub claimed: bool,
    /// Clients of one type of one user count as one.
    pub sessions: usize,
}

/// What a link's MsgServer has done and the node has not confirmed.
#[derive(Debug)]
pub struct Owed {
    /// Whose.
    pub link: u64,
    /// How it began.
    pub opened: LinkOpened,
    /// What it is.
    pub was: Summary,
    /// How much, at least one.
    pub entries: usize,
}

impl Owed {
    /// Of those links that have any.
    pub fn of_all<'a>(ledgers: impl Iterator<Item = &'a Ledger>) -> Vec<Self> {
        ledgers.filter_map(Self::of).collect()
    }

    fn of(ledger: &Ledger) -> Option<Self> {
        let entries = ledger.owed();
        (entries > 0).then(|| Owed {
            link: ledger.link,
            opened: ledger.opened.clone(),
            was: ledger.summary(),
            entries,
        })
    }
}

/// One link's entries.
#[derive(Debug)]
pub struct Ledger {
    link: u64,
    keep: Keep,
    opened: LinkOpened,
    /// Number of the last entry.
    last: u64,
    /// The node has confirmed so far.
    confirmed: u64,
    /// The table is as of this; the window begins after it.
    cut: u64,
    window: VecDeque<Kept>,
    /// Of the window and the open queries.
    bytes: usize,
    queries: VecDeque<(u64, OpenQuery)>,
    table: Table,
    claimed: bool,
    closed: Option<u64>,
    /// Nothing more will be given back.
    gave_last: bool,
    /// What is being measured.
    timing: Option<Timing>,
    /// When measuring began the last time.
    measured_at: Option<Duration>,
    logins: RecentLogins,
}

#[derive(Debug)]
struct Kept {
    /// Number of the entry; of the last one, if several are counted together.
    sequence: u64,
    cost: usize,
    /// When it was read, microseconds since the gateway started.
    read_at: u64,
    /// `None` when only counting.
    entry: Option<Entry>,
}

impl Ledger {
    /// Begins with the link's first entry, which it returns. `now` is the time since the gateway started, here and below.
    pub fn open(now: Duration, link: u64, keep: Keep, opened: LinkOpened) -> (Self, UplinkEntry) {
        let mut ledger = Ledger {
            link,
            keep,
            opened: opened.clone(),
            last: 0,
            confirmed: 0,
            cut: 0,
            window: VecDeque::new(),
            bytes: 0,
            queries: VecDeque::new(),
            table: Table::default(),
            claimed: false,
            closed: None,
            gave_last: false,
            timing: None,
            measured_at: None,
            logins: RecentLogins::default(),
        };
        let entry = ledger.record(now, Deed::Entry(Entry::Opened(opened)));
        (ledger, entry)
    }

    /// Numbers what the link did and keeps it. Returns it as it goes up.
    pub fn record(&mut self, now: Duration, deed: Deed) -> UplinkEntry {
        self.last += 1;
        let entry = match deed {
            Deed::Entry(entry) => entry,
            Deed::Query(query) => {
                let up = StatusQuery {
                    user_ids: query.user_ids.clone(),
                    traceparent: query.traceparent.clone(),
                };
                self.bytes += query_cost(&query);
                self.queries.push_back((self.last, query));
                Entry::Query(up)
            }
        };
        if let Entry::Closed(_) = entry {
            self.closed = Some(self.last);
            self.forget_queries();
        }
        if let Entry::Role(role) = &entry {
            self.claimed |= role.claimed;
        }
        if let Entry::Returned(returned) = &entry {
            self.gave_last |= returned.last;
        }
        if let Entry::Update(update) = &entry
            && update.status() == ReportedStatus::Online
        {
            let clients = Clients::like(update.user_id, update.client_type);
            self.logins.note(now, clients);
        }
        if self.keep == Keep::Counts {
            self.table.apply(&entry);
        }
        self.keep(now, &entry);
        UplinkEntry {
            link: self.link,
            sequence: self.last,
            entry: Some(entry),
            read_at_micros: 0,
        }
    }

    /// It has not ended.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// What the link has been so far, for people.
    pub fn summary(&self) -> Summary {
        let mut newer = self.window.iter().filter_map(|kept| kept.entry.as_ref());
        let sessions = match newer.next() {
            None => self.table.sessions(),
            Some(first) => {
                let mut table = self.table.clone();
                [first]
                    .into_iter()
                    .chain(newer)
                    .for_each(|entry| table.apply(entry));
                table.sessions()
            }
        };
        Summary {
            claimed: self.claimed,
            sessions,
        }
    }

    /// A session that this kick would end has begun after the kick was read.
    pub fn is_spared(&self, kick: OldKick) -> bool {
        self.logins
            .any_after(kick.clients, kick.read_at + CLOCKS_ERR)
    }

    /// The last entry was read then: its way is measured, if none was for a while.
    pub fn measure(&mut self, read_at: Duration, command: u32) {
        let due = |at: Duration| read_at.saturating_sub(at) >= MEASURED_EVERY;
        if self.timing.is_none() && self.measured_at.is_none_or(due) {
            self.measured_at = Some(read_at);
            self.timing = Some(Timing {
                command,
                read_at,
                sequence: self.last,
            });
        }
    }

    /// The node has taken over everything up to `sequence`. Less than before changes nothing. Returns what was measured
    /// and has come to its end.
    pub fn confirm(&mut self, sequence: u64) -> Option<Timing> {
        self.confirmed = self.confirmed.max(sequence.min(self.last));
        self.advance_cut();
        let confirmed = self.confirmed;
        self.timing.take_if(|timing| timing.sequence <= confirmed)
    }

    /// The query with this number, if it has not been answered: the first answer wins.
    pub fn answer(&mut self, sequence: u64) -> Option<OpenQuery> {
        let index = self
            .queries
            .binary_search_by_key(&sequence, |(number, _)| *number)
            .ok()?;
        let (_, query) = self.queries.remove(index)?;
        self.bytes -= query_cost(&query);
        self.advance_cut();
        Some(query)
    }

    /// Something that the link asked has not been answered.
    pub fn has_open_queries(&self) -> bool {
        !self.queries.is_empty()
    }

    /// Gives up queries that were read before `moment`. Returns how many.
    pub fn give_up_queries(&mut self, moment: Duration) -> usize {
        let mut given_up = 0;
        while let Some((sequence, query)) = self.queries.front()
            && query.asked_at < moment
        {
            self.answer(*sequence);
            given_up += 1;
        }
        given_up
    }

    /// The node has had the link take the place of these; the next node is told so.
    pub fn succeeds(&mut self, predecessors: Vec<LinkId>) {
        self.table.link.predecessors = predecessors;
    }

    /// The link has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Appends what a node needs that has `applied` entries up to this number, or knows nothing of the link; open queries
    /// in any case.
    ///
    /// Nothing if the ledger only counts.
    pub fn replay(&self, applied: Option<u64>, out: &mut Vec<UplinkEntry>) {
        let entry = |sequence, entry, read_at_micros| UplinkEntry {
            link: self.link,
            sequence,
            entry: Some(entry),
            read_at_micros,
        };
        if applied.is_none() && self.cut > 0 && self.keep == Keep::Contents {
            let opened = LinkOpened {
                restored: Some(self.table.link.clone()),
                ..self.opened.clone()
            };
            out.push(entry(self.cut, Entry::Opened(opened), 0));
            // An empty table has one empty part: the node has to know that there is no more of it.
            let parts = self.table.replay();
            let part = |part| entry(self.cut, Entry::Table(part), 0);
            out.extend(parts.into_iter().map(part));
        }
        let applied = applied.unwrap_or(self.cut);
        for kept in &self.window {
            // An answer may have been lost with the stream; asking twice does no harm.
            let wanted = kept.sequence > applied || self.is_open_query(kept.sequence);
            if let Some(content) = &kept.entry
                && wanted
            {
                out.push(entry(kept.sequence, content.clone(), kept.read_at));
            }
        }
    }

    /// A node that knows nothing of the link may route to it once more what its predecessor had routed elsewhere. So the last
    /// word about what could not be written is taken back, if nobody has confirmed it; its number is used again. True if
    /// there was one.
    pub fn reopen_end(&mut self) -> bool {
        if !self.gave_last || self.is_finished() || self.keep == Keep::Counts {
            return false;
        }
        if let Some(last) = self.window.pop_back() {
            debug_assert_eq!(last.sequence, self.last, "nothing follows the last word");
            self.bytes -= last.cost;
            self.last -= 1;
        }
        self.gave_last = false;
        true
    }

    /// Bytes that are kept, beside the table.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries that are not confirmed.
    pub fn unconfirmed(&self) -> u64 {
        self.last - self.confirmed
    }

    /// The link has ended, has given back everything, and the node knows: the ledger can go.
    pub fn is_finished(&self) -> bool {
        self.gave_last && self.confirmed == self.last
    }

    /// What the MsgServer has done and the node has not confirmed: everything but that the link began and ended, and what
    /// it could not be written.
    pub fn owed(&self) -> usize {
        let is_owed = |kept: &&Kept| match kept.entry {
            Some(Entry::Opened(_) | Entry::Closed(_) | Entry::Returned(_) | Entry::Silence(_)) => {
                false
            }
            Some(
                Entry::Table(_)
                | Entry::List(_)
                | Entry::Update(_)
                | Entry::Role(_)
                | Entry::Query(_)
                | Entry::Envelope(_)
                | Entry::Unreadable(_),
            ) => true,
            // Only counted: its node is in this process, and confirms.
            None => false,
        };
        let newest_first = self.window.iter().rev();
        let unconfirmed = newest_first.take_while(|kept| kept.sequence > self.confirmed);
        unconfirmed.filter(is_owed).count()
    }

    /// The link has ended, and no node has to be told more than that.
    pub fn owes_nothing(&self) -> bool {
        self.is_closed() && self.owed() == 0
    }

    fn keep(&mut self, now: Duration, entry: &Entry) {
        let cost = cost(entry);
        let read_at = micros(now).cast_unsigned();
        self.bytes += cost;
        let sequence = self.last;
        match (self.keep, self.window.back_mut()) {
            (Keep::Counts, Some(back)) if back.cost + cost <= COUNTED_TOGETHER => {
                back.sequence = sequence;
                back.cost += cost;
            }
            (keep, _) => self.window.push_back(Kept {
                sequence,
                cost,
                read_at,
                entry: (keep == Keep::Contents).then(|| entry.clone()),
            }),
        }
    }

    fn is_open_query(&self, sequence: u64) -> bool {
        let find = |(number, _): &(u64, OpenQuery)| number.cmp(&sequence);
        self.queries.binary_search_by(find).is_ok()
    }

    fn advance_cut(&mut self) {
        let mut limit = self.confirmed;
        if let Some((query, _)) = self.queries.front() {
            limit = limit.min(query - 1);
        }
        if let Some(closed) = self.closed
            && !self.is_finished()
        {
            limit = limit.min(closed - 1);
        }
        while let Some(kept) = self.window.pop_front_if(|kept| kept.sequence <= limit) {
            self.bytes -= kept.cost;
            self.cut = kept.sequence;
            if let Some(entry) = &kept.entry {
                let claimed = self.table.link.claimed;
                self.table.apply(entry);
                if self.table.link.claimed && !claimed {
                    self.table.link.claimed_at_micros = kept.read_at;
                }
            }
        }
    }

    /// A link that has ended cannot be answered.
    fn forget_queries(&mut self) {
        for (_, query) in std::mem::take(&mut self.queries) {
            self.bytes -= query_cost(&query);
        }
        self.advance_cut();
    }
}

/// Bytes that a query takes until it is answered, beside its entry.
fn query_cost(query: &OpenQuery) -> usize {
    ENTRY_COST + 4 * query.user_ids.len() + query.attach_data.len()
}

#[cfg(test)]
mod tests;
