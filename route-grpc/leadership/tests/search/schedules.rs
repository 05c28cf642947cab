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
    schedule.extend([Step::Release(1), Step::Read(1)]);
    schedule.extend([Step::Arrives(1, 0), Step::Read(1)]);
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

/// An engine that has lost several writes shows a release after which there was a term.
#[test]
fn a_release_that_was_not_seen_to_come_may_have_come_back() {
    let played = |rules: Rules| {
        let mut world = led();
        let steps = [Step::Release(0), Step::Arrives(0, 0), Step::Read(1)];
        take(&mut world, &steps, rules);
        let released = world.stored.clone();
        take(&mut world, &takes_over(1), rules);
        take(&mut world, &comes_and_acknowledges(1, 0), rules);
        take(&mut world, &serves(1), rules);
        world.earlier = released;
        world.budget.back = 1;
        take(&mut world, &[Step::Back { gone: false }], rules);
        take(&mut world, &[Step::Read(0)], rules);
        take(&mut world, &takes_over(0), rules);
        take(&mut world, &comes_and_acknowledges(0, 1), rules);
        take(&mut world, &serves(0), rules);
        world
    };
    compare(Broken::ReleasedWithoutHavingFollowed, played, 1);
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
    let played = |rules: Rules| {
        let mut world = led();
        take(&mut world, schedule, rules);
        world
    };
    compare(broken, played, router);
}

/// The same of a schedule that is more than steps.
fn compare(broken: Broken, played: impl Fn(Rules) -> World<2, 2>, router: usize) {
    let wrong = Rules {
        broken: Some(broken),
    };
    assert!(
        played(wrong).two_routers(|lease| wrong.holds(lease)),
        "{broken:?} breaks nothing"
    );
    let right = Rules { broken: None };
    let world = played(right);
    assert!(!world.two_routers(|lease| right.holds(lease)));
    assert_eq!(
        world
            .applied(|lease| right.holds(lease))
            .map(|(node, _)| node)
            .next(),
        Some(router)
    );
}

/// Node 0 leads, and has both gateways.
fn led() -> World<2, 2> {
    World::led(
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
    )
}

fn take(world: &mut World<2, 2>, schedule: &[Step], rules: Rules) {
    for step in schedule {
        // What the rules refuse does not happen.
        let _ = world.take(*step, rules);
    }
}
