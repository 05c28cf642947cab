//! What has been applied and may not be confirmed yet: each batch waits until everything that it
//! caused has been taken by the gateways that it is for, dropped or given up.
//!
//! Pure. A batch is what one Uplink message brought. What it causes carries copies of its receipt,
//! wherever it goes: in the queues of other gateways, at a seat, with a link that settles. When the
//! last copy is dropped, the batch may be confirmed. Batches of one gateway are confirmed in order,
//! and the work is per batch, not per delivery.
//!
//! What a gateway that is away has not taken is waited for too, because what the node alone holds
//! dies with the node. But not for ever: when so much of an origin waits that it would stop reading
//! its MsgServers (`--patient-bytes`), copies that rest are not waited for. They rest where less
//! than half of what may be held is held. Beyond that the origins do stop, until the gateway comes
//! back or is lost: nothing is dropped.
//!
//! Bounded by the windows of the gateways, which send nothing more when so much of theirs is
//! unconfirmed.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use route_core::Receipt;
use route_core::memory::allocated;

use super::sequences::Progress;

/// All gateways' unconfirmed batches.
#[derive(Debug)]
pub(crate) struct Confirmations {
    patient_bytes: usize,
    origins: HashMap<u64, Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// What the batches take here.
    memory: usize,
}

/// So many batches of a gateway wait each by itself. Beyond, they wait together, up to so many
/// bytes: a batch of one short entry takes as much here as the entry did.
const ALONE: usize = 64;
const TOGETHER_BYTES: usize = 16 << 10;

/// One applied batch: how far its links have come.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) progress: Vec<Progress>,
    /// One for all batches of a transaction.
    pub(crate) receipt: Arc<Receipt>,
    /// About what its entries take at their gateway.
    pub(crate) bytes: usize,
}

impl Batch {
    /// What it takes here: it is one of a queue, and has a receipt in two allocations.
    fn cost(&self) -> usize {
        const COUNTED: usize = 24;
        let progress = self.progress.capacity() * size_of::<Progress>();
        size_of::<Self>() + allocated(progress) + 2 * allocated(COUNTED)
    }
}

impl Confirmations {
    /// None yet. So many bytes of one gateway may wait before they are confirmed against the risk
    /// of losing them together with the node: less than a gateway's window for one link, so that a
    /// single busy link does not stop.
    pub(crate) fn new(patient_bytes: usize) -> Self {
        Self {
            patient_bytes,
            origins: HashMap::new(),
        }
    }

    /// Adds a batch of a gateway, when everything that it has caused so far is on its way.
    pub(crate) fn add(&mut self, origin: u64, batch: Batch) {
        if batch.progress.is_empty() {
            return;
        }
        let pending = self.origins.entry(origin).or_default();
        pending.bytes += batch.bytes;
        match pending.batches.back_mut() {
            // It waits for nothing but its turn, or with the last one.
            Some(last) if batch.receipt.is_last() || Arc::ptr_eq(&last.receipt, &batch.receipt) => {
                pending.memory -= last.cost();
                for progress in batch.progress {
                    match last.progress.last_mut() {
                        Some(of_link) if of_link.0 == progress.0 => *of_link = progress,
                        Some(_) | None => last.progress.push(progress),
                    }
                }
                last.bytes += batch.bytes;
                pending.memory += last.cost();
            }
            Some(_) | None => {
                pending.memory += batch.cost();
                pending.batches.push_back(batch);
            }
        }
    }

    /// The receipt of the last batch, if the next one is to wait together with it.
    pub(crate) fn to_be_joined(&self, origin: u64) -> Option<Arc<Receipt>> {
        let batches = &self.origins.get(&origin)?.batches;
        let last = batches.back()?;
        let joins = batches.len() > ALONE && last.bytes < TOGETHER_BYTES;
        joins.then(|| Arc::clone(&last.receipt))
    }

    /// Lets go of the batches that wait for nothing more, each gateway's in order, and says which.
    pub(crate) fn confirm(&mut self, mut tell: impl FnMut(u64, &[Progress])) {
        for (&origin, pending) in &mut self.origins {
            while let Some(batch) = pending.next(self.patient_bytes) {
                tell(origin, &batch.progress);
            }
        }
    }

    /// A gateway is gone: nobody waits for its confirmations.
    pub(crate) fn forget(&mut self, origin: u64) {
        self.origins.remove(&origin);
    }

    /// Bytes that wait to be confirmed, about.
    pub(crate) fn bytes(&self) -> usize {
        self.origins.values().map(|pending| pending.bytes).sum()
    }

    /// The same of one gateway.
    pub(crate) fn bytes_of(&self, origin: u64) -> usize {
        self.origins.get(&origin).map_or(0, |pending| pending.bytes)
    }

    /// What that takes here, bytes.
    pub(crate) fn memory(&self) -> usize {
        self.origins.values().map(|pending| pending.memory).sum()
    }
}

impl Pending {
    fn next(&mut self, patient_bytes: usize) -> Option<Batch> {
        let patient = self.bytes <= patient_bytes;
        let batch = self.batches.pop_front_if(|batch| {
            let receipt = &batch.receipt;
            receipt.is_last() || (!patient && receipt.only_rests())
        })?;
        self.bytes -= batch.bytes;
        self.memory -= batch.cost();
        if self.batches.is_empty() {
            self.batches = VecDeque::new();
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 1;
    const PATIENT_BYTES: usize = 1000;

    #[test]
    fn what_caused_nothing_is_confirmed_at_once() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);

        add(&mut confirmations, A, (1, 1), 10);

        assert_eq!(confirmed(&mut confirmations), [(A, vec![(1, 1)])]);
        assert_eq!(confirmed(&mut confirmations), []);
        assert_eq!(confirmations.bytes(), 0);
    }

    #[test]
    fn a_batch_waits_for_all_copies_and_the_next_for_its_turn() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        let first = add(&mut confirmations, A, (1, 1), 10);
        let again = first.clone();
        confirmations.add(A, batch((1, 2), Receipt::new(), 10));
        let second = add(&mut confirmations, A, (2, 1), 10);

        drop((first, second));
        assert_eq!(confirmed(&mut confirmations), []);
        drop(again);
        let both = [(A, vec![(1, 2)]), (A, vec![(2, 1)])];
        assert_eq!(confirmed(&mut confirmations), both);
    }

    #[test]
    fn of_many_batches_the_last_ones_wait_together() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        let waiting: Vec<_> = (1..=ALONE as u64 + 1)
            .map(|sequence| add(&mut confirmations, A, (1, sequence), 10))
            .collect();
        let of_the_last = confirmations.to_be_joined(A).expect("there are many");
        let before = confirmations.memory();

        confirmations.add(
            A,
            Batch {
                receipt: of_the_last,
                ..batch((1, 99), Receipt::new(), 10)
            },
        );

        assert_eq!(confirmations.memory(), before);
        drop(waiting);
        let last = confirmed(&mut confirmations).pop();
        assert_eq!(last, Some((A, vec![(1, 99)])));
        assert_eq!((confirmations.bytes(), confirmations.memory()), (0, 0));
    }

    #[test]
    fn origins_do_not_wait_for_each_other() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        let _on_its_way = add(&mut confirmations, A, (1, 1), 10);
        drop(add(&mut confirmations, 2, (1, 1), 10));

        assert_eq!(confirmed(&mut confirmations), [(2, vec![(1, 1)])]);
    }

    #[test]
    fn copies_that_rest_are_waited_for_until_too_much_waits_and_again_when_it_does_not() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        let first = add(&mut confirmations, A, (1, 1), PATIENT_BYTES).keep(true);
        assert_eq!(confirmed(&mut confirmations), []);

        let second = add(&mut confirmations, A, (1, 2), 1).keep(true);

        assert_eq!(confirmed(&mut confirmations), [(A, vec![(1, 1)])]);
        drop((first, second));
        assert_eq!(confirmed(&mut confirmations), [(A, vec![(1, 2)])]);
    }

    #[test]
    fn copies_that_do_not_rest_are_waited_for_without_patience_too() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        let receipt = add(&mut confirmations, A, (1, 1), PATIENT_BYTES + 1);
        let mut kept = receipt.keep(false);
        drop(receipt);
        assert_eq!(confirmed(&mut confirmations), []);

        kept.set_rests(true);

        assert_eq!(confirmed(&mut confirmations), [(A, vec![(1, 1)])]);
    }

    #[test]
    fn nothing_is_confirmed_to_a_gateway_that_is_gone() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        let receipt = add(&mut confirmations, A, (1, 1), 10);

        confirmations.forget(A);
        drop(receipt);

        assert_eq!(confirmed(&mut confirmations), []);
    }

    /// Adds a batch that has caused something. Returns the copy that this carries.
    fn add(
        confirmations: &mut Confirmations,
        origin: u64,
        progress: Progress,
        bytes: usize,
    ) -> Receipt {
        let receipt = Receipt::new();
        confirmations.add(origin, batch(progress, receipt.clone(), bytes));
        receipt
    }

    fn batch(progress: Progress, receipt: Receipt, bytes: usize) -> Batch {
        Batch {
            progress: vec![progress],
            receipt: Arc::new(receipt),
            bytes,
        }
    }

    fn confirmed(confirmations: &mut Confirmations) -> Vec<(u64, Vec<Progress>)> {
        let mut confirmed = Vec::new();
        confirmations.confirm(|origin, progress| confirmed.push((origin, progress.to_vec())));
        confirmed
    }
}
