//! Compares what every MsgServer gets with what it should get.
//!
//! What a MsgServer sent, and the notices that it caused, are due at the others in that order, byte
//! for byte, once. Answers are due at their asker in the order of the questions.

pub mod messages;
mod notices;
pub mod questions;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use route_proto::legacy::im::buddy::ImUserStatNotify;
use route_proto::legacy::im::message::ImMsgData;
use route_proto::legacy::im::server::ImServerPcLoginStatusNotify;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use self::messages::{Message, Messages};
use self::notices::{Notices, Saying};
use self::questions::Questions;
use super::population::{self, Change, Population, Report, SERVERS, some_staying_user};
use super::tally::Tally;
use crate::dice::Dice;
use crate::player::messages::{self as pdus, GROUP_TEXT, SINGLE_TEXT};
use crate::player::pdu::{HEADER, Pdu, command, command_of};
use crate::rules::Delivery;

/// Bytes of a message beside the fields that MsgServers need.
const PAYLOAD: usize = 200;
/// Deviations that are told one by one.
const TOLD: usize = 20;
/// The group of all group messages.
const GROUP: u32 = 5;

/// Knows what is due. Shared by all connections of all MsgServers.
#[derive(Debug)]
pub struct Judge {
    state: Mutex<State>,
    /// Moves with everything that arrives.
    arrivals: watch::Sender<()>,
}

/// What is due, and what became of it.
#[derive(Debug)]
pub struct State {
    population: Population,
    /// With the time of sending.
    messages: Messages<Instant, ()>,
    notices: Notices,
    /// By target, then by origin.
    routes: Vec<Vec<Route>>,
    /// By MsgServer, with the moment of asking.
    questions: [Questions<u64>; SERVERS],
    /// Messages and notices of each MsgServer.
    numbers: [u32; SERVERS],
    /// Messages of each, in order.
    said: [Vec<u32>; SERVERS],
    /// MsgServers that may miss something, and about whose users others may be told wrongly.
    excused: [bool; SERVERS],
    /// What was sent after this shows that its route works again.
    interrupted: Instant,
    /// When the last node was lost, as questions count.
    lost: u64,
    /// MsgServers that have an answer to a question of after that: a new node answers last.
    answered: [bool; SERVERS],
    tally: Tally,
}

#[derive(Debug, Default)]
struct Route {
    notices: VecDeque<Notice>,
    /// When the last message came.
    came: Option<Instant>,
    /// When the first message came that was sent after the interruption.
    restored: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Notice {
    /// Among all that its MsgServer sends and causes.
    number: u32,
    raw: Bytes,
    change: Change,
}

impl Judge {
    /// Nothing has been sent yet.
    pub fn new(population: Population) -> Self {
        let route = || (0..SERVERS).map(|_| Route::default()).collect();
        Self {
            state: Mutex::new(State {
                notices: Notices::new(population.states()),
                population,
                messages: Messages::new(SERVERS),
                routes: (0..SERVERS).map(|_| route()).collect(),
                questions: Default::default(),
                numbers: [0; SERVERS],
                said: Default::default(),
                excused: [false; SERVERS],
                interrupted: Instant::now(),
                lost: 0,
                answered: [false; SERVERS],
                tally: Tally::default(),
            }),
            arrivals: watch::Sender::new(()),
        }
    }

    /// Does something with the state; nothing arrives meanwhile.
    pub fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock())
    }

    /// A PDU has arrived at a MsgServer, on any of its connections.
    pub fn arrived(&self, target: usize, raw: &[u8]) {
        self.state.lock().arrived(target, raw);
        self.arrivals.send_replace(());
    }

    /// Waits until something is true; false after `limit`.
    pub async fn until(&self, limit: Duration, mut what: impl FnMut(&mut State) -> bool) -> bool {
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
    pub fn message(&mut self, origin: usize, now: Instant, dice: &mut Dice) -> Bytes {
        let number = self.next_number(origin);
        let from = some_staying_user(origin, dice);
        let target = dice.roll(SERVERS);
        let data = [b'.'; PAYLOAD];
        let pdu = if target == origin {
            pdus::message(from, GROUP, number, GROUP_TEXT, data)
        } else {
            let to = some_staying_user(target, dice);
            pdus::message(from, to, number, SINGLE_TEXT, data)
        };
        let raw = Bytes::from(pdu.encode());
        let others = (0..SERVERS).filter(|other| *other != origin);
        let message = Message {
            server: origin,
            line: origin,
            raw: raw.clone(),
            due: others
                .filter(|other| target == origin || target == *other)
                .collect(),
            note: now,
        };
        self.messages.send(number, message);
        self.said[origin].push(number);
        self.tally.messages += 1;
        raw
    }

    /// A user of a MsgServer comes or goes.
    pub fn update(&mut self, origin: usize, dice: &mut Dice) -> Bytes {
        let Report {
            update,
            notices,
            change,
            state,
        } = self.population.act(origin, dice);
        self.tally.notices += notices.len() as u64;
        let raw = |notice: Delivery| (notice.to, Bytes::from(notice.pdu.encode()));
        let all: Vec<_> = notices.into_iter().map(raw).collect();
        let said = all
            .iter()
            .filter_map(|(to, raw)| Some((*to, Saying::of(raw)?)));
        let said: Vec<_> = said.collect();
        let is_certain = self
            .notices
            .changed(change.user(), state, &said, self.excused);
        for (to, raw) in all.into_iter().filter(|_| is_certain) {
            let due = Notice {
                number: self.next_number(origin),
                raw,
                change,
            };
            self.routes[to][origin].notices.push_back(due);
        }
        update.encode().into()
    }

    /// A MsgServer asks who is online.
    pub fn query(&mut self, server: usize, dice: &mut Dice) -> Bytes {
        let users = self.population.some_users(dice);
        let asked = self.population.ask();
        let pdu = self.questions[server].ask(1, users, true, asked);
        self.tally.queries += 1;
        pdu.encode().into()
    }

    /// So many messages, updates and queries of a MsgServer, in any order: what goes to its primary
    /// connection, and to its others.
    pub fn batch(
        &mut self,
        server: usize,
        mut counts: [usize; 3],
        dice: &mut Dice,
    ) -> [Vec<u8>; 2] {
        let now = Instant::now();
        let [mut to_primary, mut to_others] = [Vec::new(), Vec::new()];
        loop {
            let left: usize = counts.iter().sum();
            if left == 0 {
                return [to_primary, to_others];
            }
            let place = dice.roll(left);
            if place < counts[0] {
                counts[0] -= 1;
                to_primary.extend_from_slice(&self.message(server, now, dice));
            } else if place < counts[0] + counts[1] {
                counts[1] -= 1;
                let update = self.update(server, dice);
                to_primary.extend_from_slice(&update);
                to_others.extend_from_slice(&update);
            } else {
                counts[2] -= 1;
                to_primary.extend_from_slice(&self.query(server, dice));
            }
        }
    }

    /// 0x0708 of a MsgServer that connects now.
    pub fn list(&self, server: usize) -> Pdu {
        self.population.list(server)
    }

    /// Everybody who is not offline.
    pub fn online(&self) -> BTreeSet<u32> {
        self.population.online()
    }

    /// A connection of this MsgServer has died with its gateway, or something like that: what was
    /// on its way from it and to it may be lost, its users may have been thought offline meanwhile.
    /// Nothing may come twice all the same.
    pub fn excuse(&mut self, server: usize) {
        self.excused[server] = true;
        self.questions[server].give_up();
    }

    /// The node is lost, or is about to be replaced.
    pub fn lose_node(&mut self) {
        let now = Instant::now();
        let excused = self.excused;
        let is_due = |message: &Message<Instant>| {
            let mut due = message.due.iter().filter(|to| !excused[**to]);
            !excused[message.server] && due.next().is_some()
        };
        let missing = self.messages.missing();
        let missing = missing.filter(|(_, message)| is_due(message));
        let oldest = missing.map(|(_, message)| message.note).min();
        self.notices.node_is_lost(now, oldest, excused);
        self.lost = self.population.ask();
        self.answered = [false; SERVERS];
        let notices = &self.notices;
        for route in self.routes.iter_mut().flatten() {
            // Of users in doubt, nothing is due as it is.
            let certain = |due: &Notice| !notices.is_in_doubt(due.change.user());
            route.notices.retain(certain);
        }
    }

    /// From now on it is measured when messages arrive that are sent from now on.
    pub fn interrupt(&mut self) {
        self.interrupted = Instant::now();
        for route in self.routes.iter_mut().flatten() {
            route.restored = None;
        }
    }

    /// How long after the interruption messages came through on every route again that is not
    /// excused; `None` if they do not yet.
    pub fn restored(&self) -> Option<Duration> {
        let mut last = self.interrupted;
        for (target, routes) in self.routes.iter().enumerate() {
            for (origin, route) in routes.iter().enumerate() {
                if target != origin && !self.is_excused(target, origin) {
                    last = last.max(route.restored?);
                }
            }
        }
        Some(last - self.interrupted)
    }

    /// Messages that were sent since the tally began.
    pub fn sent(&self) -> u64 {
        self.tally.messages
    }

    /// Everything that is due has come.
    pub fn is_quiet(&self) -> bool {
        let mut missing = self.messages.missing().flat_map(|(_, message)| {
            let due = message.due.iter();
            due.map(|to| (*to, message.server))
        });
        let mut pairs = (0..SERVERS).flat_map(|to| (0..SERVERS).map(move |of| (to, of)));
        missing.all(|(to, of)| self.is_excused(to, of))
            && pairs
                .all(|(to, of)| self.is_excused(to, of) || self.routes[to][of].notices.is_empty())
            && self.lacking().next().is_none()
            && (0..SERVERS).all(|server| self.excused[server] || self.questions[server].is_empty())
    }

    /// Ends the tally: what has not come is lost. Begins the next one.
    pub fn conclude(&mut self) -> Tally {
        let missing: Vec<u32> = self.messages.missing().map(|(number, _)| number).collect();
        for number in missing {
            let Some(message) = self.messages.forget(number) else {
                continue;
            };
            for to in message.due {
                self.lacks(to, message.server, &message.raw);
            }
        }
        for (to, of) in (0..SERVERS).flat_map(|to| (0..SERVERS).map(move |of| (to, of))) {
            let route = &mut self.routes[to][of];
            route.came = None;
            for notice in std::mem::take(&mut route.notices) {
                self.lacks(to, of, &notice.raw);
            }
        }
        let lacking: Vec<_> = self.lacking().collect();
        for (target, what) in lacking {
            self.deviation(&format!("{target} was not told: {what:?}"));
            self.tally.wrong_notices += 1;
        }
        self.notices.forget();
        for server in 0..SERVERS {
            for sequence in self.questions[server].give_up() {
                if !self.excused[server] {
                    self.wrong_answer(&format!("{server} has no answer to query {sequence}"));
                }
            }
        }
        std::mem::take(&mut self.tally)
    }

    /// Of users in doubt: what MsgServers have not been told.
    fn lacking(&self) -> impl Iterator<Item = (usize, Saying)> + '_ {
        let lacking = self.notices.lacking(self.excused);
        lacking.filter(|(_, what)| !self.may_be_wrong(what.user))
    }

    fn is_excused(&self, target: usize, origin: usize) -> bool {
        self.excused[target] || self.excused[origin]
    }

    /// The message that a MsgServer sent after this one of its own.
    pub fn said_after(&self, number: u32) -> Option<u32> {
        let said = &self.said[number as usize % SERVERS];
        let place = said.binary_search(&number).ok()?;
        said.get(place + 1).copied()
    }

    /// The last message of a MsgServer.
    pub fn said_last(&self, server: usize) -> Option<u32> {
        self.said[server].last().copied()
    }

    /// This MsgServer may miss something.
    pub fn is_excused_server(&self, server: usize) -> bool {
        self.excused[server]
    }

    /// Of this user others may be told wrongly. A roamer may have been anywhere.
    pub fn may_be_wrong(&self, user: u32) -> bool {
        match population::home(user) {
            Some((server, _)) => self.excused[server],
            None => self.excused.contains(&true),
        }
    }

    fn arrived(&mut self, target: usize, raw: &[u8]) {
        match command_of(raw) {
            command::USERS_STATUS_ANSWER => self.answered(target, raw),
            command::MESSAGE => {
                self.tally.deliveries += 1;
                self.message_came(target, raw);
            }
            command::STATUS_NOTICE | command::DESKTOP_LOGIN_NOTICE => {
                self.tally.deliveries += 1;
                self.notice_came(target, raw);
            }
            _ => {
                let what = format!("{target} got what nobody sent: {}", described(raw));
                self.deviation(&what);
                self.tally.wrong_notices += 1;
            }
        }
    }

    fn message_came(&mut self, target: usize, raw: &[u8]) {
        let what = format!("{target} got {}", described(raw));
        let number = ImMsgData::decode(&raw[HEADER..]).map_or(0, |message| message.msg_id);
        let arrival = self.messages.came(target, number, raw, ());
        let Some(arrival) = arrival.filter(|arrival| arrival.was_due) else {
            self.deviation(&format!("{what} again"));
            self.tally.twice += 1;
            return;
        };
        let origin = arrival.from;
        self.in_turn(target, origin, arrival.after, &what);
        let sent = self.messages.note(number).copied();
        if arrival.was_last {
            self.messages.forget(number);
        }
        let now = Instant::now();
        let route = &mut self.routes[target][origin];
        if let Some(before) = route.came.replace(now) {
            self.tally.pause = self.tally.pause.max(now - before);
        }
        if sent.is_some_and(|sent| sent > self.interrupted) {
            route.restored.get_or_insert(now);
        }
    }

    fn notice_came(&mut self, target: usize, raw: &[u8]) {
        let what = format!("{target} got {}", described(raw));
        let Some(saying) = Saying::of(raw) else {
            self.deviation(&format!("{what}, which cannot be read"));
            self.tally.wrong_notices += 1;
            return;
        };
        if self.notices.is_in_doubt(saying.user) {
            let is_right = self.notices.heard(target, saying);
            if is_right && self.notices.is_told(saying.user, self.excused) {
                self.population.told_all(saying.user);
            }
            self.is_due(target, saying, is_right, &what);
            return;
        }
        let routes = &mut self.routes[target];
        let place = |route: &Route| route.notices.iter().position(|due| due.raw == raw);
        let found = (0..SERVERS).filter_map(|origin| Some((place(&routes[origin])?, origin)));
        let due = found.min().and_then(|(place, origin)| {
            let due = routes[origin].notices.remove(place)?;
            Some((origin, due))
        });
        self.is_due(target, saying, due.is_some(), &what);
        let Some((origin, due)) = due else {
            return;
        };
        self.notices.came(target, saying);
        let after = self.messages.overtakes(target, origin, due.number);
        self.in_turn(target, origin, after, &what);
        self.population.told(due.change, target, origin);
    }

    fn is_due(&mut self, target: usize, saying: Saying, is_due: bool, what: &str) {
        if !is_due && !self.excused[target] && !self.may_be_wrong(saying.user) {
            self.deviation(&format!("{what} again, or for nothing"));
            self.tally.wrong_notices += 1;
        }
    }

    /// `after`: what had come that is newer.
    fn in_turn(&mut self, target: usize, origin: usize, after: Option<u32>, what: &str) {
        if after.is_some() && !self.is_excused(target, origin) {
            self.deviation(&format!("{what} late"));
            self.tally.disordered += 1;
        }
    }

    /// Something that was due has not come.
    fn lacks(&mut self, target: usize, origin: usize, raw: &[u8]) {
        if self.is_excused(target, origin) {
            let is_of_excused = self.excused[origin] && !self.excused[target];
            self.tally.excused += u64::from(is_of_excused && command_of(raw) == command::MESSAGE);
            return;
        }
        self.deviation(&format!(
            "{target} lacks, from {origin}: {}",
            described(raw)
        ));
        if command_of(raw) == command::MESSAGE {
            self.tally.lost += 1;
        } else {
            self.tally.wrong_notices += 1;
        }
    }

    /// No other message or notice has this number.
    fn next_number(&mut self, origin: usize) -> u32 {
        self.numbers[origin] += 1;
        self.numbers[origin] * SERVERS as u32 + origin as u32
    }

    fn answered(&mut self, server: usize, raw: &[u8]) {
        let pdu = Pdu::parse(&Bytes::copy_from_slice(raw));
        let answer = match self.questions[server].answered(&pdu, self.excused[server]) {
            Ok(Some(answer)) => answer,
            Ok(None) => return,
            Err(wrong) => return self.wrong_answer(&format!("{server} got {wrong}")),
        };
        let asked = answer.note;
        self.population.answered(server, asked);
        self.answered[server] |= asked > self.lost;
        if (0..SERVERS).all(|server| self.answered[server] || self.excused[server]) {
            self.notices.node_knows();
        }
        for (user, online) in answer.online {
            let right = self.population.answer(user, server, asked);
            if right != Some(!online) || self.may_be_wrong(user) {
                continue;
            }
            let what = format!("{server} was answered {online} for {user}");
            if online {
                self.wrong_answer(&what);
            } else {
                self.deviation(&what);
                self.tally.false_offline += 1;
            }
        }
    }

    fn wrong_answer(&mut self, what: &str) {
        self.deviation(what);
        self.tally.wrong_answers += 1;
    }

    fn deviation(&mut self, what: &str) {
        if self.tally.deviations.len() < TOLD {
            let after = self.interrupted.elapsed().as_millis();
            self.tally.deviations.push(format!(
                "MsgServer {what} ({after} ms after the interruption)"
            ));
        }
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
        command::DESKTOP_LOGIN_NOTICE => ImServerPcLoginStatusNotify::decode(body)
            .ok()
            .map(|notice| format!("0x070e of {}: {}", notice.user_id, notice.login_status)),
        _ => None,
    };
    text.unwrap_or_else(|| format!("a PDU of command {:#06x}", command_of(raw)))
}

#[cfg(test)]
mod tests;
