//! What a role is limited to: kinds of events, ids of gateways, what readers see.

use route_proto::admin::v1alpha1::ExplainUserRequest;
use route_proto::admin::v1alpha1::admin_service_client::AdminServiceClient;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::event::Body;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::server_service_client::ServerServiceClient;
use route_proto::v1::{
    BatchGetUserStatusRequest, BatchPublishRequest, CallerRights, EventFilter, EventKind,
    ExplainPublishRequest, GetServerInfoRequest, GetUserStatusRequest, Kick,
    ListOnlineUsersRequest, PublishResponse, SubscribeRequest, UserStatus, WatchUserSetRequest,
    WatchUserSetStart, WatchUserStatusRequest, watch_user_set_request, watch_user_set_response,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::guarded::{BY_NAME, Guarded, entry, policy};
use crate::attach::reason;
use crate::played::{Played, hello, incarnation};
use crate::presence::Watching;
use crate::publish::{message, request};
use crate::site::soon;

pub(super) fn kick() -> Body {
    Body::Kick(Kick {
        user_id: 1,
        client_type: 1,
        reason: 1,
    })
}

pub(super) async fn publishes(
    channel: &Channel,
    id: &str,
    body: Body,
) -> Result<PublishResponse, Status> {
    let mut broadcast = BroadcastServiceClient::new(channel.clone());
    let published = broadcast.publish(request(id, body, None));
    Ok(soon("an answer", published).await?.into_inner())
}

/// He may not, and is told what he lacks.
pub(super) fn lacks(status: &Status, what: &str) {
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert_eq!(reason(status), "NOT_ALLOWED", "{status:?}");
    assert!(status.message().ends_with(what), "{status:?}");
}

#[tokio::test]
async fn who_may_publish_chat_may_not_kick() {
    let chat = entry(
        "urn:chat",
        "roles = [\"publisher\"]\npublish = [\"chat_message\"]",
    );
    let guarded = Guarded::start(&policy(&[chat])).await;
    let channel = guarded.channel_of("chat").await;
    let missing = "urn:chat does not have the right to publish kick";

    publishes(&channel, "", message(1, 2)).await.unwrap();
    let single = publishes(&channel, "", kick()).await.unwrap_err();
    lacks(&single, missing);
    let mut broadcast = BroadcastServiceClient::new(channel);
    let batch = broadcast.batch_publish(BatchPublishRequest {
        requests: vec![
            request("a", message(1, 2), None),
            request("b", kick(), None),
        ],
    });
    lacks(&soon("an answer", batch).await.unwrap_err(), missing);
    let explained = broadcast.explain_publish(ExplainPublishRequest {
        event: request("", kick(), None).event,
        ..ExplainPublishRequest::default()
    });
    lacks(&soon("an answer", explained).await.unwrap_err(), missing);
    guarded
        .site
        .shows("teamtalk_route_access_refusals_total{reason=\"not_allowed\"} 3")
        .await;
}

#[tokio::test]
async fn a_listener_hears_the_kinds_that_he_may_and_asks_for_no_other() {
    let some = entry(
        "urn:some",
        "roles = [\"listener\"]\nsubscribe = [\"chat_message\", \"kick\"]",
    );
    let guarded = Guarded::start(&policy(&[some])).await;
    let mut broadcast = BroadcastServiceClient::new(guarded.channel_of("some").await);
    let of = |kinds: &[EventKind]| SubscribeRequest {
        filters: vec![EventFilter {
            kinds: kinds.iter().map(|it| (*it).into()).collect(),
            ..EventFilter::default()
        }],
        ..SubscribeRequest::default()
    };

    let both = of(&[EventKind::ChatMessage, EventKind::Kick]);
    let subscribed = soon("a stream", broadcast.subscribe(both)).await;
    assert!(subscribed.is_ok(), "{subscribed:?}");
    let more = of(&[EventKind::ChatMessage, EventKind::GroupChange]);
    let refused = soon("an answer", broadcast.subscribe(more)).await;
    lacks(&refused.unwrap_err(), "to subscribe to group_change");
    let of_user = SubscribeRequest {
        filters: vec![EventFilter {
            user_ids: vec![1],
            ..EventFilter::default()
        }],
        ..SubscribeRequest::default()
    };
    for all in [SubscribeRequest::default(), of_user] {
        let refused = soon("an answer", broadcast.subscribe(all)).await;
        let missing = "p2p_command, read_receipt, group_change, file_notice, conversation_removal, \
                       signature_change, status_change, desktop_login_change, other_command";
        lacks(&refused.unwrap_err(), missing);
    }
}

#[tokio::test]
async fn a_gateway_has_the_ids_that_it_may_and_takes_no_other() {
    let guarded = Guarded::start(BY_NAME).await;
    let site = &guarded.site;
    let _own = Played::attach(site, "g-1").await;
    for id in ["h-1", "g-", "G-1"] {
        let attached = Played::attach_as(site, hello(id, incarnation(), 1)).await;
        let Err(refused) = attached else {
            panic!("{id} is in");
        };
        lacks(&refused, &format!("to attach as {id:?}"));
    }
}

/// Everywhere that sessions are shown.
#[tokio::test]
async fn a_reader_is_not_told_from_where_users_are_connected_and_an_admin_is() {
    let guarded = Guarded::start(BY_NAME).await;
    let mut gateway = Played::attach(&guarded.site, "g-1").await;
    gateway.open_with(1, &[7]).await;
    for (who, sees) in [("reader", false), ("admin", true)] {
        for (way, user) in everywhere(guarded.channel_of(who).await).await {
            let [session] = &user.sessions[..] else {
                panic!("{way}: {user:?}");
            };
            let shown = (!session.link.is_empty(), !session.peer.is_empty());
            assert_eq!(shown, (sees, sees), "{way} of {who}: {session:?}");
        }
    }
    let admin = guarded.ca.client("urn:admin");
    let tls = super::guarded::shows(&guarded.ca, &admin);
    let address = &guarded.site.admin_address;
    let channel = guarded.site.channel_to(address, Some(tls)).await;
    let asked = ExplainUserRequest { user_id: 7 };
    let explained = AdminServiceClient::new(channel).explain_user(asked).await;
    assert!(explained.is_ok(), "{explained:?}");
}

/// Else a publisher could find out who is logged in where, hidden ones too.
#[tokio::test]
async fn a_publisher_is_told_how_many_would_get_it_and_not_who_is_there() {
    let guarded = Guarded::start(BY_NAME).await;
    let mut gateway = Played::attach(&guarded.site, "g-1").await;
    gateway.open_with(1, &[7]).await;
    let mut broadcast = BroadcastServiceClient::new(guarded.channel_of("publisher").await);

    let explained = broadcast.explain_publish(ExplainPublishRequest {
        event: request("", message(1, 7), None).event,
        ..ExplainPublishRequest::default()
    });

    let explained = soon("an answer", explained).await.unwrap().into_inner();
    let [target] = &explained.targets[..] else {
        panic!("{explained:?}");
    };
    assert_eq!((target.user_count, target.user_ids.len()), (1, 0));
    assert_eq!(target.msg_server, "", "it is an address");
}

/// User 7, as each call shows it.
async fn everywhere(channel: Channel) -> Vec<(&'static str, UserStatus)> {
    let mut presence = PresenceServiceClient::new(channel);
    let (user_ids, include_sessions) = (vec![7], true);
    let one = presence.get_user_status(GetUserStatusRequest {
        user_id: 7,
        include_sessions,
        ..GetUserStatusRequest::default()
    });
    let one = soon("an answer", one).await.unwrap().into_inner().user;
    let some = presence.batch_get_user_status(BatchGetUserStatusRequest {
        user_ids: user_ids.clone(),
        include_sessions,
        ..BatchGetUserStatusRequest::default()
    });
    let some = soon("an answer", some).await.unwrap().into_inner().users;
    let page = presence.list_online_users(ListOnlineUsersRequest {
        include_sessions,
        ..ListOnlineUsersRequest::default()
    });
    let page = soon("an answer", page).await.unwrap().into_inner().users;
    let watching = WatchUserStatusRequest {
        user_ids: user_ids.clone(),
        include_sessions,
        ..WatchUserStatusRequest::default()
    };
    let watched = Watching::by(presence.clone(), watching).await.snapshot;
    let start = WatchUserSetRequest {
        message: Some(watch_user_set_request::Message::Start(WatchUserSetStart {
            user_ids,
            include_sessions,
            ..WatchUserSetStart::default()
        })),
    };
    let requests = tokio_stream::iter([start]);
    let set = soon("a stream", presence.watch_user_set(requests)).await;
    let mut set = set.unwrap().into_inner();
    let of_set = loop {
        let next = soon("a message", set.message()).await.unwrap().unwrap();
        if let Some(watch_user_set_response::Message::Snapshot(part)) = next.message {
            break part.users;
        }
    };
    let ways = [
        ("one", one.into_iter().collect()),
        ("some", some),
        ("page", page),
        ("watch", watched),
        ("set", of_set),
    ];
    let all = ways.into_iter().map(|(way, users): (_, Vec<_>)| {
        let user = users.into_iter().next();
        (way, user.unwrap_or_else(|| panic!("{way}: nobody")))
    });
    all.collect()
}

#[tokio::test]
async fn a_caller_is_told_what_he_may_do() {
    let guarded = Guarded::start(BY_NAME).await;
    for (who, presence, subscribe, publish) in [
        ("reader", true, false, false),
        ("listener", false, true, false),
        ("publisher", false, false, true),
        ("gateway", false, false, false),
        ("admin", true, false, false),
    ] {
        let mut info = ServerServiceClient::new(guarded.channel_of(who).await);
        let told = soon("an answer", info.get_server_info(GetServerInfoRequest {})).await;
        let expected = CallerRights {
            presence,
            subscribe,
            publish,
        };
        assert_eq!(told.unwrap().into_inner().rights, Some(expected), "{who}");
    }
}

/// Else one could find out what another one publishes, or keep him from it.
#[tokio::test]
async fn request_ids_of_two_identities_do_not_meet() {
    let publishes_all = "roles = [\"publisher\"]\npublish = [\"*\"]";
    let both = ["urn:a", "urn:b"].map(|it| entry(it, publishes_all));
    let guarded = Guarded::start(&policy(&both)).await;
    let (a, b) = (guarded.channel_of("a").await, guarded.channel_of("b").await);

    publishes(&a, "id", message(1, 2)).await.unwrap();
    let of_other = publishes(&b, "id", message(3, 4)).await.unwrap();
    assert!(!of_other.duplicate, "{of_other:?}");
    let again = publishes(&guarded.channel_of("a").await, "id", message(1, 2)).await;
    assert!(again.unwrap().duplicate, "from another connection");
    let reused = publishes(&a, "id", message(3, 4)).await.unwrap_err();
    assert_eq!(reason(&reused), "REQUEST_ID_REUSED");
}
