//! What comes up: the hello, then batches, each applied under one lock, until the stream ends or breaks the protocol.

use std::sync::Arc;

use route_proto::attach::v1::{AttachRequest, Uplink, attach_request};
use route_runtime::http2;
use tokio::sync::oneshot;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::{debug, info, warn};

use super::admission::{Admitted, admit};
use super::batch::{Batch, Hold};
use super::{AttachResponses, Hangup, Requests, refused};
use crate::access::Caller;
use crate::gateways::entry;
use crate::gateways::hello::Hello;
use crate::gateways::ingest::Effects;
use crate::gateways::queue::Retention;
use crate::gateways::reach::Parting;
use crate::node::Node;
use crate::refusal::Refusal;

/// After a batch of this many entries, other tasks come first.
const LARGE_BATCH: usize = 256;

/// Serves one gateway's stream: takes its requests, returns its responses. The first request is `hello`, the
/// first response `welcome`, or the status that refuses the stream.
///
/// The gateway is detached when either of the two ends. `hangup` is what the connection under them knows of its end.
/// Without one the gateway is in this process: what it is handed is not lost unless the process is, so nothing is kept
/// to be handed out again.
pub fn open(
    node: &Arc<Node>,
    requests: impl Stream<Item = Result<AttachRequest, Status>> + Send + 'static,
    hangup: Option<Hangup>,
) -> AttachResponses {
    open_by(node, requests, hangup, None)
}

/// The same for somebody who may not be every gateway.
pub(super) fn open_by(
    node: &Arc<Node>,
    requests: impl Stream<Item = Result<AttachRequest, Status>> + Send + 'static,
    hangup: Option<Hangup>,
    caller: Option<Caller>,
) -> AttachResponses {
    let (admitted, admission) = oneshot::channel();
    let abandoned = CancellationToken::new();
    let retention = match hangup {
        Some(_) => Retention::UntilTaken,
        None => Retention::None,
    };
    let stream = GatewayStream {
        node: Arc::clone(node),
        requests: Box::pin(requests),
        abandoned: abandoned.clone(),
        caller,
    };
    let serving = stream.serve(hangup.unwrap_or_default(), retention, admitted);
    node.process.shutdown.tracker().spawn(serving);
    AttachResponses::new(admission, abandoned)
}

/// The half that comes up.
struct GatewayStream {
    node: Arc<Node>,
    requests: Requests,
    /// Nobody reads the other half any more.
    abandoned: CancellationToken,
    /// None: whoever it is may be every gateway.
    caller: Option<Caller>,
}

impl GatewayStream {
    async fn serve(
        mut self,
        hangup: Hangup,
        retention: Retention,
        admitted: oneshot::Sender<Result<Admitted, Status>>,
    ) {
        let (abandoned, draining) = (self.abandoned.clone(), self.node.draining());
        let admission = tokio::select! {
            biased;
            () = abandoned.cancelled() => return,
            () = draining.cancelled() => Err(self.node.ending()),
            admission = admit(&self.node, &mut self.requests, retention, hangup.peer(), self.caller.as_ref()) => admission,
        };
        let (welcomed, stream_end) = match admission {
            Ok(admission) => admission,
            Err(refusal) => {
                refused(&self.node.process, &refusal, hangup.peer());
                // Nobody listens if the stream was abandoned meanwhile.
                let _ = admitted.send(Err(refusal.into()));
                return;
            }
        };
        let hello = welcomed.hello.clone();
        let _ = admitted.send(Ok(welcomed));

        let end = tokio::select! {
            biased;
            // Superseded or too slow: whoever decided that has said so to the stream.
            () = stream_end.cancelled() => Ok(End::Broken),
            () = abandoned.cancelled() => Ok(End::Broken),
            () = draining.cancelled() => Err(self.node.ending()),
            end = self.take_uplinks(&hello) => end,
        };
        self.detach(&hello, end, &hangup);
    }

    /// Applies batches until the stream ends (Ok) or breaks the protocol.
    async fn take_uplinks(&mut self, hello: &Hello) -> Result<End, Refusal> {
        loop {
            self.node.read_slowly(hello.incarnation).await;
            let Some(request) = self.requests.next().await else {
                return Ok(End::Finished);
            };
            let uplink = match request {
                Ok(request) => match request.frame {
                    Some(attach_request::Frame::Uplink(uplink)) => uplink,
                    Some(attach_request::Frame::Hello(_)) => {
                        return Err(Refusal::protocol("hello is the first message only"));
                    }
                    None => return Err(Refusal::protocol("a message of an unknown kind")),
                },
                Err(status) if status.code() == Code::OutOfRange => {
                    return Err(Refusal::unreadable(&status));
                }
                // A node's own words: what a peer's reset says has another code.
                Err(status) if status.code() == Code::ResourceExhausted => {
                    return Err(Refusal::CutOff);
                }
                Err(status) if Refusal::undecodable(&status).is_some() => {
                    return Err(Refusal::unreadable(&status));
                }
                Err(status) => {
                    let problem = http2::broken(&status).unwrap_or_else(|| status.to_string());
                    debug!(gateway = hello.id, problem, "attach stream broke");
                    return Ok(End::Broken);
                }
            };
            if take_uplink(&self.node, hello, uplink).await? == Hold::Full {
                self.node.sync.reach().await;
            }
        }
    }

    /// The stream is over, for a reason of the node's or none.
    fn detach(&self, hello: &Hello, end: Result<End, Refusal>, hangup: &Hangup) {
        let node = &self.node;
        let has_finished = matches!(end, Ok(End::Finished));
        let refusal = end.err();
        if let Some(refusal) = &refusal {
            node.process.metrics.attach_refused(refusal);
        }
        let reason = refusal.as_ref().map(Refusal::to_string);
        let is_stop = node.draining().is_cancelled() || hello.host.is_none() && reason.is_none();
        let (line, links) = node.transact(|transaction, now| {
            let links = transaction
                .gateways
                .open_links(hello.incarnation)
                .unwrap_or(0);
            let parting = match hangup.has_happened() {
                _ if has_finished && links == 0 => Parting::Finished,
                true => Parting::HungUp,
                false => Parting::Broken,
            };
            let detached =
                transaction.detach(now, hello.incarnation, hello.attempt, parting, refusal);
            let line = detached.then(|| transaction.gateways.line(now, hello.host));
            (line, links)
        });
        let Some(line) = line else {
            return;
        };
        node.gateways_changed.notify_waiters();
        node.chores_changed();
        let Some(left_out) = line else {
            return;
        };
        let (gateway, attempt) = (&hello.id, hello.attempt);
        let ended = match hangup.has_happened() {
            true => "its connection was closed",
            false => "its stream ended",
        };
        let reason = reason.as_deref().unwrap_or(ended);
        // Our own end, that of the whole process, and that of a gateway that has ended its links before, are in order.
        if links == 0 || is_stop {
            info!(
                gateway,
                attempt, links, reason, left_out, "gateway detached"
            );
        } else {
            warn!(
                gateway,
                attempt, links, reason, left_out, "gateway detached"
            );
        }
    }
}

/// Applies one batch, or keeps it while the node does not know all links: under one lock, or under several with
/// others in between, if it is much.
async fn take_uplink(node: &Node, hello: &Hello, mut uplink: Uplink) -> Result<Hold, Refusal> {
    let (dialect, pdu_limit) = (&hello.spoken.dialect, node.process.settings.pdu_limit);
    let entries = std::mem::take(&mut uplink.entries);
    let is_large = entries.len() >= LARGE_BATCH;
    // What comes before an entry that cannot be is applied.
    let (entries, refused) = entry::checked(entries, hello.incarnation, dialect, pdu_limit);
    uplink.caught_up &= refused.is_none();
    let mut batch = Batch::new(uplink, entries);
    let hold = loop {
        match take_some(node, hello, &mut batch)? {
            Some(hold) => break hold,
            None => tokio::task::yield_now().await,
        }
    };
    if is_large {
        tokio::task::yield_now().await;
    }
    refused.map_or(Ok(hold), Err)
}

/// As much of a batch as is enough for one lock. None if there is more.
fn take_some(node: &Node, hello: &Hello, batch: &mut Batch) -> Result<Option<Hold>, Refusal> {
    let mut attached_with = None;
    // What is not applied here is for the next node.
    let _acts = node.act()?;
    let (effects, result) = node.transact(|transaction, now| {
        let (incarnation, attempt) = (hello.incarnation, hello.attempt);
        match batch.take_head(transaction, now, incarnation, attempt) {
            Ok(true) => {}
            // A newer stream has taken over; this one is about to hear so.
            Ok(false) => return (Effects::default(), Ok(Some(Hold::Room))),
            Err(refusal) => return (Effects::default(), Err(refusal)),
        }
        let mut hold = batch.hold_some(transaction, now, incarnation);
        if transaction.cold_start.is_some() && node.is_filled_by(incarnation) {
            hold = Hold::Full;
        }
        let (effects, more) = batch.apply_some(transaction, now, incarnation);
        match more {
            Err(refusal) => return (effects, Err(refusal)),
            Ok(true) => return (effects, Ok(None)),
            Ok(false) => {}
        }
        if !std::mem::take(&mut batch.caught_up) {
            return (effects, Ok(Some(hold)));
        }
        node.chores_changed();
        let more = transaction.caught_up(now, incarnation);
        let gateways = &transaction.gateways;
        attached_with = gateways
            .open_links(incarnation)
            .zip(gateways.line(now, hello.host));
        (effects, Ok((!more).then_some(Hold::Room)))
    });
    node.count(&effects);
    if let Some((links, left_out)) = attached_with {
        log_attached(hello, links, left_out);
    }
    result
}

fn log_attached(hello: &Hello, links: usize, left_out: u64) {
    info!(
        gateway = hello.id,
        incarnation = format_args!("{:x}", hello.incarnation),
        attempt = hello.attempt,
        links,
        dialect = hello.spoken.dialect.name(),
        whence = hello.whence,
        left_out,
        "gateway attached"
    );
}

/// How a stream is over that has broken no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The gateway has ended it, as one does that stops.
    Finished,
    /// For another reason.
    Broken,
}
