//! What a watch tells of each change, which changes it tells, and where it may be resumed.

use std::time::Duration;

use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{LinkClosed, SessionUpdate};
use route_proto::v1::subscribe_response::Message as Routed;
use route_proto::v1::watch_user_status_response::Message;
use route_proto::v1::{
    ChangeKind, ChangeReason, GapPolicy, GapReason, GetUserStatusRequest, LagPolicy, LegacyStatus,
    PresenceStatus, SnapshotScope, SubscribeRequest, UserStatus, WatchUserStatusRequest,
};
use tonic::Code;

use crate::attach::reason;
use crate::played::{Played, list};
use crate::presence::{Watching, narrow, next};
use crate::site::{Site, soon};

const DESKTOP: u32 = 1;
const MOBILE: u32 = 0x11;
const ONLINE: i32 = 1;
const OFFLINE: i32 = 2;
const AWAY: i32 = 3;

#[tokio::test]
async fn changes_say_what_was_before_when_and_why() {
    let (site, mut a) = Played::one(&[7]).await;
    let mut watching = Watching::users(&site, &[7]).await;
    a.update(1, 7, DESKTOP, AWAY).await;
    a.update(1, 7, DESKTOP, ONLINE).await;
    a.update(1, 7, DESKTOP, OFFLINE).await;
    a.update(1, 7, MOBILE, ONLINE).await;
    a.tell(1, list(&[7])).await;
    a.tell(1, Entry::Closed(LinkClosed { reason: 2 })).await;

    let mut before = (PresenceStatus::Online, LegacyStatus::Online);
    let mut last_time = (0, 0);
    let mut reasons = Vec::new();
    for _ in 0..7 {
        let (response, change) = watching.whole_change().await;
        let previous = (change.previous_status(), change.previous_legacy_status());
        assert_eq!(previous, before, "{change:?}");
        let user = change.user.as_ref().unwrap();
        before = (user.status(), user.legacy_status());
        assert_eq!(change.merged_count, 0);
        let time = response.node_time.unwrap();
        assert!(last_time <= (time.seconds, time.nanos) && time.seconds > 0);
        last_time = (time.seconds, time.nanos);
        reasons.push(change.reason());
    }

    // The sessions of a link that ends go one by one.
    let expected = [
        ChangeReason::Away,
        ChangeReason::Back,
        ChangeReason::Logout,
        ChangeReason::Login,
        ChangeReason::Listed,
        ChangeReason::TimedOut,
        ChangeReason::TimedOut,
    ];
    assert_eq!(reasons, expected);
    assert_eq!(before, (PresenceStatus::Offline, LegacyStatus::Offline));
}

#[tokio::test]
async fn the_ends_of_links_and_gateways_are_told_apart() {
    let site = Site::with(|it| it.detach_grace = Duration::from_millis(50)).await;
    let [mut a, b] = Played::two(&site).await;
    let mut watching = Watching::users(&site, &[]).await;

    a.close(1).await;
    assert_eq!(watching.change().await.1, ChangeReason::LinkClosed);
    drop(b);
    assert_eq!(watching.change().await.1, ChangeReason::GatewayLost);
}

#[tokio::test]
async fn a_mobile_client_beside_a_desktop_is_a_change_of_sessions_only() {
    let (site, mut a) = Played::one(&[7]).await;
    let with_sessions = WatchUserStatusRequest {
        all_users: true,
        include_sessions: true,
        ..WatchUserStatusRequest::default()
    };
    let legacy_only = WatchUserStatusRequest {
        all_users: true,
        change_kinds: vec![ChangeKind::LegacyStatus.into()],
        ..WatchUserStatusRequest::default()
    };
    let mut sessions = Watching::of(&site, with_sessions).await;
    let mut statuses = Watching::users(&site, &[7]).await;
    let mut legacy = Watching::of(&site, legacy_only).await;
    assert_eq!(types(&sessions.snapshot[0]), [DESKTOP as i32]);
    assert_eq!(statuses.snapshot[0].sessions, []);

    a.update(1, 7, MOBILE, ONLINE).await;
    // One more login of a client that is there changes nobody's sessions.
    a.update(1, 7, MOBILE, ONLINE).await;
    a.update(1, 7, DESKTOP, AWAY).await;
    a.update(1, 7, DESKTOP, OFFLINE).await;

    let (_, came) = sessions.whole_change().await;
    assert_eq!(came.previous_status(), PresenceStatus::Online);
    let user = came.user.unwrap();
    assert_eq!(user.status(), PresenceStatus::Online);
    assert_eq!(types(&user), [DESKTOP as i32, MOBILE as i32]);
    assert_eq!(sessions.change().await.1, ChangeReason::Away);
    let (user, reason) = sessions.change().await;
    assert_eq!(
        (types(&user), reason),
        (vec![MOBILE as i32], ChangeReason::Logout)
    );
    // The others are told only what is new to them: the last desktop client is gone.
    for others in [&mut statuses, &mut legacy] {
        let (user, reason) = others.change().await;
        assert_eq!(user.legacy_status(), LegacyStatus::Offline);
        assert_eq!(reason, ChangeReason::Logout);
        assert_eq!(user.sessions, []);
    }
}

#[tokio::test]
async fn who_wants_the_newest_is_told_each_user_once() {
    let (site, mut a) = Played::one(&[7, 8]).await;
    let newest = |position: &str| WatchUserStatusRequest {
        all_users: true,
        resume_position: position.to_owned(),
        on_lag: LagPolicy::Newest.into(),
        ..WatchUserStatusRequest::default()
    };
    let position = Watching::of(&site, newest("")).await.position;
    for _ in 0..300 {
        a.update(1, 7, DESKTOP, AWAY).await;
        a.update(1, 7, DESKTOP, ONLINE).await;
        a.update(1, 8, DESKTOP, AWAY).await;
        a.update(1, 8, DESKTOP, ONLINE).await;
    }
    a.update(1, 7, DESKTOP, OFFLINE).await;
    a.confirmed(1).await;

    let mut stream = site.watch(newest(&position)).await.unwrap();
    assert!(matches!(
        next(&mut stream).await.message,
        Some(Message::Resumed(_))
    ));
    let response = next(&mut stream).await;

    let Some(Message::Change(change)) = response.message else {
        panic!("not a change: {response:?}");
    };
    assert_eq!(change.merged_count, 600);
    assert_eq!(change.previous_status(), PresenceStatus::Online);
    let user = change.user.unwrap();
    assert_eq!((user.user_id, user.status()), (7, PresenceStatus::Offline));
    // What user 8 did has cancelled itself out: the next is what is done now.
    a.update(1, 8, DESKTOP, OFFLINE).await;
    let Some(Message::Change(change)) = next(&mut stream).await.message else {
        panic!("not a change");
    };
    assert_eq!((change.user.unwrap().user_id, change.merged_count), (8, 0));
}

/// The stream is open, and nobody reads it.
#[tokio::test]
async fn a_reader_that_lags_and_wants_the_newest_has_less_to_read() {
    const CHANGES: usize = 20 * 999;
    let (site, mut a) = Played::one(&[7, 8]).await;
    let request = WatchUserStatusRequest {
        all_users: true,
        on_lag: LagPolicy::Newest.into(),
        ..WatchUserStatusRequest::default()
    };
    let mut watching = Watching::by(narrow(&site).await, request).await;

    let change = |status| {
        Entry::Update(SessionUpdate {
            user_id: 7,
            client_type: DESKTOP,
            status,
        })
    };
    for _ in 0..CHANGES / 999 {
        // Three, so that few stretches of them cancel themselves out.
        let statuses = [AWAY, OFFLINE, ONLINE].into_iter().cycle().take(999);
        let entries = statuses.map(|status| a.entry(1, change(status))).collect();
        a.send_entries(entries).await;
    }
    a.update(1, 7, DESKTOP, OFFLINE).await;
    a.update(1, 8, DESKTOP, OFFLINE).await;
    a.confirmed(1).await;

    let mut told = Vec::new();
    loop {
        let (_, change) = watching.whole_change().await;
        let user = change.user.unwrap();
        if user.user_id == 8 {
            break;
        }
        told.push((user.status(), change.merged_count as usize));
    }
    // What has cancelled itself out was left out.
    let merged: usize = told.iter().map(|(_, merged)| merged).sum();
    assert!(told.len() < CHANGES / 2 && told.len() + merged <= CHANGES + 1);
    assert!(merged > 0, "they stand for others, too");
    assert_eq!(told.last().unwrap().0, PresenceStatus::Offline);
}

#[tokio::test]
async fn a_position_of_other_users_is_a_gap_and_a_snapshot() {
    let (site, _a) = Played::one(&[3]).await;
    let of_one = Watching::users(&site, &[1]).await.position;

    let mut stream = site.watch(resumed(&[1, 3], &of_one)).await.unwrap();

    let Some(Message::Gap(gap)) = next(&mut stream).await.message else {
        panic!("no gap");
    };
    assert_eq!(
        (gap.reason(), gap.missed_count),
        (GapReason::FilterChanged, 0)
    );
    assert_eq!(gap.from_position, of_one);
    // Positions are opaque to clients; here both are of one life, and a filter's stands at the end.
    assert!(gap.to_position[..34] >= of_one[..34], "{gap:?}");
    let begin = next(&mut stream).await;
    assert!(
        matches!(begin.message, Some(Message::SnapshotBegin(it)) if it.scope() == SnapshotScope::All)
    );
    let Some(Message::Snapshot(part)) = next(&mut stream).await.message else {
        panic!("no snapshot");
    };
    assert_eq!(part.users[0].user_id, 3);
    for request in [
        resumed(&[1, 3], &of_one),
        resumed(&[], &of_one),
        WatchUserStatusRequest {
            include_sessions: true,
            ..resumed(&[1], &of_one)
        },
    ] {
        let strict = WatchUserStatusRequest {
            on_gap: GapPolicy::Fail.into(),
            ..request
        };
        let refused = site.watch(strict).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason(&refused), "FILTER_CHANGED");
    }
}

#[tokio::test]
async fn positions_fit_the_same_users_in_any_order_and_those_of_answers_fit_all() {
    let (site, _a) = Played::one(&[3]).await;
    let of_set = Watching::users(&site, &[1, 3, 2]).await.position;
    let mut presence = site.presence().await;
    let answer = presence.get_user_status(GetUserStatusRequest {
        user_id: 9,
        ..GetUserStatusRequest::default()
    });
    let answer = soon("an answer", answer).await.unwrap().into_inner();
    let mut broadcast = site.broadcast().await;
    let events = soon("a stream", broadcast.subscribe(SubscribeRequest::default())).await;
    let mut events = events.unwrap().into_inner();
    let subscribed = soon("a message", events.message()).await.unwrap().unwrap();
    assert!(matches!(subscribed.message, Some(Routed::Subscribed(_))));

    for (users, position) in [
        ([2, 3, 1].as_slice(), &of_set),
        (&[3, 3, 2, 1], &of_set),
        (&[9], &answer.position),
        (&[], &answer.position),
        (&[9], &subscribed.position),
    ] {
        let mut stream = site.watch(resumed(users, position)).await.unwrap();
        let first = next(&mut stream).await.message;
        assert!(
            matches!(first, Some(Message::Resumed(_))),
            "{users:?}: {first:?}"
        );
    }
    let request = SubscribeRequest {
        resume_position: of_set,
        on_gap: GapPolicy::Fail.into(),
        ..SubscribeRequest::default()
    };
    let events = soon("a stream", broadcast.subscribe(request))
        .await
        .unwrap();
    let first = soon("a message", events.into_inner().message()).await;
    let first = first.unwrap().unwrap().message;
    assert!(matches!(first, Some(Routed::Resumed(_))), "{first:?}");
}

#[tokio::test]
async fn new_users_come_as_a_snapshot_behind_what_was_missed_of_the_others() {
    let (site, mut a) = Played::one(&[1, 2]).await;
    let position = Watching::users(&site, &[1]).await.position;
    a.update(1, 1, DESKTOP, AWAY).await;
    a.update(1, 2, DESKTOP, AWAY).await;
    a.confirmed(1).await;
    let request = WatchUserStatusRequest {
        new_user_ids: vec![2, 3, 1],
        ..resumed(&[1], &position)
    };

    let mut stream = site.watch(request.clone()).await.unwrap();

    assert!(matches!(
        next(&mut stream).await.message,
        Some(Message::Resumed(_))
    ));
    let change = next(&mut stream).await;
    assert!(
        matches!(&change.message, Some(Message::Change(it)) if it.user.as_ref().unwrap().user_id == 1)
    );
    let begin = next(&mut stream).await;
    assert!(
        matches!(begin.message, Some(Message::SnapshotBegin(it)) if it.scope() == SnapshotScope::Added)
    );
    let Some(Message::Snapshot(part)) = next(&mut stream).await.message else {
        panic!("no snapshot");
    };
    let told: Vec<_> = part
        .users
        .iter()
        .map(|user| (user.user_id, user.status()))
        .collect();
    assert_eq!(
        told,
        [(2, PresenceStatus::Away)],
        "user 1 is watched already, user 3 is offline"
    );
    let end = next(&mut stream).await;
    assert!(matches!(end.message, Some(Message::SnapshotEnd(_))));
    a.update(1, 3, DESKTOP, ONLINE).await;
    assert!(matches!(
        next(&mut stream).await.message,
        Some(Message::Change(_))
    ));
    // A stream that breaks off before the snapshot is asked for again as it was; behind it, of all.
    for again in [
        WatchUserStatusRequest {
            resume_position: change.position,
            ..request
        },
        resumed(&[3, 2, 1], &end.position),
    ] {
        let mut stream = site.watch(again).await.unwrap();
        assert!(matches!(
            next(&mut stream).await.message,
            Some(Message::Resumed(_))
        ));
    }
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused() {
    let site = Site::start().await;
    let position = Watching::users(&site, &[1]).await.position;
    let with = |change: &dyn Fn(&mut WatchUserStatusRequest)| {
        let mut request = resumed(&[1], &position);
        change(&mut request);
        request
    };
    for (field, request) in [
        ("user_ids[1]", with(&|it| it.user_ids = vec![1, 0])),
        ("user_ids", with(&|it| it.user_ids.clear())),
        ("user_ids", with(&|it| it.all_users = true)),
        (
            "new_user_ids",
            with(&|it| {
                it.new_user_ids = vec![2];
                it.resume_position.clear();
            }),
        ),
        (
            "new_user_ids",
            with(&|it| {
                it.new_user_ids = vec![2];
                it.user_ids.clear();
                it.all_users = true;
            }),
        ),
        ("new_user_ids[1]", with(&|it| it.new_user_ids = vec![2, 0])),
        (
            "new_user_ids",
            with(&|it| it.new_user_ids = vec![2; 10_000]),
        ),
        ("change_kinds", with(&|it| it.change_kinds = vec![0])),
        ("change_kinds", with(&|it| it.change_kinds = vec![9])),
        ("on_lag", with(&|it| it.on_lag = 9)),
        ("on_gap", with(&|it| it.on_gap = 9)),
    ] {
        let refused = site.watch(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        assert!(refused.message().starts_with(field), "{field}: {refused}");
    }
}

fn types(user: &UserStatus) -> Vec<i32> {
    let mut types: Vec<_> = user.sessions.iter().map(|it| it.client_type).collect();
    types.sort_unstable();
    types
}

/// Empty: everybody.
fn resumed(users: &[u32], position: &str) -> WatchUserStatusRequest {
    WatchUserStatusRequest {
        user_ids: users.to_vec(),
        all_users: users.is_empty(),
        resume_position: position.to_owned(),
        ..WatchUserStatusRequest::default()
    }
}
