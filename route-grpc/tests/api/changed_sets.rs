//! WatchUserSet: a set of users that changes while the stream goes on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::watch_user_set_request::Message as Said;
use route_proto::v1::watch_user_set_response::Message;
use route_proto::v1::{
    BatchGetUserStatusRequest, ChangeUserSet, GapPolicy, GapReason, LagPolicy, PresenceStatus,
    SnapshotScope, UserStatus, WatchUserSetRequest, WatchUserSetResponse, WatchUserSetStart,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::attach::reason;
use crate::played::{Played, chat};
use crate::presence::narrow;
use crate::site::{Site, soon};

/// Schedules that are played, unless TEST_SCHEDULES says otherwise.
const SCHEDULES: u64 = 40;
/// Users who come and go.
const USERS: u32 = 12;
/// Always watched: tells that everything before has been told.
const BELL: u32 = 1000;

#[tokio::test]
async fn users_are_added_and_removed_without_losing_the_stream() {
    let (site, mut a) = Played::one(&[1, 2, 3]).await;
    let mut watcher = Watcher::start(&site, start(&[1])).await;
    assert_eq!(watcher.snapshot(SnapshotScope::All).await, [1]);

    watcher.say(1, &[2, 9, 1], &[]).await;
    let changed = watcher.next().await;
    assert!(
        matches!(&changed.message, Some(Message::SetChanged(it)) if (it.number, it.user_count) == (1, 3))
    );
    assert_eq!(changed.position, "", "what it announces is to come");
    assert_eq!(watcher.snapshot(SnapshotScope::Added).await, [2]);

    watcher.say(7, &[], &[1, 5]).await;
    let changed = watcher.next().await;
    assert!(
        matches!(&changed.message, Some(Message::SetChanged(it)) if (it.number, it.user_count) == (7, 2))
    );
    assert!(!changed.position.is_empty(), "nothing follows it");
    a.update(1, 1, 1, 2).await;
    a.update(1, 9, 1, 1).await;
    assert_eq!(watcher.change().await, 9, "nothing more is told of user 1");

    // Who is removed and added in one message is told anew.
    watcher.say(8, &[2], &[2]).await;
    watcher.next().await;
    assert_eq!(watcher.snapshot(SnapshotScope::Added).await, [2]);
}

#[tokio::test]
async fn many_changes_are_answered_in_order_and_go_on_when_no_more_can_come() {
    let (site, mut a) = Played::one(&[1]).await;
    let mut watcher = Watcher::start(&site, start(&[])).await;
    for number in 1..=100 {
        watcher.say(number, &[], &[1]).await;
    }
    watcher.say(101, &[1], &[]).await;
    watcher.requests = None;

    assert!(watcher.snapshot(SnapshotScope::All).await.is_empty());
    for number in 1..=101 {
        let answer = watcher.next().await.message;
        assert!(matches!(answer, Some(Message::SetChanged(it)) if it.number == number));
    }
    assert_eq!(watcher.snapshot(SnapshotScope::Added).await, [1]);
    a.update(1, 1, 1, 2).await;
    assert_eq!(watcher.change().await, 1);
}

#[tokio::test]
async fn a_set_that_has_changed_can_be_resumed() {
    let (site, mut a) = Played::one(&[1, 2]).await;
    let mut watcher = Watcher::start(&site, start(&[1])).await;
    watcher.snapshot(SnapshotScope::All).await;
    watcher.say(1, &[2], &[1]).await;
    watcher.next().await;
    let end = watcher.snapshot_end(SnapshotScope::Added).await;
    a.update(1, 2, 1, 2).await;
    a.confirmed(1).await;

    let resumed = |users: &[u32]| WatchUserSetStart {
        resume_position: end.clone(),
        on_gap: GapPolicy::Fail.into(),
        ..start(users)
    };
    let mut again = Watcher::start(&site, resumed(&[2])).await;
    assert!(matches!(
        again.next().await.message,
        Some(Message::Resumed(_))
    ));
    assert_eq!(again.change().await, 2);
    let refused = open(&site, vec![first(resumed(&[1, 2]))])
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "FILTER_CHANGED");
}

#[tokio::test]
async fn a_set_that_cannot_be_resumed_is_told_why_and_anew() {
    let site = Site::with(|it| it.log_events = 4).await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[1]).await;
    let old = at_end_of_snapshot(&site).await;
    for _ in 0..10 {
        a.route(1, chat(1, 1, b"x")).await;
    }
    a.confirmed(1).await;
    let foreign = at_end_of_snapshot(&Site::start().await).await;

    for (position, reason, missed_count) in [
        (old, GapReason::Compacted, 6),
        (foreign, GapReason::EpochChanged, 0),
    ] {
        let resumed = WatchUserSetStart {
            resume_position: position,
            ..start(&[1])
        };
        let mut again = Watcher::start(&site, resumed).await;

        let response = again.next().await;
        assert_eq!(response.position, "", "what it made up for is to come");
        let Some(Message::Gap(gap)) = response.message else {
            panic!("no gap: {response:?}");
        };
        assert_eq!((gap.reason(), gap.missed_count), (reason, missed_count));
        assert_eq!(again.snapshot(SnapshotScope::All).await, [1]);
    }
}

async fn at_end_of_snapshot(site: &Site) -> String {
    let mut watcher = Watcher::start(site, start(&[1])).await;
    watcher.snapshot_end(SnapshotScope::All).await
}

/// Promise 9. While nobody reads the stream, more is told than the windows of a connection and the log hold together.
#[tokio::test]
async fn a_watcher_of_a_set_that_falls_behind_is_told_so_and_anew() {
    let site = Site::with(|it| it.log_events = 100).await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[7]).await;
    let mut watcher = Watcher::by(narrow(&site).await, start(&[7, BELL])).await;
    watcher.snapshot(SnapshotScope::All).await;

    a.blinks(7, 20_001).await;
    a.update(1, BELL, 1, 1).await;
    a.confirmed(1).await;

    let (mut known, mut gaps) = (BTreeMap::new(), 0);
    while !known.contains_key(&BELL) {
        match watcher.next().await.message {
            Some(Message::Change(change)) => {
                let user = change.user.unwrap();
                known.insert(user.user_id, user.status());
            }
            Some(Message::Gap(gap)) => {
                assert_eq!(gap.reason(), GapReason::SlowConsumer);
                assert!(gap.missed_count > 0, "{gap:?}");
                gaps += 1;
            }
            Some(Message::SnapshotBegin(begin)) => {
                assert_eq!(begin.scope(), SnapshotScope::All);
                known.clear();
            }
            Some(Message::Snapshot(part)) => {
                known.extend(part.users.iter().map(|it| (it.user_id, it.status())));
            }
            Some(Message::SnapshotEnd(_)) => {}
            other => panic!("nobody has asked for that: {other:?}"),
        }
    }
    assert_eq!(known[&7], PresenceStatus::Away);
    assert!(gaps > 0, "it fell behind");
}

#[tokio::test]
async fn a_stream_too_many_is_refused() {
    let site = Site::with(|it| it.max_streams = 1).await;
    let _first = Watcher::start(&site, start(&[])).await;

    let refused = open(&site, vec![first(start(&[]))]).await.unwrap_err();

    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "STREAM_LIMIT");
}

#[tokio::test]
async fn a_node_that_drains_says_so_and_ends_the_stream() {
    let (site, _a) = Played::one(&[1]).await;
    let mut watcher = Watcher::start(&site, start(&[1])).await;
    watcher.snapshot(SnapshotScope::All).await;
    let end = watcher.position.clone();

    site.shutdown.begin();

    let response = watcher.next().await;
    assert!(
        matches!(response.message, Some(Message::Draining(_))),
        "{response:?}"
    );
    assert_eq!(response.position, end);
    let ended = soon("the end", watcher.stream.message()).await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(reason(&ended), "DRAINING");
}

/// Paused time goes on when everybody waits.
#[tokio::test(start_paused = true)]
async fn a_quiet_stream_says_that_nothing_was_missed() {
    let (site, _a) = Played::one(&[1]).await;
    let mut watcher = Watcher::start(&site, start(&[1])).await;
    let end = watcher.snapshot_end(SnapshotScope::All).await;

    let quiet = watcher.next().await;

    assert!(matches!(quiet.message, Some(Message::Watermark(_))));
    assert_eq!(quiet.position, end);
}

#[tokio::test]
async fn a_stream_that_is_old_is_asked_to_come_back() {
    let site = Site::with(|it| it.max_stream_age = std::time::Duration::from_millis(100)).await;
    let mut watcher = Watcher::start(&site, start(&[1])).await;
    watcher.snapshot(SnapshotScope::All).await;

    assert!(matches!(
        watcher.next().await.message,
        Some(Message::Draining(_))
    ));
    let resumed = WatchUserSetStart {
        resume_position: watcher.position.clone(),
        ..start(&[1])
    };
    let mut again = Watcher::start(&site, resumed).await;
    assert!(matches!(
        again.next().await.message,
        Some(Message::Resumed(_))
    ));
}

#[tokio::test]
async fn what_is_against_the_rules_ends_the_stream() {
    let site = Site::start().await;
    let rules = against_the_rules();
    let count = rules.len();
    for (problem, messages) in rules {
        let refused = match open(&site, messages).await {
            Err(refused) => refused,
            Ok(mut stream) => loop {
                match soon("a message", stream.message()).await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("it ends well: {problem}"),
                    Err(refused) => break refused,
                }
            },
        };
        assert_eq!(refused.code(), Code::InvalidArgument, "{problem}");
        assert_eq!(reason(&refused), "FIELD_INVALID");
        assert!(
            refused.message().starts_with(problem),
            "{problem}: {refused}"
        );
    }
    site.shows("teamtalk_route_streams_open 0").await;
    let labels = r#"{reason="ERROR_REASON_FIELD_INVALID",rpc_method="teamtalk.route.v1.PresenceService/WatchUserSet"}"#;
    let series = "teamtalk_route_streams_refused_total";
    site.shows(&format!("{series}{labels} {count}")).await;
}

/// What a client may not say, and how it is told.
fn against_the_rules() -> Vec<(&'static str, Vec<WatchUserSetRequest>)> {
    vec![
        ("start: has to be", vec![change(1, &[1], &[])]),
        ("start: has to be", Vec::new()),
        (
            "start: comes once",
            vec![first(start(&[])), first(start(&[]))],
        ),
        ("start.user_ids: 10001", vec![first(start(&[1; 10_001]))]),
        (
            "start.change_kinds: 7",
            vec![first(WatchUserSetStart {
                change_kinds: vec![7],
                ..start(&[])
            })],
        ),
        (
            "start.resume_position: not",
            vec![first(WatchUserSetStart {
                resume_position: "x".to_owned(),
                ..start(&[])
            })],
        ),
        (
            "change_set.number: 0, but the first is at least 1",
            vec![first(start(&[])), change(0, &[1], &[])],
        ),
        (
            "change_set.number: 2, but it has to be greater than the one before, 2",
            vec![
                first(start(&[])),
                change(2, &[1], &[]),
                change(2, &[2], &[]),
            ],
        ),
        (
            "message: is empty",
            vec![first(start(&[])), WatchUserSetRequest { message: None }],
        ),
        (
            "change_set.add_user_ids: 10001 ids",
            vec![
                first(start(&(1..6001).collect::<Vec<_>>())),
                change(1, &(6000..10_002).collect::<Vec<_>>(), &[]),
            ],
        ),
        (
            "start.user_ids[1]: 0 is nobody",
            vec![first(start(&[1, 0]))],
        ),
        (
            "change_set.add_user_ids[0]: 0 is nobody",
            vec![first(start(&[])), change(1, &[0], &[])],
        ),
        (
            "change_set.remove_user_ids: 10001 ids",
            vec![first(start(&[])), change(1, &[], &[1; 10_001])],
        ),
    ]
}

#[tokio::test]
async fn whoever_watches_a_set_that_changes_knows_in_the_end_what_the_node_knows() {
    let schedules = std::env::var("TEST_SCHEDULES").ok();
    let schedules = schedules.map_or(SCHEDULES, |number| number.parse().unwrap());
    for seed in 0..schedules {
        Schedule::new(seed).await.play().await;
    }
}

/// A node, a MsgServer whose users come and go, and a watcher whose set changes.
struct Schedule {
    seed: u64,
    dice: fastrand::Rng,
    site: Site,
    a: Played,
    options: WatchUserSetStart,
    watcher: Watcher,
    /// What the watcher has been told, and of whom it is to be told.
    known: BTreeMap<u32, UserStatus>,
    watched: BTreeSet<u32>,
    /// Changes of the set that are not answered: the number, who is added, who removed.
    asked: VecDeque<(u32, Vec<u32>, Vec<u32>)>,
    number: u32,
    bell: i32,
    /// What was read last has no position: a snapshot is to come, or goes on.
    in_between: bool,
}

impl Schedule {
    async fn new(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        // Often it holds too little for a watcher that was away.
        let log_events = if dice.bool() { 16 } else { 4096 };
        let site = Site::with(|it| it.log_events = log_events).await;
        let mut a = Played::attach(&site, "a").await;
        a.open_with(1, &[BELL, 1, 2, 3]).await;
        let options = WatchUserSetStart {
            include_sessions: dice.bool(),
            on_lag: if dice.bool() {
                LagPolicy::Newest
            } else {
                LagPolicy::EveryChange
            }
            .into(),
            ..start(&[])
        };
        let users = [1, 4, BELL];
        let first = WatchUserSetStart {
            user_ids: users.to_vec(),
            ..options.clone()
        };
        Self {
            watcher: Watcher::start(&site, first).await,
            seed,
            dice,
            site,
            a,
            options,
            known: BTreeMap::new(),
            watched: BTreeSet::from(users),
            asked: VecDeque::new(),
            number: 0,
            bell: 1,
            in_between: true,
        }
    }

    async fn play(mut self) {
        for _ in 0..60 {
            match self.dice.u32(0..10) {
                0..5 => self.somebody_changes().await,
                5..8 => self.ask().await,
                8 => self.read_all().await,
                _ => self.come_back().await,
            }
        }
        self.read_all().await;
        let users: Vec<u32> = self.watched.iter().copied().collect();
        let request = BatchGetUserStatusRequest {
            user_ids: users,
            include_sessions: self.options.include_sessions,
            ..BatchGetUserStatusRequest::default()
        };
        let mut presence = self.site.presence().await;
        let answer = soon("an answer", presence.batch_get_user_status(request)).await;
        for user in answer.unwrap().into_inner().users {
            let known = self.known.get(&user.user_id);
            let expected = (user.status() != PresenceStatus::Offline).then(|| seen(&user));
            assert_eq!(
                known.map(seen),
                expected,
                "seed {}: {}",
                self.seed,
                user.user_id
            );
        }
        let others = self.known.keys().find(|user| !self.watched.contains(user));
        assert_eq!(others, None, "seed {}", self.seed);
    }

    async fn somebody_changes(&mut self) {
        for _ in 0..self.dice.u32(1..20) {
            let user = self.dice.u32(1..=USERS);
            let client_type = *self.dice.choice(&[1, 2, 0x11]).unwrap();
            let status = self.dice.i32(1..4);
            self.a.update(1, user, client_type, status).await;
        }
    }

    async fn ask(&mut self) {
        let some = |dice: &mut fastrand::Rng| -> Vec<u32> {
            let count = dice.usize(0..4);
            (0..count).map(|_| dice.u32(1..=USERS)).collect()
        };
        let (add, remove) = (some(&mut self.dice), some(&mut self.dice));
        self.number += 1;
        self.watcher.say(self.number, &add, &remove).await;
        self.asked.push_back((self.number, add, remove));
    }

    /// Reads until all is answered, and everything has been told that has happened before.
    async fn read_all(&mut self) {
        self.bell = if self.bell == 1 { 3 } else { 1 };
        self.a.update(1, BELL, 1, self.bell).await;
        self.a.confirmed(1).await;
        let wanted = if self.bell == 1 {
            PresenceStatus::Online
        } else {
            PresenceStatus::Away
        };
        while !self.asked.is_empty()
            || self.in_between
            || self
                .known
                .get(&BELL)
                .is_none_or(|user| user.status() != wanted)
        {
            self.read().await;
        }
    }

    async fn read(&mut self) {
        let seed = self.seed;
        let response = self.watcher.next().await;
        self.in_between = response.position.is_empty();
        match response.message.unwrap() {
            Message::SetChanged(changed) => {
                let (number, add, remove) = self.asked.pop_front().unwrap();
                assert_eq!(changed.number, number, "seed {seed}");
                for user in remove {
                    self.watched.remove(&user);
                    self.known.remove(&user);
                }
                self.watched.extend(add);
                assert_eq!(
                    changed.user_count as usize,
                    self.watched.len(),
                    "seed {seed}"
                );
            }
            Message::SnapshotBegin(begin) => {
                if begin.scope() == SnapshotScope::All {
                    self.known.clear();
                }
            }
            Message::Snapshot(part) => {
                for user in part.users {
                    let former = self.known.insert(user.user_id, user.clone());
                    assert_eq!(former, None, "seed {seed}: told twice");
                }
            }
            Message::Change(change) => {
                let user = change.user.clone().unwrap();
                assert!(
                    self.watched.contains(&user.user_id),
                    "seed {seed}: {user:?}"
                );
                let former = self.known.remove(&user.user_id);
                let former = former.map_or(PresenceStatus::Offline, |user| user.status());
                assert_eq!(change.previous_status(), former, "seed {seed}: {change:?}");
                if user.status() != PresenceStatus::Offline {
                    self.known.insert(user.user_id, user);
                }
            }
            Message::Resumed(_) | Message::SnapshotEnd(_) | Message::Gap(_) => {}
            Message::Watermark(_) => panic!("seed {seed}: something has not been told"),
            Message::Draining(_) => panic!("seed {seed}: it ends"),
        }
        let known = self.known.keys();
        let stranger = known.copied().find(|user| !self.watched.contains(user));
        assert_eq!(stranger, None, "seed {seed}");
    }

    /// The stream breaks, and is opened again where it was.
    async fn come_back(&mut self) {
        self.read_all().await;
        let position = self.watcher.position.clone();
        self.somebody_changes().await;
        let first = WatchUserSetStart {
            user_ids: self.watched.iter().rev().copied().collect(),
            resume_position: position,
            ..self.options.clone()
        };
        self.watcher = Watcher::start(&self.site, first).await;
        self.number = 0;
    }
}

/// What is to be the same in the end. How many logins there are is no change that is told.
fn seen(user: &UserStatus) -> (PresenceStatus, i32, Vec<(i32, i32, String)>) {
    let sessions = user.sessions.iter();
    let mut sessions: Vec<_> = sessions
        .map(|it| (it.client_type, it.state, it.msg_server.clone()))
        .collect();
    sessions.sort_unstable();
    (user.status(), user.legacy_status, sessions)
}

fn start(users: &[u32]) -> WatchUserSetStart {
    WatchUserSetStart {
        user_ids: users.to_vec(),
        ..WatchUserSetStart::default()
    }
}

fn first(start: WatchUserSetStart) -> WatchUserSetRequest {
    WatchUserSetRequest {
        message: Some(Said::Start(start)),
    }
}

fn change(number: u32, add: &[u32], remove: &[u32]) -> WatchUserSetRequest {
    WatchUserSetRequest {
        message: Some(Said::ChangeSet(ChangeUserSet {
            number,
            add_user_ids: add.to_vec(),
            remove_user_ids: remove.to_vec(),
        })),
    }
}

/// A stream of which all is said at once.
async fn open(
    site: &Site,
    messages: Vec<WatchUserSetRequest>,
) -> Result<Streaming<WatchUserSetResponse>, tonic::Status> {
    let mut presence = site.presence().await;
    let answer = presence.watch_user_set(tokio_stream::iter(messages));
    Ok(soon("a stream", answer).await?.into_inner())
}

struct Watcher {
    /// None: it says nothing more.
    requests: Option<mpsc::Sender<WatchUserSetRequest>>,
    stream: Streaming<WatchUserSetResponse>,
    /// The last one that was not empty.
    position: String,
}

impl Watcher {
    async fn start(site: &Site, start: WatchUserSetStart) -> Self {
        Self::by(site.presence().await, start).await
    }

    async fn by(mut presence: PresenceServiceClient<Channel>, start: WatchUserSetStart) -> Self {
        let (requests, receiver) = mpsc::channel(1000);
        requests.send(first(start)).await.unwrap();
        let answer = presence.watch_user_set(ReceiverStream::new(receiver));
        Self {
            stream: soon("a stream", answer).await.unwrap().into_inner(),
            requests: Some(requests),
            position: String::new(),
        }
    }

    async fn say(&self, number: u32, add: &[u32], remove: &[u32]) {
        let requests = self.requests.as_ref().unwrap();
        let said = requests.send(change(number, add, remove));
        soon("room", said).await.unwrap();
    }

    async fn next(&mut self) -> WatchUserSetResponse {
        let response = soon("a message", self.stream.message()).await;
        let response = response.unwrap().unwrap();
        assert!(response.node_time.is_some());
        if !response.position.is_empty() {
            self.position.clone_from(&response.position);
        }
        response
    }

    /// The ids in a whole snapshot.
    async fn snapshot(&mut self, scope: SnapshotScope) -> Vec<u32> {
        let begin = self.next().await.message;
        assert!(matches!(begin, Some(Message::SnapshotBegin(it)) if it.scope() == scope));
        let mut users = Vec::new();
        loop {
            match self.next().await.message {
                Some(Message::Snapshot(part)) => {
                    users.extend(part.users.iter().map(|it| it.user_id))
                }
                Some(Message::SnapshotEnd(_)) => return users,
                other => panic!("inside a snapshot: {other:?}"),
            }
        }
    }

    /// The position at the end of one.
    async fn snapshot_end(&mut self, scope: SnapshotScope) -> String {
        self.snapshot(scope).await;
        self.position.clone()
    }

    /// Whose presence changes next.
    async fn change(&mut self) -> u32 {
        match self.next().await.message {
            Some(Message::Change(change)) => change.user.unwrap().user_id,
            other => panic!("not a change: {other:?}"),
        }
    }
}
