//! What happens to MsgServers, their users, connections and gateways.

use std::time::Duration;

use route_core::{CloseReason, ReportedStatus};

use crate::gateway::{Down, GATEWAYS, Gateway, Lost, Told, Up};
use crate::judge::{Message, Report, Sent};
use crate::msg_server::{Client, Kind, Login, MOVERS, MOVING, MsgServer};
use crate::world::{CLOSED_FOR, World};

/// MsgServers come back 4 s after they lost a connection, at the earliest.
const RECONNECT_AFTER: Duration = Duration::from_secs(4);
/// How long a user stays at a MsgServer, at least.
const STAY: Duration = Duration::from_secs(1);
/// By then, two MsgServers of one name have found out that they are two.
pub(crate) const FIGHT: Duration = Duration::from_secs(25);
/// One that comes back sooner, again and again, may be two of one name.
const RESTED: Duration = Duration::from_secs(35);
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// So long a node waits for a gateway.
const GRACE: usize = 10_000;

impl World {
    pub(crate) fn something_happens(&mut self) {
        let server = self.dice.roll(self.servers.len());
        let gateway = self.dice.roll(GATEWAYS);
        match self.dice.roll(1000) {
            0..200 => self.somebody_comes_or_goes(server),
            200..250 => self.somebody_moves(server),
            250..800 => self.sends(server),
            800..920 => self.connects(server, gateway),
            920..960 => self.dies(server, gateway),
            960..980 => self.is_cut(server, gateway),
            980..995 => self.is_killed(server),
            995..998 => self.gateway_is_killed(gateway),
            998 => self.gateway_is_stopped(gateway),
            _ => self.node_restarts(),
        }
    }

    // ---- users

    fn somebody_comes_or_goes(&mut self, server: usize) {
        let roll = self.dice.roll(4);
        let it = &self.servers[server];
        // Without a RouteServer a MsgServer refuses logins; to keep the books simple, nobody leaves
        // either.
        if !it.has_users() || it.primary.is_none() {
            return;
        }
        if let Some(client) = it.missing() {
            self.logs_in(server, client);
            return;
        }
        let client = it.restless(roll);
        if it.clients.contains_key(&client) {
            self.logs_out(server, client);
        } else {
            self.logs_in(server, client);
        }
    }

    fn somebody_moves(&mut self, server: usize) {
        let client = Client::new(MOVERS + self.dice.roll(MOVING as usize) as u32, false);
        let it = &self.servers[server];
        let moved = self.moved.get(&client.user);
        let stays = moved.is_some_and(|at| self.now < *at + STAY);
        if !it.has_users() || it.primary.is_none() || stays || !it.takes_movers() {
            return;
        }
        if it.clients.contains_key(&client) {
            self.logs_out(server, client);
        } else {
            self.logs_in(server, client);
        }
        self.moved.insert(client.user, self.now);
    }

    /// A client of a class is kicked wherever else it is, then everybody is told.
    fn logs_in(&mut self, server: usize, client: Client) {
        if !client.is_mobile {
            self.sends_this(server, Sent::Kick(client.user));
        }
        let login = Login {
            since: self.now,
            is_hidden: false,
        };
        self.servers[server].clients.insert(client, login);
        self.reports(server, client, ReportedStatus::Online);
    }

    pub(crate) fn logs_out(&mut self, server: usize, client: Client) {
        self.servers[server].clients.remove(&client);
        for message in &mut self.sent {
            message.is_no_longer_for(server, client);
        }
        self.reports(server, client, ReportedStatus::Offline);
    }

    fn reports(&mut self, server: usize, client: Client, status: ReportedStatus) {
        self.show(|| format!("s{server} reports {status:?} of {client:?}"));
        if !client.is_mobile {
            let report = Report {
                at: self.now,
                status,
                told_after: None,
            };
            self.reported.insert(client.user, report);
        }
        let may_be_at = |it: &MsgServer| it.index == server || client.user >= MOVERS;
        let mut homes = self.servers.iter().filter(|it| may_be_at(it));
        if homes.any(|it| self.has_dead(it)) {
            // There the user may still be: then nobody is told.
            let now = self.now;
            let others = self.servers.iter_mut();
            others.for_each(|it| it.may_not_know(now, client.user));
        }
        for gateway in 0..GATEWAYS {
            self.say(server, gateway, Told::Update(client, status));
        }
    }

    // ---- messages

    fn sends(&mut self, server: usize) {
        let receiver = self.dice.roll(self.servers.len() + 1);
        let roll = self.dice.roll(1000);
        let what = match self.servers.get(receiver) {
            Some(it) if it.has_users() => Sent::ToUser(it.any_user(roll)),
            Some(_) => Sent::Group,
            None => Sent::ToUser(MOVERS + roll as u32 % MOVING),
        };
        self.sends_this(server, what);
    }

    fn sends_this(&mut self, server: usize, what: Sent) {
        let it = &self.servers[server];
        let any = it.links.iter().position(Option::is_some);
        let Some(gateway) = it.primary.or(any) else {
            return;
        };
        let id = self.sent.len() as u32;
        let due = self.to_whom(server, what);
        self.show(|| format!("s{server} sends {id} at g{gateway}: {what:?}, due {due:?}"));
        self.sent.push(Message {
            sender: server,
            what,
            at: self.now,
            due,
        });
        self.say(server, gateway, Told::Message(id));
    }

    // ---- connections

    fn connects(&mut self, server: usize, gateway: usize) {
        let it = &self.servers[server];
        let may = it.uses[gateway] && it.links[gateway].is_none();
        let is_there = !self.gateways[gateway].is_ending && self.now >= self.back_at[gateway];
        if may && is_there && self.now >= it.retry_at[gateway] {
            self.connect(server, gateway);
            if self.servers[server].name.is_none() {
                // Nobody knows whose it is before it has listed: milliseconds.
                self.hears(gateway);
            }
        }
    }

    pub(crate) fn connect(&mut self, server: usize, gateway: usize) {
        let now = self.now;
        let number = self.gateways[gateway].accept(now, server);
        let link = self.gateways[gateway].link(number);
        self.owners.insert(link, server);
        if !self.servers[server].is_connected() {
            self.is_back(server);
        }
        let it = &mut self.servers[server];
        it.links[gateway] = Some(number);
        let peer = it.peers[self.dice.roll(it.peers.len())];
        let name = it.name.clone();
        let claims = it.primary.is_none() && it.claims;
        it.primary.get_or_insert(gateway);
        let list = it.list();
        let lists = it.has_users();
        self.fights(server);
        self.show(|| format!("s{server} connects to g{gateway}"));
        self.say(server, gateway, Told::Opened(peer, name));
        if claims {
            self.say(server, gateway, Told::Claim);
        }
        if lists {
            self.say(server, gateway, Told::List(list));
        }
    }

    /// It knows nothing any more, and nobody is told of whom it brings.
    fn is_back(&mut self, server: usize) {
        let now = self.now;
        let it = &mut self.servers[server];
        it.came_at = now;
        it.notices.clear();
        let users: Vec<u32> = it.clients.keys().map(|client| client.user).collect();
        for other in &mut self.servers {
            let users = users.iter();
            users.for_each(|user| other.may_not_know(now, *user));
        }
    }

    /// A connection dies: the MsgServer claims another one at once, the gateway notices in its own
    /// time.
    fn dies(&mut self, server: usize, gateway: usize) {
        let Some(number) = self.servers[server].links[gateway] else {
            return;
        };
        if !self.may_lose(server, gateway) {
            return;
        }
        if self.dice.once_in(3) {
            let now = self.now;
            let line = self.gateways[gateway].lines.get_mut(&number);
            self.servers[server].retry_at[gateway] = now + RECONNECT_AFTER;
            if let Some(line) = line {
                line.is_half_open(now);
            }
            self.show(|| format!("s{server} leaves g{gateway}, which does not notice"));
            self.leaves(server, gateway);
        } else {
            self.closes(server, gateway);
        }
    }

    /// A connection ends, and both ends know.
    fn closes(&mut self, server: usize, gateway: usize) {
        let Some(number) = self.servers[server].links[gateway] else {
            return;
        };
        self.show(|| format!("s{server} leaves g{gateway}"));
        let now = self.now;
        let at = &mut self.gateways[gateway];
        let line = at.lines.get_mut(&number);
        match line {
            // Its end is told on the same way as everything else.
            Some(line) if line.is_heard => {
                at.lines.remove(&number);
                let reason = match at.is_ending {
                    true => CloseReason::Drain,
                    false => CloseReason::Peer,
                };
                at.tell(now, number, Told::Closed(reason));
            }
            Some(line) => line.is_half_open(now),
            None => {}
        }
        self.leaves(server, gateway);
    }

    /// A MsgServer knows that a connection is over.
    pub(crate) fn leaves(&mut self, server: usize, gateway: usize) {
        let it = &mut self.servers[server];
        it.links[gateway] = None;
        it.retry_at[gateway] = it.retry_at[gateway].max(self.now + RECONNECT_AFTER);
        if it.primary == Some(gateway) {
            it.primary = it.links.iter().position(Option::is_some);
            if let Some(next) = it.primary.filter(|_| it.claims) {
                self.say(server, next, Told::Claim);
                // As above: with three connections, the next one may die before its claim is known.
                self.hears(next);
            }
        }
        if !self.servers[server].is_connected() {
            self.is_away(server);
        }
        self.fights(server);
    }

    /// It has lost all its connections: what is on its way to it may be lost, and nobody tells how
    /// its users are until it is back.
    fn is_away(&mut self, server: usize) {
        for message in &mut self.sent {
            message.due.remove(&server);
        }
        let home = self.servers[server].users();
        let users: Vec<u32> = home.chain(MOVERS..MOVERS + MOVING).collect();
        let now = self.now;
        for other in &mut self.servers {
            let users = users.iter();
            users.for_each(|user| other.may_not_know(now, *user));
        }
    }

    fn is_cut(&mut self, server: usize, gateway: usize) {
        let Some(number) = self.servers[server].links[gateway] else {
            return;
        };
        if !self.may_lose(server, gateway) {
            return;
        }
        let (is_heard, is_reached) =
            [(false, true), (true, false), (false, false)][self.dice.roll(3)];
        let now = self.now;
        if let Some(line) = self.gateways[gateway].lines.get_mut(&number)
            && line.is_whole()
        {
            line.is_cut(now, is_heard, is_reached);
            self.show(|| format!("s{server} at g{gateway}: heard {is_heard} reached {is_reached}"));
        }
    }

    // ---- processes

    /// Its process is killed, or its host loses power. It comes back without users.
    fn is_killed(&mut self, server: usize) {
        let now = self.now;
        let loses_power = self.dice.once_in(3);
        let back = now + self.dice.millis(200, 15_000);
        let it = &self.servers[server];
        let is_known = it.name.is_some() || !self.has_dead(it);
        let is_rested = it.killed_at.is_none_or(|at| now > at + RESTED);
        if !it.is_connected() || !it.may_be_killed() || !is_known || !is_rested {
            return;
        }
        self.servers[server].killed_at = Some(now);
        self.show(|| format!("s{server} is killed, loses power: {loses_power}"));
        self.is_away(server);
        self.servers[server].clients.clear();
        self.servers[server].primary = None;
        for gateway in 0..GATEWAYS {
            let Some(number) = self.servers[server].links[gateway].take() else {
                continue;
            };
            let at = &mut self.gateways[gateway];
            match at.lines.get_mut(&number) {
                Some(line) if loses_power || !line.is_heard => line.is_half_open(now),
                Some(_) => {
                    at.lines.remove(&number);
                    at.tell(now, number, Told::Closed(CloseReason::Peer));
                }
                None => {}
            }
        }
        self.servers[server].retry_at = [back; GATEWAYS];
        self.fights(server);
    }

    /// What it has not written, and what it has read and not handed on, is lost.
    fn gateway_is_killed(&mut self, gateway: usize) {
        let now = self.now;
        if now < self.back_at[gateway] || !self.may_end(gateway) {
            return;
        }
        let back = self.dice.roll(14_000);
        let back_at = now + Duration::from_millis(500 + back as u64);
        let next = Gateway::new(self.gateways[gateway].id + 10);
        let mut dead = std::mem::replace(&mut self.gateways[gateway], next);
        self.back_at[gateway] = back_at;
        self.show(|| format!("g{gateway} is killed"));
        for (_, up) in std::mem::take(&mut dead.up) {
            match up {
                Up::Change(_, Told::Message(id)) => self.sent[id as usize].is_lost(),
                Up::Returned(link, run) => self.vanishes(self.owners[&link], &run.items),
                Up::Change(..) | Up::AllReturned(..) => {}
            }
        }
        let taken = self.dice.roll(dead.down.len() + 1);
        for (_, down) in dead.down.drain(..taken) {
            if let Down::Deliver(number, run, _) = down {
                let owner = self.owners[&route_core::LinkId::new(dead.id, number)];
                self.vanishes(owner, &run.items);
            }
        }
        let lines = std::mem::take(&mut dead.lines);
        let given_up = back.min(GRACE) as u64;
        let given_up_at = now + Duration::from_millis(given_up + 500);
        for line in lines.values() {
            if let Some(since) = line.unheard_since(false) {
                self.servers[line.server].unheard = Some((since, given_up_at + CLOSED_FOR));
            }
        }
        self.lost.push(Lost {
            gateway: dead,
            killed_at: now,
            noticed_at: now + Duration::from_millis(given_up.min(300)),
            given_up_at,
            is_noticed: false,
        });
        for (_, line) in lines {
            if !line.is_left {
                self.leaves(line.server, gateway);
            }
        }
    }

    /// It ends its connections, and gives back what it has not written.
    fn gateway_is_stopped(&mut self, gateway: usize) {
        if self.now < self.back_at[gateway] || !self.may_end(gateway) {
            return;
        }
        self.show(|| format!("g{gateway} is stopped"));
        self.gateways[gateway].is_ending = true;
        for server in 0..self.servers.len() {
            self.closes(server, gateway);
        }
        let rest: Vec<u64> = self.gateways[gateway].lines.keys().copied().collect();
        for number in rest {
            self.gateway_closes(gateway, number);
        }
    }

    fn may_end(&self, gateway: usize) -> bool {
        let mut all = 0..self.servers.len();
        !self.gateways[gateway].is_ending && all.all(|server| self.may_lose(server, gateway))
    }

    /// Without a name, connections of a MsgServer that are dead, and not known to be, may be those of
    /// another one: so it loses nothing more before they are found. (A claim may be lost on one that
    /// is cut; who was there before may hold more of its users than it does.)
    fn may_lose(&self, server: usize, gateway: usize) -> bool {
        let it = &self.servers[server];
        let Some(number) = it.links[gateway] else {
            return true;
        };
        // Nothing dies before the node has heard of it: seconds against milliseconds.
        let line = self.gateways[gateway].lines.get(&number);
        let is_new = line.is_some_and(|line| self.now < line.opened + SETTLED_AFTER);
        !is_new && (it.name.is_some() || !self.has_dead(it))
    }

    /// A gateway that has ended in order begins a new life.
    pub(crate) fn restarts(&mut self, gateway: usize) {
        let at = &self.gateways[gateway];
        if at.is_ending && at.up.is_empty() && at.down.is_empty() {
            self.gateways[gateway] = Gateway::new(at.id + 10);
            let time = self.dice.millis(500, 5000);
            self.back_at[gateway] = self.now + time;
        }
    }

    /// What this gateway has read is known to the node.
    fn hears(&mut self, gateway: usize) {
        while !self.gateways[gateway].up.is_empty() {
            self.pump_up(gateway);
        }
    }

    /// Two MsgServers of one name have their connections closed by each other. Who is told of their users
    /// meanwhile, nobody knows.
    fn fights(&mut self, server: usize) {
        if self.servers[server].shares_name {
            let until = self.now + FIGHT;
            let mut users = Vec::new();
            for it in self.servers.iter_mut().filter(|it| it.shares_name) {
                it.fights_until = until;
                users.extend(it.users());
            }
            let now = self.now;
            for it in &mut self.servers {
                let users = users.iter();
                users.for_each(|user| it.may_not_know(now, *user));
            }
        }
    }
}

impl Kind {
    /// It does nothing with what it gets.
    pub(crate) fn listens(self) -> bool {
        self == Kind::MsgServer
    }
}
