use bytes::Bytes;
use route_core::{Command, HeldFor, LinkView};

use super::block::MOST_TARGETS;
use super::*;

const LIMIT: usize = 256 << 10;

fn link(number: u64) -> LinkId {
    LinkId::new(7, number)
}

/// Notes an envelope at this position, from link 1 to so many others.
fn note(routed: &Routed, position: u64, targets: u64) {
    let origin = LinkView {
        id: link(1),
        peer: ([10, 0, 0, 1], 4000).into(),
        msg_server: "a".to_owned(),
    };
    let targets: Vec<_> = (2..2 + targets).map(link).collect();
    let held = [HeldFor {
        link: link(1000),
        full: position.is_multiple_of(2),
    }];
    let envelope = RoutedEnvelope {
        position,
        origin: Some(&origin),
        command: Command {
            id: 0x0301,
            dialect: Dialects::PUBLISHED,
        },
        pdu: &Bytes::from_static(b"a header of 16 B\xff"),
        targets: &targets,
        held: &held,
        unknown_users: 0,
        nobody: None,
    };
    let at = Duration::from_secs(position);
    let name = |link: LinkId| format!("MsgServer of {link}");
    let outcome = |_, _| Outcome::Queued;
    routed.note(at, [envelope].into_iter(), &Dialects::new(), name, outcome);
}

/// Positions of all that it remembers, newest first.
fn all(routed: &Routed) -> Vec<u64> {
    let (mut found, mut before) = (Vec::new(), u64::MAX);
    while let Some(block) = routed.before(before) {
        found.extend(block.before(before).map(|it| it.position));
        before = found.last().copied().expect("a block is not empty");
    }
    found
}

#[test]
fn what_it_takes_has_a_bound_and_the_oldest_goes() {
    let routed = Routed::new(LIMIT);
    assert_eq!(routed.since(), Some(Duration::ZERO));

    for position in 1..=20_000 {
        note(&routed, position, position % 50);
        assert!(routed.bytes() <= LIMIT, "{position}: {}", routed.bytes());
    }

    let found = all(&routed);
    let oldest = 20_001 - found.len() as u64;
    assert_eq!(found, (oldest..=20_000).rev().collect::<Vec<_>>());
    assert_eq!(routed.since(), Some(Duration::from_secs(oldest)));
    // Each takes 56 bytes, and 4 for each of 25 links.
    assert!(found.len() * 156 > LIMIT / 2, "only {}", found.len());
}

/// Of each link there is a new one: their names have to fit, too.
#[test]
fn names_of_links_count() {
    let routed = Routed::new(LIMIT);

    for position in 1..=20_000 {
        let origin = LinkView {
            id: link(position),
            peer: ([10, 0, 0, 1], 4000).into(),
            msg_server: "a".repeat(63),
        };
        let envelope = RoutedEnvelope {
            position,
            origin: Some(&origin),
            command: Command {
                id: 0x0301,
                dialect: Dialects::PUBLISHED,
            },
            pdu: &Bytes::new(),
            targets: &[],
            held: &[],
            unknown_users: 0,
            nobody: None,
        };
        let name = |_| String::new();
        let outcome = |_, _| Outcome::Queued;
        let envelopes = [envelope].into_iter();
        routed.note(Duration::ZERO, envelopes, &Dialects::new(), name, outcome);
        assert!(routed.bytes() <= LIMIT, "{position}: {}", routed.bytes());
    }

    assert!(all(&routed).len() > LIMIT / 400);
}

#[test]
fn of_an_envelope_some_targets_are_noted_and_all_are_counted() {
    let routed = Routed::new(LIMIT);

    note(&routed, 2, 100);

    let block = routed.before(u64::MAX).expect("a block");
    let noted = block.before(u64::MAX).next().expect("an envelope");
    assert_eq!((noted.links, noted.held, noted.dropped), (101, 1, 1));
    assert!(noted.unparsed);
    let targets: Vec<_> = block.targets(noted).collect();
    assert_eq!(targets.len(), MOST_TARGETS);
    let (first, outcome) = targets[0];
    assert_eq!((first.id, outcome), (link(1000), Outcome::SeatFull));
    let (second, outcome) = targets[1];
    assert_eq!((second.id, outcome), (link(2), Outcome::Queued));
    assert_eq!(&*second.msg_server, "MsgServer of 7-2");
    assert_eq!(block.origin(noted).map(|it| &*it.msg_server), Some("a"));
}

#[test]
fn with_no_room_at_all_nothing_is_noted() {
    let routed = Routed::new(0);

    note(&routed, 1, 1);

    assert!(all(&routed).is_empty());
    assert_eq!((routed.since(), routed.bytes()), (None, 0));
}
