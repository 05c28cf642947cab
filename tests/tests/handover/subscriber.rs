//! A new service: it follows who is online and what is routed, through every life of the node, as clients of the API do.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use route_grpc::Node;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt;

use crate::book::Book;

/// Before a stream that was refused is opened again.
const RETRY: Duration = Duration::from_millis(200);

/// It takes its time for what has no position, so that some snapshots are broken off.
const TAKES: Duration = Duration::from_millis(40);

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
        self.book().follows(life)
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
        book.leave_status();
        book.leave_routed();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.leave();
    }
}

async fn watch(node: Arc<Node>, book: Arc<Mutex<Book>>, life: u64, began: Instant) {
    loop {
        let request = book.lock().watch_request();
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
        let request = book.lock().subscribe_request();
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
