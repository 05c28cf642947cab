//! What a caller may ask for at most.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use tonic::codegen::http::Extensions;

use crate::refusal::Refusal;

/// User ids in one request.
pub(crate) const MAX_IDS: usize = 10_000;

/// User ids of which sessions are asked for in one call. An answer has less than 12 KiB of each: 64 sessions, each with
/// a name of up to 63 bytes, two addresses of up to 48, and 20 bytes more.
pub(crate) const MAX_IDS_WITH_SESSIONS: usize = 300;

/// Users in one page of a list.
pub(crate) const MAX_PAGE: usize = 10_000;

/// Longest message of a unary call or of a request that opens a stream, bytes (gRPC's usual limit).
pub(crate) const MAX_REQUEST_BYTES: usize = 4 << 20;

/// Longest request of AdminService, bytes.
pub(crate) const MAX_ADMIN_REQUEST_BYTES: usize = 64 << 10;

/// Connections to the admin port: operators and their screens.
pub(crate) const ADMIN_CONNECTIONS: usize = 64;

/// Headers of one call, bytes as HTTP/2 counts them: a token of 16 KiB, and room for others.
pub(crate) const MAX_HEADER_BYTES: usize = 24 << 10;

/// Up to here they are read, so that whoever has too many is told so. Beyond, HTTP/2's library answers with status 431.
pub(crate) const READ_HEADER_BYTES: u32 = 48 << 10;

/// Connections of one gateway to a port for gateways: one that comes back has its former one for a moment.
pub(crate) const CONNECTIONS_OF_GATEWAY: usize = 4;

/// Connections to the health port: a kubelet, and who looks for himself.
pub(crate) const HEALTH_CONNECTIONS: usize = 64;

/// Open streams and calls of one connection to the admin port: with its connections, all requests that have begun take at most
/// 128 MiB.
pub(crate) const ADMIN_STREAMS: u32 = 32;

/// Streams of the admin port that may be open: each looks at all links every second.
pub(crate) const SCREENS: usize = 16;

/// The least that may be kept of where envelopes went, bytes, unless nothing is: some blocks.
pub(crate) const ROUTED_LEAST_BYTES: usize = 64 << 10;

/// What an Attach message may be longer than the longest PDU, bytes: everything around it.
pub(crate) const ATTACH_OVERHEAD_BYTES: usize = 1 << 20;

/// Longest gateway id, and longest request id, bytes.
pub(crate) const MAX_ID_BYTES: usize = 128;

/// Snapshots that are made or sent at the same time: each holds a table of all users.
pub(crate) const SNAPSHOTS_AT_ONCE: usize = 8;

/// Of those, how many one connection may have.
const SNAPSHOTS_PER_CLIENT: usize = 2;

/// Bytes of requests that one connection may have begun and not ended; more are refused. Room for
/// some calls of the longest that are usual.
const BEGUN_BYTES: usize = 16 << 20;

/// Attach messages that one connection may have begun: that of a stream, and that of the one before
/// it.
const BEGUN_ATTACH: usize = 2;

/// Refuses 0, which is also what is not said.
pub(crate) fn check_id(id: u32, field: &'static str) -> Result<(), Refusal> {
    match id {
        0 => Err(Refusal::field(field, "is missing, or 0, which is nobody")),
        _ => Ok(()),
    }
}

/// How many a page is to have: at most so many, the usual number if it is not said.
pub(crate) fn page_size(asked: i32, usual: usize, most: usize) -> Result<usize, Refusal> {
    match usize::try_from(asked) {
        Ok(0) => Ok(usual),
        Ok(size) => Ok(size.min(most)),
        Err(_) => Err(Refusal::field("page_size", "is negative")),
    }
}

/// Reads a number that this node gave out as text.
pub(crate) fn number(text: &str, field: &'static str) -> Result<u64, Refusal> {
    let read = text.parse().ok().filter(|it: &u64| it.to_string() == text);
    read.ok_or_else(|| Refusal::field(field, "is none that this node gave out"))
}

/// Refuses more than [`MAX_IDS`] ids, and 0 among them.
pub(crate) fn check_ids(ids: &[u32], field: &'static str) -> Result<(), Refusal> {
    if ids.len() > MAX_IDS {
        return Err(too_many_ids(ids.len(), field));
    }
    match ids.iter().position(|&id| id == 0) {
        Some(number) => Err(Refusal::field(format!("{field}[{number}]"), "0 is nobody")),
        None => Ok(()),
    }
}

/// What is said of more than [`MAX_IDS`].
pub(crate) fn too_many_ids(ids: usize, field: &'static str) -> Refusal {
    Refusal::field(field, format!("{ids} ids, at most {MAX_IDS} are allowed"))
}

/// A number in which each bit depends on each bit of this one (splitmix64): tells filters apart.
pub(crate) fn fingerprint(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// What one client may have at a time. A client is a connection; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    /// Snapshots of all users.
    pub(crate) snapshots: Arc<Semaphore>,
    /// Bytes of requests that have begun.
    pub(crate) begun: Arc<Semaphore>,
    /// Attach messages that have begun.
    pub(crate) attach: Arc<Semaphore>,
    /// Whether it is read.
    pub(crate) reading: Reading,
    /// Its address; none: it is in this process.
    pub(crate) peer: Option<SocketAddr>,
}

impl Default for Share {
    /// Of a new connection.
    fn default() -> Self {
        Self {
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS_PER_CLIENT)),
            begun: Arc::new(Semaphore::new(BEGUN_BYTES)),
            attach: Arc::new(Semaphore::new(BEGUN_ATTACH)),
            reading: Reading::default(),
            peer: None,
        }
    }
}

impl Share {
    /// Of a new connection from this address.
    pub(crate) fn from(peer: SocketAddr) -> Self {
        Self {
            peer: Some(peer),
            ..Self::default()
        }
    }

    /// Of one call of many clients' on a connection: others of them take nothing from it.
    pub(crate) fn of_one_call(&self) -> Self {
        Self {
            reading: self.reading.clone(),
            peer: self.peer,
            ..Self::default()
        }
    }

    /// That of whoever has sent a request.
    pub(crate) fn of(request: &Extensions) -> Self {
        request.get::<Self>().cloned().unwrap_or_default()
    }

    /// What a request of so many bytes has to have of [`Share::begun`]: all of it, if it is too
    /// long for that.
    pub(crate) fn begins(bytes: u32) -> u32 {
        bytes.clamp(1, BEGUN_BYTES as u32)
    }
}

/// Whether a connection is read: not while something that has begun on it waits for memory, for what
/// it sends would be kept elsewhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading(Arc<Mutex<Readers>>);

#[derive(Debug, Default)]
struct Readers {
    stops: usize,
    /// It is to be closed.
    cut: bool,
    reader: Option<Waker>,
}

/// It is not read before this is dropped.
#[derive(Debug)]
pub(crate) struct Stop(Reading);

impl Reading {
    /// Not for now.
    pub(crate) fn stop(&self) -> Stop {
        self.0.lock().stops += 1;
        Stop(self.clone())
    }

    /// Never again: its connection is closed.
    pub(crate) fn cut(&self) {
        let reader = {
            let mut readers = self.0.lock();
            readers.cut = true;
            readers.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Ready when it is; an error when it is to be closed.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut readers = self.0.lock();
        if readers.cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match &mut readers.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            reader => *reader = Some(cx.waker().clone()),
        }
        match readers.stops {
            0 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        let reader = {
            let mut readers = self.0.0.lock();
            readers.stops -= 1;
            let goes_on = readers.stops == 0;
            readers.reader.take_if(|_| goes_on)
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// Bytes that somebody holds, as a part of a sum. They leave it when this is dropped.
#[derive(Debug)]
pub(crate) struct Weight {
    sum: Arc<AtomicUsize>,
    bytes: usize,
}

impl Weight {
    /// None yet.
    pub(crate) fn new(sum: &Arc<AtomicUsize>) -> Self {
        let sum = Arc::clone(sum);
        Self { sum, bytes: 0 }
    }

    /// So many from now on.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.sum.fetch_add(bytes, Ordering::Relaxed);
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// More of them.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.set(self.bytes + bytes);
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Places of which there are so many: for connections, for long streams.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    limit: usize,
}

/// One of them. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// All are free.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Takes one, if one is free.
    pub(crate) fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    /// How many there are.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many are taken.
    pub(crate) fn in_use(&self) -> usize {
        self.limit.saturating_sub(self.free.available_permits())
    }

    /// Returns when all are free.
    pub(crate) async fn all_free(&self) {
        let limit = u32::try_from(self.limit).unwrap_or(u32::MAX);
        // The semaphore is never closed; if it were, nothing would be taken.
        let _ = self.free.acquire_many(limit).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_dropped_is_free_for_the_next() {
        let places = Places::new(1);

        let first = places.take().expect("one is free");
        assert!(places.take().is_none());
        drop(first);

        assert!(places.take().is_some());
    }

    #[test]
    fn ten_thousand_ids_are_the_most() {
        assert!(check_ids(&vec![1; MAX_IDS], "user_ids").is_ok());
        assert!(check_ids(&vec![1; MAX_IDS + 1], "user_ids").is_err());
        assert!(check_ids(&[1, 0], "user_ids").is_err());
    }
}
