//! Schedules that are too long for a quick search, step by step.

use crate::rules::{Broken, Rules};
use crate::steps::Step;
use crate::world::{Budget, World};

#[test]
fn a_gateway_that_a_lost_write_left_out_is_a_newcomer() {
    let mut schedule = vec![
        Step::GiveUp(0, 1),
        Step::Renew(0),
        // A read does not show the write that leaves it out, and the gateway comes back.
        Step::Unanswered(0),
        Step::Call(0, 1),
        Step::Called(0, 1),
        Step::Welcomed(0, 1),
        // Now the write arrives.
        Step::Arrives(0, 0),
        Step::Read(1),
        Step::Second { lags: None },
    ];
    schedule.extend(takes_over(1));
    schedule.extend(comes_and_acknowledges(1, 0));
    schedule.extend(serves(1));
    breaks(Broken::UnansweredIsForgotten, &schedule, 1);
}

#[test]
fn a_gateway_that_is_being_left_out_is_a_newcomer() {
    let mut schedule = vec![
        Step::GiveUp(0, 1),
        Step::Renew(0),
        Step::Call(0, 1),
        Step::Called(0, 1),
        Step::Welcomed(0, 1),
        Step::Arrives(0, 0),
        Step::Read(1),
        Step::Second { lags: None },
    ];
    schedule.extend(takes_over(1));
    schedule.extend(comes_and_acknowledges(1, 0));
    schedule.extend(serves(1));
    breaks(Broken::GivenUpAreWelcome, &schedule, 1);
}

#[test]
fn who_has_not_served_does_not_say_that_nobody_does() {
    let mut schedule = vec![Step::Second { lags: None }];
    schedule.extend(takes_over(1));
    schedule.extend([Step::Release(1), Step::Arrives(1, 0), Step::Read(1)]);
    schedule.extend(takes_over(1));
    schedule.extend(comes_and_acknowledges(1, 0));
    schedule.extend(serves(1));
    breaks(Broken::ReleasedByWhoHasNotServed, &schedule, 0);
}

#[test]
fn a_gateway_that_starts_again_is_a_newcomer() {
    let mut schedule = vec![Step::Second { lags: None }];
    schedule.extend(takes_over(1));
    schedule.extend(comes_and_acknowledges(1, 0));
    schedule.extend(comes_and_acknowledges(1, 1));
    schedule.extend(serves(1));
    // It does not know any more which term has welcomed it.
    schedule.extend([
        Step::Restart(0),
        Step::Call(0, 0),
        Step::Called(0, 0),
        Step::Welcomed(0, 0),
    ]);
    breaks(Broken::AnyLifeOfAGateway, &schedule, 1);
}

fn takes_over(node: usize) -> [Step; 3] {
    [
        Step::TakeOver(node),
        Step::Arrives(node, 0),
        Step::Answer(node),
    ]
}

fn comes_and_acknowledges(node: usize, gateway: usize) -> [Step; 5] {
    [
        Step::Call(node, gateway),
        Step::Called(node, gateway),
        Step::Welcomed(node, gateway),
        Step::Beat(node, gateway),
        Step::Acknowledged(node, gateway),
    ]
}

fn serves(node: usize) -> [Step; 3] {
    [
        Step::Serve(node),
        Step::Arrives(node, 0),
        Step::Answer(node),
    ]
}

/// The schedule leads to two routers with the broken rule, and without it to one, `router`.
fn breaks(broken: Broken, schedule: &[Step], router: usize) {
    let wrong = Rules {
        broken: Some(broken),
    };
    assert!(
        played(schedule, wrong).two_routers(|lease| wrong.holds(lease)),
        "{broken:?} breaks nothing"
    );
    let right = Rules { broken: None };
    let world = played(schedule, right);
    assert!(!world.two_routers(|lease| right.holds(lease)));
    assert_eq!(
        world
            .applied(|lease| right.holds(lease))
            .map(|(node, _)| node)
            .next(),
        Some(router)
    );
}

fn played(schedule: &[Step], rules: Rules) -> World<2, 2> {
    let mut world = World::led(
        2,
        Budget {
            calls: 3,
            take_overs: 2,
            unanswered: 1,
            releases: 1,
            restarts: 1,
            given_up: 1,
            ..Budget::default()
        },
    );
    for step in schedule {
        // What the rules refuse does not happen.
        let _ = world.take(*step, rules);
    }
    world
}
