//! One accepted connection, next to the socket: it waits for how HTTP/2 begins, notes whether its
//! peer has closed it, and counts what HTTP/2 ends. A peer that has begun and then
//! vanishes is found by HTTP/2 keepalive. Where callers have to be let in, one on which nobody is
//! is closed.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::greeting::{Greeting, Heard};
use super::rewound::Rewound;
use super::transport::Transport;
use super::verdicts::{Frames, Scope, Verdict};
use crate::access::Peer;
use crate::attach::Hangup;
use crate::limits::{Place, Share};
use crate::process::Process;
use route_runtime::listen::local::LocalProcess;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

/// Who is at the other end, and what it may have at a time.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) hangup: Hangup,
    pub(super) share: Share,
    pub(super) peer: Peer,
    /// Whether a call on it was let in. None: that is not asked for.
    pub(super) lets_in: Option<Arc<AtomicBool>>,
}

/// How long a connection is open on which nobody is let in, where somebody has to be: others want its place.
const STRANGE_TIME: Duration = Duration::from_secs(30);

impl Client {
    /// At this address, or this process of ours.
    pub(super) fn new(address: SocketAddr, process: Option<LocalProcess>, peer: Peer) -> Self {
        Self {
            hangup: Hangup::of(address).of_process(process),
            share: Share::from(address),
            peer,
            lets_in: None,
        }
    }

    /// The same, where somebody has to be let in.
    pub(super) fn of_strangers(self) -> Self {
        let lets_in = Some(Arc::default());
        Self { lets_in, ..self }
    }

    /// A call on it is let in.
    pub(super) fn let_in(&self) {
        if let Some(lets_in) = &self.lets_in {
            lets_in.store(true, Ordering::Relaxed);
        }
    }
}

/// Its place is free again when it is dropped.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: Rewound<Transport<S>>,
    client: Client,
    /// None: it has begun.
    greeting: Option<Greeting>,
    /// By then somebody has to be let in on it. None: nobody has to, or has been.
    strange_until: Option<Pin<Box<Sleep>>>,
    written: Frames,
    ends: Ends,
    _place: Place,
}

/// Counts what is ended because of this peer.
#[derive(Debug)]
struct Ends {
    process: Arc<Process>,
    peer: Option<SocketAddr>,
}

impl<S> Connection<S> {
    /// One that was accepted, and has made its hand-shake if there has to be one: its time begins.
    pub(super) fn new(
        stream: Transport<S>,
        client: Client,
        place: Place,
        process: Arc<Process>,
    ) -> Self {
        Self {
            stream: Rewound::new(stream),
            greeting: Some(Greeting::awaited()),
            strange_until: client
                .lets_in
                .is_some()
                .then(|| Box::pin(sleep(STRANGE_TIME))),
            written: Frames::default(),
            ends: Ends {
                process,
                peer: client.share.peer,
            },
            client,
            _place: place,
        }
    }

    fn note_written(&mut self, bytes: &[u8]) {
        let ends = &self.ends;
        self.written.wrote(bytes, |verdict| ends.by_http2(verdict));
    }

    fn note_hangup<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &done {
            self.client.hangup.note_error(error);
        }
        done
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Waits until it has begun. Who begins with something else is not served.
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(greeting) = &mut self.greeting else {
            return Poll::Ready(Ok(()));
        };
        let heard = ready!(greeting.poll(&mut self.stream, cx));
        Poll::Ready(match self.note_hangup(Poll::Ready(heard)) {
            Poll::Ready(Ok(Heard::Beginning(early))) => {
                self.stream.rewind(early);
                self.greeting = None;
                Ok(())
            }
            Poll::Ready(Ok(Heard::Other(what))) => Err(self.ends.not_http2(what)),
            Poll::Ready(Ok(Heard::Nothing)) => Err(self.ends.too_late()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => return Poll::Pending,
        })
    }
}

impl<S> Connection<S> {
    /// Ready when nobody was let in in time: then it is closed.
    fn poll_strange(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(until) = &mut self.strange_until else {
            return Poll::Pending;
        };
        let lets_in = self.client.lets_in.as_ref();
        if lets_in.is_none_or(|it| it.load(Ordering::Relaxed)) {
            self.strange_until = None;
            return Poll::Pending;
        }
        ready!(until.as_mut().poll(cx));
        Poll::Ready(self.ends.strange())
    }
}

impl Ends {
    fn strange(&self) -> io::Error {
        let Verdict { scope, reason } = Verdict::STRANGE;
        self.process.metrics.http2_ended(scope.as_str(), reason, 1);
        self.log(reason, "nobody was let in on it in 30 s");
        io::ErrorKind::TimedOut.into()
    }

    fn too_late(&self) -> io::Error {
        self.process.metrics.tallies.silent_connections.add(1);
        self.log("silent", "it did not begin to speak HTTP/2 in time");
        io::ErrorKind::TimedOut.into()
    }

    fn not_http2(&self, why: &'static str) -> io::Error {
        let Verdict { scope, reason } = Verdict::NOT_HTTP2;
        self.process.metrics.http2_ended(scope.as_str(), reason, 1);
        self.log(reason, why);
        io::ErrorKind::InvalidData.into()
    }

    fn by_http2(&self, verdict: Verdict) {
        let Verdict { scope, reason } = verdict;
        self.process.metrics.http2_ended(scope.as_str(), reason, 1);
        match scope {
            Scope::Connection => self.log(reason, "HTTP/2 does not allow what it sent"),
            // One call of many: its connection goes on.
            Scope::Stream => {}
        }
    }

    fn log(&self, reason: &'static str, why: &'static str) {
        let (now, peer) = (self.process.clock.now(), self.peer);
        let kind = ("gRPC connection ended", reason);
        self.process.refusals.log(now, kind, peer, &why);
    }
}

impl<S> Connected for Connection<S> {
    /// The `guard` layer parts it.
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        self.client.clone()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_begun(cx))?;
        if let Poll::Ready(error) = self.poll_strange(cx) {
            return Poll::Ready(Err(error));
        }
        ready!(self.client.share.reading.poll(cx))?;
        let (room, before) = (buffer.remaining(), buffer.filled().len());
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let is_over = room > 0 && buffer.filled().len() == before;
        if is_over && matches!(read, Poll::Ready(Ok(()))) {
            self.client.hangup.note();
        }
        self.note_hangup(read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_begun(cx))?;
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
        ready!(self.poll_begun(cx))?;
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
