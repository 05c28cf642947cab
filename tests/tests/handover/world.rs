//! One schedule: gateways, a node, MsgServers, and chance, which decides what happens and what moves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use route_proto::legacy::im::buddy::{ImUserStatNotify, ImUsersStatRsp};
use route_proto::legacy::im::group::ImGroupChangeMemberNotify;
use route_proto::legacy::im::message::ImMsgData;
use route_proto::legacy::im::server::ImServerPcLoginStatusNotify;
use route_proto::v1::CloseReason;
use system_tests::player::messages::{self, Client, GROUP_TEXT, SINGLE_TEXT, Status};
use system_tests::player::pdu::{Pdu, command};
use tokio::time::Instant;
use tonic::Code;

use crate::connection::{Asked, Connection, Gone, Written};
use crate::dice::Dice;
use crate::host::{GatewayHost, NodeHost};
use crate::msg_server::{MOVERS, MsgServer, STABLE, USERS, home, is_stable, user};
use crate::plan::Plan;
use crate::subscriber::Subscriber;
use crate::wire::Move;

/// MsgServers come back 4 s after they lost a connection, at the earliest.
const RECONNECT_AFTER: Duration = Duration::from_secs(4);
/// A connection does not die before it has been open for so long, nor two of a MsgServer within this time.
const BETWEEN_DEATHS: Duration = Duration::from_secs(4);
/// So long after a death, what it caused may not be confirmed.
const CLAIM_IN_DOUBT: Duration = Duration::from_secs(2);
/// After the last event, everything has to be at rest within this time.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// From SIGTERM to the end of every Attach stream.
const STREAMS_END_WITHIN: Duration = Duration::from_millis(200);
/// Bytes of one read.
const MOST_READ: usize = 256;
/// What is kept of one read, at most: a short PDU costs several times its length.
const COST_OF_READ: usize = 6 * MOST_READ;
const STEPS: usize = 600;
/// Users who move.
const MOVING: u32 = 3;

/// Whom a message concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    User(u32),
    Group,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) server: usize,
    pub(crate) connection: usize,
    pub(crate) to: To,
    /// The gateway has read it.
    pub(crate) accepted: bool,
    /// It was with a gateway that was lost.
    pub(crate) lost: bool,
    pub(crate) sent: Duration,
}

#[derive(Debug)]
pub(crate) struct World {
    plan: Plan,
    dice: Dice,
    began: Instant,
    node: Option<NodeHost>,
    /// When the streams of a draining node have to be over.
    streams_end: Option<Duration>,
    /// When a draining node exits.
    node_exits: Option<Duration>,
    node_starts: Option<Duration>,
    gateways: Vec<Option<GatewayHost>>,
    gateway_starts: Vec<Option<Duration>>,
    lives: u64,
    lives_of_nodes: u64,
    pub(crate) servers: Vec<MsgServer>,
    connections: BTreeMap<usize, Connection>,
    next_connection: usize,
    pub(crate) messages: Vec<Message>,
    /// Of users who stay with one MsgServer: logins and logouts, in order.
    pub(crate) changes: BTreeMap<u32, Vec<bool>>,
    pub(crate) began_online: BTreeSet<u32>,
    pub(crate) subscriber: Subscriber,
    /// From here on every MsgServer that is not late is known to the node.
    pub(crate) all_known_since: Duration,
    next_disturbance: Duration,
    trace: bool,
    /// Of the trace, whether it is shown or not.
    pub(crate) fingerprint: u64,
    pub(crate) violations: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, trace: bool) -> Self {
        // What production code asks chance for: back-off, identities.
        fastrand::seed(seed);
        let mut dice = Dice::new(seed);
        let gateways = 2 + dice.roll(2);
        let shared = SocketAddr::from(([10, 0, 0, 1], 4000));
        let mut servers: Vec<MsgServer> = (0..2 + dice.roll(3))
            .map(|index| {
                let own = SocketAddr::from(([10, 0, 1, index as u8], 4000));
                let peer = if dice.roll(3) == 0 { shared } else { own };
                let first = dice.roll(gateways);
                let mut to = vec![first];
                if !plan.single_links && dice.roll(3) > 0 {
                    to.push((first + 1) % gateways);
                }
                let mut server = MsgServer::new(peer, false, to);
                server.online = (0..STABLE).map(|number| user(index, number)).collect();
                server
            })
            .collect();
        servers.push(MsgServer::new(shared, true, vec![0]));
        for number in 0..MOVING {
            if dice.roll(2) == 0 {
                let at = dice.roll(servers.len() - 1);
                servers[at].online.insert(MOVERS + number);
            }
        }
        let began = Instant::now();
        let began_online = servers.iter().flat_map(|s| s.online.clone()).collect();
        World {
            plan,
            dice,
            began,
            node: None,
            streams_end: None,
            node_exits: None,
            node_starts: None,
            gateways: (0..gateways).map(|_| None).collect(),
            gateway_starts: vec![None; gateways],
            lives: 0,
            lives_of_nodes: 0,
            servers,
            connections: BTreeMap::new(),
            next_connection: 0,
            messages: Vec::new(),
            changes: BTreeMap::new(),
            began_online,
            subscriber: Subscriber::new(began),
            all_known_since: Duration::MAX,
            next_disturbance: Duration::ZERO,
            trace,
            fingerprint: 0xcbf2_9ce4_8422_2325,
            violations: Vec::new(),
        }
    }

    /// From the first connection to the last check.
    pub(crate) async fn play(&mut self) {
        self.start_node();
        let late = self
            .plan
            .late_gateway
            .then(|| self.dice.roll(self.gateways.len()));
        for number in 0..self.gateways.len() {
            if Some(number) == late {
                let at = self.dice.millis(500..8000);
                self.gateway_starts[number] = Some(at);
                for server in &mut self.servers {
                    server.interrupted |= server.gateways == [number];
                }
            } else {
                self.start_gateway(number);
            }
        }
        if !self.becomes_quiet(late).await {
            return;
        }
        self.say(|| "everybody is connected".to_owned());
        self.all_known_since = self.now();
        for _ in 0..STEPS {
            self.step().await;
        }
        self.say(|| "no more disturbances".to_owned());
        if !self.becomes_quiet(None).await {
            return;
        }
        // Seats end, and whoever waits for a predecessor.
        for _ in 0..30 {
            self.pass(Duration::from_millis(100)).await;
            self.settle().await;
        }
        self.ask_everything();
        if self.becomes_quiet(None).await {
            crate::check::all(self);
        }
    }

    pub(crate) fn violate(&mut self, what: String) {
        self.say(|| format!("VIOLATION {what}"));
        self.violations.push(what);
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    #[allow(clippy::print_stderr, reason = "the trace of one seed is for people")]
    fn say(&mut self, what: impl FnOnce() -> String) {
        let line = format!("{:>7.3} {}", self.now().as_secs_f64(), what());
        for byte in line.bytes() {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.trace {
            eprintln!("{line}");
        }
    }

    // ---- time

    async fn pass(&mut self, time: Duration) {
        tokio::time::advance(time).await;
        idle().await;
        let now = self.now();
        if self.streams_end.take_if(|at| *at <= now).is_some() {
            let mut hosts = self.gateways.iter_mut().flatten();
            if !hosts.all(|host| host.wire.node_has_ended(now)) {
                self.violate("a draining node keeps a stream".to_owned());
            }
        }
        if self.node_exits.is_some_and(|at| at <= now) {
            self.node_exits = None;
            self.crash_node();
        }
        if self.node_starts.is_some_and(|at| at <= now) {
            self.start_node();
        }
        for number in 0..self.gateways.len() {
            if self.gateway_starts[number].is_some_and(|at| at <= now) {
                self.start_gateway(number);
            }
        }
        for server in 0..self.servers.len() {
            self.connect(server);
        }
        idle().await;
    }

    async fn step(&mut self) {
        let time = self.dice.millis(1..60);
        self.pass(time).await;
        let server = self.dice.roll(self.servers.len());
        match self.dice.roll(20) {
            0..4 => self.log_in_or_out(server),
            4..7 => self.ask(server),
            7..16 => self.send(server),
            16 if self.plan.moving_users => self.move_a_user(),
            17 => self.read_slowly(server),
            _ => self.die(server),
        }
        if self.now() >= self.next_disturbance {
            self.disturb();
        }
        if self.dice.once_in(30) {
            self.break_subscriptions();
        }
        if self.dice.once_in(8) {
            self.settle().await;
        }
        for _ in 0..self.dice.roll(30) {
            let gateway = self.dice.roll(self.gateways.len());
            match self.dice.roll(10) {
                what @ 0..5 => {
                    self.move_wire(gateway, Move::ALL[what]).await;
                }
                5..7 => {
                    self.read(gateway, 1);
                }
                _ => {
                    self.write(gateway, 1);
                }
            }
        }
    }

    /// Everything moves until nothing does.
    async fn settle(&mut self) {
        for _ in 0..200 {
            let mut moved = false;
            for gateway in 0..self.gateways.len() {
                moved |= self.read(gateway, usize::MAX);
                for what in Move::ALL {
                    moved |= self.move_wire(gateway, what).await;
                }
                moved |= self.write(gateway, usize::MAX);
            }
            self.check_bounds();
            if !moved {
                self.note_what_is_known();
                return;
            }
        }
        self.violate("it does not settle".to_owned());
    }

    /// Promise 8: what a gateway keeps for the node to confirm has a limit, which one read of each link may exceed.
    fn check_bounds(&mut self) {
        for number in 0..self.gateways.len() {
            let Some(host) = &self.gateways[number] else {
                continue;
            };
            let links = self.connections.values().filter(|c| c.gateway == number);
            let limit = host.windows.total + links.count() * COST_OF_READ;
            let bytes = host.gateway.uplink.backlog().bytes;
            if bytes > limit {
                self.violate(format!(
                    "gateway {number} keeps {bytes} bytes, {limit} are allowed"
                ));
            }
        }
    }

    fn note_what_is_known(&mut self) {
        let now = self.now();
        for connection in self.connections.values_mut() {
            let host = self.gateways[connection.gateway].as_ref();
            connection.known |= host.is_some_and(|host| host.wire.is_clear(now));
        }
    }

    /// Waits until everything is at rest.
    async fn becomes_quiet(&mut self, without: Option<usize>) -> bool {
        let by = self.now() + QUIET_WITHIN;
        while self.now() < by {
            self.pass(Duration::from_millis(20)).await;
            self.settle().await;
            if self.is_quiet(without) {
                return true;
            }
        }
        let state = self.describe();
        self.violate(format!("it does not come to rest: {state}"));
        false
    }

    fn is_quiet(&self, without: Option<usize>) -> bool {
        let present = |number: &usize| Some(*number) != without;
        self.node.is_some()
            && self.node_exits.is_none()
            && self.subscriber.follows(self.lives_of_nodes)
            && (0..self.gateways.len()).filter(present).all(|number| {
                let host = self.gateways[number].as_ref();
                host.is_some_and(GatewayHost::is_quiet)
            })
            && self.connections.values().all(Connection::is_quiet)
            && self.servers.iter().all(|server| {
                let mut pairs = server.gateways.iter().zip(&server.connections);
                pairs.all(|(gateway, connection)| !present(gateway) || connection.is_some())
            })
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for (number, host) in self.gateways.iter().enumerate() {
            let Some(host) = host else {
                text += &format!("gateway {number} is down; ");
                continue;
            };
            let backlog = host.gateway.uplink.backlog();
            text += &format!(
                "gateway {number}: open {}, {}, {} entries, {} bytes, {} queued; ",
                host.is_open(),
                host.wire.describe(),
                backlog.entries,
                backlog.bytes,
                host.gateway.links.queued(),
            );
        }
        for (number, connection) in &self.connections {
            if !connection.is_quiet() {
                text += &format!("connection {number}: asked {:?}; ", connection.asked.keys());
            }
        }
        text
    }

    // ---- what moves

    async fn move_wire(&mut self, gateway: usize, what: Move) -> bool {
        let now = self.now();
        let Some(host) = &mut self.gateways[gateway] else {
            return false;
        };
        let node = self.node.as_ref().map(|host| &host.node);
        let moved = host.wire.step(now, what, node);
        let refusals = host.wire.refusals();
        for status in refusals {
            // The node and its gateways always understand each other.
            if status.code() == Code::FailedPrecondition {
                self.violate(format!(
                    "the node refuses gateway {gateway}: {}",
                    status.message()
                ));
            } else {
                self.say(|| format!("g{gateway} is refused: {}", status.message()));
            }
        }
        if moved {
            self.say(|| format!("g{gateway} {what:?}"));
            idle().await;
        }
        moved
    }

    /// Connections of a gateway: all, or a random one.
    fn some_of(&mut self, gateway: usize, most: usize) -> Vec<usize> {
        let mut of: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.gateway == gateway)
            .map(|(number, _)| *number)
            .collect();
        if most == 1 && !of.is_empty() {
            let one = of[self.dice.roll(of.len())];
            of = vec![one];
        }
        of
    }

    fn read(&mut self, gateway: usize, most: usize) -> bool {
        let mut moved = false;
        for number in self.some_of(gateway, most) {
            let Some(host) = &self.gateways[gateway] else {
                return false;
            };
            let now = self.began.elapsed();
            let bytes = if most == 1 {
                1 + self.dice.roll(200)
            } else {
                MOST_READ
            };
            let Some(connection) = self.connections.get_mut(&number) else {
                continue;
            };
            let read = connection.read(&host.gateway, now, bytes);
            moved |= read.moved || read.over;
            for message in &read.accepted {
                self.messages[*message as usize].accepted = true;
            }
            if read.over {
                self.end(number, CloseReason::Peer);
            } else if !read.accepted.is_empty() {
                self.say(|| format!("c{number} accepted {:?}", read.accepted));
            }
        }
        moved
    }

    fn write(&mut self, gateway: usize, most: usize) -> bool {
        let mut moved = false;
        for number in self.some_of(gateway, most) {
            let Some(host) = &self.gateways[gateway] else {
                return false;
            };
            let now = self.began.elapsed();
            let bytes = if most == 1 {
                1 + self.dice.roll(200)
            } else {
                1 << 20
            };
            let Some(connection) = self.connections.get_mut(&number) else {
                continue;
            };
            match connection.write(&host.gateway, now, bytes) {
                Written::Nothing => {}
                Written::Pdus(pdus) => {
                    moved = true;
                    for pdu in pdus {
                        self.receive(number, &pdu);
                    }
                }
                Written::Ends(reason) => {
                    moved = true;
                    if connection.gone.is_none() {
                        self.violate(format!("connection {number} was broken: {reason:?}"));
                        self.lose_connection(number);
                    }
                    self.end(number, reason);
                }
            }
        }
        moved
    }

    /// The gateway ends a connection.
    fn end(&mut self, number: usize, reason: CloseReason) {
        let Some(mut connection) = self.connections.remove(&number) else {
            return;
        };
        if let Some(host) = &self.gateways[connection.gateway] {
            connection.end(&host.gateway, reason);
        }
        self.say(|| format!("c{number} ended"));
    }

    // ---- MsgServers act

    fn tell(&mut self, number: usize, pdu: &Pdu, message: Option<u32>) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.say(pdu, message);
        }
    }

    fn connect(&mut self, server: usize) {
        let now = self.now();
        for slot in 0..self.servers[server].gateways.len() {
            let it = &self.servers[server];
            let gateway = it.gateways[slot];
            let Some(host) = &self.gateways[gateway] else {
                continue;
            };
            if it.connections[slot].is_some() || now < it.retry_at[slot] || !host.is_open() {
                continue;
            }
            let number = self.next_connection;
            self.next_connection += 1;
            let connection = Connection::open(&host.gateway, gateway, server, it.peer, now);
            self.connections.insert(number, connection);
            let it = &mut self.servers[server];
            it.connections[slot] = Some(number);
            let claims = it.primary.is_none();
            if claims {
                it.primary = Some(slot);
            }
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

    fn report(&mut self, server: usize, user: u32, on: bool) {
        let it = &mut self.servers[server];
        let status = if on {
            it.online.insert(user);
            Status::Online
        } else {
            it.online.remove(&user);
            Status::Offline
        };
        self.say(|| format!("s{server} user {user} {status:?}"));
        for connection in self.connections.values_mut() {
            connection.may_change(user);
        }
        let live: Vec<_> = self.servers[server].live().collect();
        for number in live {
            self.tell(
                number,
                &messages::update(user, status, Client::Windows),
                None,
            );
        }
    }

    fn log_in_or_out(&mut self, server: usize) {
        let number = STABLE + self.dice.roll((USERS - STABLE) as usize) as u32;
        let it = &self.servers[server];
        // Without a RouteServer a MsgServer refuses logins; to keep the books simple, nobody leaves either.
        if it.http || it.primary.is_none() {
            return;
        }
        let user = user(server, number);
        let on = !it.online.contains(&user);
        self.changes.entry(user).or_default().push(on);
        self.report(server, user, on);
    }

    fn move_a_user(&mut self) {
        let user = MOVERS + self.dice.roll(MOVING as usize) as u32;
        let to = self.dice.roll(self.servers.len());
        let from = self.servers.iter().position(|s| s.online.contains(&user));
        let able = |server: &MsgServer| !server.http && server.primary.is_some();
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

    fn send(&mut self, server: usize) {
        let Some(connection) = self.servers[server].primary_connection() else {
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
        let id = self.messages.len() as u32;
        let from = user(server, 0);
        let http = self.servers[server].http;
        let (to, pdu) = match to {
            // Only users are told of a change of their group.
            To::User(member) if http => (to, messages::group_change(from, id, &[member], &[])),
            To::Group if http => {
                let member = user(0, 0);
                let pdu = messages::group_change(from, id, &[member], &[]);
                (To::User(member), pdu)
            }
            To::Group => (to, messages::message(from, 1, id, GROUP_TEXT, "to a group")),
            To::User(user) => (
                to,
                messages::message(from, user, id, SINGLE_TEXT, "to a user"),
            ),
        };
        self.messages.push(Message {
            server,
            connection,
            to,
            accepted: false,
            lost: false,
            sent: self.now(),
        });
        self.say(|| format!("s{server} c{connection} sends message {id} to {to:?}"));
        self.tell(connection, &pdu, Some(id));
    }

    fn ask(&mut self, server: usize) {
        let mut users = Vec::new();
        for _ in 0..1 + self.dice.roll(4) {
            let of = self.dice.roll(self.servers.len() - 1);
            users.push(user(of, self.dice.roll(USERS as usize) as u32));
        }
        let expected = users
            .into_iter()
            .map(|user| (user, self.known_status(server, user)))
            .collect();
        self.ask_about(server, expected);
    }

    /// What a MsgServer has to be answered, if there is only one right answer now.
    fn known_status(&self, server: usize, user: u32) -> Option<bool> {
        let it = &self.servers[home(user)];
        if home(user) == server {
            Some(it.online.contains(&user))
        } else if is_stable(user) && it.is_strict() {
            Some(true)
        } else {
            None
        }
    }

    /// After everything, there is one answer for everybody.
    fn ask_everything(&mut self) {
        let own = (0..self.servers.len() - 1).flat_map(|s| (0..USERS).map(move |n| user(s, n)));
        let users: Vec<u32> = own.chain((0..MOVING).map(|n| MOVERS + n)).collect();
        for server in 0..self.servers.len() {
            let online = |user: &u32| self.servers.iter().any(|s| s.online.contains(user));
            let expected = users.iter().map(|u| (*u, Some(online(u)))).collect();
            self.ask_about(server, expected);
        }
    }

    fn ask_about(&mut self, server: usize, expected: Vec<(u32, Option<bool>)>) {
        let it = &self.servers[server];
        let Some(number) = it.primary_connection() else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let users: Vec<u32> = expected.iter().map(|(user, _)| *user).collect();
        connection.next_sequence += 1;
        let sequence = connection.next_sequence;
        let pdu = messages::query(user(server, 0), &users, None).sequence(sequence);
        connection.say(&pdu, None);
        self.say(|| format!("s{server} c{number} asks {sequence}: {expected:?}"));
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.asked.insert(sequence, Asked { expected });
        }
    }

    fn read_slowly(&mut self, server: usize) {
        if !self.dice.once_in(3) {
            return;
        }
        let live: Vec<_> = self.servers[server].live().collect();
        for number in live {
            let now = self.now();
            let until = now + self.dice.millis(100..4000);
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.slow_until = until;
            }
        }
        self.say(|| format!("s{server} reads nothing for a while"));
    }

    /// A connection dies; its MsgServer claims another one at once, the gateway notices in its own time. The node has heard of
    /// both: nobody can succeed whom it does not know, and a stream that stalls for so long is rare enough.
    fn die(&mut self, server: usize) {
        if !self.plan.dying_links || !self.dice.once_in(4) {
            return;
        }
        let now = self.now();
        let it = &self.servers[server];
        let live: Vec<usize> = it.live().collect();
        let old = |number: &usize| {
            let connection = &self.connections[number];
            connection.known && connection.opened + BETWEEN_DEATHS < now && connection.is_read()
        };
        let enough = live.len() == it.gateways.len() && live.iter().all(old);
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
    fn lose_connection(&mut self, number: usize) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        connection.asked.clear();
        let server = connection.server;
        let it = &mut self.servers[server];
        let Some(slot) = it.connections.iter().position(|c| *c == Some(number)) else {
            return;
        };
        it.connections[slot] = None;
        it.retry_at[slot] = now + RECONNECT_AFTER;
        it.died = now;
        let others = it.connections.iter().position(Option::is_some);
        if others.is_none() {
            it.interrupted = true;
            for connection in self.connections.values_mut() {
                (0..USERS).for_each(|number| connection.may_change(user(server, number)));
            }
        }
        let it = &mut self.servers[server];
        if it.primary == Some(slot) {
            it.primary = others;
            if let Some(next) = it.primary_connection() {
                self.say(|| format!("s{server} claims c{next}"));
                self.tell(next, &messages::role(1), None);
            }
        }
    }

    // ---- what MsgServers are told

    fn receive(&mut self, number: usize, pdu: &Pdu) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let server = connection.server;
        match pdu.command {
            command::HEARTBEAT => {}
            command::STATUS_ANSWER => {
                let asked = connection.asked.remove(&pdu.sequence);
                self.answered(number, pdu, asked);
            }
            command::MESSAGE => {
                let body: ImMsgData = decoded(pdu);
                self.got_message(server, number, body.msg_id);
            }
            command::GROUP_CHANGE => {
                let body: ImGroupChangeMemberNotify = decoded(pdu);
                self.got_message(server, number, body.group_id);
            }
            command::STATUS_NOTICE => {
                let body: ImUserStatNotify = decoded(pdu);
                let (user, on) = (body.user_stat.user_id, body.user_stat.status == 1);
                self.say(|| format!("s{server} c{number} is told: {user} {on}"));
                let notices = &mut self.servers[server].notices;
                notices.entry(user).or_default().push(on);
            }
            command::LOGIN_NOTICE => {
                let body: ImServerPcLoginStatusNotify = decoded(pdu);
                let on = body.login_status == 1;
                let logins = &mut self.servers[server].logins;
                logins.entry(body.user_id).or_default().push(on);
            }
            other => self.violate(format!("MsgServer {server} got command {other:#06x}")),
        }
    }

    fn got_message(&mut self, server: usize, number: usize, id: u32) {
        self.say(|| format!("s{server} c{number} gets message {id}"));
        let message = &self.messages[id as usize];
        let (origin, from, sent) = (message.connection, message.server, message.sent);
        if from == server {
            self.violate(format!("message {id} came back to MsgServer {server}"));
        }
        let it = &mut self.servers[server];
        let times = it.messages.entry(id).or_default();
        *times += 1;
        let again = *times > 1;
        let newest = it.newest.entry(origin).or_default();
        let newer = *newest;
        *newest = id.max(newer);
        if again {
            self.violate(format!("message {id} came twice to MsgServer {server}"));
        } else if id < newer && sent > it.cut_off_until {
            self.violate(format!(
                "message {id} came to MsgServer {server} after {newer}"
            ));
        }
    }

    fn answered(&mut self, number: usize, pdu: &Pdu, asked: Option<Asked>) {
        let sequence = pdu.sequence;
        let Some(asked) = asked else {
            self.violate(format!("connection {number}: no query {sequence} was open"));
            return;
        };
        let body: ImUsersStatRsp = decoded(pdu);
        self.say(|| format!("c{number} is answered {sequence}"));
        let answers: Vec<(u32, bool)> = body
            .user_stat_list
            .iter()
            .map(|stat| (stat.user_id, stat.status == 1))
            .collect();
        let fits = answers.len() == asked.expected.len()
            && answers
                .iter()
                .zip(&asked.expected)
                .all(|(is, should)| is.0 == should.0 && should.1.is_none_or(|on| on == is.1));
        if !fits {
            let expected = asked.expected;
            self.violate(format!(
                "connection {number} query {sequence}: answered {answers:?}, expected {expected:?}"
            ));
        }
    }

    // ---- disturbances

    fn disturb(&mut self) {
        let now = self.now();
        self.next_disturbance = now + self.dice.millis(200..3000);
        let kinds = self.plan.disturbances();
        let Some(kind) = (!kinds.is_empty()).then(|| kinds[self.dice.roll(kinds.len())]) else {
            return;
        };
        let gateway = self.dice.roll(self.gateways.len());
        let host = self.gateways[gateway].as_ref();
        let whole = host.is_some_and(|host| host.is_open() && host.wire.is_whole());
        if kind.is_of_a_stream() && !whole {
            // One interruption on top of another could last longer than the grace.
            return;
        }
        self.say(|| format!("DISTURBANCE {kind} of g{gateway}"));
        match kind {
            Disturbance::Cut => {
                let (node, own) = (self.dice.millis(0..2000), self.dice.millis(0..2000));
                if let Some(host) = &mut self.gateways[gateway] {
                    host.wire.cut(&mut self.dice, now, node, own);
                }
            }
            Disturbance::Stall => {
                let until = now + self.dice.millis(100..4000);
                if let Some(host) = &mut self.gateways[gateway] {
                    host.wire.stall(until);
                }
            }
            Disturbance::Partition | Disturbance::LongPartition => {
                let long = kind == Disturbance::LongPartition;
                let range = if long { 12_000..20_000 } else { 500..5000 };
                let until = now + self.dice.millis(range);
                let (node, own) = (self.dice.millis(0..2000), self.dice.millis(0..2000));
                if let Some(host) = &mut self.gateways[gateway] {
                    host.wire.cut(&mut self.dice, now, node, own);
                    host.wire.stall(until);
                }
                if long {
                    self.next_disturbance = until + Duration::from_secs(5);
                    for server in &mut self.servers {
                        if server.gateways.contains(&gateway) {
                            server.lossy = true;
                            server.cut_off_until = until;
                        }
                    }
                }
            }
            Disturbance::NodeCrash => {
                if self.node_exits.is_none() {
                    self.crash_node();
                }
            }
            Disturbance::NodeDrain => {
                if let (Some(host), None) = (&self.node, self.node_exits) {
                    host.drain();
                    self.streams_end = Some(now + STREAMS_END_WITHIN);
                    self.node_exits = Some(now + self.dice.millis(300..600));
                }
            }
            Disturbance::GatewayLoss => self.lose_gateway(gateway),
        }
    }

    fn start_node(&mut self) {
        self.node_starts = None;
        self.lives += 1;
        let host = NodeHost::start(self.lives);
        self.lives_of_nodes += 1;
        self.subscriber.follow(&host.node, self.lives_of_nodes);
        self.node = Some(host);
        self.say(|| "the node starts".to_owned());
    }

    /// The subscriber loses its connections, and comes back to the positions that it has.
    fn break_subscriptions(&mut self) {
        let Some(host) = &self.node else {
            return;
        };
        self.subscriber.follow(&host.node, self.lives_of_nodes);
        self.say(|| "the subscriber comes back".to_owned());
    }

    fn crash_node(&mut self) {
        if self.node.is_none() {
            return;
        }
        let now = self.now();
        for server in &mut self.servers {
            let has_lost_one = server.died > Duration::ZERO;
            server.claim_in_doubt |= has_lost_one && now < server.died + CLAIM_IN_DOUBT;
        }
        for host in self.gateways.iter_mut().flatten() {
            host.wire.node_died(&mut self.dice, now);
        }
        self.subscriber.leave();
        self.node = None;
        self.node_starts = Some(now + self.dice.millis(20..3000));
        self.say(|| "the node is gone".to_owned());
    }

    fn start_gateway(&mut self, number: usize) {
        self.gateway_starts[number] = None;
        self.lives += 1;
        self.gateways[number] = Some(GatewayHost::start(number, self.lives, self.plan.windows()));
        self.say(|| format!("g{number} starts"));
    }

    fn lose_gateway(&mut self, gateway: usize) {
        let now = self.now();
        let hears = self.dice.millis(0..500);
        let Some(mut host) = self.gateways[gateway].take() else {
            return;
        };
        host.wire.gateway_died(&mut self.dice, now, hears);
        // Its streams go with it; the node hears of that when they are dropped.
        drop(host);
        self.gateway_starts[gateway] = Some(now + self.dice.millis(100..15_000));
        for number in self.some_of(gateway, usize::MAX) {
            self.lose_connection(number);
            self.connections.remove(&number);
            for message in &mut self.messages {
                message.lost |= message.connection == number;
            }
        }
        for server in &mut self.servers {
            server.lossy |= server.gateways.contains(&gateway);
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disturbance {
    Cut,
    Stall,
    Partition,
    LongPartition,
    NodeCrash,
    NodeDrain,
    GatewayLoss,
}

impl Disturbance {
    fn is_of_a_stream(self) -> bool {
        match self {
            Self::Cut | Self::Stall | Self::Partition | Self::LongPartition => true,
            Self::NodeCrash | Self::NodeDrain | Self::GatewayLoss => false,
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

fn decoded<M: prost::Message + Default>(pdu: &Pdu) -> M {
    M::decode(pdu.body.clone()).expect("what arrives was sent whole")
}

/// Lets every task do what it can without time passing.
async fn idle() {
    for _ in 0..12 {
        tokio::task::yield_now().await;
    }
}
