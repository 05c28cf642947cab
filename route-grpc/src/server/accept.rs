//! Who may connect to the gRPC port: as many as there are places. Others are told so, in answer to each call, and closed.
//!
//! Whoever opens connections and says nothing would otherwise use up the process's file
//! descriptors, and with them the other ports.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use route_runtime::http2::{ENHANCE_YOUR_CALM, farewell, tell, turn_away};
use route_runtime::listen;
use route_runtime::listen::local::LocalProcess;
use route_runtime::tls::server::ServerTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::codegen::http::StatusCode;
use tracing::debug;

use super::connection::{Client, Connection};
use super::elsewhere;
use super::handshake::{Failed, shake};
use super::transport::Transport;
use crate::access::{Access, Exposure, Peer};
use crate::limits::{Place, Places};
use crate::process::Process;
use crate::refusal::Refusal;

/// Connections beyond the limit, at a time, on which calls are answered with the reason: each for 3 s at most. More are told
/// it as HTTP/2 has it, which not every client shows.
const TURNED_AWAY: usize = 32;

/// Connections that are told so, at a time; beyond that they are closed at once.
const FAREWELLS: usize = 32;
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// Where connections come from: the kernel, or a simulated network.
pub trait Listener: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection. An error means that the listener is unusable.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Which process has made this connection, where that can be said.
    fn process(_: &Self::Stream) -> Option<LocalProcess> {
        None
    }

    /// Who can reach it, but for processes that are known.
    fn exposure(&self) -> Exposure;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let (stream, peer) = listen::accept(self).await?;
            // A batch is written as a whole: waiting for more would only delay it.
            match stream.set_nodelay(true) {
                Ok(()) => return Ok((stream, peer)),
                Err(error) => debug!(%peer, %error, "a connection broke before it was served"),
            }
        }
    }

    fn exposure(&self) -> Exposure {
        match self.local_addr() {
            Ok(address) if address.ip().is_loopback() => Exposure::Host,
            Ok(_) | Err(_) => Exposure::Network,
        }
    }
}

/// To which of a node's ports somebody connects. Each has places of its own, so that nobody can keep gateways or operators
/// out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Port {
    Public,
    Attach,
    Admin,
    /// Without TLS, and of no use but to probes.
    Health,
}

impl Port {
    fn places(self, process: &Process) -> &Places {
        match self {
            Self::Public => &process.connections,
            Self::Attach => &process.attach_connections,
            Self::Admin => &process.admin_connections,
            Self::Health => &process.health_connections,
        }
    }

    /// As many are connected as may be.
    fn full(self, limit: usize) -> Refusal {
        let what = match self {
            Self::Public => "gRPC connections (--max-grpc-connections)",
            Self::Attach => "connections to its port for gateways",
            Self::Admin => "connections to its admin port",
            Self::Health => "connections to its health port",
        };
        Refusal::ConnectionLimit { limit, what }
    }
}

/// Takes connections; those beyond the limit are told so and closed, counted and logged. Where there is TLS, those come out of
/// it that have made their hand-shake. Ends when the listener breaks.
pub(super) fn incoming<L: Listener>(
    process: Arc<Process>,
    listener: L,
    port: Port,
    access: Arc<Access>,
) -> impl Stream<Item = io::Result<Connection<L::Stream>>> {
    let door = Door {
        process,
        port,
        access,
        exposure: listener.exposure(),
        listener,
        shaking: JoinSet::new(),
        turned_away: Places::new(TURNED_AWAY),
        farewells: Places::new(FAREWELLS),
    };
    stream::unfold(door, async |mut door| Some((door.next().await, door)))
}

#[derive(Debug)]
struct Door<L: Listener> {
    process: Arc<Process>,
    port: Port,
    access: Arc<Access>,
    exposure: Exposure,
    listener: L,
    /// Hand-shakes that go on; each has its place.
    shaking: JoinSet<Option<Connection<L::Stream>>>,
    /// Connections whose calls are answered with the reason why they are closed.
    turned_away: Places,
    /// Connections that are being told it.
    farewells: Places,
}

impl<L: Listener> Door<L> {
    async fn next(&mut self) -> io::Result<Connection<L::Stream>> {
        loop {
            let accepted = tokio::select! {
                Some(shaken) = self.shaking.join_next() => match shaken {
                    Ok(Some(connection)) => return Ok(connection),
                    Ok(None) => continue,
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => continue,
                },
                accepted = self.listener.accept() => accepted,
            };
            let (stream, address) = accepted?;
            let client = self.client(&stream, address);
            let Some(place) = self.port.places(&self.process).take() else {
                self.refuse(stream, client, address);
                continue;
            };
            // In this order: what is replaced in between is looked at again.
            let change = self.access.change();
            let Some(tls) = self.tls(&client.peer) else {
                let process = Arc::clone(&self.process);
                return Ok(Connection::new(
                    Transport::Plain(stream),
                    client,
                    place,
                    process,
                ));
            };
            self.shake(stream, client, place, (tls, change));
        }
    }

    /// With what this peer makes a hand-shake; none: it makes none.
    fn tls(&self, peer: &Peer) -> Option<Arc<ServerTls>> {
        match (self.port, peer.exposure) {
            // Nobody else reads what a process sends by a socket.
            (Port::Health, _) | (_, Exposure::Process) => None,
            (Port::Public | Port::Attach | Port::Admin, Exposure::Host | Exposure::Network) => {
                self.access.tls()
            }
        }
    }

    fn client(&self, stream: &L::Stream, address: SocketAddr) -> Client {
        let process = L::process(stream);
        let peer = Peer {
            address: process.is_none().then_some(address),
            exposure: process.map_or(self.exposure, |_| Exposure::Process),
            ..Peer::default()
        };
        let client = Client::new(address, process, peer);
        match self.port {
            // A probe asks, and goes.
            Port::Health => client.of_strangers(),
            Port::Public | Port::Attach | Port::Admin if self.access.has_policy() => {
                client.of_strangers()
            }
            Port::Public | Port::Attach | Port::Admin => client,
        }
    }

    fn shake(
        &mut self,
        stream: L::Stream,
        mut client: Client,
        place: Place,
        (tls, change): (Arc<ServerTls>, u64),
    ) {
        let (process, access) = (Arc::clone(&self.process), Arc::clone(&self.access));
        self.shaking.spawn(async move {
            match shake(stream, &tls, change).await {
                Ok((stream, shown)) => {
                    client.peer.is_encrypted = true;
                    client.peer.shown = shown;
                    Some(Connection::new(
                        Transport::Tls(stream),
                        client,
                        place,
                        process,
                    ))
                }
                Err(Failed { why, problem }) => {
                    access.handshake_failed(why);
                    let kind = ("no TLS hand-shake", why.as_str());
                    let now = process.clock.now();
                    process.refusals.log(now, kind, client.share.peer, &problem);
                    None
                }
            }
        });
    }

    fn refuse(&self, stream: L::Stream, client: Client, peer: SocketAddr) {
        let process = &self.process;
        let limit = self.port.places(process).limit();
        let refusal = self.port.full(limit);
        let tls = self.tls(&client.peer);
        if let Some(place) = self.turned_away.take() {
            let answer = elsewhere::answer(refusal, StatusCode::SERVICE_UNAVAILABLE);
            let process = Arc::clone(process);
            tokio::spawn(async move {
                let stream = match tls {
                    None => Transport::Plain(stream),
                    // What it shows does not matter: it is told the same in any case.
                    Some(tls) => match shake(stream, &tls, 0).await {
                        Ok((stream, _)) => Transport::Tls(stream),
                        Err(_) => return,
                    },
                };
                let connection = Connection::new(stream, client, place, process);
                // Whoever does not listen is not told.
                let _ = turn_away(connection, &answer).await;
            });
        } else if let Some(place) = self.farewells.take().filter(|_| tls.is_none()) {
            let told = farewell(ENHANCE_YOUR_CALM, &refusal.to_string());
            tokio::spawn(async move {
                let _place = place;
                let _ = timeout(FAREWELL_TIME, tell(stream, &told)).await;
            });
        }
        process.metrics.tallies.refused_connections.add(1);
        let why = format_args!("there are {limit} already");
        let kind = ("too many gRPC connections", "total");
        process
            .refusals
            .log(process.clock.now(), kind, Some(peer), &why);
    }
}
