//! What a new node holds until it knows all links, and the order in which it applies that.
//!
//! In the order in which gateways read it, by the node's clock; entries of one link stay in theirs. So a user who moves
//! between two MsgServers is where the last report says.

use hashbrown::HashMap;
use route_core::LinkId;
use route_core::memory::allocated;
use route_proto::attach::cost;
use route_proto::attach::v1::UplinkEntry;
use route_proto::attach::v1::uplink_entry::Entry;

/// By how much the comparison of two gateways' clocks may err, microseconds. A MsgServer claims a
/// connection when another one has ended: that has to come first.
const CLOCKS_ERR_BY: i64 = 100_000;

/// Entries that are handed on together.
const TOGETHER: usize = 1024;

/// By gateway.
#[derive(Debug, Default)]
pub(super) struct Held {
    gateways: HashMap<u64, OfGateway>,
}

#[derive(Debug, Default)]
struct OfGateway {
    entries: Vec<HeldEntry>,
    /// By what is compared with the gateway's window.
    bytes: usize,
    /// What the entries take here.
    memory: usize,
}

#[derive(Debug)]
struct HeldEntry {
    /// When the gateway read it, by the node's clock, microseconds.
    read_at: i64,
    entry: UplinkEntry,
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
            // What closed links give back is outside the windows that the bound is made for; their queues limit it.
            held.bytes += match &entry.entry {
                Some(Entry::Returned(_)) | None => 0,
                Some(content) => cost(content),
            };
            held.memory += memory(&entry);
            let read_at = read_at(&entry);
            held.entries.push(HeldEntry { read_at, entry });
        }
    }

    /// A stream has ended: what it brought comes again with the next one.
    pub(super) fn forget(&mut self, gateway: u64) {
        self.gateways.remove(&gateway);
    }

    /// What is held of this gateway within its window.
    pub(super) fn bytes(&self, gateway: u64) -> usize {
        self.gateways.get(&gateway).map_or(0, |held| held.bytes)
    }

    /// What all of it takes, bytes.
    pub(super) fn memory(&self) -> usize {
        self.gateways.values().map(|held| held.memory).sum()
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.gateways.values().map(|held| held.entries.len()).sum()
    }

    /// Links that claim.
    pub(super) fn claims(&self) -> Vec<LinkId> {
        let mut claims = Vec::new();
        for (&gateway, held) in &self.gateways {
            for HeldEntry { entry, .. } in &held.entries {
                if matches!(&entry.entry, Some(Entry::Role(role)) if role.claimed) {
                    let number = entry.link;
                    claims.push(LinkId::new(gateway, number));
                }
            }
        }
        claims.sort_unstable();
        claims
    }

    /// Everything, in order: entries of one gateway that follow each other, and which gateway that
    /// is. Only their turns are sorted, and only some entries are handed on at a time: there may be
    /// as much as fits.
    pub(super) fn in_order(self) -> impl Iterator<Item = (u64, Vec<UplinkEntry>)> {
        let mut turns = Vec::with_capacity(self.len());
        let mut gateways: HashMap<u64, Vec<UplinkEntry>> = HashMap::new();
        for (gateway, held) in self.gateways {
            let mut last: HashMap<u64, i64> = HashMap::new();
            let read = held.entries.iter().enumerate();
            for (place, HeldEntry { read_at, entry }) in read {
                let is_claim = matches!(&entry.entry, Some(Entry::Role(_)));
                let later = if is_claim { CLOCKS_ERR_BY } else { 0 };
                let turn = read_at.saturating_add(later);
                // A clock may have gone back.
                let last = last.entry(entry.link).or_insert(turn);
                *last = turn.max(*last);
                turns.push((*last, gateway, place));
            }
            // In place.
            let entries = held.entries.into_iter().map(|held| held.entry);
            gateways.insert(gateway, entries.collect());
        }
        turns.sort_unstable();
        let mut turns = turns.into_iter().peekable();
        std::iter::from_fn(move || {
            let (_, gateway, first) = turns.next()?;
            let of_gateway = gateways.get_mut(&gateway)?;
            let mut entries = vec![std::mem::take(&mut of_gateway[first])];
            while entries.len() < TOGETHER
                && let Some((_, _, place)) = turns.next_if(|(_, of, _)| *of == gateway)
            {
                entries.push(std::mem::take(&mut of_gateway[place]));
            }
            Some((gateway, entries))
        })
    }
}

/// What an entry takes here. Its payload is a part of what its message brought.
fn memory(entry: &UplinkEntry) -> usize {
    const ID: usize = size_of::<u32>();
    let content = match &entry.entry {
        Some(Entry::Envelope(envelope)) => {
            allocated(envelope.user_ids.capacity() * ID)
                + allocated(envelope.traceparent.capacity())
                + allocated(envelope.pdu.len())
        }
        Some(Entry::List(list)) => 3 * allocated(list.user_ids.capacity() * ID),
        Some(Entry::Query(query)) => {
            allocated(query.user_ids.capacity() * ID) + allocated(query.traceparent.capacity())
        }
        Some(Entry::Opened(opened)) => {
            allocated(opened.peer.capacity()) + allocated(opened.msg_server.capacity())
        }
        Some(returned @ Entry::Returned(_)) => cost(returned),
        Some(
            Entry::Closed(_)
            | Entry::Table(_)
            | Entry::Update(_)
            | Entry::Role(_)
            | Entry::Silence(_)
            | Entry::Unreadable(_),
        )
        | None => 0,
    };
    size_of::<HeldEntry>() + content
}
