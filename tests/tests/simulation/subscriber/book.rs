//! What a service that follows who is online and what is routed has been told, and whether that fits together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use route_proto::v1::event::Event as Routed;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::watch_user_status_response::Event as Watched;
use route_proto::v1::{
    EventKind, Gap, GapReason, SubscribeRequest, SubscribeResponse, UserStatus,
    WatchUserStatusRequest, WatchUserStatusResponse,
};

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

impl Book {
    /// Both streams are open, and past their beginning.
    pub(crate) fn follows(&self, life: u64) -> bool {
        self.status.follows == life && self.routed.follows == life
    }

    /// The stream of the users' status is gone.
    pub(crate) fn leave_status(&mut self) {
        self.status.follows = 0;
    }

    /// The stream of what is routed is gone.
    pub(crate) fn leave_routed(&mut self) {
        self.routed.follows = 0;
    }

    /// To go on with the users' status.
    pub(crate) fn watch_request(&self) -> WatchUserStatusRequest {
        WatchUserStatusRequest {
            resume_position: self.status.position.clone(),
            ..WatchUserStatusRequest::default()
        }
    }

    /// To go on with what is routed.
    pub(crate) fn subscribe_request(&self) -> SubscribeRequest {
        SubscribeRequest {
            kinds: vec![
                EventKind::ChatMessage.into(),
                EventKind::GroupChange.into(),
                EventKind::StatusChanged.into(),
            ],
            resume_position: self.routed.position.clone(),
            ..SubscribeRequest::default()
        }
    }

    /// A response of the one stream, at this time of the schedule. `first`: of a new stream.
    pub(crate) fn watched(
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

    /// A response of the other stream.
    pub(crate) fn routed(
        &mut self,
        first: bool,
        life: u64,
        now: Duration,
        response: SubscribeResponse,
    ) {
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
