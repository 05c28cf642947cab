//! What happens to what stands behind the node's lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use route_core::{Effect, Receipt};
use route_proto::attach::v1::UplinkEntry;
use tracing::warn;

use super::take_back::{self, TakeBack};
use crate::cold_start::ColdStart;
use crate::gateways::Gateways;
use crate::gateways::confirmations::{Batch, Confirmations};
use crate::gateways::ingest::{self, Effects};
use crate::gateways::queries::OpenQueries;
use crate::gateways::queue::Placed;
use crate::gateways::reach::Parting;
use crate::refusal::Refusal;
use crate::tenure::Door;
use crate::trace::Traced;

/// Steps that are enough under one lock: 4 096 sessions, which take four each, or 256 KiB. Less than a
/// millisecond.
pub(super) const HOLD_STEPS: u64 = 16_384;

/// A change of what stands behind the node's lock, and what it has caused so far.
pub(crate) struct Transaction<'a> {
    /// Keeps what is to be delivered, answered, closed and logged.
    pub(crate) core: route_core::Transaction<'a>,
    pub(crate) gateways: &'a mut Gateways,
    pub(super) confirmations: &'a mut Confirmations,
    pub(crate) cold_start: &'a mut Option<ColdStart>,
    pub(crate) door: &'a mut Option<Door>,
    /// What everything carries that it causes, if it applies batches.
    pub(super) receipt: Option<Arc<Receipt>>,
    /// Batches whose deliveries are not queued yet.
    pub(super) applied: Vec<Applied>,
    /// What is traced.
    pub(crate) traced: Traced,
    /// What lost gateways were not handed.
    pub(super) take_backs: &'a mut VecDeque<TakeBack>,
    /// Enough is done when the core has done so much.
    pub(super) until: u64,
    /// Goes when the lock is free.
    pub(super) garbage: Vec<Box<dyn Send>>,
    /// Where its deliveries stand, if somebody wants to know.
    pub(crate) placed: Option<Vec<Placed>>,
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
    /// Applies entries of one gateway, until enough has been done; the end of the transaction sees to their confirmation.
    /// Queries are answered, or kept in `later`. True while something is left.
    pub(crate) fn apply(
        &mut self,
        now: Duration,
        incarnation: u64,
        entries: &mut VecDeque<UplinkEntry>,
        later: Option<&mut OpenQueries>,
    ) -> (Effects, Result<bool, Refusal>) {
        let Some(gateway) = self.gateways.get_mut(incarnation) else {
            entries.clear();
            return (Effects::default(), Ok(false));
        };
        let core = &mut self.core;
        let joined = self.confirmations.to_be_joined(incarnation);
        let receipt = self.receipt.get_or_insert_with(|| {
            let receipt = joined.unwrap_or_else(|| Arc::new(Receipt::new()));
            core.under(Some(Receipt::clone(&receipt)));
            receipt
        });
        let mut batch = ingest::Batch {
            core: &mut self.core,
            now,
            gateway,
            later,
            traced: &mut self.traced,
            receipt,
            until: self.until,
            effects: Effects::default(),
            effect: Effect::Notify,
        };
        let result = ingest::apply(&mut batch, incarnation, entries);
        let mut effects = batch.effects;
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
        entries: &mut VecDeque<UplinkEntry>,
    ) -> (Effects, Result<bool, Refusal>) {
        let mut queries = match self.gateways.get_mut(incarnation) {
            Some(gateway) => std::mem::take(&mut gateway.waiting_queries),
            None => OpenQueries::default(),
        };
        let mut applied = self.apply(now, incarnation, entries, Some(&mut queries));
        if queries.bytes() > self.gateways.queue_bytes() {
            let too_many = || Refusal::protocol("more queries than may wait for one gateway");
            applied.1 = applied.1.and_then(|_| Err(too_many()));
        }
        if let Some(gateway) = self.gateways.get_mut(incarnation) {
            gateway.waiting_queries = queries;
        }
        applied
    }

    /// A gateway has sent everything again: its queries are answered, until enough has been done. True while there are more.
    pub(crate) fn caught_up(&mut self, now: Duration, incarnation: u64) -> bool {
        self.gateways.caught_up(now, incarnation);
        self.learn_reach(incarnation);
        let Some(gateway) = self.gateways.get_mut(incarnation) else {
            return false;
        };
        let waiting = std::mem::take(&mut gateway.waiting_queries);
        gateway.answering.append(waiting);
        let (core, traced) = (&mut self.core, &mut self.traced);
        gateway.answering.answer(core, traced, self.until)
    }

    /// Enough has been done under one lock.
    pub(super) fn is_spent(&self) -> bool {
        self.core.view().work() >= self.until
    }

    /// Goes on with what is done piece by piece, until enough has been done. True while there is more.
    pub(super) fn proceed(&mut self, now: Duration) -> bool {
        while let Some(gateway) = self.gateways.unfinished() {
            let (_, result) = self.apply(now, gateway, &mut VecDeque::new(), None);
            debug_assert!(result.is_ok(), "it was checked when it began");
            if self.is_spent() {
                return true;
            }
        }
        if self.take_back_some(now) {
            return true;
        }
        self.core.proceed(self.until) || self.cold_start_is_ending()
    }

    fn cold_start_is_ending(&self) -> bool {
        self.cold_start.as_ref().is_some_and(ColdStart::is_ending)
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
            if parting == Parting::Finished {
                self.give_up_finished(incarnation);
            }
            if let Some(cold_start) = &mut self.cold_start {
                self.garbage.push(Box::new(cold_start.forget(incarnation)));
            } else if parting == Parting::Finished {
                self.gateways.announce_roster(None);
            }
        }
        detached
    }

    /// It has ended its links and its stream: no later term has to wait for it.
    fn give_up_finished(&mut self, incarnation: u64) {
        if let Some(door) = &mut *self.door
            && let Some(gateway) = self.gateways.get_mut(incarnation)
        {
            door.gives_up(gateway.member());
        }
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
        if let Some(door) = &mut *self.door {
            door.gives_up(gateway.member());
        }
        self.confirmations.forget(incarnation);
        self.core.lose_gateway(incarnation);
        // What it was not handed goes to other connections of its MsgServers; what it was, it may have written.
        self.take_backs.push_back(TakeBack::of_lost(gateway));
        self.take_back_some(now);
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
        for held in held {
            take_back::one(&mut self.core, incarnation, clock, held);
        }
        for link in awaited {
            self.core.all_returned(link, Vec::new());
        }
    }

    /// What was not handed out to gateways that are lost goes to the successors of their links, until enough has been done.
    /// True while there is more.
    fn take_back_some(&mut self, now: Duration) -> bool {
        while let Some(take_back) = self.take_backs.front_mut() {
            if take_back.proceed(&mut self.core, self.until) {
                return true;
            }
            if let Some(over) = self.take_backs.pop_front() {
                let counts = over.ends(now, self.gateways);
                self.gateways.count_dropped(counts);
                self.garbage.push(Box::new(over));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use route_proto::attach::v1::uplink_entry::Entry;
    use route_proto::attach::v1::{AttachHello, LinkOpened, RoleReport, SessionList};
    use tokio_util::sync::CancellationToken;

    use super::super::routing::Routing;
    use super::*;
    use crate::dialects::Dialects;
    use crate::gateways::hello::Hello;
    use crate::gateways::queue::Retention;
    use crate::settings::NodeSettings;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn a_list_that_is_refused_on_its_way_is_left_behind() {
        let settings = NodeSettings {
            cold_start_wait: Duration::ZERO,
            ..NodeSettings::default()
        };
        let mut routing = Routing::new(&settings, 1, NOW, None);
        let mut transaction = routing.begin(NOW);
        let hello = AttachHello {
            gateway_id: "a".to_owned(),
            incarnation: 7,
            attempt: 1,
            ..AttachHello::default()
        };
        let hello = Hello::check(hello, None, 1, &Dialects::new(), NOW).expect("it is well");
        let end = CancellationToken::new();
        let gateways = &mut transaction.gateways;
        gateways.insert(NOW, hello, end, Retention::UntilTaken);
        let opened = LinkOpened {
            peer: "10.0.0.1:1".to_owned(),
            ..LinkOpened::default()
        };
        let of_no_client = SessionList {
            user_ids: vec![1],
            client_types: vec![999],
            statuses: vec![1],
            last: true,
        };

        let entries = [Entry::Opened(opened), Entry::List(of_no_client)];
        let (_, refused) = transaction.apply(NOW, 7, &mut numbered(1, entries), None);
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(transaction.gateways.unfinished(), None);
        let role = [Entry::Role(RoleReport { claimed: true })];
        let (effects, more) = transaction.apply(NOW, 7, &mut numbered(3, role), None);
        assert_eq!((effects.applied, more), (1, Ok(false)));
    }

    fn numbered<const N: usize>(first: u64, entries: [Entry; N]) -> VecDeque<UplinkEntry> {
        let numbered = (first..).zip(entries).map(|(sequence, entry)| UplinkEntry {
            link: 1,
            sequence,
            entry: Some(entry),
            ..UplinkEntry::default()
        });
        numbered.collect()
    }
}
