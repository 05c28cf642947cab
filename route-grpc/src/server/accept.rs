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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tonic::codegen::http::StatusCode;
use tracing::debug;

use super::connection::Connection;
use super::elsewhere;
use crate::limits::Places;
use crate::node::Node;
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
}

/// To which of a node's ports somebody connects. Each has places of its own, so that nobody can keep operators out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Port {
    Public,
    Admin,
}

impl Port {
    fn places(self, node: &Node) -> &Places {
        match self {
            Self::Public => &node.connections,
            Self::Admin => &node.admin_connections,
        }
    }

    /// As many are connected as may be.
    fn full(self, limit: usize) -> Refusal {
        let what = match self {
            Self::Public => "gRPC connections (--max-grpc-connections)",
            Self::Admin => "connections to its admin port",
        };
        Refusal::ConnectionLimit { limit, what }
    }
}

/// Takes connections; those beyond the limit are told so and closed, counted and logged. Ends when
/// the listener breaks.
pub(super) fn incoming<L: Listener>(
    node: Arc<Node>,
    listener: L,
    port: Port,
) -> impl Stream<Item = io::Result<Connection<L::Stream>>> {
    let door = Door {
        node,
        port,
        listener,
        turned_away: Places::new(TURNED_AWAY),
        farewells: Places::new(FAREWELLS),
    };
    stream::unfold(door, async |mut door| Some((door.next().await, door)))
}

#[derive(Debug)]
struct Door<L> {
    node: Arc<Node>,
    port: Port,
    listener: L,
    /// Connections whose calls are answered with the reason why they are closed.
    turned_away: Places,
    /// Connections that are being told it.
    farewells: Places,
}

impl<L: Listener> Door<L> {
    async fn next(&mut self) -> io::Result<Connection<L::Stream>> {
        loop {
            let (stream, peer) = self.listener.accept().await?;
            match self.port.places(&self.node).take() {
                Some(place) => {
                    let node = Arc::clone(&self.node);
                    let process = L::process(&stream);
                    return Ok(Connection::new(stream, peer, place, node).of_process(process));
                }
                None => self.refuse(stream, peer),
            }
        }
    }

    fn refuse(&self, stream: L::Stream, peer: SocketAddr) {
        let node = &self.node;
        let limit = self.port.places(node).limit();
        let refusal = self.port.full(limit);
        if let Some(place) = self.turned_away.take() {
            let connection = Connection::new(stream, peer, place, Arc::clone(node));
            let answer = elsewhere::answer(refusal, StatusCode::SERVICE_UNAVAILABLE);
            tokio::spawn(async move {
                // Whoever does not listen is not told.
                let _ = turn_away(connection, &answer).await;
            });
        } else if let Some(place) = self.farewells.take() {
            let told = farewell(ENHANCE_YOUR_CALM, &refusal.to_string());
            tokio::spawn(async move {
                let _place = place;
                let _ = timeout(FAREWELL_TIME, tell(stream, &told)).await;
            });
        }
        node.metrics.tallies.refused_connections.add(1);
        let why = format_args!("there are {limit} already");
        let kind = ("too many gRPC connections", "total");
        node.refusals.log(node.clock.now(), kind, Some(peer), &why);
    }
}
