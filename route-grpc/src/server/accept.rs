//! Who may connect to the gRPC port: as many as there are places. Others are told so.
//!
//! Whoever opens connections and says nothing would otherwise use up the process's file
//! descriptors, and with them the other ports.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use route_runtime::http2::{ENHANCE_YOUR_CALM, farewell, tell};
use route_runtime::listen;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tracing::debug;

use super::connection::Connection;
use crate::limits::Places;
use crate::node::Node;

/// Connections that are told at a time why they are closed; beyond that they are closed at once.
const FAREWELLS: usize = 64;
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// Where connections come from: the kernel, or a simulated network.
pub trait Listener: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection. An error means that the listener is unusable.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
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
        farewells: Places::new(FAREWELLS),
    };
    stream::unfold(door, async |mut door| Some((door.next().await, door)))
}

#[derive(Debug)]
struct Door<L> {
    node: Arc<Node>,
    port: Port,
    listener: L,
    /// Connections that are being told why they are closed.
    farewells: Places,
}

impl<L: Listener> Door<L> {
    async fn next(&mut self) -> io::Result<Connection<L::Stream>> {
        loop {
            let (stream, peer) = self.listener.accept().await?;
            match self.port.places(&self.node).take() {
                Some(place) => {
                    let node = Arc::clone(&self.node);
                    return Ok(Connection::new(stream, peer, place, node));
                }
                None => self.refuse(stream, peer),
            }
        }
    }

    fn refuse(&self, stream: L::Stream, peer: SocketAddr) {
        let node = &self.node;
        let limit = self.port.places(node).limit();
        if let Some(place) = self.farewells.take() {
            let told = too_many(limit, self.port);
            tokio::spawn(async move {
                let _place = place;
                // Whoever does not listen is not told.
                let _ = timeout(FAREWELL_TIME, tell(stream, &told)).await;
            });
        }
        node.metrics.tallies.refused_connections.add(1);
        let why = format_args!("there are {limit} already");
        let kind = ("too many gRPC connections", "total");
        node.refusals.log(node.clock.now(), kind, Some(peer), &why);
    }
}

fn too_many(connections: usize, port: Port) -> Vec<u8> {
    let of = match port {
        Port::Public => "gRPC connections already (--max-grpc-connections)",
        Port::Admin => "connections to its admin port already",
    };
    let text = format!("this node has {connections} {of}; come back later");
    farewell(ENHANCE_YOUR_CALM, &text)
}
