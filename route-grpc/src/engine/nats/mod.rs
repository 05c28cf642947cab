//! NATS: the record is the entry `router` of the bucket `teamtalk-<site>`.
//!
//! Requests go to JetStream as its own JSON, one message and one answer each; of the crate, the connection alone is used.
//! Reads ask the leader of the bucket's stream, never a replica, whatever the bucket allows. Writes name the revision that
//! they replace. Whoever has written says so on `teamtalk.<site>.changed`, after it was answered: a subscription to the
//! entry itself would hear of writes before they can be read, and of those that are refused.
//!
//! A node needs the right to publish to `$JS.API.STREAM.INFO`, `.CREATE` and `.MSG.GET` of `KV_teamtalk-<site>`, to
//! `$KV.teamtalk-<site>.router` and `teamtalk.<site>.changed`; and to subscribe to the last, and to `_INBOX.>`.
//!
//! **Architecture invariant:** a connection is never mended. One that is lost is counted, and a new one is made, so that
//! nothing that waited to be sent by the old one is sent by the new one, and no answer of the new one comes before the
//! count.
//!
//! NATS keeps what it has acknowledged when its processes are killed. Where all of its servers may lose power at once, or
//! most of three, it needs `sync_interval: always`: else the record may go back, and nodes whose own server goes on do not
//! notice.

mod bucket;
mod connection;
mod options;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Request};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use route_leadership::Record;
use route_runtime::telemetry::reasons;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use self::bucket::{Bucket, Entry};
pub use self::options::{Login, NatsSettings, TlsFiles};
use super::record::{self, Author, Found, Member};
use super::{ANSWER_LIMIT, Engine, NotWritten, Unread};

/// A connection on which no read, or no write, was answered for so long is given up for one to another server. Longer than a cluster
/// elects, when all servers are as silent, and shorter than a leader serves.
const SILENCE: Duration = Duration::from_secs(9);

/// A record in NATS. Connects in the background, and anew whenever the connection is lost, until it is dropped.
#[derive(Debug)]
pub struct Nats {
    shared: Arc<Shared>,
    connects: JoinHandle<()>,
}

/// What requests and the task that connects have in common.
#[derive(Debug)]
struct Shared {
    bucket: Bucket,
    link: Mutex<Link>,
    /// The revision of the mark that somebody has deleted the record, 0 for none: what a first write replaces.
    vacant: AtomicU64,
    hint: Notify,
}

#[derive(Debug)]
struct Link {
    live: Option<Live>,
    /// Why there is none.
    problem: String,
    interruptions: u64,
    silence: Silence,
}

/// Since when nothing was answered, of each kind: a server that was cut off from the others answers reads for some
/// seconds, and no writes.
#[derive(Debug, Default)]
struct Silence {
    reads: Option<Instant>,
    writes: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Read,
    Write,
}

impl Silence {
    fn of(&mut self, kind: Kind) -> &mut Option<Instant> {
        match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
        }
    }
}

/// A connection that can be used.
#[derive(Debug, Clone)]
struct Live {
    client: Client,
    /// It is lost, or to be given up.
    lost: Arc<Notify>,
}

impl Nats {
    /// Begins to connect. Needs the runtime.
    ///
    /// # Errors
    ///
    /// A URL is none of NATS.
    pub fn start(settings: NatsSettings) -> Result<Self, String> {
        let servers = settings.servers()?;
        let shared = Arc::new(Shared {
            bucket: Bucket::of_site(&settings.site),
            link: Mutex::new(Link {
                live: None,
                problem: "NATS has not answered yet".to_owned(),
                interruptions: 0,
                silence: Silence::default(),
            }),
            vacant: AtomicU64::new(0),
            hint: Notify::new(),
        });
        let connects = connection::keep(Arc::clone(&shared), settings, servers);
        Ok(Self {
            connects: tokio::spawn(connects),
            shared,
        })
    }

    /// Why there is no connection, or none that can be used; none if there is one.
    pub fn problem(&self) -> Option<String> {
        let link = self.shared.link.lock();
        link.live.is_none().then(|| link.problem.clone())
    }

    async fn asked(&self) -> Result<Option<Found>, Unread> {
        let shared = &self.shared;
        let began = Instant::now();
        let found = shared.last_entry().await;
        shared.take_note(Kind::Read, began, found.is_ok());
        match found.map_err(Unread::Unanswered)? {
            Some(entry) if !entry.value.is_empty() => {
                let found = record::decode(&entry.value, entry.revision);
                found.map(Some).map_err(Unread::Unfit)
            }
            entry => {
                let vacant = entry.map_or(0, |entry| entry.revision);
                shared.vacant.store(vacant, Ordering::Relaxed);
                Ok(None)
            }
        }
    }

    async fn written(&self, value: Vec<u8>, replaces: Option<u64>) -> Result<u64, NotWritten> {
        let shared = &self.shared;
        let replaces = replaces.unwrap_or_else(|| shared.vacant.load(Ordering::Relaxed));
        let began = Instant::now();
        let written = shared.replace_entry(value, replaces).await;
        let is_decided = !matches!(written, Err(NotWritten::Unanswered(_)));
        shared.take_note(Kind::Write, began, is_decided);
        if let Ok(revision) = written {
            shared.tell_others(revision).await;
        }
        written
    }
}

impl Engine for Nats {
    fn read(&self) -> BoxFuture<'_, Result<Option<Found>, Unread>> {
        Box::pin(self.asked())
    }

    fn write<'a>(
        &'a self,
        record: &'a Record<Member>,
        author: &'a Author,
        replaces: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, NotWritten>> {
        Box::pin(self.written(record::encode(record, author), replaces))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.hint.notified())
    }

    fn interruptions(&self) -> u64 {
        self.shared.link.lock().interruptions
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.connects.abort();
    }
}

impl Shared {
    async fn last_entry(&self) -> Result<Option<Entry>, String> {
        let (subject, question) = self.bucket.last();
        let answer = self.request(&subject, question.into(), HeaderMap::new());
        let entry = self.bucket.read_last(&answer.await?.payload);
        entry.map_err(|problem| {
            if problem.is_bucket_gone {
                // The next connection finds it missing, and makes it.
                self.give_up();
            }
            problem.told
        })
    }

    async fn replace_entry(&self, value: Vec<u8>, replaces: u64) -> Result<u64, NotWritten> {
        let mut headers = HeaderMap::new();
        headers.insert(bucket::EXPECTED, replaces.to_string());
        let answer = self.request(&self.bucket.entry, value.into(), headers);
        let answer = answer.await.map_err(NotWritten::Unanswered)?;
        bucket::read_written(&answer.payload)
    }

    /// One question, one answer, by one connection that lasts from the one to the other.
    async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        headers: HeaderMap,
    ) -> Result<Message, String> {
        let (live, interruptions) = {
            let link = self.link.lock();
            let live = link.live.clone().ok_or_else(|| link.problem.clone())?;
            (live, link.interruptions)
        };
        let answer = request(&live.client, subject, payload, headers, ANSWER_LIMIT).await;
        match self.link.lock().interruptions == interruptions {
            true => answer,
            false => Err("the connection to NATS was lost before it answered".to_owned()),
        }
    }

    /// Gives the connection up when this has been silent for too long.
    fn take_note(&self, kind: Kind, began: Instant, is_answered: bool) {
        let mut link = self.link.lock();
        let silent_since = link.silence.of(kind);
        if is_answered {
            *silent_since = None;
        } else if silent_since.get_or_insert(began).elapsed() >= SILENCE {
            drop(link);
            self.give_up();
        }
    }

    fn give_up(&self) {
        if let Some(live) = &self.link.lock().live {
            live.lost.notify_one();
        }
    }

    /// A hint to the other nodes. They find out without it.
    async fn tell_others(&self, revision: u64) {
        let live = self.link.lock().live.clone();
        let Some(live) = live else { return };
        let subject = self.bucket.changes.clone();
        let hint = live.client.publish(subject, revision.to_string().into());
        // Whoever's connection is lost just now has nobody to tell.
        let _ = timeout(ANSWER_LIMIT, hint).await;
    }
}

/// One question, one answer. The limit is on both, and on the way into the connection's queue.
async fn request(
    client: &Client,
    subject: &str,
    payload: Bytes,
    headers: HeaderMap,
    limit: Duration,
) -> Result<Message, String> {
    let mut request = Request::new().payload(payload).timeout(None);
    if !headers.is_empty() {
        request = request.headers(headers);
    }
    match timeout(limit, client.send_request(subject.to_owned(), request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == async_nats::RequestErrorKind::NoResponders => {
            Err("NATS has no JetStream here: start its servers with --jetstream".to_owned())
        }
        Ok(Err(error)) => Err(format!("NATS has not answered: {}", reasons(&error))),
        Err(_) => Err(format!(
            "NATS has not answered within {} s",
            limit.as_secs_f64()
        )),
    }
}
