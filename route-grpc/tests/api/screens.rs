//! AdminService: streams of readers, what is logged, and screens.

use std::collections::VecDeque;

use route_proto::admin::v1alpha1::{
    CloseStreamRequest, ListStreamsRequest, SetLogFilterRequest, WatchTopologyRequest,
};
use route_proto::v1::{EventFilter, EventKind, SubscribeRequest, WatchUserStatusRequest};
use tonic::Code;

use crate::attach::reason;
use crate::played::{Played, chat};
use crate::site::{Site, soon};
use crate::work::ENOUGH;

fn duration(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn closes(stream: &str) -> CloseStreamRequest {
    CloseStreamRequest {
        stream: stream.to_owned(),
        reason: "test".to_owned(),
    }
}

fn everybody() -> WatchUserStatusRequest {
    WatchUserStatusRequest {
        all_users: true,
        ..WatchUserStatusRequest::default()
    }
}

fn chats_of_two() -> SubscribeRequest {
    let chats = EventFilter {
        kinds: vec![EventKind::ChatMessage.into()],
        user_ids: vec![1, 2],
        ..EventFilter::default()
    };
    SubscribeRequest {
        filters: vec![chats],
        ..SubscribeRequest::default()
    }
}

#[tokio::test]
async fn streams_say_what_they_are_about_and_can_be_closed() {
    let site = Site::start().await;
    let _watch = site.watch(everybody()).await.unwrap();
    let mut events = site
        .broadcast()
        .await
        .subscribe(chats_of_two())
        .await
        .unwrap()
        .into_inner();
    soon("the first message", events.message()).await.unwrap();
    let mut admin = site.admin().await;

    let all = admin
        .list_streams(ListStreamsRequest::default())
        .await
        .unwrap()
        .into_inner();
    let [watch, events_stream] = all.streams.try_into().unwrap();
    assert_eq!(watch.about, "all users");
    assert_eq!(events_stream.about, "chat_message, 2 users");
    assert_eq!(
        events_stream.method,
        "teamtalk.route.v1.BroadcastService/Subscribe"
    );
    assert!(
        events_stream.client.starts_with("127.0.0.1:"),
        "{events_stream:?}"
    );
    assert_eq!(events_stream.lag_count, 0);

    let closed = admin
        .close_stream(closes(&events_stream.stream))
        .await
        .unwrap()
        .into_inner();

    assert!(!closed.connection_closed);
    let end = soon("the end", events.message()).await.unwrap_err();
    assert_eq!(
        (end.code(), reason(&end).as_str()),
        (Code::Aborted, "STREAM_CLOSED")
    );
    let left = admin
        .list_streams(ListStreamsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(left.streams.len(), 1);
    let again = admin
        .close_stream(closes(&events_stream.stream))
        .await
        .unwrap_err();
    assert_eq!(
        (again.code(), reason(&again).as_str()),
        (Code::NotFound, "NOT_FOUND")
    );
}

#[tokio::test]
async fn the_connection_of_a_client_that_takes_nothing_is_closed() {
    let (site, mut a) = Played::one(&[1, 2]).await;
    // Its window is 2 MiB, and it reads none of it.
    let mut broadcast = site.broadcast().await;
    let stream = broadcast
        .subscribe(SubscribeRequest::default())
        .await
        .unwrap();
    for _ in 0..20 {
        a.route(1, chat(1, 2, &[0; 256 << 10])).await;
    }
    a.confirmed(1).await;
    let mut admin = site.admin().await;

    let closed = soon("the end", admin.close_stream(closes("1")))
        .await
        .unwrap()
        .into_inner();

    assert!(closed.connection_closed);
    drop(stream);
}

#[tokio::test]
async fn each_stream_is_in_one_page() {
    const STREAMS: u64 = 1000;
    let site = Site::start().await;
    let mut open = VecDeque::new();
    for _ in 0..STREAMS {
        open.push_back(site.watch(everybody()).await.unwrap());
    }
    let mut admin = site.admin().await;
    let (mut seen, mut pages, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let request = ListStreamsRequest {
            page_size: 100,
            page_token,
        };
        let page = admin.list_streams(request).await.unwrap().into_inner();
        seen.extend(page.streams.into_iter().map(|it| it.stream));
        (pages, page_token) = (pages + 1, page.next_page_token);
        // Some end meanwhile, and were shown.
        open.drain(..50);
        if page_token.is_empty() {
            break;
        }
    }

    let all: Vec<_> = (1..=STREAMS).map(|number| number.to_string()).collect();
    assert_eq!(seen, all);
    assert_eq!(pages, 10);
    assert!(site.longest_hold() <= ENOUGH, "{}", site.longest_hold());
    // The last number that there can be: nothing comes after it, and nothing breaks.
    let request = ListStreamsRequest {
        page_token: u64::MAX.to_string(),
        ..ListStreamsRequest::default()
    };
    let last = admin.list_streams(request).await.unwrap().into_inner();
    assert_eq!(last.streams, []);
    for (page_size, token) in [(-1, ""), (0, "x"), (0, "01")] {
        let request = ListStreamsRequest {
            page_size,
            page_token: token.to_owned(),
        };
        let refused = admin.list_streams(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{page_size} {token}");
    }
}

#[tokio::test]
async fn what_cannot_be_logged_is_refused() {
    let site = Site::start().await;
    let mut admin = site.admin().await;
    // This process has no log.
    for (seconds, code) in [
        (-1, Code::InvalidArgument),
        (86_401, Code::InvalidArgument),
        (1, Code::NotFound),
    ] {
        let request = SetLogFilterRequest {
            filter: "debug".to_owned(),
            duration: duration(seconds),
        };
        assert_eq!(
            admin.set_log_filter(request).await.unwrap_err().code(),
            code,
            "{seconds}"
        );
    }
}

#[tokio::test]
async fn a_screen_is_shown_links_gateways_and_rates() {
    let (site, mut a) = Played::one(&[1, 2]).await;
    let mut admin = site.admin().await;
    let request = WatchTopologyRequest {
        interval: duration(1),
    };
    let mut states = admin.watch_topology(request).await.unwrap().into_inner();

    let first = soon("a state", states.message()).await.unwrap().unwrap();
    for _ in 0..10 {
        a.route(1, chat(1, 2, b"hello")).await;
    }
    a.confirmed(1).await;
    let second = soon("a state", states.message()).await.unwrap().unwrap();

    assert_eq!((first.gateways.len(), first.links.len()), (1, 1));
    assert_eq!((first.entry_rate, first.links[0].entry_rate), (0.0, 0.0));
    assert_eq!(first.stats.unwrap().link_count, 1);
    assert!(
        second.entry_rate > 5.0 && second.links[0].entry_rate > 5.0,
        "{second:?}"
    );
    for wrong in [0, 61, -1] {
        let request = WatchTopologyRequest {
            interval: duration(wrong),
        };
        let refused = admin.watch_topology(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong}");
    }
    let method = r#"rpc_method="teamtalk.admin.v1alpha1.AdminService/WatchTopology""#;
    let refusals = "teamtalk_route_streams_refused_total";
    let invalid = r#"reason="ERROR_REASON_FIELD_INVALID""#;
    site.shows(&format!("{refusals}{{{invalid},{method}}} 3"))
        .await;
    let mut open = Vec::new();
    for _ in 0..15 {
        open.push(
            admin
                .watch_topology(WatchTopologyRequest::default())
                .await
                .unwrap(),
        );
    }
    let refused = admin
        .watch_topology(WatchTopologyRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "STREAM_LIMIT");
    drop((states, open));
    let ended = "teamtalk_route_stream_duration_seconds_count";
    site.shows(&format!("{ended}{{{method}}} 16")).await;
}
