//! Streams that are open while files are replaced, and while what their callers have shown expires.

use std::time::Duration;

use prost::Message;
use route_grpc::settings::NodeSettings;
use route_proto::attach::v1::attach_service_client::AttachServiceClient;
use route_proto::attach::v1::{AttachRequest, AttachResponse, attach_request};
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{
    EventFilter, EventKind, SubscribeRequest, SubscribeResponse, WatchUserStatusRequest,
    WatchUserStatusResponse,
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::credentials::{GET, asks};
use super::guarded::{BY_NAME, Guarded, entry, policy};
use super::kinds::{lacks, publishes};
use super::made::{Authority, TokenIssuer, now};
use crate::attach::reason;
use crate::broadcast::event;
use crate::played::{hello, incarnation};
use crate::publish::message;
use crate::site::soon;
use crate::wire::{Said, Wire};

const ATTACH: &str = "teamtalk.attach.v1.AttachService/Attach";
const WATCH_SET: &str = "teamtalk.route.v1.PresenceService/WatchUserSet";
const WATCH: &str = "teamtalk.route.v1.PresenceService/WatchUserStatus";

/// A stream of chat messages that has begun.
async fn hears(channel: Channel, kinds: &[EventKind]) -> Streaming<SubscribeResponse> {
    let mut broadcast = BroadcastServiceClient::new(channel);
    let asked = SubscribeRequest {
        filters: vec![EventFilter {
            kinds: kinds.iter().map(|it| (*it).into()).collect(),
            ..EventFilter::default()
        }],
        ..SubscribeRequest::default()
    };
    let stream = soon("a stream", broadcast.subscribe(asked)).await;
    let mut stream = stream.unwrap().into_inner();
    soon("a message", stream.message()).await.unwrap();
    stream
}

async fn watches(channel: Channel) -> Streaming<WatchUserStatusResponse> {
    let mut presence = PresenceServiceClient::new(channel);
    let asked = WatchUserStatusRequest {
        user_ids: vec![7],
        ..WatchUserStatusRequest::default()
    };
    let stream = soon("a stream", presence.watch_user_status(asked)).await;
    let mut stream = stream.unwrap().into_inner();
    soon("a message", stream.message()).await.unwrap();
    stream
}

/// A stream of a gateway, and how it says more.
pub(super) async fn attaches(
    channel: Channel,
    id: Option<&str>,
) -> (mpsc::Sender<AttachRequest>, Streaming<AttachResponse>) {
    let (requests, receiver) = mpsc::channel(4);
    if let Some(id) = id {
        requests.send(says_hello(id)).await.unwrap();
    }
    let attached = AttachServiceClient::new(channel)
        .attach(ReceiverStream::new(receiver))
        .await;
    let mut responses = attached.unwrap().into_inner();
    if id.is_some() {
        soon("a welcome", responses.message()).await.unwrap();
    }
    (requests, responses)
}

fn says_hello(id: &str) -> AttachRequest {
    AttachRequest {
        frame: Some(attach_request::Frame::Hello(hello(id, incarnation(), 1))),
    }
}

/// A short message, as it stands in a request.
fn framed(message: &impl Message) -> Vec<u8> {
    let mut framed = vec![0, 0, 0, 0, u8::try_from(message.encoded_len()).unwrap()];
    message.encode(&mut framed).unwrap();
    framed
}

/// How it ends, whatever comes before.
async fn end<T>(stream: &mut Streaming<T>) -> Status {
    let end = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ends without an error"),
                Err(status) => return status,
            }
        }
    };
    soon("the end", end).await
}

/// What is published comes there.
async fn goes_on(stream: &mut Streaming<SubscribeResponse>, publisher: &Channel) {
    publishes(publisher, "", message(1, 2)).await.unwrap();
    event(stream).await;
}

const PUBLISHER: &str = "roles = [\"publisher\"]\npublish = [\"*\"]";

#[tokio::test]
async fn streams_end_when_the_policy_takes_what_they_need_and_others_go_on() {
    let listens = |kinds: &str| format!("roles = [\"listener\"]\nsubscribe = [{kinds}]");
    let attach = |ids: &str| format!("roles = [\"gateway\"]\ngateway_ids = [{ids}]");
    let of = |reader: &str, kinds: &str, ids: &str| {
        policy(&[
            entry("urn:reader", &format!("roles = [\"{reader}\"]")),
            entry("urn:some", &listens(kinds)),
            entry("urn:gateway", &attach(ids)),
            entry("urn:listener", &listens("\"chat_message\"")),
            entry("urn:publisher", PUBLISHER),
        ])
    };
    let before = of(
        "reader",
        "\"chat_message\", \"kick\"",
        "\"g\", \"h\", \"i\"",
    );
    let guarded = Guarded::start(&before).await;
    let publisher = guarded.channel_of("publisher").await;
    let gateway = guarded.channel_of("gateway").await;
    let mut watch = watches(guarded.channel_of("reader").await).await;
    let both = [EventKind::ChatMessage, EventKind::Kick];
    let mut some = hears(guarded.channel_of("some").await, &both).await;
    let mut chat = hears(guarded.channel_of("some").await, &both[..1]).await;
    let mut other = hears(guarded.channel_of("listener").await, &both[..1]).await;
    let (_g, mut g) = attaches(gateway.clone(), Some("g")).await;
    // These two have not said yet what they want.
    let set = guarded.wire_of("reader").await;
    let mut set = set.call(WATCH_SET, Said::nothing()).await;
    let (h_says, mut h) = attaches(gateway.clone(), None).await;
    let (_i, mut i) = attaches(gateway, Some("i")).await;

    let after = of("node", "\"chat_message\"", "\"i\"");
    guarded
        .replace("policy", "taken", &[("policy", &after)])
        .await;

    lacks(&end(&mut watch).await, "the role reader");
    lacks(&end(&mut some).await, "to subscribe to kick");
    lacks(&end(&mut g).await, "to attach as \"g\"");
    guarded
        .site
        .shows("teamtalk_route_gateways_detached 1")
        .await;
    h_says.send(says_hello("h")).await.unwrap();
    lacks(&end(&mut h).await, "to attach as \"h\"");
    lacks(&set.end().await, "the role reader");
    goes_on(&mut chat, &publisher).await;
    event(&mut other).await;
    let still = tokio::time::timeout(Duration::from_millis(50), end(&mut i)).await;
    assert!(still.is_err(), "a gateway goes on: {still:?}");
}

/// Its requests are read though its answers are not.
#[tokio::test]
async fn a_gateway_that_reads_nothing_is_detached_when_it_loses_its_right() {
    let guarded = Guarded::start(BY_NAME).await;
    let pair = guarded.ca.client("urn:gateway");
    let stream = guarded.shake(guarded.site.address, Some(&pair)).await;
    let wire = Wire::deaf(stream.unwrap()).await;
    let hello = framed(&says_hello("g-1"));
    let _call = wire.call(ATTACH, Said::goes_on(&hello)).await;
    let attached = "teamtalk_route_gateways_attached 1";
    guarded.site.shows(attached).await;

    let none = "version = 1\nallow = []\n";
    guarded
        .replace("policy", "taken", &[("policy", none)])
        .await;

    guarded
        .site
        .shows("teamtalk_route_gateways_detached 1")
        .await;
    assert_eq!(guarded.refusals("not_allowed"), 1, "it is counted once");
}

#[tokio::test]
async fn streams_end_when_what_was_shown_expires() {
    let exact = |it: &mut NodeSettings| it.security.token_leeway = Duration::ZERO;
    let guarded = Guarded::with(BY_NAME, exact).await;
    let watches = Said::all(
        &WatchUserStatusRequest {
            user_ids: vec![7],
            ..WatchUserStatusRequest::default()
        }
        .encode_to_vec(),
    );
    let token = json!({ "exp": now() + 3 });
    let token = guarded.issuer.with("reader", &token);
    let anybody = guarded.wire(None).await;
    let mut by_token = anybody.call(WATCH, watches.token(&token)).await;
    by_token.next().await.unwrap();
    let pair = guarded.ca.client_of("urn:reader", -60, 3);
    let wire = guarded.wire(Some(&pair)).await;
    let mut by_certificate = super::streams::watches(guarded.channel(&pair).await).await;

    let ended = by_token.end().await;
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    assert_eq!(reason(&ended), "CREDENTIAL_INVALID");
    assert_eq!(guarded.refusals("expired"), 1);
    let ended = end(&mut by_certificate).await;
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    assert_eq!(reason(&ended), "CREDENTIAL_INVALID");
    let ended = wire.ends(GET, asks()).await;
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    assert_eq!(guarded.refusals("certificate_expired"), 2);
    let good = guarded.issuer.token("reader");
    let status = anybody.ends(GET, asks().token(&good)).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}

/// As when it was stolen: until then a token is good until it expires.
#[tokio::test]
async fn streams_end_when_the_key_of_their_token_is_gone() {
    let guarded = Guarded::start(BY_NAME).await;
    let chat = [EventKind::ChatMessage];
    let mut listener = hears(guarded.channel_of("listener").await, &chat).await;
    let token = guarded.issuer.token("reader");
    let wire = guarded.wire(None).await;
    let asked = WatchUserStatusRequest {
        user_ids: vec![7],
        ..WatchUserStatusRequest::default()
    };
    let said = Said::all(&asked.encode_to_vec()).token(&token);
    let mut watch = wire.call(WATCH, said).await;
    watch.next().await.unwrap();

    let others = TokenIssuer::new().keys();
    guarded
        .replace("token_keys", "taken", &[("keys", &others)])
        .await;

    let ended = watch.end().await;
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    assert_eq!(reason(&ended), "CREDENTIAL_INVALID");
    assert_eq!(guarded.refusals("signature"), 1);
    let status = wire.ends(GET, asks().token(&token)).await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    goes_on(&mut listener, &guarded.channel_of("publisher").await).await;
}

#[tokio::test]
async fn a_ca_is_rotated_by_a_bundle_and_the_old_one_is_gone_afterwards() {
    let guarded = Guarded::start(BY_NAME).await;
    let new = Authority::new();
    let new_listener = new.client("urn:listener");
    let old_listener = guarded.ca.client("urn:listener");
    let chat = [EventKind::ChatMessage];
    let mut old = hears(guarded.channel_of("listener").await, &chat).await;
    let wire = guarded.wire(Some(&old_listener)).await;

    let both = format!("{}{}", guarded.ca.pem, new.pem);
    guarded.replace("tls", "taken", &[("ca", &both)]).await;

    let publisher = guarded.channel(&new.client("urn:publisher")).await;
    let mut of_new = hears(guarded.channel(&new_listener).await, &chat).await;
    goes_on(&mut old, &publisher).await;
    event(&mut of_new).await;

    guarded.replace("tls", "taken", &[("ca", &new.pem)]).await;

    let ended = end(&mut old).await;
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    assert_eq!(reason(&ended), "CREDENTIAL_INVALID");
    let ended = wire.ends(GET, asks()).await;
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    assert_eq!(guarded.refusals("certificate"), 2);
    goes_on(&mut of_new, &publisher).await;
    let _ = guarded
        .shake(guarded.site.address, Some(&old_listener))
        .await;
    let failed = "teamtalk_route_tls_failed_handshakes_total{reason=\"unknown_root\"} 1";
    guarded.site.shows(failed).await;
}

/// The certificate and its key are replaced one after the other, or one of them is wrong.
#[tokio::test]
async fn files_of_no_use_change_nothing_and_a_metric_says_so() {
    let guarded = Guarded::start(BY_NAME).await;
    let chat = [EventKind::ChatMessage];
    let mut listener = hears(guarded.channel_of("listener").await, &chat).await;
    let stale =
        |what: &str| guarded.metric(&format!("teamtalk_route_files_stale{{files=\"{what}\"}}"));
    let (next, keys) = (guarded.ca.node(), TokenIssuer::new().keys());
    let no_keys = keys.replace("OKP", "oct");
    for (what, broken, mended) in [
        (
            "policy",
            ("policy", "version = 1\nallow = 7\n"),
            ("policy", BY_NAME),
        ),
        (
            "tls",
            ("tls.crt", &*next.certificate),
            ("tls.key", &*next.key),
        ),
        ("token_keys", ("keys", &*no_keys), ("keys", &*keys)),
    ] {
        assert_eq!(stale(what), 0);
        guarded.replace(what, "failed", &[broken]).await;
        assert_eq!(stale(what), 1, "{what}");
        let publisher = guarded.channel_of("publisher").await;
        goes_on(&mut listener, &publisher).await;
        let taken = guarded.reloads(what, "taken");
        let token = guarded.issuer.token("reader");
        let status = guarded
            .wire(None)
            .await
            .ends(GET, asks().token(&token))
            .await;
        assert_eq!(status.code(), Code::Ok, "{what}: {status:?}");

        guarded.replace(what, "taken", &[mended]).await;
        assert_eq!(stale(what), 0, "{what}");
        assert_eq!(guarded.reloads(what, "taken"), taken + 1, "{what}");
    }
    goes_on(&mut listener, &guarded.channel_of("publisher").await).await;
}
