use std::slice;

use bytes::Bytes;
use route_core::{Course, FanView, Item, LinkId, Payload, UserId};
use route_proto::attach::v1::DeliveryRun;

use super::*;
use crate::gateways::clock_offset::ClockOffset;
use crate::trace::Traced;

#[test]
fn what_follows_to_the_same_links_shares_a_run() {
    let queue = open(1 << 20);
    let two = targets(&[1, 2]);

    deliver(&queue, 10, &two, b"a");
    deliver(&queue, 11, &two, b"b");
    deliver(&queue, 12, &two[..1], b"c");
    deliver(&queue, 14, &two[..1], b"d");

    let shapes: Vec<_> = runs(&take(&queue))
        .iter()
        .map(|run| (run.position, run.targets.len(), run.deliveries.len()))
        .collect();
    assert_eq!(shapes, [(10, 2, 2), (12, 1, 1), (14, 1, 1)]);
}

#[test]
fn a_message_ends_before_it_grows_too_long() {
    let queue = open(16 << 20);
    let big = vec![0; 300 << 10];
    for position in 0..3 {
        deliver(&queue, position, &targets(&[1]), &big);
    }

    for number in 1..=3 {
        let downlink = take(&queue);
        assert_eq!((downlink.number, downlink.entries.len()), (number, 1));
        assert_eq!(queue.taken(number), number);
    }
    assert_eq!(queue.counts().bytes, 0);
}

#[test]
fn a_full_queue_keeps_what_it_holds_and_counts_what_it_drops() {
    let queue = open(1000);
    let deliver = |position| deliver(&queue, position, &targets(&[1]), &[0; 600]);

    deliver(1);
    deliver(2);
    deliver(3);
    assert_eq!(queue.counts().dropped, 2);
    let held = take(&queue);
    assert_eq!(runs(&held)[0].position, 1);
    deliver(4);
    assert_eq!(queue.counts().dropped, 3, "handed out is not taken");
    assert_eq!(queue.taken(held.number), 1);
    deliver(5);
    assert_eq!(queue.counts().dropped, 3);
}

#[test]
fn a_notice_that_waits_for_long_takes_128_bytes_at_most() {
    let queue = open(usize::MAX);
    let notices = 100_000;
    for position in 0..notices {
        // Nothing follows what is before.
        notice(&queue, 1_700_000_000_000_000 + 2 * position);
    }

    let each = queue.counts().bytes as u64 / notices;

    assert!(each <= 128, "{each} bytes");
}

#[test]
fn what_is_packed_comes_out_as_it_was_and_can_be_had_back() {
    let queue = open(usize::MAX);
    let some = 9000;
    for position in 0..some {
        let target = targets(&[1 + position % 2]);
        deliver(&queue, 2 * position, &target, &position.to_be_bytes());
    }
    let large = vec![7; 100 << 10];
    deliver(&queue, 2 * some, &targets(&[1, 2]), &large);
    deliver(&queue, 2 * some + 1, &targets(&[1, 2]), b"last");
    let taken = take(&queue);
    assert_eq!(queue.taken(taken.number), taken.entries.len() as u64);
    let first = taken.entries.len() as u64;
    let positions = |runs: Vec<&DeliveryRun>| runs.iter().map(|run| run.position).collect();
    let all: Vec<u64> = positions(runs(&taken));
    assert_eq!(all, (0..first).map(|it| 2 * it).collect::<Vec<_>>());

    let of_one = queue.give_up_for(&[1]);

    let of_one: Vec<_> = of_one.iter().map(|held| held.run.position).collect();
    let rest = (first..some).map(|it| 2 * it);
    let expected = rest.clone().filter(|it| it % 4 == 0).chain([2 * some]);
    assert_eq!(of_one, expected.collect::<Vec<_>>());
    let (of_two, _) = whole(queue.give_up());
    let left = of_two.iter().filter(|held| !held.run.targets.is_empty());
    let left: Vec<_> = left.map(|held| held.run.position).collect();
    let expected = rest.filter(|it| it % 4 == 2).chain([2 * some]);
    assert_eq!(left, expected.collect::<Vec<_>>());
    let large = of_two.last().expect("it is there");
    assert_eq!((large.run.deliveries.len(), queue.counts().bytes), (2, 0));
}

#[test]
fn a_stream_that_is_ended_hears_why_once() {
    let queue = open(1000);

    queue.end_stream(Some(Status::unavailable("draining")));

    assert!(matches!(poll(&queue, 1), Poll::Ready(Some(Err(_)))));
    assert!(matches!(poll(&queue, 1), Poll::Ready(None)));
}

#[test]
fn what_was_not_taken_is_handed_out_again_before_anything_newer() {
    let queue = open(1 << 20);
    let deliver = |position| deliver(&queue, position, &targets(&[1]), b"x");
    let positions = |downlink: &Downlink| {
        let runs = runs(downlink);
        runs.iter().map(|run| run.position).collect::<Vec<_>>()
    };
    for position in [10, 20] {
        deliver(position);
        take(&queue);
    }
    deliver(30);
    take(&queue);
    deliver(40);

    assert_eq!(queue.taken(1), 1);
    queue.open_stream(1);

    let again = take(&queue);
    assert_eq!(positions(&again), [20, 30, 40]);
    assert_eq!(queue.taken(3), 1, "numbers of the old stream are over");
    assert_eq!(queue.taken(again.number), 4);
    assert_eq!((queue.counts().bytes, queue.counts().resent), (0, 2));
}

#[test]
fn within_the_process_nothing_is_kept() {
    let queue = Queue::new(1 << 20, Retention::None);
    queue.open_stream(1);
    deliver(&queue, 1, &targets(&[1]), b"x");
    take(&queue);

    assert_eq!(queue.counts().bytes, 0);
    queue.open_stream(1);
    assert!(poll(&queue, 1).is_pending());
}

#[test]
fn what_a_lost_gateway_was_never_handed_can_be_had_back() {
    let queue = open(1 << 20);
    deliver(&queue, 1, &targets(&[1]), b"handed out");
    take(&queue);
    deliver(&queue, 5, &targets(&[1]), b"waiting");

    let (held, given_up) = whole(queue.give_up());
    let positions: Vec<_> = held.iter().map(|held| held.run.position).collect();

    assert_eq!(positions, [5]);
    assert_eq!(given_up, 1, "the other one may have been written");
    assert_eq!(queue.counts().bytes, 0);
}

#[test]
fn a_silent_gateway_is_handed_nothing_more_before_it_has_taken_that() {
    let queue = open(1 << 20);
    deliver(&queue, 1, &targets(&[1]), b"handed out");
    let first = take(&queue);
    queue.set_silent(true);
    deliver(&queue, 5, &targets(&[1]), b"held");
    queue.roster(vec!["a".to_owned()]);

    assert!(poll(&queue, 1).is_pending());

    queue.taken(first.number);
    assert!(queue.wake().is_some(), "there is something for it");
    assert_eq!(runs(&take(&queue))[0].position, 5);
    assert!(poll(&queue, 1).is_pending());
    queue.end_stream(None);
    queue.open_stream(1);
    assert_eq!(runs(&take(&queue))[0].position, 5, "a new stream");
}

#[test]
fn what_waits_for_some_links_can_be_had_and_the_rest_stays() {
    let queue = open(1 << 20);
    deliver(&queue, 1, &targets(&[1]), b"handed out");
    take(&queue);
    deliver(&queue, 5, &targets(&[1]), b"for one");
    deliver(&queue, 6, &targets(&[1, 2]), b"for both");
    deliver(&queue, 7, &targets(&[2]), b"for the other");
    let before = queue.counts().bytes;

    let had = queue.give_up_for(&[1]);

    let had: Vec<_> = had
        .iter()
        .map(|held| (held.run.position, &held.run.targets[..]))
        .collect();
    assert_eq!(had, [(5, &[1][..]), (6, &[1][..])]);
    assert!(queue.counts().bytes < before);
    queue.open_stream(1);
    let again = take(&queue);
    let again: Vec<_> = runs(&again).iter().map(|r| &r.targets[..]).collect();
    // What was handed out, the place of what was taken, and the rest.
    assert_eq!(again, [&[1][..], &[], &[2], &[2]]);
    queue.taken(2);
    assert_eq!(queue.counts().bytes, 0);
}

#[test]
fn a_run_keeps_the_receipts_of_all_its_batches_until_it_is_taken() {
    let queue = open(1 << 20);
    let [first, second, dropped] = [(); 3].map(|()| Receipt::new());
    deliver_for(&queue, 10, &targets(&[1]), b"a", slice::from_ref(&first));
    deliver_for(&queue, 11, &targets(&[1]), b"b", slice::from_ref(&second));
    let long = vec![0; 2 << 20];
    deliver_for(&queue, 12, &targets(&[1]), &long, slice::from_ref(&dropped));
    queue.open_stream(1);

    let number = take(&queue).number;

    assert!(dropped.is_last());
    assert!(!first.only_rests() && !second.only_rests());
    queue.taken(number);
    assert!(first.is_last() && second.is_last());
}

#[test]
fn receipts_rest_while_the_gateway_is_away_and_little_waits() {
    let queue = open(4000);
    let [before, little, much] = [(); 3].map(|()| Receipt::new());
    deliver_for(&queue, 1, &targets(&[1]), b"a", slice::from_ref(&before));

    queue.end_stream(None);
    deliver_for(&queue, 2, &targets(&[1]), b"b", slice::from_ref(&little));
    deliver_for(
        &queue,
        9,
        &targets(&[1]),
        &[0; 2500],
        slice::from_ref(&much),
    );

    assert!(before.only_rests() && little.only_rests());
    assert!(!much.only_rests(), "more than half of what may wait");
    queue.open_stream(2);
    assert!(!before.only_rests() && !little.only_rests());
}

#[test]
fn what_is_had_back_brings_its_receipts_and_what_was_handed_out_lets_go() {
    let queue = open(1 << 20);
    let [handed_out, one, both, other] = [(); 4].map(|()| Receipt::new());
    deliver_for(
        &queue,
        1,
        &targets(&[1]),
        b"a",
        slice::from_ref(&handed_out),
    );
    take(&queue);
    deliver_for(&queue, 5, &targets(&[1]), b"b", slice::from_ref(&one));
    deliver_for(&queue, 6, &targets(&[1, 2]), b"c", slice::from_ref(&both));
    deliver_for(&queue, 7, &targets(&[2]), b"d", slice::from_ref(&other));
    let receipts = |held: Vec<HeldRun>| {
        held.into_iter()
            .flat_map(|held| held.receipts)
            .collect::<Vec<_>>()
    };

    let of_one = receipts(queue.give_up_for(&[1]));
    assert_eq!(of_one, [one.clone(), both.clone()]);
    drop(of_one);
    assert!(one.is_last() && !both.is_last() && !handed_out.is_last());

    let rest = receipts(whole(queue.give_up()).0);
    assert_eq!(rest, [both.clone(), other.clone()]);
    drop(rest);
    for receipt in [handed_out, both, other] {
        assert!(receipt.is_last());
    }
}

#[test]
fn confirmations_pass_a_full_queue_and_only_the_last_of_a_link_counts() {
    let queue = open(1);
    deliver(&queue, 1, &targets(&[1]), b"full");

    assert_eq!(queue.confirm(&[(7, 1), (8, 1)]), 1);
    assert_eq!(queue.confirm(&[(7, 2)]), 1);

    let mut confirmed: Vec<_> = take(&queue)
        .confirmations
        .iter()
        .map(|c| (c.link, c.sequence))
        .collect();
    confirmed.sort_unstable();
    assert_eq!(confirmed, [(7, 2), (8, 1)]);
    assert_eq!(queue.confirm(&[]), 2);
}

fn open(limit_bytes: usize) -> Queue {
    let queue = Queue::new(limit_bytes, Retention::UntilTaken);
    queue.open_stream(1);
    queue
}

/// Everything that was never handed out, and how many deliveries were.
fn whole(mut given_up: GivenUp) -> (Vec<HeldRun>, u64) {
    let runs = std::iter::from_fn(|| given_up.take_next()).flat_map(|(_, runs)| runs);
    let runs = runs.collect();
    (runs, given_up.counts().given_up)
}

fn targets(numbers: &[u64]) -> Vec<LinkId> {
    let target = |&number| LinkId::new(5, number);
    numbers.iter().map(target).collect()
}

fn notice(queue: &Queue, position: u64) {
    deliver_item(
        queue,
        position,
        &targets(&[1]),
        Payload::DesktopLogin {
            user: UserId(1_000_000),
            on: true,
        },
        &[],
    );
}

fn deliver(queue: &Queue, position: u64, targets: &[LinkId], pdu: &[u8]) {
    deliver_for(queue, position, targets, pdu, &[]);
}

/// The same, caused by the batches with these receipts.
fn deliver_for(queue: &Queue, position: u64, targets: &[LinkId], pdu: &[u8], receipts: &[Receipt]) {
    let payload = Payload::Pdu(Bytes::copy_from_slice(pdu));
    deliver_item(queue, position, targets, payload, receipts);
}

fn deliver_item(
    queue: &Queue,
    position: u64,
    targets: &[LinkId],
    payload: Payload,
    receipts: &[Receipt],
) {
    let items = [Item {
        sequence: position,
        index: 0,
        payload,
    }];
    let fan = FanView {
        origin: LinkId::NODE,
        position,
        targets,
        items: &items,
        course: Course::Direct,
        receipts,
    };
    let _ = queue.deliver(Part {
        fan: &fan,
        targets,
        clock: ClockOffset::new(0),
        traced: &Traced::default(),
    });
}

fn poll(queue: &Queue, attempt: u64) -> Poll<Option<Result<Downlink, Status>>> {
    queue.poll_take(attempt, &mut Context::from_waker(Waker::noop()))
}

fn take(queue: &Queue) -> Downlink {
    let Poll::Ready(Some(Ok(downlink))) = poll(queue, 1) else {
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
