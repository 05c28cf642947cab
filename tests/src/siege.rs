//! Peers that behave badly, again and again: a storm of logins, readers that are slow or never read,
//! PDUs that never end, noise, clients over gRPC that read nothing, a crowd at one address.
//!
//! They have users of their own, so that what is due to others stays what it is. What they are
//! refused and how often they are cut off is their business: all fail in silence and come again.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use prost::Message as _;
use route_proto::legacy::im::buddy::ImUserStatNotify;
use route_proto::legacy::im::server::ImServerPcLoginStatusNotify;
use route_proto::v1::SubscribeRequest;
use route_proto::v1::WatchUserStatusRequest;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use tonic::transport::{Channel, Endpoint};

use crate::player::connection::{BARRIER_LIMIT, Connection, Options};
use crate::player::messages::{self, Client, SINGLE_TEXT, Status};
use crate::player::pdu::{HEADER, Pdu, command, command_of};

/// Number of their first user; nobody else has users from here on.
const FIRST_USER: u32 = 3_000_000_000;
/// Users who come and go in the storm.
const STORM_USERS: u32 = 100_000;
/// Of each of them, between two writes.
const PACE: Duration = Duration::from_millis(10);
/// Logins and logouts in one write: 500 a second.
const STORM: u32 = 5;
/// So many log in one after the other, then the same log out.
const STORM_TURN: u32 = 10;
/// Bytes of a message to a slow reader, and messages in one write: 8 MB/s.
const MESSAGE: usize = 16_000;
const FLOOD: u32 = 5;
/// How long a slow reader reads, and then does not.
const READS: Duration = Duration::from_secs(1);
const PAUSES: Duration = Duration::from_secs(4);
/// How long one stays that never reads or never ends a PDU, unless it is cut off.
const STAYS: Duration = Duration::from_secs(60);
/// Bytes of a PDU that never ends, and how many there are at a time.
const UNENDED: usize = 4 << 20;
const UNENDED_AT_ONCE: usize = 10;
/// Before one who failed comes again.
const BREATH: Duration = Duration::from_millis(500);
/// Bytes of noise.
const NOISE: usize = 4096;
/// Connections of a crowd, and the users that each of them lists.
const CROWD: usize = 100;
const CROWD_USERS: u32 = 1000;
/// Clients over gRPC that read nothing.
const SILENT_CLIENTS: usize = 20;
/// What HTTP/2 reads ahead of a stream that is not read: less than a client's own default of 2 MiB,
/// with which it would read for minutes.
const UNREAD: u32 = 64 << 10;
/// The same of a connection. Half of it is what small frames that nobody reads may cost before the
/// client's HTTP/2 ends the connection, which is not what these clients are here for.
const UNREAD_IN_ALL: u32 = 32 << 20;

/// What a besieger does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// 500 logins and logouts a second, of 100 000 users.
    Storm,
    /// A MsgServer that reads a second in five, and one that sends it 8 MB/s.
    SlowReader,
    /// A MsgServer that never reads, and one that sends it 8 MB/s.
    NeverReads,
    /// Ten connections with a PDU of 4 MiB each, but for its last byte.
    UnendedPdus,
    /// Bytes that are no PDU.
    Noise,
    /// Twenty services that subscribe or watch and do not read.
    SilentClients,
    /// 100 connections that list the same 1 000 users, and go.
    Crowd,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Storm,
        Self::SlowReader,
        Self::NeverReads,
        Self::UnendedPdus,
        Self::Noise,
        Self::SilentClients,
        Self::Crowd,
    ];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Storm => "storm of logins",
            Self::SlowReader => "slow reader",
            Self::NeverReads => "reader that never reads",
            Self::UnendedPdus => "PDUs that never end",
            Self::Noise => "noise",
            Self::SilentClients => "silent gRPC clients",
            Self::Crowd => "crowd with the same users",
        }
    }
}

/// What is besieged, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Gateways' ports for PDUs; the same twice if there is one.
    pub pdu: [SocketAddr; 2],
    /// The node.
    pub grpc: SocketAddr,
    /// The last number of the loopback address that all MsgServers come from; one each unless given.
    pub address: Option<u8>,
}

/// The besiegers at work. Dropping it ends them.
#[derive(Debug)]
pub struct Siege {
    _besiegers: JoinSet<()>,
}

impl Siege {
    /// Begins it.
    pub fn begin(attacks: &[Attack], target: Target) -> Self {
        let mut besiegers = JoinSet::new();
        for attack in attacks {
            attack.begin(target, &mut besiegers);
        }
        Self {
            _besiegers: besiegers,
        }
    }
}

impl Attack {
    /// Begins it; it goes on until these are dropped.
    pub fn begin(self, target: Target, all: &mut JoinSet<()>) {
        let [first, second] = target.pdu;
        let from = move |number| From {
            address: target.address.unwrap_or(number),
            number,
        };
        match self {
            Self::Storm => {
                all.spawn(again(move || storm(first, from(30))));
            }
            Self::SlowReader => {
                all.spawn(again(move || reader(second, from(31), READS)));
                all.spawn(again(move || flood(first, from(32), user_of(31))));
            }
            Self::NeverReads => {
                all.spawn(again(move || reader(first, from(33), Duration::ZERO)));
                all.spawn(again(move || flood(second, from(34), user_of(33))));
            }
            Self::UnendedPdus => {
                for _ in 0..UNENDED_AT_ONCE {
                    all.spawn(again(move || unended(second, from(35))));
                }
            }
            Self::Noise => {
                all.spawn(again(move || noise(first, from(36))));
            }
            Self::SilentClients => {
                for number in 0..SILENT_CLIENTS {
                    all.spawn(again(move || silent_client(target.grpc, number % 2 == 0)));
                }
            }
            Self::Crowd => {
                all.spawn(again(move || crowd(first, from(37))));
            }
        }
    }
}

/// Where a besieger comes from, and which one it is.
#[derive(Clone, Copy, Debug)]
struct From {
    address: u8,
    number: u8,
}

/// Whether this tells of a besieger's user.
pub fn is_of_a_besieger(raw: &[u8]) -> bool {
    let body = &raw[HEADER..];
    let user = match command_of(raw) {
        command::STATUS_NOTICE => {
            ImUserStatNotify::decode(body).map_or(0, |told| told.user_stat.user_id)
        }
        command::DESKTOP_LOGIN_NOTICE => {
            ImServerPcLoginStatusNotify::decode(body).map_or(0, |told| told.user_id)
        }
        _ => 0,
    };
    user >= FIRST_USER
}

/// The user of the besieger with this number.
fn user_of(number: u8) -> u32 {
    FIRST_USER + u32::from(number)
}

/// Does it, and when it is over or fails, does it again.
async fn again<F: Future<Output = io::Result<()>>>(mut what: impl FnMut() -> F) {
    loop {
        // Being refused or cut off is what besiegers expect.
        let _ = what().await;
        sleep(BREATH).await;
    }
}

async fn connect(gateway: SocketAddr, from: From, users: &[u32]) -> io::Result<Connection> {
    let options = Options {
        receive_buffer: Some(64 << 10),
        ..Options::from_loopback(from.address)
    };
    let connection = Connection::open(gateway, options, Default::default()).await?;
    connection.count_only();
    connection.write(&messages::online(users).encode()).await?;
    Ok(connection)
}

/// Users log in and out.
async fn storm(gateway: SocketAddr, from: From) -> io::Result<()> {
    let connection = connect(gateway, from, &[]).await?;
    let mut clock = steps();
    for first in (0..).step_by(STORM as usize) {
        clock.tick().await;
        let mut data = Vec::new();
        for (user, status) in (first..first + STORM).map(change) {
            data.extend(messages::update(user, status, Client::Windows).encode());
        }
        data.extend(Pdu::bare(command::HEARTBEAT).encode());
        connection.write(&data).await?;
    }
    Ok(())
}

/// Who comes or goes in the storm with this number: [`STORM_TURN`] users log in, then they log out,
/// then the next ones log in.
fn change(number: u32) -> (u32, Status) {
    let (turn, place) = (number / STORM_TURN, number % STORM_TURN);
    let user = (turn / 2 * STORM_TURN + place) % STORM_USERS;
    let status = [Status::Online, Status::Offline][turn as usize % 2];
    (user_of(0) + 1000 + user, status)
}

/// Has a user, and reads for so long between two pauses.
async fn reader(gateway: SocketAddr, from: From, reads: Duration) -> io::Result<()> {
    let mut connection = connect(gateway, from, &[user_of(from.number)]).await?;
    let began = Instant::now();
    while !connection.is_closed() && (!reads.is_zero() || began.elapsed() < STAYS) {
        connection.pause().await;
        sleep(PAUSES).await;
        if !reads.is_zero() {
            connection.resume();
            sleep(reads).await;
        }
        connection
            .write(&Pdu::bare(command::HEARTBEAT).encode())
            .await?;
    }
    Ok(())
}

/// Sends to the user of a reader what its gateway takes.
async fn flood(gateway: SocketAddr, from: From, to: u32) -> io::Result<()> {
    let connection = connect(gateway, from, &[user_of(from.number)]).await?;
    let message = messages::message(user_of(from.number), to, 1, SINGLE_TEXT, vec![0; MESSAGE]);
    let mut data = message.encode().repeat(FLOOD as usize);
    data.extend(Pdu::bare(command::HEARTBEAT).encode());
    let mut clock = steps();
    loop {
        clock.tick().await;
        connection.write(&data).await?;
    }
}

/// Begins a PDU and sends all but its last byte.
async fn unended(gateway: SocketAddr, from: From) -> io::Result<()> {
    let connection = connect(gateway, from, &[]).await?;
    let pdu = Pdu::new(command::MESSAGE, vec![0; UNENDED]).encode();
    connection.write(&pdu[..pdu.len() - 1]).await?;
    connection.closes(STAYS).await;
    Ok(())
}

async fn noise(gateway: SocketAddr, from: From) -> io::Result<()> {
    let connection = connect(gateway, from, &[]).await?;
    let bytes: Vec<u8> = (0..NOISE).map(|_| fastrand::u8(..)).collect();
    connection.write(&bytes).await?;
    connection.closes(STAYS).await;
    Ok(())
}

/// Many connections list the same users, and go.
async fn crowd(gateway: SocketAddr, from: From) -> io::Result<()> {
    let users: Vec<u32> = (0..CROWD_USERS).map(|n| user_of(0) + 500_000 + n).collect();
    let mut all = Vec::new();
    for _ in 0..CROWD {
        all.push(connect(gateway, from, &users).await?);
    }
    for one in &all {
        one.barrier(BARRIER_LIMIT).await;
    }
    Ok(())
}

/// Subscribes or watches, and reads nothing.
async fn silent_client(node: SocketAddr, subscribes: bool) -> io::Result<()> {
    let channel = unread_channel(node).await?;
    // A stream that nobody reads stays open as long as it is there.
    if subscribes {
        let all = SubscribeRequest::default();
        let mut client = BroadcastServiceClient::new(channel);
        let _unread = client.subscribe(all).await.map_err(io::Error::other)?;
        sleep(STAYS).await;
    } else {
        let all = WatchUserStatusRequest {
            all_users: true,
            ..WatchUserStatusRequest::default()
        };
        let mut client = PresenceServiceClient::new(channel);
        let _unread = client
            .watch_user_status(all)
            .await
            .map_err(io::Error::other)?;
        sleep(STAYS).await;
    }
    Ok(())
}

/// A connection to the node of a service that does not read, for which HTTP/2 does not read either.
///
/// # Errors
/// What the transport says.
pub async fn unread_channel(node: SocketAddr) -> io::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{node}")).map_err(io::Error::other)?;
    unread(endpoint).connect().await.map_err(io::Error::other)
}

/// An endpoint of such connections.
pub fn unread(endpoint: Endpoint) -> Endpoint {
    endpoint
        .initial_stream_window_size(UNREAD)
        .initial_connection_window_size(UNREAD_IN_ALL)
}

fn steps() -> Interval {
    let mut clock = interval(PACE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_the_storm_logs_in_it_logs_out() {
        let mut online = std::collections::BTreeSet::new();
        for (user, status) in (0..4 * STORM_USERS).map(change) {
            let is_change = match status {
                Status::Online => online.insert(user),
                Status::Offline | Status::Leave => online.remove(&user),
            };
            assert!(is_change, "{user} is {status:?} before");
            assert!(online.len() <= STORM_TURN as usize);
        }
        assert!(online.is_empty());
    }
}
