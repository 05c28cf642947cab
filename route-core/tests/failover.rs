//! MsgServers with connections to one, two or three gateways against one core: random schedules of
//! logins, messages, dying connections and claims, with every queue in between at its own speed.
//! Connections may be half-open for seconds, and every second schedule is of broadcast mode. Without
//! names, up to four MsgServers and an HttpMsgServer are behind one address, others have their own.
//! With names, up to six share addresses, have several, and may never claim.
//!
//! Checks promises 1, 3, 4, 6 and 7 where roles matter. A failing seed is replayed with
//! `FAILOVER_SEED=<seed> cargo test -p route-core --test failover`; `FAILOVER_SEEDS=20000` runs
//! more of them.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use route_core::{
    Audience, Change, ClientType, CloseReason, Command, Core, Effect, FanOut, Item, LinkId,
    ListEntry, Output, Outputs, Payload, Peer, ReportedStatus, ReturnedRun, Settings, UserId,
};

const MESSAGE: Command = Command {
    id: 0x0301,
    dialect: 0,
};

const GATEWAYS: usize = 3;
/// A gateway tells that nothing is heard of a connection after this.
const SILENT_AFTER: Duration = Duration::from_secs(7);
/// MsgServers come back 4 s after they lost a connection, at the earliest.
const RECONNECT_AFTER: Duration = Duration::from_secs(4);
const WINDOWS: ClientType = ClientType::published(1);
/// Users of each MsgServer: the first two are logged in from the start and stay.
const STABLE: u32 = 2;
const USERS: u32 = 5;
/// A group message: to everybody who has users.
const GROUP: u32 = u32::MAX;

/// xorshift64*: reproducible, and nothing else is asked of it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % sides
    }
}

/// What a gateway tells the node, in order.
enum Up {
    Change(LinkId, Told),
    Returned(LinkId, ReturnedRun),
    AllReturned(LinkId),
}

enum Told {
    Opened(SocketAddr, Option<String>),
    List(Vec<ListEntry>),
    Update(UserId, ReportedStatus),
    Claim,
    Message { users: Option<Vec<u32>>, id: u32 },
    Silent,
    Closed,
}

/// What the node tells a gateway, in order.
enum Down {
    Deliver(u64, ReturnedRun),
    /// The close of this link is known: nothing more will be delivered to it.
    Confirmed(u64),
}

#[derive(Default)]
struct Gateway {
    up: VecDeque<Up>,
    down: VecDeque<Down>,
    /// Open links: number → MsgServer.
    open: BTreeMap<u64, usize>,
    /// Links that have died, and nobody has told the gateway: number → MsgServer, since when, until
    /// when, and whether it has told of the silence.
    half_open: BTreeMap<u64, HalfOpen>,
    next_number: u64,
}

struct HalfOpen {
    server: usize,
    since: Duration,
    until: Duration,
    told: bool,
}

struct MsgServer {
    /// Any of these for each connection.
    peers: Vec<SocketAddr>,
    name: Option<String>,
    claims: bool,
    /// Messages that went into a connection that was dead.
    vanished: BTreeSet<u32>,
    /// Users of whom notices did.
    untold: BTreeSet<u32>,
    /// HttpMsgServers have no users and never send a list.
    http: bool,
    /// One connection a gateway, if it has one there.
    links: [Option<u64>; GATEWAYS],
    uses: [bool; GATEWAYS],
    primary: Option<usize>,
    died: Duration,
    users: BTreeSet<u32>,
    messages: BTreeMap<u32, usize>,
    notices: BTreeMap<u32, Vec<ReportedStatus>>,
}

struct World {
    dice: Dice,
    now: Duration,
    core: Core,
    sequence: u64,
    gateways: [Gateway; GATEWAYS],
    servers: Vec<MsgServer>,
    /// Message id → sender, receiving user.
    sent: Vec<(usize, u32)>,
}

fn gateway_id(gateway: usize) -> u64 {
    gateway as u64 + 1
}

impl World {
    fn new(seed: u64, named: bool) -> World {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let shared = SocketAddr::from(([10, 0, 0, 1], 4000));
        let count = if named { 5 } else { 3 };
        let mut servers: Vec<MsgServer> = (0..2 + dice.roll(count))
            .map(|index| {
                let own = |last: u8| SocketAddr::from(([10, 0, 1 + last, index as u8], 4000));
                let mut server = MsgServer::new(vec![shared]);
                let single = dice.roll(4) == 0;
                server.uses = if single {
                    [true, false, false]
                } else {
                    [true, true, dice.roll(2) == 0]
                };
                if named {
                    server.name = Some(format!("m{index}"));
                    server.peers = [shared, own(0), own(1)][dice.roll(3)..].to_vec();
                    server.claims = dice.roll(4) != 0;
                } else if dice.roll(3) == 0 {
                    server.peers = vec![own(0)];
                    // With fewer than three users, connections without a claim need a name.
                    server.claims = !single || dice.roll(4) != 0;
                }
                server.users = (0..STABLE).map(|n| index as u32 * 100 + n).collect();
                server
            })
            .collect();
        let mut http = MsgServer::new(vec![shared]);
        http.http = true;
        http.uses = [true, true, false];
        servers.push(http);
        World {
            dice,
            now: Duration::ZERO,
            core: Core::new(Settings {
                fan_out: if seed % 2 == 1 {
                    FanOut::Broadcast
                } else {
                    FanOut::Directed
                },
                ..Settings::default()
            }),
            sequence: 0,
            gateways: std::array::from_fn(|_| Gateway::default()),
            servers,
            sent: Vec::new(),
        }
    }

    // ---- MsgServers

    fn connect(&mut self, server: usize, gateway: usize) {
        let at = &mut self.gateways[gateway];
        at.next_number += 1;
        let number = at.next_number;
        at.open.insert(number, server);
        let it = &mut self.servers[server];
        it.links[gateway] = Some(number);
        let peer = it.peers[self.dice.roll(it.peers.len())];
        let name = it.name.clone();
        let is_primary = it.primary.is_none();
        let claims = is_primary && it.claims;
        if is_primary {
            it.primary = Some(gateway);
        }
        let list = (!it.http).then(|| {
            it.users
                .iter()
                .map(|user| ListEntry {
                    user: UserId(*user),
                    client_type: WINDOWS,
                    status: ReportedStatus::Online,
                })
                .collect()
        });
        self.say(server, gateway, Told::Opened(peer, name));
        if claims {
            self.say(server, gateway, Told::Claim);
        }
        if let Some(list) = list {
            self.say(server, gateway, Told::List(list));
        }
    }

    fn say(&mut self, server: usize, gateway: usize, told: Told) {
        let number = self.servers[server].links[gateway].expect("an open link");
        let id = LinkId::new(gateway_id(gateway), number);
        self.gateways[gateway].up.push_back(Up::Change(id, told));
    }

    /// The connection dies: the MsgServer claims another one at once, the gateway notices in its
    /// own time.
    fn die(&mut self, server: usize, gateway: usize) {
        let Some(number) = self.servers[server].links[gateway] else {
            return;
        };
        self.gateways[gateway].open.remove(&number);
        if self.dice.roll(3) == 0 {
            let millis = 100 + self.dice.roll(20_000) as u64;
            let half_open = HalfOpen {
                server,
                since: self.now,
                until: self.now + Duration::from_millis(millis),
                told: false,
            };
            self.gateways[gateway].half_open.insert(number, half_open);
        } else {
            self.say(server, gateway, Told::Closed);
        }
        let it = &mut self.servers[server];
        it.links[gateway] = None;
        it.died = self.now;
        if it.primary == Some(gateway) {
            it.primary = (0..GATEWAYS).find(|other| it.links[*other].is_some());
            if let Some(next) = it.primary.filter(|_| it.claims) {
                self.say(server, next, Told::Claim);
                // As below: with three connections, the next one may die before its claim is known.
                while !self.gateways[next].up.is_empty() {
                    self.pump_up(next);
                }
            }
        }
    }

    fn toggle(&mut self, server: usize) {
        if self.servers[server].http {
            return;
        }
        let user = server as u32 * 100 + STABLE + self.dice.roll((USERS - STABLE) as usize) as u32;
        let it = &mut self.servers[server];
        // Without a RouteServer a MsgServer refuses logins; to keep the books simple, nobody leaves
        // either.
        if it.primary.is_none() {
            return;
        }
        let status = if it.users.remove(&user) {
            ReportedStatus::Offline
        } else {
            it.users.insert(user);
            ReportedStatus::Online
        };
        for gateway in 0..GATEWAYS {
            if self.servers[server].links[gateway].is_some() {
                self.say(server, gateway, Told::Update(UserId(user), status));
            }
        }
    }

    fn send(&mut self, server: usize) {
        let Some(primary) = self.servers[server].primary else {
            return;
        };
        let receiver = self.dice.roll(self.servers.len());
        let to = if self.servers[receiver].http {
            GROUP
        } else {
            receiver as u32 * 100 + self.dice.roll(USERS as usize) as u32
        };
        let from = server as u32 * 100;
        let id = self.sent.len() as u32;
        self.sent.push((server, to));
        let users = (to != GROUP).then(|| vec![from, to]);
        self.say(server, primary, Told::Message { users, id });
    }

    // ---- gateways and node

    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each thing that a gateway tells"
    )]
    fn pump_up(&mut self, gateway: usize) {
        let Some(up) = self.gateways[gateway].up.pop_front() else {
            return;
        };
        self.sequence += 1;
        let (now, sequence) = (self.now, self.sequence);
        let mut transaction = self.core.transaction(now);
        let confirmed = match &up {
            Up::Change(link, Told::Closed) => Some(link.number),
            Up::Change(..) | Up::Returned(..) | Up::AllReturned(_) => None,
        };
        let result = match up {
            Up::AllReturned(link) => {
                transaction.all_returned(link, Vec::new());
                Ok(())
            }
            Up::Returned(link, run) => {
                transaction.returned(link, run);
                Ok(())
            }
            Up::Change(link, Told::Message { users, id }) => {
                let pdu = Bytes::copy_from_slice(&id.to_be_bytes());
                let audience = users
                    .as_deref()
                    .map_or(Audience::Reporters, Audience::Users);
                transaction.route(link, sequence, MESSAGE, audience, pdu, None)
            }
            Up::Change(link, told) => {
                let (list, opened);
                let change = match told {
                    Told::Opened(address, name) => {
                        opened = name;
                        Change::Opened {
                            peer: Peer {
                                address,
                                msg_server: opened.as_deref(),
                            },
                            restored: None,
                        }
                    }
                    Told::Silent => Change::Silence { silent: true },
                    Told::List(entries) => {
                        list = entries;
                        Change::List {
                            entries: &list,
                            last: true,
                        }
                    }
                    Told::Update(user, status) => Change::Update {
                        user,
                        client_type: WINDOWS,
                        status,
                    },
                    Told::Claim => Change::Role { claimed: true },
                    Told::Closed | Told::Message { .. } => Change::Closed {
                        reason: CloseReason::Peer,
                    },
                };
                transaction.apply(link, sequence, change, Effect::Notify)
            }
        };
        result.expect("links are opened before and closed after everything else");
        take(&mut self.gateways, transaction.outputs());
        drop(transaction);
        let confirmed = confirmed.map(Down::Confirmed);
        self.gateways[gateway].down.extend(confirmed);
    }

    /// Time passes; gateways look after connections of which nothing is heard.
    fn passes(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        for (index, at) in self.gateways.iter_mut().enumerate() {
            let up = &mut at.up;
            at.half_open.retain(|number, it| {
                let link = LinkId::new(gateway_id(index), *number);
                if now >= it.until {
                    up.push_back(Up::Change(link, Told::Closed));
                    return false;
                }
                if !it.told && now >= it.since + SILENT_AFTER {
                    it.told = true;
                    up.push_back(Up::Change(link, Told::Silent));
                }
                true
            });
        }
        self.advance();
    }

    fn advance(&mut self) {
        let mut transaction = self.core.transaction(self.now);
        transaction.advance();
        take(&mut self.gateways, transaction.outputs());
    }

    fn pump_down(&mut self, gateway: usize) {
        let (target, run) = match self.gateways[gateway].down.pop_front() {
            None => return,
            Some(Down::Deliver(target, run)) => (target, run),
            Some(Down::Confirmed(number)) => {
                let link = LinkId::new(gateway_id(gateway), number);
                self.gateways[gateway].up.push_back(Up::AllReturned(link));
                return;
            }
        };
        match self.gateways[gateway].open.get(&target).copied() {
            Some(server) => {
                for Item { payload, .. } in run.items {
                    self.servers[server].receive(payload);
                }
            }
            None => match self.gateways[gateway].half_open.get(&target) {
                Some(half_open) => self.servers[half_open.server].loses(&run),
                None => {
                    let link = LinkId::new(gateway_id(gateway), target);
                    self.gateways[gateway].up.push_back(Up::Returned(link, run));
                }
            },
        }
    }

    fn settle(&mut self) {
        let busy = |world: &World| {
            world
                .gateways
                .iter()
                .any(|g| !g.up.is_empty() || !g.down.is_empty())
        };
        while busy(self) {
            for gateway in 0..GATEWAYS {
                self.pump_up(gateway);
                self.pump_down(gateway);
            }
        }
    }

    /// One thing happens; then a random part of the queues moves on.
    fn step(&mut self) {
        let millis = self.dice.roll(100) as u64;
        self.passes(Duration::from_millis(millis));
        let server = self.dice.roll(self.servers.len());
        let gateway = self.dice.roll(GATEWAYS);
        match self.dice.roll(20) {
            0..4 => self.toggle(server),
            4..17 => self.send(server),
            _ => self.die_or_come_back(server, gateway),
        }
        if self.dice.roll(4) == 0 {
            self.settle();
        }
        for _ in 0..self.dice.roll(8) {
            let gateway = self.dice.roll(GATEWAYS);
            if self.dice.roll(2) == 0 {
                self.pump_up(gateway);
            } else {
                self.pump_down(gateway);
            }
        }
    }

    fn die_or_come_back(&mut self, server: usize, gateway: usize) {
        let it = &self.servers[server];
        let several = it.links.iter().flatten().count() > 1;
        if it.links[gateway].is_some() && (it.is_single() || several) {
            self.die(server, gateway);
        } else if it.links[gateway].is_none()
            && it.uses[gateway]
            && self.now >= it.died + RECONNECT_AFTER
        {
            self.connect(server, gateway);
            // Nothing dies again before the node has heard of it: seconds against milliseconds.
            while !self.gateways[gateway].up.is_empty() {
                self.pump_up(gateway);
            }
        }
    }
}

/// Queues what the core has produced.
fn take(gateways: &mut [Gateway; GATEWAYS], outputs: &mut Outputs) {
    for output in outputs.drain() {
        match output {
            Output::Deliver(fan) => {
                for target in fan.targets {
                    let run = ReturnedRun {
                        origin: fan.origin,
                        position: fan.position,
                        items: fan.items.to_vec(),
                        receipts: fan.receipts.to_vec(),
                    };
                    let down = Down::Deliver(target.number, run);
                    gateways[target.gateway as usize - 1].down.push_back(down);
                }
            }
            Output::Close(link) => {
                let at = &mut gateways[link.gateway as usize - 1];
                assert!(
                    !at.open.contains_key(&link.number),
                    "link {link} is to be closed, and is not dead"
                );
                if at.half_open.remove(&link.number).is_some() {
                    at.up.push_back(Up::Change(link, Told::Closed));
                }
            }
            Output::TakeOver { .. } | Output::Answer(_) => {}
        }
    }
}

impl MsgServer {
    fn new(peers: Vec<SocketAddr>) -> MsgServer {
        MsgServer {
            peers,
            name: None,
            claims: true,
            vanished: BTreeSet::new(),
            untold: BTreeSet::new(),
            http: false,
            links: [None; GATEWAYS],
            uses: [true; GATEWAYS],
            primary: None,
            died: Duration::ZERO,
            users: BTreeSet::new(),
            messages: BTreeMap::new(),
            notices: BTreeMap::new(),
        }
    }

    fn is_single(&self) -> bool {
        self.uses.iter().filter(|uses| **uses).count() == 1
    }

    /// It went into a connection that was dead.
    fn loses(&mut self, run: &ReturnedRun) {
        for Item { payload, .. } in &run.items {
            match payload {
                Payload::Pdu(pdu) => {
                    let id = u32::from_be_bytes(pdu[..4].try_into().unwrap());
                    self.vanished.insert(id);
                }
                Payload::Status { user, .. } => {
                    self.notices.remove(&user.0);
                    self.untold.insert(user.0);
                }
                Payload::DesktopLogin { .. } | Payload::Perishable(_) => {}
            }
        }
    }

    fn receive(&mut self, payload: Payload) {
        match payload {
            Payload::Pdu(pdu) => {
                let id = u32::from_be_bytes(pdu[..4].try_into().unwrap());
                *self.messages.entry(id).or_default() += 1;
            }
            Payload::Status { user, status } => {
                self.notices.entry(user.0).or_default().push(status);
            }
            Payload::DesktopLogin { .. } | Payload::Perishable(_) => {}
        }
    }
}

/// One schedule. A MsgServer with two connections keeps one of them, so that it must miss nothing.
fn run(seed: u64, named: bool) {
    let mut world = World::new(seed, named);
    for server in 0..world.servers.len() {
        for gateway in 0..GATEWAYS {
            if world.servers[server].uses[gateway] {
                world.connect(server, gateway);
            }
        }
    }
    world.settle();

    for _ in 0..600 {
        world.step();
    }
    world.settle();
    for _ in 0..25 {
        world.passes(Duration::from_secs(1));
        world.settle();
    }

    for server in 0..world.servers.len() {
        check_messages(seed, &world, server);
    }
    check_presence(seed, &world);
    check_notices(seed, &world);
}

fn check_messages(seed: u64, world: &World, server: usize) {
    let it = &world.servers[server];
    for (id, (sender, to)) in (0u32..).zip(&world.sent) {
        let times = it.messages.get(&id).copied().unwrap_or(0);
        let own = *sender == server;
        let stable = *to != GROUP && *to % 100 < STABLE && (*to / 100) as usize == server;
        let must = !own && !it.http && it.keeps_connected() && (stable || *to == GROUP);
        // Links that never list are held against nobody: in broadcast mode an HttpMsgServer with
        // two gets all twice, and ignores it.
        assert!(
            times <= 1 || it.http,
            "seed {seed}: message {id} came {times} times to {server}"
        );
        assert!(
            !own || times == 0 || it.http,
            "seed {seed}: message {id} came back to {server}"
        );
        assert!(
            !must || times == 1 || it.vanished.contains(&id),
            "seed {seed}: message {id} to {to} is lost for {server}"
        );
    }
}

impl MsgServer {
    /// It has two connections, of which one lived at any time.
    fn keeps_connected(&self) -> bool {
        self.links.iter().flatten().count() > 0 && !self.is_single()
    }
}

fn check_presence(seed: u64, world: &World) {
    for (server, it) in world.servers.iter().enumerate() {
        if it.primary.is_none() {
            continue;
        }
        for user in (0..USERS).map(|n| server as u32 * 100 + n) {
            assert_eq!(
                world.core.view().legacy_online(UserId(user)),
                it.users.contains(&user),
                "seed {seed}: user {user}"
            );
        }
    }
}

/// A user with one client goes on and off by turns, and what was said last is true.
fn check_notices(seed: u64, world: &World) {
    for (server, it) in world.servers.iter().enumerate() {
        let told = it.notices.iter();
        for (user, statuses) in told.filter(|(user, _)| !it.untold.contains(user)) {
            let holder = &world.servers[(*user / 100) as usize];
            if !holder.keeps_connected() || !it.keeps_connected() || it.http {
                continue;
            }
            let repeated = statuses.windows(2).any(|pair| pair[0] == pair[1]);
            assert!(
                !repeated,
                "seed {seed}: MsgServer {server} was told of {user}: {statuses:?}"
            );
            let online = statuses.last() == Some(&ReportedStatus::Online);
            assert_eq!(
                online,
                holder.users.contains(user),
                "seed {seed}: MsgServer {server} was last told {:?} of {user}",
                statuses.last()
            );
        }
    }
}

#[test]
fn a_thousand_schedules_of_dying_and_claiming_connections() {
    all_seeds(false);
}

#[test]
fn a_thousand_schedules_of_msg_servers_with_names() {
    all_seeds(true);
}

fn all_seeds(named: bool) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    match number("FAILOVER_SEED") {
        Some(seed) => run(seed, named),
        None => (0..number("FAILOVER_SEEDS").unwrap_or(1000)).for_each(|seed| run(seed, named)),
    }
}
