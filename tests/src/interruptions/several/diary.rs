//! What a service was told that follows, judged as it comes.

use std::collections::BTreeSet;
use std::fmt::Debug;

use route_proto::v1::event::Body;
use route_proto::v1::subscribe_response::Message as Routed;
use route_proto::v1::watch_user_status_response::Message as Watched;
use route_proto::v1::{
    EventFilter, EventKind, Gap, PresenceStatus, SubscribeResponse, UserStatus,
    WatchUserStatusResponse,
};

use crate::cast::judge::State;
use crate::cast::population::{SERVERS, is_staying};

/// Who is online, by a state that was told.
type Online = BTreeSet<u32>;

/// Problems that are told.
const TOLD: usize = 5;

/// What a service was told, over all its streams.
pub(super) trait Diary: Debug + Default + Send + 'static {
    /// What it is told.
    type Response: Send + prost::Message + Default + 'static;

    /// Where it goes on.
    fn position(&self) -> String;

    /// Something comes; the first of a stream says how that begins.
    fn told(&mut self, response: Self::Response, is_first: bool, judge: &State);

    /// Something is wrong.
    fn problem(&mut self, what: String);

    /// What it has not been told of what has happened.
    fn lacks(&self, judge: &State) -> Option<String>;
}

/// A service that subscribes to all chat messages.
#[derive(Debug, Default)]
pub(super) struct Subscriber {
    /// Messages; streams that went on without a gap; gaps.
    pub(super) events: u64,
    pub(super) resumed: u64,
    pub(super) gaps: u64,
    pub(super) wrong: Vec<String>,
    position: String,
    /// The last message of each MsgServer since the last gap.
    last: [Option<u32>; SERVERS],
}

impl Subscriber {
    /// What it wants.
    pub(super) fn filter() -> EventFilter {
        EventFilter {
            kinds: vec![EventKind::ChatMessage.into()],
            ..EventFilter::default()
        }
    }

    fn message(&mut self, number: u32, judge: &State) {
        self.events += 1;
        let origin = number as usize % SERVERS;
        let Some(before) = self.last[origin].replace(number) else {
            return;
        };
        let due = judge.said_after(before);
        if due != Some(number) {
            self.problem(format!(
                "a subscriber was told {number} after {before}, and no gap: the next is {due:?}"
            ));
        }
    }
}

impl Diary for Subscriber {
    type Response = SubscribeResponse;

    fn position(&self) -> String {
        self.position.clone()
    }

    fn told(&mut self, response: SubscribeResponse, is_first: bool, judge: &State) {
        let begins = self.position.is_empty();
        match response.message {
            Some(Routed::Subscribed(_)) if is_first && begins => {}
            Some(Routed::Resumed(_)) if is_first && !begins => self.resumed += 1,
            Some(Routed::Gap(gap)) if !begins => {
                self.gaps += 1;
                self.last = Default::default();
                if let Some(problem) = wrong_gap(&gap, &self.position) {
                    self.problem(problem);
                }
            }
            Some(Routed::Event(event)) if !is_first => {
                if let Some(Body::ChatMessage(chat)) = event.body {
                    self.message(chat.message_id, judge);
                }
            }
            Some(Routed::Watermark(_)) if !is_first => {}
            Some(Routed::Draining(_)) | None => {}
            Some(other) => self.problem(format!("a subscriber's stream says {other:?} here")),
        }
        if !response.position.is_empty() {
            self.position = response.position;
        }
    }

    fn problem(&mut self, what: String) {
        if self.wrong.len() < TOLD {
            self.wrong.push(what);
        }
    }

    fn lacks(&self, judge: &State) -> Option<String> {
        let mut servers = (0..SERVERS).filter(|server| !judge.is_excused_server(*server));
        servers.find_map(|server| {
            let due = judge.said_last(server);
            let last = self.last[server];
            (due.is_some() && due != last).then(|| {
                format!("a subscriber was told {last:?} of MsgServer {server} last, and that sent {due:?}")
            })
        })
    }
}

/// A service that watches all users.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    /// Changes; streams that went on without a gap; gaps.
    pub(super) events: u64,
    pub(super) resumed: u64,
    pub(super) gaps: u64,
    pub(super) wrong: Vec<String>,
    position: String,
    online: Online,
    /// A state that is not complete.
    snapshot: Option<Online>,
}

impl Watcher {
    fn knows(&mut self, user: &UserStatus, judge: &State) {
        let is_online = user.status != PresenceStatus::Offline as i32;
        if is_online {
            self.online.insert(user.user_id);
        } else {
            self.online.remove(&user.user_id);
            if is_staying(user.user_id) && !judge.may_be_wrong(user.user_id) {
                let user = user.user_id;
                self.problem(format!("a watcher was told that {user} is offline"));
            }
        }
    }

    fn knows_all(&mut self, judge: &State) {
        self.online = self.snapshot.take().unwrap_or_default();
        let online = judge.online().into_iter();
        let mut missing = online
            .filter(|user| is_staying(*user) && !judge.may_be_wrong(*user))
            .filter(|user| !self.online.contains(user));
        if let Some(user) = missing.next() {
            self.problem(format!("a watcher's snapshot lacks {user}"));
        }
    }
}

impl Diary for Watcher {
    type Response = WatchUserStatusResponse;

    fn position(&self) -> String {
        self.position.clone()
    }

    fn told(&mut self, response: WatchUserStatusResponse, is_first: bool, judge: &State) {
        let begins = self.position.is_empty();
        if is_first {
            self.snapshot = None;
        }
        match response.message {
            Some(Watched::SnapshotBegin(_)) if begins || !is_first => {
                self.snapshot = Some(Online::new());
            }
            Some(Watched::Snapshot(part)) if self.snapshot.is_some() => {
                let users = part.users.iter();
                let online = users.filter(|user| user.status != PresenceStatus::Offline as i32);
                let online = online.map(|user| user.user_id);
                self.snapshot
                    .iter_mut()
                    .for_each(|it| it.extend(online.clone()));
            }
            Some(Watched::SnapshotEnd(_)) if self.snapshot.is_some() => self.knows_all(judge),
            Some(Watched::Resumed(_)) if is_first && !begins => self.resumed += 1,
            Some(Watched::Gap(gap)) if !begins => {
                self.gaps += 1;
                if let Some(problem) = wrong_gap(&gap, &self.position) {
                    self.problem(problem);
                }
            }
            Some(Watched::Change(change)) if !is_first => {
                self.events += 1;
                self.knows(&change.user.unwrap_or_default(), judge);
            }
            Some(Watched::Watermark(_)) if !is_first => {}
            Some(Watched::Draining(_)) | None => {}
            Some(other) => self.problem(format!("a watcher's stream says {other:?} here")),
        }
        if !response.position.is_empty() {
            self.position = response.position;
        }
    }

    fn problem(&mut self, what: String) {
        if self.wrong.len() < TOLD {
            self.wrong.push(what);
        }
    }

    fn lacks(&self, judge: &State) -> Option<String> {
        let truth = judge.online();
        let wrong = truth.symmetric_difference(&self.online);
        let mut wrong = wrong.filter(|user| !judge.may_be_wrong(**user));
        let user = wrong.next()?;
        let is_online = truth.contains(user);
        Some(format!(
            "a watcher is wrong about {user}, who is online: {is_online}"
        ))
    }
}

/// A gap has to begin where the reader was; within a life nothing is missing here, for logs hold more than a reader can miss.
fn wrong_gap(gap: &Gap, position: &str) -> Option<String> {
    let life = |position: &str| position.get(2..18).map(str::to_owned);
    let is_of_one_life = life(&gap.from_position) == life(&gap.to_position);
    let is_elsewhere = life(&gap.from_position) != life(position);
    (is_of_one_life || is_elsewhere).then(|| format!("at {position} there is a gap: {gap:?}"))
}

#[cfg(test)]
mod tests {
    use route_proto::v1::{ChatMessage, Event, Resumed, StatusChange, Subscribed};

    use super::*;
    use crate::cast::judge::Judge;
    use crate::cast::population::Population;
    use crate::dice::Dice;

    const HERE: &str = "1-00000000000000070000000000000001";
    const IN_ANOTHER_LIFE: &str = "1-00000000000000080000000000000000";

    #[test]
    fn who_is_told_every_message_or_of_a_gap_is_content() {
        let (judge, sent) = judge(4);
        let told = subscriber(&judge, &[event(sent[0]), event(sent[1])]);
        assert_eq!(told.wrong, Vec::<String>::new());
        let told = subscriber(
            &judge,
            &[event(sent[0]), gap(IN_ANOTHER_LIFE), event(sent[3])],
        );
        assert_eq!(told.wrong, Vec::<String>::new());
        assert_eq!(judge.with(|judge| told.lacks(judge)), None);
    }

    #[test]
    fn who_misses_a_message_without_a_gap_says_so() {
        let (judge, sent) = judge(4);
        let told = subscriber(&judge, &[event(sent[0]), event(sent[2])]);
        assert_eq!(told.wrong.len(), 1);
        let told = subscriber(&judge, &[event(sent[0])]);
        assert!(judge.with(|judge| told.lacks(judge)).is_some(), "the last");
    }

    #[test]
    fn who_is_told_a_message_again_or_late_says_so() {
        let (judge, sent) = judge(4);
        for again in [sent[1], sent[0]] {
            let told = [event(sent[0]), event(sent[1]), event(again)];
            assert_eq!(subscriber(&judge, &told).wrong.len(), 1);
        }
    }

    #[test]
    fn a_gap_without_need_is_wrong_and_so_is_a_stream_that_begins_anew() {
        let (judge, sent) = judge(2);
        let told = subscriber(&judge, &[event(sent[0]), gap(HERE)]);
        assert_eq!(told.wrong.len(), 1);

        let mut told = subscriber(&judge, &[event(sent[0])]);
        judge.with(|judge| told.told(said(Routed::Subscribed(Subscribed {})), true, judge));
        assert_eq!(told.wrong.len(), 1);
        judge.with(|judge| told.told(said(Routed::Resumed(Resumed {})), true, judge));
        assert_eq!((told.wrong.len(), told.resumed), (1, 1));
    }

    #[test]
    fn who_is_told_that_somebody_is_offline_who_never_was_says_so() {
        let (judge, _) = judge(1);
        let user = judge.with(|judge| judge.online().into_iter().find(|it| is_staying(*it)));
        let user_id = user.expect("some stay");
        let user = Some(UserStatus {
            user_id,
            status: PresenceStatus::Offline.into(),
            ..UserStatus::default()
        });
        let change = StatusChange {
            user,
            ..StatusChange::default()
        };
        let response = WatchUserStatusResponse {
            message: Some(Watched::Change(change)),
            ..WatchUserStatusResponse::default()
        };
        let mut watcher = Watcher::default();
        judge.with(|judge| watcher.told(response, false, judge));
        assert_eq!(watcher.wrong.len(), 1);
        let lacks = judge.with(|judge| watcher.lacks(judge));
        assert!(lacks.is_some(), "it knows of nobody who is online");
    }

    /// MsgServer 0 has sent so many.
    fn judge(messages: usize) -> (Judge, Vec<u32>) {
        let (judge, mut dice) = (Judge::new(Population::new()), Dice::new(1));
        let sent = (0..messages).map(|_| {
            judge.with(|judge| {
                judge.message(0, tokio::time::Instant::now(), &mut dice);
                judge.said_last(0).unwrap_or_default()
            })
        });
        let sent = sent.collect();
        (judge, sent)
    }

    fn subscriber(judge: &Judge, responses: &[SubscribeResponse]) -> Subscriber {
        let mut subscriber = Subscriber {
            position: HERE.to_owned(),
            ..Subscriber::default()
        };
        for response in responses {
            judge.with(|judge| subscriber.told(response.clone(), false, judge));
        }
        subscriber
    }

    fn event(message_id: u32) -> SubscribeResponse {
        let chat = ChatMessage {
            message_id,
            ..ChatMessage::default()
        };
        said(Routed::Event(Event {
            body: Some(Body::ChatMessage(chat)),
            ..Event::default()
        }))
    }

    /// To this position.
    fn gap(to: &str) -> SubscribeResponse {
        said(Routed::Gap(Gap {
            from_position: HERE.to_owned(),
            to_position: to.to_owned(),
            ..Gap::default()
        }))
    }

    fn said(message: Routed) -> SubscribeResponse {
        SubscribeResponse {
            message: Some(message),
            ..SubscribeResponse::default()
        }
    }
}
