//! All users that are not offline, as of one moment, without stopping the node for it.
//!
//! The table is scanned in pieces while it changes; then, under one lock, everybody is read again
//! whose status changed meanwhile, as the event log tells.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet, hash_map};
use parking_lot::Mutex;
use prost::Message;
use route_core::{Event, Gap, Logged, SessionView, Status, Summary, UserId, of_sessions};
use route_proto::v1::UserStatus;
use route_runtime::budget::LOOK;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::status::Seen;
use crate::clock::Clock;
use crate::limits::{Share, Weight};
use crate::node::{Moment, Node};
use crate::refusal::Refusal;

/// Records that are scanned, and events that are read, under one lock: some hundred microseconds.
const AT_ONCE: usize = 4096;

/// A message has so many bytes, and a user more.
const PART_BYTES: usize = 256 << 10;

/// Places that a snapshot of all users takes which tells their sessions: it is so much larger. First of its client's,
/// then of all.
const WITH_SESSIONS: (u32, u32) = (2, 4);

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
    sessions: Option<HashMap<u32, Arc<[SessionView]>>>,
    /// When the reader got something last.
    moved: Instant,
    _weight: Weight,
    _turn: Option<Turn>,
}

/// Places among the client's own snapshots, and among all.
type Turn = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Snapshot {
    /// Of every user. Few are made at a time, for each holds a table of all users; a client has no
    /// more than its share of them.
    pub(crate) async fn of_everybody(
        node: &Node,
        share: &Share,
        sessions: bool,
    ) -> Result<Self, Refusal> {
        let (of_own, of_all) = if sessions { WITH_SESSIONS } else { (1, 1) };
        let turn = async {
            let own = Arc::clone(&share.snapshots).acquire_many_owned(of_own);
            let own = own.await.ok()?;
            let of_all = Arc::clone(&node.process.snapshots).acquire_many_owned(of_all);
            let turn = (own, of_all.await.ok()?);
            while node.process.budget.is_filled() {
                sleep(LOOK).await;
            }
            Some(turn)
        };
        let Ok(Some(turn)) = timeout(WAIT, turn).await else {
            return Err(Refusal::Busy);
        };
        for _ in 0..ATTEMPTS {
            let Ok((now, users)) = scan(node, sessions).await else {
                continue;
            };
            // It was true when it was read.
            node.act().map(drop)?;
            let mut snapshot = Self::new(node, now, users, Some(turn));
            snapshot.take_away_in_time(node);
            return Ok(snapshot);
        }
        Err(Refusal::Busy)
    }

    /// Of some users.
    pub(crate) fn of<'a>(
        node: &Node,
        ids: impl IntoIterator<Item = &'a u32>,
        sessions: bool,
    ) -> Self {
        let mut users = Table::new(sessions);
        let (now, seen) = node.look(|core, now| {
            let seen = ids
                .into_iter()
                .map(|&id| Seen::now(core, UserId(id), sessions));
            (now, seen.collect::<Vec<_>>())
        });
        seen.into_iter().for_each(|user| users.put(user));
        Self::new(node, now, users, None)
    }

    /// The next users; none when all have been read.
    pub(crate) fn next_part(&mut self, clock: &Clock) -> Result<Vec<UserStatus>, Refusal> {
        let mut users = self.users.lock();
        let Some(users) = users.as_mut() else {
            return Err(Refusal::SlowConsumer {
                problem: "the snapshot was not read in time".to_owned(),
            });
        };
        users.moved = Instant::now();
        let (mut part, mut bytes) = (Vec::new(), 0);
        while bytes < PART_BYTES
            && let Some((id, summary)) = users.left.next()
        {
            let sessions = users.sessions.as_mut();
            let user = Seen {
                user: UserId(id),
                summary,
                sessions: sessions.and_then(|sessions| sessions.remove(&id)),
            };
            let user = user.shown(clock);
            bytes += user.encoded_len();
            part.push(user);
        }
        Ok(part)
    }

    fn new(node: &Node, now: Moment, users: Table, turn: Option<Turn>) -> Self {
        let mut weight = Weight::new(&node.process.pending);
        weight.set(users.bytes());
        let users = Users {
            left: users.summaries.into_iter(),
            sessions: users.sessions,
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

    /// A reader that reads nothing does not poll its stream either, so a task watches the time, and
    /// counts.
    fn take_away_in_time(&mut self, node: &Node) {
        let read = CancellationToken::new();
        let over = node.draining();
        let users = Arc::clone(&self.users);
        let count = node.process.metrics.unread_snapshots();
        self._reading = Some(read.clone().drop_guard());
        node.process.shutdown.tracker().spawn(async move {
            tokio::select! {
                () = read.cancelled() => {}
                () = over.cancelled() => {}
                () = stands_still(&users) => {
                    if users.lock().take().is_some() {
                        count();
                    }
                }
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

/// What is known of each user.
#[derive(Debug)]
struct Table {
    summaries: HashMap<u32, Summary>,
    /// None: they are not asked for.
    sessions: Option<HashMap<u32, Arc<[SessionView]>>>,
    /// What the sessions take beside the table of them.
    session_bytes: usize,
}

impl Table {
    fn new(sessions: bool) -> Self {
        Self {
            summaries: HashMap::new(),
            sessions: sessions.then(HashMap::new),
            session_bytes: 0,
        }
    }

    /// Somebody is so now.
    fn put(&mut self, seen: Seen) {
        let Seen {
            user: UserId(user),
            summary,
            sessions,
        } = seen;
        match summary.status {
            Status::Offline => self.summaries.remove(&user),
            Status::Online | Status::Away => self.summaries.insert(user, summary),
        };
        if let Some(table) = &mut self.sessions {
            self.session_bytes += of_sessions(sessions.as_deref());
            let former = match sessions {
                Some(sessions) => table.insert(user, sessions),
                None => table.remove(&user),
            };
            self.session_bytes -= of_sessions(former.as_deref());
        }
    }

    fn bytes(&self) -> usize {
        let sessions = self.sessions.as_ref();
        let table = sessions.map_or(0, HashMap::allocation_size);
        self.summaries.allocation_size() + table + self.session_bytes
    }
}

async fn scan(node: &Node, sessions: bool) -> Result<(Moment, Table), Gap> {
    let mut after = node.log.extent().0;
    let mut users = Table::new(sessions);
    let mut piece = Vec::with_capacity(AT_ONCE);
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        // The table may have to grow for them, which takes longer than the lock should.
        cursor = node.look(|core, _| {
            core.scan_users(at, AT_ONCE, |user, summary| {
                piece.push(Seen::with(core, user, summary, sessions));
            })
        });
        piece.drain(..).for_each(|user| users.put(user));
        tokio::task::yield_now().await;
    }

    let mut changed = HashSet::new();
    let mut page = Vec::with_capacity(AT_ONCE);
    loop {
        node.log.read(after, AT_ONCE, usize::MAX, &mut page)?;
        let is_behind = page.len() == AT_ONCE;
        after = page.last().map_or(after, |last| last.position);
        changed.extend(page.drain(..).filter_map(whose_status));
        if !is_behind && changed.len() < AT_ONCE {
            break;
        }
        // Who changes again is read again.
        let some: Vec<UserId> = changed.iter().copied().take(AT_ONCE).collect();
        node.look(|core, _| {
            piece.extend(some.iter().map(|&user| Seen::now(core, user, sessions)));
        });
        for user in piece.drain(..) {
            changed.remove(&user.user);
            users.put(user);
        }
        tokio::task::yield_now().await;
    }

    let now = node.look(|core, now| {
        node.log.read(after, usize::MAX, usize::MAX, &mut page)?;
        changed.extend(page.drain(..).filter_map(whose_status));
        piece.extend(changed.iter().map(|&user| Seen::now(core, user, sessions)));
        Ok(now)
    })?;
    piece.drain(..).for_each(|user| users.put(user));
    Ok((now, users))
}

fn whose_status(logged: Logged) -> Option<UserId> {
    match logged.event {
        Event::Presence(change) => Some(change.user),
        Event::Envelope { .. } | Event::DesktopLogin { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::global::meter;
    use route_runtime::budget::Budget;
    use route_runtime::shutdown::Shutdown;

    use super::*;
    use crate::settings::NodeSettings;

    #[tokio::test(start_paused = true)]
    async fn a_client_has_its_share_and_what_it_does_not_read_is_taken_away() {
        let shutdown = Shutdown::new(Duration::from_secs(1));
        let node = Node::start(
            NodeSettings::default(),
            Budget::new(None),
            &meter("test"),
            shutdown,
        );
        let (client, other) = (Share::default(), Share::default());
        let started = Instant::now();
        let mut unread = Vec::new();
        for _ in 0..2 {
            let snapshot = Snapshot::of_everybody(&node, &client, false).await;
            unread.push(snapshot.expect("it has its share"));
        }
        let of_other = Snapshot::of_everybody(&node, &other, false).await;
        assert!(of_other.is_ok() && started.elapsed() == Duration::ZERO);

        let third = Snapshot::of_everybody(&node, &client, false).await;

        assert!(third.is_ok());
        assert_eq!(started.elapsed(), PART_TIME);
        let refused = unread[0]
            .next_part(&node.clock)
            .expect_err("its time is up");
        assert!(matches!(refused, Refusal::SlowConsumer { .. }));
    }
}
