//! What Publish promises.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message as _;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::publish_request::Audience;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::{
    Acknowledgement, AllMsgServers, BatchPublishRequest, ChatMessage, Event, EventKind,
    ExplainPublishRequest, ExplainPublishResponse, FileNotice, FileServer, GroupChange, Kick,
    MsgServersOfUsers, Omission, P2pCommand, PublishOutcome, PublishRequest, PublishResponse,
    PublishTargetReason, SignatureChange, StatusChange, SubscribeRequest, explain_publish_request,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::attach::reason;
use crate::broadcast::{event, next, subscribe};
use crate::played::Played;
use crate::site::{Site, soon};
use crate::wire::{Said, Wire};

#[tokio::test]
async fn what_cannot_be_published_is_refused() {
    let site = Site::start().await;
    let kick = Typed::Kick(Kick {
        user_id: 1,
        client_type: 1,
        reason: 1,
    });
    for wrong in [
        PublishRequest::default(),
        request("", Typed::Kick(Kick::default()), None),
        request("", Typed::P2pCommand(P2pCommand::default()), None),
        request("", Typed::GroupChange(GroupChange::default()), None),
        request("", message(1, 0), None),
        PublishRequest {
            acknowledgement: 3,
            ..request("", message(1, 2), None)
        },
        as_received(Event {
            raw_pdu: b"x"[..].into(),
            ..Event::default()
        }),
        as_received(Event {
            omitted: vec![Omission::default()],
            ..Event::default()
        }),
        as_received(Event {
            unparsed: true,
            ..Event::default()
        }),
        request("", Typed::StatusChange(StatusChange::default()), None),
        request(&"x".repeat(129), kick.clone(), None),
        request("", kick.clone(), users(vec![])),
        request("", kick.clone(), users(vec![1; 10_001])),
        request("", kick, users(vec![1, 0])),
        with(|chat| chat.conversation_type = 9),
        with(|chat| chat.conversation_type = 2),
        with(|chat| chat.create_time = written_at(0)),
        with(|chat| chat.create_time = written_at(-1)),
        with(|chat| chat.create_time = written_at(1 << 32)),
        request("", Typed::FileNotice(file_at_port(65_536)), None),
        request("", Typed::GroupChange(group_change(&[0])), None),
    ] {
        let refused = publish(&site, wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(reason(&refused), "FIELD_INVALID");
    }
}

#[tokio::test]
async fn the_last_port_and_the_last_second_can_be_published() {
    let site = Site::start().await;
    for right in [
        request("", Typed::FileNotice(file_at_port(65_535)), None),
        with(|chat| chat.create_time = written_at(u32::MAX.into())),
        request("", Typed::GroupChange(group_change(&[1])), None),
    ] {
        publish(&site, right).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_published_goes_where_a_msg_servers_would_and_subscribers_see_it() {
    let (site, mut a) = Played::one(&[1]).await;
    a.open_with(2, &[2]).await;
    a.open_with(3, &[3]).await;
    let mut stream = subscribe(&site, SubscribeRequest::default()).await;

    let routed = publish(&site, request("", message(1, 2), None))
        .await
        .unwrap();

    assert_eq!(routed.link_count, 2);
    assert!(!routed.duplicate);
    assert_eq!(a.delivery().await.targets, [1, 2]);
    let seen = next(&mut stream).await;
    assert_eq!(seen.position, routed.position);
    let Some(Message::Event(seen)) = seen.message else {
        panic!("no event");
    };
    assert_eq!(seen.body, Some(message(1, 2)));
    assert_eq!(seen.origin_link, "");

    let everyone = Some(Audience::AllMsgServers(AllMsgServers {}));
    publish(&site, request("", message(1, 2), everyone))
        .await
        .unwrap();
    assert_eq!(a.delivery().await.targets, [1, 2, 3]);
    publish(&site, request("", message(1, 2), users(vec![3])))
        .await
        .unwrap();
    assert_eq!(a.delivery().await.targets, [3]);
}

/// A service sees an answer that is lost as one that never came, and asks again.
#[tokio::test]
async fn a_request_id_is_routed_once() {
    let (site, mut a) = Played::one(&[1]).await;

    let first = publish(&site, request("id", message(1, 1), None))
        .await
        .unwrap();
    let again = publish(&site, request("id", message(1, 1), None))
        .await
        .unwrap();
    publish(&site, request("other", message(1, 2), None))
        .await
        .unwrap();

    assert!(!first.duplicate);
    assert!(again.duplicate);
    assert_eq!(
        (again.link_count, &again.position),
        (first.link_count, &first.position)
    );
    let delivered = a.deliveries(2).await;
    assert_ne!(delivered[0].pdu(), delivered[1].pdu(), "not twice the same");
    assert!(delivered[0].sequence < delivered[1].sequence);
}

#[tokio::test]
async fn a_pdu_over_the_limit_is_not_published() {
    let site = Site::with(|it| it.pdu_limit = 1000).await;
    let long = Typed::SignatureChange(SignatureChange {
        user_id: 1,
        signature: "x".repeat(1000),
        ..SignatureChange::default()
    });

    let refused = publish(&site, request("", long, None)).await.unwrap_err();

    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "TOO_LARGE");
    assert!(refused.message().contains("(--pdu-limit)"), "{refused}");
}

#[tokio::test]
async fn a_request_id_stands_for_one_event_and_one_audience() {
    let (site, mut a) = Played::one(&[1]).await;
    publish(&site, request("id", message(1, 1), None))
        .await
        .unwrap();

    for other in [
        request("id", message(1, 2), None),
        request("id", message(1, 1), users(vec![1])),
    ] {
        let refused = publish(&site, other).await.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists);
        assert_eq!(reason(&refused), "REQUEST_ID_REUSED");
        let told = "this request_id was published with another event or audience";
        assert_eq!(refused.message(), told);
    }
    // What is ignored is so here, too.
    let mut again = request("id", message(1, 1), None);
    if let Some(event) = &mut again.event {
        event.origin_link = "1-1".to_owned();
        event.origin_msg_server = "m".to_owned();
        event.kind = EventKind::Kick.into();
    }
    assert!(publish(&site, again).await.unwrap().duplicate);
    a.delivery().await;
    a.ask(1, &[1]).await;
    a.got_nothing_after(1).await;
}

/// A node that ends forgets: whoever asks the next one again is told that it may be too late.
#[tokio::test]
async fn the_answer_says_since_when_request_ids_are_remembered() {
    let first_attempt = SystemTime::now();
    let (first, _a) = Played::one(&[1]).await;
    let routed = publish(&first, request("id", message(1, 1), None))
        .await
        .unwrap();
    let again = publish(&first, request("id", message(1, 1), None))
        .await
        .unwrap();
    assert!(again.duplicate);
    assert_eq!(again.request_ids_since, routed.request_ids_since);
    assert!(time(routed.node_time) >= time(routed.request_ids_since));
    let successor = Site::start().await;

    let twice = publish(&successor, request("id", message(1, 1), None))
        .await
        .unwrap();

    assert!(!twice.duplicate);
    let since = time(twice.request_ids_since);
    assert!(since > first_attempt.duration_since(UNIX_EPOCH).unwrap());
    assert!(since > time(routed.request_ids_since));
}

#[tokio::test]
async fn who_waits_for_the_gateways_is_told_how_many_have_taken_it() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;

    let response = publish(&site, taken(request("id", message(1, 2), None)))
        .await
        .unwrap();

    assert_eq!(response.link_count, 2);
    let both = PublishOutcome {
        taken_gateway_count: 2,
        ..PublishOutcome::default()
    };
    assert_eq!(response.outcome, Some(both));
    a.delivery().await;
    b.delivery().await;
    let routed = publish(&site, request("", message(1, 2), None))
        .await
        .unwrap();
    assert_eq!(routed.outcome, None, "only if asked for");
    let nobody = publish(&site, taken(request("", message(8, 9), None)))
        .await
        .unwrap();
    assert_eq!(nobody.outcome, Some(PublishOutcome::default()));
}

#[tokio::test]
async fn at_the_deadline_the_outcome_is_not_known_and_asking_again_waits_on() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;
    b.takes_nothing();
    let waits = || taken(request("id", message(1, 2), None));
    let method = "teamtalk.route.v1.BroadcastService/Publish";

    let said = Said::all(&waits().encode_to_vec()).within(100);
    let refused = Wire::open(&site).await.ends(method, said).await;

    assert_eq!(reason(&refused), "DEADLINE_PASSED");

    a.delivery().await;
    b.delivery().await;
    let asks_again = tokio::spawn({
        let mut broadcast = site.broadcast().await;
        async move { broadcast.publish(waits()).await }
    });
    // What does not wait for gateways is answered meanwhile.
    publish(&site, request("", message(1, 1), None))
        .await
        .unwrap();
    a.delivery().await;
    assert!(!asks_again.is_finished());
    b.takes(b.number).await;
    let again = soon("an answer", asks_again).await.unwrap();
    let again = again.unwrap().into_inner();
    assert!(again.duplicate);
    assert_eq!(again.outcome.unwrap().taken_gateway_count, 2);
    a.ask(1, &[1]).await;
    a.got_nothing_after(1).await;
}

#[tokio::test]
async fn gateways_that_are_away_or_full_are_told_apart() {
    let site = Site::with(|it| it.gateway_queue_bytes = 20_000).await;
    let [mut a, b] = Played::two(&site).await;
    drop(b);
    site.shows("teamtalk_route_gateways_detached 1").await;
    let long = |content: usize| {
        let Typed::ChatMessage(chat) = message(1, 2) else {
            panic!("a message is one");
        };
        Typed::ChatMessage(ChatMessage {
            content: vec![7; content].into(),
            ..chat
        })
    };

    let away = publish(&site, taken(request("", long(15_000), None)))
        .await
        .unwrap();
    let full = publish(&site, taken(request("", long(15_000), None)))
        .await
        .unwrap();

    let with = |away_gateway_count, full_gateway_count| PublishOutcome {
        taken_gateway_count: 1,
        away_gateway_count,
        full_gateway_count,
        held_link_count: 0,
    };
    assert_eq!(away.outcome, Some(with(1, 0)));
    assert_eq!(full.outcome, Some(with(0, 1)));
    a.deliveries(2).await;
}

#[tokio::test]
async fn what_the_node_holds_for_a_connection_to_come_is_told() {
    let (site, mut a) = Played::one(&[1]).await;
    a.open_with(2, &[2]).await;
    a.open_sibling(3, (a.incarnation, 2), &[2]).await;
    a.close(2).await;
    a.ask(1, &[2]).await;
    a.answer().await;

    let explained = explain(&site, message(1, 2), None).await.unwrap();
    let held = publish(&site, taken(request("", message(1, 2), None)))
        .await
        .unwrap();

    let targets = explained.targets.iter();
    assert_eq!(targets.map(|it| it.held).collect::<Vec<_>>(), [false, true]);
    assert_eq!(held.link_count, 2);
    let taken = held.outcome.unwrap();
    assert_eq!((taken.taken_gateway_count, taken.held_link_count), (1, 1));
}

#[tokio::test]
async fn an_explanation_names_some_of_many_users_and_counts_all() {
    let users: Vec<_> = (1..=150).collect();
    let (site, _a) = Played::one(&users).await;
    let audience = Audience::MsgServersOfUsers(MsgServersOfUsers {
        user_ids: users.clone(),
    });

    let explained = explain(&site, message(1, 2), Some(audience)).await.unwrap();

    assert_eq!((explained.targets.len(), explained.target_count), (1, 1));
    assert_eq!(explained.targets[0].user_ids, users[..100]);
    assert_eq!(explained.targets[0].user_count, 150);
}

#[tokio::test]
async fn an_explanation_says_who_would_get_it_and_why_and_routes_nothing() {
    let (site, mut a) = Played::one(&[1, 5]).await;
    a.open_with(2, &[2]).await;
    a.open_with(3, &[]).await;
    let mut stream = subscribe(&site, SubscribeRequest::default()).await;
    let begun = next(&mut stream).await.position;
    for (event, audience, expected) in rehearsals() {
        let response = explain(&site, event, audience).await.unwrap();

        let links = response.targets.iter().map(|it| it.link.clone());
        let numbers = expected.iter().map(|(number, _)| number);
        let named = numbers.map(|number| format!("{:x}-{number}", a.incarnation));
        assert_eq!(links.collect::<Vec<_>>(), named.collect::<Vec<_>>());
        let reasons = response.targets.iter();
        let reasons = reasons.map(|it| (it.reason(), it.user_ids.clone()));
        let whys = expected.iter().map(|(_, why)| why.clone());
        assert_eq!(reasons.collect::<Vec<_>>(), whys.collect::<Vec<_>>());
        assert_eq!(response.position, begun);
        assert!(response.node_time.is_some());
        assert!(
            response
                .targets
                .iter()
                .all(|it| it.msg_server.starts_with("10."))
        );
    }
    let refused = explain(&site, message(1, 0), None).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    publish(&site, request("", message(2, 1), None))
        .await
        .unwrap();
    assert_eq!(event(&mut stream).await.body, Some(message(2, 1)));
    assert_eq!(a.deliveries(1).await.len(), 1);
}

#[tokio::test]
async fn a_batch_is_published_in_order() {
    let (site, mut a) = Played::one(&[1]).await;
    let mut stream = subscribe(&site, SubscribeRequest::default()).await;
    let mut requests: Vec<_> = (2..=5)
        .map(|to| request(&format!("id {to}"), message(1, to), None))
        .collect();
    requests.push(requests[0].clone());

    let responses = batch(&site, requests).await.unwrap();

    let again: Vec<_> = responses.iter().map(|it| it.duplicate).collect();
    assert_eq!(again, [false, false, false, false, true]);
    assert_eq!(responses[4].position, responses[0].position);
    for (number, to) in (2..=5).enumerate() {
        let seen = next(&mut stream).await;
        assert_eq!(seen.position, responses[number].position);
        let Some(Message::Event(seen)) = seen.message else {
            panic!("no event");
        };
        assert_eq!(seen.body, Some(message(1, to)));
    }
    assert_eq!(a.deliveries(4).await.len(), 4);
}

/// There is one answer, so the slowest acknowledgement decides when it comes.
#[tokio::test]
async fn a_batch_is_answered_when_each_of_it_is_acknowledged_as_it_asks() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;
    b.takes_nothing();
    let asks = tokio::spawn({
        let mut broadcast = site.broadcast().await;
        let requests = vec![
            taken(request("", message(1, 2), None)),
            request("", message(1, 1), None),
        ];
        async move {
            let batch = BatchPublishRequest { requests };
            broadcast.batch_publish(batch).await
        }
    });

    // All of it is routed at once, and not answered.
    assert_eq!(a.deliveries(2).await.len(), 2);
    b.delivery().await;
    assert!(!asks.is_finished());
    b.takes(b.number).await;

    let responses = soon("answers", asks).await.unwrap().unwrap();
    let responses = responses.into_inner().responses;
    let counts = responses
        .iter()
        .map(|it| it.outcome.map(|it| it.taken_gateway_count));
    assert_eq!(counts.collect::<Vec<_>>(), [Some(2), None]);
}

#[tokio::test]
async fn of_a_batch_with_a_mistake_nothing_is_published() {
    let (site, mut a) = Played::one(&[1]).await;
    let good = || request("good", message(1, 1), None);

    let missing = batch(&site, vec![good(), request("", message(1, 0), None)]).await;
    let reused = batch(&site, vec![good(), request("good", message(1, 2), None)]).await;
    let empty = batch(&site, vec![]).await;
    let many = batch(&site, vec![good(); 1001]).await;

    let missing = missing.unwrap_err();
    assert_eq!(missing.code(), Code::InvalidArgument);
    let details = missing.get_error_details();
    let field = &details.bad_request().unwrap().field_violations[0].field;
    assert_eq!(field, "requests[1].event.chat_message.to_id");
    assert_eq!(reason(&reused.unwrap_err()), "REQUEST_ID_REUSED");
    for refused in [empty, many] {
        assert_eq!(reason(&refused.unwrap_err()), "FIELD_INVALID");
    }
    a.ask(1, &[1]).await;
    a.got_nothing_after(1).await;
    assert!(!publish(&site, good()).await.unwrap().duplicate);
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_whole() {
    let site = Site::with(|it| it.publish_bytes = 5000).await;
    let requests = vec![request("", message(1, 1), None); 400];

    let refused = batch(&site, requests).await.unwrap_err();

    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "TOO_LARGE");
    let told = "the request, unpacked, is longer than 5000 bytes (--publish-bytes)";
    assert_eq!(refused.message(), told);
}

/// What is published to whom, and which links would get it and why.
type Rehearsal = (
    Typed,
    Option<Audience>,
    Vec<(u64, (PublishTargetReason, Vec<u32>))>,
);

/// Link 1 has users 1 and 5, link 2 user 2, link 3 nobody.
fn rehearsals() -> Vec<Rehearsal> {
    let group = Typed::ChatMessage(ChatMessage {
        from_user_id: 1,
        to_id: 9,
        message_id: 1,
        message_type: 0x11,
        ..ChatMessage::default()
    });
    let signature = Typed::SignatureChange(SignatureChange {
        user_id: 1,
        ..SignatureChange::default()
    });
    let all = Some(Audience::AllMsgServers(AllMsgServers {}));
    let has = |user: u32| (PublishTargetReason::HasUsers, vec![user]);
    let because = |reason: PublishTargetReason| (reason, vec![]);
    vec![
        (message(1, 2), None, vec![(1, has(1)), (2, has(2))]),
        (
            message(1, 2),
            users(vec![5, 5, 1]),
            vec![(1, (PublishTargetReason::HasUsers, vec![1, 5]))],
        ),
        (message(8, 9), None, vec![]),
        (
            group,
            None,
            (1..=3)
                .map(|n| (n, because(PublishTargetReason::Reports)))
                .collect(),
        ),
        (
            signature,
            None,
            (1..=2)
                .map(|n| (n, because(PublishTargetReason::HasSessions)))
                .collect(),
        ),
        (
            message(1, 2),
            all,
            (1..=3)
                .map(|n| (n, because(PublishTargetReason::All)))
                .collect(),
        ),
    ]
}

pub(crate) fn message(from: u32, to: u32) -> Typed {
    Typed::ChatMessage(ChatMessage {
        from_user_id: from,
        to_id: to,
        conversation_type: 1,
        message_id: 1,
        create_time: Some(prost_types::Timestamp {
            seconds: 2,
            nanos: 0,
        }),
        message_type: 1,
        content: b"hi"[..].into(),
        ..ChatMessage::default()
    })
}

/// A message that is changed.
fn with(change: impl FnOnce(&mut ChatMessage)) -> PublishRequest {
    let Typed::ChatMessage(mut chat) = message(1, 2) else {
        panic!("a message is one");
    };
    change(&mut chat);
    request("", Typed::ChatMessage(chat), None)
}

fn written_at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn file_at_port(port: u32) -> FileNotice {
    FileNotice {
        from_user_id: 1,
        to_user_id: 2,
        task_id: "task".to_owned(),
        servers: vec![FileServer {
            ip: "10.0.0.1".to_owned(),
            port,
        }],
        transfer_mode: 1,
        ..FileNotice::default()
    }
}

fn group_change(changed_ids: &[u32]) -> GroupChange {
    GroupChange {
        user_id: 1,
        change_type: 1,
        group_id: 7,
        changed_ids: changed_ids.to_vec(),
        ..GroupChange::default()
    }
}

fn users(user_ids: Vec<u32>) -> Option<Audience> {
    Some(Audience::MsgServersOfUsers(MsgServersOfUsers { user_ids }))
}

pub(crate) fn request(id: &str, event: Typed, audience: Option<Audience>) -> PublishRequest {
    PublishRequest {
        request_id: id.to_owned(),
        event: Some(Event {
            body: Some(event),
            ..Event::default()
        }),
        audience,
        ..PublishRequest::default()
    }
}

fn taken(request: PublishRequest) -> PublishRequest {
    PublishRequest {
        acknowledgement: Acknowledgement::Taken.into(),
        ..request
    }
}

async fn explain(
    site: &Site,
    event: Typed,
    audience: Option<Audience>,
) -> Result<ExplainPublishResponse, Status> {
    use explain_publish_request::Audience as Asked;
    let request = ExplainPublishRequest {
        event: request("", event, None).event,
        audience: audience.map(|audience| match audience {
            Audience::MsgServersOfUsers(users) => Asked::MsgServersOfUsers(users),
            Audience::AllMsgServers(all) => Asked::AllMsgServers(all),
        }),
        ..ExplainPublishRequest::default()
    };
    let mut broadcast = site.broadcast().await;
    let response = soon("an answer", broadcast.explain_publish(request)).await?;
    Ok(response.into_inner())
}

fn time(timestamp: Option<prost_types::Timestamp>) -> Duration {
    let since_1970 = SystemTime::try_from(timestamp.unwrap()).unwrap();
    since_1970.duration_since(UNIX_EPOCH).unwrap()
}

/// A message, with what only a subscriber gets.
fn as_received(event: Event) -> PublishRequest {
    PublishRequest {
        event: Some(Event {
            body: Some(message(1, 2)),
            ..event
        }),
        ..PublishRequest::default()
    }
}

async fn batch(site: &Site, requests: Vec<PublishRequest>) -> Result<Vec<PublishResponse>, Status> {
    let mut broadcast = site.broadcast().await;
    let request = BatchPublishRequest { requests };
    let response = soon("answers", broadcast.batch_publish(request)).await?;
    Ok(response.into_inner().responses)
}

pub(crate) async fn publish(
    site: &Site,
    request: PublishRequest,
) -> Result<PublishResponse, Status> {
    let mut broadcast = site.broadcast().await;
    let response = soon("an answer", broadcast.publish(request)).await?;
    Ok(response.into_inner())
}
