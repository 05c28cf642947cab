//! Users of the played MsgServers: who logs in and out where, which notices that causes, what may
//! be answered of whom.
//!
//! Notices are those of the written [`Rules`], which know neither gateways nor nodes. So what users
//! do concurrently has to have one outcome: a user stays with one MsgServer, or is a *roamer*, who
//! does nothing before everybody has been told of what he did last.

use std::collections::BTreeSet;

use crate::deployment::FanOut;
use crate::dice::Dice;
use crate::player::messages::{self, Client, Status};
use crate::player::pdu::Pdu;
use crate::rules::{Delivery, Rules};

/// MsgServers that take part.
pub const SERVERS: usize = 4;
/// Users of each MsgServer who are logged in from the start and for good.
pub const STAYING: u32 = 3;
/// Users of each MsgServer who come and go.
const RESTLESS: u32 = 30;
/// Users who are now at one MsgServer, now at another, now at two.
const ROAMERS: u32 = 12;
/// Number of the first roamer.
const FIRST_ROAMER: u32 = 9000;
/// What restless users log in with.
const CLIENTS: [Client; 3] = [Client::Windows, Client::Mac, Client::Android];

/// Everybody, as the MsgServers have reported them.
#[derive(Debug)]
pub struct Population {
    rules: Rules,
    /// Moves with everything that is reported or asked, so that moments can be compared.
    clock: u64,
    /// Of each MsgServer.
    restless: Vec<Vec<Restless>>,
    roamers: Vec<Roamer>,
}

/// What a MsgServer reports.
#[derive(Debug)]
pub struct Report {
    /// As it goes up.
    pub update: Pdu,
    /// What it causes.
    pub notices: Vec<Delivery>,
    /// What is proved when the notices have arrived.
    pub change: Change,
    /// How the user is now.
    pub state: State,
}

/// How a user is.
#[derive(Debug, Clone)]
pub struct State {
    /// By desktop clients: online if one is active, away if all are away, offline if there is none.
    pub status: Status,
    /// MsgServers that have a client of the user's.
    pub holders: Vec<usize>,
}

impl State {
    /// Some desktop client is logged in.
    pub fn has_desktop(&self) -> bool {
        !matches!(self.status, Status::Offline)
    }
}

/// One user's change of status, as MsgServers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    user: u32,
    at: u64,
}

impl Change {
    /// Whose.
    pub fn user(self) -> u32 {
        self.user
    }
}

#[derive(Debug)]
struct Restless {
    clients: [Presence; CLIENTS.len()],
    shown: Shown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Gone,
    Here,
    Away,
}

/// What queries may be answered of one user.
#[derive(Debug, Default)]
struct Shown {
    online: bool,
    /// Since it was reported.
    since: u64,
    /// Since when it is known to have been applied.
    proved: Option<u64>,
}

#[derive(Debug, Default)]
struct Roamer {
    /// MsgServers that hold him.
    at: Vec<usize>,
    shown: Shown,
    /// What he did last: when, and where.
    last: Option<(u64, usize)>,
    /// Notices of that which have not arrived.
    pending: usize,
}

impl Default for Population {
    fn default() -> Self {
        Self::new()
    }
}

impl Population {
    /// The MsgServers have said hello with their lists.
    pub fn new() -> Self {
        let mut population = Self {
            rules: Rules::new(FanOut::Directed),
            clock: 1,
            restless: Vec::new(),
            roamers: (0..ROAMERS).map(|_| Roamer::default()).collect(),
        };
        for server in 0..SERVERS {
            population.rules.open(server);
            let restless = (0..RESTLESS).map(Restless::new).collect();
            population.restless.push(restless);
        }
        for server in 0..SERVERS {
            population.rules.handle(server, &messages::role(1));
            let list = population.list(server);
            population.rules.handle(server, &list);
        }
        population
    }

    /// How those are who come and go.
    pub fn states(&self) -> impl Iterator<Item = (u32, State)> + '_ {
        let restless = |server| (0..RESTLESS).map(move |number| restless_user(server, number));
        let all = (0..SERVERS).flat_map(restless);
        let all = all.chain(FIRST_ROAMER..FIRST_ROAMER + ROAMERS);
        all.map(|user| (user, self.state(user)))
    }

    /// 0x0708 of a MsgServer.
    pub fn list(&self, server: usize) -> Pdu {
        let online = |user| (user, Status::Online, Client::Windows);
        let mut entries: Vec<_> = (0..STAYING)
            .map(|number| online(staying(server, number)))
            .collect();
        for (number, user) in (0..).zip(&self.restless[server]) {
            let user_id = restless_user(server, number);
            for (client, presence) in CLIENTS.into_iter().zip(user.clients) {
                match presence {
                    Presence::Gone => {}
                    Presence::Here => entries.push((user_id, Status::Online, client)),
                    Presence::Away => entries.push((user_id, Status::Leave, client)),
                }
            }
        }
        let roamers = (FIRST_ROAMER..).zip(&self.roamers);
        let here = roamers.filter(|(_, roamer)| roamer.at.contains(&server));
        entries.extend(here.map(|(user_id, _)| online(user_id)));
        messages::list(&entries)
    }

    /// Everybody who is logged in with any client.
    pub fn online(&self) -> BTreeSet<u32> {
        let roamers = (FIRST_ROAMER..).zip(&self.roamers);
        let somewhere = roamers.filter(|(_, roamer)| !roamer.at.is_empty());
        let mut online: BTreeSet<u32> = somewhere.map(|(user_id, _)| user_id).collect();
        for (server, users) in self.restless.iter().enumerate() {
            online.extend((0..STAYING).map(|number| staying(server, number)));
            let here = |user: &Restless| user.clients.iter().any(|p| *p != Presence::Gone);
            let here = (0..).zip(users).filter(|(_, user)| here(user));
            online.extend(here.map(|(number, _)| restless_user(server, number)));
        }
        online
    }

    /// A user of the MsgServer does something.
    pub fn act(&mut self, server: usize, dice: &mut Dice) -> Report {
        self.clock += 1;
        let report = match self.roam(server, dice) {
            Some(report) => report,
            None => self.stir(server, dice),
        };
        let (user, update) = report;
        let notices = self.rules.handle(server, &update);
        if let Some(roamer) = self.roamer(user) {
            roamer.pending = notices.len();
        }
        Report {
            update,
            notices,
            state: self.state(user),
            change: Change {
                user,
                at: self.clock,
            },
        }
    }

    /// A user of whom everybody has been told how he is, in some way.
    pub fn told_all(&mut self, user: u32) {
        if let Some(roamer) = self.roamer(user) {
            roamer.pending = 0;
        }
    }

    /// The moment of a question.
    pub fn ask(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Some users to ask about: all who must be online, and some others.
    pub fn some_users(&self, dice: &mut Dice) -> Vec<u32> {
        let mut users: Vec<u32> = (0..SERVERS)
            .map(|server| staying(server, dice.roll(STAYING as usize) as u32))
            .collect();
        for server in 0..SERVERS {
            users.push(restless_user(server, dice.roll(RESTLESS as usize) as u32));
        }
        users.push(FIRST_ROAMER + dice.roll(ROAMERS as usize) as u32);
        dice.shuffle(&mut users);
        users
    }

    /// A notice of this change has arrived at `target`, whose MsgServer reported it if that is
    /// `origin`.
    pub fn told(&mut self, change: Change, target: usize, origin: usize) {
        if let Some(roamer) = self.roamer(change.user) {
            if roamer.last.is_some_and(|(at, _)| at == change.at) {
                roamer.pending -= 1;
            }
            return;
        }
        self.clock += 1;
        let now = self.clock;
        if target == origin
            && let Some(user) = self.restless(change.user)
            && user.shown.since == change.at
        {
            user.shown.proved.get_or_insert(now);
        }
    }

    /// A query of `server` of this moment has been answered: everything that it reported before has
    /// been applied.
    pub fn answered(&mut self, server: usize, asked: u64) {
        self.clock += 1;
        for roamer in &mut self.roamers {
            let is_settled = roamer.pending == 0;
            if is_settled
                && roamer
                    .last
                    .is_some_and(|(at, by)| by == server && at < asked)
            {
                roamer.last = None;
                roamer.shown.proved.get_or_insert(self.clock);
            }
        }
    }

    /// What `server` must now be answered to a question of that moment; `None` if both are right.
    pub fn answer(&self, user: u32, server: usize, asked: u64) -> Option<bool> {
        let home = home(user);
        let (shown, is_own) = match home {
            None => (&self.roamers[(user - FIRST_ROAMER) as usize].shown, false),
            Some((_, number)) if number < STAYING => return Some(true),
            Some((home, number)) => {
                let user = &self.restless[home][(number - STAYING) as usize];
                (&user.shown, home == server)
            }
        };
        let known_since = if is_own {
            Some(shown.since)
        } else {
            shown.proved
        };
        let is_known = known_since.is_some_and(|since| since < asked);
        is_known.then_some(shown.online)
    }

    /// A user who stays with his MsgServer does something.
    fn stir(&mut self, server: usize, dice: &mut Dice) -> (u32, Pdu) {
        let number = dice.roll(RESTLESS as usize) as u32;
        let user = &mut self.restless[server][number as usize];
        let client = dice.roll(CLIENTS.len());
        let (presence, status) = match user.clients[client] {
            Presence::Gone => (Presence::Here, Status::Online),
            Presence::Here if dice.once_in(4) => (Presence::Away, Status::Leave),
            Presence::Away if dice.once_in(2) => (Presence::Here, Status::Online),
            Presence::Here | Presence::Away => (Presence::Gone, Status::Offline),
        };
        user.clients[client] = presence;
        let online = user.has_desktop();
        user.shown.becomes(online, self.clock);
        let id = restless_user(server, number);
        (id, messages::update(id, status, CLIENTS[client]))
    }

    /// A roamer comes to the MsgServer or leaves it, if one is free to and the dice say so.
    fn roam(&mut self, server: usize, dice: &mut Dice) -> Option<(u32, Pdu)> {
        if !dice.once_in(4) {
            return None;
        }
        let number = dice.roll(self.roamers.len());
        let roamer = &mut self.roamers[number];
        if roamer.last.is_some() {
            return None;
        }
        let status = match roamer.at.iter().position(|at| *at == server) {
            Some(place) => {
                roamer.at.remove(place);
                Status::Offline
            }
            None if roamer.at.len() < 2 => {
                roamer.at.push(server);
                Status::Online
            }
            None => return None,
        };
        roamer.last = Some((self.clock, server));
        roamer.shown.becomes(!roamer.at.is_empty(), self.clock);
        let id = FIRST_ROAMER + number as u32;
        Some((id, messages::update(id, status, Client::Windows)))
    }

    fn state(&self, user: u32) -> State {
        let roamer = user.checked_sub(FIRST_ROAMER);
        if let Some(roamer) = roamer.and_then(|number| self.roamers.get(number as usize)) {
            let is_here = !roamer.at.is_empty();
            return State {
                status: if is_here {
                    Status::Online
                } else {
                    Status::Offline
                },
                holders: roamer.at.clone(),
            };
        }
        let clients = home(user).and_then(|(server, number)| {
            let number = number.checked_sub(STAYING)?;
            Some(self.restless.get(server)?.get(number as usize)?.clients)
        });
        let clients = clients.unwrap_or([Presence::Gone; 3]);
        let desktops = &clients[..2];
        let status = if desktops.contains(&Presence::Here) {
            Status::Online
        } else if desktops.contains(&Presence::Away) {
            Status::Leave
        } else {
            Status::Offline
        };
        let is_here = clients.iter().any(|client| *client != Presence::Gone);
        let home = home(user).filter(|_| is_here);
        State {
            status,
            holders: home.into_iter().map(|(server, _)| server).collect(),
        }
    }

    fn roamer(&mut self, user: u32) -> Option<&mut Roamer> {
        let number = user.checked_sub(FIRST_ROAMER)?;
        self.roamers.get_mut(number as usize)
    }

    fn restless(&mut self, user: u32) -> Option<&mut Restless> {
        let (server, number) = home(user)?;
        let number = number.checked_sub(STAYING)?;
        self.restless.get_mut(server)?.get_mut(number as usize)
    }
}

impl Restless {
    fn new(number: u32) -> Self {
        let online = Self::begins_online(number);
        let mut clients = [Presence::Gone; CLIENTS.len()];
        if online {
            clients[0] = Presence::Here;
        }
        Self {
            clients,
            shown: Shown {
                online,
                since: 0,
                proved: Some(0),
            },
        }
    }

    fn begins_online(number: u32) -> bool {
        number.is_multiple_of(2)
    }

    fn has_desktop(&self) -> bool {
        self.clients[..2].iter().any(|p| *p != Presence::Gone)
    }
}

impl Shown {
    fn becomes(&mut self, online: bool, now: u64) {
        if self.online != online {
            *self = Self {
                online,
                since: now,
                proved: None,
            };
        }
    }
}

/// A user who is always logged in at this MsgServer.
pub fn some_staying_user(server: usize, dice: &mut Dice) -> u32 {
    staying(server, dice.roll(STAYING as usize) as u32)
}

/// The MsgServer of a user who stays with one, and which of its users that is.
pub fn home(user: u32) -> Option<(usize, u32)> {
    let server = (user / 1000).checked_sub(1)? as usize;
    (server < SERVERS).then_some((server, user % 1000))
}

/// A user who is always logged in.
pub fn is_staying(user: u32) -> bool {
    home(user).is_some_and(|(_, number)| number < STAYING)
}

fn staying(server: usize, number: u32) -> u32 {
    (server as u32 + 1) * 1000 + number
}

fn restless_user(server: usize, number: u32) -> u32 {
    staying(server, STAYING + number)
}
