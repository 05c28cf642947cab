//! What a link's lock guards: what waits to be written, what was taken over, and how far the end has come.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use route_proto::attach::v1::{CloseReason, DeliveryRun, LinkId, TakenMark};

use super::{LinkSettings, Next};
use crate::links::output::{GivenBack, Output};
use crate::links::pressure::{Pressure, Turn};
use crate::links::run::Run;
use crate::once::takeover::{Fresh, Mark, TakeOver};
use crate::unconfirmed::uplink::Uplink;

#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) output: Output,
    pub(super) limit: usize,
    pub(super) pressure: Pressure,
    /// `None` when the node never repeats anything (embedded).
    pub(super) takeover: Option<TakeOver>,
    pub(super) sent: Duration,
    /// The task that writes, when it waits.
    pub(super) writer: Option<Waker>,
    /// It is to look whether the host is there.
    pub(super) look: bool,
    pub(super) ending: Option<CloseReason>,
    /// Nothing is written any more: what comes waits for the link's successor.
    pub(super) holds: bool,
    /// The task writes no more. What it left, and all that came later, was given back.
    pub(super) shut: Option<GivenBack>,
    /// By origin: the first delivery that was given back.
    pub(super) given_back: HashMap<LinkId, Mark, RandomState>,
    /// The node knows that the link has ended.
    pub(super) end_confirmed: bool,
}

impl Outbox {
    /// Nothing waits.
    pub(super) fn new(settings: &LinkSettings, now: Duration) -> Self {
        Outbox {
            output: Output::default(),
            limit: settings.queue_bytes,
            pressure: Pressure::new(settings.queue_bytes),
            takeover: settings.remembered_origins.map(TakeOver::new),
            sent: now,
            writer: None,
            look: false,
            ending: None,
            holds: false,
            shut: None,
            given_back: HashMap::default(),
            end_confirmed: false,
        }
    }

    /// What comes before writing.
    pub(super) fn urgent(&mut self) -> Option<Next> {
        if let Some(reason) = self.ending {
            return Some(Next::End(reason));
        }
        std::mem::take(&mut self.look).then_some(Next::Look)
    }

    /// What of a run the link has not taken over before.
    pub(super) fn fresh(&mut self, run: &Arc<Run>) -> Option<Arc<Run>> {
        let Some(takeover) = &mut self.takeover else {
            return Some(Arc::clone(run));
        };
        if run.late() {
            return Some(Arc::clone(run));
        }
        match takeover.admit(run.origin(), run.first(), run.last()) {
            Fresh::All => Some(Arc::clone(run)),
            Fresh::After(mark) => run.after(mark).map(Arc::new),
            Fresh::Nothing => None,
        }
    }

    pub(super) fn note_given_back(&mut self, run: &DeliveryRun) {
        let (Some(origin), Some(first)) = (run.origin, run.deliveries.first()) else {
            return;
        };
        let mark = Mark {
            sequence: first.sequence,
            index: first.index,
        };
        let noted = self.given_back.entry(origin).or_insert(mark);
        *noted = mark.min(*noted);
    }

    /// How far each origin's deliveries were written: as far as they were taken over, but what was given back.
    pub(super) fn written(&self) -> Vec<TakenMark> {
        let Some(takeover) = &self.takeover else {
            return Vec::new();
        };
        let marks = takeover.marks().map(|(origin, taken)| {
            let given_back = self.given_back.get(&origin);
            let mark = given_back.map_or(taken, |first| taken.min(first.before()));
            TakenMark {
                origin: Some(origin),
                sequence: mark.sequence,
                index: mark.index,
            }
        });
        marks.collect()
    }

    /// Something was added to the queue.
    pub(super) fn pushed(&mut self, now: Duration, wake: &mut Vec<Waker>) -> Option<Turn> {
        if self.holds {
            wake.extend(self.writer.take_if(|_| self.output.cost() > self.limit));
            return None;
        }
        if self.output.cost() > self.limit {
            self.ending.get_or_insert(CloseReason::SlowReader);
        }
        wake.extend(self.writer.take());
        let queued = self.output.cost();
        self.pressure.pushed(now, queued)
    }

    /// Gives back a run that came too late. Returns how many deliveries were dropped instead.
    pub(super) fn give_back(&mut self, run: &Run, number: u64, uplink: &Uplink) -> usize {
        let Some(given_back) = self.shut.as_mut().filter(|_| !self.end_confirmed) else {
            // The node has been told that nothing more comes back, and should not have sent this.
            return run.deliveries();
        };
        let before = given_back.dropped;
        given_back.add(run, 0);
        let dropped = given_back.dropped - before;
        let runs = std::mem::take(&mut given_back.runs);
        for run in &runs {
            self.note_given_back(run);
        }
        uplink.give_back(number, runs);
        dropped
    }
}
