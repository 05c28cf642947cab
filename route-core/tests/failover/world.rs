//! Everything together: time, the node, and what moves between it and MsgServers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use route_core::{
    Audience, Change, CloseReason, Command, Core, Effect, FanOut, Item, LinkId, ListEntry,
    NotifyOnLoss, Output, Outputs, Payload, Peer, Reach, ReportedStatus, ReturnedRun, Settings,
    Transaction, UserId,
};

use crate::dice::Dice;
use crate::gateway::{Down, GATEWAYS, Gateway, Lost, Told, Up};
use crate::judge::{COMES_BACK, Message, Report, SEAT_HOLD, Sent, UNCLEAR};
use crate::line::Due;
use crate::msg_server::{Client, MOVERS, MsgServer};
use crate::site;

/// Nothing takes longer between a gateway and its node.
const LAG: Duration = Duration::from_millis(500);
/// So long after its close a connection may stand for its MsgServer.
pub(crate) const CLOSED_FOR: Duration = Duration::from_secs(3);
const STEPS: usize = 200;
const PHASES: usize = 4;

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) is_shown: bool,
    pub(crate) dice: Dice,
    pub(crate) now: Duration,
    pub(crate) mode: FanOut,
    pub(crate) core: Core,
    settings: Settings,
    sequence: u64,
    pub(crate) gateways: [Gateway; GATEWAYS],
    pub(crate) back_at: [Duration; GATEWAYS],
    pub(crate) lost: Vec<Lost>,
    /// When the node gave up one last.
    pub(crate) gave_up_at: Duration,
    pub(crate) servers: Vec<MsgServer>,
    /// Whose each link is or was.
    pub(crate) owners: BTreeMap<LinkId, usize>,
    /// Of links, as they were last shown.
    parts: BTreeMap<LinkId, String>,
    /// By number.
    pub(crate) sent: Vec<Message>,
    /// What was reported last of each user's desktop.
    pub(crate) reported: BTreeMap<u32, Report>,
    /// Where the last thing was routed that was for somebody.
    pub(crate) routed: u64,
    /// When each user moved last.
    pub(crate) moved: BTreeMap<u32, Duration>,
}

impl World {
    pub(crate) fn new(seed: u64, mode: FanOut, is_shown: bool) -> World {
        let mut dice = Dice::new(seed);
        let notify_on_loss = match dice.once_in(2) {
            true => NotifyOnLoss::All,
            false => NotifyOnLoss::None,
        };
        // What is done piece by piece is done at once, or in as small pieces as there are.
        let in_pieces = dice.once_in(2);
        let settings = Settings {
            fan_out: mode,
            notify_on_loss,
            at_once: if in_pieces { 0 } else { 4096 },
            ..Settings::default()
        };
        World {
            seed,
            is_shown,
            servers: site::build(&mut dice),
            dice,
            now: Duration::ZERO,
            mode,
            core: Core::new(settings),
            settings,
            sequence: 0,
            gateways: std::array::from_fn(|index| Gateway::new(index as u64 + 1)),
            back_at: [Duration::ZERO; GATEWAYS],
            lost: Vec::new(),
            gave_up_at: Duration::ZERO,
            owners: BTreeMap::new(),
            parts: BTreeMap::new(),
            sent: Vec::new(),
            reported: BTreeMap::new(),
            routed: 0,
            moved: BTreeMap::new(),
        }
    }

    /// One schedule.
    pub(crate) fn play(mut self) {
        self.show_site();
        for server in 0..self.servers.len() {
            for gateway in 0..GATEWAYS {
                if self.servers[server].uses[gateway] {
                    self.connect(server, gateway);
                }
            }
        }
        self.settle();
        for _ in 0..PHASES {
            for _ in 0..STEPS {
                self.step();
            }
            self.rests(Duration::from_secs(2));
            self.settle();
            self.check_presence(false);
        }
        self.rests(Duration::from_secs(13));
        self.settle();
        self.check_presence(true);
        self.rests(Duration::from_secs(40));
        self.settle();
        self.check_in_the_end();
    }

    /// One thing happens; then a random part of the queues moves on.
    fn step(&mut self) {
        let time = self.dice.millis(0, 100);
        self.passes(time);
        self.something_happens();
        if self.dice.once_in(4) {
            self.settle();
        }
        for _ in 0..self.dice.roll(8) {
            let gateway = self.dice.roll(GATEWAYS);
            if self.dice.once_in(2) {
                self.pump_up(gateway);
            } else {
                self.pump_down(gateway);
            }
        }
    }

    /// Nothing new happens.
    fn rests(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.passes(Duration::from_millis(100));
        }
    }

    /// Time passes, and what is due happens.
    fn passes(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        for gateway in 0..GATEWAYS {
            self.look_after_lines(gateway);
            let is_late = |at: &Duration| *at + LAG <= now;
            while self.gateways[gateway]
                .up
                .front()
                .is_some_and(|it| is_late(&it.0))
            {
                self.pump_up(gateway);
            }
            while self.gateways[gateway]
                .down
                .front()
                .is_some_and(|it| is_late(&it.0))
            {
                self.pump_down(gateway);
            }
            self.restarts(gateway);
        }
        self.look_after_lost();
        self.await_gateways();
        self.nobody_listens();
        self.transact(|transaction, _| {
            transaction.advance();
            let until = transaction.view().work() + 1;
            transaction.proceed(until);
        });
    }

    fn look_after_lines(&mut self, gateway: usize) {
        let now = self.now;
        let numbers: Vec<u64> = self.gateways[gateway].lines.keys().copied().collect();
        for number in numbers {
            let at = &mut self.gateways[gateway];
            let Some(line) = at.lines.get_mut(&number) else {
                continue;
            };
            if line.is_whole() {
                continue;
            }
            let server = line.server;
            match line.due(now) {
                Due::Nothing => {}
                Due::Silent => at.tell(now, number, Told::Silent),
                Due::Closes => self.gateway_closes(gateway, number),
                Due::IsLeft => {
                    self.show(|| format!("s{server} gives up its connection to g{gateway}"));
                    self.gateways[gateway]
                        .lines
                        .get_mut(&number)
                        .unwrap()
                        .is_half_open(now);
                    self.leaves(server, gateway);
                }
            }
        }
    }

    /// A gateway ends a connection. Its MsgServer knows if it can be reached.
    pub(crate) fn gateway_closes(&mut self, gateway: usize, number: u64) {
        let now = self.now;
        let at = &mut self.gateways[gateway];
        let Some(line) = at.lines.remove(&number) else {
            return;
        };
        let reason = match at.is_ending {
            true => CloseReason::Drain,
            false => CloseReason::TimedOut,
        };
        at.tell(now, number, Told::Closed(reason));
        let server = line.server;
        let claims = self.claim_is_heard(&self.servers[server]);
        if let Some(since) = line.unheard_since(claims) {
            self.servers[server].unheard = Some((since, now + CLOSED_FOR));
        }
        self.show(|| format!("g{gateway} closes {number} of s{server}"));
        if !line.is_left {
            // One that is not reached finds out in its time; nothing that it does meanwhile is read.
            self.leaves(server, gateway);
        }
    }

    /// What this MsgServer says on this connection.
    pub(crate) fn say(&mut self, server: usize, gateway: usize, told: Told) {
        let Some(number) = self.servers[server].links[gateway] else {
            return;
        };
        let now = self.now;
        let at = &mut self.gateways[gateway];
        if at.lines.get(&number).is_some_and(|line| line.is_heard) {
            at.tell(now, number, told);
        } else if let Told::Message(id) = told {
            self.sent[id as usize].is_lost();
        }
    }

    // ---- gateways and node

    pub(crate) fn pump_up(&mut self, gateway: usize) {
        let Some((_, up)) = self.gateways[gateway].up.pop_front() else {
            return;
        };
        match up {
            Up::AllReturned(link, taken) => {
                self.gateways[gateway].unfinished.remove(&link.number);
                self.transact(|transaction, _| transaction.all_returned(link, taken));
            }
            Up::Returned(link, run) => {
                self.transact(|transaction, _| transaction.returned(link, run))
            }
            Up::Change(link, Told::Message(id)) => self.route(link, id),
            Up::Change(link, told) => {
                match &told {
                    Told::Opened(..) => {
                        self.gateways[gateway].unfinished.insert(link.number);
                    }
                    Told::Closed(reason) => {
                        let server = &mut self.servers[self.owners[&link]];
                        server.ends(self.now);
                        if *reason == CloseReason::Drain && !server.is_connected() {
                            server.held_until = server.held_until.max(self.now + COMES_BACK);
                        }
                        let confirmed = Down::Confirmed(link.number);
                        self.gateways[gateway].down.push_back((self.now, confirmed));
                    }
                    Told::List(_) | Told::Update(..) => {
                        if let Told::List(entries) = &told {
                            self.are_listed(entries);
                        }
                        if let Told::Update(client, _) = &told {
                            self.is_known_of(*client);
                        }
                        if let Some(line) = self.gateways[gateway].lines.get_mut(&link.number) {
                            line.has_reported = true;
                        }
                    }
                    Told::Claim => {
                        if let Some(line) = self.gateways[gateway].lines.get_mut(&link.number) {
                            line.claimed = Some(self.now);
                        }
                    }
                    Told::Message(_) | Told::Silent => {}
                }
                if self.is_shown {
                    print_told(self.now, self.owners[&link], link, &told);
                }
                self.transact(|transaction, sequence| apply(transaction, link, sequence, told));
            }
        }
    }

    /// The node hears what was reported last: the notices of it come from now on.
    fn is_known_of(&mut self, client: Client) {
        let report = self.reported.get_mut(&client.user);
        if let Some(report) = report.filter(|_| !client.is_mobile) {
            report.told_after.get_or_insert(self.routed);
        }
    }

    /// A list makes no notices: of whoever is offline until then, the last one was another.
    fn are_listed(&mut self, entries: &[ListEntry]) {
        let view = self.core.view();
        let movers = entries
            .iter()
            .map(|entry| entry.user)
            .filter(|user| user.0 >= MOVERS);
        for user in movers.filter(|user| !view.legacy_online(*user)) {
            for it in &mut self.servers {
                it.may_not_know(self.now, user.0);
            }
        }
    }

    fn route(&mut self, link: LinkId, id: u32) {
        let message = &self.sent[id as usize];
        let pdu = Bytes::copy_from_slice(&id.to_be_bytes());
        let users = message.users();
        let (command, audience, read_at) = match message.what {
            Sent::ToUser(_) => (0x0301, Audience::Users(&users), None),
            Sent::Group => (0x0301, Audience::Reporters, None),
            Sent::Kick(_) => {
                let read_at = message.at.as_micros() as i64;
                (0x070d, Audience::Others, Some(read_at))
            }
        };
        let command = Command {
            id: command,
            dialect: 0,
        };
        self.transact(|transaction, sequence| {
            transaction
                .route(link, sequence, command, audience, pdu, read_at)
                .unwrap();
        });
    }

    pub(crate) fn pump_down(&mut self, gateway: usize) {
        let Some((_, down)) = self.gateways[gateway].down.pop_front() else {
            return;
        };
        let now = self.now;
        let at = &mut self.gateways[gateway];
        match down {
            Down::Confirmed(number) => {
                let (link, taken) = (at.link(number), at.taken(number));
                at.up.push_back((now, Up::AllReturned(link, taken)));
            }
            Down::TakeOver(number, taken) => at.takes_over(number, taken),
            Down::Deliver(number, run, how) => match at.lines.get(&number) {
                None => {
                    let link = at.link(number);
                    at.up.push_back((now, Up::Returned(link, run)));
                }
                Some(line) if !line.is_reached => {
                    let server = line.server;
                    self.vanishes(server, &run.items);
                }
                Some(line) => {
                    let server = line.server;
                    for (position, item) in (run.position..).zip(run.items) {
                        let at = &mut self.gateways[gateway];
                        if at.is_news(number, run.origin, &item, how) {
                            self.deliver(gateway, number, server, (position, &item));
                        }
                    }
                }
            },
        }
    }

    /// Written to a connection that lives.
    fn deliver(&mut self, gateway: usize, number: u64, server: usize, routed: (u64, &Item)) {
        let (position, item) = routed;
        if let Some(id) = id_of(&item.payload) {
            if let Sent::Kick(user) = self.sent[id as usize].what {
                let client = Client::new(user, false);
                if self.gateways[gateway].spares(number, item, client) {
                    self.sent[id as usize].due.remove(&server);
                    return;
                }
            }
            let opened = self.gateways[gateway].lines.get(&number);
            let opened = opened.map(|line| line.opened);
            self.receive(server, id, opened);
        } else if let Payload::Status { user, status } = item.payload {
            self.is_told(server, user.0, status, position);
        }
    }

    /// It went into a connection that was dead, or was lost with a gateway.
    pub(crate) fn vanishes(&mut self, server: usize, items: &[Item]) {
        for item in items {
            if let Some(id) = id_of(&item.payload) {
                self.sent[id as usize].due.remove(&server);
            } else if let Payload::Status { user, .. } = item.payload {
                self.servers[server].may_not_know(self.now, user.0);
            }
        }
    }

    fn look_after_lost(&mut self) {
        let now = self.now;
        let mut noticed = Vec::new();
        for lost in &mut self.lost {
            if now >= lost.noticed_at && !lost.is_noticed {
                lost.is_noticed = true;
                noticed.push(lost.gateway.id);
            }
        }
        for id in noticed {
            self.transact(|transaction, _| transaction.set_reach(id, Reach::Away));
        }
        let given_up = |lost: &Lost| now >= lost.given_up_at;
        while let Some(place) = self.lost.iter().position(given_up) {
            let lost = self.lost.remove(place);
            let gateway = lost.gateway;
            let id = gateway.id;
            self.show(|| format!("the node gives up gateway {id}"));
            self.gave_up_at = now;
            for number in &gateway.unfinished {
                let owner = self.owners[&LinkId::new(id, *number)];
                self.servers[owner].ends(now);
            }
            self.transact(|transaction, _| {
                transaction.lose_gateway(id);
                for (_, down) in gateway.down {
                    if let Down::Deliver(number, run, _) = down {
                        transaction.returned(LinkId::new(id, number), run);
                    }
                }
                for number in gateway.unfinished {
                    transaction.all_returned(LinkId::new(id, number), Vec::new());
                }
            });
        }
    }

    /// While a gateway is away, places are held; and while one is, or a connection of its address may be
    /// dead, nobody who never claims begins to stand.
    fn await_gateways(&mut self) {
        let now = self.now;
        for index in 0..self.servers.len() {
            let it = &mut self.servers[index];
            if now < it.held_until && !self.lost.is_empty() {
                it.held_until = it.held_until.max(now + SEAT_HOLD);
            }
            let it = &self.servers[index];
            let waits = !it.claims && now < it.came_at + UNCLEAR;
            if waits && (!self.lost.is_empty() || self.has_dead_neighbours(it)) {
                self.servers[index].came_at = now;
            }
        }
    }

    pub(crate) fn settle(&mut self) {
        let busy = |world: &World| {
            let mut gateways = world.gateways.iter();
            gateways.any(|it| !it.up.is_empty() || !it.down.is_empty())
        };
        while busy(self) {
            for gateway in 0..GATEWAYS {
                self.pump_up(gateway);
                self.pump_down(gateway);
            }
        }
        self.transact(|transaction, _| {
            transaction.proceed(u64::MAX);
        });
        if busy(self) {
            self.settle();
        }
    }

    /// The core of another node that is set up like this one.
    pub(crate) fn new_core(&self) -> Core {
        Core::following(self.settings, self.routed)
    }

    /// Does something to the core, and queues what it produces.
    pub(crate) fn transact(&mut self, act: impl FnOnce(&mut Transaction<'_>, u64)) {
        self.sequence += 1;
        let now = self.now;
        let mut closed = Vec::new();
        let mut transaction = self.core.transaction(now);
        act(&mut transaction, self.sequence);
        let outputs = transaction.outputs();
        if self.is_shown {
            print_said(now, &self.owners, outputs);
        }
        for output in outputs.drain() {
            let fan = match output {
                Output::Deliver(fan) => fan,
                Output::TakeOver { to, taken, .. } => {
                    let here = self.gateways.iter_mut().find(|it| it.id == to.gateway);
                    if let Some(at) = here {
                        at.down.push_back((now, Down::TakeOver(to.number, taken)));
                    }
                    continue;
                }
                Output::Close(link) => {
                    closed.push(link);
                    continue;
                }
                Output::Answer(_) => continue,
            };
            let last = fan.position + fan.items.len() as u64 - 1;
            self.routed = self.routed.max(last);
            for target in fan.targets {
                let run = ReturnedRun {
                    origin: fan.origin,
                    position: fan.position,
                    items: fan.items.to_vec(),
                    receipts: fan.receipts.to_vec(),
                };
                let lost = self.lost.iter_mut().map(|lost| &mut lost.gateway);
                let mut all = self.gateways.iter_mut().chain(lost);
                // One that is given up is not there any more.
                let at = all.find(|it| it.id == target.gateway).unwrap();
                let down = Down::Deliver(target.number, run, fan.course);
                at.down.push_back((now, down));
            }
        }
        drop(transaction);
        if self.is_shown {
            self.show_parts();
        }
        for link in closed {
            self.is_to_close(link);
        }
    }

    /// Of each link whose part has changed since they were last shown.
    fn show_parts(&mut self) {
        let reports = self.core.view().links_after(LinkId::NODE);
        let parts = reports.map(|it| {
            (
                it.id,
                format!("{:?}: {:?} {:?}", it.part, it.reason, it.other),
            )
        });
        let parts: BTreeMap<LinkId, String> = parts.collect();
        for (link, part) in &parts {
            if self.parts.get(link) != Some(part) {
                println!("{:?}   s{} {link} is {part}", self.now, self.owners[link]);
            }
        }
        self.parts = parts;
    }

    fn is_to_close(&mut self, link: LinkId) {
        let here = self.gateways.iter().position(|it| it.id == link.gateway);
        let Some(gateway) = here else {
            return;
        };
        let Some(line) = self.gateways[gateway].lines.get(&link.number) else {
            return;
        };
        let server = line.server;
        let it = &self.servers[server];
        if line.is_whole() && it.primary == Some(gateway) && !it.shares_name {
            self.fail(&format!(
                "{link} is closed, and is the primary one of s{server}"
            ));
        }
        self.gateway_closes(gateway, link.number);
    }

    pub(crate) fn show(&self, what: impl FnOnce() -> String) {
        if self.is_shown {
            println!("{:?} {}", self.now, what());
        }
    }

    pub(crate) fn fail(&self, what: &str) -> ! {
        panic!(
            "seed {}, {:?}, {:?}: {what}",
            self.seed, self.mode, self.now
        );
    }

    fn show_site(&self) {
        for it in &self.servers {
            let (kind, name, peers, uses) = (it.kind, &it.name, &it.peers, it.uses);
            let (index, claims, stable) = (it.index, it.claims, it.stable);
            self.show(|| {
                format!("s{index} {kind:?} {name:?} {peers:?} {uses:?} {claims} {stable}")
            });
        }
    }
}

/// The number of a message.
fn id_of(payload: &Payload) -> Option<u32> {
    let pdu = match payload {
        Payload::Pdu(pdu) => pdu,
        Payload::Perishable(perishable) => &perishable.pdu,
        Payload::Status { .. } | Payload::DesktopLogin { .. } => return None,
    };
    Some(u32::from_be_bytes(pdu[..4].try_into().unwrap()))
}

fn apply(transaction: &mut Transaction<'_>, link: LinkId, sequence: u64, told: Told) {
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
        Told::Update(client, status) => Change::Update {
            user: UserId(client.user),
            client_type: client.client_type(),
            status,
        },
        Told::Claim => Change::Role { claimed: true },
        Told::Closed(reason) => Change::Closed { reason },
        Told::Message(_) => unreachable!("it is routed"),
    };
    transaction
        .apply(link, sequence, change, Effect::Notify)
        .expect("links are opened before and closed after everything else");
}

fn print_said(now: Duration, owners: &BTreeMap<LinkId, usize>, outputs: &mut Outputs) {
    for it in outputs.drain_transitions() {
        let other = it.other.map(|other| other.to_string());
        let server = owners[&it.link];
        println!("{now:?}   s{server} {} {} {other:?}", it.link, it.kind);
    }
    for loss in outputs.drain_losses() {
        let server = owners[&loss.link];
        println!(
            "{now:?}   s{server} {} loses {} {:?}",
            loss.link, loss.deliveries, loss.reason
        );
    }
}

fn print_told(now: Duration, server: usize, link: LinkId, told: &Told) {
    let what = match told {
        Told::Opened(peer, name) => format!("opened {peer} {name:?}"),
        Told::List(list) => format!("lists {} clients", list.len()),
        Told::Update(client, ReportedStatus::Online) => format!("login {client:?}"),
        Told::Update(client, _) => format!("logout {client:?}"),
        Told::Claim => "claims".to_owned(),
        Told::Message(_) => return,
        Told::Silent => "silent".to_owned(),
        Told::Closed(reason) => format!("closed, {reason:?}"),
    };
    println!("{now:?}   s{server} {link} {what}");
}
