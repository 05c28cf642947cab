//! What has really happened to users and to the connections of their MsgServers, against which the
//! reasons are held that subscribers are told, and the notices that MsgServers get.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::handover::world::World;

/// In order of time.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// By user.
    logins: BTreeMap<u32, Vec<Duration>>,
    logouts: BTreeMap<u32, Vec<Duration>>,
    /// By MsgServer: its connections that began, that ended, and that were lost with their gateway.
    opened: BTreeMap<usize, Vec<Duration>>,
    ended: BTreeMap<usize, Vec<Duration>>,
    lost: BTreeMap<usize, Vec<Duration>>,
    /// Connections that the present node knew, and whose users it must have told of, if it was not
    /// lost itself.
    certain: Vec<Certain>,
}

/// A MsgServer's only connection is gone, and with it its users.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Certain {
    pub(crate) server: usize,
    /// Which life of the node.
    pub(crate) life: u64,
    /// With its gateway.
    pub(crate) lost: bool,
}

impl Facts {
    pub(crate) fn reported(&mut self, user: u32, on: bool, at: Duration) {
        let of = if on {
            &mut self.logins
        } else {
            &mut self.logouts
        };
        of.entry(user).or_default().push(at);
    }

    pub(crate) fn opened(&mut self, server: usize, at: Duration) {
        self.opened.entry(server).or_default().push(at);
    }

    pub(crate) fn logins(&self, user: u32, until: Duration) -> usize {
        count(self.logins.get(&user), until)
    }

    pub(crate) fn logouts(&self, user: u32, until: Duration) -> usize {
        count(self.logouts.get(&user), until)
    }

    pub(crate) fn openings(&self, server: usize, until: Duration) -> usize {
        count(self.opened.get(&server), until)
    }

    pub(crate) fn endings(&self, server: usize, until: Duration) -> usize {
        count(self.ended.get(&server), until)
    }

    pub(crate) fn losses(&self, server: usize, until: Duration) -> usize {
        count(self.lost.get(&server), until)
    }

    pub(crate) fn certain_in_all(&self) -> u64 {
        self.certain.len() as u64
    }

    /// What a node must have told of.
    pub(crate) fn certain(&self, server: usize, life: u64, lost: bool) -> usize {
        let all = self.certain.iter();
        let of = all.filter(|c| (c.server, c.life, c.lost) == (server, life, lost));
        of.count()
    }
}

fn count(times: Option<&Vec<Duration>>, until: Duration) -> usize {
    times.map_or(0, |times| times.partition_point(|at| *at <= until))
}

impl World {
    /// A gateway has noticed that a connection is over.
    pub(crate) fn note_ended_link(&mut self, number: usize) {
        let now = self.now();
        let Some(connection) = self.connections.get(&number) else {
            return;
        };
        let (server, known) = (connection.server, connection.known);
        self.facts.ended.entry(server).or_default().push(now);
        self.note_certain(server, known, false);
    }

    /// A gateway is gone, or away for longer than the node waits if `certainly` so.
    pub(crate) fn note_lost_links(&mut self, gateway: usize, certainly: bool) {
        let now = self.now();
        let lost: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.gateway == gateway)
            .map(|(number, connection)| (*number, connection.server, connection.known))
            .collect();
        for (number, server, known) in lost {
            self.lost_connections.insert(number);
            self.facts.lost.entry(server).or_default().push(now);
            self.note_certain(server, known && certainly, true);
        }
    }

    fn note_certain(&mut self, server: usize, known: bool, lost: bool) {
        let life = self.lives_of_nodes;
        if known && self.is_alone(server) && self.settled_in == life {
            self.facts.certain.push(Certain { server, life, lost });
        }
    }

    /// It has one connection, and an address of its own.
    pub(crate) fn is_alone(&self, server: usize) -> bool {
        let it = &self.servers[server];
        let ip = it.peer.ip();
        let there = self.servers.iter().filter(|other| other.peer.ip() == ip);
        it.is_single() && there.count() == 1
    }
}
