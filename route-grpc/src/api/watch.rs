//! One WatchUserStatus stream: a snapshot, then changes; again a snapshot after a gap.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use hashbrown::HashSet;
use route_core::{Event, Logged};
use route_proto::v1::watch_user_status_response::Event as Message;
use route_proto::v1::{
    Draining, Gap, Resumed, SnapshotBegin, SnapshotEnd, StatusChange, StatusSnapshot,
    WatchUserStatusRequest, WatchUserStatusResponse, Watermark,
};
use tonic::Status;

use crate::api::reader::{Reader, Turn};
use crate::api::resume::{self, Start};
use crate::api::snapshot::Snapshot;
use crate::api::status::{change_reason, user_status};
use crate::limits::Share;
use crate::methods;
use crate::node::{Moment, Node};
use crate::refusal::Refusal;

/// The stream's state.
#[derive(Debug)]
pub(crate) struct Watch {
    reader: Reader,
    share: Share,
    /// None: everybody.
    users: Option<HashSet<u32>>,
    next: Next,
}

/// What comes next.
#[derive(Debug)]
enum Next {
    Resumed,
    Gap(Gap),
    SnapshotBegins,
    Snapshot(Snapshot),
    Changes,
    Over,
}

type Page = Vec<Result<WatchUserStatusResponse, Status>>;

/// What an answer takes beside its event: itself, and its position.
const ANSWER_BYTES: usize = size_of::<Result<WatchUserStatusResponse, Status>>() + 64;

impl Watch {
    /// A stream for this request, whose ids have been checked.
    pub(crate) fn open(
        node: Arc<Node>,
        request: &WatchUserStatusRequest,
        share: Share,
    ) -> Result<Self, Refusal> {
        let start = resume::start(&node, &request.resume_position, request.on_gap())?;
        let mut reader = Reader::open(node, methods::WATCH)?;
        let next = match start {
            Start::Now => Next::SnapshotBegins,
            Start::Resumed(after) => {
                reader.seek(after);
                Next::Resumed
            }
            Start::Gap(gap, _) => Next::Gap(gap),
        };
        let users = request.user_ids.iter().copied().collect::<HashSet<_>>();
        Ok(Self {
            reader,
            share,
            users: (!users.is_empty()).then_some(users),
            next,
        })
    }

    /// The messages.
    pub(crate) fn into_stream(
        self,
    ) -> impl Stream<Item = Result<WatchUserStatusResponse, Status>> + Send {
        let pages = stream::unfold(Box::new(self), |mut watch| async move {
            let page = watch.next_page().await?;
            Some((stream::iter(page), watch))
        });
        pages.flatten()
    }

    /// What is to be sent next, at least one message; None at the end.
    async fn next_page(&mut self) -> Option<Page> {
        let page = match std::mem::replace(&mut self.next, Next::Changes) {
            Next::Resumed => self.say(self.reader.after(), Message::Resumed(Resumed {})),
            Next::Gap(gap) => {
                self.next = Next::SnapshotBegins;
                self.say_gap(gap)
            }
            Next::SnapshotBegins => self.begin_snapshot().await,
            Next::Snapshot(snapshot) => self.continue_snapshot(snapshot),
            Next::Changes => self.changes().await,
            Next::Over => return None,
        };
        self.reader.sent();
        Some(page)
    }

    async fn begin_snapshot(&mut self) -> Page {
        let snapshot = match &self.users {
            Some(users) => Ok(Snapshot::of(self.reader.node(), users)),
            None => Snapshot::of_everybody(self.reader.node(), &self.share).await,
        };
        match snapshot {
            Ok(snapshot) => {
                let at = snapshot.now.at;
                self.next = Next::Snapshot(snapshot);
                let begin = Message::SnapshotBegin(SnapshotBegin {});
                vec![Ok(self.without_position(at, begin))]
            }
            Err(refusal) => self.end(refusal),
        }
    }

    fn continue_snapshot(&mut self, mut snapshot: Snapshot) -> Page {
        match snapshot.next_part() {
            Ok(users) if users.is_empty() => {
                let Moment { seq, at } = snapshot.now;
                self.reader.seek(seq);
                vec![Ok(self.at(seq, at, Message::SnapshotEnd(SnapshotEnd {})))]
            }
            Ok(users) => {
                let at = snapshot.now.at;
                self.next = Next::Snapshot(snapshot);
                let part = Message::Snapshot(StatusSnapshot { users });
                vec![Ok(self.without_position(at, part))]
            }
            Err(refusal) => self.end(refusal),
        }
    }

    async fn changes(&mut self) -> Page {
        loop {
            match self.reader.turn().await {
                Turn::Events => {
                    let changes = self.reader.page().iter();
                    let page: Page = changes
                        .filter_map(|logged| self.change(logged).map(Ok))
                        .collect();
                    self.reader.answered(page.len(), ANSWER_BYTES);
                    if !page.is_empty() {
                        return page;
                    }
                }
                Turn::Gap { from, to } => {
                    self.next = Next::SnapshotBegins;
                    return self.say_gap(resume::fell_behind(self.reader.node(), from, to));
                }
                Turn::Idle => {
                    return self.say(self.reader.after(), Message::Watermark(Watermark {}));
                }
                Turn::Leave(retry) => {
                    let retry_after_millis = u32::try_from(retry.as_millis()).unwrap_or(u32::MAX);
                    let draining = Message::Draining(Draining { retry_after_millis });
                    let mut page = self.say(self.reader.after(), draining);
                    page.extend(self.end(Refusal::Draining { retry }));
                    return page;
                }
            }
        }
    }

    fn change(&self, logged: &Logged) -> Option<WatchUserStatusResponse> {
        let Event::Presence(change) = &logged.event else {
            return None;
        };
        let users = self.users.as_ref();
        let is_watched = users.is_none_or(|users| users.contains(&change.user.0));
        if !is_watched || !change.is_of_status() {
            return None;
        }
        let said = StatusChange {
            user: Some(user_status(change.user.0, change.after)),
            reason: change_reason(change.reason).into(),
        };
        Some(self.at(logged.position, logged.at, Message::Change(said)))
    }

    fn say_gap(&self, gap: Gap) -> Page {
        self.reader.count_gap();
        let now = self.reader.node().clock.now();
        vec![Ok(self.without_position(now, Message::Gap(gap)))]
    }

    fn say(&self, seq: u64, message: Message) -> Page {
        let now = self.reader.node().clock.now();
        vec![Ok(self.at(seq, now, message))]
    }

    fn at(&self, seq: u64, at: Duration, message: Message) -> WatchUserStatusResponse {
        WatchUserStatusResponse {
            position: self.reader.node().position(seq).token(),
            ..self.without_position(at, message)
        }
    }

    /// Nobody can resume inside a snapshot, nor between a gap and the snapshot that makes up for it.
    fn without_position(&self, at: Duration, message: Message) -> WatchUserStatusResponse {
        WatchUserStatusResponse {
            position: String::new(),
            node_time: Some(self.reader.node().clock.timestamp(at)),
            event: Some(message),
        }
    }

    fn end(&mut self, refusal: Refusal) -> Page {
        self.next = Next::Over;
        let metrics = &self.reader.node().metrics;
        metrics.stream_refused(methods::WATCH, &refusal);
        vec![Err(refusal.into())]
    }
}
