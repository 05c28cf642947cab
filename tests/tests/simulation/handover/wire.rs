//! Between a gateway and the node, in the place of HTTP/2: streams whose messages move only when
//! the schedule says so, that stall, and that break at any message. Either side hears of a break in
//! its own time, and what it sends until then is lost, as in a kernel's buffer.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use pdu_gateway::node::upstream::{AttachError, Place, Responses, Upstream};
use pdu_gateway::unconfirmed::uplink::UplinkStream;
use route_grpc::Node;
use route_grpc::attach::{AttachResponses, Hangup, open};
use route_proto::attach::v1::{AttachRequest, AttachResponse, attach_response};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use system_tests::dice::Dice;

/// Messages that fit into the buffers between, each way: while nothing passes, either end still
/// sends.
const BUFFERED: usize = 8;

type Up = Result<AttachRequest, Status>;
type Down = Result<AttachResponse, Status>;

/// The gateway's end: what it calls to attach.
#[derive(Debug)]
pub(crate) struct Socket {
    calls: Arc<Mutex<VecDeque<Call>>>,
}

struct Call {
    requests: UplinkStream,
    answer: oneshot::Sender<Result<Responses, AttachError>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

impl Upstream for Socket {
    fn name(&self) -> &str {
        "simulated"
    }

    fn attach<'a>(
        &'a self,
        _to: &'a Place,
        requests: UplinkStream,
    ) -> Pin<Box<dyn Future<Output = Result<Responses, AttachError>> + Send + 'a>> {
        let (answer, answered) = oneshot::channel();
        self.calls.lock().push_back(Call { requests, answer });
        Box::pin(async { answered.await.unwrap_or(Err(AttachError::Closed)) })
    }
}

/// The schedule's end: everything between one gateway and the node.
#[derive(Debug)]
pub(crate) struct Wire {
    calls: Arc<Mutex<VecDeque<Call>>>,
    lines: Vec<Line>,
    /// Nothing passes until then, but into the buffers.
    stalled_until: Duration,
    /// What the node ended streams with, until somebody looks.
    refusals: Vec<Status>,
    /// What it confirmed, link and entry, until somebody looks.
    confirmed: Vec<(u64, u64)>,
}

/// One stream.
#[derive(Debug)]
struct Line {
    requests: Option<UplinkStream>,
    up: VecDeque<AttachRequest>,
    to_node: Option<mpsc::UnboundedSender<Up>>,
    hangup: Hangup,
    /// The gateway's process is gone; its kernel says so.
    gateway_is_gone: bool,
    responses: Option<AttachResponses>,
    down: VecDeque<Down>,
    to_gateway: Option<mpsc::UnboundedSender<Down>>,
    /// Nothing is taken any more; what is on its way may still arrive.
    cut: bool,
    node_hears: Duration,
    gateway_hears: Duration,
    refusal: Option<Status>,
    confirmed: Vec<(u64, u64)>,
}

/// What can move on a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Connect,
    LeaveGateway,
    ReachNode,
    LeaveNode,
    ReachGateway,
}

impl Move {
    pub(crate) const ALL: [Self; 5] = [
        Self::Connect,
        Self::LeaveGateway,
        Self::ReachNode,
        Self::LeaveNode,
        Self::ReachGateway,
    ];
}

impl Wire {
    pub(crate) fn new() -> (Self, Socket) {
        let calls = Arc::default();
        let wire = Self {
            calls: Arc::clone(&calls),
            lines: Vec::new(),
            stalled_until: Duration::ZERO,
            refusals: Vec::new(),
            confirmed: Vec::new(),
        };
        (wire, Socket { calls })
    }

    /// Moves one message, or a connection, one step. False if there was nothing to move.
    pub(crate) fn step(&mut self, now: Duration, what: Move, node: Option<&Arc<Node>>) -> bool {
        let mut moved = false;
        for line in &mut self.lines {
            moved |= line.break_off(now);
        }
        self.lines.retain(|line| !line.is_over());
        let stalled = now < self.stalled_until;
        let step = match what {
            Move::Connect | Move::ReachNode | Move::ReachGateway if stalled => return moved,
            Move::Connect => return self.connect(node) || moved,
            Move::LeaveGateway => Line::leave_gateway,
            Move::ReachNode => Line::reach_node,
            Move::LeaveNode => Line::leave_node,
            Move::ReachGateway => Line::reach_gateway,
        };
        for line in &mut self.lines {
            moved |= step(line, now);
            self.refusals.extend(line.refusal.take());
            self.confirmed.append(&mut line.confirmed);
        }
        moved
    }

    /// Nothing passes for a while; nothing is lost by that.
    pub(crate) fn stall(&mut self, until: Duration) {
        self.stalled_until = until;
    }

    /// Breaks the streams. A random part of what is on its way still arrives; the two ends hear of
    /// it after these times.
    pub(crate) fn cut(
        &mut self,
        dice: &mut Dice,
        now: Duration,
        node: Duration,
        gateway: Duration,
    ) {
        for line in &mut self.lines {
            line.cut(dice, now + node, now + gateway);
        }
    }

    /// The node's process is gone.
    pub(crate) fn node_died(&mut self, dice: &mut Dice, now: Duration) {
        for line in &mut self.lines {
            let hears = now + dice.millis(0..50);
            line.cut(dice, now, hears);
            line.up.clear();
            line.to_node = None;
            line.responses = None;
        }
    }

    /// The gateway's process is gone.
    pub(crate) fn gateway_died(&mut self, dice: &mut Dice, now: Duration, hears: Duration) {
        for line in &mut self.lines {
            line.cut(dice, now + hears, now);
            line.gateway_is_gone = true;
            line.down.clear();
            line.to_gateway = None;
            line.requests = None;
        }
        self.calls.lock().clear();
    }

    /// The node has ended every stream; what it has said is on its way.
    pub(crate) fn node_has_ended(&mut self) -> bool {
        for line in &mut self.lines {
            while line.node_says() {}
            self.refusals.extend(line.refusal.take());
            self.confirmed.append(&mut line.confirmed);
        }
        self.lines.iter().all(|line| line.responses.is_none())
    }

    /// One stream is open, as far as anybody can tell.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.lines.as_slice(), [line] if !line.cut)
    }

    /// One stream is open, nothing is on its way, and something could be.
    pub(crate) fn is_clear(&self, now: Duration) -> bool {
        self.is_quiet() && now >= self.stalled_until
    }

    /// One stream is open, and nothing is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        let [line] = self.lines.as_slice() else {
            return false;
        };
        self.calls.lock().is_empty() && !line.cut && line.up.is_empty() && line.down.is_empty()
    }

    /// What has been confirmed to the gateway since the last time: links and entries.
    pub(crate) fn confirmed(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.confirmed)
    }

    /// What the node has ended streams with since the last call.
    pub(crate) fn refusals(&mut self) -> Vec<Status> {
        std::mem::take(&mut self.refusals)
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|l| (l.cut, l.up.len(), l.down.len()))
            .collect();
        format!("{} calls, lines {lines:?}", self.calls.lock().len())
    }

    fn connect(&mut self, node: Option<&Arc<Node>>) -> bool {
        let Some(call) = self.calls.lock().pop_front() else {
            return false;
        };
        let Some(node) = node else {
            let refused = Status::unavailable("connection refused");
            // The gateway may have given up.
            let _ = call.answer.send(Err(refused.into()));
            return true;
        };
        let (to_node, from_gateway) = mpsc::unbounded_channel();
        let (to_gateway, from_node) = mpsc::unbounded_channel();
        let responses = Box::pin(UnboundedReceiverStream::new(from_node)) as Responses;
        if call.answer.send(Ok(responses)).is_ok() {
            let hangup = Hangup::default();
            let requests = UnboundedReceiverStream::new(from_gateway);
            self.lines.push(Line {
                requests: Some(call.requests),
                up: VecDeque::new(),
                to_node: Some(to_node),
                responses: Some(open(node, requests, Some(hangup.clone()))),
                hangup,
                gateway_is_gone: false,
                down: VecDeque::new(),
                to_gateway: Some(to_gateway),
                cut: false,
                node_hears: Duration::ZERO,
                gateway_hears: Duration::ZERO,
                refusal: None,
                confirmed: Vec::new(),
            });
        }
        true
    }
}

impl Line {
    fn cut(&mut self, dice: &mut Dice, node_hears: Duration, gateway_hears: Duration) {
        if self.cut {
            return;
        }
        self.cut = true;
        self.up.truncate(dice.roll(self.up.len() + 1));
        self.down.truncate(dice.roll(self.down.len() + 1));
        self.node_hears = node_hears;
        self.gateway_hears = gateway_hears;
    }

    fn is_over(&self) -> bool {
        self.to_node.is_none() && self.to_gateway.is_none()
    }

    /// Tells the ends of a cut stream, when it is time.
    fn break_off(&mut self, now: Duration) -> bool {
        let mut told = false;
        if !self.cut {
            return told;
        }
        let broken = || Status::unknown("connection broken");
        if self.up.is_empty()
            && now >= self.node_hears
            && let Some(to_node) = self.to_node.take()
        {
            if self.gateway_is_gone {
                self.hangup.note();
            }
            let _ = to_node.send(Err(broken()));
            self.responses = None;
            told = true;
        }
        if self.down.is_empty()
            && now >= self.gateway_hears
            && let Some(to_gateway) = self.to_gateway.take()
        {
            let _ = to_gateway.send(Err(broken()));
            self.requests = None;
            told = true;
        }
        told
    }

    fn leave_gateway(&mut self, _now: Duration) -> bool {
        let Some(requests) = &mut self.requests else {
            return false;
        };
        if self.up.len() >= BUFFERED {
            return false;
        }
        match Pin::new(requests).poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => false,
            Poll::Ready(Some(request)) => {
                if !self.cut {
                    self.up.push_back(request);
                }
                true
            }
            Poll::Ready(None) => {
                self.requests = None;
                true
            }
        }
    }

    fn reach_node(&mut self, _now: Duration) -> bool {
        let Some(to_node) = &self.to_node else {
            return false;
        };
        match self.up.pop_front() {
            Some(request) => {
                let _ = to_node.send(Ok(request));
                true
            }
            None if self.requests.is_none() && !self.cut => {
                // A half-close.
                self.to_node = None;
                true
            }
            None => false,
        }
    }

    fn leave_node(&mut self, _now: Duration) -> bool {
        self.down.len() < BUFFERED && self.node_says()
    }

    fn node_says(&mut self) -> bool {
        let Some(responses) = &mut self.responses else {
            return false;
        };
        match Pin::new(responses).poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => false,
            Poll::Ready(Some(response)) => {
                self.refusal = response.as_ref().err().cloned();
                if !self.cut {
                    self.down.push_back(response);
                }
                true
            }
            Poll::Ready(None) => {
                // The node is done with the stream: what still comes up finds nobody.
                self.responses = None;
                self.to_node = None;
                self.up.clear();
                true
            }
        }
    }

    fn reach_gateway(&mut self, now: Duration) -> bool {
        let Some(to_gateway) = &self.to_gateway else {
            return false;
        };
        let over = match self.down.pop_front() {
            Some(response) => {
                let last = response.is_err();
                let confirmed = confirmed(&response);
                let over = to_gateway.send(response).is_err();
                if !over {
                    self.confirmed.extend(confirmed);
                }
                over || last
            }
            None if self.responses.is_none() && !self.cut => true,
            None if to_gateway.is_closed() => true,
            None => return false,
        };
        if over {
            // The gateway has left the stream, or the node has; the other side hears soon.
            self.to_gateway = None;
            self.requests = None;
            if !self.cut {
                self.cut = true;
                self.node_hears = now;
            }
            self.down.clear();
        }
        true
    }
}

fn confirmed(response: &Down) -> Vec<(u64, u64)> {
    let Ok(AttachResponse {
        frame: Some(attach_response::Frame::Downlink(downlink)),
    }) = response
    else {
        return Vec::new();
    };
    let confirmations = downlink.confirmations.iter();
    confirmations.map(|c| (c.link, c.sequence)).collect()
}
