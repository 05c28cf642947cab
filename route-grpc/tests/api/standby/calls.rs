//! What goes through, and what does not.

use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::watch_user_status_response::Message;
use route_proto::v1::{
    BatchGetUserStatusRequest, GetUserStatusRequest, SubscribeRequest, WatchUserStatusRequest,
};
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::played_leader::{PlayedLeader, end};
use super::{Front, GET};
use crate::attach::reason;
use crate::broadcast::event;
use crate::played::Played;
use crate::publish::{message, request};
use crate::site::{Site, soon};
use crate::wire::{Said, Wire};

/// A leader with a user, and a node in front of it.
async fn front() -> (Site, Played, Front) {
    let (site, gateway) = Played::one(&[7]).await;
    let front = Front::before(&format!("http://{}", site.address)).await;
    (site, gateway, front)
}

/// Where the leader is, if the refusal says so.
pub(super) fn leader(status: &Status) -> Option<String> {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(reason(status), "NOT_LEADER", "{status:?}");
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
    let info = status.get_details_error_info().unwrap();
    info.metadata.get("leader").cloned()
}

#[tokio::test]
async fn what_the_leader_knows_is_asked_and_watched_through_a_standby() {
    let (_site, mut gateway, front) = front().await;
    let mut presence = PresenceServiceClient::new(front.channel().await);
    let asked = presence.get_user_status(GetUserStatusRequest {
        user_id: 7,
        include_sessions: true,
        ..GetUserStatusRequest::default()
    });
    let told = soon("an answer", asked).await.unwrap().into_inner();
    assert_eq!(told.user.unwrap().sessions.len(), 1);

    let watch = presence.watch_user_status(WatchUserStatusRequest {
        user_ids: vec![7, 8],
        ..WatchUserStatusRequest::default()
    });
    let mut watch = soon("a stream", watch).await.unwrap().into_inner();
    gateway.update(1, 8, 1, 1).await;
    let change = async {
        loop {
            let told = watch.message().await.unwrap().unwrap();
            if let Some(Message::Change(change)) = told.message {
                return change;
            }
        }
    };
    let change = soon("a change", change).await;
    assert_eq!(change.user.unwrap().user_id, 8);
}

#[tokio::test]
async fn what_is_published_at_a_standby_comes_to_those_who_listen_there() {
    let (_site, mut gateway, front) = front().await;
    let mut broadcast = BroadcastServiceClient::new(front.channel().await);
    let stream = broadcast.subscribe(SubscribeRequest::default());
    let mut stream = soon("a stream", stream).await.unwrap().into_inner();
    let published = broadcast.publish(request("once", message(1, 7), None));
    soon("an answer", published).await.unwrap();

    // It says first that it has begun.
    soon("a message", stream.message()).await.unwrap();
    event(&mut stream).await;
    gateway.delivery().await;
}

/// The connection to the leader is one for all of them, and takes a hundred empty frames in its life.
#[tokio::test]
async fn many_calls_go_over_one_connection() {
    let (_site, _gateway, front) = front().await;
    let mut presence = PresenceServiceClient::new(front.channel().await);
    for _ in 0..300 {
        let asked = presence.get_user_status(GetUserStatusRequest {
            user_id: 7,
            ..GetUserStatusRequest::default()
        });
        soon("an answer", asked).await.unwrap();
    }
}

#[tokio::test]
async fn refusals_come_back_with_their_details() {
    let (_site, _gateway, front) = front().await;
    let mut presence = PresenceServiceClient::new(front.channel().await);
    let asked = presence.batch_get_user_status(BatchGetUserStatusRequest {
        user_ids: vec![7, 0],
        ..BatchGetUserStatusRequest::default()
    });
    let refused = soon("an answer", asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert_eq!(reason(&refused), "FIELD_INVALID");
    let wrong = refused.get_details_bad_request().unwrap();
    assert_eq!(wrong.field_violations[0].field, "user_ids[1]");
}

#[tokio::test]
async fn compressed_requests_go_through_as_they_are() {
    let (_site, _gateway, front) = front().await;
    let client = PresenceServiceClient::new(front.channel().await);
    let mut client = client
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    let asked = client.batch_get_user_status(BatchGetUserStatusRequest {
        user_ids: vec![7; 5000],
        ..BatchGetUserStatusRequest::default()
    });
    soon("an answer", asked).await.unwrap();
    let wire = front.wire().await;
    let refused = wire.ends(GET, Said::all(&[8, 7]).packed("br")).await;
    assert_eq!(refused.code(), Code::Unimplemented, "{refused:?}");
    let taken = refused.metadata().get("grpc-accept-encoding").unwrap();
    assert_eq!(taken, "gzip,identity");
}

/// What a leader does not read does not go to it: least of all what its caller has shown.
#[tokio::test]
async fn the_leader_gets_the_headers_that_it_reads_and_which_node_passes_the_call_on() {
    let mut played = PlayedLeader::listen().await;
    let front = Front::before(&played.url).await;
    let wire = front.wire().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let said = Said::all(&[8, 7])
        .timeout("9S")
        .token("secret")
        .header("x-other", "secret")
        .header("cookie", "secret")
        .header("teamtalk-forwarded-for", "secret")
        .header("grpc-accept-encoding", "gzip,br")
        .header("traceparent", trace);
    let mut call = wire.call(GET, said).await;
    let mut heard = played.hears().await;

    assert_eq!(heard.request.uri().path(), format!("/{GET}"));
    assert_eq!(heard.header("teamtalk-forwarded-by"), Some("front"));
    assert_eq!(heard.header("grpc-timeout"), Some("9S"));
    assert_eq!(heard.header("te"), Some("trailers"));
    assert_eq!(heard.header("grpc-accept-encoding"), Some("gzip,br"));
    assert_eq!(heard.header("traceparent"), Some(trace));
    let headers = format!("{:?}", heard.request.headers());
    assert!(!headers.contains("secret"), "{headers}");
    assert_eq!(heard.asked().await, [0, 0, 0, 0, 2, 8, 7]);
    let mut answer = heard.begins();
    answer
        .send_data(b"\0\0\0\0\x01x"[..].into(), false)
        .unwrap();
    end(&mut answer, &[("grpc-status", "0"), ("x-trailer", "kept")]);
    assert_eq!(call.next().await.unwrap(), b"\0\0\0\0\x01x"[..]);
    let status = call.end().await;
    assert_eq!(status.metadata().get("x-trailer").unwrap(), "kept");
}

#[tokio::test]
async fn a_call_is_passed_on_once() {
    let played = PlayedLeader::listen().await;
    let front = Front::before(&played.url).await;
    let again = Said::all(&[8, 7]).header("teamtalk-forwarded-by", "other");
    let refused = front.wire().await.ends(GET, again).await;
    assert_eq!(leader(&refused), Some(played.url.clone()));

    // Two that take each other for the leader.
    let (mut one, mut other) = (Front::before("").await, Front::before("").await);
    one.led_by(Some(&format!("http://{}", other.address)));
    other.led_by(Some(&format!("http://{}", one.address)));
    let refused = one.wire().await.ends(GET, Said::all(&[8, 7])).await;
    assert_eq!(leader(&refused), Some(format!("http://{}", one.address)));
}

/// Which methods of all go on to the leader: of these services, and no others.
const PASSED_ON: [&str; 2] = [
    "teamtalk.route.v1.PresenceService/",
    "teamtalk.route.v1.BroadcastService/",
];

/// Which each node answers for itself. There is no log in a test.
const OF_THE_NODE: [(&str, Code); 2] = [
    ("teamtalk.route.v1.ServerService/GetServerInfo", Code::Ok),
    (
        "teamtalk.admin.v1alpha1.AdminService/SetLogFilter",
        Code::NotFound,
    ),
];

/// Without a policy: nobody operates the leader by another node.
#[tokio::test]
async fn each_method_has_a_place() {
    let mut played = PlayedLeader::listen().await;
    let front = Front::before(&played.url).await;
    let (public, admin) = (front.wire().await, Wire::to(&front.admin_address).await);
    let sets = [
        route_proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let files = sets.map(|it| FileDescriptorSet::decode(it).unwrap().file);
    let mut seen = BTreeSet::new();
    for file in files.iter().flatten() {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            for method in &service.method {
                let method = format!("{name}/{}", method.name());
                let is_passed_on = PASSED_ON.iter().any(|it| method.starts_with(it));
                let wire = if name.contains("Admin") {
                    &admin
                } else {
                    &public
                };
                let status = wire.ends(&method, Said::all(b"").within(150)).await;

                let expected = match is_passed_on {
                    true => vec![format!("/{method}")],
                    false => Vec::new(),
                };
                assert_eq!(played.paths(), expected, "{method}: {status:?}");
                let of_the_node = OF_THE_NODE.iter().find(|(it, _)| *it == method);
                if let Some((_, code)) = of_the_node {
                    assert_eq!(status.code(), *code, "{method}: {status:?}");
                } else if name.starts_with("teamtalk.") && !is_passed_on {
                    assert_eq!(leader(&status), Some(played.url.clone()), "{method}");
                }
                seen.insert(name.clone());
            }
        }
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}
