//! Whether this node knows all links, so that an answer of OFFLINE is the truth; and what waits until it does.
//!
//! The predecessor's gateways say in their hello which gateways there were (roster). A new node is synced when every one
//! of them has attached and has sent again what was unconfirmed, or when it has waited for long enough. Until then tables
//! are restored, silently; everything else is held here, and calls wait. What is held is applied in the order of the
//! predecessor, as far as gateways know it.
//!
//! [`ColdStart`] is pure; [`Sync`] is the state for those who wait.
//!
//! Bounded: a gateway has no more unconfirmed than its window, and nothing is confirmed meanwhile. Of one that does not
//! keep to that no more is read ([`ColdStart::is_full`]).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use route_core::LinkId;
use route_proto::v1::uplink_entry::Entry;
use route_proto::v1::{LinkOpened, Told, UplinkEntry};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::gateways::MAX_GATEWAYS;
use crate::status::Refusal;
use crate::uplink;

/// Notices of earlier nodes that are looked at, of all gateways together; each gateway tells 65 536 at most.
const MOST_TOLD: usize = 1 << 20;

/// The place of what nobody has seen anything of.
const UNSEEN: u64 = u64::MAX;

/// How much later the first gateway may come than the others after it: one whose node's host has vanished notices that after
/// 14 s, and then takes up to 4 s to find another one.
const UNNOTICED: Duration = Duration::from_secs(10);

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
    /// When the first gateway came.
    first: Option<Duration>,
    /// Some gateway has had a node before.
    has_roster: bool,
    /// Ids of gateways that have not sent everything again.
    missing: HashSet<String>,
    /// Ids of those that have.
    caught_up: HashSet<String>,
    held: HashMap<u64, HeldOfGateway>,
    /// By origin and sequence: where earlier nodes routed the first notice of an entry.
    told: HashMap<LinkId, HashMap<u64, u64>>,
    told_count: usize,
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
    /// It is one entry, whose first notice an earlier node had routed there.
    pub(crate) place: Option<u64>,
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
            told: HashMap::new(),
            told_count: 0,
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

    /// Keeps what a gateway has been told by nodes before this one.
    pub(crate) fn told(&mut self, told: Vec<Told>) {
        for told in told {
            let origin = told.origin.unwrap_or_default();
            let origin = LinkId {
                gateway: origin.gateway,
                number: origin.number,
            };
            let places = self.told.entry(origin).or_default();
            for (sequence, position) in told.sequences.into_iter().zip(told.positions) {
                if self.told_count < MOST_TOLD {
                    self.told_count += 1;
                    // Of several nodes that have routed it, the last one counts.
                    let place = places.entry(sequence).or_insert(position);
                    *place = position.max(*place);
                }
            }
        }
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
        // What closed links give back is outside the windows that the bound is made for; their queues limit it.
        let within = others.iter().filter(|entry| !is_return(entry));
        held.bytes += within.map(uplink::size).sum::<usize>();
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
        now >= self.missing_until()
            || (complete && (self.has_roster || now >= self.newcomers_until()))
    }

    /// When it may be over although nobody comes.
    pub(crate) fn until(&self) -> Duration {
        if self.has_roster || !self.missing.is_empty() {
            self.missing_until()
        } else {
            self.missing_until().min(self.newcomers_until())
        }
    }

    fn missing_until(&self) -> Duration {
        let first = self.first.unwrap_or(UNNOTICED);
        first.saturating_add(self.waits.missing)
    }

    fn newcomers_until(&self) -> Duration {
        match self.first {
            Some(first) => first.saturating_add(self.waits.newcomers),
            None => self.missing_until(),
        }
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

    /// Links whose claim waits.
    pub(crate) fn claims(&self) -> Vec<LinkId> {
        let is_claim = |held: &&HeldEntry| matches!(&held.entry.entry, Some(Entry::Role(role)) if role.claimed);
        let mut claims = Vec::new();
        for (&gateway, held) in &self.held {
            claims.extend(held.entries.iter().filter(is_claim).map(|held| LinkId {
                gateway,
                number: held.entry.link,
            }));
        }
        claims.sort_unstable();
        claims
    }

    /// What waits, in the order in which the gateways read it; but of what gateways have seen notices of, in the order in
    /// which the predecessor routed these, and before what concerns the same user and has not been seen.
    ///
    /// So each entry makes the notices again that were seen of it, and what comes last of a user is made of the state in
    /// the end. Entries of one link stay in their order.
    ///
    /// `address` tells that of a link that has been restored.
    pub(crate) fn into_held(mut self, address: impl Fn(LinkId) -> Option<IpAddr>) -> Vec<Held> {
        let held = std::mem::take(&mut self.held);
        let mut all: Vec<Waiting> = held
            .into_iter()
            .flat_map(|(gateway, held)| self.waiting(gateway, held.entries, &address))
            .collect();
        keep_to_places(&mut all);
        // Stable: entries of one link stay in order.
        all.sort_by_key(|waiting| (waiting.turn, waiting.place, waiting.gateway));
        let mut merged: Vec<Held> = Vec::new();
        for Waiting {
            gateway,
            entry,
            seen,
            ..
        } in all
        {
            match merged.last_mut() {
                Some(held) if held.gateway == gateway && held.place.is_none() && seen.is_none() => {
                    held.entries.push(entry);
                }
                Some(_) | None => merged.push(Held {
                    gateway,
                    entries: vec![entry],
                    place: seen,
                }),
            }
        }
        merged
    }

    /// The entries of one gateway, each with its place and, as its turn, the time when it was read.
    fn waiting(
        &self,
        gateway: u64,
        entries: Vec<HeldEntry>,
        address: &impl Fn(LinkId) -> Option<IpAddr>,
    ) -> Vec<Waiting> {
        let mut opened: HashMap<u64, IpAddr> = HashMap::new();
        let mut last: HashMap<u64, i64> = HashMap::new();
        let waiting = entries.into_iter().map(|HeldEntry { read_at, entry }| {
            // A clock may have gone back.
            let last = last.entry(entry.link).or_insert(read_at);
            *last = read_at.max(*last);
            let number = entry.link;
            let link = LinkId { gateway, number };
            if let Some(Entry::Opened(LinkOpened { peer, .. })) = &entry.entry
                && let Ok(peer) = peer.parse::<SocketAddr>()
            {
                opened.insert(number, peer.ip());
            }
            Waiting {
                gateway,
                address: opened.get(&number).copied().or_else(|| address(link)),
                seen: self.place_of(link, entry.sequence),
                place: UNSEEN,
                turn: *last,
                entry,
            }
        });
        let mut waiting: Vec<Waiting> = waiting.collect();
        let mut before: HashMap<u64, u64> = HashMap::new();
        for waiting in waiting.iter_mut().rev() {
            let before = before.entry(waiting.entry.link).or_insert(UNSEEN);
            *before = waiting.seen.map_or(*before, |seen| seen.min(*before));
            waiting.place = *before;
        }
        waiting
    }

    /// Where the predecessor, or an earlier one, routed the first notice of an entry.
    fn place_of(&self, link: LinkId, sequence: u64) -> Option<u64> {
        self.told.get(&link)?.get(&sequence).copied()
    }
}

fn is_return(entry: &UplinkEntry) -> bool {
    matches!(entry.entry, Some(Entry::Returned(_)))
}

/// An entry on its way into the order of all.
#[derive(Debug)]
struct Waiting {
    gateway: u64,
    /// Of its link's MsgServer.
    address: Option<IpAddr>,
    /// Where the predecessor routed its first notice.
    seen: Option<u64>,
    /// The same of the next seen entry of its link, this one included: it was applied before that.
    place: u64,
    /// When it is to be applied, as if it had been read then.
    turn: i64,
    entry: UplinkEntry,
}

impl Waiting {
    /// The user of whom it tells something, if it is an update.
    fn user(&self) -> Option<u32> {
        match &self.entry.entry {
            Some(Entry::Update(update)) => Some(update.user_id),
            _ => None,
        }
    }

    /// Whose notices it has made, or can have made.
    fn concern(&self) -> Option<Concern> {
        let of_msg_server = Concern::MsgServer(self.address);
        match &self.entry.entry {
            Some(Entry::Update(update)) => Some(Concern::User(update.user_id)),
            Some(Entry::Role(_)) => Some(of_msg_server),
            // Whatever else it is, it has made some.
            _ => self.seen.map(|_| of_msg_server),
        }
    }
}

/// Whose notices an entry can make: one user's, or, as a claim, those of any user of a MsgServer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Concern {
    User(u32),
    MsgServer(Option<IpAddr>),
}

/// Puts turns off so that seen entries keep to their places, and unseen updates come after what is known to have been applied
/// of the same user, and after such claims of the same MsgServer, however late these were read: the gateway may have been away.
fn keep_to_places(all: &mut [Waiting]) {
    let mut seen: Vec<usize> = (0..all.len()).filter(|i| all[*i].seen.is_some()).collect();
    seen.sort_unstable_by_key(|i| all[*i].seen);
    let mut turn = i64::MIN;
    for i in seen {
        turn = turn.max(all[i].turn);
        all[i].turn = turn;
    }
    // First after what was seen, then also after what was applied before something that was seen.
    let was_seen = |waiting: &Waiting| waiting.seen.is_some();
    put_off(all, &precedents(all, was_seen));
    put_off(all, &precedents(all, |waiting| waiting.place != UNSEEN));
}

fn precedents(
    all: &[Waiting],
    counts: impl Fn(&Waiting) -> bool,
) -> HashMap<Concern, Vec<Precedent>> {
    let mut precedents: HashMap<Concern, Vec<Precedent>> = HashMap::new();
    for waiting in all.iter().filter(|waiting| counts(waiting)) {
        if let Some(concern) = waiting.concern() {
            precedents.entry(concern).or_default().push(Precedent {
                turn: waiting.turn,
                place: waiting.place,
            });
        }
    }
    precedents
}

fn put_off(all: &mut [Waiting], precedents: &HashMap<Concern, Vec<Precedent>>) {
    let mut last: HashMap<(u64, u64), i64> = HashMap::new();
    for waiting in all {
        if let Some(user) = waiting.user().filter(|_| waiting.seen.is_none()) {
            let concerns = [Concern::User(user), Concern::MsgServer(waiting.address)];
            let before = concerns.iter().filter_map(|it| precedents.get(it));
            let turns = before
                .flatten()
                .filter(|precedent| precedent.place < waiting.place)
                .map(|precedent| precedent.turn);
            waiting.turn = turns.fold(waiting.turn, i64::max);
        }
        let link = (waiting.gateway, waiting.entry.link);
        let last = last.entry(link).or_insert(waiting.turn);
        *last = waiting.turn.max(*last);
        waiting.turn = *last;
    }
}

/// An entry that was applied by the predecessor.
#[derive(Debug, Clone, Copy)]
struct Precedent {
    turn: i64,
    place: u64,
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
mod tests {
    use route_proto::v1::{
        DeliveryRun, LinkId as WireLinkId, Returned, RoleReport, SessionList, SessionUpdate,
        StatusQuery,
    };

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
    fn a_node_to_which_nobody_comes_cannot_know_that_there_is_nobody() {
        let start = cold_start(1000);
        let last = UNNOTICED + UNTIL;

        assert!(!start.is_over(last.saturating_sub(Duration::from_millis(1))));
        assert_eq!(start.until(), last);
        assert!(start.is_over(last));
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

        assert!(!start.is_over(UNTIL));
        assert_eq!(start.until(), NOW + UNTIL);
        assert!(start.is_over(NOW + UNTIL), "but not for ever");
    }

    #[test]
    fn a_first_gateway_is_waited_for_until_it_has_noticed_that_it_needs_a_node() {
        let mut start = cold_start(1000);
        let last = UNNOTICED + UNTIL;

        start.attached(last - NOW, "a", ["a", "b"].into_iter());
        start.caught_up("a");

        assert!(!start.is_over(last), "the others notice at about this time");
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
        let returned = Entry::Returned(Returned {
            runs: vec![DeliveryRun::default(); 9],
            ..Returned::default()
        });
        start.hold(8, vec![entry(1, 1, returned)], |_| 0);
        assert!(!start.is_full(8), "it is not within a window");
        let held = start.into_held(address).remove(0);
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

        let order = start.into_held(address).into_iter().map(|held| {
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

    #[test]
    fn what_somebody_has_seen_keeps_to_the_order_of_the_predecessor() {
        let mut start = cold_start(1000);
        start.hold(7, vec![query(1, 2), query(1, 3)], |_| 10);
        // The second entry was seen, and before that of link 7/1 although it was read later.
        start.hold(8, vec![query(1, 5), query(1, 6), query(1, 7)], |_| 30);
        start.hold(9, vec![query(1, 2)], |_| 20);
        start.told(vec![told(7, 2, 120), told(8, 6, 110)]);
        // A later node has routed it again.
        start.told(vec![told(7, 2, 220), told(9, 1, 1)]);

        let order = order(start);

        let of_links = |gateway| order.iter().filter(move |(g, _)| *g == gateway);
        assert!(of_links(7).is_sorted() && of_links(8).is_sorted());
        assert_eq!(order, [(9, 2), (8, 5), (8, 6), (7, 2), (7, 3), (8, 7)]);
    }

    #[test]
    fn what_nobody_has_seen_of_a_user_comes_after_what_somebody_has() {
        let later = 500_000;
        let mut start = cold_start(1000);
        start.hold(7, vec![update(1, 2, 55), query(1, 3)], |_| 0);
        start.hold(8, vec![update(1, 2, 55)], |_| later);
        // Another user's, and one whose gateway was away for long.
        start.hold(9, vec![update(1, 2, 66), update(2, 2, 55)], |entry| {
            if entry.link == 1 { 0 } else { -20_000_000 }
        });
        start.told(vec![told(8, 2, 100)]);

        assert_eq!(order(start), [(9, 2), (8, 2), (7, 2), (7, 3), (9, 2)]);
    }

    #[test]
    fn what_was_put_off_for_the_order_of_the_predecessor_still_comes_before_what_nobody_has_seen() {
        let mut start = cold_start(1000);
        start.hold(7, vec![update(1, 2, 55), update(2, 2, 55)], |entry| {
            i64::try_from(entry.link).unwrap()
        });
        start.hold(8, vec![query(1, 9)], |_| 1_000_000);
        start.told(vec![told(7, 2, 120), told(8, 9, 110)]);

        let order: Vec<_> = start
            .into_held(address)
            .iter()
            .flat_map(|held| {
                held.entries
                    .iter()
                    .map(|e| (held.gateway, e.link))
                    .collect::<Vec<_>>()
            })
            .collect();

        assert_eq!(order, [(8, 1), (7, 1), (7, 2)]);
    }

    #[test]
    fn what_was_applied_before_something_seen_comes_before_what_nobody_has_seen() {
        let mut start = cold_start(1000);
        start.hold(7, vec![update(1, 2, 55)], |_| 0);
        // This made no notices: he was still elsewhere.
        start.hold(8, vec![update(1, 5, 55), query(1, 6)], |_| 30);
        start.told(vec![told(8, 6, 110)]);

        assert_eq!(order(start), [(8, 5), (8, 6), (7, 2)]);
    }

    #[test]
    fn a_seen_claim_comes_before_what_nobody_has_seen() {
        let mut start = cold_start(1000);
        let claim = Entry::Role(RoleReport { claimed: true });
        start.hold(7, vec![update(1, 2, 55)], |_| 0);
        start.hold(8, vec![entry(1, 2, claim)], |_| 10_000_000);
        // Another MsgServer's.
        start.hold(9, vec![update(1, 2, 66)], |_| 0);
        start.told(vec![told(8, 2, 100)]);

        assert_eq!(order(start), [(9, 2), (8, 2), (7, 2)]);
    }

    fn order(start: ColdStart) -> Vec<(u64, u64)> {
        let held = start.into_held(address).into_iter();
        let order = held.flat_map(|held| {
            let gateway = held.gateway;
            held.entries.into_iter().map(move |e| (gateway, e.sequence))
        });
        order.collect()
    }

    fn told(gateway: u64, sequence: u64, position: u64) -> Told {
        Told {
            origin: Some(WireLinkId { gateway, number: 1 }),
            sequences: vec![sequence],
            positions: vec![position],
        }
    }

    fn update(link: u64, sequence: u64, user_id: u32) -> UplinkEntry {
        let update = SessionUpdate {
            user_id,
            ..SessionUpdate::default()
        };
        entry(link, sequence, Entry::Update(update))
    }

    /// Gateways 7 and 8 have links of one MsgServer.
    fn address(link: LinkId) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, u8::from(link.gateway == 9)]))
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
