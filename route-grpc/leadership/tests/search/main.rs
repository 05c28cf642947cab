//! Every schedule of a small site: is there one in which two nodes route, or one after which none does?
//!
//! Nodes, gateways and the record are played; what they decide is decided by this crate. A step is one thing that happens
//! to one of them: an arrival, a decision, a second that goes by. Whatever is on its way may arrive at any time, or never;
//! who does nothing is paused. So partitions in one or both directions, pauses, lost, late and unanswered writes, and late
//! readers need no step of their own.

#![allow(clippy::print_stdout, reason = "figures of a search")]

mod rest;
mod rules;
mod schedules;
mod search;
mod steps;
mod world;

use std::time::Instant;

use rules::{Broken, Rules, TIMING};
use search::{Found, Searched, search};
use world::{Budget, World};

const RIGHT: Rules = Rules { broken: None };

/// More than any of the searches needs.
const MOST: usize = 60_000_000;

/// One life after the other: a take-over, and two calls of gateways.
const ONE: Budget = Budget {
    calls: 2,
    take_overs: 1,
    unanswered: 0,
    crashes: 0,
    releases: 0,
    restarts: 0,
    given_up: 0,
    lags: 0,
    back: 0,
};

/// That, but for what is said.
macro_rules! budget {
    ($($what:ident: $times:expr),*) => {
        Budget { $($what: $times,)* ..ONE }
    };
}

#[test]
fn no_schedule_has_two_routers() {
    // Both gateways are with the leader.
    whole::<2, 2>(2, budget!(calls: 3));
    whole::<2, 2>(2, budget!(lags: 1));
    whole::<2, 2>(2, budget!(crashes: 1));
    whole::<2, 2>(2, budget!(restarts: 1, calls: 1));
    whole::<2, 2>(2, budget!(given_up: 1, calls: 1));
    // One of them is a newcomer.
    whole::<2, 2>(1, ONE);
    whole::<2, 2>(1, budget!(back: 1));
    whole::<2, 2>(1, budget!(unanswered: 1, calls: 1));
}

#[test]
#[ignore = "minutes; docs/testing.md has the command"]
fn no_schedule_of_many_has_two_routers() {
    for attached in [2, 1] {
        whole::<2, 2>(attached, budget!(calls: 4));
        whole::<2, 2>(attached, budget!(unanswered: 1));
        whole::<2, 2>(attached, budget!(restarts: 1, calls: 3));
        whole::<2, 2>(attached, budget!(lags: 1, crashes: 1));
        whole::<2, 2>(attached, budget!(given_up: 1));
        whole::<2, 2>(attached, budget!(back: 1, calls: 3));
        whole::<2, 2>(attached, budget!(releases: 1, take_overs: 2, calls: 1));
    }
    // Two with the leader, and a newcomer.
    whole::<2, 3>(2, ONE);
}

#[test]
#[ignore = "minutes; docs/testing.md has the command"]
fn no_schedule_of_three_nodes_has_two_routers() {
    // One of them has just started.
    whole::<3, 2>(1, budget!(back: 1, calls: 1));
    whole::<3, 2>(2, ONE);
}

#[test]
#[ignore = "minutes; docs/testing.md has the command"]
fn no_schedule_with_two_failures_has_two_routers() {
    for attached in [2, 1] {
        whole::<2, 2>(attached, budget!(back: 1, unanswered: 1, calls: 1));
        whole::<2, 2>(attached, budget!(unanswered: 1, given_up: 1, calls: 1));
        whole::<2, 2>(attached, budget!(back: 1, crashes: 1));
        whole::<2, 2>(attached, budget!(unanswered: 1, restarts: 1, calls: 1));
        whole::<2, 2>(attached, budget!(unanswered: 1, lags: 1, calls: 1));
    }
}

#[test]
#[ignore = "minutes; docs/testing.md has the command"]
fn no_schedule_with_two_take_overs_has_two_routers() {
    whole::<2, 2>(1, budget!(take_overs: 2, calls: 1));
    whole::<2, 2>(1, budget!(take_overs: 2, calls: 1, back: 1));
    whole::<2, 2>(1, budget!(releases: 1, take_overs: 2, calls: 1, back: 1));
}

fn whole<const N: usize, const G: usize>(attached: usize, budget: Budget) -> Searched {
    let began = Instant::now();
    let searched = search(&World::<N, G>::led(attached, budget), RIGHT, MOST, 64);
    println!(
        "{N} nodes, {G} gateways, {attached} of them attached, {budget:?}: {} states, {} steps, {} rests, {:?}",
        searched.states,
        searched.steps,
        searched.rests,
        began.elapsed(),
    );
    if let Some(found) = &searched.found {
        panic!("{found:#?}");
    }
    assert!(searched.whole, "more states than {MOST}");
    searched
}

/// One decision taken otherwise each, with how many gateways are attached at first.
const MUTANTS: [(Broken, usize, Budget); 21] = [
    (Broken::LeaseFromTheAnswer, 2, budget!(lags: 1, calls: 1)),
    (Broken::NoMarginForClocks, 2, budget!(lags: 1)),
    (Broken::NobodyLooksAtTheClock, 2, ONE),
    (Broken::RosterOfTheNewTerm, 2, ONE),
    (Broken::SameTerm, 2, budget!(calls: 3)),
    (Broken::NoComparison, 1, ONE),
    (Broken::EarlyWithoutHavingFollowed, 1, budget!(back: 1)),
    (Broken::InterruptionsIgnored, 1, budget!(back: 1)),
    (Broken::ServesAtOnce, 2, ONE),
    (Broken::WelcomeIsEnough, 2, budget!(calls: 3)),
    (Broken::AnyGatewayIsEnough, 2, ONE),
    (Broken::QuietIsOver, 2, ONE),
    (Broken::NewcomersAtOnce, 1, ONE),
    (Broken::NewcomersWhenTheWriteIsSent, 1, ONE),
    (Broken::ClaimsIgnored, 2, budget!(calls: 3)),
    (Broken::ClaimsByAnyWrite, 2, budget!(calls: 3)),
    (Broken::RefusedAndGoesOn, 2, budget!(calls: 3)),
    (Broken::ReleasedBeforeStreamsEnd, 2, budget!(releases: 1)),
    (Broken::UnansweredIsSuccess, 1, budget!(unanswered: 1)),
    (
        Broken::LeaseFromTheRead,
        2,
        budget!(unanswered: 1, lags: 1, calls: 1),
    ),
    (
        Broken::WritesLookAlike,
        2,
        budget!(unanswered: 1, lags: 1, calls: 1),
    ),
];

#[test]
fn each_rule_is_needed() {
    for (broken, attached, budget) in MUTANTS {
        let began = Instant::now();
        let searched = search(
            &World::<2, 2>::led(attached, budget),
            Rules {
                broken: Some(broken),
            },
            MOST,
            0,
        );
        println!(
            "{broken:?}: {} states, {:?}",
            searched.states,
            began.elapsed()
        );
        assert!(
            matches!(searched.found, Some(Found::TwoRouters(_))),
            "{broken:?} breaks nothing: {searched:?}"
        );
    }
}

#[test]
fn a_site_that_stands_still_is_found() {
    for (broken, budget) in [
        (Broken::LaterClaimsAreRefused, budget!(back: 1)),
        (Broken::WaitsForEverybody, budget!(restarts: 1, calls: 1)),
    ] {
        let searched = search(
            &World::<2, 2>::led(2, budget),
            Rules {
                broken: Some(broken),
            },
            MOST,
            16,
        );
        println!(
            "{broken:?}: {} states, {} rests",
            searched.states, searched.rests
        );
        assert!(
            matches!(searched.found, Some(Found::NoRouter(_))),
            "{broken:?} stops nothing: {searched:?}"
        );
    }
}

#[test]
fn the_small_site_is_in_proportion() {
    assert!(TIMING.quiet < TIMING.serve && TIMING.serve < TIMING.lease);
}
