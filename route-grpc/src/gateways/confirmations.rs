//! What has been applied and may not be confirmed yet: each batch waits until what it caused stands with its targets.
//!
//! Pure. A batch is what one Uplink message brought: how far its links have come, and the places in the queues of other
//! gateways behind which everything stands that it caused. Batches of one gateway are confirmed in order, so one list
//! per gateway is enough, and the work is per batch, not per delivery.
//!
//! A target that is detached is waited for too, because what the node alone holds dies with the node. But not for ever:
//! when so much of an origin waits that it would stop reading its MsgServers (`--patient-bytes`), batches are confirmed
//! although the node alone holds what they caused, as long as the target's queue is less than half full. Beyond that the
//! origins do stop, until the target comes back or is lost: nothing is dropped.
//!
//! What the core holds for the successor of a closed link has no place yet ([`Wait::HELD`]); it gets one when the core
//! lets go of it. Likewise what a lost gateway had not taken ([`Confirmations::moved`]).
//!
//! Bounded by the windows of the gateways, which send nothing more when so much of theirs is unconfirmed.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::gateways::sequences::Mark;

/// A place in the queue of a target gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wait {
    /// Its incarnation.
    pub(crate) gateway: u64,
    /// How many entries of its queue must have been taken.
    pub(crate) offset: u64,
}

impl Wait {
    /// The core holds it; it stands nowhere yet.
    pub(crate) const HELD: Self = Self {
        gateway: 0,
        offset: 0,
    };
}

/// A queue that deliveries have left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Left {
    gateway: u64,
    /// It is no more: if its gateway comes back, it has a new one.
    all: bool,
}

impl Left {
    /// The core has let go of something.
    pub(crate) const CORE: Self = Self::some(Wait::HELD.gateway);

    /// Some have left the queue of this gateway.
    pub(crate) const fn some(gateway: u64) -> Self {
        Self {
            gateway,
            all: false,
        }
    }

    /// All have.
    pub(crate) const fn all(gateway: u64) -> Self {
        Self { gateway, all: true }
    }
}

/// How urgent a confirmation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    /// The origin goes on reading.
    Left,
    /// It is about to stop.
    Over,
}

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
}

#[derive(Debug)]
struct Batch {
    marks: Vec<Mark>,
    waits: Vec<Wait>,
    bytes: usize,
}

impl Confirmations {
    /// None yet. So many bytes of one gateway may wait before they are confirmed against the risk of losing them together with
    /// the node: less than a gateway's window for one link, so that a single busy link does not stop.
    pub(crate) fn new(patient_bytes: usize) -> Self {
        Self {
            patient_bytes,
            origins: HashMap::new(),
        }
    }

    /// Adds what a gateway's links have come to, and what that waits for.
    pub(crate) fn add(&mut self, origin: u64, marks: Vec<Mark>, waits: &[Wait], bytes: usize) {
        if marks.is_empty() {
            return;
        }
        let pending = self.origins.entry(origin).or_default();
        pending.bytes += bytes;
        match pending.batches.back_mut() {
            // It caused nothing, so it waits for nothing but its turn.
            Some(last) if waits.is_empty() => {
                last.marks.extend(marks);
                last.bytes += bytes;
            }
            Some(_) | None => pending.batches.push_back(Batch {
                marks,
                waits: waits.to_vec(),
                bytes,
            }),
        }
    }

    /// Deliveries that stood in these places stand in those now.
    pub(crate) fn moved(&mut self, from: &[Left], to: &[Wait]) {
        let batches = self.origins.values_mut().flat_map(|p| &mut p.batches);
        for batch in batches {
            let concerns = |left: &Left| batch.waits.iter().any(|w| w.gateway == left.gateway);
            if from.iter().any(concerns) {
                let is_gone = |wait: &Wait| {
                    let mut left = from.iter();
                    left.any(|left| left.gateway == wait.gateway && left.all)
                };
                batch.waits.retain(|wait| !is_gone(wait));
                batch.waits.extend_from_slice(to);
            }
        }
    }

    /// Takes a batch that waits for nothing more, if there is one: its origin and marks. `stands` says whether a wait is
    /// over.
    pub(crate) fn next(
        &mut self,
        stands: impl Fn(Wait, Patience) -> bool,
    ) -> Option<(u64, Vec<Mark>)> {
        for (origin, pending) in &mut self.origins {
            let patience = if pending.bytes > self.patient_bytes {
                Patience::Over
            } else {
                Patience::Left
            };
            let Some(first) = pending.batches.front_mut() else {
                continue;
            };
            first.waits.retain(|wait| !stands(*wait, patience));
            if first.waits.is_empty()
                && let Some(batch) = pending.batches.pop_front()
            {
                pending.bytes -= batch.bytes;
                return Some((*origin, batch.marks));
            }
        }
        None
    }

    /// A gateway is gone: nobody waits for its confirmations.
    pub(crate) fn forget(&mut self, origin: u64) {
        self.origins.remove(&origin);
    }

    /// Bytes that wait to be confirmed, about.
    pub(crate) fn bytes(&self) -> usize {
        self.origins.values().map(|pending| pending.bytes).sum()
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

        confirmations.add(A, vec![(1, 1)], &[], 10);

        assert_eq!(next(&mut confirmations, &[]), Some((A, vec![(1, 1)])));
        assert_eq!(next(&mut confirmations, &[]), None);
        assert_eq!(confirmations.bytes(), 0);
    }

    #[test]
    fn a_batch_waits_for_all_its_targets_and_the_next_for_its_turn() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        confirmations.add(A, vec![(1, 1)], &[wait(2, 5), wait(3, 7)], 10);
        confirmations.add(A, vec![(1, 2)], &[], 10);
        confirmations.add(A, vec![(2, 1)], &[wait(2, 5)], 10);

        assert_eq!(next(&mut confirmations, &[(2, 9)]), None);
        let first = next(&mut confirmations, &[(2, 9), (3, 7)]);
        assert_eq!(first, Some((A, vec![(1, 1), (1, 2)])));
        let second = next(&mut confirmations, &[(2, 5)]);
        assert_eq!(second, Some((A, vec![(2, 1)])));
    }

    #[test]
    fn origins_do_not_wait_for_each_other() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        confirmations.add(A, vec![(1, 1)], &[wait(3, 1)], 10);
        confirmations.add(2, vec![(1, 1)], &[], 10);

        assert_eq!(next(&mut confirmations, &[]), Some((2, vec![(1, 1)])));
        assert_eq!(next(&mut confirmations, &[]), None);
    }

    #[test]
    fn patience_ends_when_too_much_waits_and_returns_when_it_does_not() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        confirmations.add(A, vec![(1, 1)], &[wait(3, 1)], PATIENT_BYTES);
        assert_eq!(confirmations.next(|_, p| p == Patience::Over), None);

        confirmations.add(A, vec![(1, 2)], &[wait(3, 2)], 1);

        let next =
            |confirmations: &mut Confirmations| confirmations.next(|_, p| p == Patience::Over);
        assert_eq!(next(&mut confirmations), Some((A, vec![(1, 1)])));
        assert_eq!(next(&mut confirmations), None);
    }

    #[test]
    fn what_the_core_held_is_followed_to_where_it_goes() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        confirmations.add(A, vec![(1, 1)], &[Wait::HELD], 10);
        confirmations.add(A, vec![(1, 2)], &[wait(2, 1)], 10);

        confirmations.moved(&[Left::CORE], &[wait(3, 4)]);

        let let_go = (Wait::HELD.gateway, Wait::HELD.offset);
        assert_eq!(next(&mut confirmations, &[let_go, (2, 1)]), None);
        let first = next(&mut confirmations, &[let_go, (3, 4)]);
        assert_eq!(first, Some((A, vec![(1, 1)])));
    }

    #[test]
    fn what_a_lost_gateway_gives_up_is_followed_too() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        confirmations.add(A, vec![(1, 1)], &[wait(2, 1)], 10);
        confirmations.add(A, vec![(1, 2)], &[], 10);

        confirmations.moved(&[Left::all(2)], &[Wait::HELD]);

        assert_eq!(next(&mut confirmations, &[(2, u64::MAX)]), None);
    }

    #[test]
    fn what_has_left_a_queue_is_followed_and_the_rest_waited_for() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        confirmations.add(A, vec![(1, 1)], &[wait(2, 1)], 10);

        confirmations.moved(&[Left::some(2)], &[wait(3, 4)]);

        assert_eq!(next(&mut confirmations, &[(2, 1)]), None);
        let first = next(&mut confirmations, &[(3, 4), (2, 1)]);
        assert_eq!(first, Some((A, vec![(1, 1)])));
    }

    #[test]
    fn nobody_waits_for_the_queue_of_a_life_that_is_over() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        confirmations.add(A, vec![(1, 1)], &[wait(3, 1)], 10);
        confirmations.add(A, vec![(1, 2)], &[wait(2, 9)], 10);

        confirmations.moved(&[Left::all(2)], &[]);

        // Gateway 2 is back, and its new queue is short.
        let taken = [(3, 1), (2, 1)];
        assert_eq!(next(&mut confirmations, &taken), Some((A, vec![(1, 1)])));
        assert_eq!(next(&mut confirmations, &taken), Some((A, vec![(1, 2)])));
    }

    #[test]
    fn nothing_is_confirmed_to_a_gateway_that_is_gone() {
        let mut confirmations = Confirmations::new(PATIENT_BYTES);
        confirmations.add(A, vec![(1, 1)], &[], 10);

        confirmations.forget(A);

        assert_eq!(next(&mut confirmations, &[]), None);
    }

    fn wait(gateway: u64, offset: u64) -> Wait {
        Wait { gateway, offset }
    }

    /// `taken`: how many entries each gateway has taken.
    fn next(confirmations: &mut Confirmations, taken: &[(u64, u64)]) -> Option<(u64, Vec<Mark>)> {
        confirmations.next(|wait, _| {
            let mut taken = taken.iter();
            taken.any(|(gateway, count)| *gateway == wait.gateway && *count >= wait.offset)
        })
    }
}
