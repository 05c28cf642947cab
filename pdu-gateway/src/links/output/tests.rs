use bytes::Bytes;
use proptest::prelude::*;
use route_proto::attach::v1::delivery::Payload;
use route_proto::attach::v1::{Delivery, LinkId, StatusNotice};

use super::*;

const LIMIT: usize = 4 << 20;
use route_dialect::Dialect;
use route_proto::pdu::HEADER_LEN;

#[test]
fn what_is_written_is_what_was_pushed_in_order() {
    let mut output = Output::default();
    let mut batch = Batch::default();
    output.push_run(run(1, &[100, 3000, 40]));
    output.push_own(|out| out.extend_from_slice(&heartbeat()));
    output.push_run(run(4, &[16]));
    output.take(&mut batch);
    output.push_own(|out| out.extend_from_slice(b"later"));

    let first = write(&mut output, &mut batch, usize::MAX);
    output.take(&mut batch);
    let second = write(&mut output, &mut batch, usize::MAX);

    let expected = [&pdu(1, 100), &pdu(2, 3000), &pdu(3, 40)].map(|pdu| pdu.to_vec());
    let expected = [expected.concat(), heartbeat().to_vec(), pdu(4, 16).to_vec()].concat();
    assert_eq!(first, expected);
    assert_eq!(second, b"later");
    assert_eq!(output.bytes(), 0);
}

#[test]
fn what_is_not_wholly_written_is_given_back() {
    // given: two runs and a heartbeat, of which everything up to the middle of the second PDU is written
    let mut output = Output::default();
    let mut batch = Batch::default();
    output.push_run(run(1, &[100, 100, 100]));
    output.push_own(|out| out.extend_from_slice(&heartbeat()));
    output.take(&mut batch);
    output.push_run(run(4, &[16]));
    write(&mut output, &mut batch, 150);

    let mut back = GivenBack::new(LIMIT);
    back.collect(&mut batch, &mut output);

    let sequences: Vec<Vec<u64>> = back
        .runs
        .iter()
        .map(|run| run.deliveries.iter().map(|d| d.sequence).collect())
        .collect();
    assert_eq!(sequences, [vec![2, 3], vec![4]]);
    assert_eq!(back.dropped, 0);
    assert!(batch.is_done() && output.is_empty() && output.bytes() == 0);
}

#[test]
fn what_is_given_back_is_bounded_and_has_no_holes() {
    let mut back = GivenBack::new(LIMIT);
    let large = run(1, &[GIVEN_BACK * LIMIT - 500]);
    let small = run(9, &[50, 50]);

    back.add(&large, 0);
    back.add(&run(2, &[501]), 0);
    back.add(&small, 0);

    assert_eq!((back.runs.len(), back.dropped), (1, 3));
}

proptest! {
    #[test]
    fn any_writes_add_up(
        pushes in prop::collection::vec(prop::collection::vec(16..3000_usize, 0..6), 0..20),
        writes in prop::collection::vec(1..5000_usize, 0..100),
    ) {
        let mut output = Output::default();
        let mut batch = Batch::default();
        let mut expected = Vec::new();
        let mut sent = Vec::new();
        let (mut sequence, mut pdus) = (1, 0);
        let mut writes = writes.into_iter();
        for lengths in pushes {
            pdus += lengths.len().max(1) as u64;
            if lengths.is_empty() {
                output.push_own(|out| out.extend_from_slice(&heartbeat()));
                expected.extend_from_slice(&heartbeat());
            } else {
                output.push_run(run(sequence, &lengths));
                for length in lengths {
                    expected.extend_from_slice(&pdu(sequence, length));
                    sequence += 1;
                }
            }
            if let Some(most) = writes.next() {
                if batch.is_done() {
                    output.take(&mut batch);
                }
                sent.extend(write(&mut output, &mut batch, most));
            }
            prop_assert_eq!(output.bytes(), expected.len() - sent.len());
        }
        loop {
            sent.extend(write(&mut output, &mut batch, usize::MAX));
            if output.is_empty() {
                break;
            }
            output.take(&mut batch);
        }
        prop_assert_eq!(&sent, &expected);
        prop_assert_eq!((output.bytes(), output.cost()), (0, 0));
        prop_assert_eq!(output.sent(), (pdus, expected.len() as u64));
    }
}

#[test]
fn what_waits_for_long_is_packed_and_nothing_of_it_is_lost() {
    let (mut output, mut batch) = (Output::default(), Batch::default());
    let all: Vec<u64> = (1..=4 * LOOSE as u64).collect();
    for sequence in &all {
        output.push_run(notice(*sequence));
    }
    assert!(output.cost() <= 100 * all.len(), "{} bytes", output.cost());

    let length = notice(1).bytes();
    output.take(&mut batch);
    write(&mut output, &mut batch, 300 * length + 5);
    let mut back = GivenBack::new(LIMIT);
    back.collect(&mut batch, &mut output);

    assert_eq!(back.dropped, 0);
    let runs = back.runs.iter();
    let given_back: Vec<u64> = runs.clone().map(|run| run.deliveries[0].sequence).collect();
    assert_eq!(given_back, all[300..]);
    assert!(
        runs.clone()
            .all(|run| run.position == 10 * run.deliveries[0].sequence)
    );
    let status = Some(Payload::Status(StatusNotice {
        user_id: 7,
        status: 1,
    }));
    assert!(runs.clone().all(|run| run.deliveries[0].payload == status));
}

#[test]
fn of_a_packed_run_the_deliveries_are_given_back_that_are_not_written() {
    let (mut output, mut batch) = (Output::default(), Batch::default());
    for number in 0..LOOSE as u64 {
        output.push_run(run(1 + 2 * number, &[20, 30]));
    }
    output.take(&mut batch);
    write(&mut output, &mut batch, 50 + 20 + 29);
    let mut back = GivenBack::new(LIMIT);
    back.collect(&mut batch, &mut output);

    let sequences = |run: &DeliveryRun| run.deliveries.iter().map(|it| it.sequence).collect();
    let first: Vec<Vec<u64>> = back.runs.iter().take(2).map(sequences).collect();
    assert_eq!(first, [vec![4], vec![5, 6]]);
    assert_eq!(back.runs[0].position, 1);
}

#[test]
fn what_is_traced_has_arrived_with_its_last_byte() {
    let mut output = Output::default();
    let mut batch = Batch::default();
    output.push_own(|out| out.extend_from_slice(b"untraced"));
    for name in ["one", "two"] {
        output.push_own(|out| out.extend_from_slice(&[0; 10]));
        output.trace(Arriving::from_hop(name));
    }
    output.take(&mut batch);

    let mut arrived = |bytes| {
        write(&mut output, &mut batch, bytes);
        let arrived = std::iter::from_fn(|| output.arrived());
        arrived
            .map(|it| it.traceparent().to_owned())
            .collect::<Vec<_>>()
    };

    assert!(arrived(17).is_empty());
    assert_eq!(arrived(1), ["one"]);
    assert_eq!(arrived(10), ["two"]);
}

/// A socket that takes at most so much, three slices at a time.
fn write(output: &mut Output, batch: &mut Batch, most: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    while !batch.is_done() && sent.len() < most {
        let mut slices = [IoSlice::new(&[]); 3];
        let filled = batch.slices(&mut slices);
        let bytes: Vec<u8> = slices[..filled]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        let taken = bytes.len().min(most - sent.len());
        sent.extend_from_slice(&bytes[..taken]);
        let written = batch.advance(taken);
        output.written(written);
    }
    sent
}

fn run(first: u64, lengths: &[usize]) -> Arc<Run> {
    let deliveries = (first..).zip(lengths).map(|(sequence, length)| Delivery {
        sequence,
        index: 0,
        payload: Some(Payload::Pdu(pdu(sequence, *length))),
        ..Delivery::default()
    });
    let run = DeliveryRun {
        origin: Some(LinkId::default()),
        deliveries: deliveries.collect(),
        ..DeliveryRun::default()
    };
    Arc::new(Run::prepare(run, Dialect::published()).unwrap())
}

fn notice(sequence: u64) -> Arc<Run> {
    let notice = Payload::Status(StatusNotice {
        user_id: 7,
        status: 1,
    });
    let run = DeliveryRun {
        origin: Some(LinkId {
            gateway: u64::MAX / 3,
            number: 12,
        }),
        position: 10 * sequence,
        deliveries: vec![Delivery {
            sequence,
            payload: Some(notice),
            ..Delivery::default()
        }],
        ..DeliveryRun::default()
    };
    Arc::new(Run::prepare(run, Dialect::published()).unwrap())
}

fn pdu(fill: u64, length: usize) -> Bytes {
    let mut pdu = vec![fill as u8; length];
    pdu[..HEADER_LEN].copy_from_slice(&[0; HEADER_LEN]);
    Bytes::from(pdu)
}

#[test]
fn a_run_of_which_nothing_is_written_does_not_wait() {
    let mut output = Output::default();
    let delivery = route_proto::attach::v1::Delivery {
        sequence: 1,
        ..Default::default()
    };
    let run = DeliveryRun {
        deliveries: vec![delivery],
        ..DeliveryRun::default()
    };

    output.push_run(Arc::new(Run::prepare(run, Dialect::published()).unwrap()));

    assert!(output.is_empty());
}

fn heartbeat() -> [u8; 16] {
    Dialect::published().heartbeat()
}
