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
use route_runtime::seldom::Seldom;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tracing::{debug, warn};

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
    let door = Door {
        node,
        listener,
        began: Instant::now(),
        crowded: Seldom::default(),
    };
    stream::unfold(door, async |mut door| Some((door.next().await, door)))
}

#[derive(Debug)]
struct Door<L> {
    node: Arc<Node>,
    listener: L,
    began: Instant,
    crowded: Seldom,
}

impl<L: Listener> Door<L> {
    async fn next(&mut self) -> io::Result<Connection<L::Stream>> {
        loop {
            let (stream, peer) = self.listener.accept().await?;
            let silent = &self.node.metrics.tallies.silent_connections;
            match self.node.connections.take() {
                Some(place) => return Ok(Connection::new(stream, peer, place, silent.clone())),
                None => self.refuse(peer),
            }
        }
    }

    fn refuse(&mut self, peer: SocketAddr) {
        self.node.metrics.tallies.refused_connections.add(1);
        if let Some(left_out) = self.crowded.happened(self.began.elapsed()) {
            let limit = self.node.connections.limit();
            warn!(%peer, limit, left_out, "too many gRPC connections");
        }
    }
}
