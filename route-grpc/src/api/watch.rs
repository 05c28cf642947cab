//! One stream of WatchUserStatus or WatchUserSet: a snapshot, then changes; again a snapshot after a
//! gap, or of users who are added.

use std::sync::Arc;
use std::time::Duration;
use std::vec;

use futures_util::stream::{self, Stream, StreamExt};
use route_core::{Event, Gap as Missed};
use route_proto::v1::watch_user_set_request::Message as Request;
use route_proto::v1::watch_user_set_response::Message;
use route_proto::v1::{
    Gap, Resumed, SetChanged, SnapshotBegin, SnapshotEnd, SnapshotScope, StatusChange,
    StatusSnapshot, UserSession, WatchUserSetRequest, WatchUserSetResponse, Watermark,
};
use tonic::Status;

use crate::api::newest::{Newest, Told};
use crate::api::reader::{PAGE_BYTES, Reader, Turn, draining};
use crate::api::resume::{self, Start};
use crate::api::set_change::{Addition, Changes};
use crate::api::snapshot::Snapshot;
use crate::api::status::{status_change, user_sessions};
use crate::api::watched::{Asked, Watched};
use crate::limits::{MAX_REQUEST_BYTES, Share};
use crate::methods;
use crate::node::{Moment, Node};
use crate::refusal::Refusal;

/// The stream's state.
#[derive(Debug)]
pub(crate) struct Watch {
    reader: Reader,
    share: Share,
    watched: Watched,
    /// Of what waits, only the newest change of each user is told.
    newest: bool,
    /// Changes of the set that the client may ask for.
    changes: Changes,
    next: Next,
}

/// What comes next.
#[derive(Debug)]
enum Next {
    Resumed(Option<Addition>),
    Gap(Gap),
    SnapshotBegins,
    Snapshot(Snapshot),
    /// Everything up to the moment as of which users are added or removed.
    CatchUp(Addition),
    Changes,
    /// What was read and merged, and did not fit into one page.
    Told(vec::IntoIter<Told>),
    Over,
}

/// What there is to do.
#[derive(Debug)]
enum Work {
    OfReader(Turn),
    OfClient(Result<Option<WatchUserSetRequest>, Status>),
}

type Page = Vec<Result<WatchUserSetResponse, Status>>;

/// What an answer takes beside its event: itself, and its position.
const ANSWER_BYTES: usize = size_of::<Result<WatchUserSetResponse, Status>>() + 64;

/// What a session takes in an answer: itself, and its texts.
const SESSION_BYTES: usize = size_of::<UserSession>() + 128;

impl Watch {
    /// A stream of what is asked for and has been checked. `changes`: what the client of a WatchUserSet says.
    pub(crate) fn open(
        node: Arc<Node>,
        asked: &Asked,
        changes: Option<Changes>,
        share: Share,
    ) -> Result<Self, Refusal> {
        let mut watched = asked.watched()?;
        let (token, filter) = (&asked.resume_position, watched.fingerprint());
        let start = resume::start(&node, token, asked.on_gap()?, Some(filter))?;
        let method = match &changes {
            Some(_) => methods::WATCH_USER_SET,
            None => methods::WATCH,
        };
        let mut reader = Reader::open(node, method, &share, watched.about())?;
        let next = match start {
            Start::Now => Next::SnapshotBegins,
            Start::Resumed(after) => {
                reader.seek(after);
                let new = &asked.new_user_ids;
                let added = || Addition::of(reader.node(), &watched, new);
                Next::Resumed((!new.is_empty()).then(added))
            }
            Start::Gap(gap, _) => {
                watched.add(&asked.new_user_ids);
                Next::Gap(gap)
            }
        };
        Ok(Self {
            reader,
            share,
            watched,
            newest: asked.newest()?,
            changes: changes.unwrap_or_else(Changes::none),
            next,
        })
    }

    /// The messages.
    pub(crate) fn into_stream(
        self,
    ) -> impl Stream<Item = Result<WatchUserSetResponse, Status>> + Send {
        let pages = stream::unfold(Box::new(self), |mut watch| async move {
            let page = watch.next_page().await?;
            Some((stream::iter(page), watch))
        });
        pages.flatten()
    }

    /// What is to be sent next, at least one message; None at the end.
    async fn next_page(&mut self) -> Option<Page> {
        if self.reader.is_closed() && !matches!(self.next, Next::Over) {
            self.next = Next::Changes;
        }
        let page = match std::mem::replace(&mut self.next, Next::Changes) {
            Next::Resumed(addition) => {
                self.next = addition.map_or(Next::Changes, Next::CatchUp);
                self.say(Message::Resumed(Resumed {}))
            }
            Next::Gap(gap) => self.say_gap(gap),
            Next::SnapshotBegins => self.begin_snapshot().await,
            Next::Snapshot(snapshot) => self.continue_snapshot(snapshot),
            Next::CatchUp(addition) => self.catch_up(addition).await,
            Next::Changes => self.changes().await,
            Next::Told(told) => self.tell_on(told),
            Next::Over => return None,
        };
        self.reader.sent();
        Some(page)
    }

    async fn begin_snapshot(&mut self) -> Page {
        let (node, sessions) = (self.reader.node(), self.watched.sessions);
        let snapshot = match self.watched.some() {
            Some(users) => Ok(Snapshot::of(node, users, sessions)),
            None => Snapshot::of_everybody(node, &self.share, sessions).await,
        };
        match snapshot {
            Ok(snapshot) => vec![self.begin(snapshot, SnapshotScope::All)],
            Err(refusal) => self.end(refusal),
        }
    }

    fn begin(
        &mut self,
        snapshot: Snapshot,
        scope: SnapshotScope,
    ) -> Result<WatchUserSetResponse, Status> {
        let at = snapshot.now.at;
        self.next = Next::Snapshot(snapshot);
        let scope = scope.into();
        Ok(self.without_position(at, Message::SnapshotBegin(SnapshotBegin { scope })))
    }

    fn continue_snapshot(&mut self, mut snapshot: Snapshot) -> Page {
        let Moment { seq, at } = snapshot.now;
        match snapshot.next_part(&self.reader.node().clock) {
            Ok(users) if users.is_empty() => {
                self.reader.seek(seq);
                vec![Ok(self.at(seq, at, Message::SnapshotEnd(SnapshotEnd {})))]
            }
            Ok(users) => {
                self.next = Next::Snapshot(snapshot);
                let part = Message::Snapshot(StatusSnapshot { users });
                vec![Ok(self.without_position(at, part))]
            }
            // It was counted when its time was up.
            Err(refusal) => {
                self.next = Next::Over;
                vec![Err(refusal.into())]
            }
        }
    }

    async fn changes(&mut self) -> Page {
        loop {
            match self.work().await {
                Work::OfReader(Turn::Events) => {
                    let page = if self.newest {
                        self.merged().await
                    } else {
                        self.every_change()
                    };
                    if !page.is_empty() {
                        return page;
                    }
                }
                Work::OfReader(Turn::Gap { from, to }) => return self.fell_behind(from, to),
                Work::OfReader(Turn::Idle) => return self.say(Message::Watermark(Watermark {})),
                Work::OfReader(Turn::Closed) => {
                    self.next = Next::Over;
                    return vec![Err(Refusal::StreamClosed.into())];
                }
                Work::OfReader(Turn::Leave(retry)) => {
                    let mut page = self.say(Message::Draining(draining(retry)));
                    page.extend(self.end(Refusal::Draining { retry }));
                    return page;
                }
                Work::OfClient(Ok(None)) => self.changes.end(),
                Work::OfClient(Ok(Some(WatchUserSetRequest { message }))) => {
                    return match self.asked(message) {
                        Ok(addition) => self.catch_up(addition).await,
                        Err(refusal) => self.end(refusal),
                    };
                }
                Work::OfClient(Err(status)) => {
                    let longest = format!("{MAX_REQUEST_BYTES} bytes");
                    if let Some(refusal) = Refusal::of_unread(&status, longest) {
                        return self.end(refusal);
                    }
                    self.next = Next::Over;
                    return vec![Err(status)];
                }
            }
        }
    }

    async fn work(&mut self) -> Work {
        tokio::select! {
            turn = self.reader.turn() => Work::OfReader(turn),
            request = self.changes.next() => Work::OfClient(request),
        }
    }

    fn asked(&mut self, request: Option<Request>) -> Result<Addition, Refusal> {
        let (node, after) = (self.reader.node(), self.reader.after());
        self.changes.asked(node, after, &self.watched, request)
    }

    /// Tells what there was before the set changes, and then that it has.
    async fn catch_up(&mut self, addition: Addition) -> Page {
        loop {
            tokio::task::consume_budget().await;
            match self.reader.read_on(addition.until) {
                Ok(true) => {
                    let page = self.every_change();
                    if !page.is_empty() {
                        self.next = Next::CatchUp(addition);
                        return page;
                    }
                }
                Ok(false) => return self.change_set(addition, None),
                Err(gap) => return self.change_set(addition, Some(gap)),
            }
        }
    }

    fn change_set(&mut self, addition: Addition, gap: Option<Missed>) -> Page {
        self.watched.remove(&addition.remove);
        self.watched.add(&addition.add);
        let is_complete = addition.snapshot.is_none() && gap.is_none();
        let user_count = self.watched.some().map_or(0, |users| users.len() as u32);
        let mut page = Page::new();
        if let Some(number) = addition.number {
            let changed = Message::SetChanged(SetChanged { number, user_count });
            let now = self.reader.node().clock.now();
            page.push(Ok(if is_complete {
                self.at(self.reader.after(), now, changed)
            } else {
                self.without_position(now, changed)
            }));
        }
        if let Some(Missed { from, to }) = gap {
            page.extend(self.fell_behind(from, to));
        } else if let Some(snapshot) = addition.snapshot {
            page.push(self.begin(snapshot, SnapshotScope::Added));
        }
        page
    }

    /// The changes that were read.
    fn every_change(&mut self) -> Page {
        let mut told = Vec::new();
        for logged in self.reader.page() {
            if let Event::Presence(change) = &logged.event
                && self.watched.wants(change)
            {
                told.push(Told::new(logged, change));
            }
        }
        // What is read at a time has a bound of its own.
        self.tell(&mut told.into_iter(), usize::MAX)
    }

    /// Of the changes that were read, and of those that wait, the newest of each user.
    async fn merged(&mut self) -> Page {
        let from = self.reader.page().first().map_or(0, |it| it.position - 1);
        let head = self.reader.node().log.extent().0;
        let mut newest = Newest::default();
        loop {
            tokio::task::consume_budget().await;
            for logged in self.reader.page() {
                if let Event::Presence(change) = &logged.event
                    && self.watched.wants(change)
                {
                    newest.add(Told::new(logged, change));
                }
            }
            if newest.is_full() {
                break;
            }
            match self.reader.read_on(head) {
                Ok(true) => {}
                Ok(false) => break,
                Err(gap) => return self.fell_behind(from, gap.to),
            }
        }
        self.tell_on(newest.into_told(&self.watched).into_iter())
    }

    /// A page of these; the others come next.
    fn tell_on(&mut self, mut told: vec::IntoIter<Told>) -> Page {
        let page = self.tell(&mut told, PAGE_BYTES);
        if !told.as_slice().is_empty() {
            self.next = Next::Told(told);
        }
        page
    }

    /// Answers of so many bytes, and one more.
    fn tell(&mut self, told: &mut vec::IntoIter<Told>, most: usize) -> Page {
        let mut bytes = 0;
        let mut page = Page::new();
        while bytes < most
            && let Some(told) = told.next()
        {
            let change = self.change(&told);
            let sessions = change.user.as_ref().map_or(0, |user| user.sessions.len());
            bytes += ANSWER_BYTES + sessions * SESSION_BYTES;
            page.push(Ok(self.at(told.position, told.at, Message::Change(change))));
        }
        let left: usize = told.as_slice().iter().map(Told::bytes).sum();
        self.reader.waits(bytes + left);
        page
    }

    fn change(&self, told: &Told) -> StatusChange {
        let change = &told.change;
        let mut said = status_change(change);
        said.merged_count = told.merged;
        if self.watched.sessions
            && let Some(user) = &mut said.user
        {
            let clock = &self.reader.node().clock;
            user.sessions = user_sessions(clock, change.sessions.as_deref());
        }
        said
    }

    fn fell_behind(&mut self, from: u64, to: u64) -> Page {
        let filter = Some(self.watched.fingerprint());
        self.say_gap(resume::fell_behind(self.reader.node(), from, to, filter))
    }

    fn say_gap(&mut self, gap: Gap) -> Page {
        self.next = Next::SnapshotBegins;
        self.reader.count_gap();
        let now = self.reader.node().clock.now();
        vec![Ok(self.without_position(now, Message::Gap(gap)))]
    }

    fn say(&self, message: Message) -> Page {
        let now = self.reader.node().clock.now();
        vec![Ok(self.at(self.reader.after(), now, message))]
    }

    fn at(&self, seq: u64, at: Duration, message: Message) -> WatchUserSetResponse {
        let mut position = self.reader.node().position(seq);
        position.filter = Some(self.watched.fingerprint());
        WatchUserSetResponse {
            position: position.token(),
            ..self.without_position(at, message)
        }
    }

    /// Nobody can resume inside a snapshot, nor between what announces it and its end.
    fn without_position(&self, at: Duration, message: Message) -> WatchUserSetResponse {
        WatchUserSetResponse {
            position: String::new(),
            node_time: Some(self.reader.node().clock.timestamp(at)),
            message: Some(message),
        }
    }

    fn end(&mut self, refusal: Refusal) -> Page {
        self.next = Next::Over;
        let metrics = &self.reader.node().process.metrics;
        metrics.stream_refused(self.reader.method(), &refusal);
        vec![Err(refusal.into())]
    }
}

#[cfg(test)]
mod tests;
