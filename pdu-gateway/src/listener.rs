//! Taking connections from MsgServers.
//!
//! The port is unauthenticated, so a connection is judged before a byte of it is read: its address against the
//! allow-list, then the number of connections. Every refusal is counted under its reason.
//!
//! A gateway that no node has ever welcomed does not listen: its address is only reserved ([`Door::Shut`]), so that a
//! MsgServer is refused at once and turns to another RouteServer. While the node is away for a moment, new connections
//! wait in the kernel ([`Door::Held`]).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use route_runtime::listen::{self, BindError};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::connection;
use crate::gateway::Gateway;
use crate::links::Place;
use crate::metrics::Refused;

/// Connections that the kernel may hold for us.
const BACKLOG: u32 = 1024;

/// How often a silent peer is asked whether it is there, before it is given up.
const KEEPALIVE_PROBES: u32 = 3;

/// Before an address is tried again that could not be reserved or listened on.
const RETRY: Duration = Duration::from_secs(1);

/// Whether connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// They are refused by the kernel.
    Shut,
    /// They wait in the kernel.
    Held,
    /// They are taken.
    Open,
}

/// Addresses that may connect.
#[derive(Debug, Clone)]
pub struct AllowList(Vec<IpNet>);

impl AllowList {
    /// Exactly these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        AllowList(networks)
    }

    /// An IPv4 address may come in its IPv6 form.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address that is bound and does not listen yet.
#[derive(Debug)]
pub struct Reserved {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Reserved {
    /// Binds. Port 0 takes a free port: see [`address`](Self::address).
    pub fn new(address: SocketAddr) -> Result<Self, BindError> {
        let bind = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let address = socket.local_addr()?;
            Ok(Reserved { socket, address })
        };
        bind().map_err(|source| BindError { address, source })
    }

    /// What it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn listen(self) -> Result<TcpListener, BindError> {
        let Reserved { socket, address } = self;
        let listening = socket.listen(BACKLOG);
        listening.map_err(|source| BindError { address, source })
    }
}

/// Takes connections at one address.
#[derive(Debug)]
pub struct Listener {
    /// Whose links they become.
    pub gateway: Arc<Gateway>,
    /// Who may connect.
    pub allowed: AllowList,
    /// Whether anybody may, at the moment.
    pub doors: watch::Receiver<Door>,
    /// Where connections run.
    pub tracker: TaskTracker,
}

enum Port {
    Reserved(Reserved),
    Listening(TcpListener),
    /// It was taken by somebody else meanwhile, or the system is short of something.
    Lost,
}

impl Listener {
    /// Runs until it is dropped, or nobody holds the doors any more.
    pub async fn run(self, reserved: Reserved) {
        let mut doors = self.doors.clone();
        let address = reserved.address();
        let mut port = Port::Reserved(reserved);
        loop {
            let door = *doors.borrow_and_update();
            port = match (door, port) {
                (Door::Shut, Port::Listening(listener)) => {
                    drop(listener);
                    info!(%address, "no longer listening");
                    reserve(address).await
                }
                (Door::Shut | Door::Open | Door::Held, Port::Lost) => reserve(address).await,
                (Door::Open | Door::Held, Port::Reserved(reserved)) => match reserved.listen() {
                    Ok(listener) => {
                        info!(%address, "listening for MsgServers");
                        Port::Listening(listener)
                    }
                    Err(error) => lost(&error).await,
                },
                (Door::Open, Port::Listening(listener)) => tokio::select! {
                    biased;
                    changed = doors.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        Port::Listening(listener)
                    }
                    broken = self.take_connections(&listener) => {
                        error!(%address, error = %broken, "the listener broke");
                        Port::Lost
                    }
                },
                (Door::Shut, port @ Port::Reserved(_))
                | (Door::Held, port @ Port::Listening(_)) => {
                    if doors.changed().await.is_err() {
                        return;
                    }
                    port
                }
            };
        }
    }

    /// Returns only when the listener is broken.
    async fn take_connections(&self, listener: &TcpListener) -> io::Error {
        loop {
            match listen::accept(listener).await {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => return error,
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        match self.judge(&stream, peer) {
            Ok(place) => {
                let serve = connection::serve(Arc::clone(&self.gateway), stream, place);
                self.tracker.spawn(serve);
            }
            Err(reason) => {
                self.gateway.counters.refused(reason);
                warn!(%peer, ?reason, "connection refused");
            }
        }
    }

    fn judge(&self, stream: &TcpStream, peer: SocketAddr) -> Result<Place, Refused> {
        if !self.allowed.allows(peer.ip()) {
            return Err(Refused::Address);
        }
        let place = self.gateway.links.place(peer.ip().to_canonical())?;
        set_up(stream, self.gateway.link_settings.host_timeout).map_err(|_| Refused::Broken)?;
        Ok(place)
    }
}

async fn reserve(address: SocketAddr) -> Port {
    match Reserved::new(address) {
        Ok(reserved) => Port::Reserved(reserved),
        Err(error) => lost(&error).await,
    }
}

async fn lost(error: &BindError) -> Port {
    warn!(%error, cause = %error.source, "trying again");
    sleep(RETRY).await;
    Port::Lost
}

fn set_up(stream: &TcpStream, host_timeout: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    // A batch is written as a whole: waiting for more would only delay it.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive(host_timeout))
}

/// Asks a silent peer whether it is there, so that one that is not is given up in time. That is while nothing is on its way
/// to it; else [`host`](crate::host) notices that it has vanished.
fn keepalive(host_timeout: Duration) -> TcpKeepalive {
    // The kernel counts seconds: of 15, it asks after 5, then every 3.
    let seconds = |part| Duration::from_secs(host_timeout.as_secs() / part);
    TcpKeepalive::new()
        .with_time(seconds(3))
        .with_interval(seconds(5))
        .with_retries(KEEPALIVE_PROBES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_connect_if_a_network_contains_it() {
        let networks = ["10.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap());
        let list = AllowList::new(networks.into());

        for (address, allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("::1", true),
            ("::2", false),
        ] {
            assert_eq!(list.allows(address.parse().unwrap()), allowed, "{address}");
        }
    }

    #[tokio::test]
    async fn a_reserved_address_refuses_connections_until_it_listens() {
        let reserved = Reserved::new("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = reserved.address();

        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        let _listener = reserved.listen().unwrap();
        assert!(TcpStream::connect(address).await.is_ok());
    }
}
