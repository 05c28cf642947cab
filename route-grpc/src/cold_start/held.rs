//! What a new node holds until it knows all links, and the order in which it applies that.
//!
//! In the order in which gateways read it, by the node's clock; entries of one link stay in theirs. So a user who moves
//! between two MsgServers is where the last report says.
//!
//! Entries are kept as they stood on the wire: so they take no more than at their gateway.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashMap;
use prost::Message;
use route_core::LinkId;
use route_core::memory::allocated;
use route_proto::attach::cost;
use route_proto::attach::v1::UplinkEntry;
use route_proto::attach::v1::uplink_entry::Entry;

/// By how much the comparison of two gateways' clocks may err, microseconds. A MsgServer claims a
/// connection when another one has ended: that has to come first.
const CLOCKS_ERR_BY: i64 = 100_000;

/// When an entry is applied: by the time, then by the order in which it came.
type Turn = (i64, u64);

/// By gateway.
#[derive(Debug, Default)]
pub(super) struct Held {
    gateways: HashMap<u64, OfGateway>,
}

/// What waits of one gateway.
#[derive(Debug, Default)]
pub(crate) struct OfGateway {
    links: HashMap<u64, OfLink>,
    /// The first turn of each link, and the link.
    next: BTreeSet<(Turn, u64)>,
    /// How many have come.
    came: u64,
    /// How many are left.
    left: usize,
    /// By what is compared with the gateway's window.
    bytes: usize,
    /// What the entries take here.
    memory: usize,
    /// Links that claim.
    claims: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct OfLink {
    entries: VecDeque<HeldEntry>,
    /// Of the last one.
    turn: i64,
}

#[derive(Debug)]
struct HeldEntry {
    turn: Turn,
    encoded: Box<[u8]>,
}

impl Held {
    /// Keeps entries of one gateway.
    pub(super) fn add(
        &mut self,
        gateway: u64,
        entries: Vec<UplinkEntry>,
        read_at: impl Fn(&UplinkEntry) -> i64,
    ) {
        let held = self.gateways.entry(gateway).or_default();
        for entry in entries {
            let read_at = read_at(&entry);
            held.add(&entry, read_at);
        }
    }

    /// A stream has ended: what it brought comes again with the next one.
    pub(super) fn forget(&mut self, gateway: u64) -> Option<OfGateway> {
        self.gateways.remove(&gateway)
    }

    /// What is held of this gateway within its window.
    pub(super) fn bytes(&self, gateway: u64) -> usize {
        self.gateways.get(&gateway).map_or(0, |held| held.bytes)
    }

    /// What is held of this gateway takes so many bytes.
    pub(super) fn memory_of(&self, gateway: u64) -> usize {
        self.gateways.get(&gateway).map_or(0, |held| held.memory)
    }

    /// What all of it takes, bytes.
    pub(super) fn memory(&self) -> usize {
        self.gateways.values().map(|held| held.memory).sum()
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.gateways.values().map(|held| held.left).sum()
    }

    /// Links that claim.
    pub(super) fn claims(&self) -> Vec<LinkId> {
        let gateways = self.gateways.iter();
        let claims = gateways.flat_map(|(gateway, held)| {
            let links = held.claims.iter();
            links.map(|link| LinkId::new(*gateway, *link))
        });
        let mut claims: Vec<_> = claims.collect();
        claims.sort_unstable();
        claims
    }

    /// Takes the next entries, so many of one gateway at most; also whose they are.
    pub(super) fn take_next(&mut self, most: usize) -> Option<(u64, VecDeque<UplinkEntry>)> {
        let mut turns: Vec<_> = self.gateways.iter().filter_map(first_turn).collect();
        turns.sort_unstable();
        let (_, gateway) = *turns.first()?;
        let others = turns.get(1).copied();
        let held = self.gateways.get_mut(&gateway)?;
        let mut entries = VecDeque::new();
        while entries.len() < most
            && let Some(turn) = first_turn((&gateway, held))
            && others.is_none_or(|other| turn < other)
        {
            entries.extend(held.take_next());
        }
        Some((gateway, entries))
    }
}

/// When the next one of this gateway is applied.
fn first_turn((gateway, held): (&u64, &OfGateway)) -> Option<(i64, u64)> {
    let ((time, _), _) = held.next.first()?;
    Some((*time, *gateway))
}

impl OfGateway {
    fn add(&mut self, entry: &UplinkEntry, read_at: i64) {
        // What closed links give back is outside the windows that the bound is made for; their queues limit it.
        self.bytes += match &entry.entry {
            Some(Entry::Returned(_)) | None => 0,
            Some(content) => cost(content),
        };
        let is_claim = matches!(&entry.entry, Some(Entry::Role(role)) if role.claimed);
        if is_claim {
            self.claims.insert(entry.link);
        }
        let later = match &entry.entry {
            Some(Entry::Role(_)) => CLOCKS_ERR_BY,
            Some(_) | None => 0,
        };
        let of_link = self.links.entry(entry.link).or_default();
        let mut time = read_at.saturating_add(later);
        if !of_link.entries.is_empty() {
            // A clock may have gone back.
            time = time.max(of_link.turn);
        }
        of_link.turn = time;
        let turn = (time, self.came);
        if of_link.entries.is_empty() {
            self.next.insert((turn, entry.link));
        }
        let encoded = entry.encode_to_vec().into_boxed_slice();
        self.memory += memory(&encoded);
        of_link.entries.push_back(HeldEntry { turn, encoded });
        self.came += 1;
        self.left += 1;
    }

    fn take_next(&mut self) -> Option<UplinkEntry> {
        let (_, link) = self.next.pop_first()?;
        let of_link = self.links.get_mut(&link)?;
        let HeldEntry { encoded, .. } = of_link.entries.pop_front()?;
        match of_link.entries.front() {
            Some(next) => {
                self.next.insert((next.turn, link));
            }
            None => {
                self.links.remove(&link);
            }
        }
        self.left -= 1;
        self.memory -= memory(&encoded);
        let entry = UplinkEntry::decode(&*encoded);
        Some(entry.expect("the node has encoded this itself"))
    }
}

/// What an entry takes here: its bytes, and twice its place, for rows grow by doubling.
fn memory(encoded: &[u8]) -> usize {
    allocated(encoded.len()) + 2 * size_of::<HeldEntry>()
}
