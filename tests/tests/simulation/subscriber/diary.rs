//! What a subscriber has been told, judged as it comes: every event that it wants, once, in order,
//! or a gap that says exactly what is missing and why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use route_proto::v1::event::Body as Routed;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::watch_user_status_response::Message as Watched;
use route_proto::v1::{
    Event, EventFilter, EventKind, Gap, GapPolicy, GapReason, SubscribeRequest, SubscribeResponse,
    WatchUserStatusRequest, WatchUserStatusResponse,
};
use tonic::{Code, Status};

use crate::subscriber::archive::{Archive, Change, Place, Stretch};

/// The moment at which something is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// The node's.
    pub(crate) life: u64,
    /// Up to here its log no longer holds events.
    pub(crate) tail: u64,
    pub(crate) at: Duration,
}

/// A change of a status, and when it was told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) at: Duration,
    pub(crate) life: u64,
    pub(crate) change: Change,
}

/// Outlives the subscriber's streams.
#[derive(Debug)]
pub(crate) struct Diary {
    /// What it wants; nothing: everything.
    kinds: Vec<EventKind>,
    archive: Arc<Mutex<Archive>>,
    status: Cursor,
    routed: Cursor,
    /// Who is not offline.
    pub(crate) online: BTreeSet<u32>,
    /// A snapshot that is not complete.
    snapshot: BTreeSet<u32>,
    /// Snapshots, and when they were complete.
    pub(crate) snapshots: Vec<(Duration, BTreeSet<u32>)>,
    /// Where it followed who is online.
    pub(crate) stretches: Vec<Stretch>,
    /// Changes among the routed events.
    pub(crate) told: Vec<Told>,
    /// Since when it should have seen every message.
    pub(crate) since: Option<Duration>,
    /// Messages since then.
    pub(crate) seen: BTreeSet<u32>,
    /// The newest of each connection.
    newest: BTreeMap<String, u32>,
    /// Gaps that were told because it was too slow, or away for too long.
    pub(crate) gaps: u64,
    /// It no longer takes its time.
    pub(crate) hurries: bool,
    pub(crate) wrong: Vec<String>,
}

/// Where a stream goes on.
#[derive(Debug, Default)]
struct Cursor {
    position: String,
    /// Everything up to here was told, or said to be missing.
    place: Place,
    /// A stream has been asked for, of which nothing has come.
    begins: bool,
    /// The life whose stream is open, and past its beginning.
    follows: u64,
}

/// How a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Fresh,
    Resumed,
    Gap(GapReason),
    Nonsense,
}

impl Diary {
    pub(crate) fn new(kinds: Vec<EventKind>, archive: Arc<Mutex<Archive>>) -> Self {
        Self {
            kinds,
            archive,
            status: Cursor::default(),
            routed: Cursor::default(),
            online: BTreeSet::new(),
            snapshot: BTreeSet::new(),
            snapshots: Vec::new(),
            stretches: Vec::new(),
            told: Vec::new(),
            since: None,
            seen: BTreeSet::new(),
            newest: BTreeMap::new(),
            gaps: 0,
            hurries: false,
            wrong: Vec::new(),
        }
    }

    /// To go on with who is online.
    pub(crate) fn watch_request(&mut self, on_gap: GapPolicy) -> WatchUserStatusRequest {
        self.status.begins = true;
        WatchUserStatusRequest {
            all_users: true,
            resume_position: self.status.position.clone(),
            on_gap: on_gap.into(),
            ..WatchUserStatusRequest::default()
        }
    }

    /// To go on with what is routed.
    pub(crate) fn subscribe_request(&mut self, on_gap: GapPolicy) -> SubscribeRequest {
        self.routed.begins = true;
        SubscribeRequest {
            filters: self.filter().into_iter().collect(),
            resume_position: self.routed.position.clone(),
            on_gap: on_gap.into(),
            ..SubscribeRequest::default()
        }
    }

    /// None: all kinds.
    fn filter(&self) -> Option<EventFilter> {
        (!self.kinds.is_empty()).then(|| EventFilter {
            kinds: self.kinds.iter().map(|kind| (*kind).into()).collect(),
            ..EventFilter::default()
        })
    }

    /// Both streams of this life are open, and past their beginning.
    pub(crate) fn follows(&self, life: u64) -> bool {
        self.status.follows == life && self.routed.follows == life
    }

    /// It has been told of everything up to here.
    pub(crate) fn has_read(&self, life: u64, head: u64) -> bool {
        let read = |cursor: &Cursor| cursor.place >= Place { life, seq: head };
        self.follows(life) && read(&self.routed)
    }

    /// The stream of who is online is gone.
    pub(crate) fn left_status(&mut self) {
        self.status.follows = 0;
    }

    /// The stream of what is routed is gone.
    pub(crate) fn left_routed(&mut self) {
        self.routed.follows = 0;
    }

    /// A stream was not opened. One that cannot resume fails if that was asked for, and begins
    /// anew.
    pub(crate) fn refused(&mut self, on_gap: GapPolicy, now: &Now, status: &Status, stream: &str) {
        let cursor = if stream == "status" {
            &mut self.status
        } else {
            &mut self.routed
        };
        let expected = cursor.expected(now);
        if status.code() == Code::Unavailable {
            return;
        }
        let fails = on_gap == GapPolicy::Fail && matches!(expected, Beginning::Gap(_));
        if status.code() == Code::OutOfRange && fails {
            *cursor = Cursor::default();
        } else {
            let what = format!("{stream}: refused with {status:?} instead of {expected:?}");
            self.wrong.push(what);
        }
    }

    pub(crate) fn watched(&mut self, now: &Now, response: WatchUserStatusResponse) {
        let Some(event) = response.message else {
            return;
        };
        let first = std::mem::take(&mut self.status.begins);
        if first {
            let beginning = match &event {
                Watched::SnapshotBegin(_) => Beginning::Fresh,
                Watched::Resumed(_) => Beginning::Resumed,
                Watched::Gap(gap) => Beginning::Gap(gap.reason()),
                // A node that drains at once.
                Watched::Draining(_) => return,
                Watched::Snapshot(_)
                | Watched::SnapshotEnd(_)
                | Watched::Change(_)
                | Watched::Watermark(_) => Beginning::Nonsense,
            };
            self.begins("status", self.status.expected(now), beginning);
        }
        let place = Place::of(&response.position);
        match event {
            Watched::SnapshotBegin(_) => self.snapshot.clear(),
            Watched::Snapshot(part) => {
                let users = part.users.iter().map(|user| user.user_id);
                self.snapshot.extend(users);
            }
            Watched::SnapshotEnd(_) => self.knows_everybody(now, place.unwrap_or_default()),
            Watched::Resumed(_) => self.status.follows = now.life,
            Watched::Change(change) => {
                let user = change.user.clone().unwrap_or_default();
                self.changed(place, Change::of(&user, change.reason()));
            }
            Watched::Gap(gap) => {
                let problem = self.status.problem(first, now, &gap, false);
                if let (Some(stretch), Some(from)) =
                    (self.stretches.last_mut(), Place::of(&gap.from_position))
                    && stretch.from.life == from.life
                {
                    stretch.to = from.seq;
                }
                self.note_gap("status", &gap, problem);
            }
            Watched::Watermark(_) | Watched::Draining(_) => {}
        }
        if let Some(place) = place {
            if place < self.status.place {
                self.wrong.push(format!("status: {place:?} comes late"));
            }
            if let Some(stretch) = self.stretches.last_mut()
                && stretch.from.life == place.life
            {
                stretch.to = place.seq;
            }
            self.status.moves_to(response.position, place);
        }
    }

    /// A snapshot is complete.
    fn knows_everybody(&mut self, now: &Now, from: Place) {
        self.online = std::mem::take(&mut self.snapshot);
        self.snapshots.push((now.at, self.online.clone()));
        self.stretches.push(Stretch {
            from,
            to: from.seq,
            online: self.online.clone(),
            changes: Vec::new(),
        });
        self.status.follows = now.life;
    }

    fn changed(&mut self, place: Option<Place>, change: Change) {
        if change.online {
            self.online.insert(change.user);
        } else {
            self.online.remove(&change.user);
        }
        if let (Some(stretch), Some(place)) = (self.stretches.last_mut(), place) {
            let changes = &mut stretch.changes;
            changes.push((place.seq, change.user, change.online));
        }
    }

    pub(crate) fn routed(&mut self, now: &Now, response: SubscribeResponse) {
        let Some(message) = response.message else {
            return;
        };
        let first = std::mem::take(&mut self.routed.begins);
        if first {
            let beginning = match &message {
                Message::Subscribed(_) => Beginning::Fresh,
                Message::Resumed(_) => Beginning::Resumed,
                Message::Gap(gap) => Beginning::Gap(gap.reason()),
                // A node that drains at once.
                Message::Draining(_) => return,
                Message::Event(_) | Message::Watermark(_) => Beginning::Nonsense,
            };
            self.begins("messages", self.routed.expected(now), beginning);
            self.routed.follows = now.life;
        }
        let place = Place::of(&response.position).unwrap_or_default();
        match message {
            Message::Subscribed(_) => self.begin_anew(now),
            Message::Gap(gap) => {
                // It begins behind what is passed over.
                let before = self.routed.place;
                let from = Place::of(&gap.from_position).unwrap_or_default();
                let passes_over = from.life == before.life
                    && self.archive.lock().passed_over(before, from.seq + 1);
                let exact = self.kinds.is_empty() && !passes_over;
                let mut problem = self.routed.problem(first, now, &gap, exact);
                if Place::of(&gap.to_position) != Some(place) {
                    problem = Some("it does not go on where the gap ends".to_owned());
                }
                self.note_gap("messages", &gap, problem);
                self.begin_anew(now);
            }
            Message::Event(event) => self.event(now, place, &event),
            Message::Resumed(_) | Message::Watermark(_) | Message::Draining(_) => {
                let before = self.routed.place;
                let follows = place.life == before.life
                    && place.seq >= before.seq
                    && (!self.kinds.is_empty()
                        || self.archive.lock().passed_over(before, place.seq + 1));
                if self.kinds.is_empty() && !follows {
                    self.wrong
                        .push(format!("messages: at {place:?}, before at {before:?}"));
                }
            }
        }
        self.routed.moves_to(response.position, place);
    }

    /// What was missed is not expected.
    fn begin_anew(&mut self, now: &Now) {
        self.since = Some(now.at);
        self.seen.clear();
        self.newest.clear();
    }

    fn event(&mut self, now: &Now, place: Place, event: &Event) {
        let before = self.routed.place;
        let follows = place.life == before.life && place.seq > before.seq && {
            let all = self.kinds.is_empty();
            !all || self.archive.lock().passed_over(before, place.seq)
        };
        if !follows {
            let what = format!("messages: {place:?} comes after {before:?} without a gap");
            self.wrong.push(what);
        }
        if !self.archive.lock().saw(place, event) {
            let what = format!("messages: another one saw something else at {place:?}");
            self.wrong.push(what);
        }
        if let Some(change) = Change::in_event(event) {
            self.told.push(Told {
                at: now.at,
                life: now.life,
                change,
            });
        }
        let id = match &event.body {
            Some(Routed::ChatMessage(chat)) => chat.message_id,
            Some(Routed::GroupChange(change)) => change.group_id,
            Some(Routed::StatusChange(_) | Routed::DesktopLoginChange(_)) => return,
            other => return self.wrong.push(format!("nobody sent {other:?}")),
        };
        let newest = self.newest.entry(event.origin_link.clone()).or_default();
        if !self.seen.insert(id) {
            self.wrong
                .push(format!("message {id} came to the subscriber twice"));
        } else if id < *newest {
            let what = format!("message {id} came to the subscriber after {newest}");
            self.wrong.push(what);
        }
        *newest = id.max(*newest);
    }

    fn begins(&mut self, stream: &str, expected: Beginning, beginning: Beginning) {
        if beginning != expected {
            let what = format!("{stream}: begins with {beginning:?} instead of {expected:?}");
            self.wrong.push(what);
        }
    }

    fn note_gap(&mut self, stream: &str, gap: &Gap, problem: Option<String>) {
        self.gaps += u64::from(gap.reason() != GapReason::EpochChanged);
        if let Some(problem) = problem {
            self.wrong.push(format!("{stream}: {gap:?}: {problem}"));
        }
    }
}

impl Cursor {
    fn expected(&self, now: &Now) -> Beginning {
        if self.position.is_empty() {
            Beginning::Fresh
        } else if self.place.life != now.life {
            Beginning::Gap(GapReason::EpochChanged)
        } else if self.place.seq < now.tail {
            Beginning::Gap(GapReason::Compacted)
        } else {
            Beginning::Resumed
        }
    }

    /// What is wrong with a gap: it has to begin where the stream was, end where the log begins,
    /// and count what is between. `exact`: the stream shows every event, so that its place is
    /// known.
    fn problem(&self, first: bool, now: &Now, gap: &Gap, exact: bool) -> Option<String> {
        let (Some(from), Some(to)) = (Place::of(&gap.from_position), Place::of(&gap.to_position))
        else {
            return Some("it has no extent".to_owned());
        };
        let log_begins = Place {
            life: now.life,
            seq: now.tail,
        };
        let of_its_place = if exact || first {
            from == self.place
        } else {
            from >= self.place
        };
        let missed = if from.life == to.life {
            to.seq.checked_sub(from.seq)
        } else {
            Some(0)
        };
        let at_its_time = match gap.reason() {
            GapReason::EpochChanged => first && from.life != now.life,
            GapReason::Compacted => first && from < log_begins,
            GapReason::SlowConsumer => !first && from < log_begins,
            GapReason::Unspecified | GapReason::FilterChanged => false,
        };
        if !of_its_place {
            Some(format!("it begins elsewhere than {:?}", self.place))
        } else if to != log_begins {
            Some(format!("what comes after {log_begins:?} is still held"))
        } else if missed != Some(gap.missed_count) {
            Some(format!("{missed:?} events are missing"))
        } else if !at_its_time {
            Some("that is not the reason".to_owned())
        } else {
            None
        }
    }

    fn moves_to(&mut self, position: String, place: Place) {
        if !position.is_empty() {
            (self.position, self.place) = (position, place);
        }
    }
}
