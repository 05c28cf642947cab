//! Services that watch users of their own each, while these come and go: half of the services read,
//! half do not before the end. When all is at rest, each one's replayed state is compared with what
//! the node says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use prost_types::Timestamp;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::watch_user_status_response::Message;
use route_proto::v1::{
    BatchGetUserStatusRequest, PresenceStatus, UserStatus, WatchUserStatusRequest,
    WatchUserStatusResponse,
};
use system_tests::dice::Dice;
use system_tests::player::connection::{BARRIER_LIMIT, Connection, Options};
use system_tests::player::messages::{self, Client};
use system_tests::siege::unread;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::Streaming;

use super::Workload;
use crate::figures::Figures;
use crate::server::{Kind, Server};
use crate::service::Connection as Connected;

/// Watchers that read; as many do not.
const READERS: usize = 1000;
/// Streams of one connection: of those that read, or of those that do not.
const STREAMS: usize = 10;
/// Users that each of them watches, and users in all.
const WATCHED: usize = 1000;
const USERS: usize = 100_000;
const FIRST_USER: u32 = 20_000_000;
/// Changes in a second: each concerns 20 watchers on average, so 50 000 deliveries.
const CHANGES: u64 = 2500;
const PACE: Duration = Duration::from_millis(5);
/// Users in one question.
const ASKED: usize = 10_000;
/// Until every watcher knows how things are.
const PATIENCE: Duration = Duration::from_secs(60);
const SEED: u64 = 7;

pub(super) struct Watchers {
    pub(super) duration: Duration,
}

impl Workload for Watchers {
    fn label(&self) -> String {
        format!("{READERS} watchers that read, {READERS} that do not, {CHANGES} changes/s")
    }

    fn is_for(&self, kind: Kind) -> bool {
        kind == Kind::Route
    }

    fn run(&self, server: &Server) -> anyhow::Result<Figures> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.play(server))
    }
}

impl Watchers {
    async fn play(&self, server: &Server) -> anyhow::Result<Figures> {
        let mut dice = Dice::new(SEED);
        let deliveries = Arc::new(AtomicU64::new(0));
        let (truth, known) = watch::channel(None);
        let mut watchers = JoinSet::new();
        for group in 0..2 * READERS / STREAMS {
            let is_silent = group % 2 == 1;
            let channel = if is_silent {
                let node = server.grpc().to_string();
                server.service.connect_as(&node, unread).await?
            } else {
                server.connect().await?
            };
            for _ in 0..STREAMS {
                let users = some_users(&mut dice);
                let mut watcher = Watcher::begin(channel.clone(), users).await?;
                let (known, deliveries) = (known.clone(), Arc::clone(&deliveries));
                watchers.spawn(async move {
                    if is_silent {
                        // It does not read as long as nobody knows the outcome.
                        let mut known = known.clone();
                        known.wait_for(Option::is_some).await?;
                    }
                    watcher.read(known, &deliveries).await
                });
            }
        }

        let before = server.cpu()?;
        let began = Instant::now();
        let (changes, _users_stay) = self.change(server.address, &mut dice).await?;
        let elapsed = began.elapsed();
        let usage = server.usage_since(&before)?;
        let delivered = deliveries.load(Ordering::Relaxed);
        let outcome = states(server.connect().await?).await?;
        truth.send_replace(Some(Arc::new(outcome)));
        let (mut wrong, mut gaps) = (0, 0);
        // Nothing changes any more.
        while let Some(ended) = watchers.join_next().await {
            let (is_right, skipped) = ended??;
            wrong += usize::from(!is_right);
            gaps += skipped;
        }

        let seconds = elapsed.as_secs_f64();
        let mut figures = Figures::default();
        figures.add("changes_per_s", changes as f64 / seconds);
        figures.add("read_per_s", delivered as f64 / seconds);
        figures.add_cost("server_us_per_change_read", &usage, delivered);
        figures.add_share(&usage, elapsed);
        figures.add("resident_mib", (server.resident_bytes() >> 20) as f64);
        figures.add("gaps", gaps as f64);
        figures.add("wrong", wrong as f64);
        Ok(figures)
    }

    /// Users log in and out; returns how often, and the MsgServer that has them. All of that is
    /// handled.
    async fn change(&self, pdu: SocketAddr, dice: &mut Dice) -> anyhow::Result<(u64, Connection)> {
        let list = messages::online(&[]);
        let server = Connection::of_msg_server(pdu, Options::default(), true, &list).await?;
        server.count_only();
        let mut online = vec![false; USERS];
        let began = Instant::now();
        let mut clock = interval(PACE);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = 0;
        while began.elapsed() < self.duration {
            clock.tick().await;
            let due = (began.elapsed().as_secs_f64() * CHANGES as f64) as u64;
            let mut data = Vec::new();
            for _ in changes..due {
                let user = dice.roll(USERS);
                online[user] ^= true;
                let status = if online[user] {
                    messages::Status::Online
                } else {
                    messages::Status::Offline
                };
                let number = FIRST_USER + user as u32;
                data.extend(messages::update(number, status, Client::Windows).encode());
            }
            changes = due;
            server.write(&data).await?;
        }
        anyhow::ensure!(server.barrier(BARRIER_LIMIT).await, "no answer");
        Ok((changes, server))
    }
}

/// Users that are not offline, with their status.
type States = HashMap<u32, i32>;

/// How the node says that everybody is, and when it said so; nothing has changed since.
#[derive(Default)]
struct Outcome {
    states: States,
    at: NodeTime,
}

/// By the node's clock.
type NodeTime = (i64, i32);

fn node_time(time: Option<Timestamp>) -> NodeTime {
    time.map_or((0, 0), |time| (time.seconds, time.nanos))
}

/// What a response is, as far as it matters for reading on.
#[derive(PartialEq, Eq)]
enum Said {
    Change,
    /// Nothing was missed up to this time.
    NothingMore(NodeTime),
    Other,
}

/// One stream, and what it has said.
struct Watcher {
    stream: Streaming<WatchUserStatusResponse>,
    users: Vec<u32>,
    states: States,
    gaps: u64,
}

impl Watcher {
    async fn begin(channel: Connected, users: Vec<u32>) -> anyhow::Result<Self> {
        let request = WatchUserStatusRequest {
            user_ids: users.clone(),
            all_users: users.is_empty(),
            ..WatchUserStatusRequest::default()
        };
        let mut client = PresenceServiceClient::new(channel);
        let stream = client.watch_user_status(request).await?.into_inner();
        Ok(Self {
            stream,
            users,
            states: States::new(),
            gaps: 0,
        })
    }

    /// Reads until the outcome is known and nothing more is to be told; false if what it has been
    /// told is not the outcome. And how many gaps there were.
    async fn read(
        &mut self,
        mut known: watch::Receiver<Option<Arc<Outcome>>>,
        deliveries: &AtomicU64,
    ) -> anyhow::Result<(bool, u64)> {
        let outcome = loop {
            tokio::select! {
                response = self.stream.message() => {
                    let response = response?.context("the stream ended")?;
                    if self.take(response) == Said::Change {
                        deliveries.fetch_add(1, Ordering::Relaxed);
                    }
                }
                outcome = known.wait_for(Option::is_some) => {
                    break outcome?.clone().unwrap_or_default();
                }
            }
        };
        let expected: States = self
            .users
            .iter()
            .filter_map(|user| Some((*user, *outcome.states.get(user)?)))
            .collect();
        let rest = async {
            loop {
                let response = self.stream.message().await?;
                match self.take(response.context("the stream ended")?) {
                    Said::NothingMore(at) if at > outcome.at => return anyhow::Ok(()),
                    Said::NothingMore(_) | Said::Change | Said::Other => {}
                }
            }
        };
        let rests = timeout(PATIENCE, rest).await;
        rests.context("it is told and told")??;
        Ok((self.states == expected, self.gaps))
    }

    fn take(&mut self, response: WatchUserStatusResponse) -> Said {
        match response.message {
            Some(Message::SnapshotBegin(_)) => self.states.clear(),
            Some(Message::Snapshot(part)) => part.users.into_iter().for_each(|user| self.is(&user)),
            Some(Message::Change(change)) => {
                if let Some(user) = change.user {
                    self.is(&user);
                }
                return Said::Change;
            }
            Some(Message::Gap(_)) => self.gaps += 1,
            Some(Message::Watermark(_)) => {
                return Said::NothingMore(node_time(response.node_time));
            }
            _ => {}
        }
        Said::Other
    }

    fn is(&mut self, user: &UserStatus) {
        if user.status == PresenceStatus::Offline as i32 {
            self.states.remove(&user.user_id);
        } else {
            self.states.insert(user.user_id, user.status);
        }
    }
}

fn some_users(dice: &mut Dice) -> Vec<u32> {
    let mut users: Vec<u32> = (0..WATCHED)
        .map(|_| FIRST_USER + dice.roll(USERS) as u32)
        .collect();
    users.sort_unstable();
    users.dedup();
    users
}

/// What the node says of everybody.
async fn states(channel: Connected) -> anyhow::Result<Outcome> {
    let mut client = PresenceServiceClient::new(channel);
    let mut outcome = Outcome::default();
    for first in (FIRST_USER..).step_by(ASKED).take(USERS / ASKED) {
        let request = BatchGetUserStatusRequest {
            user_ids: (first..first + ASKED as u32).collect(),
            ..BatchGetUserStatusRequest::default()
        };
        let answer = client.batch_get_user_status(request).await?.into_inner();
        outcome.at = node_time(answer.node_time);
        let online = answer
            .users
            .into_iter()
            .filter(|user| user.status != PresenceStatus::Offline as i32);
        outcome
            .states
            .extend(online.map(|user| (user.user_id, user.status)));
    }
    Ok(outcome)
}
