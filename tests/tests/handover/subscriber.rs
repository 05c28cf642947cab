//! A new service: it follows who is online and what is routed, through every life of the node, as clients of the API do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use route_grpc::Node;
use route_proto::v1::event::Event as Routed;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::watch_user_status_response::Event as Watched;
use route_proto::v1::{
    EventKind, Gap, GapReason, SubscribeRequest, SubscribeResponse, UserStatus,
    WatchUserStatusRequest, WatchUserStatusResponse,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt;

/// Before a stream that was refused is opened again.
const RETRY: Duration = Duration::from_millis(200);

/// It takes its time for what has no position, so that some snapshots are broken off.
const TAKES: Duration = Duration::from_millis(40);

/// What it has been told. Outlives its streams.
#[derive(Debug, Default)]
pub(crate) struct Book {
    status: Cursor,
    routed: Cursor,
    /// Who is not offline.
    pub(crate) online: BTreeSet<u32>,
    /// A snapshot that is not complete.
    snapshot: BTreeSet<u32>,
    /// Snapshots, and when they were complete.
    pub(crate) snapshots: Vec<(Duration, BTreeSet<u32>)>,
    /// Who went offline, and when that was said.
    pub(crate) offline: Vec<(Duration, u32)>,
    /// Since when it should have seen every message.
    pub(crate) since: Option<Duration>,
    /// Messages since then.
    pub(crate) seen: BTreeSet<u32>,
    /// The newest of each connection.
    newest: BTreeMap<String, u32>,
    pub(crate) wrong: Vec<String>,
}

/// Where a stream goes on.
#[derive(Debug, Default)]
struct Cursor {
    position: String,
    /// The life of the node that gave out the position.
    life: u64,
    /// The life whose stream is open, and past its beginning.
    follows: u64,
}

/// How a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Fresh,
    Resumed,
    /// Another life of the node.
    Gap,
    Nonsense,
}

#[derive(Debug)]
pub(crate) struct Subscriber {
    book: Arc<Mutex<Book>>,
    began: Instant,
    tasks: Vec<JoinHandle<()>>,
}

impl Subscriber {
    /// `began`: when the schedule did.
    pub(crate) fn new(began: Instant) -> Self {
        Self {
            book: Arc::default(),
            began,
            tasks: Vec::new(),
        }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// Both streams are open, and past their beginning.
    pub(crate) fn follows(&self, life: u64) -> bool {
        let book = self.book();
        book.status.follows == life && book.routed.follows == life
    }

    /// Opens both streams. What it had before is broken off.
    pub(crate) fn follow(&mut self, node: &Arc<Node>, life: u64) {
        self.leave();
        let (book, began) = (Arc::clone(&self.book), self.began);
        let watched = watch(Arc::clone(node), Arc::clone(&book), life, began);
        let subscribed = subscribe(Arc::clone(node), book, life, began);
        self.tasks = vec![tokio::spawn(watched), tokio::spawn(subscribed)];
    }

    /// Its streams are gone.
    pub(crate) fn leave(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let mut book = self.book();
        (book.status.follows, book.routed.follows) = (0, 0);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.leave();
    }
}

async fn watch(node: Arc<Node>, book: Arc<Mutex<Book>>, life: u64, began: Instant) {
    loop {
        let request = WatchUserStatusRequest {
            resume_position: book.lock().status.position.clone(),
            ..WatchUserStatusRequest::default()
        };
        if let Ok(responses) = Arc::clone(&node).watch_user_status(request).await {
            let mut responses = std::pin::pin!(responses);
            let mut first = true;
            while let Some(Ok(response)) = responses.next().await {
                let first = std::mem::take(&mut first);
                let cannot_resume = response.position.is_empty();
                book.lock().watched(first, life, began.elapsed(), response);
                if cannot_resume {
                    sleep(TAKES).await;
                }
            }
        }
        sleep(RETRY).await;
    }
}

async fn subscribe(node: Arc<Node>, book: Arc<Mutex<Book>>, life: u64, began: Instant) {
    loop {
        let request = SubscribeRequest {
            kinds: vec![
                EventKind::ChatMessage.into(),
                EventKind::GroupChange.into(),
                EventKind::StatusChanged.into(),
            ],
            resume_position: book.lock().routed.position.clone(),
            ..SubscribeRequest::default()
        };
        if let Ok(responses) = Arc::clone(&node).subscribe(request).await {
            let mut responses = std::pin::pin!(responses);
            let mut first = true;
            while let Some(Ok(response)) = responses.next().await {
                let first = std::mem::take(&mut first);
                book.lock().routed(first, life, began.elapsed(), response);
            }
        }
        sleep(RETRY).await;
    }
}

impl Book {
    fn watched(
        &mut self,
        first: bool,
        life: u64,
        now: Duration,
        response: WatchUserStatusResponse,
    ) {
        let Some(event) = response.event else {
            return;
        };
        if first {
            let beginning = match &event {
                Watched::SnapshotBegin(_) => Beginning::Fresh,
                Watched::Resumed(_) => Beginning::Resumed,
                Watched::Gap(gap) => Beginning::of(gap),
                // A node that drains at once.
                Watched::Draining(_) => return,
                Watched::Snapshot(_)
                | Watched::SnapshotEnd(_)
                | Watched::Change(_)
                | Watched::Watermark(_) => Beginning::Nonsense,
            };
            self.begins("status", self.status.expected(life), beginning);
        }
        match event {
            Watched::SnapshotBegin(_) => self.snapshot.clear(),
            Watched::Snapshot(part) => {
                let users = part.users.iter().map(|user| user.user_id);
                self.snapshot.extend(users);
            }
            Watched::SnapshotEnd(_) => {
                self.online = std::mem::take(&mut self.snapshot);
                self.snapshots.push((now, self.online.clone()));
                self.status.follows = life;
            }
            Watched::Resumed(_) => self.status.follows = life,
            Watched::Change(change) => self.changed(now, &change.user.unwrap_or_default()),
            Watched::Gap(gap) if !first => self.wrong.push(format!("status: {gap:?}")),
            Watched::Gap(_) | Watched::Watermark(_) | Watched::Draining(_) => {}
        }
        self.status.moves_to(response.position, life);
    }

    fn changed(&mut self, now: Duration, user: &UserStatus) {
        // Nobody here is away.
        if user.status == route_proto::v1::Status::Offline as i32 {
            self.online.remove(&user.user_id);
            self.offline.push((now, user.user_id));
        } else {
            self.online.insert(user.user_id);
        }
    }

    fn routed(&mut self, first: bool, life: u64, now: Duration, response: SubscribeResponse) {
        let Some(message) = response.message else {
            return;
        };
        if first {
            let beginning = match &message {
                Message::Subscribed(_) => Beginning::Fresh,
                Message::Resumed(_) => Beginning::Resumed,
                Message::Gap(gap) => Beginning::of(gap),
                // A node that drains at once.
                Message::Draining(_) => return,
                Message::Event(_) | Message::Watermark(_) => Beginning::Nonsense,
            };
            self.begins("messages", self.routed.expected(life), beginning);
            self.routed.follows = life;
        }
        match message {
            Message::Subscribed(_) => self.since = Some(now),
            Message::Gap(gap) => {
                if !first {
                    self.wrong.push(format!("messages: {gap:?}"));
                }
                self.since = Some(now);
                self.seen.clear();
                self.newest.clear();
            }
            Message::Event(event) => {
                let id = match event.event {
                    Some(Routed::StatusChanged(change)) => {
                        let user = change.user.unwrap_or_default();
                        if user.status == route_proto::v1::Status::Offline as i32 {
                            self.offline.push((now, user.user_id));
                        }
                        return self.routed.moves_to(response.position, life);
                    }
                    Some(Routed::ChatMessage(chat)) => chat.message_id,
                    Some(Routed::GroupChange(change)) => change.group_id,
                    other => return self.wrong.push(format!("nobody sent {other:?}")),
                };
                let newest = self.newest.entry(event.origin_link).or_default();
                if !self.seen.insert(id) {
                    self.wrong
                        .push(format!("message {id} came to the subscriber twice"));
                } else if id < *newest {
                    let what = format!("message {id} came to the subscriber after {newest}");
                    self.wrong.push(what);
                }
                *newest = id.max(*newest);
            }
            Message::Resumed(_) | Message::Watermark(_) | Message::Draining(_) => {}
        }
        self.routed.moves_to(response.position, life);
    }

    fn begins(&mut self, stream: &str, expected: Beginning, beginning: Beginning) {
        if beginning != expected {
            let what = format!("{stream}: begins with {beginning:?} instead of {expected:?}");
            self.wrong.push(what);
        }
    }
}

impl Cursor {
    fn expected(&self, life: u64) -> Beginning {
        if self.position.is_empty() {
            Beginning::Fresh
        } else if self.life == life {
            Beginning::Resumed
        } else {
            Beginning::Gap
        }
    }

    fn moves_to(&mut self, position: String, life: u64) {
        if !position.is_empty() {
            (self.position, self.life) = (position, life);
        }
    }
}

impl Beginning {
    fn of(gap: &Gap) -> Self {
        match gap.reason() {
            GapReason::EpochChanged => Self::Gap,
            GapReason::Unspecified | GapReason::Compacted | GapReason::SlowConsumer => {
                Self::Nonsense
            }
        }
    }
}
