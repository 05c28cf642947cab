//! AdminService: where envelopes went that were routed lately.

use std::time::Duration;

use prost::Message as _;
use route_proto::admin::v1alpha1::{
    ListRoutedEnvelopesRequest, ListRoutedEnvelopesResponse, RoutedEnvelope, RoutedOutcome,
    SparedReason,
};
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{AudienceScope, Envelope};
use route_proto::legacy::im::message::ImMsgDataReadNotify;
use route_proto::pdu::{self, command};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::played::{Played, chat, chat_of_type, kick};
use crate::publish::{message, publish, request};
use crate::site::{Site, soon};

/// A type of messages to groups.
const GROUP_TEXT: i32 = 0x11;

async fn list(
    site: &Site,
    request: ListRoutedEnvelopesRequest,
) -> Result<ListRoutedEnvelopesResponse, Status> {
    let mut admin = site.admin().await;
    let listed = soon("an answer", admin.list_routed_envelopes(request)).await;
    listed.map(tonic::Response::into_inner)
}

/// All of them, newest first.
async fn all(site: &Site) -> Vec<RoutedEnvelope> {
    let listed = list(site, ListRoutedEnvelopesRequest::default()).await;
    listed.unwrap().envelopes
}

fn id(gateway: &Played, number: u64) -> String {
    format!("{:x}-{number}", gateway.incarnation)
}

/// Of its targets: link and outcome.
fn went(envelope: &RoutedEnvelope) -> Vec<(&str, RoutedOutcome)> {
    let targets = envelope.targets.iter();
    targets.map(|it| (it.link.as_str(), it.outcome())).collect()
}

fn everywhere(envelope: Envelope, scope: AudienceScope) -> Envelope {
    Envelope {
        scope: scope.into(),
        user_ids: Vec::new(),
        ..envelope
    }
}

#[tokio::test]
async fn a_message_went_where_its_receiver_was() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;

    a.route(1, chat(1, 2, b"secret")).await;
    b.delivery().await;

    let listed = list(&site, ListRoutedEnvelopesRequest::default()).await;
    let listed = listed.unwrap();
    let [it] = listed.envelopes.as_slice() else {
        panic!("{listed:?}");
    };
    assert_eq!((it.command.as_str(), it.command_id), ("message", 0x0301));
    assert_eq!((it.sender_user_id, it.receiver_user_id), (1, 2));
    assert_eq!(it.origin_link, id(&a, 1));
    assert_eq!(went(it), [(id(&b, 1).as_str(), RoutedOutcome::Queued)]);
    let ip = &it.targets[0].msg_server;
    assert!(
        ip.starts_with("10.") && *ip != it.origin_msg_server,
        "{it:?}"
    );
    assert_eq!((it.target_count, it.unknown_user_count), (1, 0));
    assert_eq!(it.nowhere_reason(), SparedReason::Unspecified);
    let since = listed.remembers_since.unwrap();
    let (routed, now) = (it.node_time.unwrap(), listed.node_time.unwrap());
    let nanos = |it: prost_types::Timestamp| (it.seconds, it.nanos);
    assert!(nanos(since) < nanos(routed) && nanos(routed) < nanos(now));
    let bytes = listed.encode_to_vec();
    assert!(!bytes.windows(6).any(|it| it == b"secret"), "no bodies");
}

#[tokio::test]
async fn what_went_nowhere_says_why() {
    let (site, mut a) = Played::one(&[1, 2]).await;
    for (envelope, reason, unknown) in [
        (chat(1, 99, b"x"), SparedReason::HasNoUsers, 1),
        (chat(1, 2, b"x"), SparedReason::Origin, 0),
        (kick(b""), SparedReason::Origin, 0),
    ] {
        a.route(1, envelope).await;
        a.confirmed(1).await;
        let newest = all(&site).await.remove(0);
        assert_eq!(newest.nowhere_reason(), reason, "{newest:?}");
        assert_eq!(newest.unknown_user_count, unknown);
        assert_eq!((newest.target_count, newest.targets.len()), (0, 0));
    }
    // Another connection of that MsgServer, and one that has said nothing.
    a.open_sibling(2, (a.incarnation, 1), &[1, 2, 3]).await;
    a.open(3).await;
    for (link, envelope, reason) in [
        (1, chat(1, 3, b"x"), SparedReason::Shadow),
        (2, chat(1, 2, b"x"), SparedReason::OriginMsgServer),
        (
            1,
            everywhere(chat(1, 9, b"x"), AudienceScope::Reporters),
            SparedReason::NeverReported,
        ),
    ] {
        a.route(link, envelope).await;
        a.confirmed(link).await;
        let newest = all(&site).await.remove(0);
        assert_eq!(newest.nowhere_reason(), reason, "{newest:?}");
    }
    // Where there is no link at all.
    let b = Site::start().await;
    publish(&b, request("", message(1, 2), None)).await.unwrap();
    let published = all(&b).await.remove(0);
    assert_eq!(published.nowhere_reason(), SparedReason::HasNoUsers);
    assert_eq!(published.unknown_user_count, 2);
}

#[tokio::test]
async fn it_is_said_between_whom_each_kind_goes() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;
    let read = ImMsgDataReadNotify {
        user_id: 1,
        session_id: 2,
        msg_id: 7,
        session_type: 1,
    };
    let receipt = Envelope {
        command: command::READ_RECEIPT.into(),
        scope: AudienceScope::Users.into(),
        user_ids: vec![1],
        pdu: pdu::framed(command::READ_RECEIPT, 9, &read.encode_to_vec()),
        ..Envelope::default()
    };
    let group = chat_of_type(GROUP_TEXT, 1, 70, b"x");
    a.route(1, receipt).await;
    a.route(1, everywhere(group, AudienceScope::Reporters))
        .await;
    a.route(1, kick(&[0x08, 5, 0x10, 1, 0x18, 1])).await;
    a.route(1, kick(&[0xff])).await;
    b.deliveries(3).await;
    publish(&site, request("", message(1, 2), None))
        .await
        .unwrap();

    let shown: Vec<_> = all(&site).await.iter().rev().map(row).collect();

    let expected = [
        ("read_receipt", 1, 2, 0, false),
        ("message", 1, 0, 70, false),
        ("kick_user", 0, 5, 0, false),
        ("kick_user", 0, 0, 0, true),
        ("message", 1, 2, 0, false),
    ];
    let expected = expected.map(|(name, sender, user, group, unparsed)| {
        (name.to_owned(), sender, user, group, unparsed)
    });
    assert_eq!(shown, expected);
    let published = all(&site).await.remove(0);
    assert_eq!(
        (published.origin_link, published.origin_msg_server),
        (String::new(), String::new())
    );
}

fn row(it: &RoutedEnvelope) -> (String, u32, u32, u32, bool) {
    (
        it.command.clone(),
        it.sender_user_id,
        it.receiver_user_id,
        it.receiver_group_id,
        it.unparsed,
    )
}

#[tokio::test]
async fn what_a_gateway_that_is_away_has_no_room_for_was_dropped() {
    let site = Site::with(|settings| settings.gateway_queue_bytes = 20_000).await;
    let [mut a, b] = Played::two(&site).await;
    let to = id(&b, 1);
    drop(b);
    site.shows("teamtalk_route_gateways_detached 1").await;
    for _ in 0..2 {
        a.route(1, chat(1, 2, &[0; 15_000])).await;
    }
    a.route(1, chat(1, 99, b"x")).await;
    site.shows("teamtalk_route_envelopes_total 3").await;

    let [_, second, first] = all(&site).await.try_into().unwrap();
    let only_dropped = ListRoutedEnvelopesRequest {
        only_dropped: true,
        ..ListRoutedEnvelopesRequest::default()
    };
    let dropped = list(&site, only_dropped).await.unwrap().envelopes;

    assert_eq!(
        went(&first),
        [(to.as_str(), RoutedOutcome::WaitsForGateway)]
    );
    assert_eq!(went(&second), [(to.as_str(), RoutedOutcome::QueueFull)]);
    assert_eq!((second.target_count, second.dropped_count), (1, 1));
    assert_eq!(dropped, [second]);
}

#[tokio::test]
async fn what_a_seat_has_no_room_for_was_dropped() {
    let site = Site::with(|settings| settings.seat_bytes = 20_000).await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[1]).await;
    a.open_with(2, &[2]).await;
    a.open_sibling(3, (a.incarnation, 2), &[2]).await;
    a.close(2).await;
    for _ in 0..2 {
        a.route(1, chat(1, 2, &[0; 15_000])).await;
    }
    site.shows("teamtalk_route_envelopes_total 2").await;

    let [second, first] = all(&site).await.try_into().unwrap();

    let seat = id(&a, 2);
    assert_eq!(went(&first), [(seat.as_str(), RoutedOutcome::Held)]);
    assert_eq!(went(&second), [(seat.as_str(), RoutedOutcome::SeatFull)]);
    let counts = |it: &RoutedEnvelope| (it.target_count, it.held_count, it.dropped_count);
    assert_eq!((counts(&first), counts(&second)), ((1, 1, 0), (1, 1, 1)));
    assert!(first.targets[0].msg_server.starts_with("10."));
}

#[tokio::test]
async fn what_waited_and_was_lost_later_says_so() {
    let site = Site::with(|settings| settings.seat_hold = Duration::from_millis(200)).await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[1]).await;
    a.open_with(2, &[2]).await;
    a.open_sibling(3, (a.incarnation, 2), &[2]).await;
    a.route(1, chat(1, 2, b"taken before")).await;
    site.shows("teamtalk_route_envelopes_total 1").await;
    a.close(2).await;
    a.route(1, chat(1, 2, b"nobody comes for it")).await;
    site.shows("teamtalk_route_envelopes_total 2").await;
    a.close(3).await;

    let lost = async {
        loop {
            let routed = all(&site).await;
            if routed[0].targets[0].lost_later_count > 0 {
                return routed;
            }
        }
    };
    let lost = soon("the end of the seat", lost).await;
    let [lost, taken] = lost.try_into().unwrap();
    assert_eq!(taken.targets[0].lost_later_count, 0);

    let seat = &lost.targets[0];
    assert_eq!(seat.link, id(&a, 2));
    assert_eq!(seat.outcome(), RoutedOutcome::Held);
    assert_eq!(
        (seat.lost_later_count, &*seat.lost_later_reason),
        (1, "seat_ends")
    );
    // What comes after that goes elsewhere, and is not lost.
    a.route(1, chat(2, 1, b"later")).await;
    site.shows("teamtalk_route_envelopes_total 3").await;
    let request = ListRoutedEnvelopesRequest {
        only_dropped: true,
        ..ListRoutedEnvelopesRequest::default()
    };
    assert_eq!(list(&site, request).await.unwrap().envelopes, [lost]);
}

#[tokio::test]
async fn filters_leave_out_the_others() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;
    a.route(1, chat(1, 2, b"x")).await;
    a.route(1, chat(3, 4, b"x")).await;
    a.route(1, kick(&[0x08, 4, 0x10, 1, 0x18, 1])).await;
    b.deliveries(2).await;
    let b_server = all(&site).await[2].targets[0].msg_server.clone();
    let any = ListRoutedEnvelopesRequest::default;
    let (of_a, of_b) = (id(&a, 1), id(&b, 1));
    let user = |user_id| ListRoutedEnvelopesRequest { user_id, ..any() };
    let command = |command: &str| ListRoutedEnvelopesRequest {
        command: command.to_owned(),
        ..any()
    };
    let link = |link: &str| ListRoutedEnvelopesRequest {
        link: link.to_owned(),
        ..any()
    };
    let of_server = ListRoutedEnvelopesRequest {
        msg_server: b_server,
        ..any()
    };
    let newer = |max_age| ListRoutedEnvelopesRequest {
        max_age: Some(prost_types::Duration::try_from(max_age).unwrap()),
        ..any()
    };
    for (request, found) in [
        (any(), &[4, 4, 2][..]),
        (user(1), &[2]),
        (user(4), &[4, 4]),
        (user(9), &[]),
        (command("message"), &[4, 2]),
        (command("0x070d"), &[4]),
        (command("read_receipt"), &[]),
        (link(&of_a), &[4, 4, 2]),
        (link(&of_b), &[4, 2]),
        (of_server, &[4, 2]),
        (newer(Duration::from_secs(3600)), &[4, 4, 2]),
        (newer(Duration::ZERO), &[]),
    ] {
        let listed = list(&site, request.clone()).await.unwrap();
        let receivers = listed.envelopes.iter().map(|it| it.receiver_user_id);
        assert_eq!(receivers.collect::<Vec<_>>(), found, "{request:?}");
        assert_eq!(listed.next_page_token, "");
    }
}

/// By pages: each once, without those that have come meanwhile.
#[tokio::test]
async fn a_hundred_thousand_take_no_more_than_they_may() {
    const MANY: u32 = 100_000;
    const LIMIT: usize = 256 << 10;
    let site = Site::with(|settings| settings.routed_bytes = LIMIT).await;
    let [mut a, _b] = Played::two(&site).await;
    for first in (0..MANY).step_by(1000) {
        let users = first + 100..first + 1100;
        let entries = users.map(|user| a.entry(1, Entry::Envelope(chat(1, user, b"x"))));
        let entries = entries.collect();
        a.send_entries(entries).await;
    }
    a.confirmed(1).await;
    site.shows(&format!("teamtalk_route_envelopes_total {MANY}"))
        .await;

    let bytes = bytes(&site);
    assert!((LIMIT / 2..=LIMIT).contains(&bytes), "{bytes} bytes");
    let (found, _) = pages(&site, async || {
        a.route(1, chat(1, 2, b"x")).await;
        a.confirmed(1).await;
    })
    .await;
    let receivers: Vec<_> = found.iter().map(|it| it.receiver_user_id).collect();
    let newest = MANY + 99;
    let expected = (newest + 1 - found.len() as u32..=newest).rev();
    assert_eq!(receivers, expected.collect::<Vec<_>>());
    assert!(found.len() > LIMIT / 100, "only {}", found.len());
    let (found, since) = pages(&site, async || ()).await;
    assert_eq!(found.last().unwrap().node_time, since);
}

/// All pages, with this between them, and since when that is everything.
async fn pages(
    site: &Site,
    mut between: impl AsyncFnMut(),
) -> (Vec<RoutedEnvelope>, Option<prost_types::Timestamp>) {
    let mut request = ListRoutedEnvelopesRequest {
        page_size: 1000,
        ..ListRoutedEnvelopesRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let page = list(site, request.clone()).await.unwrap();
        found.extend(page.envelopes);
        if page.next_page_token.is_empty() {
            return (found, page.remembers_since);
        }
        request.page_token = page.next_page_token;
        between().await;
    }
}

/// What the metric says.
fn bytes(site: &Site) -> usize {
    let metrics = site.metrics.render();
    let mut lines = metrics.lines();
    let value = lines.find_map(|it| it.strip_prefix("teamtalk_route_routed_bytes "));
    value.unwrap().parse().unwrap()
}

/// None of the users is found: no more than a bound is looked at for one page.
#[tokio::test]
async fn a_page_that_would_take_long_is_shorter() {
    let (site, mut a) = Played::one(&[1]).await;
    for _ in 0..20 {
        let entries = (0..1000).map(|_| a.entry(1, Entry::Envelope(chat(1, 1, b"x"))));
        let entries = entries.collect();
        a.send_entries(entries).await;
    }
    a.confirmed(1).await;
    let of_9 = ListRoutedEnvelopesRequest {
        user_id: 9,
        ..ListRoutedEnvelopesRequest::default()
    };

    let first = list(&site, of_9.clone()).await.unwrap();
    let second = ListRoutedEnvelopesRequest {
        page_token: first.next_page_token.clone(),
        ..of_9
    };
    let second = list(&site, second).await.unwrap();

    assert!(first.envelopes.is_empty() && second.envelopes.is_empty());
    assert!(!first.next_page_token.is_empty());
    assert_eq!(second.next_page_token, "");
}

#[tokio::test]
async fn with_no_bytes_for_it_a_node_remembers_nothing() {
    let site = Site::with(|settings| settings.routed_bytes = 0).await;
    let [mut a, mut b] = Played::two(&site).await;
    a.route(1, chat(1, 2, b"x")).await;
    b.delivery().await;

    let listed = list(&site, ListRoutedEnvelopesRequest::default()).await;

    let listed = listed.unwrap();
    assert!(listed.envelopes.is_empty() && listed.remembers_since.is_none());
    assert_eq!(bytes(&site), 0);
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let site = Site::start().await;
    let any = ListRoutedEnvelopesRequest::default;
    for (wrong, field) in [
        (
            ListRoutedEnvelopesRequest {
                command: "nonsense".to_owned(),
                ..any()
            },
            "command",
        ),
        (
            ListRoutedEnvelopesRequest {
                link: "x".to_owned(),
                ..any()
            },
            "link",
        ),
        (
            ListRoutedEnvelopesRequest {
                max_age: Some(prost_types::Duration {
                    seconds: -1,
                    nanos: 0,
                }),
                ..any()
            },
            "max_age",
        ),
        (
            ListRoutedEnvelopesRequest {
                page_size: -1,
                ..any()
            },
            "page_size",
        ),
        (
            ListRoutedEnvelopesRequest {
                page_token: "x".to_owned(),
                ..any()
            },
            "page_token",
        ),
    ] {
        let refused = list(&site, wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        let details = refused.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, field);
    }
}
