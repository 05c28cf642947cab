//! The reading half of a connection's task: one read of whatever is there into memory that all connections of a thread
//! share, all PDUs in it translated, one submission.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use route_proto::attach::v1::CloseReason;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::yield_now;
use tracing::{debug, info};

use crate::links::gateway::Gateway;
use crate::links::link::Link;
use crate::pdu::deed::Deed;
use crate::pdu::frame::FrameError;
use crate::pdu::input::{Session, Tally};
use crate::trace::Sampling;
use crate::unconfirmed::windows::Room;

/// Most that one read takes, bytes. More gains nothing and keeps the others waiting.
const READ: usize = 256 << 10;

/// After so many bytes read without waiting, other tasks come first.
const TURN: usize = 64 << 10;

/// Reads of what is counted before a link ends, at most.
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

/// Reads what one MsgServer sends.
#[derive(Debug)]
pub(super) struct Reader<I> {
    gateway: Arc<Gateway>,
    link: Arc<Link>,
    session: Session,
    sampling: Sampling,
    room: Room,
    /// A PDU has come. Until then it may be a probe, or anything, of which nobody needs to read much.
    pub(super) has_spoken: bool,
    /// What came that is no PDU.
    pub(super) problem: Option<FrameError>,
    /// Its socket.
    pub(super) input: I,
}

impl<I: AsyncRead + Unpin> Reader<I> {
    /// Nothing has been read.
    pub(super) fn new(gateway: &Arc<Gateway>, link: &Arc<Link>, input: I) -> Self {
        Reader {
            session: Session::new(
                Arc::clone(&gateway.dialect),
                gateway.pdu_limit(),
                Arc::clone(&gateway.lines),
            ),
            sampling: Sampling::default(),
            room: Room::Left,
            has_spoken: false,
            problem: None,
            gateway: Arc::clone(gateway),
            link: Arc::clone(link),
            input,
        }
    }

    /// Reads until there is a reason to end.
    pub(super) async fn read(&mut self) -> CloseReason {
        loop {
            match poll_fn(|cx| self.poll_read(cx)).await {
                Ok(0) => return CloseReason::Peer,
                Ok(bytes) if bytes >= TURN => yield_now().await,
                Ok(_) => {}
                Err(ReadError::Frame(error)) => {
                    self.problem = Some(error);
                    return CloseReason::BadFrame;
                }
                Err(ReadError::Io(error)) => {
                    debug!(%error, "reading failed");
                    return CloseReason::Peer;
                }
            }
        }
    }

    /// Takes what has arrived, and will not be handled. Returns how many bytes that is.
    pub(super) async fn discard(&mut self) -> usize {
        let mut discarded = 0;
        let mut scratch = vec![0; TURN];
        for _ in 0..LAST_READS {
            let mut buffer = ReadBuf::new(&mut scratch);
            // Nothing there now is the end, as much as the end is.
            poll_fn(|cx| {
                let _ = Pin::new(&mut self.input).poll_read(cx, &mut buffer);
                Poll::Ready(())
            })
            .await;
            if buffer.filled().is_empty() {
                break;
            }
            discarded += buffer.filled().len();
        }
        discarded
    }

    /// Reads once, when that is allowed and there is something, and submits what it means. Returns how much that was;
    /// 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ReadError>> {
        if self.poll_allowed(cx).is_pending() {
            self.link.hold_up();
            return Poll::Pending;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch.bytes);
            let read = Pin::new(&mut self.input).poll_read(cx, &mut buffer);
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
            if !self.has_spoken && self.session.has_begun() {
                self.has_spoken = true;
                if let Some(left_out) = self.gateway.line(now, "opened", self.link.peer()) {
                    info!(left_out, "link opened");
                }
            }
            self.link.heard(now, self.session.unfinished());
            self.gateway.counters.received(&tally, bytes);
            let (link, deeds) = (self.link.number(), &mut scratch.deeds);
            let age = || self.gateway.clock.now().saturating_sub(now);
            let dialect = &self.gateway.dialect;
            let spans = self.sampling.begin(dialect, link, deeds, age);
            let uplink = &self.gateway.uplink;
            self.room = uplink.submit_traced(link, deeds, spans);
            received?;
            Poll::Ready(Ok(bytes))
        })
    }

    fn poll_allowed(&mut self, cx: &Context<'_>) -> Poll<()> {
        ready!(self.link.brake().poll_off(cx));
        if self.room == Room::Full {
            ready!(self.gateway.uplink.poll_room(cx, self.link.number()));
            self.room = Room::Left;
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
