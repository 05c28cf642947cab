//! Schedules in which a rule is all that keeps two nodes from routing at once.

use std::time::Duration;

use crate::leaders::gateway::{self, Habit};
use crate::leaders::node;
use crate::leaders::site::Site;
use crate::seeds;

const SEEDS: u64 = 2;
const SECOND: Duration = Duration::from_secs(1);

/// A site that rests, and its leader.
fn begun(seed: u64, shown: bool) -> (Site, usize) {
    let mut site = Site::new(seed, shown);
    site.rests();
    let leader = site.leader().unwrap_or(0);
    (site, leader)
}

/// Starts a gateway anew with such a habit.
fn restart(site: &mut Site, gateway: usize, habit: Habit) {
    site.set_habit(gateway, habit);
    site.kill(&gateway::name(gateway));
    site.start(&gateway::name(gateway));
}

/// One that stays with the first node that takes it, whether it speaks or not.
fn stays(first: usize) -> Habit {
    Habit {
        first: Some(first),
        silence: SECOND * 600,
    }
}

#[test]
fn a_leader_that_was_frozen_does_nothing_more() {
    seeds::play(SEEDS, &"a frozen leader", |seed, shown| {
        let (mut site, leader) = begun(seed, shown);
        restart(&mut site, 0, stays(leader));
        site.rests();
        let before = site.judge.term();
        site.freeze(leader);
        site.until(SECOND * 30, "another one serves", |site| {
            site.judge.term() > before
        });
        site.pass(SECOND);
        site.thaw(leader);
        site.pass(SECOND * 5);
        site.conclude()
    });
}

#[test]
fn a_leader_without_the_record_lets_nobody_in_whom_the_next_one_does_not_know() {
    seeds::play(SEEDS, &"a newcomer", |seed, shown| {
        let (mut site, leader) = begun(seed, shown);
        let before = site.judge.term();
        // Two go to the next leader, and another one comes to the former.
        site.kill(&gateway::name(2));
        site.pass(SECOND * 25);
        site.life(leader).way.cut();
        for gateway in 0..2 {
            site.hold(&node::name(leader), &gateway::name(gateway));
        }
        restart(&mut site, 2, stays(leader));
        site.until(SECOND * 30, "another one serves", |site| {
            site.judge.term() > before
        });
        site.pass(SECOND * 5);
        site.life(leader).way.mend();
        for gateway in 0..2 {
            site.let_go(&node::name(leader), &gateway::name(gateway));
        }
        site.conclude()
    });
}

#[test]
fn a_term_does_not_serve_while_a_gateway_is_at_the_one_before() {
    seeds::play(SEEDS, &"a gateway that stays", |seed, shown| {
        let (mut site, leader) = begun(seed, shown);
        let before = site.judge.term();
        site.life(leader).way.cut();
        let cut = site.now();
        for gateway in 0..2 {
            site.hold(&node::name(leader), &gateway::name(gateway));
        }
        site.until(SECOND * 30, "another one serves", |site| {
            site.judge.term() > before
        });
        if site.now() < cut + SECOND * 11 {
            let what = format!("it serves after {:?}", site.now() - cut);
            site.judge.violate(what);
        }
        site.life(leader).way.mend();
        for gateway in 0..2 {
            site.let_go(&node::name(leader), &gateway::name(gateway));
        }
        site.conclude()
    });
}
