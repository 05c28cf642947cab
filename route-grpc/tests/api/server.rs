//! The server around the services: health, reflection, limits, the end.

use std::time::Duration;

use route_proto::v1::subscribe_response::Message as Routed;
use route_proto::v1::watch_user_status_response::Message;
use route_proto::v1::{BatchGetUserStatusRequest, SubscribeRequest, WatchUserStatusRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};
use tonic_types::StatusExt;

use crate::attach::reason;
use crate::broadcast::subscribe;
use crate::played::Played;
use crate::presence::Watching;
use crate::site::{Site, soon};

const NAMES: [&str; 5] = [
    "",
    "readiness",
    "teamtalk.route.v1.PresenceService",
    "teamtalk.route.v1.BroadcastService",
    "teamtalk.attach.v1.AttachService",
];

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

/// Calls a method without anything to say.
async fn status_of(site: &Site, method: &str) -> Status {
    let headers = [("content-type", "application/grpc")];
    let (_, headers) = site.call(method, &headers, b"").await;
    Status::from_header_map(&headers).unwrap()
}

#[tokio::test]
async fn a_gateway_of_before_this_protocol_is_told_to_be_upgraded() {
    let site = Site::start().await;
    let status = status_of(&site, "teamtalk.route.v1.LinkService/Attach").await;
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("upgrade the gateway"), "{status}");
    site.shows(r#"teamtalk_route_attach_refused_total{reason="ERROR_REASON_ATTACH_PROTOCOL"} 1"#)
        .await;
}

#[tokio::test]
async fn what_http2_ends_and_what_nobody_serves_is_counted() {
    let site = Site::start().await;
    let browser = b"GET / HTTP/1.1\r\nhost: node\r\n\r\n".to_vec();
    // Data for a stream that cannot be, after the preface and empty settings.
    let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let data = b"\0\0\x01\0\0\0\0\0\0x";
    for what in [browser, [&settings[..], data].concat()] {
        let mut stranger = TcpStream::connect(site.address).await.unwrap();
        stranger.write_all(&what).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon("its end", stranger.read_to_end(&mut answer)).await;
    }
    let status = status_of(&site, "teamtalk.route.v1.PresenceService/Guess").await;
    assert_eq!(status.code(), Code::Unimplemented);

    for reason in ["not_http2", "protocol_error"] {
        let series = "teamtalk_route_http2_ended_total";
        let labels = format!(r#"{{reason="{reason}",scope="connection"}}"#);
        site.shows(&format!("{series}{labels} 1")).await;
    }
    site.shows("teamtalk_route_calls_unknown_total 1").await;
}

#[tokio::test]
async fn health_follows_readiness_and_liveness_does_not() {
    let site = Site::start().await;
    let mut health = HealthClient::new(site.channel().await);
    let mut streams = Vec::new();
    for name in NAMES {
        let mut stream = health.watch(named(name)).await.unwrap().into_inner();
        let first = soon("a status", stream.message()).await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::NotServing, "{name:?}");
        streams.push(stream);
    }
    let mut liveness = health.watch(named("liveness")).await.unwrap().into_inner();
    loop {
        let status = soon("a status", liveness.message()).await.unwrap().unwrap();
        if status.status() == ServingStatus::Serving {
            break;
        }
    }

    site.readiness.set(true, "test");

    for stream in &mut streams {
        let status = soon("a status", stream.message()).await.unwrap().unwrap();
        assert_eq!(status.status(), ServingStatus::Serving);
    }
    let unknown = health.check(named("unknown")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn both_reflections_list_every_service() {
    let site = Site::start().await;
    let services = [
        "grpc.health.v1.Health",
        "teamtalk.route.v1.BroadcastService",
        "teamtalk.attach.v1.AttachService",
        "teamtalk.route.v1.PresenceService",
    ];

    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(site.channel().await);
    let list = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let answers = client.server_reflection_info(tokio_stream::once(list));
    let mut answers = soon("reflection", answers).await.unwrap().into_inner();
    let answer = soon("services", answers.next()).await.unwrap().unwrap();
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(listed)) =
        answer.message_response
    else {
        panic!("no list");
    };
    let names: Vec<_> = listed.service.into_iter().map(|s| s.name).collect();
    for service in services {
        assert!(names.iter().any(|name| name == service), "{names:?}");
    }

    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(site.channel().await);
    let symbol = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                services[1].to_owned(),
            ),
        ),
    };
    let answers = client.server_reflection_info(tokio_stream::once(symbol));
    let mut answers = soon("reflection", answers).await.unwrap().into_inner();
    let answer = soon("a file", answers.next()).await.unwrap().unwrap();
    assert!(matches!(
        answer.message_response,
        Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))
    ));
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused_with_the_usual_code() {
    let site = Site::start().await;
    let mut presence = site.presence().await;
    let request = BatchGetUserStatusRequest {
        user_ids: vec![u32::MAX; 1_000_000],
        ..BatchGetUserStatusRequest::default()
    };

    let answer = soon("an answer", presence.batch_get_user_status(request)).await;

    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert_eq!(reason(&refused), "TOO_LARGE");
    let text = site.metrics.render();
    assert!(
        text.contains("rpc_response_status_code=\"RESOURCE_EXHAUSTED\""),
        "{text}"
    );
}

#[tokio::test]
async fn streams_are_counted_and_a_closed_one_makes_room() {
    let site = Site::with(|it| it.max_streams = 1).await;
    let watching = Watching::users(&site, &[]).await;

    let mut presence = site.presence().await;
    let request = || WatchUserStatusRequest {
        all_users: true,
        ..WatchUserStatusRequest::default()
    };
    let refused = soon("an answer", presence.watch_user_status(request())).await;
    let refused = refused.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "STREAM_LIMIT");
    let series = "teamtalk_route_streams_refused_total";
    let labels = r#"{reason="ERROR_REASON_STREAM_LIMIT",rpc_method="teamtalk.route.v1.PresenceService/WatchUserStatus"}"#;
    site.shows(&format!("{series}{labels} 1")).await;
    assert!(refused.get_error_details().retry_info().is_some());

    drop(watching);
    let opened = async {
        // The server hears of the end a moment later.
        while presence.watch_user_status(request()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon("room", opened).await;
}

/// Paused time goes on when everybody waits: a test that waits for ever fails by its limit.
#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_speak_http2_is_closed_and_makes_room() {
    let site = Site::with(|it| it.max_grpc_connections = 1).await;
    let mut silent = TcpStream::connect(site.address).await.unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    let mut refused = TcpStream::connect(site.address).await.unwrap();

    assert_eq!(soon("a refusal", ended(&mut refused)).await, 0);
    assert_eq!(soon("the end", ended(&mut silent)).await, 0);

    let text = site.metrics.render();
    for count in [
        "teamtalk_route_connections_refused_total 1",
        "teamtalk_route_connections_silent_total 1",
    ] {
        assert!(text.contains(count), "{text}");
    }
    site.user(1).await;
}

/// Reads to the end, and says how much that was. A reset is an end too.
async fn ended(stream: &mut TcpStream) -> usize {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    // What the server says by itself are its HTTP/2 settings.
    rest.len() * usize::from(!rest.starts_with(&[0, 0]))
}

/// Every stream and every connection that could hold the server is open.
#[tokio::test]
async fn a_drain_ends_in_time_with_streams_open() {
    let site = Site::start().await;
    site.readiness.set(true, "test");
    let mut gateway = Played::attach(&site, "a").await;
    let mut watching = Watching::users(&site, &[]).await;
    let mut subscription = subscribe(&site, SubscribeRequest::default()).await;
    let mut health = HealthClient::new(site.channel().await);
    let mut health_watch = health.watch(named("")).await.unwrap().into_inner();
    let _bare = TcpStream::connect(site.address).await.unwrap();

    site.shutdown.begin();

    let message = watching.next().await.unwrap().unwrap();
    assert!(
        matches!(message.message, Some(Message::Draining(_))),
        "{message:?}"
    );
    assert_ne!(message.position, "");
    let end = watching.next().await.unwrap_err();
    assert_eq!(
        (end.code(), reason(&end)),
        (Code::Unavailable, "DRAINING".into())
    );
    let message = soon("draining", subscription.message()).await.unwrap();
    let message = message.unwrap().message;
    assert!(matches!(message, Some(Routed::Draining(_))), "{message:?}");
    let end = soon("the end", subscription.message()).await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    assert_eq!(gateway.end().await.unwrap().code(), Code::Unavailable);
    let stopped = async { while let Ok(Some(_)) = health_watch.message().await {} };
    soon("the health watch's end", stopped).await;
    soon("the server's end", site.server)
        .await
        .unwrap()
        .unwrap();
    assert!(soon("all tasks", site.shutdown.finish()).await);
}

#[tokio::test]
async fn streams_that_are_too_old_are_asked_to_come_back() {
    let site = Site::with(|it| it.max_stream_age = Duration::from_millis(20)).await;

    let mut watching = Watching::users(&site, &[]).await;
    let mut subscription = subscribe(&site, SubscribeRequest::default()).await;

    let message = watching.next().await.unwrap().unwrap();
    assert!(
        matches!(message.message, Some(Message::Draining(_))),
        "{message:?}"
    );
    assert_eq!(watching.next().await.unwrap_err().code(), Code::Unavailable);
    let message = soon("draining", subscription.message()).await.unwrap();
    let message = message.unwrap().message;
    assert!(matches!(message, Some(Routed::Draining(_))), "{message:?}");
    let end = soon("the end", subscription.message()).await.unwrap_err();
    assert_eq!(reason(&end), "DRAINING");
}
