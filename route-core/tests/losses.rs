//! What is lost is said: whose it was, how much, and why.
//!
//! Checks promise 8.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use route_core::{
    Audience, Change, ClientType, CloseReason, Command, Core, Effect, Item, LinkId, ListEntry,
    Loss, LossReason, Payload, Peer, ReportedStatus, ReturnedRun, Settings, Transaction, UserId,
};

const MESSAGE: Command = Command {
    id: 0x0301,
    dialect: 0,
};
const SENDER: LinkId = LinkId::new(1, 1);
const CLAIMED: LinkId = LinkId::new(1, 2);
const OTHER: LinkId = LinkId::new(1, 3);

/// The sender, and a MsgServer with two connections, of which the first has closed. Two messages
/// fit into its seat.
fn with_a_seat() -> Core {
    let settings = Settings {
        seat_bytes: 700,
        ..Settings::default()
    };
    let mut core = Core::new(settings);
    let mut transaction = core.transaction(Duration::ZERO);
    for (link, msg_server) in [(SENDER, "sender"), (CLAIMED, "m1"), (OTHER, "m1")] {
        let peer = Peer {
            address: SocketAddr::from(([10, 0, 0, 1], 4000)),
            msg_server: Some(msg_server),
        };
        let restored = None;
        apply(&mut transaction, link, 1, Change::Opened { peer, restored });
    }
    let entries = [ListEntry {
        user: UserId(7),
        client_type: ClientType::published(1),
        status: ReportedStatus::Online,
    }];
    let role = Change::Role { claimed: true };
    apply(&mut transaction, CLAIMED, 2, role);
    for link in [CLAIMED, OTHER] {
        let (entries, last) = (&entries[..], true);
        apply(&mut transaction, link, 3, Change::List { entries, last });
    }
    close(&mut transaction, CLAIMED);
    drop(transaction);
    core
}

fn apply(transaction: &mut Transaction<'_>, link: LinkId, sequence: u64, change: Change<'_>) {
    transaction
        .apply(link, sequence, change, Effect::Notify)
        .unwrap();
}

fn close(transaction: &mut Transaction<'_>, link: LinkId) {
    let reason = CloseReason::Peer;
    apply(transaction, link, 4, Change::Closed { reason });
}

fn send(transaction: &mut Transaction<'_>, sequence: u64) {
    let pdu = Bytes::from_static(&[0; 40]);
    let audience = Audience::Users(&[7]);
    transaction
        .route(SENDER, sequence, MESSAGE, audience, pdu, None)
        .unwrap();
}

/// Identity, sessions, deliveries, reason.
fn said(loss: Loss) -> (LinkId, Option<(String, u32)>, u64, LossReason) {
    let whose = loss.whose.map(|whose| (whose.identity, whose.sessions));
    (loss.link, whose, loss.deliveries, loss.reason)
}

#[test]
fn what_a_seat_has_no_room_for_and_what_nobody_claims_is_said() {
    let mut core = with_a_seat();
    let of_m1 = || Some(("m1".to_owned(), 1));

    let mut transaction = core.transaction(Duration::ZERO);
    for sequence in 2..7 {
        send(&mut transaction, sequence);
    }
    let lost: Vec<_> = transaction.outputs().drain_losses().map(said).collect();
    assert_eq!(lost, [(CLAIMED, of_m1(), 3, LossReason::Full)]);
    drop(transaction);

    // The other connection closes too.
    let mut transaction = core.transaction(Duration::ZERO);
    close(&mut transaction, OTHER);
    let lost: Vec<_> = transaction.outputs().drain_losses().map(said).collect();
    assert_eq!(lost, [(CLAIMED, of_m1(), 2, LossReason::SeatEnds)]);
}

#[test]
fn what_comes_back_from_a_link_that_has_ended_is_said_with_its_name() {
    let mut core = with_a_seat();
    let mut transaction = core.transaction(Duration::ZERO);
    close(&mut transaction, OTHER);
    assert_eq!(transaction.outputs().drain_losses().len(), 0);

    for (link, whose) in [
        (CLAIMED, Some(("m1".to_owned(), 1))),
        (LinkId::new(1, 77), None),
    ] {
        let item = Item {
            sequence: 2,
            index: 0,
            payload: Payload::Pdu(Bytes::from_static(b"pdu")),
        };
        let run = ReturnedRun {
            origin: SENDER,
            position: 1,
            items: vec![item.clone(), item],
            receipts: Vec::new(),
        };
        transaction.returned(link, run);
        let lost: Vec<_> = transaction.outputs().drain_losses().map(said).collect();
        assert_eq!(lost, [(link, whose, 2, LossReason::NoSuccessor)]);
    }
}
