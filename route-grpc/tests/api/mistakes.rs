//! Plain mistakes get plain answers.

use prost::Message as _;
use route_proto::pdu::{command, framed};
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{
    BatchGetUserStatusRequest, BatchPublishRequest, ChatMessage, Conversation,
    CountOnlineUsersRequest, Event, EventFilter, ExplainPublishRequest, FileNotice, GapPolicy,
    GetUserStatusRequest, GroupChange, Kick, ListOnlineUsersRequest, MsgServersOfUsers,
    PublishRequest, SignatureChange, StatusChange, SubscribeRequest, UserSession, UserShare,
    UserStatus, WatchUserSetRequest, WatchUserSetStart, WatchUserStatusRequest, publish_request,
    watch_user_set_request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::StatusCode;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1;
use tonic_types::StatusExt;

use crate::attach::reason;
use crate::site::{Site, soon};
use crate::wire::{Said, Wire};

const GET_USER: &str = "teamtalk.route.v1.PresenceService/GetUserStatus";
const WATCH_SET: &str = "teamtalk.route.v1.PresenceService/WatchUserSet";
const GRPC: [(&str, &str); 1] = [("content-type", "application/grpc")];

#[tokio::test]
async fn other_content_types_than_grpc_are_unsupported() {
    let site = Site::start().await;
    for content_type in ["application/json", "application/grpc+json", "text/html"] {
        let headers = [("content-type", content_type)];

        let (status, headers) = site.call(GET_USER, &headers, b"").await;

        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        let told = Status::from_header_map(&headers).unwrap();
        assert!(told.message().contains("application/grpc"), "{told}");
        assert!(told.message().contains(content_type), "{told}");
    }
}

#[tokio::test]
async fn a_deadline_that_cannot_be_read_is_refused() {
    let site = Site::start().await;
    for timeout in ["S", "10", "ten S", "123456789S"] {
        let headers = [
            ("content-type", "application/grpc"),
            ("grpc-timeout", timeout),
        ];

        let (status, headers) = site.call(GET_USER, &headers, b"").await;

        assert_eq!(status, StatusCode::OK);
        let told = Status::from_header_map(&headers).unwrap();
        assert_eq!(told.code(), Code::InvalidArgument, "{timeout}");
        assert_eq!(reason(&told), "FIELD_INVALID");
        assert!(told.message().starts_with("grpc-timeout"), "{told}");
    }
}

#[tokio::test]
async fn gzip_is_taken_and_limits_count_what_it_unpacks_to() {
    let site = Site::start().await;
    let mut client = BroadcastServiceClient::new(site.channel().await)
        .send_compressed(CompressionEncoding::Gzip);
    let mut publish = async |bytes: usize| {
        let changed = SignatureChange {
            user_id: 1,
            signature: "x".repeat(bytes),
            ..SignatureChange::default()
        };
        let request = PublishRequest {
            event: Some(Event {
                body: Some(Typed::SignatureChange(changed)),
                ..Event::default()
            }),
            ..PublishRequest::default()
        };
        soon("an answer", client.publish(request)).await
    };

    assert!(publish(100_000).await.is_ok());
    // Packed, that is some kilobytes.
    let refused = publish(2 << 20).await.unwrap_err();

    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert_eq!(reason(&refused), "TOO_LARGE");
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_the_callers_mistake() {
    let site = Site::start().await;
    // Each has a text of one byte.
    for (method, field, message) in [
        (GET_USER, "at_least_position", &b"\x1a\x01\xff"[..]),
        (WATCH_SET, "start.resume_position", b"\x0a\x03\x12\x01\xff"),
        // Nothing of a message of some length.
        (GET_USER, "at_least_position", b"\x1a\x7f"),
    ] {
        let length = u32::try_from(message.len()).unwrap();
        let body = [&[0], &length.to_be_bytes()[..], message].concat();

        let (_, headers) = site.call(method, &GRPC, &body).await;

        let told = Status::from_header_map(&headers).unwrap();
        assert_eq!(told.code(), Code::InvalidArgument, "{told}");
        assert_eq!(reason(&told), "FIELD_INVALID");
        assert!(told.message().starts_with(field), "{told}");
    }
}

#[tokio::test]
async fn health_of_an_unknown_service_is_not_found_and_watched_until_the_drain() {
    let site = Site::start().await;
    let mut health = HealthClient::new(site.channel().await);
    let unknown = || HealthCheckRequest {
        service: "teamtalk.route.v1.Guess".to_owned(),
    };

    let refused = health.check(unknown()).await.unwrap_err();
    let mut watched = health.watch(unknown()).await.unwrap().into_inner();

    assert_eq!(refused.code(), Code::NotFound);
    for name in ["liveness", "readiness", "BroadcastService"] {
        assert!(refused.message().contains(name), "{refused}");
    }
    let told = soon("a status", watched.message()).await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::ServiceUnknown);
    site.shutdown.begin();
    let end = soon("its end", watched.message()).await;
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
}

#[tokio::test]
async fn what_is_missing_or_unknown_in_a_request_is_called_so() {
    let site = Site::start().await;
    let kick = Kick {
        user_id: 1,
        reason: 1,
        ..Kick::default()
    };
    let chat = ChatMessage {
        from_user_id: 1,
        to_id: 2,
        message_id: 3,
        ..ChatMessage::default()
    };
    let publish = |body, acknowledgement| PublishRequest {
        acknowledgement,
        ..publishes(body)
    };
    let mut broadcast = BroadcastServiceClient::new(site.channel().await);
    for (request, told) in [
        (
            publish(Typed::Kick(kick), 0),
            "event.kick.client_type: is missing",
        ),
        (
            publish(Typed::ChatMessage(chat), 0),
            "event.chat_message.message_type: is missing",
        ),
        (
            publish(Typed::Kick(kick), 9),
            "acknowledgement: 9 is no acknowledgement; event.kick.client_type: is missing",
        ),
    ] {
        let refused = soon("an answer", broadcast.publish(request)).await;
        assert_eq!(refused.unwrap_err().message(), told);
    }

    let mut presence = PresenceServiceClient::new(site.channel().await);
    let nobody = presence.get_user_status(GetUserStatusRequest::default());
    let refused = soon("an answer", nobody).await.unwrap_err();
    let told = "user_id: is missing, or 0, which is nobody";
    assert_eq!(refused.message(), told);
}

#[tokio::test]
async fn all_that_is_wrong_in_a_request_is_named_at_once() {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    let questions = wrong_questions().into_iter();
    let questions = questions.map(|wrong| ("PresenceService", wrong));
    let broadcasts = wrong_broadcasts().into_iter();
    let broadcasts = broadcasts.map(|wrong| ("BroadcastService", wrong));
    for (service, (method, request, fields)) in questions.chain(broadcasts) {
        let method = format!("teamtalk.route.v1.{service}/{method}");

        let refused = wire.ends(&method, Said::all(&request)).await;

        assert_eq!(reason(&refused), "FIELD_INVALID");
        let named = refused.get_details_bad_request().unwrap().field_violations;
        let named: Vec<_> = named.iter().map(|it| &*it.field).collect();
        assert_eq!(named.join(", "), fields, "{method}");
        for field in named {
            assert!(refused.message().contains(field), "{refused}");
        }
    }
}

#[tokio::test]
async fn of_many_mistakes_some_are_named() {
    let site = Site::start().await;
    let requests = vec![PublishRequest::default(); 100];

    let mut broadcast = site.broadcast().await;
    let refused = broadcast.batch_publish(BatchPublishRequest { requests });
    let refused = soon("an answer", refused).await.unwrap_err();

    let named = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(named.len(), 16);
    assert_eq!(named[15].field, "requests[15].event.body");
}

/// A method, what is asked of it, and the fields that are wrong in that.
type Wrong = (&'static str, Vec<u8>, String);

/// Requests of PresenceService.
fn wrong_questions() -> Vec<Wrong> {
    let nonsense = || "x".to_owned();
    let one = GetUserStatusRequest {
        at_least_position: nonsense(),
        ..GetUserStatusRequest::default()
    };
    let batch = BatchGetUserStatusRequest {
        user_ids: vec![1, 0, 0],
        at_least_position: nonsense(),
        ..BatchGetUserStatusRequest::default()
    };
    let list = ListOnlineUsersRequest {
        page_size: -1,
        page_token: nonsense(),
        status: 9,
        client_class: 9,
        at_least_position: nonsense(),
        ..ListOnlineUsersRequest::default()
    };
    let watch = WatchUserStatusRequest {
        user_ids: vec![0],
        all_users: true,
        new_user_ids: vec![0],
        resume_position: nonsense(),
        on_gap: 9,
        change_kinds: vec![1, 9],
        on_lag: 9,
        ..WatchUserStatusRequest::default()
    };
    let set = WatchUserSetRequest {
        message: Some(watch_user_set_request::Message::Start(WatchUserSetStart {
            user_ids: vec![1, 0],
            on_gap: 9,
            ..WatchUserSetStart::default()
        })),
    };
    let watched =
        "user_ids[0], new_user_ids[0], user_ids, resume_position, on_gap, on_lag, change_kinds";
    let listed = "page_size, at_least_position, status, client_class, page_token";
    vec![
        (
            "GetUserStatus",
            one.encode_to_vec(),
            "user_id, at_least_position".into(),
        ),
        (
            "BatchGetUserStatus",
            batch.encode_to_vec(),
            "user_ids[1], at_least_position".into(),
        ),
        ("ListOnlineUsers", list.encode_to_vec(), listed.into()),
        ("WatchUserStatus", watch.encode_to_vec(), watched.into()),
        (
            "WatchUserSet",
            set.encode_to_vec(),
            "start.user_ids[1], start.on_gap".into(),
        ),
    ]
}

/// The same of BroadcastService.
fn wrong_broadcasts() -> Vec<Wrong> {
    let filters = "on_gap, resume_position, filters[0].kinds, filters[0].role, filters[2].user_ids[0], \
                   filters[2].conversations[0], filters[2].msg_servers[1], filters[2].share";
    let request = "request_id, msg_servers_of_users.user_ids, acknowledgement";
    let event = "event.raw_pdu, event.unparsed, event.chat_message.from_user_id, \
                 event.chat_message.message_id, event.chat_message.conversation_type, \
                 event.chat_message.create_time";
    let file = FileNotice {
        from_user_id: 1,
        to_user_id: 2,
        ..FileNotice::default()
    };
    let group = Typed::GroupChange(GroupChange::default());
    let batch = BatchPublishRequest {
        requests: vec![publishes(group), publishes(Typed::FileNotice(file))],
    };
    let of_batch = "requests[0].event.group_change.user_id, requests[0].event.group_change.group_id, \
                    requests[0].event.group_change.changed_ids, \
                    requests[0].event.group_change.change_type, \
                    requests[1].event.file_notice.task_id, \
                    requests[1].event.file_notice.transfer_mode";
    vec![
        ("Subscribe", wrong_filters().encode_to_vec(), filters.into()),
        (
            "Publish",
            wrong_chat().encode_to_vec(),
            format!("{request}, {event}"),
        ),
        (
            "ExplainPublish",
            wrong_explain().encode_to_vec(),
            format!("at_least_position, {event}"),
        ),
        ("BatchPublish", batch.encode_to_vec(), of_batch.into()),
    ]
}

fn wrong_explain() -> ExplainPublishRequest {
    ExplainPublishRequest {
        event: wrong_chat().event,
        at_least_position: "nowhere".to_owned(),
        ..ExplainPublishRequest::default()
    }
}

fn wrong_filters() -> SubscribeRequest {
    let wrong = EventFilter {
        kinds: vec![1, 99],
        role: 9,
        ..EventFilter::default()
    };
    let also_wrong = EventFilter {
        user_ids: vec![0],
        conversations: vec![Conversation::default()],
        share: Some(UserShare::default()),
        msg_servers: vec!["m".to_owned(), String::new()],
        ..EventFilter::default()
    };
    SubscribeRequest {
        filters: vec![
            wrong,
            EventFilter {
                kinds: vec![1],
                ..EventFilter::default()
            },
            also_wrong,
        ],
        resume_position: "x".to_owned(),
        on_gap: 9,
        ..SubscribeRequest::default()
    }
}

fn wrong_chat() -> PublishRequest {
    let nobody = MsgServersOfUsers::default();
    let mut request = publishes(Typed::ChatMessage(ChatMessage {
        to_id: 2,
        conversation_type: 2,
        create_time: Some(prost_types::Timestamp::default()),
        message_type: 1,
        ..ChatMessage::default()
    }));
    request.request_id = "x".repeat(129);
    request.audience = Some(publish_request::Audience::MsgServersOfUsers(nobody));
    request.acknowledgement = 9;
    if let Some(event) = &mut request.event {
        event.raw_pdu = b"x"[..].into();
        event.unparsed = true;
    }
    request
}

fn publishes(body: Typed) -> PublishRequest {
    PublishRequest {
        event: Some(Event {
            body: Some(body),
            ..Event::default()
        }),
        ..PublishRequest::default()
    }
}

/// The way on is told: to leave the position out, or to have gaps reported.
#[tokio::test]
async fn a_position_of_another_life_is_refused_with_the_way_on() {
    let (before, now) = (Site::start().await, Site::start().await);
    let position = {
        let mut presence = PresenceServiceClient::new(before.channel().await);
        let asked = presence.count_online_users(CountOnlineUsersRequest::default());
        soon("an answer", asked)
            .await
            .unwrap()
            .into_inner()
            .position
    };
    let mut broadcast = BroadcastServiceClient::new(now.channel().await);

    let refused = broadcast.subscribe(SubscribeRequest {
        resume_position: position,
        on_gap: GapPolicy::Fail.into(),
        ..SubscribeRequest::default()
    });
    let refused = soon("an answer", refused).await.unwrap_err();

    assert_eq!(reason(&refused), "EPOCH_CHANGED");
    assert!(refused.message().contains("on_gap"), "{refused}");
}

#[tokio::test]
async fn who_speaks_another_protocol_is_told_or_closed() {
    let site = Site::start().await;

    let browser = said_to(&site, b"GET /metrics HTTP/1.1\r\nhost: node\r\n\r\n").await;
    let msg_server = said_to(&site, &framed(command::HEARTBEAT, 1, b"")).await;

    let browser = String::from_utf8(browser).unwrap();
    assert!(browser.starts_with("HTTP/1.1 505 "), "{browser}");
    assert!(browser.contains("gRPC"), "{browser}");
    assert_eq!(msg_server, b"");
    site.shows(r#"teamtalk_route_http2_ended_total{reason="not_http2",scope="connection"} 2"#)
        .await;
}

/// Tools that know the API by reflection alone can show the details of errors.
#[tokio::test]
async fn reflection_knows_the_details_of_errors() {
    let site = Site::start().await;
    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(site.channel().await);
    let symbols = [
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
        "google.rpc.RetryInfo",
    ];
    let requests = symbols.map(|symbol| v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1::server_reflection_request::MessageRequest::FileContainingSymbol(symbol.to_owned()),
        ),
    });

    let answers = client.server_reflection_info(tokio_stream::iter(requests));
    let mut answers = soon("reflection", answers).await.unwrap().into_inner();

    for symbol in symbols {
        let answer = soon("an answer", answers.next()).await.unwrap().unwrap();
        let found = answer.message_response.unwrap();
        let is_file = matches!(
            found,
            v1::server_reflection_response::MessageResponse::FileDescriptorResponse(_)
        );
        assert!(is_file, "{symbol}: {found:?}");
    }
}

/// Everything that the node says to somebody who begins like this.
pub(crate) async fn said_to(site: &Site, beginning: &[u8]) -> Vec<u8> {
    let mut stranger = TcpStream::connect(site.address).await.unwrap();
    stranger.write_all(beginning).await.unwrap();
    let mut answer = Vec::new();
    soon("its end", stranger.read_to_end(&mut answer))
        .await
        .unwrap();
    answer
}

/// Two bytes each on their way, a hundred and more in memory: in a list, and in one within an event.
#[tokio::test]
async fn a_request_of_many_empty_pieces_is_refused_unread() {
    const MANY: usize = 1 << 15;
    let site = Site::start().await;
    let mut broadcast = site.broadcast().await;
    let user = UserStatus {
        sessions: vec![UserSession::default(); MANY],
        ..UserStatus::default()
    };
    let change = StatusChange {
        user: Some(user),
        ..StatusChange::default()
    };
    let within = publishes(Typed::StatusChange(change));
    let requests = vec![PublishRequest::default(); MANY + 1];

    let in_a_list = broadcast.batch_publish(BatchPublishRequest { requests });
    let in_a_list = soon("an answer", in_a_list).await.unwrap_err();
    let in_an_event = soon("an answer", broadcast.publish(within)).await;

    for refused in [in_a_list, in_an_event.unwrap_err()] {
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(reason(&refused), "TOO_LARGE");
        assert!(refused.message().contains("32768 pieces"), "{refused:?}");
    }
}
