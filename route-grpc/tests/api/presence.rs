//! What PresenceService promises.

use std::collections::BTreeMap;

use route_proto::attach::v1::SessionUpdate;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::watch_user_status_response::Message;
use route_proto::v1::{
    BatchGetUserStatusRequest, ChangeReason, GapPolicy, GapReason, GetUserStatusRequest,
    LegacyStatus, PresenceStatus, SessionState, SnapshotScope, StatusChange, UserStatus,
    WatchUserStatusRequest, WatchUserStatusResponse,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use crate::attach::reason;
use crate::played::{Played, chat, opened};
use crate::site::{Site, soon};

#[tokio::test]
async fn a_user_is_shown_with_sessions() {
    let (site, mut a) = Played::one(&[7]).await;
    a.update(1, 7, 0x11, 1).await;
    a.update(1, 7, 1, 3).await;
    a.confirmed(1).await;

    let mut user = site.user(7).await;

    assert_eq!(
        user.status(),
        PresenceStatus::Online,
        "one client is active"
    );
    assert_eq!(user.legacy_status(), LegacyStatus::Online);
    user.sessions.sort_by_key(|session| session.client_type);
    let states: Vec<_> = user
        .sessions
        .iter()
        .map(|session| (session.client_type, session.state(), session.login_count))
        .collect();
    assert_eq!(
        states,
        [(1, SessionState::Away, 1), (0x11, SessionState::Online, 1)]
    );
    let Entry::Opened(opened) = opened(a.incarnation, 1) else {
        panic!("not an opening");
    };
    assert_eq!(user.sessions[0].peer, opened.peer);
    let (ip, _) = opened.peer.rsplit_once(':').unwrap();
    assert_eq!(user.sessions[0].msg_server, ip, "it has no name");
    assert_eq!(user.sessions[0].link, format!("{:x}-1", a.incarnation));
    assert_eq!(user.sessions[0].login_time.unwrap().nanos, 0);
    let nobody = site.user(8).await;
    assert_eq!(nobody.status(), PresenceStatus::Offline);
    assert_eq!(nobody.sessions, []);
}

#[tokio::test]
async fn a_batch_keeps_order_and_duplicates_and_has_a_limit() {
    let (site, _a) = Played::one(&[7]).await;
    let mut presence = site.presence().await;
    let mut batch = async |user_ids: Vec<u32>, include_sessions: bool| {
        let request = BatchGetUserStatusRequest {
            user_ids,
            include_sessions,
            ..BatchGetUserStatusRequest::default()
        };
        let answer = soon("an answer", presence.batch_get_user_status(request)).await;
        answer.map(|answer| answer.into_inner().users)
    };

    let users = batch(vec![9, 7, 9], false).await.unwrap();
    let ids: Vec<_> = users
        .iter()
        .map(|user| (user.user_id, user.status()))
        .collect();
    assert_eq!(
        ids,
        [
            (9, PresenceStatus::Offline),
            (7, PresenceStatus::Online),
            (9, PresenceStatus::Offline)
        ]
    );
    assert_eq!(users[1].sessions, []);
    let answer = batch(vec![7; 10_000], false).await;
    assert_eq!(answer.unwrap().len(), 10_000);
    let answer = batch(vec![7; 300], true).await;
    assert_eq!(answer.unwrap()[299].sessions.len(), 1);
    for (user_ids, include_sessions) in [
        (vec![7; 10_001], false),
        (vec![7; 301], true),
        (vec![7, 0], false),
    ] {
        let refused = batch(user_ids, include_sessions).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(reason(&refused), "FIELD_INVALID");
    }
}

#[tokio::test]
async fn nobody_has_no_status() {
    let site = Site::start().await;
    let mut presence = site.presence().await;

    let answer = presence.get_user_status(GetUserStatusRequest::default());
    let refused = soon("an answer", answer).await.unwrap_err();

    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("user_id: "), "{refused}");
}

#[tokio::test]
async fn a_watch_begins_with_everybody_and_goes_on_with_changes() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    let users: Vec<u32> = (1..=40_000).collect();
    a.open_with(1, &users).await;

    let mut watching = Watching::users(&site, &[]).await;
    a.update(1, 7, 1, 2).await;
    a.update(1, 7, 1, 1).await;

    let mut seen: Vec<_> = watching.snapshot.iter().map(|user| user.user_id).collect();
    seen.sort_unstable();
    assert_eq!(seen, users);
    assert!(watching.parts > 1, "a snapshot comes in parts");
    let (user, reason) = watching.change().await;
    assert_eq!((user.user_id, user.status()), (7, PresenceStatus::Offline));
    assert_eq!(reason, ChangeReason::Logout);
    let (user, _) = watching.change().await;
    assert_eq!((user.user_id, user.status()), (7, PresenceStatus::Online));
    assert_eq!(user.sessions, [], "details are asked for");
}

#[tokio::test]
async fn a_watch_of_some_users_shows_only_them() {
    let (site, mut a) = Played::one(&[1, 2, 3]).await;

    let mut watching = Watching::users(&site, &[2, 9]).await;
    a.update(1, 3, 1, 2).await;
    a.update(1, 9, 0x12, 1).await;

    assert_eq!(watching.snapshot.len(), 1);
    assert_eq!(watching.snapshot[0].user_id, 2);
    let (user, _) = watching.change().await;
    assert_eq!((user.user_id, user.status()), (9, PresenceStatus::Online));
    assert_eq!(
        user.legacy_status(),
        LegacyStatus::Offline,
        "on mobile only"
    );
}

/// Paused time goes on when everybody waits.
#[tokio::test(start_paused = true)]
async fn a_quiet_watch_says_that_nothing_was_missed() {
    let (site, _a) = Played::one(&[7]).await;
    let mut watching = Watching::users(&site, &[7]).await;

    let quiet = watching.next().await.unwrap().unwrap();

    assert!(matches!(quiet.message, Some(Message::Watermark(_))));
    assert_eq!(quiet.position, watching.position);
}

#[tokio::test]
async fn a_watch_resumes_where_it_or_a_query_ended() {
    let (site, mut a) = Played::one(&[7]).await;
    let mut presence = site.presence().await;
    let answer = presence.get_user_status(GetUserStatusRequest {
        user_id: 7,
        ..GetUserStatusRequest::default()
    });
    let position = soon("an answer", answer)
        .await
        .unwrap()
        .into_inner()
        .position;
    a.update(1, 7, 1, 2).await;
    a.confirmed(1).await;

    let mut stream = site
        .watch(resumed(&position, GapPolicy::Fail))
        .await
        .unwrap();

    let first = next(&mut stream).await;
    assert!(
        matches!(first.message, Some(Message::Resumed(_))),
        "{first:?}"
    );
    assert!(first.position.starts_with(&position), "and names the users");
    let change = next(&mut stream).await;
    assert!(
        matches!(change.message, Some(Message::Change(_))),
        "{change:?}"
    );
    let mut stream = site
        .watch(resumed(&change.position, GapPolicy::Fail))
        .await
        .unwrap();
    next(&mut stream).await;
    a.update(1, 7, 1, 1).await;
    assert!(matches!(
        next(&mut stream).await.message,
        Some(Message::Change(_))
    ));
}

#[tokio::test]
async fn a_position_that_is_no_longer_held_is_a_gap_and_a_snapshot() {
    let site = Site::with(|it| it.log_events = 4).await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[7]).await;
    let position = Watching::users(&site, &[]).await.position;
    for _ in 0..10 {
        a.route(1, chat(7, 7, b"x")).await;
    }
    a.confirmed(1).await;

    let mut stream = site
        .watch(resumed(&position, GapPolicy::Unspecified))
        .await
        .unwrap();

    let message = next(&mut stream).await;
    assert_eq!(message.position, "", "what it made up for is to come");
    let Some(Message::Gap(gap)) = message.message else {
        panic!("no gap");
    };
    assert_eq!((gap.reason(), gap.missed_count), (GapReason::Compacted, 6));
    assert_eq!(gap.from_position, position);
    let begin = next(&mut stream).await;
    assert!(
        matches!(begin.message, Some(Message::SnapshotBegin(_))),
        "{begin:?}"
    );
    let refused = site
        .watch(resumed(&position, GapPolicy::Fail))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(reason(&refused), "POSITION_COMPACTED");
}

#[tokio::test]
async fn a_position_of_another_life_is_told_apart_from_nonsense() {
    let site = Site::start().await;
    let before = Site::start().await;
    let foreign = Watching::users(&before, &[]).await.position;

    let mut stream = site
        .watch(resumed(&foreign, GapPolicy::Report))
        .await
        .unwrap();
    let Some(Message::Gap(gap)) = next(&mut stream).await.message else {
        panic!("no gap");
    };
    assert_eq!(
        (gap.reason(), gap.missed_count),
        (GapReason::EpochChanged, 0)
    );
    let refused = site
        .watch(resumed(&foreign, GapPolicy::Fail))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "EPOCH_CHANGED");
    let refused = site
        .watch(resumed("nonsense", GapPolicy::Report))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// Promise 9. While nobody reads the stream, more is told than the windows of a connection and the log hold together.
#[tokio::test]
async fn a_watcher_that_falls_behind_is_told_so_and_anew() {
    let site = Site::with(|it| it.log_events = 100).await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[7]).await;
    let request = resumed("", GapPolicy::Fail);
    let mut watching = Watching::by(narrow(&site).await, request).await;

    a.blinks(7, 20_001).await;
    a.update(1, 7, 1, 2).await;
    a.confirmed(1).await;

    let (mut known, mut gaps) = (PresenceStatus::Online, 0);
    while known != PresenceStatus::Offline {
        let message = watching.next().await.unwrap().unwrap().message;
        if let Some(Message::Change(change)) = message {
            known = change.user.unwrap().status();
            continue;
        }
        let Some(Message::Gap(gap)) = message else {
            panic!("neither change nor gap: {message:?}");
        };
        assert_eq!(gap.reason(), GapReason::SlowConsumer, "whatever on_gap is");
        assert!(gap.missed_count > 0, "{gap:?}");
        gaps += 1;
        watching.read_snapshot().await;
        let user = watching.snapshot.first();
        known = user.map_or(PresenceStatus::Offline, UserStatus::status);
    }
    assert!(gaps > 0, "it fell behind");
}

/// While all users are looked at, piece by piece, everybody's status changes, the later ones' of a piece first.
#[tokio::test]
async fn who_changes_while_a_snapshot_is_made_is_shown_as_of_its_end() {
    const USERS: u32 = 60_000;
    let (site, mut a) = Played::one(&(1..=USERS).collect::<Vec<_>>()).await;
    let goes_away = |user_id| {
        Entry::Update(SessionUpdate {
            user_id,
            client_type: 1,
            status: 3,
        })
    };
    let (mut presence, everybody) = (site.presence().await, resumed("", GapPolicy::Fail));
    let changes = tokio::spawn(async move {
        for piece in (1..=USERS).rev().collect::<Vec<_>>().chunks(100) {
            let entries = piece.iter().map(|&user| a.entry(1, goes_away(user)));
            let entries = entries.collect();
            a.send_entries(entries).await;
            tokio::task::yield_now().await;
        }
        a.confirmed(1).await;
        a
    });

    let opened = presence.watch_user_status(everybody).await.unwrap();
    let mut watching = Watching::read(opened.into_inner()).await;

    let _a = changes.await.unwrap();
    let known = |user: &UserStatus| (user.user_id, user.status());
    let shown: BTreeMap<_, _> = watching.snapshot.iter().map(known).collect();
    let away = |it: &PresenceStatus| *it == PresenceStatus::Away;
    let before = shown.values().filter(|it| away(it)).count() as u32;
    assert_eq!(shown.len() as u32, USERS);
    assert!(0 < before && before < USERS, "{before} while it was made");
    for _ in before..USERS {
        let (user, _) = watching.change().await;
        assert_eq!(user.status(), PresenceStatus::Away);
        let shown = &shown[&user.user_id];
        assert!(!away(shown), "told twice: {user:?}");
    }
}

/// A watch of everybody from here on.
fn resumed(position: &str, on_gap: GapPolicy) -> WatchUserStatusRequest {
    WatchUserStatusRequest {
        all_users: true,
        resume_position: position.to_owned(),
        on_gap: on_gap.into(),
        ..WatchUserStatusRequest::default()
    }
}

/// A client that takes as little as HTTP/2 lets wait, beside what it reads.
pub(crate) async fn narrow(site: &Site) -> PresenceServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", site.address)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(Some(65_535));
    PresenceServiceClient::new(soon("a connection", endpoint.connect()).await.unwrap())
}

pub(crate) async fn next(
    stream: &mut Streaming<WatchUserStatusResponse>,
) -> WatchUserStatusResponse {
    soon("a message", stream.message()).await.unwrap().unwrap()
}

/// A watch whose snapshot has been read.
pub(crate) struct Watching {
    stream: Streaming<WatchUserStatusResponse>,
    pub(crate) snapshot: Vec<UserStatus>,
    parts: usize,
    pub(crate) position: String,
}

impl Watching {
    /// Empty: everybody.
    pub(crate) async fn users(site: &Site, users: &[u32]) -> Self {
        Self::of(
            site,
            WatchUserStatusRequest {
                user_ids: users.to_vec(),
                all_users: users.is_empty(),
                ..WatchUserStatusRequest::default()
            },
        )
        .await
    }

    /// What is asked for, which begins with a snapshot.
    pub(crate) async fn of(site: &Site, request: WatchUserStatusRequest) -> Self {
        Self::by(site.presence().await, request).await
    }

    /// The same, by a client that is there.
    pub(crate) async fn by(
        mut presence: PresenceServiceClient<Channel>,
        request: WatchUserStatusRequest,
    ) -> Self {
        let stream = soon("a stream", presence.watch_user_status(request)).await;
        Self::read(stream.unwrap().into_inner()).await
    }

    /// A stream that begins with a snapshot.
    async fn read(stream: Streaming<WatchUserStatusResponse>) -> Self {
        let mut watching = Self {
            stream,
            snapshot: Vec::new(),
            parts: 0,
            position: String::new(),
        };
        watching.read_snapshot().await;
        watching
    }

    /// The snapshot that comes next.
    async fn read_snapshot(&mut self) {
        let begin = next(&mut self.stream).await;
        assert!(
            matches!(begin.message, Some(Message::SnapshotBegin(it)) if it.scope() == SnapshotScope::All)
        );
        assert_eq!(begin.position, "");
        self.snapshot.clear();
        self.parts = 0;
        loop {
            let response = next(&mut self.stream).await;
            match response.message {
                Some(Message::Snapshot(part)) => self.snapshot.extend(part.users),
                Some(Message::SnapshotEnd(_)) => {
                    self.position = response.position;
                    return;
                }
                other => panic!("inside a snapshot: {other:?}"),
            }
            self.parts += 1;
        }
    }

    /// The next change.
    pub(crate) async fn change(&mut self) -> (UserStatus, ChangeReason) {
        let (_, change) = self.whole_change().await;
        let reason = change.reason();
        (change.user.unwrap(), reason)
    }

    /// The same with all that is said of it, and where it stands.
    pub(crate) async fn whole_change(&mut self) -> (WatchUserStatusResponse, StatusChange) {
        let response = next(&mut self.stream).await;
        match response.message.clone() {
            Some(Message::Change(change)) => (response, change),
            other => panic!("not a change: {other:?}"),
        }
    }

    /// What the stream says next.
    pub(crate) async fn next(&mut self) -> Result<Option<WatchUserStatusResponse>, tonic::Status> {
        soon("a message", self.stream.message()).await
    }
}
