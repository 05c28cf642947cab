//! All users that are not offline, as of one moment, without stopping the node for it.
//!
//! The table is scanned in pieces while it changes; then, under one lock, everybody is read again
//! whose status changed meanwhile, as the event log tells.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet, hash_map};
use parking_lot::Mutex;
use route_core::{Event, Gap, Logged, Status, Summary, UserId, View};
use route_proto::v1::UserStatus;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::status::user_status;
use crate::limits::{Share, Weight};
use crate::node::{Moment, Node};
use crate::refusal::Refusal;

/// Records that are scanned, and events that are read, under one lock: some hundred microseconds.
const AT_ONCE: usize = 4096;

/// Users in one message: at most 12 bytes each, so less than 256 KiB.
const USERS_PER_PART: usize = 16_384;

/// Scans before a reader is told to come back: each fails only if the log overflows while it runs.
const ATTEMPTS: usize = 5;

/// How long a reader waits for its turn to have a snapshot made.
const WAIT: Duration = Duration::from_secs(30);

/// How long a reader may take for one message of it. Then it is taken away: it is large, and others
/// wait.
const PART_TIME: Duration = Duration::from_secs(10);

/// A snapshot that is being read.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// As of when it is.
    pub(crate) now: Moment,
    /// None once the reader's time is up.
    users: Arc<Mutex<Option<Users>>>,
    _reading: Option<DropGuard>,
}

#[derive(Debug)]
struct Users {
    left: hash_map::IntoIter<u32, Summary>,
    /// When the reader got something last.
    moved: Instant,
    _weight: Weight,
    _turn: Option<Turn>,
}

/// A place among the client's own snapshots, and one among all.
type Turn = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Snapshot {
    /// Of every user. Few are made at a time, for each holds a table of all users; a client has no
    /// more than its share of them.
    pub(crate) async fn of_everybody(node: &Node, share: &Share) -> Result<Self, Refusal> {
        let turn = async {
            let own = Arc::clone(&share.snapshots).acquire_owned().await.ok()?;
            let of_all = Arc::clone(&node.snapshots).acquire_owned().await.ok()?;
            Some((own, of_all))
        };
        let Ok(Some(turn)) = timeout(WAIT, turn).await else {
            return Err(Refusal::Busy);
        };
        for _ in 0..ATTEMPTS {
            let Ok((now, users)) = scan(node).await else {
                continue;
            };
            let mut snapshot = Self::new(node, now, users, Some(turn));
            snapshot.take_away_in_time(node);
            return Ok(snapshot);
        }
        Err(Refusal::Busy)
    }

    /// Of some users.
    pub(crate) fn of(node: &Node, ids: &HashSet<u32>) -> Self {
        let (now, users) = node.look(|core, now| {
            let mut users = HashMap::new();
            for &id in ids {
                put(core, UserId(id), &mut users);
            }
            (now, users)
        });
        Self::new(node, now, users, None)
    }

    /// The next users; none when all have been read.
    pub(crate) fn next_part(&mut self) -> Result<Vec<UserStatus>, Refusal> {
        let mut users = self.users.lock();
        let Some(users) = users.as_mut() else {
            return Err(Refusal::SlowConsumer {
                problem: "the snapshot was not read in time".to_owned(),
            });
        };
        users.moved = Instant::now();
        let part = users.left.by_ref().take(USERS_PER_PART);
        Ok(part.map(|(id, summary)| user_status(id, summary)).collect())
    }

    fn new(node: &Node, now: Moment, users: HashMap<u32, Summary>, turn: Option<Turn>) -> Self {
        let mut weight = Weight::new(&node.pending);
        weight.set(users.allocation_size());
        let users = Users {
            left: users.into_iter(),
            moved: Instant::now(),
            _weight: weight,
            _turn: turn,
        };
        Self {
            now,
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
                () = stands_still(&users) => { users.lock().take(); }
            }
        });
    }
}

/// Returns when the reader has got nothing for too long.
async fn stands_still(users: &Mutex<Option<Users>>) {
    let due = || Some(users.lock().as_ref()?.moved + PART_TIME);
    while let Some(until) = due()
        && until > Instant::now()
    {
        tokio::time::sleep_until(until).await;
    }
}

async fn scan(node: &Node) -> Result<(Moment, HashMap<u32, Summary>), Gap> {
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
        node.log.read(after, AT_ONCE, usize::MAX, &mut page)?;
        let Some(last) = page.last() else { break };
        after = last.position;
        changed.extend(page.drain(..).filter_map(whose_status));
        tokio::task::yield_now().await;
    }

    node.look(|core, now| {
        node.log.read(after, usize::MAX, usize::MAX, &mut page)?;
        changed.extend(page.drain(..).filter_map(whose_status));
        for &user in &changed {
            put(core, user, &mut users);
        }
        Ok((now, users))
    })
}

fn whose_status(logged: Logged) -> Option<UserId> {
    match logged.event {
        Event::Presence(change) => Some(change.user),
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

#[cfg(test)]
mod tests {
    use opentelemetry::global::meter;
    use route_runtime::shutdown::Shutdown;

    use super::*;
    use crate::settings::NodeSettings;

    #[tokio::test(start_paused = true)]
    async fn a_client_has_its_share_and_what_it_does_not_read_is_taken_away() {
        let shutdown = Shutdown::new(Duration::from_secs(1));
        let node = Node::start(NodeSettings::default(), &meter("test"), shutdown);
        let (client, other) = (Share::default(), Share::default());
        let started = Instant::now();
        let mut unread = Vec::new();
        for _ in 0..2 {
            let snapshot = Snapshot::of_everybody(&node, &client).await;
            unread.push(snapshot.expect("it has its share"));
        }
        let of_other = Snapshot::of_everybody(&node, &other).await;
        assert!(of_other.is_ok() && started.elapsed() == Duration::ZERO);

        let third = Snapshot::of_everybody(&node, &client).await;

        assert!(third.is_ok());
        assert_eq!(started.elapsed(), PART_TIME);
        let refused = unread[0].next_part().expect_err("its time is up");
        assert!(matches!(refused, Refusal::SlowConsumer { .. }));
    }
}
