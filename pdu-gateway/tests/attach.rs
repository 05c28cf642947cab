//! Conversations of a gateway with a node and with MsgServers, both played by the test.
//!
//! Each test names the promise of the design that it checks.

// Setting up a conversation may fail, and then the test has.
#![allow(clippy::unwrap_used)]

#[path = "attach/drains.rs"]
mod drains;
#[path = "attach/figures.rs"]
mod figures;
mod harness;
#[path = "attach/kicks.rs"]
mod kicks;
#[path = "attach/names.rs"]
mod names;
#[path = "attach/nodes.rs"]
mod nodes;
#[path = "attach/proxies.rs"]
mod proxies;
#[path = "attach/rounds.rs"]
mod rounds;
#[path = "attach/strangers.rs"]
mod strangers;
#[path = "attach/tls.rs"]
mod tls;

use std::time::{Duration, Instant};

use harness::{Harness, MsgServer, NodeStream, pdu, run, within};
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    CloseReason, LinkClosed, LinkEnded, LinkOpened, StatusAnswer, StatusNotice, UplinkEntry,
    delivery, downlink_entry,
};
use route_proto::pdu::command;
use tonic::Status;

/// Promise 5: a MsgServer is not taken in by a gateway that cannot do anything for it.
#[tokio::test]
async fn a_gateway_listens_when_a_node_has_welcomed_it() {
    let mut gateway = Harness::start(&[]).await;
    let (stream, hello) = gateway.attaching().await;
    assert_eq!((hello.attempt, hello.roster.len()), (1, 0));
    assert!(gateway.connect().await.is_err());
    assert!(!gateway.readiness.is_ready());

    stream.welcome(1, &[]).await;

    gateway.ready().await;
    assert!(gateway.connect().await.is_ok());
}

/// Promise 1: one sequence per link, in sending order.
#[tokio::test]
async fn what_a_msg_server_sends_goes_up_in_order() {
    let (_gateway, mut node, mut msg_server, link) = one_msg_server(&[]).await;
    let message = pdu(command::MESSAGE, 5, b"not a body");

    msg_server
        .send(&[claim(), update(42, 1), message.clone()].concat())
        .await;

    let [role, login, envelope] = [node.entry().await, node.entry().await, node.entry().await];
    assert_eq!(
        (role.link, role.sequence, login.sequence, envelope.sequence),
        (link, 2, 3, 4)
    );
    assert!(matches!(role.entry, Some(Entry::Role(role)) if role.claimed));
    assert!(matches!(login.entry, Some(Entry::Update(update)) if update.user_id == 42));
    assert!(matches!(envelope.entry, Some(Entry::Envelope(envelope)) if envelope.pdu == message));
}

/// Promise 5.
#[tokio::test]
async fn deliveries_notices_and_answers_come_down_in_order() {
    let (_gateway, mut node, mut msg_server, link) = one_msg_server(&[]).await;
    msg_server.send(&query(5, 42)).await;
    let asked = node.entry().await;

    let mut deliveries = run(&[link], 1, &[pdu(command::MESSAGE, 8, &[7; 5000])]);
    deliveries
        .deliveries
        .push(route_proto::attach::v1::Delivery {
            sequence: 2,
            payload: Some(delivery::Payload::Status(StatusNotice {
                user_id: 42,
                status: 1,
            })),
            ..Default::default()
        });
    let answer = answer(link, asked.sequence);
    // The first answer wins.
    let entries = vec![
        downlink_entry::Entry::Run(deliveries),
        answer.clone(),
        answer,
    ];
    node.downlink(entries, &[]).await;

    assert_eq!(
        msg_server.receive().await,
        pdu(command::MESSAGE, 8, &[7; 5000])
    );
    let notice = msg_server.receive().await;
    assert_eq!(notice[10..12], command::STATUS_NOTICE.to_be_bytes());
    let answered = msg_server.receive().await;
    assert_eq!(answered[10..14], [0x02, 0x0b, 0, 5]);
    assert_eq!(answered[16..], [8, 1, 0x12, 4, 8, 42, 16, 2, 0xa2, 1, 0]);
    node.deliver(run(&[link], 9, &[pdu(command::MESSAGE, 9, b"")]))
        .await;
    assert_eq!(msg_server.receive().await, pdu(command::MESSAGE, 9, b""));
}

/// Promise 5: the connection outlives the node, and what was sent meanwhile reaches the next one.
#[tokio::test]
async fn a_new_node_is_told_the_table_and_what_is_unconfirmed() {
    let (mut gateway, mut first, mut msg_server, link) = one_msg_server(&[]).await;
    msg_server
        .send(&[claim(), update(42, 1), update(43, 1)].concat())
        .await;
    for _ in 0..3 {
        first.entry().await;
    }
    first.confirm(&[(link, 3)]).await;
    first.all_taken().await;

    first.refuse(Status::unavailable("draining")).await;
    let (mut second, hello) = gateway.attaching().await;
    assert_eq!((hello.attempt, hello.roster), (2, vec!["a".to_owned()]));
    msg_server.send(&update(43, 2)).await;
    second.welcome(2, &[]).await;

    let [opened, table, unconfirmed, later] = [
        second.entry().await,
        second.entry().await,
        second.entry().await,
        second.entry().await,
    ];
    assert_eq!((opened.sequence, table.sequence), (3, 3));
    assert!(
        matches!(&opened.entry, Some(Entry::Opened(LinkOpened { restored: Some(it), .. })) if it.claimed && !it.listed)
    );
    assert!(
        matches!(opened.entry, Some(Entry::Opened(it)) if it.opened_at_micros > 0 && it.opened_at_micros < hello.clock_micros),
        "it says when it was opened, by the clock of the hello"
    );
    assert!(matches!(table.entry, Some(Entry::Table(t)) if t.last && t.user_ids == [42]));
    assert_eq!((unconfirmed.sequence, later.sequence), (4, 5));
}

/// Promise 5 and 4: what the node has is not sent again.
#[tokio::test]
async fn the_same_node_is_told_what_is_newer_and_repeats_nothing_to_msg_servers() {
    let (mut gateway, mut first, mut msg_server, link) = one_msg_server(&[]).await;
    msg_server
        .send(&[update(42, 1), update(43, 1)].concat())
        .await;
    first.entry().await;
    first.entry().await;
    let [a, b, c] = [b"a", b"b", b"c"].map(|body| pdu(command::MESSAGE, 0, body));
    first
        .deliver(run(&[link], 1, &[a.clone(), b.clone()]))
        .await;
    first.all_taken().await;

    drop(first);
    let mut second = gateway.attached(1, &[(link, 2)]).await;
    second
        .deliver(run(&[link], 1, &[a.clone(), b.clone()]))
        .await;
    second
        .deliver(run(&[link], 2, &[b.clone(), c.clone()]))
        .await;

    let resent = second.entry().await;
    assert_eq!(resent.sequence, 3);
    for expected in [a, b, c] {
        assert_eq!(msg_server.receive().await, expected);
    }
    second.all_taken().await;
    gateway.shows("teamtalk_pdu_repeated_total 3");
}

/// Promise 5: who comes while the node is away is read and held like those that are there.
#[tokio::test]
async fn who_connects_while_the_node_is_away_is_taken_and_held() {
    let (mut gateway, first, _there, link) = one_msg_server(&[]).await;
    // It is there, but does not welcome anybody.
    drop(first);
    let (second, _) = gateway.attaching().await;
    gateway.without_node(true).await;

    let mut late = gateway.connect().await.unwrap();
    late.send(&[claim(), update(42, 1)].concat()).await;
    // Its beginning too.
    gateway
        .comes_to_show("teamtalk_pdu_uplink_unconfirmed 4")
        .await;
    let mut second = gateway.welcomed(second, 1, &[(link, 1)]).await;

    let [opened, role, updated] = [
        second.entry().await,
        second.entry().await,
        second.entry().await,
    ];
    assert!(opened.link != link && matches!(opened.entry, Some(Entry::Opened(_))));
    assert!(matches!(role.entry, Some(Entry::Role(role)) if role.claimed));
    assert!(matches!(updated.entry, Some(Entry::Update(u)) if u.user_id == 42));
}

/// Without a node, a gateway is ready as long as it holds MsgServers; its metric says that it has none.
#[tokio::test]
async fn a_gateway_that_holds_msg_servers_stays_ready_and_one_without_any_does_not() {
    let (mut gateway, first, msg_server, _) = one_msg_server(&[]).await;
    gateway.shows("teamtalk_pdu_attached_ratio 1");

    drop(first);
    let (second, _) = gateway.attaching().await;
    gateway.without_node(true).await;
    gateway.shows("teamtalk_pdu_attached_ratio 0");

    drop(msg_server);
    // It finds out with the next attempt.
    second.refuse(Status::unavailable("draining")).await;
    loop {
        let (next, _) = gateway.attaching().await;
        if !gateway.readiness.is_ready() {
            break;
        }
        next.refuse(Status::unavailable("draining")).await;
    }
    gateway.without_node(false).await;
}

/// A gateway without a node does not keep its MsgServers for ever.
#[tokio::test]
async fn msg_servers_are_sent_elsewhere_when_the_node_stays_away() {
    let (mut gateway, first, mut msg_server, link) =
        one_msg_server(&["--upstream-lost", "300ms"]).await;

    // The node is there, but does not welcome anybody.
    drop(first);
    let (second, _) = gateway.attaching().await;
    msg_server.closed().await;
    assert!(gateway.connect().await.is_err(), "it no longer listens");

    let mut second = gateway.welcomed(second, 1, &[(link, 1)]).await;
    assert_closed(&second.entry().await, CloseReason::Requested);
    assert!(gateway.connect().await.is_ok());
}

/// Promise 8: a frame that cannot be ends its connection, after what came before.
#[tokio::test]
async fn a_bad_frame_ends_its_link_after_what_came_before() {
    let (_gateway, mut node, mut msg_server, link) = one_msg_server(&[]).await;

    msg_server
        .send(&[update(42, 1), vec![0; 16], update(43, 1)].concat())
        .await;

    assert!(matches!(node.entry().await.entry, Some(Entry::Update(u)) if u.user_id == 42));
    assert_closed(&node.entry().await, CloseReason::BadFrame);
    assert_ends(&mut node, link).await;
    msg_server.closed().await;
}

/// Promise 5: what a closed link could not be sent goes back.
#[tokio::test]
async fn deliveries_to_a_link_that_is_gone_are_given_back_until_the_node_knows() {
    let (gateway, mut node, msg_server, link) = one_msg_server(&[]).await;
    drop(msg_server);
    assert_closed(&node.entry().await, CloseReason::Peer);

    let late = run(&[link], 7, &[pdu(command::MESSAGE, 0, b"late")]);
    node.deliver(late.clone()).await;

    let returned = node.entry().await;
    let Some(Entry::Returned(back)) = returned.entry else {
        panic!("{returned:?}");
    };
    assert_eq!(back.runs[0].deliveries, late.deliveries);
    assert_eq!((back.runs[0].position, back.last), (7, false));
    assert_ends(&mut node, link).await;
    // Forgotten: nothing more comes back.
    node.deliver(late).await;
    node.all_taken().await;
    gateway.shows("teamtalk_pdu_lost_total 1");
}

/// Promise 8: a full window stops reading, a confirmation lets it go on.
#[tokio::test]
async fn a_full_window_holds_its_msg_server() {
    let (_gateway, mut node, mut msg_server, link) =
        one_msg_server(&["--window-bytes", "100KiB"]).await;
    let message = pdu(command::MESSAGE, 0, &[7; 60_000]);
    let count = 400;
    let all = message.repeat(count);

    // Far more than the window and the kernel's buffers hold.
    let sending = tokio::spawn(async move {
        msg_server.send(&all).await;
        msg_server
    });
    let first = node.entry().await;
    assert_eq!(first.sequence, 2);
    assert!(!sending.is_finished());
    for sequence in 2..=count as u64 {
        node.confirm(&[(link, sequence)]).await;
        assert_eq!(node.entry().await.sequence, sequence + 1);
    }

    within(sending).await.unwrap();
}

/// Promise 8: one that does not read costs only itself.
#[tokio::test]
async fn a_msg_server_that_does_not_read_is_disconnected_at_its_limit() {
    let mut gateway = Harness::start(&["--link-queue-bytes", "1MiB"]).await;
    let mut node = gateway.attached(1, &[]).await;
    let (slow, slow_link) = gateway.msg_server(&mut node).await;
    let (mut healthy, link) = gateway.msg_server(&mut node).await;
    slow.set_small_receive_buffer();
    let message = pdu(command::MESSAGE, 0, &[7; 100_000]);

    let mut sequence = 0;
    let closed = loop {
        sequence += 1;
        node.deliver(run(
            &[slow_link, link],
            sequence,
            std::slice::from_ref(&message),
        ))
        .await;
        assert_eq!(healthy.receive().await, message);
        node.all_taken().await;
        if let Some(closed) = node.waiting_entry() {
            break closed;
        }
        assert!(sequence < 1000, "it is never disconnected");
    };

    assert_eq!(closed.link, slow_link);
    assert_closed(&closed, CloseReason::SlowReader);
    assert!(matches!(node.entry().await.entry, Some(Entry::Returned(_))));
}

/// Only listed networks get in.
#[tokio::test]
async fn an_address_that_is_not_allowed_is_refused_unread() {
    let mut gateway = Harness::start(&["--allow-cidr", "10.0.0.0/8"]).await;
    let _node = gateway.attached(1, &[]).await;

    let mut msg_server = gateway.connect().await.unwrap();

    msg_server.closed().await;
    gateway.refused("address", 1);
}

/// A connection that says nothing is given up, and one that drips a PDU.
#[tokio::test]
async fn silent_and_dripping_connections_are_closed() {
    let flags = ["--idle-timeout", "2s", "--pdu-timeout", "1s"];
    let mut gateway = Harness::start(&flags).await;
    let mut node = gateway.attached(1, &[]).await;
    let (mut dripping, first) = gateway.msg_server(&mut node).await;
    let (mut silent, second) = gateway.msg_server(&mut node).await;
    dripping.send(&update(42, 1)[..5]).await;

    for (link, reason) in [(first, CloseReason::BadFrame), (second, CloseReason::Idle)] {
        let closed = node.entry().await;
        assert_eq!(closed.link, link);
        assert_closed(&closed, reason);
        assert_ends(&mut node, link).await;
    }
    dripping.closed().await;
    silent.closed().await;
}

/// A bad frame ends its connection, but what came before it is answered, though the answer comes later.
#[tokio::test]
async fn what_was_asked_before_a_bad_frame_is_answered() {
    let (_gateway, mut node, mut msg_server, link) = one_msg_server(&[]).await;

    msg_server.send(&[query(5, 42), vec![0; 16]].concat()).await;

    let asked = node.entry().await;
    node.downlink(vec![answer(link, asked.sequence)], &[]).await;
    assert_closed(&node.entry().await, CloseReason::BadFrame);
    assert_eq!(msg_server.receive().await[10..14], [0x02, 0x0b, 0, 5]);
    node.downlink(vec![ended(link)], &[]).await;
    assert_eq!(msg_server.closed().await, b"");
    assert_gives_last_back(&mut node, link).await;
}

/// Drain: a MsgServer may miss its FIN for a while. What it still sends is handled, and what is for it is given back, for its
/// other connection: answers, too.
#[tokio::test]
async fn a_drain_loses_nothing_while_msg_servers_go_on() {
    let (gateway, mut node, mut msg_server, link) = one_msg_server(&[]).await;
    msg_server.send(&query(5, 42)).await;
    let first = node.entry().await;

    gateway.shutdown.begin();

    msg_server.finished().await;
    msg_server.send(&query(6, 42)).await;
    let second = node.entry().await;
    let message = pdu(command::MESSAGE, 0, b"last");
    let entries = vec![
        answer(link, first.sequence),
        downlink_entry::Entry::Run(run(&[link], 1, std::slice::from_ref(&message))),
    ];
    node.downlink(entries, &[]).await;
    msg_server.send(&update(42, 1)).await;
    assert!(matches!(node.entry().await.entry, Some(Entry::Update(u)) if u.user_id == 42));
    drop(msg_server);
    // What it has asked is answered before anybody knows that it is gone.
    node.downlink(vec![answer(link, second.sequence)], &[])
        .await;
    assert_closed(&node.entry().await, CloseReason::Drain);
    let mut given_back = Vec::new();
    for _ in 0..3 {
        let back = returned(&node.entry().await);
        given_back.push(back);
    }
    let is_answer = |raw: &[u8], sequence| raw[10..14] == [0x02, 0x0b, 0, sequence];
    assert!(is_answer(&given_back[0], 5) && is_answer(&given_back[2], 6));
    assert_eq!(given_back[1], message);
    assert_ends(&mut node, link).await;
    gateway.has_drained().await;
}

/// MsgServers are sent elsewhere one after the other, and until then they are served.
#[tokio::test]
async fn a_drain_closes_connections_over_a_window() {
    const WINDOW: Duration = Duration::from_millis(1200);
    let mut gateway = Harness::start(&["--close-window", "1200ms"]).await;
    let mut node = gateway.attached(1, &[]).await;
    let (mut first, first_link) = gateway.msg_server(&mut node).await;
    let (mut second, second_link) = gateway.msg_server(&mut node).await;
    let (mut last, last_link) = gateway.msg_server(&mut node).await;
    let began = Instant::now();

    gateway.shutdown.begin();

    first.finished().await;
    drop(first);
    assert_drains(&mut node, first_link).await;
    last.send(&update(42, 1)).await;
    let entry = node.entry().await;
    assert!(matches!(entry.entry, Some(Entry::Update(u)) if u.user_id == 42));
    assert_eq!(entry.link, last_link);
    assert!(gateway.connect().await.is_err(), "it takes no more");
    second.finished().await;
    assert!(began.elapsed() >= WINDOW / 3);
    drop(second);
    assert_drains(&mut node, second_link).await;
    last.finished().await;
    assert!(began.elapsed() >= WINDOW / 3 * 2);
    drop(last);
    assert_drains(&mut node, last_link).await;
    gateway.has_drained().await;
}

/// A MsgServer that has just connected, and has not said anything, says all of it while the gateway stops.
#[tokio::test]
async fn a_drain_hears_who_has_said_nothing_yet() {
    let mut gateway = Harness::start(&[]).await;
    let mut node = gateway.attached(1, &[]).await;
    let mut msg_server = gateway.connect().await.unwrap();
    gateway
        .comes_to_show("teamtalk_pdu_links_opened_total 1")
        .await;

    gateway.shutdown.begin();

    let opened = node.entry().await;
    assert!(matches!(opened.entry, Some(Entry::Opened(_))));
    msg_server.finished().await;
    msg_server.send(&claim()).await;
    msg_server.send(&query(5, 42)).await;
    assert!(matches!(node.entry().await.entry, Some(Entry::Role(_))));
    let asked = node.entry().await;
    assert!(matches!(asked.entry, Some(Entry::Query(_))));
    drop(msg_server);
    node.downlink(vec![answer(opened.link, asked.sequence)], &[])
        .await;
    assert_closed(&node.entry().await, CloseReason::Drain);
}

/// A node that is away when a gateway drains may come back in time, and is told what it has missed.
#[tokio::test]
async fn a_drain_waits_for_a_node_that_comes_back() {
    let (mut gateway, mut first, mut msg_server, link) = one_msg_server(&[]).await;
    first.confirm(&[(link, 1)]).await;
    first.all_taken().await;
    first.refuse(Status::unavailable("restarts")).await;
    let (stream, _) = gateway.attaching().await;
    msg_server.send(&update(42, 1)).await;

    gateway.shutdown.begin();

    msg_server.finished().await;
    msg_server.send(&update(43, 1)).await;
    drop(msg_server);
    let mut second = gateway.welcomed(stream, 2, &[(link, 1)]).await;
    for user in [42, 43] {
        assert!(matches!(second.entry().await.entry, Some(Entry::Update(u)) if u.user_id == user));
    }
    assert_closed(&second.entry().await, CloseReason::Drain);
    assert_ends(&mut second, link).await;
    within(gateway.gateway.ended()).await.unwrap();
}

/// With a node that is away, and nothing to tell it but that links end, there is nothing to wait for.
#[tokio::test]
async fn a_drain_does_not_wait_for_a_node_that_misses_nothing() {
    let (mut gateway, mut node, mut msg_server, link) = one_msg_server(&[]).await;
    node.confirm(&[(link, 1)]).await;
    node.all_taken().await;
    node.refuse(Status::unavailable("gone")).await;
    let (_never_welcomed, _) = gateway.attaching().await;

    gateway.shutdown.begin();

    assert_eq!(msg_server.closed().await, b"");
    drop(msg_server);
    gateway.has_drained().await;
}

/// What a node says about another life ends no gateway. It shows that it is the same life, and keeps its MsgServers.
#[tokio::test]
async fn a_superseded_gateway_attaches_again() {
    let mut gateway = Harness::start(&[]).await;
    let (node, hello) = gateway.attaching().await;
    node.welcome(1, &[]).await;
    gateway.ready().await;
    let mut node = node;
    let (mut msg_server, link) = gateway.msg_server(&mut node).await;
    assert_eq!(hello.secret.len(), 16);

    node.refuse(Status::aborted("another life has attached"))
        .await;

    let (mut again, second) = gateway.attaching().await;
    assert_eq!(second.secret, hello.secret);
    assert_eq!(second.incarnation, hello.incarnation);
    again.welcome(1, &[(link, 1)]).await;
    msg_server.send(&update(7, 1)).await;
    assert_eq!(again.entry().await.link, link);
}

/// A gateway with these flags, attached to a node, and the link of the MsgServer that it has.
async fn one_msg_server(flags: &[&str]) -> (Harness, NodeStream, MsgServer, u64) {
    let mut gateway = Harness::start(flags).await;
    let mut node = gateway.attached(1, &[]).await;
    let (msg_server, link) = gateway.msg_server(&mut node).await;
    (gateway, node, msg_server, link)
}

/// The node says that it knows the end of the link, and learns that nothing more comes back of it.
async fn assert_ends(node: &mut NodeStream, link: u64) {
    node.downlink(vec![ended(link)], &[]).await;
    assert_gives_last_back(node, link).await;
}

/// The link ends because the gateway does, and the node says that it knows.
async fn assert_drains(node: &mut NodeStream, link: u64) {
    let closed = node.entry().await;
    assert_eq!(closed.link, link);
    assert_closed(&closed, CloseReason::Drain);
    assert_ends(node, link).await;
}

async fn assert_gives_last_back(node: &mut NodeStream, link: u64) {
    let last = node.entry().await;
    assert!(matches!(last.entry, Some(Entry::Returned(back)) if back.last));
    node.confirm(&[(link, last.sequence)]).await;
}

/// The one PDU that is given back.
fn returned(entry: &UplinkEntry) -> bytes::Bytes {
    let Some(Entry::Returned(back)) = &entry.entry else {
        panic!("{entry:?} gives nothing back");
    };
    let Some(delivery::Payload::Pdu(pdu)) = &back.runs[0].deliveries[0].payload else {
        panic!("{back:?} has no PDU");
    };
    pdu.clone()
}

fn ended(link: u64) -> downlink_entry::Entry {
    downlink_entry::Entry::Ended(LinkEnded { link })
}

fn answer(link: u64, sequence: u64) -> downlink_entry::Entry {
    downlink_entry::Entry::Answer(StatusAnswer {
        link,
        sequence,
        statuses: vec![2].into(),
        traceparent: String::new(),
    })
}

fn assert_closed(entry: &UplinkEntry, reason: CloseReason) {
    let expected = LinkClosed {
        reason: reason.into(),
    };
    assert_eq!(entry.entry, Some(Entry::Closed(expected)));
}

fn claim() -> Vec<u8> {
    pdu(command::ROLE_SET, 0, &[8, 1])
}

fn update(user: u8, status: u8) -> Vec<u8> {
    pdu(
        command::USER_STATUS_UPDATE,
        0,
        &[8, status, 16, user, 24, 1],
    )
}

fn query(sequence: u16, user: u8) -> Vec<u8> {
    pdu(command::USERS_STATUS_QUERY, sequence, &[8, 1, 16, user])
}
