//! What one message of a gateway has brought, on its way into the node: as much at a time as is
//! enough for one lock.

use std::collections::VecDeque;
use std::time::Duration;

use route_core::{LinkId, micros};
use route_proto::attach::cost;
use route_proto::attach::v1::{Uplink, UplinkEntry};

use crate::gateways::clock_offset::signed;
use crate::gateways::ingest::Effects;
use crate::node::Transaction;
use crate::refusal::Refusal;

/// So much is kept under one lock while the node does not know all links.
const KEPT_ENTRIES: usize = 1024;
const KEPT_BYTES: usize = 256 << 10;

/// What is left of it.
#[derive(Debug)]
pub(super) struct Batch {
    /// What stands around the entries, until that is read.
    head: Option<Uplink>,
    /// With the last entry, its gateway has sent everything again.
    pub(super) caught_up: bool,
    entries: VecDeque<UplinkEntry>,
    /// Parts of tables, which are applied although the node does not know all links.
    tables: VecDeque<UplinkEntry>,
}

/// Whether more can be kept of a gateway while the node does not know all links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Room,
    Full,
}

impl Batch {
    /// A message whose entries are these.
    pub(super) fn new(head: Uplink, entries: VecDeque<UplinkEntry>) -> Self {
        Self {
            caught_up: head.caught_up,
            head: Some(head),
            entries,
            tables: VecDeque::new(),
        }
    }

    /// Reads what stands around the entries, the first time. False if its stream is not the gateway's present one.
    pub(super) fn take_head(
        &mut self,
        transaction: &mut Transaction<'_>,
        now: Duration,
        incarnation: u64,
        attempt: u64,
    ) -> Result<bool, Refusal> {
        let Some(gateway) = transaction.gateways.of_stream(incarnation, attempt) else {
            return Ok(false);
        };
        let Some(uplink) = self.head.take() else {
            return Ok(true);
        };
        gateway.check(&uplink)?;
        if uplink.clock_micros != 0 {
            gateway.clock.read(now, uplink.clock_micros);
        }
        for pause in uplink.pauses {
            let origin = pause.origin.unwrap_or_default();
            let link = LinkId::new(origin.gateway, origin.number);
            let gateways = &mut transaction.gateways;
            gateways.ask_pause(incarnation, link, pause.on);
        }
        let gateways = &mut transaction.gateways;
        gateways.looked_at(incarnation, uplink.looked_at);
        let took = gateways.took(incarnation, attempt, uplink.taken);
        if let Some(door) = &mut *transaction.door
            && let Some(gateway) = took.filter(|it| it.knows_of_welcome())
        {
            door.acknowledged(&gateway.member());
        }
        Ok(true)
    }

    /// Keeps some of the entries, if the node does not know all links.
    pub(super) fn hold_some(
        &mut self,
        transaction: &mut Transaction<'_>,
        now: Duration,
        incarnation: u64,
    ) -> Hold {
        let gateway = transaction.gateways.get_mut(incarnation);
        let (Some(cold_start), Some(gateway)) = (&mut *transaction.cold_start, gateway) else {
            // What was kept back until now goes first.
            self.tables.append(&mut self.entries);
            std::mem::swap(&mut self.tables, &mut self.entries);
            return Hold::Room;
        };
        let mut bytes = 0;
        let mut kept = Vec::new();
        while kept.len() < KEPT_ENTRIES
            && bytes < KEPT_BYTES
            && let Some(entry) = self.entries.pop_front()
        {
            bytes += entry.entry.as_ref().map_or(0, cost);
            kept.push(entry);
        }
        let clock = gateway.clock;
        let read_at = |entry: &UplinkEntry| match entry.read_at_micros {
            0 => micros(now),
            // Not after it has arrived, whatever is known of the gateway's clock.
            read_at => clock.node_micros(signed(read_at)).min(micros(now)),
        };
        self.tables
            .extend(cold_start.hold(incarnation, kept, read_at));
        if cold_start.is_full(incarnation) {
            return Hold::Full;
        }
        Hold::Room
    }

    /// Applies some of what is not kept. True while something is left.
    pub(super) fn apply_some(
        &mut self,
        transaction: &mut Transaction<'_>,
        now: Duration,
        incarnation: u64,
    ) -> (Effects, Result<bool, Refusal>) {
        let knows_all = transaction.cold_start.is_none();
        let entries = match knows_all {
            true => &mut self.entries,
            false => &mut self.tables,
        };
        let gateway = transaction.gateways.get_mut(incarnation);
        let (begun, catches_up) = gateway.map_or((false, false), |gateway| {
            (gateway.is_unfinished(), !gateway.reach().has_caught_up())
        });
        let (effects, more) = if entries.is_empty() && !begun {
            (Effects::default(), Ok(false))
        } else if catches_up {
            transaction.apply_again(now, incarnation, entries)
        } else {
            transaction.apply(now, incarnation, entries, None)
        };
        let left = !self.entries.is_empty() || !self.tables.is_empty();
        (effects, more.map(|more| more || left))
    }
}
