//! How long a connection may take to say that it speaks HTTP/2. A peer that has begun and then
//! vanishes is found by HTTP/2 keepalive.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;
use tracing::debug;

use crate::metrics::Tally;

/// Bytes with which a client begins HTTP/2.
const PREFACE_BYTES: usize = 24;

/// From the accept to the end of those.
const PREFACE_TIME: Duration = Duration::from_secs(10);

/// A connection that may still owe its preface.
#[derive(Debug)]
pub(super) struct Prefaced<S> {
    stream: S,
    preface: Option<Preface>,
}

/// What it still owes.
#[derive(Debug)]
struct Preface {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
    peer: SocketAddr,
    silent: Tally,
}

impl<S> Prefaced<S> {
    /// Its time begins. A connection that is too late counts as `silent`.
    pub(super) fn new(stream: S, peer: SocketAddr, silent: Tally) -> Self {
        Self {
            stream,
            preface: Some(Preface {
                missing: PREFACE_BYTES,
                deadline: Box::pin(sleep(PREFACE_TIME)),
                peer,
                silent,
            }),
        }
    }
}

impl Preface {
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.deadline.as_mut().poll(cx));
        self.silent.add(1);
        debug!(peer = %self.peer, "a connection did not begin to speak HTTP/2 in time");
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<S: Connected> Connected for Prefaced<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.stream.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefaced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Some(preface) = &mut self.preface else {
            return read;
        };
        let came = buffer.filled().len() - before;
        preface.missing = preface.missing.saturating_sub(came);
        if preface.missing == 0 {
            self.preface = None;
        } else if let Poll::Ready(late) = preface.poll_late(cx) {
            return Poll::Ready(Err(late));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefaced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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
