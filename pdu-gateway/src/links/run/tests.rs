use proptest::prelude::*;

use super::*;
use route_proto::attach::v1::{DesktopLoginNotice, StatusNotice};
use route_proto::pdu::{HEADER_LEN, Header, command};

const ORIGIN: LinkId = LinkId {
    gateway: 3,
    number: 4,
};

#[test]
fn small_pdus_share_a_segment_and_large_ones_are_not_copied() {
    let large = pdu(40_000);
    let run = prepare(vec![
        Payload::Pdu(pdu(16)),
        Payload::Pdu(pdu(100)),
        Payload::Pdu(large.clone()),
        Payload::Pdu(pdu(17)),
    ]);

    let lengths: Vec<_> = run.segments().iter().map(Bytes::len).collect();
    assert_eq!(lengths, [116, 40_000, 17]);
    assert_eq!(run.segments()[1].as_ptr(), large.as_ptr());
    assert_eq!(run.bytes(), 40_133);
}

#[test]
fn an_empty_run_is_nothing() {
    assert!(Run::prepare(DeliveryRun::default(), Dialect::published()).is_none());
}

#[test]
fn what_comes_after_a_mark_is_a_run_of_its_own() {
    let run = prepare(vec![
        Payload::Pdu(pdu(16)),
        Payload::Pdu(pdu(20)),
        Payload::Pdu(pdu(24)),
    ]);

    let after = run.after(run.first()).unwrap();

    assert_eq!(after.position, run.position + 1);
    assert_eq!(
        (after.first().sequence, after.last().sequence, after.bytes()),
        (11, 12, 44)
    );
    assert!(run.after(run.last()).is_none());
}

proptest! {
    #[test]
    fn what_is_given_back_is_what_was_sent(
        payloads in prop::collection::vec(payload_strategy(), 1..20),
        written in any::<prop::sample::Index>(),
    ) {
        let run = prepare(payloads.clone());
        let written = written.index(run.bytes() + 1);

        let back = run.unwritten(written);

        let mut end = 0;
        let done = run
            .deliveries
            .iter()
            .take_while(|place| {
                end += place.length as usize;
                end <= written
            })
            .count();
        let returned: Vec<_> =
            back.deliveries.iter().map(|delivery| delivery.payload.clone().unwrap()).collect();
        prop_assert_eq!(&returned[..], &payloads[done..]);
        for delivery in &back.deliveries {
            prop_assert_eq!(delivery.read_at_micros, read_at(delivery.sequence));
        }
        prop_assert_eq!(back.position, 100 + done as u64);
        prop_assert_eq!(back.origin, Some(ORIGIN));
        let total: usize = run.segments().iter().map(Bytes::len).sum();
        prop_assert_eq!(total, run.bytes());
    }
}

fn payload_strategy() -> impl Strategy<Value = Payload> {
    prop_oneof![
        (16..2000_usize).prop_map(|length| Payload::Pdu(pdu(length))),
        (8000..9000_usize).prop_map(|length| Payload::Pdu(pdu(length))),
        (any::<u32>(), any::<bool>()).prop_map(|(user_id, logged_in)| {
            Payload::DesktopLogin(DesktopLoginNotice { user_id, logged_in })
        }),
        (any::<u32>(), 1..=3_i32)
            .prop_map(|(user_id, status)| Payload::Status(StatusNotice { user_id, status })),
    ]
}

fn prepare(payloads: Vec<Payload>) -> Run {
    let deliveries = (10..).zip(payloads).map(|(sequence, payload)| Delivery {
        sequence,
        index: 0,
        payload: Some(payload),
        read_at_micros: read_at(sequence),
        ..Delivery::default()
    });
    let run = DeliveryRun {
        origin: Some(ORIGIN),
        position: 100,
        deliveries: deliveries.collect(),
        ..DeliveryRun::default()
    };
    Run::prepare(run, Dialect::published()).unwrap()
}

/// Of some it matters.
fn read_at(sequence: u64) -> i64 {
    if sequence.is_multiple_of(3) { -5 } else { 0 }
}

fn pdu(length: usize) -> Bytes {
    let mut pdu = vec![7; length];
    let header = Header::new(command::MESSAGE, 0, length - HEADER_LEN);
    pdu[..HEADER_LEN].copy_from_slice(&header.write());
    Bytes::from(pdu)
}
