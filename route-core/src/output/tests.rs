use bytes::Bytes;

use super::*;
use crate::delivery::Payload;
use crate::ids::UserId;

const ORIGIN: LinkId = LinkId::new(1, 1);
const TWO: [LinkId; 2] = [target(2), target(3)];

const fn target(number: u64) -> LinkId {
    LinkId::new(1, number)
}

fn item(sequence: u64) -> Item {
    Item {
        sequence,
        index: 0,
        payload: Payload::Pdu(Bytes::from_static(b"pdu")),
    }
}

fn deliver(outputs: &mut Outputs, position: u64, targets: &[LinkId]) {
    outputs.deliver(ORIGIN, position, targets.iter().copied(), item(position));
}

/// Position, targets and items of each fan.
fn fans(outputs: &mut Outputs) -> Vec<(u64, usize, usize)> {
    let fan = |output: Output<'_>| match output {
        Output::Deliver(fan) => Some((fan.position, fan.targets.len(), fan.items.len())),
        Output::TakeOver { .. } | Output::Close(_) | Output::Answer(_) => None,
    };
    outputs.drain().filter_map(fan).collect()
}

#[test]
fn items_of_one_origin_to_the_same_links_share_their_targets() {
    let mut outputs = Outputs::default();

    deliver(&mut outputs, 10, &TWO);
    deliver(&mut outputs, 11, &TWO);
    deliver(&mut outputs, 12, &TWO[..1]);
    // Position 13 went nowhere: the next item may not pretend to follow position 12.
    deliver(&mut outputs, 14, &TWO[..1]);

    assert_eq!(fans(&mut outputs), [(10, 2, 2), (12, 1, 1), (14, 1, 1)]);
}

#[test]
fn events_do_not_part_a_fan_and_what_gateways_are_told_does() {
    let mut outputs = Outputs::default();

    deliver(&mut outputs, 1, &TWO);
    outputs.event(Event::DesktopLogin {
        user: UserId(7),
        on: true,
    });
    deliver(&mut outputs, 2, &TWO);
    outputs.answer(Answer {
        link: ORIGIN,
        sequence: 3,
        online: vec![true],
    });
    deliver(&mut outputs, 3, &TWO);

    let order: Vec<_> = outputs
        .drain()
        .map(|output| match output {
            Output::Deliver(fan) => ("deliver", fan.items.len()),
            Output::Answer(answer) => ("answer", answer.online.len()),
            Output::TakeOver { .. } | Output::Close(_) => ("other", 0),
        })
        .collect();
    assert_eq!(order, [("deliver", 2), ("answer", 1), ("deliver", 1)]);
    assert_eq!(outputs.drain_events().len(), 1);
}

#[test]
fn what_is_caused_by_many_names_each_once_at_the_cost_of_as_many() {
    const MANY: usize = 1000;
    let receipts: Vec<Receipt> = (0..MANY).map(|_| Receipt::new()).collect();
    let mut outputs = Outputs::default();
    outputs.caused_by(Some(receipts[7].clone()));

    outputs.also_caused_by(&receipts[..MANY / 2]);
    outputs.also_caused_by(&receipts);

    let causes = outputs.causes();
    assert_eq!(causes.len(), MANY);
    assert!(receipts.iter().all(|it| causes.contains(it)));
    assert!(outputs.work.done() <= 3 * MANY as u64);
}

#[test]
fn an_item_for_nobody_leaves_no_trace() {
    let mut outputs = Outputs::default();

    deliver(&mut outputs, 1, &[]);

    assert!(outputs.entries.is_empty() && outputs.items.is_empty() && outputs.targets.is_empty());
}
