//! What becomes of a link's sessions when it is gone.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::net::SocketAddr;
use std::time::Duration;

use route_core::{
    Change, ClientType, CloseReason, Core, Effect, LinkId, ListEntry, ReportedStatus, Settings,
    Transaction, UserId,
};

const NOW: Duration = Duration::ZERO;

#[test]
fn a_large_link_is_removed_piece_by_piece_and_leaves_nothing() {
    // given a link with 10 000 users
    let mut core = Core::new(Settings::default());
    let mut transaction = core.transaction(NOW);
    let peer = SocketAddr::from(([10, 0, 0, 1], 1)).into();
    let restored = None;
    apply(&mut transaction, 1, 1, Change::Opened { peer, restored });
    let entries: Vec<ListEntry> = (0..10_000)
        .map(|user| ListEntry {
            user: UserId(user),
            client_type: ClientType::published(1),
            status: ReportedStatus::Online,
        })
        .collect();
    let list = Change::List {
        entries: &entries,
        last: true,
    };
    apply(&mut transaction, 1, 2, list);

    // when it closes
    let closed = Change::Closed {
        reason: CloseReason::Peer,
    };
    apply(&mut transaction, 1, 3, closed);

    // then it is no link any more, and its sessions go in bounded steps
    assert_eq!(transaction.view().stats().links, 0);
    let mut pieces = 0;
    loop {
        let until = transaction.view().work() + 1000;
        if !transaction.proceed(until) {
            break;
        }
        pieces += 1;
    }
    assert!(pieces >= 8, "{pieces} pieces");
    let stats = transaction.view().stats();
    assert_eq!((stats.users, stats.sessions), (0, 0));
    let events = transaction.outputs().drain_events();
    assert_eq!(events.len(), 4 * 10_000, "every login and logout is told");
}

fn apply(transaction: &mut Transaction<'_>, number: u64, sequence: u64, change: Change<'_>) {
    let link = LinkId::new(7, number);
    let applied = transaction.apply(link, sequence, change, Effect::Notify);
    applied.unwrap();
}
