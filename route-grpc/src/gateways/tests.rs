use std::net::Ipv4Addr;
use std::task::{Context, Waker};

use bytes::Bytes;
use route_dialect::Dialect;

use super::hello::Secret;
use super::hello::{Admission, Objection};
use super::sequences::Kind;
use super::*;
use crate::dialects::Dialects;

const GRACE: Duration = Duration::from_secs(10);
const DEPARTED_WAIT: Duration = Duration::from_secs(1);
const LIMITS: GatewayLimits = GatewayLimits {
    grace: GRACE,
    departed_wait: DEPARTED_WAIT,
    given_up: Duration::from_secs(10),
    replay_wait: Duration::from_secs(60),
    most: 3,
    silence: Duration::from_secs(1),
    queue_bytes: 1000,
    pdu_limit: 1000,
};
const NOW: Duration = Duration::from_secs(100);

#[test]
fn a_gateway_comes_back_only_with_a_higher_attempt() {
    let mut gateways = attached(&[("a", 7, 2)]);
    let judge = |gateways: &Gateways, attempt| gateways.judge(&hello("a", 7, attempt), false);

    assert_eq!(judge(&gateways, 1), Err(Objection::Superseded));
    assert_eq!(judge(&gateways, 2), Err(Objection::Superseded));
    assert_eq!(judge(&gateways, 3), Ok(Admission::Resumed));

    assert!(gateways.detach(NOW, 7, 2, Parting::Broken, None));
    assert_eq!(judge(&gateways, 2), Err(Objection::Superseded));
    assert_eq!(judge(&gateways, 3), Ok(Admission::Resumed));
}

#[test]
fn a_restarted_gateway_replaces_its_old_life_once_that_is_off_the_line() {
    let mut gateways = attached(&[("a", 7, 1)]);
    let newer = hello("a", 8, 1);

    let holder = "a's host".to_owned();
    assert_eq!(
        gateways.judge(&newer, false),
        Err(Objection::IdInUse { holder })
    );
    gateways.detach(NOW, 7, 1, Parting::Broken, None);
    assert_eq!(gateways.judge(&newer, false), Ok(Admission::Replaces(7)));

    gateways.remove(7);
    gateways.insert(
        Duration::ZERO,
        newer,
        CancellationToken::new(),
        Retention::UntilTaken,
    );
    let holder = "a's host".to_owned();
    let older = gateways.judge(&hello("a", 7, 99), true);
    assert_eq!(older, Err(Objection::IdInUse { holder }));
    // It leaves no lock behind.
    gateways.detach(NOW, 8, 1, Parting::Broken, None);
    let older = |attempt| gateways.judge(&hello("a", 7, attempt), false);
    assert_eq!(older(99), Ok(Admission::Replaces(8)));
    assert_eq!(older(1), Err(Objection::Superseded));
}

#[test]
fn only_who_knows_its_secret_goes_on_with_a_life() {
    let mut gateways = Gateways::new(LIMITS);
    let with = |secret: &'static [u8], attempt| Hello {
        secret: Secret(Bytes::from_static(secret)),
        ..hello("a", 7, attempt)
    };
    let holder = "a's host".to_owned();
    let in_use = Err(Objection::IdInUse { holder });
    gateways.insert(
        Duration::ZERO,
        with(b"its own", 1),
        CancellationToken::new(),
        Retention::UntilTaken,
    );

    assert_eq!(gateways.judge(&with(b"", 2), true), in_use);
    assert_eq!(gateways.judge(&with(b"a guess", 2), true), in_use);
    let resumed = gateways.judge(&with(b"its own", 2), false);
    assert_eq!(resumed, Ok(Admission::Resumed));
    gateways.detach(NOW, 7, 1, Parting::Broken, None);
    assert_eq!(gateways.judge(&with(b"a guess", 2), true), in_use);

    // Once it is lost, somebody comes in its name, and goes: it may come back all the same.
    gateways.remove(7);
    let other = with(b"a guess", u64::MAX);
    gateways.insert(
        Duration::ZERO,
        other,
        CancellationToken::new(),
        Retention::UntilTaken,
    );
    gateways.remove(7);
    let back = gateways.judge(&with(b"its own", 2), false);
    assert_eq!(back, Ok(Admission::Fresh));
}

#[test]
fn one_life_speaks_one_dialect() {
    let mut gateways = attached(&[("a", 7, 1)]);
    gateways.detach(NOW, 7, 1, Parting::Broken, None);
    let other = Hello {
        dialect: Some(Dialect::standard()),
        ..hello("a", 7, 2)
    };

    let refused = gateways.judge(&other, false);
    assert_eq!(refused, Err(Objection::OtherDialect));
    let back = gateways.judge(&hello("a", 7, 2), false);
    assert_eq!(back, Ok(Admission::Resumed));
}

#[test]
fn one_that_is_lost_again_before_it_has_sent_anything_has_still_sent_what_it_had() {
    let mut gateways = attached(&[("a", 7, 1)]);
    let sequences = &mut gateways.get_mut(7).unwrap().sequences;
    sequences.step(1, 1, Kind::Opened).unwrap();
    gateways.remove(7);

    for attempt in [2, 3] {
        let back = Hello {
            taken: 17,
            ..hello("a", 7, attempt)
        };
        gateways.insert(
            Duration::ZERO,
            back,
            CancellationToken::new(),
            Retention::UntilTaken,
        );
        let gateway = gateways.get_mut(7).unwrap();
        assert!(gateway.has_seen(1, 1) && !gateway.has_seen(1, 2));
        assert_eq!(gateway.queue.handed_out(), 17, "it may say so again");
        gateways.remove(7);
    }
}

#[test]
fn a_secret_is_never_shown() {
    let secret = Secret(Bytes::from_static(b"its own"));

    assert_eq!(format!("{secret:?}"), "Secret(..)");
}

#[test]
fn one_that_takes_nothing_is_overdue_and_the_second_time_again() {
    let mut gateways = attached(&[("a", 7, 1), ("b", 8, 1)]);
    let overdue = |gateways: &mut Gateways, seconds| {
        let overdue = gateways.overdue(NOW + Duration::from_secs(seconds), |_| false);
        let found = overdue.iter().map(|it| (it.incarnation, it.again));
        found.collect::<Vec<_>>()
    };
    // An empty Downlink is what waits for each of them; one takes it.
    assert_eq!(overdue(&mut gateways, 0), []);
    hand_out(&mut gateways, 7, 1);
    hand_out(&mut gateways, 8, 1);
    assert_eq!(overdue(&mut gateways, 1), []);
    gateways.took(8, 1, 1);

    assert_eq!(overdue(&mut gateways, 9), []);
    assert_eq!(overdue(&mut gateways, 10), [(7, false)]);
    gateways.detach(NOW, 7, 1, Parting::Broken, None);
    assert_eq!(overdue(&mut gateways, 12), []);
    gateways.resume(NOW, &hello("a", 7, 2), CancellationToken::new());
    assert_eq!(overdue(&mut gateways, 13), []);
    hand_out(&mut gateways, 7, 2);
    assert_eq!(overdue(&mut gateways, 23), [(7, true)]);
}

#[test]
fn one_that_only_sends_and_takes_what_confirms_that_is_not_overdue() {
    let mut gateways = attached(&[("a", 7, 1)]);
    gateways.confirm(7, &[(1, 1)]);
    hand_out(&mut gateways, 7, 1);

    for second in 0..30 {
        let now = NOW + Duration::from_secs(second);
        // The next one is on its way when this one is taken.
        gateways.confirm(7, &[(1, 2 + second)]);
        hand_out(&mut gateways, 7, 1);
        gateways.took(7, 1, 1 + second);
        let gateway = gateways.get_mut(7).expect("it is there");
        assert!(gateway.overdue(now, &LIMITS).is_none(), "after {second} s");
    }
}

#[test]
fn who_is_gone_outranks_nobody() {
    let mut gateways = attached(&[("a", 7, 3)]);
    // Its clock was ahead when it started, and has been set right.
    let restarted = hello("a", 6, 1);

    gateways.detach(NOW, 7, 3, Parting::HungUp, None);
    assert_eq!(
        gateways.judge(&restarted, false),
        Ok(Admission::Replaces(7))
    );
    gateways.remove(7);

    assert_eq!(gateways.judge(&restarted, false), Ok(Admission::Fresh));
    let back = |attempt| gateways.judge(&hello("a", 7, attempt), false);
    assert_eq!(back(3), Err(Objection::Superseded));
    assert_eq!(back(4), Ok(Admission::Fresh));
}

#[test]
fn who_has_waited_replaces_one_that_is_silent() {
    let mut gateways = attached(&[("a", 7, 1)]);
    let newer = hello("a", 6, 1);
    let holder = "a's host".to_owned();
    let in_use = Err(Objection::IdInUse { holder });

    assert_eq!(gateways.judge(&newer, true), in_use);
    let gateway = gateways.get_mut(7).unwrap();
    for event in [
        Event::CaughtUp,
        Event::Looked {
            idle: LIMITS.silence,
        },
    ] {
        gateway.meet(event, NOW, &LIMITS);
    }
    assert_eq!(gateways.judge(&newer, false), in_use);
    assert_eq!(gateways.judge(&newer, true), Ok(Admission::Replaces(7)));
}

#[test]
fn an_incarnation_belongs_to_one_id() {
    let gateways = attached(&[("a", 7, 1)]);

    assert_eq!(
        gateways.judge(&hello("b", 7, 1), false),
        Err(Objection::IncarnationInUse)
    );
}

#[test]
fn a_detached_gateway_is_lost_when_its_grace_is_over() {
    let mut gateways = attached(&[("a", 7, 1), ("b", 8, 1)]);

    assert_eq!(gateways.next_deadline(NOW), None);
    gateways.detach(NOW, 7, 1, Parting::Broken, None);

    assert_eq!(gateways.next_deadline(NOW), Some(NOW + GRACE));
    assert!(gateways.lost(NOW + GRACE / 2).is_empty());
    assert_eq!(gateways.lost(NOW + GRACE), [7]);
}

#[test]
fn one_that_has_hung_up_departs_sooner_unless_it_comes_back() {
    let mut gateways = attached(&[("a", 7, 1), ("b", 8, 1), ("c", 9, 1)]);
    let departed = NOW + DEPARTED_WAIT;

    gateways.detach(NOW, 7, 1, Parting::HungUp, None);
    gateways.detach(NOW, 8, 1, Parting::Broken, None);
    gateways.detach(NOW, 9, 1, Parting::HungUp, None);
    gateways.resume(NOW, &hello("c", 9, 2), CancellationToken::new());

    assert_eq!(gateways.next_deadline(NOW), Some(departed));
    assert!(gateways.departed(NOW).is_empty());
    assert_eq!(gateways.departed(departed), [7]);
    assert_eq!(gateways.next_deadline(departed), Some(NOW + GRACE));
}

#[test]
fn a_new_stream_ends_the_old_one_and_the_old_one_cannot_detach_it() {
    let old = CancellationToken::new();
    let mut gateways = Gateways::new(LIMITS);
    gateways.insert(
        Duration::ZERO,
        hello("a", 7, 1),
        old.clone(),
        Retention::UntilTaken,
    );

    gateways.resume(NOW, &hello("a", 7, 2), CancellationToken::new());

    assert!(old.is_cancelled());
    assert!(!gateways.detach(NOW, 7, 1, Parting::Broken, None));
    assert!(gateways.of_stream(7, 1).is_none());
    assert!(gateways.of_stream(7, 2).is_some());
}

/// What waits goes out on the stream of this attempt.
fn hand_out(gateways: &mut Gateways, incarnation: u64, attempt: u64) {
    let queue = gateways.queue_of(incarnation).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert!(queue.poll_take(attempt, &mut context).is_ready());
}

fn hello(id: &str, incarnation: u64, attempt: u64) -> Hello {
    Hello {
        spoken: Dialects::new().learn(None).expect("any"),
        dialect: None,
        id: id.to_owned(),
        whence: format!("{id}'s host"),
        host: Some(Ipv4Addr::LOCALHOST.into()),
        incarnation,
        attempt,
        secret: Secret(Bytes::new()),
        taken: 0,
        position: 0,
        term: 0,
        clock_offset: 0,
    }
}

fn attached(which: &[(&str, u64, u64)]) -> Gateways {
    let mut gateways = Gateways::new(LIMITS);
    for (id, incarnation, attempt) in which {
        let hello = hello(id, *incarnation, *attempt);
        gateways.insert(
            Duration::ZERO,
            hello,
            CancellationToken::new(),
            Retention::UntilTaken,
        );
    }
    gateways
}
