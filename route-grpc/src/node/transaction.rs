//! What happens to what stands behind the node's lock.

use std::sync::Arc;
use std::time::Duration;

use route_core::{LinkId, Receipt};
use route_proto::attach::v1::UplinkEntry;
use tracing::{debug, warn};

use crate::cold_start::ColdStart;
use crate::gateways::Gateways;
use crate::gateways::clock_offset::ClockOffset;
use crate::gateways::confirmations::{Batch, Confirmations};
use crate::gateways::ingest::{self, Effects, OpenQueries};
use crate::gateways::queue::HeldRun;
use crate::gateways::reach::Parting;
use crate::gateways::wire::read_run;
use crate::refusal::Refusal;
use crate::trace::Traced;

/// A change of what stands behind the node's lock, and what it has caused so far.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    /// Keeps what is to be delivered, answered, closed and logged.
    pub(crate) core: route_core::Transaction<'a>,
    pub(crate) gateways: &'a mut Gateways,
    pub(super) confirmations: &'a mut Confirmations,
    pub(crate) cold_start: &'a mut Option<ColdStart>,
    /// What everything carries that it causes, if it applies batches.
    pub(super) receipt: Option<Arc<Receipt>>,
    /// Batches whose deliveries are not queued yet.
    pub(super) applied: Vec<Applied>,
    /// What is traced.
    pub(crate) traced: Traced,
}

/// One applied batch of a gateway.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) gateway: u64,
    pub(super) batch: Batch,
    /// Links that it has closed.
    pub(super) ended: Vec<u64>,
}

impl Transaction<'_> {
    /// Applies a batch of one gateway; the end of the transaction sees to its confirmation. Queries are answered, or
    /// kept in `later`.
    pub(crate) fn apply(
        &mut self,
        now: Duration,
        incarnation: u64,
        entries: Vec<UplinkEntry>,
        later: Option<&mut OpenQueries>,
    ) -> (Effects, Result<(), Refusal>) {
        let Some(gateway) = self.gateways.get_mut(incarnation) else {
            return (Effects::default(), Ok(()));
        };
        let core = &mut self.core;
        let joined = self.confirmations.to_be_joined(incarnation);
        let receipt = self.receipt.get_or_insert_with(|| {
            let receipt = joined.unwrap_or_else(|| Arc::new(Receipt::new()));
            core.under(Some(Receipt::clone(&receipt)));
            receipt
        });
        let (core, traced) = (&mut self.core, &mut self.traced);
        let (mut effects, result) =
            ingest::apply(core, now, incarnation, gateway, entries, later, traced);
        self.applied.push(Applied {
            gateway: incarnation,
            batch: Batch {
                progress: gateway.sequences.take_progress(),
                receipt: Arc::clone(receipt),
                bytes: effects.bytes,
            },
            ended: std::mem::take(&mut effects.ended),
        });
        (effects, result)
    }

    /// As [`apply`](Self::apply), for a gateway that sends again what it had read before, link by link: its queries wait for
    /// the rest.
    pub(crate) fn apply_again(
        &mut self,
        now: Duration,
        incarnation: u64,
        entries: Vec<UplinkEntry>,
        caught_up: bool,
    ) -> (Effects, Result<(), Refusal>) {
        let mut queries = match self.gateways.get_mut(incarnation) {
            Some(gateway) => std::mem::take(&mut gateway.waiting_queries),
            None => OpenQueries::default(),
        };
        let mut applied = self.apply(now, incarnation, entries, Some(&mut queries));
        if queries.bytes() > self.gateways.queue_bytes() {
            let too_many = || Refusal::protocol("more queries than may wait for one gateway");
            applied.1 = applied.1.and_then(|()| Err(too_many()));
        }
        if caught_up {
            self.gateways.caught_up(now, incarnation);
            self.learn_reach(incarnation);
            self.answer(&queries);
        } else if let Some(gateway) = self.gateways.get_mut(incarnation) {
            gateway.waiting_queries = queries;
        }
        applied
    }

    /// Answers queries as things are now.
    pub(super) fn answer(&mut self, queries: &OpenQueries) {
        for query in queries.iter() {
            ingest::answer(&mut self.core, query, &mut self.traced);
        }
    }

    /// How a gateway can be reached may have changed: the core learns it.
    pub(crate) fn learn_reach(&mut self, incarnation: u64) {
        if let Some(gateway) = self.gateways.get_mut(incarnation) {
            self.core.set_reach(incarnation, gateway.reach().of_core());
        }
    }

    /// A gateway's stream is over, because the gateway has hung up or for another reason. True if the gateway is detached by
    /// that.
    pub(crate) fn detach(
        &mut self,
        now: Duration,
        incarnation: u64,
        attempt: u64,
        parting: Parting,
        reason: Option<Refusal>,
    ) -> bool {
        let status = reason.map(Into::into);
        let gateways = &mut self.gateways;
        let detached = gateways.detach(now, incarnation, attempt, parting, status);
        if detached {
            self.learn_reach(incarnation);
            if let Some(cold_start) = &mut self.cold_start {
                cold_start.forget(incarnation);
            } else if parting == Parting::Finished {
                self.gateways.announce_roster(None);
            }
        }
        detached
    }

    /// The node ends a gateway's stream. True if the gateway is detached by that.
    pub(super) fn refuse(&mut self, now: Duration, incarnation: u64, refusal: Refusal) -> bool {
        let Some(gateway) = self.gateways.get_mut(incarnation) else {
            return false;
        };
        let attempt = gateway.attempt();
        self.detach(now, incarnation, attempt, Parting::Broken, Some(refusal))
    }

    /// A gateway has been away for too long, or begins a new life: its links end, and what it has not taken goes to their
    /// successors.
    pub(crate) fn lose_gateway(&mut self, now: Duration, incarnation: u64) {
        let Some(gateway) = self.gateways.remove(incarnation) else {
            return;
        };
        let id = gateway.id();
        let links = gateway.sequences.open_links().count();
        let held = gateway.queue.give_up();
        // What it was not handed goes to other connections of its MsgServers; what it was, it may have written.
        let not_handed: usize = held.iter().map(|held| held.run.deliveries.len()).sum();
        let given_up = gateway.queue.counts().given_up;
        if links == 0 {
            debug!(
                gateway = id,
                given_up, not_handed, "gateway forgotten, it had no links"
            );
        } else if let Some(left_out) = self.gateways.line(now, gateway.host()) {
            warn!(
                gateway = id,
                links, given_up, not_handed, left_out, "gateway lost, its links end"
            );
        }
        self.confirmations.forget(incarnation);
        self.core.lose_gateway(incarnation);
        self.take_back(incarnation, gateway.clock, held);
        for number in gateway.sequences.unfinished_links() {
            let link = LinkId::new(incarnation, number);
            self.core.all_returned(link, Vec::new());
        }
        self.gateways.count_dropped(&gateway.queue);
        if self.cold_start.is_none() {
            self.gateways.announce_roster(None);
        }
    }

    /// A gateway has hung up and is not back. Of its links, those whose MsgServers have turned to others are closed, however
    /// it has ended: their successors get at once what it was not handed, and do not wait for what it may have been.
    ///
    /// If it does live, what it gives back when it returns comes late.
    pub(super) fn give_up_returns(&mut self, incarnation: u64) {
        let awaited = self.core.view().awaited_of(incarnation);
        if awaited.is_empty() {
            return;
        }
        let Some(gateway) = self.gateways.get_mut(incarnation) else {
            return;
        };
        warn!(
            gateway = gateway.id(),
            links = awaited.len(),
            "gateway has hung up, its MsgServers' new connections do not wait for it"
        );
        let numbers: Vec<u64> = awaited.iter().map(|link| link.number).collect();
        let held = gateway.queue.give_up_for(&numbers);
        let clock = gateway.clock;
        self.take_back(incarnation, clock, held);
        for link in awaited {
            self.core.all_returned(link, Vec::new());
        }
    }

    /// What was not handed out to a gateway, whose clock this is, goes to the successors of its links.
    fn take_back(&mut self, incarnation: u64, clock: ClockOffset, held: Vec<HeldRun>) {
        for HeldRun { mut run, receipts } in held {
            let targets = std::mem::take(&mut run.targets);
            let Ok(mut run) = read_run(LinkId::NODE, run, clock, usize::MAX) else {
                debug_assert!(false, "the node has made this run itself");
                continue;
            };
            run.receipts = receipts;
            for number in targets {
                let link = LinkId::new(incarnation, number);
                self.core.returned(link, run.clone());
            }
        }
    }
}
