//! Who may connect to the gRPC port: as many as there are places.
//!
//! Whoever opens connections and says nothing would otherwise use up the process's file
//! descriptors, and with them the other ports.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::stream::{self, Stream};
use route_runtime::listen;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

use super::connection::Connection;
use crate::node::Node;

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

/// Takes connections; those beyond the limit are closed at once, counted and logged. Ends when the
/// listener breaks.
pub(super) fn incoming<L: Listener>(
    node: Arc<Node>,
    listener: L,
) -> impl Stream<Item = io::Result<Connection<L::Stream>>> {
    let door = Door { node, listener };
    stream::unfold(door, async |mut door| Some((door.next().await, door)))
}

#[derive(Debug)]
struct Door<L> {
    node: Arc<Node>,
    listener: L,
}

impl<L: Listener> Door<L> {
    async fn next(&mut self) -> io::Result<Connection<L::Stream>> {
        loop {
            let (stream, peer) = self.listener.accept().await?;
            match self.node.connections.take() {
                Some(place) => {
                    let node = Arc::clone(&self.node);
                    return Ok(Connection::new(stream, peer, place, node));
                }
                None => self.refuse(peer),
            }
        }
    }

    fn refuse(&self, peer: SocketAddr) {
        let node = &self.node;
        node.metrics.tallies.refused_connections.add(1);
        let why = format_args!("there are {} already", node.connections.limit());
        let kind = ("too many gRPC connections", "total");
        node.refusals.log(node.clock.now(), kind, Some(peer), &why);
    }
}
