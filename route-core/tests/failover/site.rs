//! Sites: which MsgServers there are, where, and what they are called.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::dice::Dice;
use crate::gateway::GATEWAYS;
use crate::msg_server::{Kind, MsgServer};

/// With more links at one address, nothing is compared. Dead ones count until they are found.
const COMPARED: usize = 16;
/// More users than may come, go and move at once: connections that hold as many have most in common.
const MANY: u32 = 6;

/// Why addresses do not tell whose a connection is, so that its MsgServer needs a name.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Reason {
    /// Its connections come from several addresses.
    HasSeveralAddresses,
    /// There are, or may be, more connections at its address than are compared.
    IsInACrowd,
    /// It never claims, has several connections, and too few users to know that these are its.
    HasFewUsersAndNeverClaims,
    /// It shares its address, has several connections, and users who stay are not most of those whom
    /// it may have: after it was away, or when some have moved, its connections may have nothing in
    /// common with each other, or more with another one's.
    HasFewUsersAndNeighbours,
    /// One that shares its address never claims, and has so few users that most of them may have moved
    /// to this one: then its connections may be second ones of this one.
    HasNeighbourThatNeverClaims,
}

/// A random site.
pub(crate) fn build(dice: &mut Dice) -> Vec<MsgServer> {
    let count = 2 + dice.roll(5);
    let mut servers: Vec<MsgServer> = (0..count)
        .map(|index| msg_server(index as u8, dice))
        .collect();
    for kind in [Kind::Http, Kind::Companion] {
        for _ in 0..dice.roll(3) {
            let mut server = MsgServer::new(kind, servers.len());
            server.peers = vec![shared(dice.roll(2) as u8)];
            server.claims = kind == Kind::Http;
            server.uses[0] = true;
            server.uses[1] = dice.once_in(2);
            servers.push(server);
        }
    }
    for index in 0..count {
        let is_named = dice.once_in(3);
        if is_named || needs_name(&servers, index).is_some() {
            servers[index].name = Some(format!("m{index}"));
        }
    }
    if dice.once_in(4) {
        let name = Some("twice".to_owned());
        for server in &mut servers[..2] {
            server.name = name.clone();
            server.shares_name = true;
        }
    }
    servers
}

fn shared(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 4000))
}

fn msg_server(index: u8, dice: &mut Dice) -> MsgServer {
    let mut server = MsgServer::new(Kind::MsgServer, index.into());
    let own = |last: u8| SocketAddr::from(([10, 0, 1 + last, index], 4000));
    server.peers = match dice.roll(5) {
        0 | 1 => vec![own(0)],
        2 | 3 => vec![shared(dice.roll(2) as u8)],
        _ => vec![shared(0), own(0), own(1)],
    };
    for gateway in 0..1 + dice.roll(GATEWAYS) {
        server.uses[gateway] = true;
    }
    server.claims = !dice.once_in(4);
    server.stable = dice.one_of(&[0, 1, 2, 3, 6, 12, 40]);
    server.all_log_in();
    server
}

/// Why addresses do not tell which connections are those of this MsgServer, if they do not.
fn needs_name(servers: &[MsgServer], index: usize) -> Option<Reason> {
    let server = &servers[index];
    if server.peers.len() > 1 {
        return Some(Reason::HasSeveralAddresses);
    }
    let mut links: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for other in servers {
        for peer in &other.peers {
            *links.entry(peer.ip()).or_default() += 2 * other.connections();
        }
    }
    let host = server.peers[0].ip();
    if links[&host] > COMPARED {
        return Some(Reason::IsInACrowd);
    }
    let is_single = server.connections() == 1;
    if !server.claims && !is_single && server.stable < MANY {
        return Some(Reason::HasFewUsersAndNeverClaims);
    }
    let is_neighbour = |other: &MsgServer| {
        other.index != index
            && other.kind == Kind::MsgServer
            && other.peers.iter().any(|peer| peer.ip() == host)
    };
    let mut neighbours = servers.iter().filter(|it| is_neighbour(it));
    if server.stable < MANY && neighbours.clone().next().is_some() {
        return Some(Reason::HasFewUsersAndNeighbours);
    }
    let is_small = |it: &MsgServer| !it.claims && it.stable < MANY;
    neighbours
        .any(is_small)
        .then_some(Reason::HasNeighbourThatNeverClaims)
}
