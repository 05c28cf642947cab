//! Others who are at the site meanwhile, and behave badly, each again and again: a storm of logins,
//! readers that are slow or never read, PDUs that never end, noise, clients over gRPC that read
//! nothing.
//!
//! They have users of their own, so that what is due to the judged MsgServers stays what it is.
//! What they are refused and how often they are cut off is their business: all fail in silence and
//! come again.

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
use tokio::time::{MissedTickBehavior, interval, sleep};
use tonic::transport::Endpoint;

use crate::dice::Dice;
use crate::player::connection::{Connection, Options};
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
/// Clients over gRPC that read nothing.
const SILENT_CLIENTS: usize = 20;

/// The besiegers at work. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Siege {
    _besiegers: JoinSet<()>,
}

impl Siege {
    /// Begins it, at these gateways and this node.
    pub(super) fn begin(gateways: [SocketAddr; 2], node: SocketAddr, dice: &mut Dice) -> Self {
        let [first, second] = gateways;
        let mut besiegers = JoinSet::new();
        besiegers.spawn(again(move || storm(first)));
        besiegers.spawn(again(move || reader(second, 31, READS)));
        besiegers.spawn(again(move || flood(first, 32, user_of(31))));
        besiegers.spawn(again(move || reader(first, 33, Duration::ZERO)));
        besiegers.spawn(again(move || flood(second, 34, user_of(33))));
        for _ in 0..UNENDED_AT_ONCE {
            besiegers.spawn(again(move || unended(second)));
        }
        let mut noise = dice.fork();
        let bytes: Vec<u8> = (0..NOISE).map(|_| noise.roll(256) as u8).collect();
        besiegers.spawn(again(move || self::noise(first, bytes.clone())));
        for number in 0..SILENT_CLIENTS {
            besiegers.spawn(again(move || silent_client(node, number % 2 == 0)));
        }
        Self {
            _besiegers: besiegers,
        }
    }
}

/// Whether this tells of a besieger's user.
pub(super) fn is_of_a_besieger(raw: &[u8]) -> bool {
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

/// The user of the besieger at this address.
fn user_of(address: u8) -> u32 {
    FIRST_USER + u32::from(address)
}

/// Does it, and when it is over or fails, does it again.
async fn again<F: Future<Output = io::Result<()>>>(mut what: impl FnMut() -> F) {
    loop {
        // Being refused or cut off is what besiegers expect.
        let _ = what().await;
        sleep(BREATH).await;
    }
}

async fn connect(gateway: SocketAddr, address: u8, users: &[u32]) -> io::Result<Connection> {
    let options = Options {
        receive_buffer: Some(64 << 10),
        ..Options::from_loopback(address)
    };
    let connection = Connection::open(gateway, options, Default::default()).await?;
    connection.count_only();
    connection.write(&messages::online(users).encode()).await?;
    Ok(connection)
}

/// Users log in and out.
async fn storm(gateway: SocketAddr) -> io::Result<()> {
    let connection = connect(gateway, 30, &[]).await?;
    let mut clock = steps();
    for first in (0..).step_by(STORM as usize) {
        clock.tick().await;
        let mut data = Vec::new();
        for number in first..first + STORM {
            let user = user_of(0) + 1000 + number % STORM_USERS;
            let status = [Status::Online, Status::Offline][number as usize / 10 % 2];
            data.extend(messages::update(user, status, Client::Windows).encode());
        }
        data.extend(Pdu::bare(command::HEARTBEAT).encode());
        connection.write(&data).await?;
    }
    Ok(())
}

/// Has a user, and reads for so long between two pauses.
async fn reader(gateway: SocketAddr, address: u8, reads: Duration) -> io::Result<()> {
    let mut connection = connect(gateway, address, &[user_of(address)]).await?;
    let began = tokio::time::Instant::now();
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
async fn flood(gateway: SocketAddr, address: u8, to: u32) -> io::Result<()> {
    let connection = connect(gateway, address, &[user_of(address)]).await?;
    let message = messages::message(user_of(address), to, 1, SINGLE_TEXT, vec![0; MESSAGE]);
    let mut data = message.encode().repeat(FLOOD as usize);
    data.extend(Pdu::bare(command::HEARTBEAT).encode());
    let mut clock = steps();
    loop {
        clock.tick().await;
        connection.write(&data).await?;
    }
}

/// Begins a PDU and sends all but its last byte.
async fn unended(gateway: SocketAddr) -> io::Result<()> {
    let connection = connect(gateway, 35, &[]).await?;
    let pdu = Pdu::new(command::MESSAGE, vec![0; UNENDED]).encode();
    connection.write(&pdu[..pdu.len() - 1]).await?;
    connection.closes(STAYS).await;
    Ok(())
}

async fn noise(gateway: SocketAddr, bytes: Vec<u8>) -> io::Result<()> {
    let connection = connect(gateway, 36, &[]).await?;
    connection.write(&bytes).await?;
    connection.closes(STAYS).await;
    Ok(())
}

/// Subscribes or watches, and reads nothing.
async fn silent_client(node: SocketAddr, subscribes: bool) -> io::Result<()> {
    let endpoint = Endpoint::from_shared(format!("http://{node}")).map_err(io::Error::other)?;
    let channel = endpoint.connect().await.map_err(io::Error::other)?;
    if subscribes {
        let mut client = BroadcastServiceClient::new(channel);
        let all = SubscribeRequest::default();
        let _stream = client.subscribe(all).await.map_err(io::Error::other)?;
        sleep(STAYS).await;
    } else {
        let mut client = PresenceServiceClient::new(channel);
        let all = WatchUserStatusRequest::default();
        let _stream = client.watch_user_status(all).await;
        sleep(STAYS).await;
    }
    Ok(())
}

fn steps() -> tokio::time::Interval {
    let mut clock = interval(PACE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock
}
