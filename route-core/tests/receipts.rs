//! What a batch causes carries copies of its receipt, wherever that goes, until it is dropped.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use route_core::{
    Audience, Change, ClientType, CloseReason, Command, Core, Course, Effect, Item, LinkId,
    ListEntry, Output, Payload, Receipt, ReportedStatus, ReturnedRun, Settings, Taken, Transaction,
    UserId,
};

const MESSAGE: Command = Command {
    id: 0x0301,
    dialect: 0,
};

const SENDER: LinkId = link(1);
/// Two links of one MsgServer.
const CLAIMED: LinkId = link(2);
const OTHER: LinkId = link(3);

const fn link(gateway: u64) -> LinkId {
    LinkId::new(gateway, 1)
}

/// User 7 is logged in at the MsgServer with two links, of which one has claimed.
fn core() -> Core {
    let mut core = Core::new(Settings::default());
    let mut transaction = core.transaction(Duration::ZERO);
    for (id, host) in [(SENDER, 1), (CLAIMED, 2), (OTHER, 2)] {
        let peer = SocketAddr::from(([10, 0, 0, host], 4000)).into();
        let restored = None;
        apply(&mut transaction, id, Change::Opened { peer, restored });
        let user = ListEntry {
            user: UserId(7),
            client_type: ClientType::published(1),
            status: ReportedStatus::Online,
        };
        let entries = if host == 2 { &[user][..] } else { &[] };
        let last = true;
        apply(&mut transaction, id, Change::List { entries, last });
    }
    claim(&mut transaction, CLAIMED);
    drop(transaction);
    core
}

fn apply(transaction: &mut Transaction<'_>, id: LinkId, change: Change<'_>) {
    transaction.apply(id, 1, change, Effect::Notify).unwrap();
}

fn claim(transaction: &mut Transaction<'_>, id: LinkId) {
    apply(transaction, id, Change::Role { claimed: true });
}

fn close(transaction: &mut Transaction<'_>, id: LinkId) {
    let reason = CloseReason::Peer;
    apply(transaction, id, Change::Closed { reason });
}

/// A message for user 7.
fn route(transaction: &mut Transaction<'_>) {
    let audience = Audience::Users(&[7]);
    let pdu = Bytes::from_static(b"pdu");
    let routed = transaction.route(SENDER, 1, MESSAGE, audience, pdu, None);
    routed.unwrap();
}

/// To whom something is delivered, how, and by how many batches.
fn delivered(transaction: &mut Transaction<'_>) -> Vec<(LinkId, Course, usize)> {
    let outputs = transaction.outputs().drain();
    let fans = outputs.filter_map(|output| match output {
        Output::Deliver(fan) => Some((fan.targets[0], fan.course, fan.receipts.len())),
        Output::TakeOver { .. } | Output::Close(_) | Output::Answer(_) => None,
    });
    fans.collect()
}

#[test]
fn a_delivery_carries_the_receipt_of_its_batch() {
    let (mut core, receipt) = (core(), Receipt::new());
    let mut transaction = core.transaction(Duration::ZERO);

    transaction.under(Some(receipt.clone()));
    route(&mut transaction);
    route(&mut transaction);

    let both = [(CLAIMED, Course::Direct, 1)];
    assert_eq!(delivered(&mut transaction), both);
    assert!(!receipt.is_last() && !receipt.only_rests());
    drop(transaction);
    assert!(receipt.is_last(), "nothing is left of it");
}

#[test]
fn items_of_two_batches_do_not_share_a_fan() {
    let mut core = core();
    let mut transaction = core.transaction(Duration::ZERO);

    for receipt in [Receipt::new(), Receipt::new()] {
        transaction.under(Some(receipt));
        route(&mut transaction);
    }

    assert_eq!(delivered(&mut transaction).len(), 2);
}

#[test]
fn a_seat_keeps_the_receipts_of_its_close_and_of_what_it_holds_and_the_heir_gets_both() {
    let mut core = core();
    let [closed, sent, claimed, returned] = [0; 4].map(|_| Receipt::new());

    // when a claimed link closes, and something is routed to it
    let mut transaction = core.transaction(Duration::ZERO);
    transaction.under(Some(closed.clone()));
    close(&mut transaction, CLAIMED);
    transaction.under(Some(sent.clone()));
    route(&mut transaction);
    drop(transaction);

    // then the seat keeps both, at rest
    for receipt in [&closed, &sent] {
        assert!(!receipt.is_last() && receipt.only_rests());
    }

    // when another one claims, but what the closed one could not be sent is still to come
    let mut transaction = core.transaction(Duration::ZERO);
    transaction.under(Some(claimed.clone()));
    claim(&mut transaction, OTHER);
    drop(transaction);

    // then they are kept until it has come
    for receipt in [&closed, &sent, &claimed] {
        assert!(!receipt.is_last() && receipt.only_rests());
    }
    let mut transaction = core.transaction(Duration::ZERO);
    transaction.under(Some(returned.clone()));
    transaction.all_returned(CLAIMED, Vec::new());
    let moved = [(OTHER, Course::Moved, 4)];
    assert_eq!(delivered(&mut transaction), moved);
    drop(transaction);
    for receipt in [closed, sent, claimed, returned] {
        assert!(receipt.is_last());
    }
}

#[test]
fn what_comes_back_to_a_seat_brings_the_receipts_of_those_who_caused_it() {
    let mut core = core();
    let [sent, returned, all_returned] = [0; 3].map(|_| Receipt::new());
    let mut transaction = core.transaction(Duration::ZERO);
    close(&mut transaction, CLAIMED);

    transaction.under(Some(returned.clone()));
    let item = Item {
        sequence: 1,
        index: 0,
        payload: Payload::Pdu(Bytes::from_static(b"pdu")),
    };
    let run = ReturnedRun {
        origin: SENDER,
        position: 1,
        items: vec![item],
        receipts: vec![sent.clone()],
    };
    transaction.returned(CLAIMED, run);
    transaction.under(Some(all_returned.clone()));
    let taken = Taken {
        origin: SENDER,
        sequence: 1,
        index: 0,
    };
    transaction.all_returned(CLAIMED, vec![taken]);
    drop(transaction);
    for receipt in [&sent, &returned, &all_returned] {
        assert!(!receipt.is_last() && receipt.only_rests());
    }

    let mut transaction = core.transaction(Duration::ZERO);
    claim(&mut transaction, OTHER);

    let of = |output: Output<'_>| match output {
        Output::TakeOver { receipts, .. } => Some(receipts),
        Output::Deliver(fan) => Some(fan.receipts.to_vec()),
        Output::Close(_) | Output::Answer(_) => None,
    };
    let carried: Vec<_> = transaction.outputs().drain().filter_map(of).collect();
    let told = vec![all_returned.clone()];
    let mut all = vec![all_returned, sent, returned];
    all.sort_unstable();
    assert_eq!(carried, [told, all]);
}

#[test]
fn a_seat_that_nobody_inherits_lets_go() {
    let (mut core, closed) = (core(), Receipt::new());
    let mut transaction = core.transaction(Duration::ZERO);
    transaction.under(Some(closed.clone()));
    close(&mut transaction, OTHER);
    close(&mut transaction, CLAIMED);
    drop(transaction);
    assert!(closed.is_last(), "there is nobody who could claim");

    let mut core = self::core();
    let mut transaction = core.transaction(Duration::ZERO);
    transaction.under(Some(closed.clone()));
    close(&mut transaction, CLAIMED);
    drop(transaction);
    assert!(!closed.is_last(), "the other link may claim");
    close(&mut core.transaction(Duration::ZERO), OTHER);
    assert!(closed.is_last(), "nobody is left who could");

    let mut core = self::core();
    let mut transaction = core.transaction(Duration::ZERO);
    let leaves = Change::Update {
        user: UserId(7),
        client_type: ClientType::published(1),
        status: ReportedStatus::Offline,
    };
    apply(&mut transaction, OTHER, leaves);
    transaction.under(Some(closed.clone()));
    close(&mut transaction, CLAIMED);
    drop(transaction);
    assert!(
        !closed.is_last(),
        "nothing says whose link the other one is"
    );

    core.transaction(Duration::from_secs(2)).advance();

    assert!(closed.is_last());
}

/// An heir closes while it is being given what has waited: the rest is its own heir's.
#[test]
fn what_an_heir_has_not_been_given_waits_for_the_next_one() {
    const MANY: usize = 10_000;
    const THIRD: LinkId = link(4);
    let mut core = core();
    let mut transaction = core.transaction(Duration::ZERO);
    let peer = SocketAddr::from(([10, 0, 0, 2], 4000)).into();
    let restored = None;
    apply(&mut transaction, THIRD, Change::Opened { peer, restored });
    let user = ListEntry {
        user: UserId(7),
        client_type: ClientType::published(1),
        status: ReportedStatus::Online,
    };
    let (entries, last) = (&[user][..], true);
    apply(&mut transaction, THIRD, Change::List { entries, last });
    close(&mut transaction, CLAIMED);
    for _ in 0..MANY {
        route(&mut transaction);
    }
    transaction.all_returned(CLAIMED, Vec::new());
    drop(transaction);

    let mut given = Vec::new();
    let mut transaction = core.transaction(Duration::ZERO);
    claim(&mut transaction, OTHER);
    assert!(transaction.goes_on(), "not all of it at once");
    given.extend(given_to(&mut transaction));
    assert!(given.iter().all(|to| *to == OTHER));
    close(&mut transaction, OTHER);
    assert!(!transaction.proceed(u64::MAX));
    assert_eq!(given_to(&mut transaction), [], "nothing for who is gone");
    assert_eq!(transaction.view().stats().seats, 1);
    drop(transaction);

    let mut transaction = core.transaction(Duration::ZERO);
    claim(&mut transaction, THIRD);
    transaction.all_returned(OTHER, Vec::new());
    assert!(!transaction.proceed(u64::MAX));
    let rest = given_to(&mut transaction);
    assert!(rest.iter().all(|to| *to == THIRD));
    assert_eq!(given.len() + rest.len(), MANY);
    assert_eq!(transaction.view().stats().seats, 0);
}

/// A MsgServer that comes and goes many times gets in the end what its first link could not be sent.
#[test]
fn what_is_held_finds_the_last_of_many_heirs() {
    const TIMES: u64 = 200;
    let mut core = core();
    let mut transaction = core.transaction(Duration::ZERO);
    route(&mut transaction);
    assert_eq!(given_to(&mut transaction), [CLAIMED]);
    let mut last = CLAIMED;
    for number in 0..TIMES {
        let next = LinkId::new(OTHER.gateway, 2 + number);
        let peer = SocketAddr::from(([10, 0, 0, 2], 4000)).into();
        let restored = None;
        apply(&mut transaction, next, Change::Opened { peer, restored });
        let user = ListEntry {
            user: UserId(7),
            client_type: ClientType::published(1),
            status: ReportedStatus::Online,
        };
        let (entries, is_last) = (&[user][..], true);
        let list = Change::List {
            entries,
            last: is_last,
        };
        apply(&mut transaction, next, list);
        close(&mut transaction, last);
        claim(&mut transaction, next);
        // Else the user would be on more links than are kept.
        transaction.proceed(u64::MAX);
        last = next;
    }
    assert_eq!(given_to(&mut transaction), []);
    let run = ReturnedRun {
        origin: SENDER,
        position: 1,
        items: vec![Item {
            sequence: 1,
            index: 0,
            payload: Payload::Pdu(Bytes::from_static(b"pdu")),
        }],
        receipts: Vec::new(),
    };

    transaction.returned(CLAIMED, run);

    assert_eq!(transaction.view().stats().returned_dropped, 0);
    transaction.all_returned(CLAIMED, Vec::new());
    for number in 0..TIMES - 1 {
        let closed = LinkId::new(OTHER.gateway, 2 + number);
        transaction.all_returned(closed, Vec::new());
    }
    transaction.proceed(u64::MAX);
    assert_eq!(given_to(&mut transaction), [last]);
}

/// To whom each delivery goes.
fn given_to(transaction: &mut Transaction<'_>) -> Vec<LinkId> {
    let outputs = transaction.outputs().drain();
    let fans = outputs.filter_map(|output| match output {
        Output::Deliver(fan) => Some(vec![fan.targets[0]; fan.items.len()]),
        Output::TakeOver { .. } | Output::Close(_) | Output::Answer(_) => None,
    });
    fans.flatten().collect()
}
