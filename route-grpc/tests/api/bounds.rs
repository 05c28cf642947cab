//! What one gateway may not do to others: limits, and numbers that decide nothing. Promise 8.

use std::time::Duration;

use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    LinkClosed, LinkOpened, RestoredLink, Returned, SessionList, SessionTable,
};
use route_proto::v1::PresenceStatus;
use tonic::Code;

use crate::played::{
    Played, caught_up, chat, claimed_and_listed, hello, incarnation, list, numbered, opened,
};
use crate::site::{Site, soon};

#[tokio::test]
async fn there_are_so_many_gateways() {
    let site = Site::with(|settings| settings.max_gateways = 1).await;
    let _first = Played::attach(&site, "a").await;

    let refused = Played::attach_as(&site, hello("b", incarnation(), 1)).await;

    assert_eq!(
        refused.err().map(|it| it.code()),
        Some(Code::ResourceExhausted)
    );
}

#[tokio::test]
async fn a_gateway_that_never_ends_its_hand_over_is_given_up() {
    let site = Site::with(|it| it.gateway_replay_wait = Duration::from_millis(100)).await;
    let mut stuck = Played::attach_as(&site, hello("a", incarnation(), 1))
        .await
        .unwrap();
    let mut other = Played::attach(&site, "b").await;

    let end = soon("its end", stuck.end()).await;

    assert_eq!(end.map(|it| it.code()), Some(Code::ResourceExhausted));
    // The node serves the other one.
    other.open_with(1, &[1]).await;
    assert_eq!(site.user(1).await.status(), PresenceStatus::Online);
}

/// Else it would not come again, and be missing for ever.
#[tokio::test]
async fn an_entry_that_is_refused_does_not_count_as_applied() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    let no_status = Entry::List(SessionList {
        user_ids: vec![1, 2],
        client_types: vec![1, 1],
        statuses: vec![1, 99],
        last: true,
    });
    let entries = vec![
        a.entry(1, opened(a.incarnation, 1)),
        a.entry(1, no_status),
        a.entry(1, list(&[3])),
    ];
    a.send_entries(entries).await;
    let end = a.end().await.map(|it| it.code());
    assert_eq!(end, Some(Code::InvalidArgument));

    let a = Played::attach_as(&site, hello("a", a.incarnation, 2))
        .await
        .unwrap();

    let applied = a.welcome.applied.iter().map(|it| (it.link, it.sequence));
    assert_eq!(applied.collect::<Vec<_>>(), [(1, 1)]);
}

/// Of two claimed links of one MsgServer the later one stands; who says a time to come is not later.
#[tokio::test]
async fn a_claim_in_times_to_come_supersedes_nobody() {
    let site = Site::with(|settings| settings.cold_start_wait = Duration::from_secs(20)).await;
    let mut gateways = Vec::new();
    for (id, claimed_at_micros) in [("a", 1), ("b", (1 << 63) - 1)] {
        let hello = route_proto::attach::v1::AttachHello {
            roster: vec!["a".to_owned(), "b".to_owned()],
            clock_micros: 1_000_000,
            ..hello(id, incarnation(), 1)
        };
        let gateway = Played::attach_as(&site, hello).await.unwrap();
        let restored = RestoredLink {
            claimed_at_micros,
            ..claimed_and_listed()
        };
        let opened = Entry::Opened(LinkOpened {
            peer: "10.0.0.1:4000".to_owned(),
            restored: Some(restored),
            ..LinkOpened::default()
        });
        let table = Entry::Table(SessionTable {
            user_ids: vec![1, 2, 3],
            client_types: vec![1; 3],
            states: vec![1; 3],
            logins: vec![1; 3],
            last: true,
        });
        let entries = vec![numbered(1, 7, opened), numbered(1, 7, table)];
        gateway.send(caught_up(entries)).await;
        gateways.push(gateway);
    }
    let mut sender = Played::attach(&site, "c").await;
    sender.open_with(1, &[9]).await;
    let closed = numbered(1, 8, Entry::Closed(LinkClosed { reason: 1 }));
    let last = Returned {
        last: true,
        ..Returned::default()
    };
    let returned = numbered(1, 9, Entry::Returned(last));
    gateways[1].send_entries(vec![closed, returned]).await;

    sender.route(1, chat(9, 1, b"x")).await;

    assert_eq!(gateways[0].delivery().await.targets, [1]);
}
