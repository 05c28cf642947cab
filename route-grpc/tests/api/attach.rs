//! What gateways may rely on.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use route_grpc::attach::{Hangup, open};
use route_grpc::settings::FanOut;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    AttachRequest, DesktopLoginNotice, LinkId, Pause, SessionTable, StatusNotice, StatusQuery,
    Uplink, attach_request, attach_response, delivery,
};
use route_proto::v1::{ChangeReason, LegacyStatus, PresenceStatus};
use tonic::Code;
use tonic_types::StatusExt;

use crate::played::{
    Played, caught_up, chat, claimed_and_listed, hello, incarnation, kick, list, numbered, opened,
    stream as open_stream,
};
use crate::presence::Watching;
use crate::site::{Site, soon};

/// Promise 1, order.
#[tokio::test]
async fn what_one_link_sends_reaches_another_in_sending_order() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;

    for number in 0..100_u32 {
        a.route(1, chat(1, 2, &number.to_be_bytes())).await;
    }

    let delivered = b.deliveries(100).await;
    let sequences: Vec<_> = delivered.iter().map(|d| d.sequence).collect();
    assert_eq!(sequences, (4..104).collect::<Vec<_>>());
    let expected = chat(1, 2, &7_u32.to_be_bytes()).pdu;
    assert_eq!(delivered[7].pdu(), &expected, "byte for byte");
}

#[tokio::test]
async fn a_payload_is_sent_once_for_all_links_of_a_gateway() {
    let site = Site::with(|it| it.fan_out = FanOut::Broadcast).await;
    let mut a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;
    a.open_with(1, &[]).await;
    for link in 1..=3 {
        b.open_with(link, &[]).await;
    }

    let entries = (0..50)
        .map(|_| a.entry(1, Entry::Envelope(kick(b"x"))))
        .collect();
    a.send_entries(entries).await;

    for delivered in b.deliveries(50).await {
        assert_eq!(delivered.targets, [1, 2, 3]);
    }
    assert_eq!(b.runs, 1, "a batch for the same links is one run");
    a.got_nothing_after(1).await;
}

/// Promise 1, queries.
#[tokio::test]
async fn a_query_sees_every_update_sent_before_it() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    a.open(1).await;

    a.update(1, 7, 1, 1).await;
    let first = a.ask(1, &[7, 8, 7]).await;
    a.update(1, 7, 1, 2).await;
    let second = a.ask(1, &[7]).await;

    let answer = a.answer().await;
    assert_eq!(
        (answer.sequence, &answer.statuses[..]),
        (first, &[1, 2, 1][..])
    );
    let answer = a.answer().await;
    assert_eq!((answer.sequence, &answer.statuses[..]), (second, &[2][..]));
}

#[tokio::test]
async fn a_login_makes_notices_for_those_who_need_them() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;
    b.open_with(1, &[2]).await;
    a.open(1).await;

    a.update(1, 7, 1, 1).await;

    let desktop = delivery::Payload::DesktopLogin(DesktopLoginNotice {
        user_id: 7,
        logged_in: true,
    });
    let status = delivery::Payload::Status(StatusNotice {
        user_id: 7,
        status: 1,
    });
    let own = a.deliveries(2).await;
    assert_eq!((own[0].index, &own[0].payload), (0, &desktop));
    assert_eq!((own[1].index, &own[1].payload), (1, &status));
    let others = b.delivery().await;
    assert_eq!((others.index, &others.payload), (1, &status));
}

#[tokio::test]
async fn hellos_that_make_no_sense_are_refused() {
    let site = Site::start().await;
    let long = "x".repeat(129);

    for (hello, field) in [
        (hello("", 1, 1), "hello.gateway_id"),
        (hello(&long, 1, 1), "hello.gateway_id"),
        (hello("new\nline", 1, 1), "hello.gateway_id"),
        (hello("a", 0, 1), "hello.incarnation"),
        (hello("a", 1, 0), "hello.attempt"),
    ] {
        let status = Played::attach_as(&site, hello).await.err().unwrap();

        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        let details = status.get_error_details();
        assert_eq!(
            details.bad_request().unwrap().field_violations[0].field,
            field
        );
    }
}

#[tokio::test]
async fn an_older_stream_of_the_same_life_is_refused_for_good() {
    let site = Site::start().await;
    let life = incarnation();
    let _alive = Played::attach_as(&site, hello("a", life, 2)).await.unwrap();

    for stale in [hello("a", life, 2), hello("a", life, 1)] {
        let status = Played::attach_as(&site, stale).await.err().unwrap();

        assert_eq!(status.code(), Code::Aborted);
        assert_eq!(reason(&status), "ATTACH_SUPERSEDED");
    }
}

#[tokio::test]
async fn an_id_belongs_to_one_live_process() {
    let site = Site::start().await;
    let _alive = Played::attach(&site, "a").await;

    let status = Played::attach_as(&site, hello("a", incarnation(), 1))
        .await
        .err()
        .unwrap();

    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(reason(&status), "GATEWAY_ID_IN_USE");
    // Which other process that is, its operator has to know.
    assert!(
        status
            .message()
            .contains("another live process, 127.0.0.1:"),
        "{status}"
    );
}

#[tokio::test]
async fn a_stream_begins_with_hello_and_says_it_once() {
    let site = Site::start().await;
    let uplink = || AttachRequest {
        frame: Some(attach_request::Frame::Uplink(Uplink::default())),
    };
    let greeting = || AttachRequest {
        frame: Some(attach_request::Frame::Hello(hello("a", incarnation(), 1))),
    };

    let (_requests, mut mute) = open_stream(&site, uplink()).await;
    let status = soon("a refusal", mute.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);

    let (requests, mut twice) = open_stream(&site, greeting()).await;
    requests.send(greeting()).await.unwrap();
    soon("a welcome", twice.message()).await.unwrap();
    let status = loop {
        match soon("the end", twice.message()).await {
            Ok(message) => assert!(message.is_some(), "it ends with a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_gateway_that_comes_back_gets_what_was_held_and_is_not_counted_twice() {
    let site = Site::start().await;
    let [mut a, b] = Played::two(&site).await;
    let b_incarnation = b.incarnation;

    drop(b);
    a.route(1, chat(1, 2, b"while away")).await;
    let mut b = Played::attach_as(&site, hello("b", b_incarnation, 2))
        .await
        .unwrap();

    let applied: Vec<_> = b
        .welcome
        .applied
        .iter()
        .map(|c| (c.link, c.sequence))
        .collect();
    assert_eq!(applied, [(1, 3)]);
    assert_eq!(b.delivery().await.pdu(), &chat(1, 2, b"while away").pdu);
    a.confirmed(1).await;
    // The gateway is not sure whether its list came through.
    let repeated = [opened(b_incarnation, 1), list(&[2]), list(&[2])];
    let entries = repeated.map(|entry| b.entry(1, entry));
    b.send_entries(entries.to_vec()).await;
    b.confirmed(1).await;
    assert_eq!(site.user(2).await.sessions[0].login_count, 1);
}

#[tokio::test]
async fn a_lost_answer_is_given_again() {
    let (site, mut a) = Played::one(&[7]).await;
    let asked = a.ask(1, &[7]).await;
    a.confirmed(1).await;
    let id = a.incarnation;

    drop(a);
    let a = Played::attach_as(&site, hello("a", id, 2)).await;
    let mut a = a.unwrap();
    let again = numbered(
        1,
        asked,
        Entry::Query(StatusQuery {
            user_ids: vec![7],
            ..StatusQuery::default()
        }),
    );
    a.send(caught_up(vec![again])).await;

    let answer = a.answer().await;
    assert_eq!((answer.sequence, &answer.statuses[..]), (asked, &[1][..]));
}

#[tokio::test]
async fn a_link_that_the_node_has_lost_comes_back_silently() {
    let site = Site::start().await;
    let mut b = Played::attach(&site, "b").await;
    b.open_with(1, &[2]).await;
    let a = Played::attach(&site, "a").await;
    let mut opened = opened(a.incarnation, 1);
    if let Entry::Opened(opened) = &mut opened {
        opened.restored = Some(claimed_and_listed());
    }
    let table = Entry::Table(SessionTable {
        user_ids: vec![7, 7, 8],
        client_types: vec![1, 1, 0x11],
        states: vec![1, 2, 3],
        logins: vec![2, 1, 1],
        last: true,
    });
    let at = |sequence, entry| numbered(1, sequence, entry);

    let envelope = Entry::Envelope(chat(7, 2, b"after the cut"));
    let entries = vec![at(40, opened), at(40, table), at(41, envelope)];
    a.send_entries(entries).await;

    let delivered = b.delivery().await;
    assert_eq!(delivered.sequence, 41, "no notice came before");
    let seven = site.user(7).await;
    assert_eq!(seven.status(), PresenceStatus::Online);
    assert_eq!(seven.sessions[0].login_count, 3);
    let eight = site.user(8).await;
    assert_eq!(
        eight.status(),
        PresenceStatus::Offline,
        "a hidden login never shows"
    );
}

/// Promise 7.
#[tokio::test]
async fn a_gateway_that_stays_away_takes_its_users_along() {
    let site = Site::with(|it| it.detach_grace = Duration::from_millis(50)).await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[7]).await;
    let mut watching = Watching::users(&site, &[7]).await;

    drop(a);

    let (user, reason) = watching.change().await;
    assert_eq!((user.user_id, user.status()), (7, PresenceStatus::Offline));
    assert_eq!(user.legacy_status(), LegacyStatus::Offline);
    assert_eq!(reason, ChangeReason::GatewayLost);
}

#[tokio::test]
async fn a_restarted_gateway_ends_its_old_life_at_once() {
    let site = Site::start().await;
    let mut old = Played::attach(&site, "a").await;
    old.open_with(1, &[7]).await;
    let mut watching = Watching::users(&site, &[7]).await;

    drop(old);
    let new = Played::attach(&site, "a").await;

    assert_eq!(new.welcome.applied, []);
    let (user, reason) = watching.change().await;
    assert_eq!(user.status(), PresenceStatus::Offline);
    assert_eq!(reason, ChangeReason::GatewayLost);
}

/// It was started with its clock as far ahead as can be, and then with clocks that are set back again and again.
#[tokio::test]
async fn no_clock_of_a_gateway_keeps_its_id_for_ever() {
    let site = Site::start().await;
    let mut watching = Watching::users(&site, &[7]).await;
    let (earliest, ahead) = (1, (1 << 63) - 1);
    for incarnation in [ahead, 3, 2, earliest] {
        let hello = hello("a", incarnation, 1);
        let mut gateway = Played::attach_as(&site, hello).await.unwrap();
        assert_eq!(gateway.welcome.applied, []);
        if incarnation != ahead {
            let (_, reason) = watching.change().await;
            assert_eq!(reason, ChangeReason::GatewayLost);
        }
        gateway.open_with(1, &[7]).await;
        let (user, _) = watching.change().await;
        assert_eq!(user.status(), PresenceStatus::Online, "{incarnation}");
        drop(gateway);
    }
}

#[tokio::test]
async fn a_closed_link_takes_its_users_along() {
    let (site, mut a) = Played::one(&[7]).await;
    let mut watching = Watching::users(&site, &[7]).await;

    a.close(1).await;

    let (user, reason) = watching.change().await;
    assert_eq!(user.status(), PresenceStatus::Offline);
    assert_eq!(reason, ChangeReason::LinkClosed);
}

/// Promise 8.
#[tokio::test]
async fn a_gateway_that_takes_nothing_holds_up_nobody() {
    let site = Site::with(|it| it.gateway_queue_bytes = 100_000).await;
    let [mut a, mut b] = Played::two(&site).await;
    // An embedded gateway, so that no socket buffer takes anything in its place.
    let (requests, receiver) = tokio::sync::mpsc::channel(4);
    let slow_incarnation = incarnation();
    let frames = [
        attach_request::Frame::Hello(hello("slow", slow_incarnation, 1)),
        attach_request::Frame::Uplink(Uplink {
            entries: vec![
                numbered(1, 1, opened(slow_incarnation, 1)),
                numbered(1, 2, list(&[3])),
            ],
            ..Uplink::default()
        }),
    ];
    for frame in frames {
        let request = AttachRequest { frame: Some(frame) };
        requests.send(Ok(request)).await.unwrap();
    }
    let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut slow = open(&site.node, receiver, Some(Hangup::default()));
    soon("a welcome", slow.next()).await.unwrap().unwrap();
    soon("a confirmation", slow.next()).await.unwrap().unwrap();

    for _ in 0..100 {
        a.route(1, chat(1, 3, &[0; 4000])).await;
    }
    a.route(1, chat(1, 2, b"still here")).await;

    assert_eq!(b.delivery().await.pdu(), &chat(1, 2, b"still here").pdu);
    let text = site.metrics.render();
    let dropped = text.lines().find_map(|line| {
        line.strip_prefix("teamtalk_route_gateways_dropped_total ")?
            .parse::<u64>()
            .ok()
    });
    assert!((70..100).contains(&dropped.unwrap()), "{text}");
    // What was held is still there for its next stream.
    let mut again = Played::attach_as(&site, hello("slow", slow_incarnation, 2))
        .await
        .unwrap();
    again.delivery().await;
}

#[tokio::test]
async fn a_link_that_feeds_another_gateway_too_much_pauses() {
    let site = Site::start().await;
    let a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;
    b.open(1).await;
    let feeder = LinkId {
        gateway: b.incarnation,
        number: 1,
    };
    let pause = |on| Uplink {
        pauses: vec![Pause {
            origin: Some(feeder),
            on,
        }],
        ..Uplink::default()
    };

    a.send(pause(true)).await;
    b.until(|b| b.pauses.get(&1) == Some(&true)).await;
    a.send(pause(false)).await;
    b.until(|b| b.pauses.get(&1) == Some(&false)).await;
    a.send(pause(true)).await;
    b.until(|b| b.pauses.get(&1) == Some(&true)).await;
    drop(a);
    b.until(|b| b.pauses.get(&1) == Some(&false)).await;
}

#[tokio::test]
async fn every_gateway_knows_the_roster() {
    let site = Site::start().await;

    let mut a = Played::attach(&site, "a").await;
    assert_eq!(a.roster, ["a"]);
    let b = Played::attach(&site, "b").await;

    assert_eq!(b.roster, ["a", "b"]);
    a.until(|a| a.roster == ["a", "b"]).await;
}

#[tokio::test]
async fn a_gateway_that_has_finished_is_in_no_roster() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;
    b.open_with(1, &[1]).await;
    let mut c = Played::attach(&site, "c").await;
    a.until(|a| a.roster == ["a", "b", "c"]).await;

    b.finish();
    assert!(b.end().await.is_none());
    c.finish();
    assert!(c.end().await.is_none());

    // One that leaves a link behind may come back.
    a.until(|a| a.roster == ["a", "b"]).await;
    let d = Played::attach(&site, "d").await;
    assert_eq!(d.roster, ["a", "b", "d"]);
}

#[tokio::test]
async fn an_embedded_gateway_is_served_by_the_same_function() {
    let site = Site::start().await;
    let greeting = AttachRequest {
        frame: Some(attach_request::Frame::Hello(hello("e", incarnation(), 1))),
    };
    let requests = stream::iter([Ok(greeting)]).chain(stream::pending());

    let mut responses = open(&site.node, requests, Some(Hangup::default()));

    let first = soon("a welcome", responses.next()).await.unwrap().unwrap();
    assert!(matches!(
        first.frame,
        Some(attach_response::Frame::Welcome(_))
    ));
    let b = Played::attach(&site, "b").await;
    assert_eq!(b.roster, ["b", "e"]);
}

#[tokio::test]
async fn a_draining_node_ends_attach_at_once() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;

    site.shutdown.begin();

    let status = a.end().await.unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason(&status), "DRAINING");
}

pub(crate) fn reason(status: &tonic::Status) -> String {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no details: {status}"));
    assert_eq!(info.domain, "route.teamtalk");
    info.reason.clone()
}
