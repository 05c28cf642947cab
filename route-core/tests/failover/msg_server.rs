//! MsgServers: who is logged in, which connection is the primary one, what they were told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use route_core::{ClientType, ListEntry, ReportedStatus, UserId};

use crate::gateway::GATEWAYS;
use crate::judge::SEAT_HOLD;

/// Users of each MsgServer that come and go.
const RESTLESS: u32 = 3;
/// Users of this number and above are now at one MsgServer, now at another.
pub(crate) const MOVERS: u32 = 9000;
/// How many of them there are.
pub(crate) const MOVING: u32 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    MsgServer,
    /// It has no users, and never sends a list; it claims.
    Http,
    /// Another service of the same host: it does not even claim.
    Companion,
}

/// A client of a user, of one type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Client {
    pub(crate) user: u32,
    pub(crate) is_mobile: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Login {
    pub(crate) since: Duration,
    /// It is listed as offline.
    pub(crate) is_hidden: bool,
}

pub(crate) struct MsgServer {
    pub(crate) kind: Kind,
    pub(crate) index: usize,
    /// Any of these for each connection.
    pub(crate) peers: Vec<SocketAddr>,
    pub(crate) name: Option<String>,
    /// Another one has its name, by mistake.
    pub(crate) shares_name: bool,
    pub(crate) claims: bool,
    /// Users that log in at the start, and again when the process was killed, and stay.
    pub(crate) stable: u32,
    pub(crate) uses: [bool; GATEWAYS],
    /// One connection a gateway, if it has one there.
    pub(crate) links: [Option<u64>; GATEWAYS],
    pub(crate) retry_at: [Duration; GATEWAYS],
    pub(crate) primary: Option<usize>,
    pub(crate) killed_at: Option<Duration>,
    /// Since when it has had a connection at any time.
    pub(crate) came_at: Duration,
    /// When the node heard last of the end of one of its connections.
    pub(crate) ended_at: Duration,
    /// A connection of which nothing was heard since the first moment was closed shortly before the
    /// second one.
    pub(crate) unheard: Option<(Duration, Duration)>,
    /// The place of its connection that ended last is held until then; for longer, while a gateway is
    /// lost at which its next connection may be.
    pub(crate) held_until: Duration,
    /// Of two with one name: by then they have found out.
    pub(crate) fights_until: Duration,
    pub(crate) clients: BTreeMap<Client, Login>,
    /// How often each message came.
    pub(crate) messages: BTreeMap<u32, usize>,
    /// It misses nothing that was routed later: before, it had nobody who is told.
    pub(crate) knows_from: u64,
    /// What it was told of each user, of that.
    pub(crate) notices: BTreeMap<u32, Vec<ReportedStatus>>,
    /// Users of whom it may not know the truth before they come or go again, and since when: a notice
    /// went into a connection that was dead, or was lost with a gateway, or their MsgServer was away,
    /// of which the loss may be told, and the return is not: lists cause no notices.
    pub(crate) untold: BTreeMap<u32, Duration>,
}

impl Client {
    pub(crate) fn new(user: u32, is_mobile: bool) -> Client {
        Client { user, is_mobile }
    }

    pub(crate) fn client_type(self) -> ClientType {
        ClientType::published(if self.is_mobile { 0x11 } else { 0x01 })
    }

    /// How a user of this number logs in who stays: some on mobile only, some hidden.
    fn of_stable(server: usize, number: u32) -> (Client, bool) {
        let user = server as u32 * 100 + number;
        (Client::new(user, number % 4 == 1), number % 4 == 2)
    }
}

impl MsgServer {
    pub(crate) fn new(kind: Kind, index: usize) -> MsgServer {
        MsgServer {
            kind,
            index,
            peers: Vec::new(),
            name: None,
            shares_name: false,
            claims: true,
            stable: 0,
            uses: [false; GATEWAYS],
            links: [None; GATEWAYS],
            retry_at: [Duration::ZERO; GATEWAYS],
            primary: None,
            killed_at: None,
            came_at: Duration::ZERO,
            ended_at: Duration::ZERO,
            unheard: None,
            held_until: Duration::ZERO,
            fights_until: Duration::ZERO,
            clients: BTreeMap::new(),
            messages: BTreeMap::new(),
            knows_from: 0,
            notices: BTreeMap::new(),
            untold: BTreeMap::new(),
        }
    }

    /// Everybody who stays is here, as before everything began.
    pub(crate) fn all_log_in(&mut self) {
        let since = Duration::ZERO;
        for number in 0..self.stable {
            let (client, is_hidden) = Client::of_stable(self.index, number);
            self.clients.insert(client, Login { since, is_hidden });
        }
    }

    /// Somebody who stays, and is not here since the process was killed.
    pub(crate) fn missing(&self) -> Option<Client> {
        let stable = (0..self.stable).map(|number| Client::of_stable(self.index, number).0);
        stable.into_iter().find(|it| !self.clients.contains_key(it))
    }

    /// One of those that come and go: one with a desktop, one on mobile, one with both.
    pub(crate) fn restless(&self, roll: usize) -> Client {
        let (number, is_mobile) = [(0, false), (1, true), (2, false), (2, true)][roll % 4];
        let user = self.index as u32 * 100 + self.stable + number;
        debug_assert!(number < RESTLESS);
        Client::new(user, is_mobile)
    }

    /// Somebody of this MsgServer, whether here or not.
    pub(crate) fn any_user(&self, roll: usize) -> u32 {
        let number = roll as u32 % (self.stable + RESTLESS);
        self.index as u32 * 100 + number
    }

    /// Everybody who is never elsewhere.
    pub(crate) fn users(&self) -> impl Iterator<Item = u32> + use<> {
        let first = self.index as u32 * 100;
        first..first + self.stable + RESTLESS
    }

    /// The node has heard of the end of one of its connections.
    pub(crate) fn ends(&mut self, now: Duration) {
        self.ended_at = now;
        self.held_until = now + SEAT_HOLD;
    }

    /// It may have missed something of this user.
    pub(crate) fn may_not_know(&mut self, now: Duration, user: u32) {
        self.notices.remove(&user);
        self.untold.insert(user, now);
    }

    /// How many connections it has when all is well.
    pub(crate) fn connections(&self) -> usize {
        self.uses.iter().filter(|uses| **uses).count()
    }

    /// By what is known of them, connections of the two may be of one.
    pub(crate) fn may_be(&self, other: &MsgServer) -> bool {
        let share = self.peers.iter().any(|peer| other.peers.contains(peer));
        share && (self.name.is_none() || other.name.is_none() || self.name == other.name)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.links.iter().flatten().next().is_some()
    }

    pub(crate) fn has_users(&self) -> bool {
        self.kind == Kind::MsgServer
    }

    /// While one of two with one name is not heard, it is not told who has moved to the other one: if
    /// those were most of its users, the two would be taken for one.
    pub(crate) fn takes_movers(&self) -> bool {
        !self.shares_name || self.stable > MOVING
    }

    pub(crate) fn shows(&self, user: u32, is_mobile: bool) -> bool {
        let login = self.clients.get(&Client::new(user, is_mobile));
        login.is_some_and(|login| !login.is_hidden)
    }

    /// Without its users it can be told whose its connections are.
    pub(crate) fn may_be_killed(&self) -> bool {
        let is_known = self.claims || self.name.is_some() || self.connections() == 1;
        is_known && !self.shares_name
    }

    /// Its list, as each new connection gets it.
    pub(crate) fn list(&self) -> Vec<ListEntry> {
        let clients = self.clients.iter();
        clients
            .map(|(client, login)| ListEntry {
                user: UserId(client.user),
                client_type: client.client_type(),
                status: match login.is_hidden {
                    true => ReportedStatus::Offline,
                    false => ReportedStatus::Online,
                },
            })
            .collect()
    }
}
