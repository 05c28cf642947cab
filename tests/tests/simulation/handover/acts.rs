//! What MsgServers do: connect, report, send, ask, read slowly, lose connections.

use std::time::Duration;

use system_tests::cast::judge::messages::Message;
use system_tests::cast::msg_server::RECONNECT_AFTER;
use system_tests::player::messages::{self, Client, GROUP_TEXT, SINGLE_TEXT, Status};
use system_tests::player::pdu::Pdu;

use crate::handover::connection::{Connection, Gone};
use crate::handover::msg_server::{
    MOVERS, MOVING, MsgServer, STABLE, USERS, home, is_stable, user,
};
use crate::handover::world::{Sent, To, World};

/// A connection does not die before it has been open for so long, nor two of a MsgServer within
/// this time.
const BETWEEN_DEATHS: Duration = Duration::from_secs(4);

impl World {
    pub(crate) fn connect(&mut self, server: usize) {
        let now = self.now();
        for slot in 0..self.servers[server].links.slots().len() {
            let it = &self.servers[server];
            let (gateway, open) = it.links.slots()[slot];
            let Some(host) = &self.gateways[gateway] else {
                continue;
            };
            if open.is_some() || now < it.retry_at[slot] || !host.is_open() {
                continue;
            }
            self.facts.opened(server, now);
            let number = self.next_connection;
            self.next_connection += 1;
            let identity = (it.peer, it.name.as_str());
            let connection = Connection::open(&host.gateway, gateway, server, identity, now);
            self.connections.insert(number, connection);
            let it = &mut self.servers[server];
            let claims = it.links.open(slot, number);
            let online: Vec<_> = it
                .online
                .iter()
                .map(|user| (*user, Status::Online, Client::Windows))
                .collect();
            let http = it.http;
            self.say(|| format!("s{server} connects to g{gateway}: c{number}, claims {claims}"));
            if claims {
                self.tell(number, &messages::role(1), None);
            }
            if !http {
                self.tell(number, &messages::list(&online), None);
            }
        }
    }

    pub(crate) fn report(&mut self, server: usize, user: u32, on: bool) {
        let it = &mut self.servers[server];
        let status = if on {
            it.online.insert(user);
            Status::Online
        } else {
            it.online.remove(&user);
            Status::Offline
        };
        self.say(|| format!("s{server} user {user} {status:?}"));
        if user >= MOVERS {
            *self.moves.entry(user).or_default() += 1;
        }
        self.facts.reported(user, on, self.now());
        self.doubts.changes(user);
        for connection in self.connections.values_mut() {
            connection.may_change(user);
        }
        let live: Vec<_> = self.servers[server].links.live().copied().collect();
        for number in live {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.reports.said(user);
            }
            self.tell(
                number,
                &messages::update(user, status, Client::Windows),
                None,
            );
        }
        self.note_doubts();
    }

    pub(crate) fn log_in_or_out(&mut self, server: usize) {
        let number = STABLE + self.dice.roll((USERS - STABLE) as usize) as u32;
        let it = &self.servers[server];
        // Without a RouteServer a MsgServer refuses logins; to keep the books simple, nobody leaves
        // either.
        if it.http || it.links.primary().is_none() {
            return;
        }
        let user = user(server, number);
        let on = !it.online.contains(&user);
        self.changes.entry(user).or_default().push(on);
        self.report(server, user, on);
    }

    pub(crate) fn move_a_user(&mut self) {
        let user = MOVERS + self.dice.roll(MOVING as usize) as u32;
        let to = self.dice.roll(self.servers.len());
        let from = self.servers.iter().position(|s| s.online.contains(&user));
        let able = |server: &MsgServer| !server.http && server.links.primary().is_some();
        if from.is_some_and(|from| !able(&self.servers[from])) {
            return;
        }
        if let Some(from) = from {
            self.report(from, user, false);
        }
        if from != Some(to) && able(&self.servers[to]) {
            self.report(to, user, true);
        }
    }

    pub(crate) fn send(&mut self, server: usize) {
        let Some(connection) = self.servers[server].links.primary().copied() else {
            return;
        };
        let receiver = self.dice.roll(self.servers.len());
        let to = if self.servers[receiver].http {
            To::Group
        } else if self.dice.once_in(8) {
            To::User(MOVERS + self.dice.roll(MOVING as usize) as u32)
        } else {
            To::User(user(receiver, self.dice.roll(USERS as usize) as u32))
        };
        let id = self.messages.all().count() as u32;
        let from = user(server, 0);
        let http = self.servers[server].http;
        let length = if self.plan.slow_readers || self.plan.small_gateway_queues {
            self.dice.roll(1000)
        } else {
            10
        };
        let text = "x".repeat(length);
        let (to, pdu) = match to {
            // Only users are told of a change of their group.
            To::User(member) if http => (to, messages::group_change(from, id, &[member], &[])),
            To::Group if http => {
                let member = user(0, 0);
                let pdu = messages::group_change(from, id, &[member], &[]);
                (To::User(member), pdu)
            }
            To::Group => (to, messages::message(from, 1, id, GROUP_TEXT, &text)),
            To::User(user) => (to, messages::message(from, user, id, SINGLE_TEXT, &text)),
        };
        let due = |other: &usize| match to {
            To::Group => !self.servers[*other].http,
            To::User(user) => is_stable(user) && home(user) == *other,
        };
        let others = (0..self.servers.len()).filter(|other| *other != server);
        let message = Message {
            server,
            line: connection,
            raw: pdu.encode().into(),
            due: others.filter(due).collect(),
            note: Sent {
                at: self.now(),
                accepted: false,
                lost: false,
            },
        };
        self.messages.send(id, message);
        self.say(|| format!("s{server} c{connection} sends message {id} to {to:?}"));
        self.tell(connection, &pdu, Some(id));
    }

    pub(crate) fn ask(&mut self, server: usize) {
        let mut users = Vec::new();
        for _ in 0..1 + self.dice.roll(4) {
            let of = self.dice.roll(self.servers.len() - 1);
            users.push(user(of, self.dice.roll(USERS as usize) as u32));
        }
        let right = users.iter().map(|user| self.known_status(server, *user));
        let right = right.collect();
        self.ask_about(server, users, right);
    }

    /// What a MsgServer has to be answered, if there is only one right answer now.
    pub(crate) fn known_status(&self, server: usize, user: u32) -> Option<bool> {
        let it = &self.servers[home(user)];
        if home(user) == server {
            // What it had on a gateway that is lost stays for the grace.
            let is_doubtful = it.interrupted && it.lossy;
            (!is_doubtful).then(|| it.online.contains(&user))
        } else if is_stable(user) && it.is_strict() {
            Some(true)
        } else {
            None
        }
    }

    /// After everything, there is one answer for everybody.
    pub(crate) fn ask_everything(&mut self) {
        let own = (0..self.servers.len() - 1).flat_map(|s| (0..USERS).map(move |n| user(s, n)));
        let users: Vec<u32> = own.chain((0..MOVING).map(|n| MOVERS + n)).collect();
        for server in 0..self.servers.len() {
            let online = |user: &u32| self.servers.iter().any(|s| s.online.contains(user));
            let right = users.iter().map(|user| Some(online(user))).collect();
            self.ask_about(server, users.clone(), right);
        }
    }

    /// `right`: the answer of each user, where there is only one.
    fn ask_about(&mut self, server: usize, users: Vec<u32>, right: Vec<Option<bool>>) {
        let it = &self.servers[server];
        let Some(number) = it.links.primary().copied() else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let question = format!("{users:?}, expects {right:?}");
        let pdu = connection.asked.ask(user(server, 0), users, false, right);
        connection.say(&pdu, None);
        let sequence = pdu.sequence;
        self.say(|| format!("s{server} c{number} asks {sequence}: {question}"));
    }

    pub(crate) fn read_slowly(&mut self, server: usize) {
        if !self.dice.once_in(3) {
            return;
        }
        let live: Vec<_> = self.servers[server].links.live().copied().collect();
        for number in live {
            let now = self.now();
            let most = if self.plan.slow_readers { 10_000 } else { 4000 };
            let until = now + self.dice.millis(100..most);
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.slow_until = until;
                connection.is_behind = true;
            }
        }
        self.say(|| format!("s{server} reads nothing for a while"));
    }

    /// A connection dies; its MsgServer claims another one at once, the gateway notices in its own
    /// time. The node has heard of both: nobody can succeed whom it does not know, and a stream
    /// that stalls for so long is rare enough.
    pub(crate) fn die(&mut self, server: usize) {
        if !self.plan.dying_links || !self.dice.once_in(4) {
            return;
        }
        let now = self.now();
        let it = &self.servers[server];
        let live: Vec<usize> = it.links.live().copied().collect();
        let old = |number: &usize| {
            let connection = &self.connections[number];
            connection.known && connection.opened + BETWEEN_DEATHS < now && connection.is_read()
        };
        let enough = it.links.is_whole() && live.iter().all(old);
        if !enough || now < it.died + BETWEEN_DEATHS {
            return;
        }
        let number = live[self.dice.roll(live.len())];
        let gone = if self.dice.roll(2) == 0 {
            Gone::Finished
        } else {
            Gone::Reset
        };
        let at = now + self.dice.millis(0..300);
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.gone = Some((gone, at));
        }
        self.say(|| format!("s{server} loses c{number}: {gone:?}"));
        self.lose_connection(number);
    }

    /// What the MsgServer does when a connection is gone.
    pub(crate) fn lose_connection(&mut self, number: usize) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        connection.asked.give_up();
        let server = connection.server;
        let it = &mut self.servers[server];
        let mut slots = it.links.slots().iter();
        let Some(slot) = slots.position(|(_, open)| *open == Some(number)) else {
            return;
        };
        it.retry_at[slot] = now + RECONNECT_AFTER;
        it.died = now;
        it.unsettled = true;
        let claimed = it.links.lose(slot).copied();
        if it.links.live().next().is_none() {
            it.interrupted = true;
            for connection in self.connections.values_mut() {
                (0..USERS).for_each(|number| connection.may_change(user(server, number)));
            }
        }
        if let Some(next) = claimed {
            self.say(|| format!("s{server} claims c{next}"));
            self.tell(next, &messages::role(1), None);
        }
    }

    pub(crate) fn tell(&mut self, number: usize, pdu: &Pdu, message: Option<u32>) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.say(pdu, message);
        }
    }
}
