//! A MsgServer's TCP connection, from accept to close: one task that reads, and writes what its [`Link`] holds.
//!
//! Reading: one read of whatever is there into memory that all connections of a thread share, all PDUs in it translated,
//! one submission. Writing: everything that waits, in as few calls as possible. Reading and writing share the task, but
//! neither waits for the other.
//!
//! No timer runs here: a task sleeps until its socket, its link, its window or the throttle wakes it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use route_proto::attach::v1::{CloseReason, LinkOpened};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::yield_now;
use tokio::time::timeout;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::frame::FrameError;
use crate::gateway::{Gateway, unix_millis};
use crate::host::Host;
use crate::ledger::Deed;
use crate::link::{Link, Next, Shut};
use crate::links::Place;
use crate::network::Socket;
use crate::output::Batch;
use crate::pressure::Turn;
use crate::session::{Session, Tally};
use crate::trace::Sampling;
use crate::uplink::Room;

/// Most that one read takes, bytes. More gains nothing and keeps the others waiting.
const READ: usize = 256 << 10;

/// After so many bytes read or written without waiting, other tasks come first.
const TURN: usize = 64 << 10;

/// Slices of one write. The kernel takes 1024; half of that is some hundred kilobytes of small PDUs.
const SLICES: usize = 512;

/// For writes of few slices, which need no room for many.
const FEW_SLICES: usize = 16;

/// How long a link may take to close after our FIN.
const LINGER: Duration = Duration::from_secs(1);

/// Reads before a draining link stops reading: what has arrived is handled, but not for ever.
const LAST_READS: usize = 64;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        bytes: vec![0; READ],
        deeds: Vec::new(),
    });
}

/// Memory for one read, shared by all connections of a thread.
struct Scratch {
    bytes: Vec<u8>,
    deeds: Vec<Deed>,
}

/// Serves a connection until it ends.
pub async fn serve<S: Socket>(gateway: Arc<Gateway>, socket: S, place: Place) {
    let Ok(peer) = socket.peer_addr() else {
        return;
    };
    // An IPv4 address may come in its IPv6 form; links of one MsgServer have to look alike.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let now = gateway.clock.now();
    let link = gateway.links.open(peer, &gateway.link_settings, now);
    gateway.counters.opened();
    let span = info_span!("link", link = link.number(), %peer);
    async {
        info!("link opened");
        gateway.uplink.open(link.number(), opened(&link));
        let (input, output) = socket.into_split();
        let mut connection = Connection::<S> {
            session: Session::new(Arc::clone(&gateway.dialect), gateway.pdu_limit()),
            sampling: Sampling::default(),
            input,
            output,
            batch: Batch::default(),
            link,
            gateway,
            room: Room::Left,
        };
        let reason = connection.run().await;
        connection.end(reason).await;
    }
    .instrument(span)
    .await;
    drop(place);
}

fn opened(link: &Link) -> LinkOpened {
    LinkOpened {
        peer: link.peer().to_string(),
        opened_unix_millis: i64::try_from(unix_millis()).unwrap_or(i64::MAX),
        ..LinkOpened::default()
    }
}

struct Connection<S: Socket> {
    gateway: Arc<Gateway>,
    link: Arc<Link>,
    session: Session,
    sampling: Sampling,
    input: S::Input,
    output: S::Output,
    batch: Batch,
    room: Room,
}

impl<S: Socket> Connection<S> {
    /// Reads and writes until either has a reason to end.
    async fn run(&mut self) -> CloseReason {
        let mut reader = Reader {
            gateway: &self.gateway,
            link: &self.link,
            session: &mut self.session,
            sampling: &mut self.sampling,
            room: &mut self.room,
        };
        let mut writer = Writer {
            gateway: &self.gateway,
            link: &self.link,
            batch: &mut self.batch,
            host: Host::new(self.gateway.link_settings.host_timeout),
        };
        tokio::select! {
            // Writing first: what waits there has come the whole way.
            biased;
            reason = writer.write::<S>(&mut self.output) => reason,
            reason = reader.read(&mut self.input) => reason,
        }
    }

    /// Tells the node, gives back what could not be written, closes.
    async fn end(&mut self, reason: CloseReason) {
        let concluded = match reason {
            CloseReason::Drain => {
                self.read_rest().await;
                self.conclude(reason).await
            }
            // What came before it is owed an answer.
            CloseReason::BadFrame => self.conclude(reason).await,
            CloseReason::Unspecified
            | CloseReason::Peer
            | CloseReason::Idle
            | CloseReason::SlowReader
            | CloseReason::Requested => Concluded::NotTold,
        };
        let told = (concluded == Concluded::NotTold).then_some(reason);
        let shut = self.link.shut(&mut self.batch, told, &self.gateway.uplink);
        let counters = &self.gateway.counters;
        counters.closed(reason);
        counters.given_back.add(shut.given_back as u64);
        counters.lost.add(shut.dropped as u64);
        if shut.congested {
            self.gateway.turn(Turn::Relieved);
        }
        log_end(reason, shut);
        if concluded == Concluded::Written {
            self.close().await;
        }
        // A host that does not take what the kernel has would have it kept for minutes.
        let leftovers = self.gateway.link_settings.host_timeout;
        if let Err(error) = S::limit_leftovers(&self.output, leftovers) {
            debug!(%error, "cannot limit the time of what is left");
        }
    }

    /// Handles what has arrived.
    async fn read_rest(&mut self) {
        let mut reader = Reader {
            gateway: &self.gateway,
            link: &self.link,
            session: &mut self.session,
            sampling: &mut self.sampling,
            room: &mut self.room,
        };
        // What the kernel has may not be known here yet.
        yield_now().await;
        for _ in 0..LAST_READS {
            // Nothing there now is the end, as much as the end is.
            let read = poll_fn(|cx| {
                let read = reader.poll_read(cx, &mut self.input);
                Poll::Ready(matches!(read, Poll::Ready(Ok(1..))))
            });
            if !read.await {
                break;
            }
        }
    }

    /// Writes until everything that the link asked is answered; then tells the node that it ends, and writes until the node
    /// knows that, so that nothing more comes. Without a node, writes what there is.
    async fn conclude(&mut self, reason: CloseReason) -> Concluded {
        let (uplink, number) = (&self.gateway.uplink, self.link.number());
        let mut writer = Writer {
            gateway: &self.gateway,
            link: &self.link,
            batch: &mut self.batch,
            host: Host::new(self.gateway.link_settings.host_timeout),
        };
        let given_up = &self.gateway.given_up;
        let close_timeout = self.gateway.link_settings.close_timeout;
        let mut concluded = Concluded::NotTold;
        let conclude = async {
            // A node that is away for a moment may answer when that is over, but we may not be there any more.
            if uplink.is_attached() || reason != CloseReason::Drain {
                tokio::select! {
                    written = writer.flush(&mut self.output) => written?,
                    () = poll_fn(|cx| uplink.poll_answered(cx, number)) => {}
                    () = given_up.cancelled() => {}
                }
            }
            uplink.close(number, reason, Vec::new());
            concluded = Concluded::Told;
            tokio::select! {
                written = writer.flush(&mut self.output) => return written,
                () = given_up.cancelled() => {}
            }
            writer.write_rest(&mut self.output).await
        };
        if matches!(timeout(close_timeout, conclude).await, Ok(Ok(()))) {
            concluded = Concluded::Written;
        } else {
            debug!("not everything could be written before the end");
        }
        concluded
    }

    /// Closes our side, then waits for the other to do the same.
    async fn close(&mut self) {
        if self.output.shutdown().await.is_err() {
            return;
        }
        // Closing while something unread is there would reset the connection, and what was written might be lost.
        let mut nowhere = tokio::io::sink();
        let discarded = timeout(LINGER, tokio::io::copy(&mut self.input, &mut nowhere));
        if !matches!(discarded.await, Ok(Ok(_))) {
            debug!("the MsgServer did not close in time");
        }
    }
}

/// What we end, and what is lost, is worth somebody's attention.
fn log_end(reason: CloseReason, shut: Shut) {
    let why = match reason {
        CloseReason::Idle => Some("nothing came from it for too long"),
        CloseReason::BadFrame => Some("it sent what is no PDU, or did not end its first one"),
        CloseReason::SlowReader => Some("it does not take what it is sent"),
        CloseReason::Requested => Some("it has to turn elsewhere"),
        CloseReason::Unspecified | CloseReason::Peer | CloseReason::Drain => None,
    };
    let reason = reason.as_str_name().trim_start_matches("CLOSE_REASON_");
    let (given_back, dropped) = (shut.given_back, shut.dropped);
    if why.is_some() || dropped > 0 {
        warn!(reason, why, given_back, dropped, "link closed");
    } else {
        info!(reason, given_back, "link closed");
    }
}

/// How far the orderly end of a link has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concluded {
    /// The node does not know yet that it ends.
    NotTold,
    /// It does, but not everything could be written.
    Told,
    /// Everything is written.
    Written,
}

struct Reader<'a> {
    gateway: &'a Gateway,
    link: &'a Link,
    session: &'a mut Session,
    sampling: &'a mut Sampling,
    room: &'a mut Room,
}

impl Reader<'_> {
    async fn read(&mut self, input: &mut (impl AsyncRead + Unpin)) -> CloseReason {
        loop {
            match poll_fn(|cx| self.poll_read(cx, input)).await {
                Ok(0) => return CloseReason::Peer,
                Ok(bytes) if bytes >= TURN => yield_now().await,
                Ok(_) => {}
                Err(ReadError::Frame(error)) => {
                    warn!(%error, "closing the connection");
                    return CloseReason::BadFrame;
                }
                Err(ReadError::Io(error)) => {
                    debug!(%error, "reading failed");
                    return CloseReason::Peer;
                }
            }
        }
    }

    /// Reads once, when that is allowed and there is something, and submits what it means. Returns how much that was;
    /// 0 is the end.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut (impl AsyncRead + Unpin),
    ) -> Poll<Result<usize, ReadError>> {
        if self.poll_allowed(cx).is_pending() {
            self.link.hold_up();
            return Poll::Pending;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch.bytes);
            let read = Pin::new(input).poll_read(cx, &mut buffer);
            let now = match &read {
                // Nothing there: that costs no look at the clock, unless it was held up.
                Poll::Pending => {
                    self.link.release(|| self.gateway.clock.now());
                    return Poll::Pending;
                }
                Poll::Ready(_) => self.gateway.clock.now(),
            };
            self.link.release(|| now);
            ready!(read)?;
            let data = buffer.filled();
            let bytes = data.len();
            let mut tally = Tally::default();
            let received = self
                .session
                .receive(now, data, &mut scratch.deeds, &mut tally);
            self.link.heard(now, self.session.awaits_first_pdu());
            self.gateway.counters.received(&tally, bytes);
            let (link, deeds) = (self.link.number(), &mut scratch.deeds);
            let age = || self.gateway.clock.now().saturating_sub(now);
            let spans = self.sampling.begin(link, deeds, age);
            let uplink = &self.gateway.uplink;
            *self.room = uplink.submit_traced(link, deeds, spans);
            received?;
            Poll::Ready(Ok(bytes))
        })
    }

    fn poll_allowed(&mut self, cx: &Context<'_>) -> Poll<()> {
        ready!(self.gateway.throttle.poll_open(cx));
        if *self.room == Room::Full {
            ready!(self.gateway.uplink.poll_room(cx, self.link.number()));
            *self.room = Room::Left;
        }
        Poll::Ready(())
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

struct Writer<'a> {
    gateway: &'a Gateway,
    link: &'a Link,
    batch: &'a mut Batch,
    host: Host,
}

impl Writer<'_> {
    /// Writes what the link holds, until it is to end or its connection breaks.
    async fn write<S: Socket>(&mut self, output: &mut S::Output) -> CloseReason {
        loop {
            let mut next = poll_fn(|cx| self.link.poll_next(cx, self.batch)).await;
            loop {
                match next {
                    Next::End(reason) => return reason,
                    Next::Look if S::has_vanished(output, &mut self.host) => {
                        warn!("the host has vanished");
                        return CloseReason::Idle;
                    }
                    Next::Look | Next::Write => {}
                }
                if self.batch.is_done() {
                    break;
                }
                let written = poll_fn(|cx| match self.poll_write(cx, output) {
                    Poll::Pending => self.link.poll_urgent(cx).map(Err),
                    Poll::Ready(written) => Poll::Ready(Ok(written)),
                });
                match written.await {
                    Err(urgent) => {
                        next = urgent;
                        continue;
                    }
                    Ok(Ok(bytes)) if bytes >= TURN => yield_now().await,
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => {
                        debug!(%error, "writing failed");
                        return CloseReason::Peer;
                    }
                }
                next = Next::Write;
            }
        }
    }

    /// Writes what the link holds, until the node knows that it ends.
    async fn flush(&mut self, output: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        loop {
            while !self.batch.is_done() {
                poll_fn(|cx| self.poll_write(cx, output)).await?;
            }
            if !poll_fn(|cx| self.link.poll_flush(cx, self.batch)).await {
                return Ok(());
            }
        }
    }

    /// Writes what the link holds now.
    async fn write_rest(&mut self, output: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        loop {
            while !self.batch.is_done() {
                poll_fn(|cx| self.poll_write(cx, output)).await?;
            }
            if !self.link.take_rest(self.batch) {
                return Ok(());
            }
        }
    }

    /// Writes once, as much as the socket takes, and takes that off the batch.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<usize>> {
        let mut few = [IoSlice::new(&[]); FEW_SLICES];
        let filled = self.batch.slices(&mut few);
        let output = Pin::new(output);
        let written = match filled {
            // `send` costs the kernel less than `writev`.
            1 => output.poll_write(cx, &few[0]),
            0..FEW_SLICES => output.poll_write_vectored(cx, &few[..filled]),
            _ => {
                let mut many = [IoSlice::new(&[]); SLICES];
                let filled = self.batch.slices(&mut many);
                output.poll_write_vectored(cx, &many[..filled])
            }
        };
        let bytes = ready!(written)?;
        if bytes == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.batch.advance(bytes);
        self.gateway.counters.written_bytes.add(bytes as u64);
        if let Some(turn) = self.link.wrote(self.gateway.clock.now(), bytes) {
            self.gateway.turn(turn);
        }
        Poll::Ready(Ok(bytes))
    }
}
