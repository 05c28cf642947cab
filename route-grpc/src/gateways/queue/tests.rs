use bytes::Bytes;
use route_core::{Course, FanView, Item, LinkId, Payload, Target};

use super::*;
use crate::gateways::clock_offset::GatewayClock;
use crate::trace::Traced;

#[test]
fn what_follows_to_the_same_links_shares_a_run() {
    let outbound = open(1 << 20);
    let two = targets(&[1, 2]);

    deliver(&outbound, 10, &two, b"a");
    deliver(&outbound, 11, &two, b"b");
    deliver(&outbound, 12, &two[..1], b"c");
    deliver(&outbound, 14, &two[..1], b"d");

    let shapes: Vec<_> = runs(&take(&outbound))
        .iter()
        .map(|run| (run.position, run.targets.len(), run.deliveries.len()))
        .collect();
    assert_eq!(shapes, [(10, 2, 2), (12, 1, 1), (14, 1, 1)]);
}

#[test]
fn a_message_ends_before_it_grows_too_long() {
    let outbound = open(16 << 20);
    let big = vec![0; 300 << 10];
    for position in 0..3 {
        deliver(&outbound, position, &targets(&[1]), &big);
    }

    for number in 1..=3 {
        let downlink = take(&outbound);
        assert_eq!((downlink.number, downlink.entries.len()), (number, 1));
        assert_eq!(outbound.taken(number), number);
    }
    assert_eq!(outbound.bytes(), 0);
}

#[test]
fn a_full_queue_ends_the_stream_once_and_keeps_what_it_holds() {
    let outbound = open(1000);
    let deliver = |position| deliver(&outbound, position, &targets(&[1]), &[0; 600]);

    assert_eq!(deliver(1), Queueing::Queued(1));
    assert_eq!(deliver(2), Queueing::Choked);
    assert_eq!(deliver(3), Queueing::Dropped);
    outbound.end_stream(Some(Status::resource_exhausted("slow")));
    let told = poll(&outbound, 1);
    outbound.open_stream(2);

    assert!(matches!(told, Poll::Ready(Some(Err(_)))));
    assert!(matches!(poll(&outbound, 1), Poll::Ready(None)));
    let Poll::Ready(Some(Ok(held))) = poll(&outbound, 2) else {
        panic!("the next stream takes what is held");
    };
    assert_eq!(runs(&held)[0].position, 1);
    assert_eq!(outbound.dropped(), 2);
    assert_eq!(deliver(4), Queueing::Dropped, "handed out is not taken");
    assert_eq!(outbound.taken(held.number), 1);
    assert_eq!(deliver(4), Queueing::Queued(2));
    assert_eq!(deliver(5), Queueing::Choked);
}

#[test]
fn what_was_not_taken_is_handed_out_again_before_anything_newer() {
    let outbound = open(1 << 20);
    let deliver = |position| deliver(&outbound, position, &targets(&[1]), b"x");
    let positions = |downlink: &Downlink| {
        let runs = runs(downlink);
        runs.iter().map(|run| run.position).collect::<Vec<_>>()
    };
    for position in [10, 20] {
        deliver(position);
        take(&outbound);
    }
    deliver(30);
    take(&outbound);
    deliver(40);

    assert_eq!(outbound.taken(1), 1);
    outbound.open_stream(1);

    let again = take(&outbound);
    assert_eq!(positions(&again), [20, 30, 40]);
    assert_eq!(outbound.taken(3), 1, "numbers of the old stream are over");
    assert_eq!(outbound.taken(again.number), 4);
    assert_eq!((outbound.bytes(), outbound.resent()), (0, 2));
}

#[test]
fn within_the_process_nothing_is_kept() {
    let outbound = Outbound::new(1 << 20, Retention::None);
    outbound.open_stream(1);
    deliver(&outbound, 1, &targets(&[1]), b"x");
    take(&outbound);

    assert_eq!(outbound.bytes(), 0);
    outbound.open_stream(1);
    assert!(poll(&outbound, 1).is_pending());
}

#[test]
fn what_a_lost_gateway_was_never_handed_can_be_had_back() {
    let outbound = open(1 << 20);
    deliver(&outbound, 1, &targets(&[1]), b"handed out");
    take(&outbound);
    deliver(&outbound, 5, &targets(&[1]), b"waiting");

    let held = outbound.take_held();
    let positions: Vec<_> = held.iter().map(|run| run.position).collect();

    assert_eq!(positions, [5]);
    assert_eq!(outbound.dropped(), 1, "the other one may have been written");
    assert_eq!(outbound.bytes(), 0);
}

#[test]
fn what_waits_for_some_links_can_be_had_and_the_rest_stays() {
    let outbound = open(1 << 20);
    deliver(&outbound, 1, &targets(&[1]), b"handed out");
    take(&outbound);
    deliver(&outbound, 5, &targets(&[1]), b"for one");
    deliver(&outbound, 6, &targets(&[1, 2]), b"for both");
    deliver(&outbound, 7, &targets(&[2]), b"for the other");
    let before = outbound.bytes();

    let had = outbound.take_held_for(&[1]);

    let had: Vec<_> = had.iter().map(|r| (r.position, &r.targets[..])).collect();
    assert_eq!(had, [(5, &[1][..]), (6, &[1][..])]);
    assert!(outbound.bytes() < before);
    outbound.open_stream(1);
    let again = take(&outbound);
    let again: Vec<_> = runs(&again).iter().map(|r| &r.targets[..]).collect();
    // What was handed out, the place of what was taken, and the rest.
    assert_eq!(again, [&[1][..], &[], &[2], &[2]]);
    outbound.taken(2);
    assert_eq!(outbound.bytes(), 0);
}

#[test]
fn confirmations_pass_a_full_queue_and_only_the_last_of_a_link_counts() {
    let outbound = open(1);
    deliver(&outbound, 1, &targets(&[1]), b"full");

    assert_eq!(outbound.confirm(&[(7, 1), (8, 1)]), 1);
    assert_eq!(outbound.confirm(&[(7, 2)]), 1);

    let mut confirmed: Vec<_> = take(&outbound)
        .confirmations
        .iter()
        .map(|c| (c.link, c.sequence))
        .collect();
    confirmed.sort_unstable();
    assert_eq!(confirmed, [(7, 2), (8, 1)]);
    assert_eq!(outbound.confirm(&[]), 2);
}

fn open(limit_bytes: usize) -> Outbound {
    let outbound = Outbound::new(limit_bytes, Retention::UntilTaken);
    outbound.open_stream(1);
    outbound
}

fn targets(numbers: &[u64]) -> Vec<Target> {
    let target = |&number| Target { gateway: 5, number };
    numbers.iter().map(target).collect()
}

fn deliver(outbound: &Outbound, position: u64, targets: &[Target], pdu: &[u8]) -> Queueing {
    let items = [Item {
        sequence: position,
        index: 0,
        payload: Payload::Pdu(Bytes::copy_from_slice(pdu)),
    }];
    let fan = FanView {
        origin: LinkId::NODE,
        position,
        targets,
        items: &items,
        course: Course::Direct,
        receipts: &[],
    };
    outbound.deliver(Part {
        fan: &fan,
        targets,
        place: None,
        clock: GatewayClock::new(0),
        traced: &Traced::default(),
    })
}

fn poll(outbound: &Outbound, attempt: u64) -> Poll<Option<Result<Downlink, Status>>> {
    outbound.poll_take(attempt, &mut Context::from_waker(Waker::noop()))
}

fn take(outbound: &Outbound) -> Downlink {
    let Poll::Ready(Some(Ok(downlink))) = poll(outbound, 1) else {
        panic!("something is ready");
    };
    downlink
}

fn runs(downlink: &Downlink) -> Vec<&DeliveryRun> {
    let entries = downlink.entries.iter();
    let runs = entries.filter_map(|entry| match &entry.entry {
        Some(Entry::Run(run)) => Some(run),
        Some(Entry::Answer(_) | Entry::Close(_) | Entry::Ended(_) | Entry::TakenOver(_)) | None => {
            None
        }
    });
    runs.collect()
}
