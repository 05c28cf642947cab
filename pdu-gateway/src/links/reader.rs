//! The reading half of a connection's task: one read of whatever is there into memory that all connections of a thread
//! share, all PDUs in it translated, one submission.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use route_proto::attach::v1::CloseReason;
use route_runtime::budget::{CutOff, Input};
use route_runtime::quota::Lines;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::yield_now;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::links::gateway::Gateway;
use crate::links::link::Link;
use crate::links::strangers::Stranger;
use crate::pdu::deed::Deed;
use crate::pdu::frame::{FrameError, SHORT, Unfinished};
use crate::pdu::input::{Session, Tally};
use crate::trace::Sampling;
use crate::unconfirmed::windows::Room;

/// Most that one read takes, bytes. More gains nothing and keeps the others waiting.
const READ: usize = 256 << 10;

/// After so many bytes read without waiting, other tasks come first.
const TURN: usize = 64 << 10;

/// A MsgServer claims and lists as soon as it is connected. Who has said nothing by then may wait for what others say.
const SPEAKS_WITHIN: Duration = Duration::from_millis(200);

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
    /// A PDU that comes in and is too long to be kept without asking.
    long: Option<Long>,
    /// Log lines about it.
    lines: Lines,
    /// A PDU has come. Until then it may be a probe, or anything, of which nobody needs to read much.
    pub(super) has_spoken: bool,
    /// What came that is no PDU.
    pub(super) problem: Option<String>,
    /// Who has sent that, if he can be told.
    pub(super) stranger: Option<Stranger>,
    /// Its socket.
    pub(super) input: I,
}

/// A PDU that takes its memory from the budget before it is read.
#[derive(Debug)]
struct Long {
    number: u64,
    input: Input,
    has_room: bool,
}

impl<I: AsyncRead + Unpin> Reader<I> {
    /// Nothing has been read.
    pub(super) fn new(gateway: &Arc<Gateway>, link: &Arc<Link>, input: I) -> Self {
        let lines = gateway.lines_of(link.peer());
        let dialect = Arc::clone(&gateway.dialect);
        Reader {
            session: Session::new(dialect, gateway.pdu_limit(), lines.clone()),
            lines,
            sampling: Sampling::default(),
            room: Room::Left,
            long: None,
            has_spoken: false,
            problem: None,
            stranger: None,
            gateway: Arc::clone(gateway),
            link: Arc::clone(link),
            input,
        }
    }

    /// Reads until there is a reason to end.
    pub(super) async fn read(&mut self) -> CloseReason {
        // Whose link it is, its first words tell: two that are open without a word might both be sent what comes meanwhile.
        let speaks = async {
            while !self.has_spoken {
                if let Some(reason) = self.read_once().await {
                    return Some(reason);
                }
            }
            None
        };
        match timeout(SPEAKS_WITHIN, speaks).await {
            Ok(Some(reason)) => return reason,
            Ok(None) => {}
            Err(_) => self.link.tell(&self.gateway.uplink),
        }
        loop {
            if let Some(reason) = self.read_once().await {
                return reason;
            }
        }
    }

    /// Waits until something has been read, or there is a reason to end.
    async fn read_once(&mut self) -> Option<CloseReason> {
        match poll_fn(|cx| self.poll_read(cx)).await {
            Ok(0) => return Some(CloseReason::Peer),
            Ok(bytes) if bytes >= TURN || self.gateway.budget.is_tight() => yield_now().await,
            Ok(_) => {}
            Err(ReadError::Frame(error)) => {
                self.problem = Some(error.told(self.gateway.own_pdu_limit));
                return Some(CloseReason::BadFrame);
            }
            Err(ReadError::Io(error)) => {
                debug!(%error, "reading failed");
                return Some(CloseReason::Peer);
            }
        }
        None
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
        match self.poll_allowed(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(cut_off)) => return Poll::Ready(Err(self.break_off(cut_off).into())),
            Poll::Pending => {
                self.link.hold_up();
                return Poll::Pending;
            }
        }
        let most = self.most();
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch.bytes[..most]);
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
                self.link.tell(&self.gateway.uplink);
                if let Some(left_out) = self.lines.take_usual(now) {
                    info!(left_out, "link opened");
                }
            }
            let unfinished = self.session.unfinished();
            let kept = self.make_room(unfinished);
            self.link.heard(now, kept);
            self.gateway.counters.received(&tally, bytes);
            self.link.received(tally.iter().sum(), bytes);
            let (link, deeds) = (self.link.number(), &mut scratch.deeds);
            let age = || self.gateway.clock.now().saturating_sub(now);
            let dialect = &self.gateway.dialect;
            let spans = self.sampling.begin(dialect, link, deeds, age);
            let uplink = &self.gateway.uplink;
            self.room = uplink.submit_traced(link, deeds, spans);
            if let Err(FrameError::OtherProtocol(protocol)) = received
                && !self.has_spoken
            {
                self.stranger = Stranger::of(protocol, buffer.filled());
            }
            received?;
            Poll::Ready(Ok(bytes))
        })
    }

    /// Bytes to read at once. Where room is short, no more than may be kept without asking.
    fn most(&self) -> usize {
        let has_room = self.long.as_ref().is_some_and(|long| long.has_room);
        match has_room || !self.gateway.budget.is_tight() {
            true => READ,
            false => SHORT,
        }
    }

    /// Takes the memory for a long PDU, or asks for it. Returns what is kept of it beside that.
    fn make_room(&mut self, unfinished: Option<Unfinished>) -> Option<Unfinished> {
        let Some(mut it) = unfinished.filter(|it| it.length > SHORT) else {
            self.long = None;
            return unfinished;
        };
        if self
            .long
            .as_ref()
            .is_none_or(|long| long.number != it.number)
        {
            self.long = None;
            let host = self.link.peer().address.ip();
            let input = self.gateway.budget.ask(Some(host), it.length);
            let has_room = input.is_granted();
            if has_room {
                self.session.make_room();
            }
            self.long = Some(Long {
                number: it.number,
                input,
                has_room,
            });
        }
        if self.long.as_ref().is_some_and(|long| long.has_room) {
            it.bytes = 0;
        }
        Some(it)
    }

    /// Others wait for the memory.
    fn break_off(&mut self, cut_off: CutOff) -> FrameError {
        let error = FrameError::from(cut_off);
        self.session.break_off(error);
        self.long = None;
        self.link.heard(self.gateway.clock.now(), None);
        self.gateway.counters.cut_off.add(1);
        error
    }

    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<Result<(), CutOff>> {
        let Some(long) = &mut self.long else {
            return Poll::Ready(Ok(()));
        };
        if !long.has_room {
            ready!(long.input.poll_granted(cx))?;
            long.has_room = true;
            self.session.make_room();
        }
        match long.input.poll_cut(cx) {
            Poll::Ready(cut_off) => Poll::Ready(Err(cut_off)),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll_allowed(&mut self, cx: &Context<'_>) -> Poll<Result<(), CutOff>> {
        ready!(self.poll_room(cx))?;
        ready!(self.link.brake().poll_off(cx));
        if self.room == Room::Full {
            ready!(self.gateway.uplink.poll_room(cx, self.link.number()));
            self.room = Room::Left;
        }
        Poll::Ready(Ok(()))
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}
