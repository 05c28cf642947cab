//! Connections to the gRPC port: how many there may be, and how long one may take to say that it speaks HTTP/2.
//!
//! Whoever opens connections and says nothing would otherwise use up the process's file descriptors, and with them the
//! other ports. A peer that has begun and then vanishes is found by HTTP/2 keepalive.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use route_runtime::listen;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::attach::Hangup;
use crate::node::Node;

/// Bytes with which a client begins HTTP/2.
const PREFACE_BYTES: usize = 24;

/// From the accept to the end of those.
const PREFACE_TIME: Duration = Duration::from_secs(10);

/// Refusals are counted one by one, and logged together.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

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

/// The places for connections.
#[derive(Debug)]
pub(crate) struct Connections {
    free: Arc<Semaphore>,
    limit: usize,
}

impl Connections {
    /// All are free.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// How many are taken.
    pub(crate) fn in_use(&self) -> usize {
        self.limit.saturating_sub(self.free.available_permits())
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}

/// Takes connections; those beyond the limit are closed at once, counted and logged. Ends when the listener breaks.
pub(crate) fn incoming<L: Listener>(
    listener: L,
    node: Arc<Node>,
) -> impl Stream<Item = io::Result<Connection<L::Stream>>> {
    let refusals = Refusals::default();
    stream::unfold(
        (listener, node, refusals),
        async |(listener, node, mut refusals)| {
            loop {
                let (stream, peer) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => return Some((Err(error), (listener, node, refusals))),
                };
                let Some(place) = node.connections.take() else {
                    node.metrics.refused_connections.add(1);
                    refusals.log(peer, node.connections.limit);
                    continue;
                };
                let connection = Connection {
                    stream,
                    preface: Some(Preface {
                        missing: PREFACE_BYTES,
                        deadline: Box::pin(sleep(PREFACE_TIME)),
                        peer,
                        node: Arc::clone(&node),
                    }),
                    hangup: Hangup::default(),
                    _place: place,
                };
                return Some((Ok(connection), (listener, node, refusals)));
            }
        },
    )
}

/// Refusals that are not logged yet.
#[derive(Debug, Default)]
struct Refusals {
    count: u64,
    logged: Option<Instant>,
}

impl Refusals {
    fn log(&mut self, peer: SocketAddr, limit: usize) {
        self.count += 1;
        let now = Instant::now();
        if self
            .logged
            .is_none_or(|logged| now - logged >= LOG_INTERVAL)
        {
            warn!(%peer, limit, refused = self.count, "too many gRPC connections");
            (self.count, self.logged) = (0, Some(now));
        }
    }
}

/// One connection; its place is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    preface: Option<Preface>,
    hangup: Hangup,
    _place: OwnedSemaphorePermit,
}

/// What a connection still owes before it is known to speak HTTP/2.
#[derive(Debug)]
struct Preface {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
    peer: SocketAddr,
    node: Arc<Node>,
}

impl Preface {
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.deadline.as_mut().poll(cx));
        self.node.metrics.silent_connections.add(1);
        debug!(peer = %self.peer, "a connection did not begin to speak HTTP/2 in time");
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<S> Connection<S> {
    fn note_hangup<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &written {
            self.hangup.note_error(error);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let room = buffer.remaining();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match &read {
            Poll::Ready(Ok(())) if room > 0 && buffer.filled().len() == before => {
                self.hangup.note();
            }
            Poll::Ready(Err(error)) => self.hangup.note_error(error),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let Some(preface) = &mut self.preface else {
            return read;
        };
        preface.missing = preface
            .missing
            .saturating_sub(buffer.filled().len() - before);
        if preface.missing == 0 {
            self.preface = None;
        } else if let Poll::Ready(late) = preface.poll_late(cx) {
            return Poll::Ready(Err(late));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.note_hangup(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_hangup(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> Connected for Connection<S> {
    type ConnectInfo = Hangup;

    fn connect_info(&self) -> Hangup {
        self.hangup.clone()
    }
}
