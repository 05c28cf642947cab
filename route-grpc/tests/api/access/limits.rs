//! How much one identity may do, in all of its connections together.

use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{
    BatchGetUserStatusRequest, BatchPublishRequest, GetUserStatusRequest, ListOnlineUsersRequest,
    WatchUserStatusRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::guarded::{Guarded, entry, policy};
use super::kinds::publishes;
use crate::attach::reason;
use crate::played::Played;
use crate::publish::{message, request};
use crate::site::soon;

/// A node where `a` has limits and `b` has none, and two connections of `a`.
async fn limited(limits: &str) -> (Guarded, [Channel; 2]) {
    let rights = "roles = [\"reader\", \"publisher\"]\npublish = [\"*\"]";
    let gateway = "roles = [\"gateway\"]\ngateway_ids = [\"*\"]";
    let guarded = Guarded::start(&policy(&[
        entry("urn:a", &format!("{rights}\nlimits = {{ {limits} }}")),
        entry("urn:b", rights),
        entry("urn:gateway", gateway),
    ]))
    .await;
    let both = [guarded.channel_of("a").await, guarded.channel_of("a").await];
    (guarded, both)
}

/// It has had its share: this reason, and when to come back.
fn comes_back(guarded: &Guarded, status: &Status, (expected, counted): (&str, &str)) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(reason(status), expected, "{status:?}");
    let told = status.get_details_retry_info();
    assert!(
        told.is_some_and(|it| it.retry_delay.is_some()),
        "{status:?}"
    );
    assert_eq!(guarded.refusals(counted), 1, "{status:?}");
}

/// It asks for more than it ever may.
fn is_too_much(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(reason(status), "TOO_LARGE", "{status:?}");
    assert!(status.get_details_retry_info().is_none(), "{status:?}");
}

async fn asks_of(channel: &Channel, user_ids: Vec<u32>) -> Result<(), Status> {
    let mut presence = PresenceServiceClient::new(channel.clone());
    let asked = presence.batch_get_user_status(BatchGetUserStatusRequest {
        user_ids,
        ..BatchGetUserStatusRequest::default()
    });
    soon("an answer", asked).await.map(drop)
}

#[tokio::test]
async fn calls_in_a_second_have_a_limit() {
    let (guarded, [one, other]) = limited("calls_per_second = 2").await;
    // One more has room each half second, and a call may take long on a busy machine.
    let refused = async {
        loop {
            asks_of(&one, vec![1]).await?;
            asks_of(&other, vec![1]).await?;
        }
    };
    let refused: Result<(), Status> = soon("a refusal", refused).await;
    let refused = refused.unwrap_err();
    comes_back(&guarded, &refused, ("RATE_LIMIT", "rate"));

    let b = guarded.channel_of("b").await;
    for _ in 0..9 {
        asks_of(&b, vec![1]).await.unwrap();
    }
    let again = async { while asks_of(&other, vec![1]).await.is_err() {} };
    soon("the next second", again).await;
}

/// Whether they are asked for, or told.
#[tokio::test]
async fn user_ids_in_a_second_have_a_limit() {
    let (guarded, [one, other]) = limited("ids_per_second = 10").await;
    let mut gateway = Played::attach(&guarded.site, "g").await;
    gateway.open_with(1, &[1, 2, 3, 4, 5, 6]).await;
    asks_of(&one, (1..=4).collect()).await.unwrap();
    let mut presence = PresenceServiceClient::new(other.clone());
    let page = ListOnlineUsersRequest::default();
    soon("a page", presence.list_online_users(page))
        .await
        .unwrap();

    let refused = asks_of(&one, (1..=9).collect()).await.unwrap_err();
    comes_back(&guarded, &refused, ("RATE_LIMIT", "rate"));
    is_too_much(&asks_of(&other, (1..=11).collect()).await.unwrap_err());
    let watched = presence.watch_user_status(WatchUserStatusRequest {
        user_ids: (1..=11).collect(),
        ..WatchUserStatusRequest::default()
    });
    is_too_much(&soon("an answer", watched).await.unwrap_err());
}

#[tokio::test]
async fn events_that_are_published_in_a_second_have_a_limit() {
    let (guarded, [one, other]) = limited("published_per_second = 3").await;
    let batch = async |count| {
        let mut broadcast = BroadcastServiceClient::new(other.clone());
        let requests = (0..count).map(|_| request("", message(1, 2), None));
        let requests = requests.collect();
        let published = broadcast.batch_publish(BatchPublishRequest { requests });
        soon("an answer", published).await.map(drop)
    };
    let refused = async {
        loop {
            publishes(&one, "", message(1, 2)).await?;
            batch(2).await?;
        }
    };
    let refused: Result<(), Status> = soon("a refusal", refused).await;
    let refused = refused.unwrap_err();
    comes_back(&guarded, &refused, ("RATE_LIMIT", "rate"));
    is_too_much(&batch(4).await.unwrap_err());
}

#[tokio::test]
async fn open_streams_have_a_limit_and_one_that_ends_makes_room() {
    let (guarded, [one, other]) = limited("streams = 2").await;
    let opens = async |channel: &Channel| {
        let mut presence = PresenceServiceClient::new(channel.clone());
        let asked = presence.watch_user_status(WatchUserStatusRequest {
            user_ids: vec![7],
            ..WatchUserStatusRequest::default()
        });
        soon("an answer", asked).await
    };
    let first = opens(&one).await.unwrap();
    let _second = opens(&other).await.unwrap();

    let refused = opens(&one).await.unwrap_err();
    comes_back(&guarded, &refused, ("STREAM_LIMIT", "streams"));
    let mut presence = PresenceServiceClient::new(other.clone());
    let unary = presence.get_user_status(GetUserStatusRequest {
        user_id: 7,
        ..GetUserStatusRequest::default()
    });
    soon("an answer", unary).await.unwrap();
    drop(first);
    let again = async { while opens(&one).await.is_err() {} };
    soon("room", again).await;
}
