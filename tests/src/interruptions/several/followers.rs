//! Services that follow at every node: one subscribes to all chat messages, one watches all users. Each moves on to the next
//! node when its stream ends, and every few seconds anyway, and resumes there.
//!
//! What one node promises, several do: every message of one MsgServer after the other, or a gap is told; a state that is true
//! in the end, and in which nobody was ever offline who was not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{SubscribeRequest, WatchUserStatusRequest};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::diary::{Diary, Subscriber, Watcher};
use crate::cast::judge::Judge;

/// How long a stream is kept: each one at most so long, and the next ones a bit longer each.
const KEPT: Duration = Duration::from_secs(2);
const LONGER: Duration = Duration::from_millis(300);
/// Before another node is tried.
const PAUSE: Duration = Duration::from_millis(50);
/// Connecting to a node that stands still.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Until all know how things are when nothing happens any more.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Two services for each node.
#[derive(Debug)]
pub(super) struct Followers {
    subscribers: Vec<Arc<Mutex<Subscriber>>>,
    watchers: Vec<Arc<Mutex<Watcher>>>,
    _tasks: JoinSet<()>,
}

impl Followers {
    /// They begin, each at another node.
    pub(super) fn start(nodes: &[SocketAddr], judge: &Arc<Judge>) -> Self {
        let mut tasks = JoinSet::new();
        let (mut subscribers, mut watchers) = (Vec::new(), Vec::new());
        for first in 0..nodes.len() {
            let of = |more| Round {
                nodes: nodes.to_vec(),
                at: first,
                kept: KEPT + LONGER * (2 * first as u32 + more),
                judge: Arc::clone(judge),
            };
            let subscriber = Arc::<Mutex<Subscriber>>::default();
            tasks.spawn(of(0).follow(Arc::clone(&subscriber)));
            subscribers.push(subscriber);
            let watcher = Arc::<Mutex<Watcher>>::default();
            tasks.spawn(of(1).follow(Arc::clone(&watcher)));
            watchers.push(watcher);
        }
        Self {
            subscribers,
            watchers,
            _tasks: tasks,
        }
    }

    /// Nothing happens any more: waits until all know how things are. What is wrong with what they were told since the last
    /// time.
    pub(super) async fn wrong(&self, judge: &Judge) -> Vec<String> {
        let limit = Instant::now() + PATIENCE;
        while self.lacks(judge).is_some() && Instant::now() < limit {
            sleep(POLL).await;
        }
        let mut wrong: Vec<_> = self.lacks(judge).into_iter().collect();
        for subscriber in &self.subscribers {
            wrong.append(&mut subscriber.lock().wrong);
        }
        for watcher in &self.watchers {
            wrong.append(&mut watcher.lock().wrong);
        }
        wrong
    }

    /// What they were told, in numbers.
    pub(super) fn told(&self) -> String {
        let sum = |of: fn(&Subscriber) -> u64| -> u64 {
            self.subscribers.iter().map(|it| of(&it.lock())).sum()
        };
        let watched = |of: fn(&Watcher) -> u64| -> u64 {
            self.watchers.iter().map(|it| of(&it.lock())).sum()
        };
        format!(
            "{} subscribers: {} events, {} times resumed, {} gaps; {} watchers: {} changes, {} times resumed, {} gaps",
            self.subscribers.len(),
            sum(|it| it.events),
            sum(|it| it.resumed),
            sum(|it| it.gaps),
            self.watchers.len(),
            watched(|it| it.events),
            watched(|it| it.resumed),
            watched(|it| it.gaps),
        )
    }

    fn lacks(&self, judge: &Judge) -> Option<String> {
        judge.with(|judge| {
            let mut subscribers = self.subscribers.iter();
            let behind = subscribers.find_map(|it| it.lock().lacks(judge));
            behind.or_else(|| self.watchers.iter().find_map(|it| it.lock().lacks(judge)))
        })
    }
}

/// Who goes from node to node.
struct Round {
    nodes: Vec<SocketAddr>,
    at: usize,
    kept: Duration,
    judge: Arc<Judge>,
}

impl Round {
    async fn follow<D: Follows>(mut self, diary: Arc<Mutex<D>>) {
        loop {
            let node = self.nodes[self.at];
            let until = Instant::now() + self.kept;
            // That it stays as long as it does is no failure of the node.
            if let Ok(Err(status)) = timeout_at(until, self.read(node, &diary)).await
                && !is_in_order(&status)
            {
                let problem = format!("node {} ended a stream with {status:?}", self.at);
                diary.lock().problem(problem);
            }
            self.at = (self.at + 1) % self.nodes.len();
            sleep(PAUSE).await;
        }
    }

    async fn read<D: Follows>(&self, node: SocketAddr, diary: &Mutex<D>) -> Result<(), Status> {
        let endpoint = Endpoint::from_shared(format!("http://{node}"));
        let endpoint = endpoint.map_err(|error| Status::internal(error.to_string()))?;
        let connected = endpoint.connect_timeout(CONNECT_LIMIT).connect().await;
        let channel = connected.map_err(|error| Status::unavailable(error.to_string()))?;
        let position = diary.lock().position();
        let mut stream = D::open(channel, position).await?;
        let mut is_first = true;
        while let Some(response) = stream.message().await? {
            self.judge
                .with(|judge| diary.lock().told(response, is_first, judge));
            is_first = false;
        }
        Ok(())
    }
}

/// What a node says that does not lead any more, or what the transport says of one that is gone.
fn is_in_order(status: &Status) -> bool {
    let is_of_transport = std::error::Error::source(status).is_some();
    status.code() == Code::Unavailable || is_of_transport
}

/// A stream of a service.
pub(super) trait Follows: Diary {
    /// Goes on behind a position; empty: begins.
    fn open(
        channel: Channel,
        resume_position: String,
    ) -> impl Future<Output = Result<Streaming<Self::Response>, Status>> + Send;
}

impl Follows for Subscriber {
    async fn open(
        channel: Channel,
        resume_position: String,
    ) -> Result<Streaming<Self::Response>, Status> {
        let request = SubscribeRequest {
            filters: vec![Self::filter()],
            resume_position,
            ..SubscribeRequest::default()
        };
        let opened = BroadcastServiceClient::new(channel)
            .subscribe(request)
            .await;
        Ok(opened?.into_inner())
    }
}

impl Follows for Watcher {
    async fn open(
        channel: Channel,
        resume_position: String,
    ) -> Result<Streaming<Self::Response>, Status> {
        let request = WatchUserStatusRequest {
            all_users: true,
            resume_position,
            ..WatchUserStatusRequest::default()
        };
        let opened = PresenceServiceClient::new(channel)
            .watch_user_status(request)
            .await;
        Ok(opened?.into_inner())
    }
}
