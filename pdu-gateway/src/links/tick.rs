//! The one timer of all links: heartbeats and time limits once a second, as in the C++ RouteServer; while a link is
//! congested, ten times, so that nobody waits for one that no longer reads.

use std::sync::Arc;
use std::time::Duration;

use route_proto::attach::v1::CloseReason;
use route_runtime::budget::Part;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tracing::warn;

use crate::links::fills::judge;
use crate::links::gateway::Gateway;

const TICK: Duration = Duration::from_secs(1);

const PRESSED_TICK: Duration = Duration::from_millis(100);

/// When this process has not run for so long, what it has not read says nothing about MsgServers: readers come first.
const STOPPED: Duration = Duration::from_secs(3);

/// Ticks for ever. Queries that were not answered for `query_timeout` are given up: their MsgServer has.
pub async fn run(gateway: Arc<Gateway>, query_timeout: Duration) {
    let mut ticks = interval_at(Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last = gateway.clock.now();
    let mut waits = gateway.budget.part();
    loop {
        let relief = Instant::now() + PRESSED_TICK;
        tokio::select! {
            _ = ticks.tick() => {
                let now = gateway.clock.now();
                let stopped = now.saturating_sub(last) >= STOPPED;
                last = now;
                tick(&gateway, query_timeout, stopped);
            }
            () = gateway.budget.look_is_due(), if gateway.budget.is_limited() => {
                keep_within_budget(&gateway, &mut waits);
            }
            () = sleep_until(relief), if gateway.is_pressed() => relieve(&gateway),
            // Looks again whether a link is congested.
            () = gateway.pressed.notified() => {}
        }
    }
}

/// `stopped`: until now this process did not run.
fn tick(gateway: &Gateway, query_timeout: Duration, stopped: bool) {
    let now = gateway.clock.now();
    let settings = &gateway.link_settings;
    let turn = |turn| gateway.turn(turn);
    gateway.links.tick(now, settings, stopped, turn);
    for link in gateway.links.all() {
        link.brake().tick(now);
        if let Some(silent) = link.turns_silent(now, stopped) {
            gateway.uplink.report_silence(link.number(), silent);
        }
    }
    gateway.refusals.tick(now);
    gateway.tell_left_out(now);
    let given_up = gateway
        .uplink
        .give_up_queries(now.saturating_sub(query_timeout));
    if given_up > 0 {
        gateway.counters.unanswered.add(given_up as u64);
        warn!(
            queries = given_up,
            "gave up queries that the node did not answer"
        );
    }
}

/// `waits`: what of the budget is known to wait here.
fn keep_within_budget(gateway: &Gateway, waits: &mut Part) {
    let budget = &gateway.budget;
    let passed = budget.passed();
    let fills: Vec<_> = gateway.links.all().iter().map(|it| it.fill()).collect();
    let of_links: usize = fills.iter().map(|it| it.queued + it.unfinished).sum();
    waits.set(of_links + gateway.uplink.bytes());
    budget.look(passed);
    if !budget.is_filled() {
        return;
    }
    let now = gateway.clock.now();
    let input = budget.fullest_input();
    let measures = judge(fills, budget.limit(), budget.excess(), input);
    if measures.inputs > 0 {
        budget.cut(measures.inputs);
    }
    for link in measures.press {
        let link = gateway.links.get(link);
        if let Some(turn) = link.and_then(|link| link.press(now)) {
            gateway.turn(turn);
        }
    }
    for fill in measures.cut {
        let Some(link) = gateway.links.get(fill.link) else {
            continue;
        };
        budget.goes(fill.queued);
        gateway.counters.cut_off.add(1);
        gateway
            .refusals
            .log_cut_off(now, link.peer().address, fill.queued);
        link.end(CloseReason::SlowReader);
    }
}

fn relieve(gateway: &Gateway) {
    let now = gateway.clock.now();
    for link in gateway.links.all() {
        if let Some(turn) = link.relieve(now) {
            gateway.turn(turn);
        }
    }
}
