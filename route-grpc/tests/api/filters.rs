//! What a subscriber is shown: by filters, and by length.

use std::slice::from_ref;

use route_proto::attach::v1::Envelope;
use route_proto::v1::conversation::Of as Whose;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::{
    Conversation, Event, EventFilter, EventKind, Kick, PublishRequest, SubscribeRequest,
    SubscribeResponse, UserPair, UserRole, UserShare,
};
use tonic::Streaming;

use crate::broadcast::{event, next, open, subscribe};
use crate::played::{Played, chat, chat_of_type, kick};
use crate::site::{Site, soon};

/// A message to a group.
const GROUP_TEXT: i32 = 0x11;

#[tokio::test]
async fn users_are_chosen_as_senders_or_as_receivers() {
    let of = |role: UserRole| EventFilter {
        user_ids: vec![5],
        role: role.into(),
        ..EventFilter::default()
    };

    let sent = [chat(5, 1, b"from"), chat(1, 5, b"to"), chat(1, 2, b"-")];

    assert_eq!(shown(&[of(UserRole::Sender)], &sent).await, ["from"]);
    assert_eq!(shown(&[of(UserRole::Receiver)], &sent).await, ["to"]);
    let either = shown(&[of(UserRole::Unspecified)], &sent).await;
    assert_eq!(either, ["from", "to"]);
}

#[tokio::test]
async fn a_conversation_is_two_users_or_a_group() {
    let filter = |whose| EventFilter {
        conversations: vec![Conversation { of: Some(whose) }],
        ..EventFilter::default()
    };
    let pair = filter(Whose::Users(UserPair {
        user_id: 2,
        other_user_id: 1,
    }));
    let group = filter(Whose::GroupId(2));

    let sent = [
        chat(1, 2, b"there"),
        chat(2, 1, b"back"),
        chat(1, 3, b"another"),
        chat_of_type(GROUP_TEXT, 1, 2, b"in group 2"),
        chat_of_type(GROUP_TEXT, 1, 1, b"in group 1"),
    ];

    assert_eq!(shown(from_ref(&pair), &sent).await, ["there", "back"]);
    assert_eq!(shown(from_ref(&group), &sent).await, ["in group 2"]);
    let both = shown(&[group, pair], &sent).await;
    assert_eq!(both, ["there", "back", "in group 2"]);
}

#[tokio::test]
async fn a_msg_server_is_where_it_comes_from() {
    let (site, mut a) = Played::one(&[1]).await;
    a.open_with(2, &[2]).await;
    let mut all = subscribe(&site, filtered(&[])).await;
    a.route(2, chat(2, 1, b"there")).await;
    let there = event(&mut all).await.origin_msg_server;
    assert!(there.starts_with("10.") && there.ends_with(".2"), "{there}");
    let of_it = EventFilter {
        msg_servers: vec!["elsewhere".to_owned(), there.clone()],
        ..EventFilter::default()
    };
    let mut stream = subscribe(&site, filtered(&[of_it])).await;

    a.route(1, chat(1, 2, b"here")).await;
    // Of the node itself.
    a.update(2, 2, 1, 2).await;
    let published = PublishRequest {
        event: Some(Event {
            body: Some(Typed::Kick(Kick {
                user_id: 1,
                client_type: 1,
                reason: 1,
            })),
            ..Event::default()
        }),
        ..PublishRequest::default()
    };
    let published = site.broadcast().await.publish(published).await;
    published.unwrap();
    a.route(2, chat(2, 1, b"there again")).await;

    assert_eq!(text(&event(&mut stream).await), "there again");
    let kick = loop {
        let event = event(&mut all).await;
        if event.kind() == EventKind::Kick {
            break event;
        }
    };
    assert_eq!((&*kick.origin_link, &*kick.origin_msg_server), ("", ""));
}

#[tokio::test]
async fn what_is_said_in_groups_passes_users_only_if_asked_for() {
    let filter = EventFilter {
        user_ids: vec![5],
        role: UserRole::Receiver.into(),
        ..EventFilter::default()
    };
    let all_groups = EventFilter {
        include_all_groups: true,
        ..filter.clone()
    };

    let sent = [
        chat_of_type(GROUP_TEXT, 1, 5, b"in the group with number 5"),
        chat_of_type(GROUP_TEXT, 5, 9, b"by 5"),
        chat(1, 5, b"to 5"),
    ];

    assert_eq!(shown(&[filter], &sent).await, ["to 5"]);
    let all = ["in the group with number 5", "by 5", "to 5"];
    assert_eq!(shown(&[all_groups], &sent).await, all);
}

#[tokio::test]
async fn workers_share_everything_out_among_them() {
    let mut sent: Vec<_> = (1..=40)
        .map(|user: u32| chat(9, user, user.to_string().as_bytes()))
        .collect();
    sent.push(chat_of_type(GROUP_TEXT, 1, 41, b"41"));

    let mut all = Vec::new();
    for index in 0..3 {
        let filter = EventFilter {
            role: UserRole::Receiver.into(),
            share: Some(UserShare {
                index,
                share_count: 3,
            }),
            ..EventFilter::default()
        };
        let part = shown(&[filter], &sent).await;
        assert!(!part.is_empty(), "worker {index}");
        all.extend(part.iter().map(|it| it.parse::<u32>().unwrap()));
    }

    all.sort_unstable();
    assert_eq!(all, (1..=41).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_unparsed_passes_by_its_kind_alone() {
    let (site, mut a) = Played::one(&[1]).await;
    let of_kind = EventFilter {
        kinds: vec![EventKind::Kick.into()],
        ..EventFilter::default()
    };
    let of_user = EventFilter {
        user_ids: vec![1],
        ..of_kind.clone()
    };
    let mut by_kind = subscribe(&site, filtered(&[of_kind])).await;
    let mut by_user = subscribe(&site, filtered(&[of_user])).await;

    a.route(1, kick(b"\xff")).await;
    a.route(1, kick(&[8, 1, 16, 1, 24, 1])).await;

    assert!(event(&mut by_kind).await.unparsed);
    assert!(!event(&mut by_kind).await.unparsed);
    assert!(
        !event(&mut by_user).await.unparsed,
        "the other one is not shown"
    );
}

/// A client that has set no limit of its own takes 4 MiB, and comes back where it was.
#[tokio::test]
async fn no_message_is_too_long_for_a_client_with_default_limits() {
    let (site, mut a) = Played::one(&[1]).await;
    let first = {
        let mut stream = open(&site, SubscribeRequest::default()).await.unwrap();
        next(&mut stream).await.position
    };
    let content = vec![7; 5_000_000];
    a.route(1, chat(1, 1, &content)).await;
    a.route(1, chat(1, 1, b"after")).await;

    for include_raw_pdu in [false, true] {
        let request = SubscribeRequest {
            resume_position: first.clone(),
            include_raw_pdu,
            ..SubscribeRequest::default()
        };
        let mut stream = open_with_defaults(&site, request).await;
        let resumed = next(&mut stream).await;
        assert!(matches!(resumed.message, Some(Message::Resumed(_))));

        let long = event(&mut stream).await;

        let omitted: Vec<_> = long
            .omitted
            .iter()
            .map(|it| (&*it.field, it.size_bytes))
            .collect();
        let raw = chat(1, 1, &content).pdu.len() as u32;
        let mut expected = vec![("chat_message.content", 5_000_000)];
        if include_raw_pdu {
            expected.insert(0, ("raw_pdu", raw));
        }
        assert_eq!(omitted, expected);
        assert_eq!(
            (text(&long), long.kind()),
            (String::new(), EventKind::ChatMessage)
        );
        let after = event(&mut stream).await;
        assert_eq!((text(&after), after.omitted.len()), ("after".to_owned(), 0));
    }
}

#[tokio::test]
async fn a_subscriber_says_how_much_it_wants() {
    let (site, mut a) = Played::one(&[1]).await;
    let most = |max_event_bytes| SubscribeRequest {
        include_raw_pdu: true,
        max_event_bytes,
        ..SubscribeRequest::default()
    };
    let mut all = subscribe(&site, most(100 << 20)).await;
    let mut little = subscribe(&site, most(140)).await;

    let content = vec![7; 5_000_000];
    a.route(1, chat(1, 1, &content)).await;
    a.route(1, chat(1, 1, &[7; 60])).await;

    let whole = event(&mut all).await;
    assert!(whole.omitted.is_empty());
    assert_eq!(whole.raw_pdu, chat(1, 1, &content).pdu);
    let cut = event(&mut little).await;
    assert_eq!((cut.omitted.len(), cut.raw_pdu.len()), (2, 0));
    // Here the raw PDU makes it too long, and nothing else.
    let short = event(&mut little).await;
    assert_eq!(short.omitted.len(), 1);
    assert_eq!(short.omitted[0].field, "raw_pdu");
    assert_eq!(text(&short).len(), 60);
}

/// What of the messages that were sent a subscriber with these filters sees.
#[tokio::test]
async fn a_policy_that_is_none_is_refused() {
    let site = Site::start().await;
    let request = SubscribeRequest {
        on_gap: 9,
        ..SubscribeRequest::default()
    };

    let refused = site.broadcast().await.subscribe(request).await.unwrap_err();

    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().starts_with("on_gap"), "{refused}");
}

async fn shown(filters: &[EventFilter], sent: &[Envelope]) -> Vec<String> {
    let (site, mut a) = Played::one(&[1]).await;
    let end = EventFilter {
        kinds: vec![EventKind::Kick.into()],
        ..EventFilter::default()
    };
    let filters = [filters, &[end]].concat();
    let mut stream = subscribe(&site, filtered(&filters)).await;
    for envelope in sent {
        a.route(1, envelope.clone()).await;
    }
    a.route(1, kick(b"\xff")).await;
    let mut shown = Vec::new();
    loop {
        let event = event(&mut stream).await;
        if event.kind() == EventKind::Kick {
            return shown;
        }
        shown.push(text(&event));
    }
}

fn filtered(filters: &[EventFilter]) -> SubscribeRequest {
    SubscribeRequest {
        filters: filters.to_vec(),
        ..SubscribeRequest::default()
    }
}

fn text(event: &Event) -> String {
    match &event.body {
        Some(Typed::ChatMessage(chat)) => String::from_utf8(chat.content.to_vec()).unwrap(),
        other => panic!("not a chat message: {other:?}"),
    }
}

async fn open_with_defaults(
    site: &Site,
    request: SubscribeRequest,
) -> Streaming<SubscribeResponse> {
    let channel = site.channel().await;
    let mut broadcast =
        route_proto::v1::broadcast_service_client::BroadcastServiceClient::new(channel);
    let stream = soon("a stream", broadcast.subscribe(request)).await;
    stream.unwrap().into_inner()
}
