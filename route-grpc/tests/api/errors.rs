//! Each error that the comments of the .proto files list for a method of the public API comes as they say. The comments
//! are the table: a method that is new, or an error that is, fails here until it can be provoked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prost::Message;
use prost_types::FileDescriptorSet;
use route_proto::admin::v1alpha1::{CloseStreamRequest, ListStreamsRequest};
use route_proto::v1::event::Body as Typed;
use route_proto::v1::watch_user_set_request::Message as Says;
use route_proto::v1::{
    BatchGetUserStatusRequest, BatchPublishRequest, CountOnlineUsersRequest, ErrorReason, Event,
    ExplainPublishRequest, GapPolicy, GetServerInfoRequest, GetUserStatusRequest, Kick,
    ListOnlineUsersRequest, PublishRequest, SubscribeRequest, WatchUserSetRequest,
    WatchUserSetStart, WatchUserStatusRequest,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::access::guarded::{BY_NAME, Guarded};
use crate::attach::reason;
use crate::broadcast::subscribe;
use crate::played::{Played, chat};
use crate::presence::Watching;
use crate::reads::after;
use crate::site::{Site, soon};
use crate::wire::{Said, Wire};

const GET: &str = "teamtalk.route.v1.PresenceService/GetUserStatus";

/// The public API's, and the service whose errors each method of each of its services may end with.
const PUBLIC: (&str, &str) = ("teamtalk.route.v1", "PresenceService");

/// These take 10 s, so that tests of them move the clock.
const SLOW: [ErrorReason; 2] = [ErrorReason::RequestTooSlow, ErrorReason::SlowConsumer];

/// With these, the same request may succeed later, and RetryInfo says when.
const LATER: [ErrorReason; 7] = [
    ErrorReason::NotSynced,
    ErrorReason::Draining,
    ErrorReason::ConnectionLimit,
    ErrorReason::Behind,
    ErrorReason::StreamLimit,
    ErrorReason::RateLimit,
    ErrorReason::SlowConsumer,
];

/// Longer than any service takes.
const TOO_LONG: usize = 5 << 20;

/// More than the log of such a site holds.
const LOGGED: usize = 4;

#[tokio::test]
async fn each_documented_error_comes_as_it_is_documented() {
    for (method, code, documented) in documented(PUBLIC) {
        if !SLOW.contains(&documented) {
            let refused = provoked(&method, documented).await;
            check(&method, &code, documented, &refused);
        }
    }
}

/// Paused time goes on when everybody waits.
#[tokio::test(start_paused = true)]
async fn each_documented_error_of_slow_clients_comes_as_it_is_documented() {
    for (method, code, documented) in documented(PUBLIC) {
        if documented == ErrorReason::RequestTooSlow {
            let site = patient().await;
            let wire = Wire::open(&site).await;
            for said in [Said::nothing(), Said::begun(10)] {
                let refused = wire.ends(&method, said).await;
                check(&method, &code, documented, &refused);
            }
        } else if documented == ErrorReason::SlowConsumer {
            let refused = of_a_slow_consumer(&method).await;
            check(&method, &code, documented, &refused);
        }
    }
}

/// Of three snapshots of all users that one connection asks for; the first two places are taken by one with sessions.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_slow_to_read_a_snapshot_gets_no_other() {
    const METHOD: &str = "teamtalk.route.v1.PresenceService/WatchUserStatus";
    let (site, _a) = crowd().await;
    let everybody = |include_sessions| WatchUserStatusRequest {
        all_users: true,
        include_sessions,
        ..WatchUserStatusRequest::default()
    };
    let wire = Wire::open(&site).await;
    let with_sessions = Said::all(&everybody(true).encode_to_vec());
    let mut slow = wire.call(METHOD, with_sessions).await;
    slow.begun().await;
    let reads = tokio::spawn(async move {
        loop {
            let mut read = 0;
            while read < 256 << 10 {
                read += slow.next().await.expect("there is more").len();
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });

    let of_another = Said::all(&everybody(false).encode_to_vec());
    let mut refused = wire.call(METHOD, of_another).await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    let refused = refused.end().await;

    let (code, expected) = ("RESOURCE_EXHAUSTED", ErrorReason::RateLimit);
    check(METHOD, code, expected, &refused);
    assert!(!reads.is_finished(), "the first one goes on");
    reads.abort();
}

/// Each connection has begun less than it may.
#[tokio::test]
async fn what_all_connections_have_begun_has_a_limit_too() {
    let site = Site::with(|it| it.unfinished_bytes = 8 << 20).await;
    let mut begun = Vec::new();
    for _ in 0..2 {
        let wire = Wire::open(&site).await;
        let call = wire.call(GET, Said::begun(4 << 20)).await;
        begun.push((wire, call));
    }
    let wire = Wire::open(&site).await;

    // The others may be on their way yet.
    let refused = async {
        loop {
            let refused = wire.ends(GET, Said::begun(1 << 20).within(50)).await;
            if refused.code() != Code::DeadlineExceeded {
                return refused;
            }
        }
    };
    let refused = soon("a refusal", refused).await;

    check(GET, "RESOURCE_EXHAUSTED", ErrorReason::RateLimit, &refused);
    assert!(
        refused.message().contains("--unfinished-bytes"),
        "{refused}"
    );
    drop(begun);
    let room = async {
        let again = || Said::begun(1 << 20).within(50);
        while wire.ends(GET, again()).await.code() != Code::DeadlineExceeded {}
    };
    soon("room", room).await;
}

pub(crate) fn check(method: &str, code: &str, documented: ErrorReason, refused: &Status) {
    let name = format!("{:?}", refused.code());
    let is_code = code.replace('_', "").eq_ignore_ascii_case(&name);
    assert!(is_code, "{method}, {code} {documented:?}: {refused:?}");
    let told = format!("ERROR_REASON_{}", reason(refused));
    assert_eq!(told, documented.as_str_name(), "{method}: {refused:?}");
    let says_when = refused.get_details_retry_info().is_some();
    assert_eq!(says_when, LATER.contains(&documented), "{told}");
}

/// How the method ends with this.
async fn provoked(method: &str, documented: ErrorReason) -> Status {
    use ErrorReason as R;
    match documented {
        // No field has such a type.
        R::FieldInvalid => at(&Site::start().await, method, Said::all(b"\x07")).await,
        R::TooLarge => at(&Site::start().await, method, Said::begun(TOO_LONG)).await,
        R::DeadlinePassed => {
            let said = Said::begun(10).within(50);
            at(&Site::start().await, method, said).await
        }
        R::RateLimit => of_too_much_begun(method).await,
        R::NotSynced => {
            let site = Site::with(|it| {
                it.cold_start_wait = Duration::from_secs(3600);
                it.call_wait = Duration::from_millis(10);
            });
            at(&site.await, method, asks(method, "")).await
        }
        R::Draining => of_a_node_that_drains(method).await,
        R::Behind => {
            let site = Site::with(|it| it.call_wait = Duration::from_millis(10)).await;
            let next = after(&position(&site).await);
            at(&site, method, asks(method, &next)).await
        }
        R::EpochChanged => {
            let foreign = position(&Site::start().await).await;
            at(&Site::start().await, method, asks(method, &foreign)).await
        }
        R::PositionCompacted => of_a_position_that_is_not_held(method).await,
        R::FilterChanged => {
            let site = Site::start().await;
            let of_others = Watching::users(&site, &[9]).await.position;
            at(&site, method, asks(method, &of_others)).await
        }
        R::StreamLimit => {
            let site = Site::with(|it| it.max_streams = 1).await;
            let _only = subscribe(&site, SubscribeRequest::default()).await;
            at(&site, method, asks(method, "")).await
        }
        R::NotServed => {
            let said = asks(method, "").packed("deflate");
            at(&Site::start().await, method, said).await
        }
        R::ConnectionLimit => {
            let site = Site::with(|it| it.max_grpc_connections = 1).await;
            let _only = site.channel().await;
            at(&site, method, asks(method, "")).await
        }
        R::StreamClosed => of_a_stream_that_is_closed(method).await,
        R::CredentialMissing | R::CredentialInvalid | R::NotAllowed => {
            let guarded = Guarded::start(BY_NAME).await;
            let (wire, said) = of_somebody(&guarded, documented, asks(method, "")).await;
            wire.ends(method, said).await
        }
        R::RequestIdReused => of_an_id_that_is_used(method).await,
        other => panic!("{method} may end with {other:?}: no test provokes it"),
    }
}

/// Who is refused by this, and what he says instead.
pub(crate) async fn of_somebody(
    guarded: &Guarded,
    refused: ErrorReason,
    said: Said,
) -> (Wire, Said) {
    match refused {
        ErrorReason::CredentialMissing => (guarded.wire(None).await, said),
        ErrorReason::CredentialInvalid => (guarded.wire(None).await, said.token("x")),
        _ => (guarded.wire_of("nobody").await, said),
    }
}

async fn at(site: &Site, method: &str, said: Said) -> Status {
    Wire::open(site).await.ends(method, said).await
}

async fn of_an_id_that_is_used(method: &str) -> Status {
    let site = Site::start().await;
    let other = Kick {
        user_id: 8,
        ..kick()
    };
    let mut broadcast = site.broadcast().await;
    let first = broadcast.publish(publishes(other));
    soon("an answer", first).await.unwrap();
    at(&site, method, asks(method, "")).await
}

async fn of_a_position_that_is_not_held(method: &str) -> Status {
    let site = Site::with(|it| it.log_events = LOGGED).await;
    let old = position(&site).await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[]).await;
    for _ in 0..=LOGGED {
        a.route(1, chat(1, 1, b"x")).await;
    }
    a.confirmed(1).await;
    at(&site, method, asks(method, &old)).await
}

async fn of_too_much_begun(method: &str) -> Status {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(wire.call(GET, Said::begun(4 << 20)).await);
    }
    wire.ends(method, Said::begun(10)).await
}

async fn of_a_node_that_drains(method: &str) -> Status {
    // A stream that may go on keeps it from ending.
    let site = Site::with(|it| it.drain_window = Duration::from_secs(1 << 30)).await;
    let _goes_on = subscribe(&site, SubscribeRequest::default()).await;
    let wire = Wire::open(&site).await;
    site.shutdown.begin();
    wire.ends(method, asks(method, "")).await
}

async fn of_a_stream_that_is_closed(method: &str) -> Status {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    let mut stream = wire.call(method, asks(method, "")).await;
    soon("something", stream.next()).await.unwrap();
    let mut admin = site.admin().await;
    let open = admin.list_streams(ListStreamsRequest::default());
    let open = soon("streams", open).await.unwrap().into_inner().streams;
    let closes = CloseStreamRequest {
        stream: open[0].stream.clone(),
        reason: "test".to_owned(),
    };
    let closed = admin.close_stream(closes);
    soon("an answer", closed).await.unwrap();
    stream.end().await
}

/// Reads nothing of a snapshot of all users for longer than it may.
async fn of_a_slow_consumer(method: &str) -> Status {
    let (site, _a) = crowd().await;
    assert!(method.ends_with("/WatchUserStatus"), "{method}");
    let everybody = WatchUserStatusRequest {
        all_users: true,
        ..WatchUserStatusRequest::default()
    };
    let wire = Wire::open(&site).await;
    let said = Said::all(&everybody.encode_to_vec());
    let mut stream = wire.call(method, said).await;
    stream.begun().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    stream.end().await
}

/// A node, and a MsgServer with more users than fit into a connection's windows.
async fn crowd() -> (Site, Played) {
    let site = patient().await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &(1..=100_000).collect::<Vec<_>>()).await;
    (site, a)
}

/// A node that does not ask peers, while the clock is moved, whether they are there.
async fn patient() -> Site {
    Site::with(|it| it.grpc_keepalive_interval = Duration::from_secs(3600)).await
}

/// Where a node's log stands.
async fn position(site: &Site) -> String {
    let mut presence = site.presence().await;
    let asked = presence.count_online_users(CountOnlineUsersRequest::default());
    let answer = soon("an answer", asked).await.unwrap();
    answer.into_inner().position
}

/// A request of this method that is all right, at this position, if it takes one: the answer has to be as new, or the stream
/// goes on there without a gap.
fn asks(method: &str, position: &str) -> Said {
    let (position, user_ids) = (position.to_owned(), vec![7]);
    let on_gap = GapPolicy::Fail.into();
    let (_, short) = method.rsplit_once('/').unwrap();
    Said::all(&match short {
        "GetUserStatus" => GetUserStatusRequest {
            user_id: 7,
            at_least_position: position,
            ..GetUserStatusRequest::default()
        }
        .encode_to_vec(),
        "BatchGetUserStatus" => BatchGetUserStatusRequest {
            user_ids,
            at_least_position: position,
            ..BatchGetUserStatusRequest::default()
        }
        .encode_to_vec(),
        "ListOnlineUsers" => ListOnlineUsersRequest {
            at_least_position: position,
            ..ListOnlineUsersRequest::default()
        }
        .encode_to_vec(),
        "CountOnlineUsers" => CountOnlineUsersRequest {
            at_least_position: position,
        }
        .encode_to_vec(),
        "WatchUserStatus" => WatchUserStatusRequest {
            user_ids,
            resume_position: position,
            on_gap,
            ..WatchUserStatusRequest::default()
        }
        .encode_to_vec(),
        "WatchUserSet" => WatchUserSetRequest {
            message: Some(Says::Start(WatchUserSetStart {
                user_ids,
                resume_position: position,
                on_gap,
                ..WatchUserSetStart::default()
            })),
        }
        .encode_to_vec(),
        "Subscribe" => SubscribeRequest {
            resume_position: position,
            on_gap,
            ..SubscribeRequest::default()
        }
        .encode_to_vec(),
        "Publish" => publishes(kick()).encode_to_vec(),
        "BatchPublish" => batch(vec![publishes(kick())]).encode_to_vec(),
        "ExplainPublish" => ExplainPublishRequest {
            event: publishes(kick()).event,
            at_least_position: position,
            ..ExplainPublishRequest::default()
        }
        .encode_to_vec(),
        "GetServerInfo" => GetServerInfoRequest {}.encode_to_vec(),
        other => panic!("no request of {other}"),
    })
}

fn batch(requests: Vec<PublishRequest>) -> BatchPublishRequest {
    BatchPublishRequest { requests }
}

fn kick() -> Kick {
    Kick {
        user_id: 7,
        client_type: 1,
        reason: 1,
    }
}

fn publishes(kick: Kick) -> PublishRequest {
    PublishRequest {
        request_id: "id".to_owned(),
        event: Some(Event {
            body: Some(Typed::Kick(kick)),
            ..Event::default()
        }),
        ..PublishRequest::default()
    }
}

/// Which errors the comments of a package list: method, code, reason.
pub(crate) fn documented((package, for_all): (&str, &str)) -> Vec<(String, String, ErrorReason)> {
    let comments = comments(package);
    let for_all = listed(&comments, for_all);
    let expected = [
        "CONNECTION_LIMIT",
        "DEADLINE_PASSED",
        "FIELD_INVALID",
        "NOT_SERVED",
        "TOO_LARGE",
    ];
    for reason in expected {
        let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{reason}")).unwrap();
        assert!(for_all.iter().any(|it| it.1 == reason), "{for_all:?}");
    }
    let methods = comments.keys().filter(|name| name.contains('/'));
    let mut all = Vec::new();
    for method in methods {
        let own = listed(&comments, method);
        let errors = own.union(&for_all).cloned();
        all.extend(errors.map(|(code, reason)| (method.clone(), code, reason)));
    }
    all
}

/// The comments of a package's services, by their short name, and of methods, by their full name.
fn comments(package: &str) -> BTreeMap<String, String> {
    let files = FileDescriptorSet::decode(route_proto::FILE_DESCRIPTOR_SET).unwrap();
    let files = files.file.iter();
    let mut comments = BTreeMap::new();
    for file in files.filter(|it| it.package() == package) {
        let places = &file.source_code_info.as_ref().unwrap().location;
        let at = |path: &[i32]| {
            let place = places.iter().find(|it| it.path == path).unwrap();
            place.leading_comments().to_owned()
        };
        for (number, service) in (0..).zip(&file.service) {
            comments.insert(service.name().to_owned(), at(&[6, number]));
            for (of_it, method) in (0..).zip(&service.method) {
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                comments.insert(name, at(&[6, number, 2, of_it]));
            }
        }
    }
    comments
}

/// The errors that the comment of this service or method lists, in lines that begin with codes; those of another method too
/// that it names after "as".
fn listed(comments: &BTreeMap<String, String>, of: &str) -> BTreeSet<(String, ErrorReason)> {
    let mut all = BTreeSet::new();
    for (codes, said) in items(&comments[of]) {
        let is_name = |it: char| it.is_alphabetic() || it == '_';
        let words: Vec<_> = said.split(|it| !is_name(it)).collect();
        for code in &codes {
            for word in &words {
                let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{word}"));
                all.extend(reason.map(|reason| (code.clone(), reason)));
            }
            for pair in words.windows(2).filter(|pair| pair[0] == "as") {
                let suffix = format!("/{}", pair[1]);
                if let Some(other) = comments.keys().find(|name| name.ends_with(&suffix)) {
                    let others = listed(comments, other).into_iter();
                    all.extend(others.filter(|(of_other, _)| of_other == code));
                }
            }
        }
    }
    all
}

/// The codes that a line begins with, and what is said of them there and in the lines below.
fn items(comment: &str) -> Vec<(Vec<String>, String)> {
    let is_code = |it: &str| it.len() > 5 && it.chars().all(|it| it == '_' || it.is_uppercase());
    let mut items: Vec<(Vec<String>, String)> = Vec::new();
    for line in comment.lines().map(str::trim) {
        let begins = line.split_once(": ");
        let begins = begins.filter(|(codes, _)| codes.split(", ").all(is_code));
        if let Some((codes, said)) = begins {
            let codes = codes.split(", ").map(str::to_owned).collect();
            items.push((codes, said.to_owned()));
        } else if let Some((_, said)) = items.last_mut() {
            *said = format!("{said} {line}");
        }
    }
    items
}
