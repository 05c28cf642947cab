//! Whether this node knows all links, so that an answer of OFFLINE is the truth; and what waits until it does.
//!
//! The predecessor's gateways say in their hello which gateways there were (roster). A new node is synced when every one
//! of them has attached and has sent again what was unconfirmed, or when it has waited for long enough. Until then tables
//! are restored, silently; everything else is held here, and calls wait. What is held is applied in the order in which the
//! gateways had read it, which is about that of the predecessor.
//!
//! [`ColdStart`] is pure; [`Sync`] is the state for those who wait.
//!
//! Bounded: a gateway has no more unconfirmed than its window, and nothing is confirmed meanwhile. Of one that does not
//! keep to that no more is read ([`ColdStart::is_full`]).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use route_core::{ClientType, LinkId};
use route_proto::v1::UplinkEntry;
use route_proto::v1::uplink_entry::Entry;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::gateways::MAX_GATEWAYS;
use crate::status::Refusal;
use crate::uplink;

/// How long a call waits for the node before it is refused with NOT_SYNCED.
const PATIENCE: Duration = Duration::from_secs(2);

/// What two gateways have read within so many microseconds may have reached the predecessor in the other order.
const SAME_TIME: i64 = 500_000;

/// How long a new node waits, since its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// For gateways that are known to exist.
    pub(crate) missing: Duration,
    /// From the first gateway on, if all that have come have never had a node: others that have may be on their way.
    pub(crate) newcomers: Duration,
}

/// A node that does not know all links yet.
#[derive(Debug)]
pub(crate) struct ColdStart {
    waits: Waits,
    held_bytes: usize,
    /// When the first gateway came.
    first: Option<Duration>,
    /// Some gateway has had a node before.
    has_roster: bool,
    /// Ids of gateways that have not sent everything again.
    missing: HashSet<String>,
    /// Ids of those that have.
    caught_up: HashSet<String>,
    held: HashMap<u64, HeldOfGateway>,
}

#[derive(Debug, Default)]
struct HeldOfGateway {
    entries: Vec<HeldEntry>,
    bytes: usize,
}

#[derive(Debug)]
struct HeldEntry {
    /// When the gateway read it, by the node's clock, microseconds.
    read_at: i64,
    entry: UplinkEntry,
}

/// Entries of one gateway that are to be applied together.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its incarnation.
    pub(crate) gateway: u64,
    /// In order.
    pub(crate) entries: Vec<UplinkEntry>,
}

impl ColdStart {
    /// Holds `held_bytes` of each gateway.
    pub(crate) fn new(waits: Waits, held_bytes: usize) -> Self {
        Self {
            waits,
            held_bytes,
            first: None,
            has_roster: false,
            missing: HashSet::new(),
            caught_up: HashSet::new(),
            held: HashMap::new(),
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
        self.caught_up.remove(id);
        let mut roster = roster.peekable();
        self.has_roster |= roster.peek().is_some();
        for id in roster.chain([id]) {
            let known = self.missing.len() + self.caught_up.len();
            if !self.caught_up.contains(id) && known < MAX_GATEWAYS {
                self.missing.insert(id.to_owned());
            }
        }
    }

    /// A gateway has sent everything that was unconfirmed.
    pub(crate) fn caught_up(&mut self, id: &str) {
        self.missing.remove(id);
        self.caught_up.insert(id.to_owned());
    }

    /// A stream has ended: what it brought comes again with the next one.
    pub(crate) fn detached(&mut self, id: &str, gateway: u64) {
        if self.caught_up.remove(id) {
            self.missing.insert(id.to_owned());
        }
        self.held.remove(&gateway);
    }

    /// Keeps entries for later; returns those of tables, which are applied at once. `read_at` says when the gateway read
    /// one, by the node's clock, microseconds.
    pub(crate) fn hold(
        &mut self,
        gateway: u64,
        entries: Vec<UplinkEntry>,
        read_at: impl Fn(&UplinkEntry) -> i64,
    ) -> Vec<UplinkEntry> {
        let held = self.held.entry(gateway).or_default();
        let (tables, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(uplink::is_replay);
        held.bytes += others.iter().map(uplink::size).sum::<usize>();
        held.entries
            .extend(others.into_iter().map(|entry| HeldEntry {
                read_at: read_at(&entry),
                entry,
            }));
        tables
    }

    /// No more is to be read of this gateway.
    pub(crate) fn is_full(&self, gateway: u64) -> bool {
        let held = self.held.get(&gateway);
        held.is_some_and(|held| held.bytes > self.held_bytes)
    }

    /// Everybody has caught up, or time is over.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        let complete = self.missing.is_empty() && !self.caught_up.is_empty();
        now >= self.waits.missing
            || (complete && (self.has_roster || now >= self.newcomers_until()))
    }

    /// When it may be over although nobody comes.
    pub(crate) fn until(&self) -> Duration {
        if self.has_roster || !self.missing.is_empty() {
            self.waits.missing
        } else {
            self.waits.missing.min(self.newcomers_until())
        }
    }

    fn newcomers_until(&self) -> Duration {
        let first = self.first.unwrap_or(self.waits.missing);
        first.saturating_add(self.waits.newcomers)
    }

    /// Ids of the gateways that are waited for, sorted.
    pub(crate) fn missing(&self) -> Vec<&str> {
        let mut missing: Vec<_> = self.missing.iter().map(String::as_str).collect();
        missing.sort_unstable();
        missing
    }

    /// How many entries wait.
    pub(crate) fn entries(&self) -> usize {
        self.held.values().map(|held| held.entries.len()).sum()
    }

    /// Address of the MsgServer of a link whose opening waits.
    pub(crate) fn peer(&self, link: LinkId) -> Option<IpAddr> {
        let held = &self.held.get(&link.gateway)?.entries;
        let mut of_link = held.iter().filter(|held| held.entry.link == link.number);
        let Some(Entry::Opened(opened)) = &of_link.next()?.entry.entry else {
            return None;
        };
        opened.peer.parse::<SocketAddr>().ok().map(|peer| peer.ip())
    }

    /// Users of whom updates of several links wait that were read at about the same time, and whether one of these is of a
    /// desktop client. `is_active` says whether a link stands for its MsgServer: a shadow says what another link says, too.
    pub(crate) fn contested(&self, is_active: impl Fn(LinkId) -> bool) -> BTreeMap<u32, bool> {
        let mut reported: BTreeMap<u32, Vec<(i64, LinkId, bool)>> = BTreeMap::new();
        for (&gateway, held) in &self.held {
            for HeldEntry { entry, read_at } in &held.entries {
                let Some(Entry::Update(update)) = &entry.entry else {
                    continue;
                };
                let number = entry.link;
                let class = u8::try_from(update.client_type).map(ClientType);
                reported.entry(update.user_id).or_default().push((
                    *read_at,
                    LinkId { gateway, number },
                    class.is_ok_and(ClientType::is_desktop),
                ));
            }
        }
        let mut contested = BTreeMap::new();
        for (user, mut updates) in reported {
            updates.sort_unstable();
            updates.retain(|(_, link, _)| is_active(*link));
            let close = |pair: &[(i64, LinkId, bool)]| {
                pair[0].1 != pair[1].1 && pair[1].0 - pair[0].0 < SAME_TIME
            };
            if updates.windows(2).any(close) {
                contested.insert(user, updates.iter().any(|(_, _, desktop)| *desktop));
            }
        }
        contested
    }

    /// What waits, in the order in which the gateways read it; of one link, as it was numbered.
    pub(crate) fn into_held(self) -> Vec<Held> {
        let mut all = Vec::new();
        for (gateway, held) in self.held {
            let mut last: HashMap<u64, i64> = HashMap::new();
            for HeldEntry { read_at, entry } in held.entries {
                let last = last.entry(entry.link).or_insert(read_at);
                *last = read_at.max(*last);
                all.push((*last, gateway, entry));
            }
        }
        // Stable: entries of one link that were read at the same time stay in order.
        all.sort_by_key(|(read_at, gateway, _)| (*read_at, *gateway));
        let mut merged: Vec<Held> = Vec::new();
        for (_, gateway, entry) in all {
            match merged.last_mut() {
                Some(held) if held.gateway == gateway => held.entries.push(entry),
                Some(_) | None => merged.push(Held {
                    gateway,
                    entries: vec![entry],
                }),
            }
        }
        merged
    }
}

/// The state, for those who wait for it.
#[derive(Debug)]
pub(crate) struct Sync {
    synced: watch::Sender<bool>,
}

impl Sync {
    /// A node that knows all links, or not.
    pub(crate) fn new(synced: bool) -> Self {
        Self {
            synced: watch::Sender::new(synced),
        }
    }

    /// From now on it does.
    pub(crate) fn reached(&self) {
        self.synced.send_replace(true);
    }

    /// Waits until the node knows all links.
    pub(crate) async fn reach(&self) {
        // The sender is this value's own, so there is no other end.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Waits until the node knows all links, for 2 s at most.
    pub(crate) async fn wait(&self) -> Result<(), Refusal> {
        let reached = timeout(PATIENCE, self.reach()).await;
        reached.map_err(|_| Refusal::NotSynced)
    }
}

#[cfg(test)]
mod tests {
    use route_proto::v1::{LinkOpened, SessionList, StatusQuery};

    use super::*;

    const UNTIL: Duration = Duration::from_secs(10);
    const NOW: Duration = Duration::from_secs(1);
    const NEWCOMERS: Duration = Duration::from_secs(2);

    #[test]
    fn gateways_that_know_of_nobody_are_all_there_is_after_a_while() {
        let mut start = cold_start(1000);
        assert!(!start.is_over(NOW), "nobody has come");

        start.attached(NOW, "a", std::iter::empty());
        assert_eq!(start.missing(), ["a"]);
        start.caught_up("a");

        assert!(!start.is_over(NOW), "others may be on their way");
        assert_eq!(start.until(), NOW + NEWCOMERS);
        assert!(start.is_over(NOW + NEWCOMERS));
    }

    #[test]
    fn a_newcomer_that_is_first_does_not_hide_the_others() {
        let mut start = cold_start(1000);
        start.attached(NOW, "new", std::iter::empty());
        start.caught_up("new");

        start.attached(NOW, "a", ["a", "b"].into_iter());
        start.caught_up("a");
        assert_eq!(start.missing(), ["b"]);
        assert!(!start.is_over(NOW + NEWCOMERS));

        start.attached(NOW, "b", ["a", "b"].into_iter());
        start.caught_up("b");
        assert!(start.is_over(NOW));
    }

    #[test]
    fn everybody_in_the_united_rosters_is_waited_for() {
        let mut start = cold_start(1000);
        start.attached(NOW, "a", ["a", "b"].into_iter());
        start.caught_up("a");
        assert_eq!(start.missing(), ["b"]);

        start.attached(NOW, "b", ["b", "c"].into_iter());
        start.caught_up("b");
        assert_eq!(start.missing(), ["c"]);

        assert!(!start.is_over(NOW));
        assert!(start.is_over(UNTIL), "but not for ever");
    }

    #[test]
    fn a_stream_that_breaks_has_to_come_again_with_everything() {
        let mut start = cold_start(1000);
        start.attached(NOW, "a", ["a"].into_iter());
        start.hold(7, vec![query(1, 2)], |_| 0);
        start.caught_up("a");

        start.detached("a", 7);

        assert!(!start.is_over(NOW));
        assert_eq!(start.entries(), 0);
    }

    #[test]
    fn tables_are_applied_at_once_and_the_rest_is_held_in_order() {
        let mut start = cold_start(200);
        let opened = Entry::Opened(LinkOpened {
            replay: true,
            ..LinkOpened::default()
        });
        let table = Entry::List(SessionList {
            replay: true,
            last: true,
            ..SessionList::default()
        });

        let entries = vec![entry(1, 1, opened), entry(1, 1, table), query(1, 2)];
        let tables = start.hold(7, entries, |_| 0);

        assert_eq!(tables.len(), 2);
        assert!(!start.is_full(7));
        assert!(start.hold(7, vec![query(1, 3)], |_| 0).is_empty());
        assert!(start.is_full(7) && !start.is_full(8));
        let held = start.into_held().remove(0);
        let sequences: Vec<_> = held.entries.iter().map(|e| e.sequence).collect();
        assert_eq!((held.gateway, sequences), (7, vec![2, 3]));
    }

    #[test]
    fn what_several_gateways_have_read_is_applied_in_that_order() {
        let mut start = cold_start(1000);
        let [first, second, third] = [query(1, 2), query(1, 3), query(2, 2)];
        // Link 1's second query was read before its first, by a clock that went back.
        start.hold(7, vec![first, second, third], |entry| {
            match entry.sequence {
                3 => 10,
                _ if entry.link == 1 => 50,
                _ => 60,
            }
        });
        start.hold(8, vec![query(1, 9)], |_| 55);

        let order = start.into_held().into_iter().map(|held| {
            let numbers = held.entries.iter().map(|e| (e.link, e.sequence));
            (held.gateway, numbers.collect::<Vec<_>>())
        });
        let order: Vec<_> = order.collect();

        assert_eq!(
            order,
            [
                (7, vec![(1, 2), (1, 3)]),
                (8, vec![(1, 9)]),
                (7, vec![(2, 2)])
            ]
        );
    }

    fn cold_start(held_bytes: usize) -> ColdStart {
        let waits = Waits {
            missing: UNTIL,
            newcomers: NEWCOMERS,
        };
        ColdStart::new(waits, held_bytes)
    }

    fn query(link: u64, sequence: u64) -> UplinkEntry {
        entry(link, sequence, Entry::Query(StatusQuery::default()))
    }

    fn entry(link: u64, sequence: u64, entry: Entry) -> UplinkEntry {
        UplinkEntry {
            link,
            sequence,
            entry: Some(entry),
            read_at_micros: 0,
        }
    }
}
