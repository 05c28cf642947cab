//! What a lost gateway was not handed: it goes to the successors of its links, piece by piece.

use std::collections::VecDeque;
use std::time::Duration;

use route_core::{LinkId, Transaction};
use tracing::{debug, warn};

use crate::gateways::clock_offset::ClockOffset;
use crate::gateways::queue::{Counts, GivenUp, HeldRun};
use crate::gateways::wire::read_run;
use crate::gateways::{Gateway, Gateways};

/// Of one gateway.
#[derive(Debug)]
pub(super) struct TakeBack {
    gateway: Box<Gateway>,
    left: GivenUp,
    runs: VecDeque<HeldRun>,
    /// Links that are told when nothing is left.
    links: Vec<u64>,
    open_links: usize,
    not_handed: usize,
}

impl TakeBack {
    /// The gateway will not come back.
    pub(super) fn of_lost(gateway: Gateway) -> Self {
        Self {
            left: gateway.queue.give_up(),
            runs: VecDeque::new(),
            links: gateway.sequences.unfinished_links().collect(),
            open_links: gateway.sequences.open_links().count(),
            not_handed: 0,
            gateway: Box::new(gateway),
        }
    }

    /// What is left takes so many bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.left.bytes()
    }

    /// Takes more back, until so much has been done. True while there is more.
    pub(super) fn proceed(&mut self, core: &mut Transaction<'_>, until: u64) -> bool {
        let incarnation = self.gateway.incarnation();
        while core.view().work() < until {
            if let Some(run) = self.runs.pop_front() {
                one(core, incarnation, self.gateway.clock, run);
            } else if let Some((entries, runs)) = self.left.take_next() {
                core.has_done(entries);
                let deliveries = runs.iter().map(|held| held.run.deliveries.len());
                self.not_handed += deliveries.sum::<usize>();
                self.runs = runs;
            } else if let Some((number, (from, deliveries))) = self.left.next_given_up() {
                core.has_done(1);
                core.lost_with_gateway(LinkId::new(incarnation, number), from, deliveries);
            } else if let Some(number) = self.links.pop() {
                core.has_done(1);
                core.all_returned(LinkId::new(incarnation, number), Vec::new());
            } else {
                return false;
            }
        }
        true
    }

    /// Everything is taken back: says so. Returns what became of all that its queue got.
    pub(super) fn ends(&self, now: Duration, gateways: &mut Gateways) -> Counts {
        let counts = self.left.counts();
        let (links, not_handed, given_up) = (self.open_links, self.not_handed, counts.given_up);
        let gateway = self.gateway.id();
        if links == 0 {
            debug!(
                gateway,
                given_up, not_handed, "gateway forgotten, it had no links"
            );
        } else if let Some(left_out) = gateways.line(now, self.gateway.host()) {
            warn!(
                gateway,
                links, given_up, not_handed, left_out, "gateway lost, its links end"
            );
        }
        counts
    }
}

/// What was not handed out to a gateway, whose clock this is, goes to the successors of its links.
pub(super) fn one(core: &mut Transaction<'_>, incarnation: u64, clock: ClockOffset, held: HeldRun) {
    let HeldRun { mut run, receipts } = held;
    let targets = std::mem::take(&mut run.targets);
    let Ok(mut run) = read_run(LinkId::NODE, run, clock, usize::MAX) else {
        debug_assert!(false, "the node has made this run itself");
        return;
    };
    run.receipts = receipts;
    for number in targets {
        core.has_done(run.items.len());
        core.returned(LinkId::new(incarnation, number), run.clone());
    }
}
