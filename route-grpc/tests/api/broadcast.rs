//! What BroadcastService promises.

use std::time::SystemTime;

use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::v1::conversation::Of;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::{
    Conversation, Event, EventFilter, EventKind, GapPolicy, GapReason, SubscribeRequest,
    SubscribeResponse, UserRole, UserShare,
};
use tonic::{Code, Streaming};
use tonic_types::StatusExt;

use crate::attach::reason;
use crate::played::{Played, chat, file_notice, kick};
use crate::site::{DEADLINE, Site, soon};

#[tokio::test]
async fn a_subscriber_sees_what_is_routed_in_order() {
    let (site, mut a) = Played::one(&[1]).await;
    let mut stream = subscribe(&site, SubscribeRequest::default()).await;

    a.route(1, chat(1, 2, b"one")).await;
    a.update(1, 9, 1, 1).await;
    a.route(1, kick(b"\xff")).await;

    let first = next(&mut stream).await;
    let routed_at = first.node_time.unwrap();
    let Some(Message::Event(first)) = first.message else {
        panic!("not an event: {first:?}");
    };
    let Some(Typed::ChatMessage(message)) = &first.body else {
        panic!("not a chat message: {first:?}");
    };
    assert_eq!((message.from_user_id, message.to_id), (1, 2));
    assert_eq!(&message.content[..], b"one");
    assert_eq!(first.origin_link, format!("{:x}-1", a.incarnation));
    assert!(first.raw_pdu.is_empty(), "only if asked for");
    assert_eq!(event(&mut stream).await.kind(), EventKind::StatusChange);
    assert_eq!(
        event(&mut stream).await.kind(),
        EventKind::DesktopLoginChange
    );
    let last = event(&mut stream).await;
    assert_eq!((last.kind(), last.unparsed), (EventKind::Kick, true));
    assert_eq!(last.body, None);
    let age = SystemTime::now().duration_since(SystemTime::try_from(routed_at).unwrap());
    assert!(
        age.unwrap() < DEADLINE,
        "by the node's clock, which is this one"
    );
}

#[tokio::test]
async fn filters_let_through_kinds_and_users_only() {
    let (site, mut a) = Played::one(&[1]).await;
    let mut stream = subscribe(
        &site,
        SubscribeRequest {
            filters: vec![EventFilter {
                kinds: vec![EventKind::ChatMessage.into(), EventKind::Kick.into()],
                user_ids: vec![5],
                ..EventFilter::default()
            }],
            include_raw_pdu: true,
            ..SubscribeRequest::default()
        },
    )
    .await;

    a.update(1, 5, 1, 1).await;
    a.route(1, chat(1, 2, b"not for 5")).await;
    a.route(1, kick(b"unparsed names nobody")).await;
    a.route(1, chat(1, 5, b"for 5")).await;

    let only = event(&mut stream).await;
    assert_eq!(only.raw_pdu, chat(1, 5, b"for 5").pdu);
    assert_eq!(only.kind(), EventKind::ChatMessage);
}

/// Its name is GBK.
#[tokio::test]
async fn text_that_is_not_utf_8_is_shown_and_as_it_was_beside_that() {
    let (site, mut a) = Played::one(&[1]).await;
    let of_the_receiver = EventFilter {
        user_ids: vec![2],
        ..EventFilter::default()
    };
    let mut stream = subscribe(&site, filtered(of_the_receiver)).await;

    a.route(1, file_notice(b"\xce\xc4\xbc\xfe")).await;
    a.route(1, file_notice("文件".as_bytes())).await;

    for (name, bytes) in [
        ("\u{fffd}ļ\u{fffd}", &b"\xce\xc4\xbc\xfe"[..]),
        ("文件", b""),
    ] {
        let event = event(&mut stream).await;
        assert!(!event.unparsed);
        let Some(Typed::FileNotice(file)) = event.body else {
            panic!("not a file notice: {event:?}");
        };
        assert_eq!((file.from_user_id, file.to_user_id), (1, 2));
        assert_eq!(
            (&file.file_name[..], &file.file_name_bytes[..]),
            (name, bytes)
        );
        assert_eq!(
            (&file.task_id[..], &file.task_id_bytes[..]),
            ("t", &b""[..])
        );
    }
}

#[tokio::test]
async fn a_subscription_resumes_without_loss_or_repetition() {
    let (site, mut a) = Played::one(&[1]).await;
    let mut stream = subscribe(&site, SubscribeRequest::default()).await;
    a.route(1, chat(1, 1, b"one")).await;
    let first = next(&mut stream).await;
    drop(stream);
    a.route(1, chat(1, 1, b"two")).await;
    a.confirmed(1).await;

    let mut stream = open(&site, resume(&first.position)).await.unwrap();

    let begin = next(&mut stream).await;
    assert!(
        matches!(begin.message, Some(Message::Resumed(_))),
        "{begin:?}"
    );
    let Some(Typed::ChatMessage(message)) = event(&mut stream).await.body else {
        panic!("not a chat message");
    };
    assert_eq!(&message.content[..], b"two");
}

#[tokio::test]
async fn what_is_no_longer_held_is_a_gap_with_its_extent() {
    let site = Site::with(|it| it.log_events = 4).await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[]).await;
    let mut stream = open(&site, SubscribeRequest::default()).await.unwrap();
    let position = next(&mut stream).await.position;
    drop(stream);
    for number in 0..10_u8 {
        a.route(1, chat(1, 1, &[number])).await;
    }
    a.confirmed(1).await;

    let mut stream = open(&site, resume(&position)).await.unwrap();

    let Some(Message::Gap(gap)) = next(&mut stream).await.message else {
        panic!("no gap");
    };
    assert_eq!((gap.reason(), gap.missed_count), (GapReason::Compacted, 6));
    let Some(Typed::ChatMessage(message)) = event(&mut stream).await.body else {
        panic!("not a chat message");
    };
    assert_eq!(&message.content[..], [6]);
    let strict = SubscribeRequest {
        on_gap: GapPolicy::Fail.into(),
        ..resume(&position)
    };
    let refused = open(&site, strict).await.unwrap_err();
    assert_eq!(reason(&refused), "POSITION_COMPACTED");
    let text = site.metrics.render();
    assert!(text.contains("teamtalk_route_gaps_total"), "{text}");
}

/// Promise 9.
#[tokio::test]
async fn a_subscriber_that_falls_behind_is_told_how_far() {
    let site = Site::with(|it| it.log_events = 100).await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[]).await;
    let mut stream = subscribe(&site, SubscribeRequest::default()).await;

    // 32 MB are more than the windows of a connection and the log hold together.
    let content = vec![0; 16 << 10];
    for _ in 0..20 {
        let entries = (0..100)
            .map(|_| a.entry(1, Entry::Envelope(chat(1, 1, &content))))
            .collect();
        a.send_entries(entries).await;
    }
    a.confirmed(1).await;

    let (mut events, mut missed) = (0, 0);
    while events + missed < 2000 {
        match next(&mut stream).await.message {
            Some(Message::Event(_)) => events += 1,
            Some(Message::Gap(gap)) => {
                assert_eq!(gap.reason(), GapReason::SlowConsumer);
                missed += gap.missed_count;
            }
            other => panic!("neither event nor gap: {other:?}"),
        }
    }
    assert_eq!(events + missed, 2000);
    assert!(missed > 0, "it fell behind");
}

fn named(user: u32) -> EventFilter {
    EventFilter {
        user_ids: vec![user],
        ..EventFilter::default()
    }
}

#[tokio::test]
async fn a_wrong_filter_is_named_by_its_place() {
    let site = Site::start().await;
    let wrong = EventFilter {
        role: 3,
        ..EventFilter::default()
    };
    let request = SubscribeRequest {
        filters: vec![named(7), wrong],
        ..SubscribeRequest::default()
    };

    let refused = open(&site, request).await.unwrap_err();

    let named = &refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(named[0].field, "filters[1].role");
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let site = Site::start().await;
    for wrong in [
        filtered(EventFilter {
            kinds: vec![99],
            ..EventFilter::default()
        }),
        filtered(EventFilter {
            kinds: vec![0],
            ..EventFilter::default()
        }),
        filtered(EventFilter {
            user_ids: vec![1; 10_001],
            ..EventFilter::default()
        }),
        filtered(EventFilter {
            msg_servers: vec!["m".to_owned(); 10_001],
            ..EventFilter::default()
        }),
        filtered(EventFilter {
            user_ids: vec![1, 0],
            ..EventFilter::default()
        }),
        filtered(EventFilter {
            conversations: vec![Conversation {
                of: Some(Of::GroupId(0)),
            }],
            ..EventFilter::default()
        }),
        filtered(EventFilter {
            role: 3,
            ..EventFilter::default()
        }),
        filtered(EventFilter {
            conversations: vec![Conversation::default()],
            ..EventFilter::default()
        }),
        // It would let everything through, as one whose list of users is empty by mistake.
        filtered(EventFilter::default()),
        filtered(EventFilter {
            kinds: vec![1],
            role: UserRole::Sender.into(),
            ..EventFilter::default()
        }),
        filtered(EventFilter {
            kinds: vec![1],
            include_all_groups: true,
            ..EventFilter::default()
        }),
        share(0, 0),
        share(3, 3),
        share(0, 1001),
        SubscribeRequest {
            filters: vec![named(7); 101],
            ..SubscribeRequest::default()
        },
        resume("nonsense"),
    ] {
        let refused = open(&site, wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(reason(&refused), "FIELD_INVALID");
    }
}

fn filtered(filter: EventFilter) -> SubscribeRequest {
    SubscribeRequest {
        filters: vec![filter],
        ..SubscribeRequest::default()
    }
}

fn share(index: u32, share_count: u32) -> SubscribeRequest {
    filtered(EventFilter {
        share: Some(UserShare { index, share_count }),
        ..EventFilter::default()
    })
}

fn resume(position: &str) -> SubscribeRequest {
    SubscribeRequest {
        resume_position: position.to_owned(),
        ..SubscribeRequest::default()
    }
}

pub(crate) async fn open(
    site: &Site,
    request: SubscribeRequest,
) -> Result<Streaming<SubscribeResponse>, tonic::Status> {
    let mut broadcast = site.broadcast().await;
    let stream = soon("a stream", broadcast.subscribe(request)).await?;
    Ok(stream.into_inner())
}

/// A stream that has begun: what is routed from here on is seen.
pub(crate) async fn subscribe(
    site: &Site,
    request: SubscribeRequest,
) -> Streaming<SubscribeResponse> {
    let mut stream = open(site, request).await.unwrap();
    let first = next(&mut stream).await;
    assert!(
        matches!(first.message, Some(Message::Subscribed(_))),
        "{first:?}"
    );
    stream
}

pub(crate) async fn next(stream: &mut Streaming<SubscribeResponse>) -> SubscribeResponse {
    soon("a message", stream.message()).await.unwrap().unwrap()
}

pub(crate) async fn event(stream: &mut Streaming<SubscribeResponse>) -> Event {
    match next(stream).await.message {
        Some(Message::Event(event)) => event,
        other => panic!("not an event: {other:?}"),
    }
}
