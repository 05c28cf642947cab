use std::net::SocketAddr;

use route_proto::attach::v1::{DeliveryRun, LinkOpened};

use super::*;
use crate::unconfirmed::ledger::Keep;
use crate::unconfirmed::windows::Windows;
use route_dialect::Dialect;
use route_proto::pdu::HEADER_LEN;

const SETTINGS: LinkSettings = LinkSettings {
    heartbeat: [0; HEADER_LEN],
    queue_bytes: 1000,
    heartbeat_interval: Duration::from_secs(5),
    idle_timeout: Duration::from_secs(30),
    write_timeout: Duration::from_secs(60),
    pdu_timeout: Duration::from_secs(10),
    pdu_rate: 65_536,
    host_timeout: Duration::from_secs(15),
    close_timeout: Duration::from_secs(5),
    remembered_origins: Some(8192),
};

#[test]
fn a_heartbeat_is_due_when_nothing_was_sent_for_five_seconds() {
    let link = link();
    let beats = |from: u64, to: u64| {
        let before = link.outbox.lock().output.bytes();
        for second in from..=to {
            tick(&link, second, false);
        }
        (link.outbox.lock().output.bytes() - before) / SETTINGS.heartbeat.len()
    };

    assert_eq!(beats(1, 4), 0);
    assert_eq!(beats(5, 9), 1);
    let written = Written {
        bytes: 0,
        freed: 0,
        pdus: 0,
    };
    link.wrote(Duration::from_secs(9), written);
    assert_eq!(beats(10, 13), 0);
    assert_eq!(beats(14, 14), 1);
}

#[test]
fn silence_counts_unless_we_do_not_read() {
    let link = link();
    link.heard(Duration::from_secs(1), None);

    tick(&link, 31, true);
    assert_eq!(ending(&link), None, "we did not run");
    link.hold_up();
    tick(&link, 40, false);
    assert_eq!(ending(&link), None, "its window is full");

    link.release(|| Duration::from_secs(50));
    tick(&link, 79, false);
    assert_eq!(ending(&link), None);
    tick(&link, 80, false);
    assert_eq!(ending(&link), Some(CloseReason::Idle));
}

#[test]
fn a_link_falls_silent_after_a_heartbeat_unless_we_do_not_read() {
    let link = link();
    let at = Duration::from_secs;
    link.heard(at(1), None);

    assert_eq!(link.turns_silent(at(7), false), None);
    assert_eq!(link.turns_silent(at(8), true), None, "we did not run");
    assert_eq!(link.turns_silent(at(8), false), Some(true));
    assert_eq!(link.turns_silent(at(9), false), None, "it was told");
    link.heard(at(15), None);
    assert_eq!(link.turns_silent(at(15), false), Some(false));

    link.hold_up();
    assert_eq!(link.turns_silent(at(60), false), None, "its window is full");
    link.release(|| at(60));
    assert_eq!(link.turns_silent(at(66), false), None);
    assert_eq!(link.turns_silent(at(67), false), Some(true));
}

#[test]
fn each_pdu_has_to_be_complete_in_time() {
    let pdu = |number, is_first, length| {
        Some(Unfinished {
            number,
            is_first,
            length,
            bytes: 4096,
        })
    };
    let at = Duration::from_secs;
    let first = link();
    first.heard(at(1), pdu(0, true, 100));
    first.heard(at(9), pdu(0, true, 100));
    tick(&first, 10, false);
    assert_eq!(ending(&first), None);
    tick(&first, 11, false);
    assert_eq!(ending(&first), Some(CloseReason::BadFrame));

    let later = link();
    let long = 5 * SETTINGS.pdu_rate as usize;
    let drips = |second| later.hearing.drips(at(second), at(10), SETTINGS.pdu_rate);
    later.heard(at(1), pdu(0, false, 100));
    later.heard(at(20), pdu(1, false, long));
    later.heard(at(80), pdu(1, false, long));
    assert!(!drips(84), "it is another one, and long");
    later.hold_up();
    later.release(|| at(100));
    assert!(!drips(164), "we did not read");
    assert!(drips(165));
}

#[test]
fn a_link_that_takes_nothing_ends() {
    let link = link();
    let query = Query {
        gateway: 1,
        sequence: 1,
    };
    link.answer(
        Duration::from_secs(1),
        &mut Vec::new(),
        query,
        None,
        |out| {
            out.push(0);
        },
    );
    link.heard(Duration::from_secs(50), None);

    tick(&link, 60, false);
    assert_eq!(ending(&link), None);
    tick(&link, 61, false);
    assert_eq!(ending(&link), Some(CloseReason::SlowReader));
}

#[test]
fn a_full_queue_ends_the_link_and_wakes_its_writer() {
    let link = link();
    let uplink = uplink();
    let mut wake = Vec::new();
    let mut batch = Batch::default();
    let context = Context::from_waker(Waker::noop());
    assert!(link.poll_next(&context, &mut batch).is_pending());

    link.deliver(&run(1, 1001), Duration::ZERO, &uplink, &mut wake);

    assert_eq!(wake.len(), 1);
    let next = link.poll_next(&context, &mut batch);
    assert_eq!(next, Poll::Ready(Next::End(CloseReason::SlowReader)));
}

#[test]
fn what_comes_after_the_end_is_given_back_until_the_node_knows_of_it() {
    let link = link();
    let uplink = uplink();
    let mut wake = Vec::new();
    let now = Duration::ZERO;
    link.deliver(&run(1, 100), now, &uplink, &mut wake);

    let shut = link.shut(&mut Batch::default(), Some(CloseReason::Peer), &uplink);
    let late = link.deliver(&run(2, 100), now, &uplink, &mut wake).0;
    assert_eq!(shut.given_back, 1);
    assert_eq!(late, Delivered::GivenBack { dropped: 0 });

    link.end_is_confirmed(&uplink);
    let too_late = link.deliver(&run(3, 100), now, &uplink, &mut wake).0;
    assert_eq!(too_late, Delivered::GivenBack { dropped: 1 });
}

fn link() -> Arc<Link> {
    let peer = SocketAddr::from(([10, 0, 0, 1], 1));
    Link::new(1, peer.into(), &SETTINGS, Duration::ZERO)
}

fn uplink() -> Arc<Uplink> {
    let windows = Windows {
        link: usize::MAX,
        total: usize::MAX,
    };
    let uplink = Uplink::new(windows, Keep::Contents);
    uplink.open(1, LinkOpened::default());
    uplink
}

fn tick(link: &Link, second: u64, stopped: bool) {
    let now = Duration::from_secs(second);
    link.tick(now, &SETTINGS, stopped, &mut Vec::new());
}

fn ending(link: &Link) -> Option<CloseReason> {
    link.outbox.lock().ending
}

fn run(sequence: u64, length: usize) -> Arc<Run> {
    let delivery = route_proto::attach::v1::Delivery {
        sequence,
        payload: Some(route_proto::attach::v1::delivery::Payload::Pdu(
            vec![0; length].into(),
        )),
        ..Default::default()
    };
    let run = DeliveryRun {
        deliveries: vec![delivery],
        ..DeliveryRun::default()
    };
    Arc::new(Run::prepare(run, Dialect::published()).unwrap())
}
