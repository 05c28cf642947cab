//! ListOnlineUsers, CountOnlineUsers and GetServerInfo.

use std::collections::BTreeSet;

use route_proto::attach::v1::LinkOpened;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::v1::server_service_client::ServerServiceClient;
use route_proto::v1::{
    ClientClass, CountOnlineUsersRequest, CountOnlineUsersResponse, GetServerInfoRequest,
    ListOnlineUsersRequest, ListOnlineUsersResponse, PresenceStatus, UserCount,
};
use tonic::Code;

use crate::attach::reason;
use crate::played::{Played, list};
use crate::site::{Site, soon};

const WINDOWS: u32 = 1;
const IOS: u32 = 0x11;

#[tokio::test]
async fn pages_show_every_user_once_in_order_while_others_come_and_go() {
    let steady: Vec<u32> = (0..300).map(|number| number * 10).collect();
    let (site, mut a) = Played::one(&steady).await;
    let mut seen = Vec::new();
    let mut request = ListOnlineUsersRequest {
        page_size: 7,
        ..ListOnlineUsersRequest::default()
    };
    let mut dice = fastrand::Rng::with_seed(7);
    let mut positions = BTreeSet::new();
    loop {
        let page = page(&site, request.clone()).await.unwrap();
        assert!(page.users.len() <= 7);
        assert!(page.users.iter().all(|user| user.sessions.is_empty()));
        assert!(page.node_time.is_some());
        seen.extend(page.users.iter().map(|user| user.user_id));
        positions.insert(page.position);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        for _ in 0..5 {
            let passer_by = dice.u32(0..300) * 10 + 5;
            a.update(1, passer_by, WINDOWS, dice.i32(1..3)).await;
        }
        a.confirmed(1).await;
    }

    assert!(seen.is_sorted_by(|one, other| one < other), "{seen:?}");
    let of_steady: Vec<u32> = seen.into_iter().filter(|user| user % 10 == 0).collect();
    assert_eq!(of_steady, steady);
    assert!(positions.len() > 40, "each page has its own");
}

#[tokio::test]
async fn the_last_page_says_so_and_a_page_has_a_size() {
    let (site, mut a) = Played::one(&[3, 1, u32::MAX]).await;
    let of_size = async |page_size: i32| {
        let request = ListOnlineUsersRequest {
            page_size,
            ..ListOnlineUsersRequest::default()
        };
        page(&site, request).await.unwrap()
    };
    let exact = of_size(3).await;
    assert_eq!(ids(&exact), [1, 3, u32::MAX]);
    assert_eq!(exact.next_page_token, "", "nobody follows");
    assert_ne!(of_size(2).await.next_page_token, "");

    let many: Vec<u32> = (1..10_500).collect();
    a.open_with(2, &many).await;
    assert_eq!(of_size(0).await.users.len(), 1000);
    assert_eq!(of_size(i32::MAX).await.users.len(), 10_000);
}

#[tokio::test]
async fn lists_can_be_of_a_status_a_class_or_a_msg_server() {
    let site = site_of_two_msg_servers().await.0;
    let all = ListOnlineUsersRequest::default();
    let with = |change: fn(&mut ListOnlineUsersRequest)| {
        let mut request = all.clone();
        change(&mut request);
        request
    };
    for (expected, request) in [
        ([1, 2, 3, 4].as_slice(), with(|_| ())),
        (
            &[1, 2, 4],
            with(|it| it.status = PresenceStatus::Online.into()),
        ),
        (&[3], with(|it| it.status = PresenceStatus::Away.into())),
        (
            &[1, 2, 3],
            with(|it| it.client_class = ClientClass::Desktop.into()),
        ),
        (
            &[2, 4],
            with(|it| it.client_class = ClientClass::Mobile.into()),
        ),
        (&[1, 2, 3], with(|it| it.msg_server = "north".to_owned())),
        (&[2, 4], with(|it| it.msg_server = "south".to_owned())),
        (&[], with(|it| it.msg_server = "east".to_owned())),
        // User 2 is mobile, and there, but not mobile there.
        (
            &[],
            with(|it| {
                it.msg_server = "north".to_owned();
                it.client_class = ClientClass::Mobile.into();
            }),
        ),
    ] {
        let page = page(&site, request.clone()).await.unwrap();
        assert_eq!(ids(&page), expected, "{request:?}");
    }

    let detailed = page(&site, with(|it| it.include_sessions = true))
        .await
        .unwrap();
    let mut classes: Vec<_> = detailed.users[1]
        .sessions
        .iter()
        .map(|it| (it.msg_server.as_str(), it.client_class()))
        .collect();
    classes.sort_unstable();
    let expected = [
        ("north", ClientClass::Desktop),
        ("south", ClientClass::Mobile),
    ];
    assert_eq!(classes, expected);
}

#[tokio::test]
async fn a_page_that_filters_leave_empty_is_not_the_last_one() {
    let (site, mut a) = Played::one(&(1..30_000).collect::<Vec<_>>()).await;
    a.update(1, 29_000, IOS, 1).await;
    a.confirmed(1).await;
    let mut request = ListOnlineUsersRequest {
        client_class: ClientClass::Mobile.into(),
        ..ListOnlineUsersRequest::default()
    };

    let first = page(&site, request.clone()).await.unwrap();
    assert!(first.users.is_empty() && !first.next_page_token.is_empty());
    request.page_token = first.next_page_token;
    let second = page(&site, request).await.unwrap();

    assert_eq!(ids(&second), [29_000]);
    assert_eq!(second.next_page_token, "");
}

#[tokio::test]
async fn pages_that_would_be_long_have_fewer_users_and_go_on() {
    let users: Vec<_> = (1..=10_000).collect();
    let (site, mut a) = Played::one(&users).await;
    a.open_with(2, &users).await;
    let mut request = ListOnlineUsersRequest {
        page_size: 10_000,
        include_sessions: true,
        ..ListOnlineUsersRequest::default()
    };
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let page = page(&site, request.clone()).await.unwrap();
        seen.extend(ids(&page));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }

    assert_eq!(pages, 2, "1 MiB is the most");
    assert_eq!(seen, users);
}

#[tokio::test]
async fn what_cannot_be_listed_is_refused() {
    let (site, _a) = Played::one(&[1, 2]).await;
    let ok = ListOnlineUsersRequest {
        page_size: 1,
        ..ListOnlineUsersRequest::default()
    };
    let token = page(&site, ok.clone()).await.unwrap().next_page_token;
    let next = ListOnlineUsersRequest {
        page_token: token.clone(),
        ..ok.clone()
    };
    assert_eq!(ids(&page(&site, next).await.unwrap()), [2]);
    for (problem, request) in refused(&ok, &token) {
        let refused = page(&site, request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{problem}");
        assert_eq!(reason(&refused), "FIELD_INVALID");
        assert!(
            refused.message().starts_with(problem),
            "{problem}: {refused}"
        );
    }
}

/// What cannot be asked for, and how it is told. `token` is of a list as in `ok`.
fn refused(
    ok: &ListOnlineUsersRequest,
    token: &str,
) -> Vec<(&'static str, ListOnlineUsersRequest)> {
    vec![
        (
            "page_size",
            ListOnlineUsersRequest {
                page_size: -1,
                ..ok.clone()
            },
        ),
        (
            "status",
            ListOnlineUsersRequest {
                status: PresenceStatus::Offline.into(),
                ..ok.clone()
            },
        ),
        (
            "status",
            ListOnlineUsersRequest {
                status: 9,
                ..ok.clone()
            },
        ),
        (
            "client_class",
            ListOnlineUsersRequest {
                client_class: 9,
                ..ok.clone()
            },
        ),
        (
            "page_token: not",
            ListOnlineUsersRequest {
                page_token: "€€€€€€€€€".to_owned(),
                ..ok.clone()
            },
        ),
        (
            "page_token: not",
            ListOnlineUsersRequest {
                page_token: token[1..].to_owned(),
                ..ok.clone()
            },
        ),
        (
            "page_token: is of a list with other filters",
            ListOnlineUsersRequest {
                status: PresenceStatus::Away.into(),
                page_token: token.to_owned(),
                ..ok.clone()
            },
        ),
        (
            "at_least_position",
            ListOnlineUsersRequest {
                at_least_position: "x".to_owned(),
                ..ok.clone()
            },
        ),
    ]
}

#[tokio::test]
async fn users_are_counted_by_status_and_class() {
    let (site, mut a) = site_of_two_msg_servers().await;

    let counts = count(&site, "").await.unwrap();
    let of = |online_count, away_count| {
        Some(UserCount {
            online_count,
            away_count,
        })
    };
    assert_eq!(counts.all, of(3, 1));
    assert_eq!(counts.with_desktop, of(2, 1));
    assert_eq!(counts.with_mobile, of(2, 0));
    assert_eq!(counts.with_both, of(1, 0));
    assert!(counts.node_time.is_some());

    a.close(1).await;
    a.close(2).await;
    a.confirmed(2).await;
    let none = count(&site, &counts.position).await.unwrap();
    assert_eq!((none.all, none.with_both), (of(0, 0), of(0, 0)));
    let foreign = count(&Site::start().await, "").await.unwrap().position;
    let refused = count(&site, &foreign).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(reason(&refused), "EPOCH_CHANGED");
}

#[tokio::test]
async fn the_server_says_what_it_is_and_what_it_takes() {
    let site = Site::with(|it| {
        it.max_streams = 7;
        // It does not know all links, and says so much all the same.
        it.cold_start_wait = std::time::Duration::from_secs(3600);
    })
    .await;
    let mut server = ServerServiceClient::new(site.channel().await);
    let mut ask = async || {
        let answer = server.get_server_info(GetServerInfoRequest {});
        soon("an answer", answer).await.unwrap().into_inner()
    };

    let info = ask().await;

    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(info.epoch.len(), 16);
    assert_eq!(info.epoch, ask().await.epoch);
    let seconds = |time: Option<prost_types::Timestamp>| time.unwrap().seconds;
    assert!(seconds(info.start_time) <= seconds(info.node_time));
    let limits = info.limits.unwrap();
    assert_eq!(
        (
            limits.max_user_ids,
            limits.max_page_size,
            limits.max_streams
        ),
        (10_000, 10_000, 7)
    );
    assert_eq!(
        (
            limits.max_user_ids_with_sessions,
            limits.max_filters,
            limits.max_shares
        ),
        (300, 100, 1000)
    );
    assert_eq!(
        (limits.max_batch_requests, limits.max_request_id_bytes),
        (1000, 128)
    );
    assert_eq!(limits.default_max_event_bytes, 1 << 20);
    assert_eq!(limits.max_request_pieces, 32_768);
    assert_eq!(limits.remembered_request_ids, 10_000);
    let seconds = |it: Option<prost_types::Duration>| it.unwrap().seconds;
    assert_eq!(seconds(limits.request_id_age), 600);
    assert_eq!(seconds(limits.watermark_interval), 10);
    let rights = info.rights.unwrap();
    assert!(rights.presence && rights.subscribe && rights.publish);
}

/// "north" has the desktop clients of 1, 2 and 3, of whom 3 is away; "south" the mobile ones of 2 and 4.
async fn site_of_two_msg_servers() -> (Site, Played) {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    for (link, msg_server, users) in [(1, "north", [1, 2, 3].as_slice()), (2, "south", &[])] {
        let opened = LinkOpened {
            peer: format!("10.9.8.{link}:4000"),
            msg_server: msg_server.to_owned(),
            ..LinkOpened::default()
        };
        a.tell(link, Entry::Opened(opened)).await;
        a.tell(link, list(users)).await;
    }
    a.update(1, 3, WINDOWS, 3).await;
    a.update(2, 2, IOS, 1).await;
    a.update(2, 4, IOS, 1).await;
    a.confirmed(1).await;
    a.confirmed(2).await;
    (site, a)
}

fn ids(page: &ListOnlineUsersResponse) -> Vec<u32> {
    page.users.iter().map(|user| user.user_id).collect()
}

async fn page(
    site: &Site,
    request: ListOnlineUsersRequest,
) -> Result<ListOnlineUsersResponse, tonic::Status> {
    let mut presence = site.presence().await;
    let answer = soon("a page", presence.list_online_users(request)).await?;
    Ok(answer.into_inner())
}

async fn count(site: &Site, at_least: &str) -> Result<CountOnlineUsersResponse, tonic::Status> {
    let request = CountOnlineUsersRequest {
        at_least_position: at_least.to_owned(),
    };
    let mut presence = site.presence().await;
    Ok(soon("numbers", presence.count_online_users(request))
        .await?
        .into_inner())
}
