//! What the node holds, told to the budget of the process, and what is done where that is nearly used up:
//! the gateways that fill it most are read slowly; then whoever holds most is cut off.
//!
//! Tables have bounds of their own and are no part of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use route_runtime::budget::Part;

use super::Node;
use super::take_back::TakeBack;
use crate::gateways::{Fill, Gateway};
use crate::refusal::Refusal;

/// A gateway that fills the budget most is read one message in so long: what it acknowledges is never
/// left unread, or its own queue could not become shorter.
const SLOWLY: Duration = Duration::from_millis(100);

/// Gateways that are read slowly, by incarnation.
#[derive(Debug, Default)]
pub(super) struct Slowed(Mutex<BTreeSet<u64>>);

/// Looks after the budget until the node drains.
pub(super) async fn run(node: Arc<Node>) {
    let (mut waits, mut requests) = (node.process.budget.part(), node.process.requests.part());
    let draining = node.draining();
    loop {
        tokio::select! {
            biased;
            () = draining.cancelled() => return,
            () = node.process.requests.look_is_due() => look(&node, &mut waits, &mut requests),
        }
    }
}

/// `waits`: what of the budget is known to wait here; `requests`: what of theirs may not be used now.
fn look(node: &Node, waits: &mut Part, requests: &mut Part) {
    let passed = node.process.requests.passed();
    if !node.process.budget.is_limited() {
        // There is room wherever it waits now.
        node.process.requests.look(passed);
        return;
    }
    let holdings = Holdings::of(node);
    let in_part = node
        .process
        .requests
        .taken()
        .saturating_sub(requests.bytes());
    waits.set(holdings.bytes + in_part);
    node.process.budget.look(0);
    // No more comes in part than there is room for. That ends behind the second mark: where what comes waited for ever
    // just before it, nobody would be cut off.
    let most = in_part.saturating_add(node.process.budget.room());
    requests.set(node.process.requests.limit().saturating_sub(most));
    node.process.requests.look(passed);
    let is_filled = node.process.budget.is_filled();
    *node.slowed.0.lock() = match is_filled {
        true => holdings.fill_most(),
        false => BTreeSet::new(),
    };
    let excess = node.process.budget.excess().saturating_sub(holdings.going);
    if excess > 0 {
        make_room(node, holdings.gateways, excess);
    }
}

/// Cuts off whoever holds most: a gateway by what waits for it, a host by what has come of it in part.
fn make_room(node: &Node, mut gateways: Vec<Fill>, mut excess: usize) {
    let share = node.process.budget.limit() / gateways.len().max(1);
    gateways.retain(|fill| fill.bytes > share && fill.can_be_cut_off);
    gateways.sort_unstable_by_key(|fill| fill.bytes);
    while excess > 0 {
        let in_part = node.process.requests.fullest_input();
        if let Some(fullest) = gateways.pop_if(|fill| fill.bytes >= in_part) {
            excess = excess.saturating_sub(fullest.bytes);
            cut_off(node, &fullest);
        } else if in_part > share.min(node.process.requests.limit() / 2) {
            let some = excess.min(in_part);
            node.process.requests.cut(some);
            node.process.budget.goes(some);
            excess -= some;
        } else {
            return;
        }
    }
}

/// Its stream and its links end, and what waits for them goes to others of their MsgServers, or is lost.
fn cut_off(node: &Node, fill: &Fill) {
    let problem = format!(
        "{} bytes wait for it, and --memory-limit is nearly reached",
        fill.bytes
    );
    let refusal = Refusal::SlowConsumer { problem };
    let why = format_args!("{}: {refusal}", fill.id);
    let kind = ("gateway cut off", "memory");
    node.process
        .refusals
        .log(node.clock.now(), kind, None, &why);
    node.process.metrics.attach_refused(&refusal);
    node.process.metrics.tallies.cut_off.add(1);
    let cut = node.transact_acting(|transaction, now| {
        transaction.refuse(now, fill.incarnation, refusal);
        transaction.lose_gateway(now, fill.incarnation);
    });
    if cut.is_err() {
        return;
    }
    node.gateways_changed.notify_waiters();
    node.chores_changed();
}

/// What the node holds for others.
struct Holdings {
    bytes: usize,
    /// Of these, what gateways held that are lost: it goes piece by piece.
    going: usize,
    gateways: Vec<Fill>,
}

impl Holdings {
    fn of(node: &Node) -> Self {
        let routing = node.routing.lock();
        let cold_start = routing.cold_start.as_ref();
        let mut gateways: Vec<_> = routing.gateways.all().map(Gateway::fill).collect();
        for fill in &mut gateways {
            let held = cold_start.map_or(0, |it| it.memory_of(fill.incarnation));
            fill.bytes += held;
            fill.unconfirmed = routing.confirmations.bytes_of(fill.incarnation) + held;
        }
        let queries = cold_start.map_or(0, |it| it.queries.bytes());
        let of_gateways: usize = gateways.iter().map(|fill| fill.bytes).sum();
        let going = routing.take_backs.iter().map(TakeBack::bytes).sum();
        let bytes = of_gateways
            + going
            + queries
            + routing.confirmations.memory()
            + routing.core.view().held_bytes()
            + node.log.bytes()
            + node.routed.bytes()
            + node.process.pending.load(Ordering::Relaxed);
        Self {
            bytes,
            going,
            gateways,
        }
    }

    /// Of those that have something unconfirmed, the ones with an equal part of it or more.
    fn fill_most(&self) -> BTreeSet<u64> {
        let some = self.gateways.iter().filter(|fill| fill.unconfirmed > 0);
        let (count, sum) = some.fold((0, 0), |(count, sum), it| (count + 1, sum + it.unconfirmed));
        let most = self.gateways.iter();
        let most = most.filter(|fill| fill.unconfirmed > 0 && fill.unconfirmed * count >= sum);
        most.map(|fill| fill.incarnation).collect()
    }
}

impl Node {
    /// Before the next message of a gateway is read: waits, if it fills the budget most.
    pub(crate) async fn read_slowly(&self, incarnation: u64) {
        if self.process.budget.is_tight() && self.slowed.0.lock().contains(&incarnation) {
            tokio::time::sleep(SLOWLY).await;
        }
    }

    /// It is one of those that fill the budget most. What it acknowledges comes late, and while the node does not know all
    /// links no more of it is read.
    pub(crate) fn is_filled_by(&self, incarnation: u64) -> bool {
        self.process.budget.is_tight() && self.slowed.0.lock().contains(&incarnation)
    }
}
