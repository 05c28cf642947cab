//! One accepted connection, next to the socket: it has so long to say that it speaks HTTP/2, notes
//! whether its peer has closed it, and counts what HTTP/2 ends. A peer that has begun and then
//! vanishes is found by HTTP/2 keepalive.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::verdicts::{Frames, Scope, Verdict};
use crate::attach::Hangup;
use crate::limits::{Place, Share};
use crate::node::Node;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

/// With this a client begins HTTP/2.
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// From the accept to the end of those.
const PREFACE_TIME: Duration = Duration::from_secs(10);

/// Its place is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    hangup: Hangup,
    share: Share,
    preface: Option<Preface>,
    written: Frames,
    ends: Ends,
    _place: Place,
}

/// What a connection still owes.
#[derive(Debug)]
struct Preface {
    come: usize,
    deadline: Pin<Box<Sleep>>,
}

/// Counts what is ended because of this peer.
#[derive(Debug)]
struct Ends {
    node: Arc<Node>,
    peer: SocketAddr,
}

impl<S> Connection<S> {
    /// One that was accepted: its time begins.
    pub(super) fn new(stream: S, peer: SocketAddr, place: Place, node: Arc<Node>) -> Self {
        Self {
            stream,
            hangup: Hangup::of(peer),
            share: Share::default(),
            preface: Some(Preface {
                come: 0,
                deadline: Box::pin(sleep(PREFACE_TIME)),
            }),
            written: Frames::default(),
            ends: Ends { node, peer },
            _place: place,
        }
    }

    fn note_written(&mut self, bytes: &[u8]) {
        let ends = &self.ends;
        self.written.wrote(bytes, |verdict| ends.by_http2(verdict));
    }

    fn note_hangup<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &done {
            self.hangup.note_error(error);
        }
        done
    }
}

impl Preface {
    /// More has come. Whether that is how HTTP/2 begins.
    fn fits(&mut self, came: &[u8]) -> bool {
        let expected = &PREFACE[self.come..];
        let count = came.len().min(expected.len());
        self.come += count;
        came[..count] == expected[..count]
    }

    fn is_complete(&self) -> bool {
        self.come == PREFACE.len()
    }
}

impl Ends {
    fn too_late(&self) -> io::Error {
        self.node.metrics.tallies.silent_connections.add(1);
        self.log("silent", "it did not begin to speak HTTP/2 in time");
        io::ErrorKind::TimedOut.into()
    }

    fn by_http2(&self, verdict: Verdict) {
        let Verdict { scope, reason } = verdict;
        self.node.metrics.http2_ended(scope.as_str(), reason, 1);
        match scope {
            Scope::Connection => self.log(reason, "HTTP/2 does not allow what it sent"),
            // One call of many: its connection goes on.
            Scope::Stream => {}
        }
    }

    fn log(&self, reason: &'static str, why: &'static str) {
        let (now, peer) = (self.node.clock.now(), Some(self.peer));
        let kind = ("gRPC connection ended", reason);
        self.node.refusals.log(now, kind, peer, &why);
    }
}

impl<S> Connected for Connection<S> {
    /// The `intake` layer parts them.
    type ConnectInfo = (Hangup, Share);

    fn connect_info(&self) -> Self::ConnectInfo {
        (self.hangup.clone(), self.share.clone())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (room, before) = (buffer.remaining(), buffer.filled().len());
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let came = &buffer.filled()[before..];
        if room > 0 && came.is_empty() && matches!(read, Poll::Ready(Ok(()))) {
            self.hangup.note();
        }
        if let Some(mut preface) = self.preface.take() {
            if !preface.fits(came) {
                self.ends.by_http2(Verdict::NOT_HTTP2);
            } else if !preface.is_complete() {
                if preface.deadline.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(self.ends.too_late()));
                }
                self.preface = Some(preface);
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
        if let Poll::Ready(Ok(count)) = written {
            self.note_written(&data[..count]);
        }
        self.note_hangup(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut count)) = written {
            for slice in slices {
                let taken = count.min(slice.len());
                self.note_written(&slice[..taken]);
                count -= taken;
            }
        }
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
