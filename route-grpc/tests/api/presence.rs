//! What PresenceService promises.

use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::watch_user_status_response::Message;
use route_proto::v1::{
    BatchGetUserStatusRequest, ChangeReason, GapPolicy, GapReason, GetUserStatusRequest,
    LegacyStatus, PresenceStatus, SessionState, StatusChange, UserStatus, WatchUserStatusRequest,
    WatchUserStatusResponse,
};
use tonic::transport::Channel;
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

/// A watch of everybody from here on.
fn resumed(position: &str, on_gap: GapPolicy) -> WatchUserStatusRequest {
    WatchUserStatusRequest {
        all_users: true,
        resume_position: position.to_owned(),
        on_gap: on_gap.into(),
        ..WatchUserStatusRequest::default()
    }
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
        let mut stream = stream.unwrap().into_inner();
        let begin = next(&mut stream).await;
        assert!(matches!(begin.message, Some(Message::SnapshotBegin(_))));
        assert_eq!(begin.position, "");
        let mut snapshot = Vec::new();
        let mut parts = 0;
        loop {
            let response = next(&mut stream).await;
            match response.message {
                Some(Message::Snapshot(part)) => snapshot.extend(part.users),
                Some(Message::SnapshotEnd(_)) => {
                    return Self {
                        stream,
                        snapshot,
                        parts,
                        position: response.position,
                    };
                }
                other => panic!("inside a snapshot: {other:?}"),
            }
            parts += 1;
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
