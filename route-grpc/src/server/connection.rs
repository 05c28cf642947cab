//! One accepted connection, next to the socket: it has so long to say that it speaks HTTP/2, and
//! notes whether its peer has closed it. A peer that has begun and then vanishes is found by HTTP/2
//! keepalive.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;
use tracing::debug;

use crate::attach::Hangup;
use crate::limits::Place;
use crate::metrics::Tally;

/// Bytes with which a client begins HTTP/2.
const PREFACE_BYTES: usize = 24;

/// From the accept to the end of those.
const PREFACE_TIME: Duration = Duration::from_secs(10);

/// Its place is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    hangup: Hangup,
    preface: Option<Preface>,
    _place: Place,
}

/// What a connection still owes.
#[derive(Debug)]
struct Preface {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
    peer: SocketAddr,
    silent: Tally,
}

impl<S> Connection<S> {
    /// One that was accepted: its time begins. If it is too late, it counts as `silent`.
    pub(super) fn new(stream: S, peer: SocketAddr, place: Place, silent: Tally) -> Self {
        Self {
            stream,
            hangup: Hangup::of(peer),
            preface: Some(Preface {
                missing: PREFACE_BYTES,
                deadline: Box::pin(sleep(PREFACE_TIME)),
                peer,
                silent,
            }),
            _place: place,
        }
    }

    fn note_hangup<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &done {
            self.hangup.note_error(error);
        }
        done
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

impl<S> Connected for Connection<S> {
    type ConnectInfo = Hangup;

    fn connect_info(&self) -> Hangup {
        self.hangup.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let came = room - buffer.remaining();
        if room > 0 && came == 0 && matches!(read, Poll::Ready(Ok(()))) {
            self.hangup.note();
        }
        if let Some(preface) = &mut self.preface {
            preface.missing = preface.missing.saturating_sub(came);
            if preface.missing == 0 {
                self.preface = None;
            } else if let Poll::Ready(late) = preface.poll_late(cx) {
                return Poll::Ready(Err(late));
            }
        }
        self.note_hangup(read)
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
