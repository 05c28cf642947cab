//! Whose changes were unconfirmed when a node was lost, or were made until the next one knew all
//! links: nobody knows what MsgServers have been told of them. So the next node tells, once, how
//! these users are. It does the same of notices of an earlier node that come back undelivered.

use std::collections::{BTreeMap, BTreeSet};

use route_grpc::node::load::Load;
use route_grpc::settings::NotifyOnLoss;

use crate::handover::connection::Connection;
use crate::handover::msg_server::{USERS, user};
use crate::handover::world::World;

#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// By user: in which lives of nodes.
    unconfirmed: BTreeMap<u32, BTreeSet<u64>>,
    /// By user: notices that may have come back from a connection that is gone.
    undelivered: BTreeMap<u32, usize>,
    /// By user: how often they went with their MsgServer's last connection, and that was told.
    went: BTreeMap<u32, usize>,
    /// Whose last change stood on a connection that was cut off, not read.
    unread: BTreeSet<u32>,
    /// Of connections that are gone, until nodes know everything of them.
    gone: Vec<Gone>,
}

/// A connection that is gone. Its end is a change of all users of its MsgServer.
#[derive(Debug)]
struct Gone {
    gateway: usize,
    server: usize,
    reports: Reports,
}

impl Gone {
    fn users(&self) -> impl Iterator<Item = u32> + '_ {
        let all = (0..USERS).map(|number| user(self.server, number));
        self.reports.users().chain(all)
    }
}

/// Changes of users, as one connection has reported them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reports {
    /// The link's number at its gateway.
    pub(crate) link: u64,
    /// Entries that the gateway has numbered.
    pub(crate) numbered: u64,
    /// User, and the number of the entry; 0: it has none yet.
    changes: Vec<(u32, u64)>,
}

impl Reports {
    /// The connection begins.
    pub(crate) fn of_link(link: u64) -> Self {
        Self {
            link,
            numbered: 1,
            changes: Vec::new(),
        }
    }

    pub(crate) fn said(&mut self, user: u32) {
        self.changes.push((user, 0));
    }

    /// The gateway has read something; `user`: a change.
    pub(crate) fn read(&mut self, user: Option<u32>) {
        self.numbered += 1;
        let Some(user) = user else {
            return;
        };
        let mut unread = self.changes.iter_mut().filter(|(_, number)| *number == 0);
        if let Some((of, number)) = unread.next() {
            assert_eq!(*of, user, "what is said first is read first");
            *number = self.numbered;
        }
    }

    /// The gateway knows that it need not keep entries up to this one.
    pub(crate) fn confirmed(&mut self, up_to: u64) {
        self.changes
            .retain(|(_, number)| *number == 0 || *number > up_to);
    }

    fn users(&self) -> impl Iterator<Item = u32> + '_ {
        self.changes.iter().map(|(user, _)| *user)
    }

    fn unread(&self) -> impl Iterator<Item = u32> + '_ {
        let unread = self.changes.iter().filter(|(_, number)| *number == 0);
        unread.map(|(user, _)| *user)
    }
}

impl Doubts {
    /// How often this user may be told of again.
    pub(crate) fn of(&self, user: u32) -> usize {
        let unconfirmed = self.unconfirmed.get(&user).map_or(0, BTreeSet::len);
        unconfirmed + self.undelivered.get(&user).copied().unwrap_or_default()
    }

    /// No gateway has heard of the user's last change.
    pub(crate) fn is_unread(&self, user: u32) -> bool {
        self.unread.contains(&user)
    }

    /// The user changes again.
    pub(crate) fn changes(&mut self, user: u32) {
        self.unread.remove(&user);
    }

    /// A gateway's process is gone, and what it kept.
    pub(crate) fn forget_gateway(&mut self, number: usize) {
        self.gone.retain(|gone| gone.gateway != number);
    }
}

impl World {
    /// Confirmations have reached a gateway.
    pub(crate) fn note_confirmed(&mut self, gateway: usize, confirmed: &[(u64, u64)]) {
        let open = self.connections.values_mut();
        let open = open.filter(|connection| connection.gateway == gateway);
        let gone = self.doubts.gone.iter_mut();
        let gone = gone.filter(|gone| gone.gateway == gateway);
        let open = open.map(|connection| &mut connection.reports);
        for reports in open.chain(gone.map(|gone| &mut gone.reports)) {
            let of = reports.link;
            for (_, up_to) in confirmed.iter().filter(|(link, _)| *link == of) {
                reports.confirmed(*up_to);
            }
        }
        let gateways = &self.gateways;
        self.doubts.gone.retain(|gone| {
            let host = gateways[gone.gateway].as_ref();
            host.is_some_and(|host| host.gateway.links.get(gone.reports.link).is_some())
        });
    }

    /// While there is no node that knows all links, what is unconfirmed is in doubt.
    pub(crate) fn note_doubts(&mut self) {
        let life = match &self.node {
            None => self.lives_of_nodes + 1,
            Some(host) if Load::of(&host.node).knows_all_links => return,
            Some(_) => self.lives_of_nodes,
        };
        let open = self.connections.values();
        let open = open.flat_map(|connection| connection.reports.users());
        let gone = self.doubts.gone.iter().flat_map(Gone::users);
        let users: Vec<u32> = open.chain(gone).collect();
        for user in users {
            self.doubts
                .unconfirmed
                .entry(user)
                .or_default()
                .insert(life);
        }
    }

    /// A connection is over. If it was its MsgServer's last one, its users go with it.
    pub(crate) fn note_gone_users(&mut self, server: usize) {
        let mut open = self.connections.values();
        if self.settings.notify_on_loss == NotifyOnLoss::All && open.all(|it| it.server != server) {
            for user in &self.servers[server].online {
                *self.doubts.went.entry(*user).or_default() += 1;
            }
        }
    }

    /// A connection is over: what it was not written comes back, and may be an earlier node's then.
    pub(crate) fn note_undelivered(&mut self, connection: &Connection) {
        self.doubts.gone.push(Gone {
            gateway: connection.gateway,
            server: connection.server,
            reports: connection.reports.clone(),
        });
        self.doubts.unread.extend(connection.reports.unread());
        if !self.plan.loses_nodes() {
            return;
        }
        let notices = &self.servers[connection.server].notices;
        let changes = self.changes.iter().map(|(user, all)| (*user, all.len()));
        let went = self.doubts.went.iter().map(|(user, count)| (*user, *count));
        let mut counts: BTreeMap<u32, usize> = changes.collect();
        for (user, count) in went {
            *counts.entry(user).or_default() += count;
        }
        let moves = self.moves.iter().map(|(user, count)| (*user, *count));
        for (user, count) in counts.into_iter().chain(moves) {
            let missing = count.saturating_sub(notices.get(&user).map_or(0, Vec::len));
            *self.doubts.undelivered.entry(user).or_default() += missing;
        }
    }
}
