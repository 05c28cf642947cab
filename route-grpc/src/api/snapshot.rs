//! All users that are not offline, as of one moment, without stopping the node for it.
//!
//! The table is scanned in pieces while it changes; then, under one lock, everybody is read again
//! whose status changed meanwhile, as the event log tells.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet, hash_map};
use parking_lot::Mutex;
use route_core::{Event, Gap, Status, Summary, UserId, View};
use route_proto::v1::UserStatus;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::status::user_status;
use crate::node::Node;
use crate::refusal::Refusal;

/// Records that are scanned, and events that are read, under one lock: some hundred microseconds.
const AT_ONCE: usize = 4096;

/// Users in one message: at most 12 bytes each, so less than 256 KiB.
const USERS_PER_PART: usize = 16_384;

/// Scans before a reader is told to come back: each fails only if the log overflows while it runs.
const ATTEMPTS: usize = 5;

/// How long a reader waits for its turn to have a snapshot made.
const WAIT: Duration = Duration::from_secs(30);

/// How long a reader may take to read one. Then it is taken away: it is large, and others wait.
const READING_TIME: Duration = Duration::from_secs(60);

/// A snapshot that is being read.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Where it stands in the log.
    pub(crate) seq: u64,
    /// None once the reader's time is up.
    users: Arc<Mutex<Option<Users>>>,
    _reading: Option<DropGuard>,
}

#[derive(Debug)]
struct Users {
    left: hash_map::IntoIter<u32, Summary>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Snapshot {
    /// Of every user. Few are made at a time, for each holds a table of all users.
    pub(crate) async fn of_everybody(node: &Node) -> Result<Self, Refusal> {
        let permit = timeout(WAIT, Arc::clone(&node.snapshots).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Refusal::Busy);
        };
        for _ in 0..ATTEMPTS {
            let Ok((seq, users)) = scan(node).await else {
                continue;
            };
            let mut snapshot = Self::new(seq, users, Some(permit));
            snapshot.take_away_in_time(node);
            return Ok(snapshot);
        }
        Err(Refusal::Busy)
    }

    /// Of some users.
    pub(crate) fn of(node: &Node, ids: &HashSet<u32>) -> Self {
        let (seq, users) = node.look(|core, position| {
            let mut users = HashMap::new();
            for &id in ids {
                put(core, UserId(id), &mut users);
            }
            (position.seq, users)
        });
        Self::new(seq, users, None)
    }

    /// The next users; none when all have been read.
    pub(crate) fn next_part(&mut self) -> Result<Vec<UserStatus>, Refusal> {
        let mut users = self.users.lock();
        let Some(users) = users.as_mut() else {
            return Err(Refusal::SlowConsumer {
                problem: "the snapshot was not read in time".to_owned(),
            });
        };
        let part = users.left.by_ref().take(USERS_PER_PART);
        Ok(part.map(|(id, summary)| user_status(id, summary)).collect())
    }

    fn new(seq: u64, users: HashMap<u32, Summary>, permit: Option<OwnedSemaphorePermit>) -> Self {
        let users = Users {
            left: users.into_iter(),
            _permit: permit,
        };
        Self {
            seq,
            users: Arc::new(Mutex::new(Some(users))),
            _reading: None,
        }
    }

    /// A reader that reads nothing does not poll its stream either, so a task watches the time.
    fn take_away_in_time(&mut self, node: &Node) {
        let read = CancellationToken::new();
        let over = node.draining();
        let users = Arc::clone(&self.users);
        self._reading = Some(read.clone().drop_guard());
        node.shutdown.tracker().spawn(async move {
            tokio::select! {
                () = read.cancelled() => {}
                () = over.cancelled() => {}
                () = tokio::time::sleep(READING_TIME) => { users.lock().take(); }
            }
        });
    }
}

async fn scan(node: &Node) -> Result<(u64, HashMap<u32, Summary>), Gap> {
    let mut after = node.log.extent().0;
    let mut users = HashMap::new();
    let mut piece = Vec::with_capacity(AT_ONCE);
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        // The table may have to grow for them, which takes longer than the lock should.
        cursor = node.look(|core, _| {
            core.scan_users(at, AT_ONCE, |user, summary| piece.push((user.0, summary)))
        });
        let seen = piece.drain(..);
        users.extend(seen.filter(|(_, summary)| summary.status != Status::Offline));
        tokio::task::yield_now().await;
    }

    let mut changed = HashSet::new();
    let mut page = Vec::with_capacity(AT_ONCE);
    loop {
        node.log.read(after, AT_ONCE, &mut page)?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        changed.extend(page.drain(..).filter_map(whose_status));
        tokio::task::yield_now().await;
    }

    node.look(|core, position| {
        node.log.read(after, usize::MAX, &mut page)?;
        changed.extend(page.drain(..).filter_map(whose_status));
        for &user in &changed {
            put(core, user, &mut users);
        }
        Ok((position.seq, users))
    })
}

fn whose_status((_, event): (u64, Event)) -> Option<UserId> {
    match event {
        Event::StatusChanged { user, .. } => Some(user),
        Event::Envelope { .. } | Event::DesktopLogin { .. } => None,
    }
}

fn put(core: View<'_>, user: UserId, users: &mut HashMap<u32, Summary>) {
    let summary = core.summary(user);
    match summary.status {
        Status::Offline => users.remove(&user.0),
        Status::Online | Status::Away => users.insert(user.0, summary),
    };
}
