//! Compares what every MsgServer gets with what it should get.
//!
//! Between two MsgServers there is a *route*: what the one sent, and the notices that it caused, are due at the other in
//! that order, byte for byte, once. Answers are due at their asker in the order of the questions.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use parking_lot::Mutex;
use prost::Message as _;
use route_proto::legacy::im::base_define::UserStatType;
use route_proto::legacy::im::buddy::{ImUserStatNotify, ImUsersStatRsp};
use route_proto::legacy::im::message::ImMsgData;
use route_proto::legacy::im::server::ImServerPcLoginStatusNotify;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::population::{self, Change, Population, SERVERS, some_staying_user};
use super::report::Tally;
use crate::player::messages::{self, GROUP_TEXT, SINGLE_TEXT};
use crate::player::pdu::{HEADER, Pdu, command, command_of};

/// Bytes of a message beside the fields that MsgServers need.
const PAYLOAD: usize = 200;
/// Deviations that are told one by one.
const TOLD: usize = 20;
/// The group of all group messages.
const GROUP: u32 = 5;

/// Knows what is due. Shared by all connections of all MsgServers.
#[derive(Debug)]
pub(super) struct Judge {
    state: Mutex<State>,
    /// Moves with everything that arrives.
    arrivals: watch::Sender<()>,
}

/// What is due, and what became of it.
#[derive(Debug)]
pub(super) struct State {
    population: Population,
    /// By target, then by origin.
    routes: Vec<Vec<Route>>,
    /// By MsgServer.
    questions: Vec<VecDeque<Question>>,
    /// Messages of each MsgServer.
    numbers: [u32; SERVERS],
    /// Queries of each MsgServer.
    queries: [u32; SERVERS],
    /// What was sent after this shows that its route works again.
    interrupted: Instant,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Route {
    due: VecDeque<Due>,
    /// Something newer has come.
    overtaken: Vec<Due>,
    /// When the last message came.
    came: Option<Instant>,
    /// When the first message came that was sent after the interruption.
    restored: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Due {
    raw: Bytes,
    sent: Instant,
    change: Option<Change>,
}

#[derive(Debug)]
struct Question {
    sequence: u16,
    attach: Vec<u8>,
    users: Vec<u32>,
    asked: u64,
}

impl Judge {
    /// Nothing has been sent yet.
    pub(super) fn new(population: Population) -> Self {
        let route = || (0..SERVERS).map(|_| Route::default()).collect();
        Self {
            state: Mutex::new(State {
                population,
                routes: (0..SERVERS).map(|_| route()).collect(),
                questions: (0..SERVERS).map(|_| VecDeque::new()).collect(),
                numbers: [0; SERVERS],
                queries: [0; SERVERS],
                interrupted: Instant::now(),
                tally: Tally::default(),
            }),
            arrivals: watch::Sender::new(()),
        }
    }

    /// Does something with the state; nothing arrives meanwhile.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock())
    }

    /// A PDU has arrived at a MsgServer, on any of its connections.
    pub(super) fn arrived(&self, target: usize, raw: &[u8]) {
        self.state.lock().arrived(target, raw);
        self.arrivals.send_replace(());
    }

    /// Waits until something is true; false after `limit`.
    pub(super) async fn until(
        &self,
        limit: Duration,
        mut what: impl FnMut(&mut State) -> bool,
    ) -> bool {
        let mut arrivals = self.arrivals.subscribe();
        let waited = async {
            while !what(&mut self.state.lock()) {
                if arrivals.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(limit, waited).await.is_ok()
    }
}

impl State {
    /// The next message of a MsgServer: to a group, or to a user of another one.
    pub(super) fn message(&mut self, origin: usize, now: Instant, dice: &mut Rng) -> Bytes {
        self.numbers[origin] += 1;
        let number = self.numbers[origin];
        let from = some_staying_user(origin, dice);
        let target = dice.usize(..SERVERS);
        let data = [b'.'; PAYLOAD];
        let pdu = if target == origin {
            messages::message(from, GROUP, number, GROUP_TEXT, data)
        } else {
            let to = some_staying_user(target, dice);
            messages::message(from, to, number, SINGLE_TEXT, data)
        };
        let raw = Bytes::from(pdu.encode());
        let due = Due {
            raw: raw.clone(),
            sent: now,
            change: None,
        };
        for (number, routes) in self.routes.iter_mut().enumerate() {
            let is_meant = number != origin && (target == origin || target == number);
            if is_meant {
                routes[origin].due.push_back(due.clone());
            }
        }
        self.tally.messages += 1;
        raw
    }

    /// A user of a MsgServer comes or goes.
    pub(super) fn update(&mut self, origin: usize, now: Instant, dice: &mut Rng) -> Bytes {
        let report = self.population.act(origin, dice);
        for notice in report.notices {
            self.routes[notice.to][origin].due.push_back(Due {
                raw: notice.pdu.encode().into(),
                sent: now,
                change: Some(report.change),
            });
            self.tally.notices += 1;
        }
        report.update.encode().into()
    }

    /// A MsgServer asks who is online.
    pub(super) fn query(&mut self, server: usize, dice: &mut Rng) -> Bytes {
        self.queries[server] += 1;
        let number = self.queries[server];
        let question = Question {
            sequence: number as u16,
            attach: number.to_be_bytes().to_vec(),
            users: self.population.some_users(dice),
            asked: self.population.ask(),
        };
        let pdu = messages::query(number, &question.users, Some(&question.attach));
        let raw = pdu.sequence(question.sequence).encode().into();
        self.questions[server].push_back(question);
        self.tally.queries += 1;
        raw
    }

    /// From now on it is measured when messages arrive that are sent from now on.
    pub(super) fn interrupt(&mut self) {
        self.interrupted = Instant::now();
        for route in self.routes.iter_mut().flatten() {
            route.restored = None;
        }
    }

    /// How long after the interruption messages came through on every route again; `None` if they do not yet.
    pub(super) fn restored(&self) -> Option<Duration> {
        let mut last = self.interrupted;
        for (target, routes) in self.routes.iter().enumerate() {
            for (origin, route) in routes.iter().enumerate() {
                if target != origin {
                    last = last.max(route.restored?);
                }
            }
        }
        Some(last - self.interrupted)
    }

    /// Messages that were sent since the tally began.
    pub(super) fn sent(&self) -> u64 {
        self.tally.messages
    }

    /// Everything that is due has come.
    pub(super) fn is_quiet(&self) -> bool {
        let nothing_due = |route: &Route| route.due.is_empty() && route.overtaken.is_empty();
        self.routes.iter().flatten().all(nothing_due)
            && self.questions.iter().all(VecDeque::is_empty)
    }

    /// Ends the tally: what has not come is lost. Begins the next one.
    pub(super) fn conclude(&mut self) -> Tally {
        for (target, routes) in self.routes.iter_mut().enumerate() {
            for (origin, route) in routes.iter_mut().enumerate() {
                route.came = None;
                let lost = route.overtaken.drain(..).chain(route.due.drain(..));
                for due in lost {
                    let is_message = command_of(&due.raw) == command::MESSAGE;
                    let what = format!("{target} lacks, from {origin}: {}", described(&due.raw));
                    note(&mut self.tally, self.interrupted, &what);
                    if is_message {
                        self.tally.lost += 1;
                    } else {
                        self.tally.wrong_notices += 1;
                    }
                }
            }
        }
        for (server, questions) in self.questions.iter_mut().enumerate() {
            for question in questions.drain(..) {
                let what = format!("{server} has no answer to query {}", question.sequence);
                note(&mut self.tally, self.interrupted, &what);
                self.tally.wrong_answers += 1;
            }
        }
        std::mem::take(&mut self.tally)
    }

    fn arrived(&mut self, target: usize, raw: &[u8]) {
        match command_of(raw) {
            command::STATUS_ANSWER => self.answered(target, raw),
            command::MESSAGE | command::STATUS_NOTICE | command::LOGIN_NOTICE => {
                self.tally.deliveries += 1;
                self.delivered(target, raw);
            }
            _ => {
                let what = format!("{target} got what nobody sent: {}", described(raw));
                self.deviation(&what);
                self.tally.wrong_notices += 1;
            }
        }
    }

    fn delivered(&mut self, target: usize, raw: &[u8]) {
        let routes = &mut self.routes[target];
        let is_next = |route: &Route| route.due.front().is_some_and(|due| due.raw == raw);
        if let Some(origin) = routes.iter().position(is_next) {
            let due = routes[origin].due.pop_front();
            due.into_iter()
                .for_each(|due| self.came(target, origin, &due));
            return;
        }
        let what = format!("{target} got {}", described(raw));
        for origin in 0..SERVERS {
            let route = &mut self.routes[target][origin];
            if let Some(place) = route.due.iter().position(|due| due.raw == raw) {
                let missed: Vec<Due> = route.due.drain(..place).collect();
                let next = missed
                    .first()
                    .map_or_else(String::new, |due| described(&due.raw));
                let due = route.due.pop_front();
                route.overtaken.extend(missed);
                self.deviation(&format!(
                    "{what} before {place} others of {origin}: {next}, …"
                ));
                due.into_iter()
                    .for_each(|due| self.came(target, origin, &due));
                return;
            }
            if let Some(place) = route.overtaken.iter().position(|due| due.raw == raw) {
                let due = route.overtaken.remove(place);
                self.deviation(&format!("{what} late"));
                self.tally.disordered += 1;
                self.came(target, origin, &due);
                return;
            }
        }
        if command_of(raw) == command::MESSAGE {
            self.deviation(&format!("{what} again"));
            self.tally.twice += 1;
        } else {
            self.deviation(&format!("{what} again, or for nothing"));
            self.tally.wrong_notices += 1;
        }
    }

    /// Something that was due has come.
    fn came(&mut self, target: usize, origin: usize, due: &Due) {
        if let Some(change) = due.change {
            self.population.told(change, target, origin);
            return;
        }
        let now = Instant::now();
        let route = &mut self.routes[target][origin];
        if let Some(before) = route.came.replace(now) {
            self.tally.pause = self.tally.pause.max(now - before);
        }
        if due.sent > self.interrupted {
            route.restored.get_or_insert(now);
        }
    }

    fn answered(&mut self, server: usize, raw: &[u8]) {
        let pdu = Pdu::parse(&Bytes::copy_from_slice(raw));
        let Ok(answer) = ImUsersStatRsp::decode(pdu.body) else {
            self.deviation(&format!("{server} got an answer that does not parse"));
            self.tally.wrong_answers += 1;
            return;
        };
        let attach = answer.attach_data.unwrap_or_default();
        let is_next = self.questions[server]
            .front()
            .is_some_and(|next| next.attach == attach && next.sequence == pdu.sequence);
        let question = if is_next {
            self.questions[server].pop_front()
        } else {
            None
        };
        let Some(question) = question else {
            self.deviation(&format!(
                "{server} got an answer to {} twice or out of order",
                pdu.sequence
            ));
            self.tally.wrong_answers += 1;
            return;
        };
        self.population.answered(server, question.asked);
        let users = answer.user_stat_list.iter().map(|user| user.user_id);
        if !users.eq(question.users.iter().copied()) {
            self.deviation(&format!("{server} got an answer that names other users"));
            self.tally.wrong_answers += 1;
            return;
        }
        for user in &answer.user_stat_list {
            let online = user.status == UserStatType::UserStatusOnline as i32;
            let right = self.population.answer(user.user_id, server, question.asked);
            if right == Some(!online) {
                let what = format!("{server} was answered {online} for {}", user.user_id);
                self.deviation(&what);
                if online {
                    self.tally.wrong_answers += 1;
                } else {
                    self.tally.false_offline += 1;
                }
            }
        }
    }

    fn deviation(&mut self, what: &str) {
        note(&mut self.tally, self.interrupted, what);
    }
}

fn note(tally: &mut Tally, interrupted: Instant, what: &str) {
    if tally.deviations.len() < TOLD {
        let after = interrupted.elapsed().as_millis();
        tally.deviations.push(format!(
            "MsgServer {what} ({after} ms after the interruption)"
        ));
    }
}

/// A PDU for people.
fn described(raw: &[u8]) -> String {
    let body = &raw[HEADER..];
    let text = match command_of(raw) {
        command::MESSAGE => ImMsgData::decode(body).ok().map(|message| {
            let origin =
                population::home(message.from_user_id).map_or(SERVERS, |(server, _)| server);
            format!("message {} of {origin}", message.msg_id)
        }),
        command::STATUS_NOTICE => ImUserStatNotify::decode(body).ok().map(|notice| {
            let user = notice.user_stat;
            format!("0x0203 of {}: {}", user.user_id, user.status)
        }),
        command::LOGIN_NOTICE => ImServerPcLoginStatusNotify::decode(body)
            .ok()
            .map(|notice| format!("0x070e of {}: {}", notice.user_id, notice.login_status)),
        _ => None,
    };
    text.unwrap_or_else(|| format!("a PDU of command {:#06x}", command_of(raw)))
}

#[cfg(test)]
mod tests;
