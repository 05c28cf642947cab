//! New services: they follow who is online and what is routed, through every life of the node, as
//! clients of the API do. One reads what it is sent; another one takes its time, and falls behind.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use route_grpc::Node;
use route_grpc::api::{subscribe, watch_user_status};
use route_grpc::node::load::Load;
use route_proto::v1::{EventKind, GapPolicy};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt;
use tonic::Status;

use crate::subscriber::archive::Archive;
use crate::subscriber::diary::{Diary, Now};
use system_tests::dice::Dice;

/// Before a stream that was refused is opened again.
const RETRY: Duration = Duration::from_millis(200);

/// It takes its time for what has no position, so that some snapshots are broken off.
const TAKES: Duration = Duration::from_millis(40);

/// How fast a subscriber reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Prompt,
    /// Now and then it does something else for a while.
    Slow,
}

#[derive(Debug)]
pub(crate) struct Subscriber {
    book: Arc<Mutex<Diary>>,
    pace: Pace,
    began: Instant,
    tasks: Vec<JoinHandle<()>>,
}

/// What a stream's task needs.
struct Reading {
    node: Arc<Node>,
    /// The node's.
    life: u64,
    book: Arc<Mutex<Diary>>,
    pace: Pace,
    began: Instant,
    dice: Dice,
}

impl Subscriber {
    /// `began`: when the schedule did. `some`: it wants some kinds of events only.
    pub(crate) fn new(
        began: Instant,
        pace: Pace,
        some: bool,
        archive: Arc<Mutex<Archive>>,
    ) -> Self {
        let kinds = if some {
            vec![
                EventKind::ChatMessage,
                EventKind::GroupChange,
                EventKind::StatusChange,
            ]
        } else {
            Vec::new()
        };
        Self {
            book: Arc::new(Mutex::new(Diary::new(kinds, archive))),
            pace,
            began,
            tasks: Vec::new(),
        }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Diary> {
        self.book.lock()
    }

    /// Opens both streams. What it had before is broken off.
    pub(crate) fn follow(&mut self, node: &Arc<Node>, life: u64, dice: &mut Dice) {
        self.leave();
        let mut reading = || Reading {
            node: Arc::clone(node),
            life,
            book: Arc::clone(&self.book),
            pace: self.pace,
            began: self.began,
            dice: dice.fork(),
        };
        let (watched, subscribed) = (reading().watch(), reading().subscribe());
        self.tasks = vec![tokio::spawn(watched), tokio::spawn(subscribed)];
    }

    /// Its streams are gone.
    pub(crate) fn leave(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let mut book = self.book();
        book.left_status();
        book.left_routed();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Reading {
    async fn watch(mut self) {
        loop {
            let on_gap = self.on_gap();
            let request = self.book.lock().watch_request(on_gap);
            match watch_user_status(Arc::clone(&self.node), request).await {
                Ok(responses) => {
                    let mut responses = std::pin::pin!(responses);
                    while let Some(Ok(response)) = responses.next().await {
                        let cannot_resume = response.position.is_empty();
                        self.book.lock().watched(&self.now(), response);
                        if cannot_resume {
                            sleep(TAKES).await;
                        }
                        self.rest().await;
                    }
                }
                Err(status) => self.refused(on_gap, &status, "status"),
            }
            sleep(RETRY).await;
        }
    }

    async fn subscribe(mut self) {
        loop {
            let on_gap = self.on_gap();
            let request = self.book.lock().subscribe_request(on_gap);
            match subscribe(Arc::clone(&self.node), request).await {
                Ok(responses) => {
                    let mut responses = std::pin::pin!(responses);
                    while let Some(Ok(response)) = responses.next().await {
                        self.book.lock().routed(&self.now(), response);
                        self.rest().await;
                    }
                }
                Err(status) => self.refused(on_gap, &status, "messages"),
            }
            sleep(RETRY).await;
        }
    }

    fn now(&self) -> Now {
        Now {
            life: self.life,
            tail: Load::of(&self.node).log_tail,
            at: self.began.elapsed(),
        }
    }

    async fn rest(&mut self) {
        let may_rest = self.pace == Pace::Slow && !self.book.lock().hurries;
        if may_rest && self.dice.once_in(20) {
            sleep(self.dice.millis(100..8000)).await;
        }
    }

    /// Whoever would rather begin anew than miss something says so.
    fn on_gap(&mut self) -> GapPolicy {
        if self.pace == Pace::Slow && self.dice.once_in(3) {
            GapPolicy::Fail
        } else {
            GapPolicy::Unspecified
        }
    }

    fn refused(&self, on_gap: GapPolicy, status: &Status, stream: &str) {
        self.book
            .lock()
            .refused(on_gap, &self.now(), status, stream);
    }
}
