//! What a new node holds until it knows all links, and the order in which it applies that.
//!
//! In the order in which gateways read it, by the node's clock; entries of one link stay in theirs. So a user who moves
//! between two MsgServers is where the last report says.

use hashbrown::HashMap;
use route_core::LinkId;
use route_proto::attach::cost;
use route_proto::attach::v1::UplinkEntry;
use route_proto::attach::v1::uplink_entry::Entry;

/// By how much the comparison of two gateways' clocks may err, microseconds. A MsgServer claims a
/// connection when another one has ended: that has to come first.
const CLOCKS_ERR_BY: i64 = 100_000;

/// By gateway.
#[derive(Debug, Default)]
pub(super) struct Held {
    gateways: HashMap<u64, OfGateway>,
}

#[derive(Debug, Default)]
struct OfGateway {
    entries: Vec<HeldEntry>,
    bytes: usize,
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

    /// Everything, in order: entries of one gateway that follow each other, and which gateway that is.
    pub(super) fn in_order(self) -> Vec<(u64, Vec<UplinkEntry>)> {
        let mut all = Vec::new();
        for (gateway, held) in self.gateways {
            let mut last: HashMap<u64, i64> = HashMap::new();
            for HeldEntry { read_at, entry } in held.entries {
                let is_claim = matches!(&entry.entry, Some(Entry::Role(_)));
                let later = if is_claim { CLOCKS_ERR_BY } else { 0 };
                let turn = read_at.saturating_add(later);
                // A clock may have gone back.
                let last = last.entry(entry.link).or_insert(turn);
                *last = turn.max(*last);
                all.push((*last, gateway, entry));
            }
        }
        // Stable.
        all.sort_by_key(|(read_at, gateway, _)| (*read_at, *gateway));
        let mut merged: Vec<(u64, Vec<UplinkEntry>)> = Vec::new();
        for (_, gateway, entry) in all {
            match merged.last_mut() {
                Some((last, entries)) if *last == gateway => entries.push(entry),
                Some(_) | None => merged.push((gateway, vec![entry])),
            }
        }
        merged
    }
}
