//! Whether this node knows all links, so that an answer of OFFLINE is the truth; and what waits until it does.
//!
//! The predecessor's gateways say in their hello which gateways there were (roster). A new node is synced when every one
//! of them has attached and has sent again what was unconfirmed, or when it has waited for long enough. Until then tables
//! are restored, silently; everything else is held here, and calls wait.
//!
//! [`ColdStart`] is pure; [`Sync`] is the state for those who wait.
//!
//! Bounded: a gateway has no more unconfirmed than its window, and nothing is confirmed meanwhile. Of one that does not
//! keep to that no more is read ([`ColdStart::is_full`]).

mod held;

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashSet;
use route_core::LinkId;
use route_proto::attach::v1::UplinkEntry;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::gateways::MAX_GATEWAYS;
use crate::gateways::entry;
use crate::gateways::queries::OpenQueries;
use crate::gateways::reach::Reach;
use crate::refusal::Refusal;
use held::Held;

/// How much later the first gateway may come than the others after it: one whose node's host has vanished notices that after
/// 14 s, and then takes up to 4 s to find another one.
const UNNOTICED: Duration = Duration::from_secs(10);

/// Entries of one gateway that are handed on together.
const TOGETHER: usize = 256;

/// How long a new node waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// From the first gateway on, for those that are known to exist; from the start, for a first one, [`UNNOTICED`] longer.
    pub(crate) missing: Duration,
    /// From the first gateway on, if all that have come have never had a node: others that have may be on their way.
    pub(crate) newcomers: Duration,
}

/// A node that does not know all links yet.
#[derive(Debug)]
pub(crate) struct ColdStart {
    waits: Waits,
    held_bytes: usize,
    /// When it began.
    began: Duration,
    /// When the first gateway came.
    first: Option<Duration>,
    /// Some gateway has had a node before.
    has_roster: bool,
    /// Ids of gateways that have come, or that those know.
    expected: HashSet<String>,
    held: Held,
    is_ending: bool,
    /// What is being applied.
    ready: Option<(u64, VecDeque<UplinkEntry>)>,
    /// Queries that are answered last.
    pub(crate) queries: OpenQueries,
}

impl ColdStart {
    /// Begins now, and holds `held_bytes` of each gateway.
    pub(crate) fn new(now: Duration, waits: Waits, held_bytes: usize) -> Self {
        Self {
            began: now,
            waits,
            held_bytes,
            first: None,
            has_roster: false,
            expected: HashSet::new(),
            held: Held::default(),
            is_ending: false,
            ready: None,
            queries: OpenQueries::default(),
        }
    }

    /// A gateway has come, and knows these others.
    pub(crate) fn attached<'a>(
        &mut self,
        now: Duration,
        id: &'a str,
        roster: impl Iterator<Item = &'a str>,
    ) {
        self.first.get_or_insert(now);
        let mut roster = roster.peekable();
        self.has_roster |= roster.peek().is_some();
        for id in roster.chain([id]) {
            if self.expected.len() < MAX_GATEWAYS {
                self.expected.insert(id.to_owned());
            }
        }
    }

    /// A stream has ended: what it brought comes again with the next one. Returns what is not needed
    /// any more, which may be much.
    pub(crate) fn forget(&mut self, gateway: u64) -> impl Send + 'static {
        let ready = self.ready.take_if(|(ready, _)| *ready == gateway);
        (ready, self.held.forget(gateway))
    }

    /// Keeps entries for later; returns those of tables, which are applied at once. `read_at` says when the gateway read
    /// one, by the node's clock, microseconds.
    pub(crate) fn hold(
        &mut self,
        gateway: u64,
        entries: impl IntoIterator<Item = UplinkEntry>,
        read_at: impl Fn(&UplinkEntry) -> i64,
    ) -> VecDeque<UplinkEntry> {
        let entries = entries.into_iter();
        let (tables, others): (Vec<_>, Vec<_>) = entries.partition(entry::is_replay);
        self.held.add(gateway, others, read_at);
        tables.into()
    }

    /// No more is to be read of this gateway.
    pub(crate) fn is_full(&self, gateway: u64) -> bool {
        self.held.bytes(gateway) > self.held_bytes
    }

    /// Everybody has caught up, or time is over. `reach` tells of the gateways that the node has.
    pub(crate) fn is_over(&self, now: Duration, reach: impl Fn(&str) -> Option<Reach>) -> bool {
        now >= self.until(reach)
    }

    /// When it may be over although nobody comes.
    pub(crate) fn until(&self, reach: impl Fn(&str) -> Option<Reach>) -> Duration {
        let complete = self.missing(reach).next().is_none();
        match self.first {
            None => (self.began + UNNOTICED).saturating_add(self.waits.missing),
            Some(first) if complete && self.has_roster => first,
            Some(first) if complete => first + self.waits.newcomers.min(self.waits.missing),
            Some(first) => first.saturating_add(self.waits.missing),
        }
    }

    /// For how long it has gone on.
    pub(crate) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }

    /// Some gateway has come.
    pub(crate) fn knows_any(&self) -> bool {
        self.first.is_some()
    }

    /// Ids of the gateways that are waited for.
    pub(crate) fn missing(
        &self,
        reach: impl Fn(&str) -> Option<Reach>,
    ) -> impl Iterator<Item = &str> {
        let expected = self.expected.iter().map(String::as_str);
        expected.filter(move |id| !reach(id).is_some_and(Reach::has_caught_up))
    }

    /// What waiting entries take, bytes.
    pub(crate) fn memory(&self) -> usize {
        self.held.memory() + self.queries.bytes()
    }

    /// What those of this gateway take, bytes.
    pub(crate) fn memory_of(&self, gateway: u64) -> usize {
        self.held.memory_of(gateway)
    }

    /// How many entries wait.
    pub(crate) fn entries(&self) -> usize {
        self.held.len()
    }

    /// Links whose claim waits.
    pub(crate) fn claims(&self) -> Vec<LinkId> {
        self.held.claims()
    }

    /// It is over: from now on what waits is applied. True the first time.
    pub(crate) fn ends(&mut self) -> bool {
        !std::mem::replace(&mut self.is_ending, true)
    }

    /// It is over, and what has waited is being applied.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// What is to be applied next: entries, and whose they are.
    pub(crate) fn take_next(&mut self) -> Option<(u64, VecDeque<UplinkEntry>)> {
        self.ready.take().or_else(|| self.held.take_next(TOGETHER))
    }

    /// These are to be applied next.
    pub(crate) fn give_back(&mut self, gateway: u64, entries: VecDeque<UplinkEntry>) {
        self.ready = Some((gateway, entries));
    }
}

/// The state, for those who wait for it.
#[derive(Debug)]
pub(crate) struct Sync {
    call_wait: Duration,
    synced: watch::Sender<bool>,
}

impl Sync {
    /// A node that knows all links, or not; a call waits for so long until it does.
    pub(crate) fn new(synced: bool, call_wait: Duration) -> Self {
        Self {
            call_wait,
            synced: watch::Sender::new(synced),
        }
    }

    /// From now on it does.
    pub(crate) fn reached(&self) {
        self.synced.send_replace(true);
    }

    /// It knows all links.
    pub(crate) fn is_reached(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits until the node knows all links.
    pub(crate) async fn reach(&self) {
        // The sender is this value's own, so there is no other end.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Waits until the node knows all links, but not for ever.
    pub(crate) async fn wait(&self) -> Result<(), Refusal> {
        let reached = timeout(self.call_wait, self.reach()).await;
        reached.map_err(|_| Refusal::NotSynced)
    }
}

#[cfg(test)]
mod tests;
