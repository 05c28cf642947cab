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

use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use route_proto::v1::UplinkEntry;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::gateways::MAX_GATEWAYS;
use crate::status::Refusal;
use crate::uplink;

/// How long a call waits for the node before it is refused with NOT_SYNCED.
const PATIENCE: Duration = Duration::from_secs(2);

/// A node that does not know all links yet.
#[derive(Debug)]
pub(crate) struct ColdStart {
    until: Duration,
    held_bytes: usize,
    /// Ids of gateways that have not sent everything again.
    missing: HashSet<String>,
    /// Ids of those that have.
    caught_up: HashSet<String>,
    held: Vec<Held>,
    places: HashMap<u64, usize>,
}

/// What a gateway has sent that waits.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its incarnation.
    pub(crate) gateway: u64,
    /// In order.
    pub(crate) entries: Vec<UplinkEntry>,
    bytes: usize,
}

impl ColdStart {
    /// Waits until `until` at most, and holds `held_bytes` of each gateway.
    pub(crate) fn new(until: Duration, held_bytes: usize) -> Self {
        Self {
            until,
            held_bytes,
            missing: HashSet::new(),
            caught_up: HashSet::new(),
            held: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// A gateway has come, and knows these others.
    pub(crate) fn attached<'a>(&mut self, id: &'a str, roster: impl Iterator<Item = &'a str>) {
        self.caught_up.remove(id);
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
        if let Some(place) = self.places.get(&gateway) {
            self.held[*place].entries = Vec::new();
            self.held[*place].bytes = 0;
        }
    }

    /// Keeps entries for later; returns those of tables, which are applied at once.
    pub(crate) fn hold(&mut self, gateway: u64, entries: Vec<UplinkEntry>) -> Vec<UplinkEntry> {
        let place = *self.places.entry(gateway).or_insert(self.held.len());
        if place == self.held.len() {
            self.held.push(Held {
                gateway,
                entries: Vec::new(),
                bytes: 0,
            });
        }
        let held = &mut self.held[place];
        let (tables, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(uplink::is_replay);
        held.bytes += others.iter().map(uplink::size).sum::<usize>();
        held.entries.extend(others);
        tables
    }

    /// No more is to be read of this gateway.
    pub(crate) fn is_full(&self, gateway: u64) -> bool {
        let place = self.places.get(&gateway);
        place.is_some_and(|place| self.held[*place].bytes > self.held_bytes)
    }

    /// Everybody has caught up, or time is over.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        now >= self.until || (self.missing.is_empty() && !self.caught_up.is_empty())
    }

    /// When it is over at the latest.
    pub(crate) fn until(&self) -> Duration {
        self.until
    }

    /// Ids of the gateways that are waited for, sorted.
    pub(crate) fn missing(&self) -> Vec<&str> {
        let mut missing: Vec<_> = self.missing.iter().map(String::as_str).collect();
        missing.sort_unstable();
        missing
    }

    /// How many entries wait.
    pub(crate) fn entries(&self) -> usize {
        self.held.iter().map(|held| held.entries.len()).sum()
    }

    /// What waits, gateway by gateway as they came.
    pub(crate) fn into_held(self) -> Vec<Held> {
        self.held
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
    use route_proto::v1::uplink_entry::Entry;
    use route_proto::v1::{LinkOpened, SessionList, StatusQuery};

    use super::*;

    const UNTIL: Duration = Duration::from_secs(10);
    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn a_gateway_that_knows_of_nobody_is_all_there_is() {
        let mut start = ColdStart::new(UNTIL, 1000);
        assert!(!start.is_over(NOW), "nobody has come");

        start.attached("a", std::iter::empty());
        assert_eq!(start.missing(), ["a"]);
        start.caught_up("a");

        assert!(start.is_over(NOW));
    }

    #[test]
    fn everybody_in_the_united_rosters_is_waited_for() {
        let mut start = ColdStart::new(UNTIL, 1000);
        start.attached("a", ["a", "b"].into_iter());
        start.caught_up("a");
        assert_eq!(start.missing(), ["b"]);

        start.attached("b", ["b", "c"].into_iter());
        start.caught_up("b");
        assert_eq!(start.missing(), ["c"]);

        assert!(!start.is_over(NOW));
        assert!(start.is_over(UNTIL), "but not for ever");
    }

    #[test]
    fn a_stream_that_breaks_has_to_come_again_with_everything() {
        let mut start = ColdStart::new(UNTIL, 1000);
        start.attached("a", std::iter::empty());
        start.hold(7, vec![query(2)]);
        start.caught_up("a");

        start.detached("a", 7);

        assert!(!start.is_over(NOW));
        assert_eq!(start.entries(), 0);
    }

    #[test]
    fn tables_are_applied_at_once_and_the_rest_is_held_in_order() {
        let mut start = ColdStart::new(UNTIL, 200);
        let opened = Entry::Opened(LinkOpened {
            replay: true,
            ..LinkOpened::default()
        });
        let table = Entry::List(SessionList {
            replay: true,
            last: true,
            ..SessionList::default()
        });

        let tables = start.hold(7, vec![entry(1, opened), entry(1, table), query(2)]);

        assert_eq!(tables.len(), 2);
        assert!(!start.is_full(7));
        assert!(start.hold(7, vec![query(3)]).is_empty());
        assert!(start.is_full(7) && !start.is_full(8));
        let held = start.into_held().remove(0);
        let sequences: Vec<_> = held.entries.iter().map(|e| e.sequence).collect();
        assert_eq!((held.gateway, sequences), (7, vec![2, 3]));
    }

    fn query(sequence: u64) -> UplinkEntry {
        entry(sequence, Entry::Query(StatusQuery::default()))
    }

    fn entry(sequence: u64, entry: Entry) -> UplinkEntry {
        UplinkEntry {
            link: 1,
            sequence,
            entry: Some(entry),
        }
    }
}
