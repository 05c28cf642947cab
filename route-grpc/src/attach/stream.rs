//! A gateway's stream: hello and welcome, then batches both ways until either side ends it.
//!
//! Two halves that never wait for each other: a task that applies what comes up, and a stream that takes what waits
//! in the gateway's queue (`Outbound`). An embedded gateway uses the same function without a network between.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use route_proto::attach::v1::{
    AttachHello, AttachRequest, AttachResponse, AttachWelcome, Confirmation, Uplink, UplinkEntry,
    attach_request, attach_response,
};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status};
use tracing::{info, warn};

use crate::attach::Hangup;
use crate::clock::micros;
use crate::gateways::clock_offset::signed;
use crate::gateways::ingest::Effects;
use crate::gateways::queue::{Outbound, Retention};
use crate::gateways::{Admission, Hello, Objection};
use crate::limits::MAX_ID_BYTES;
use crate::node::{DRAIN_RETRY, Node, Routing};
use crate::refusal::Refusal;

/// How long a stream may take to say hello.
const HELLO_TIME: Duration = Duration::from_secs(10);

/// After a batch of this many entries, other tasks come first.
const LARGE_BATCH: usize = 256;

impl Node {
    /// Serves one gateway's stream: takes its requests, returns its responses. The first request is `hello`, the
    /// first response `welcome`, or the status that refuses the stream.
    ///
    /// The gateway is detached when either of the two ends. `hangup` is what the connection under them knows of its end.
    pub fn attach<S>(self: &Arc<Self>, requests: S, hangup: Hangup) -> AttachResponses
    where
        S: Stream<Item = Result<AttachRequest, Status>> + Send + 'static,
    {
        self.attach_with(requests, hangup, Retention::UntilTaken)
    }

    /// The same for a gateway in this process: what it is handed is not lost unless the process is, so nothing is kept
    /// to be handed out again.
    pub fn attach_embedded<S>(self: &Arc<Self>, requests: S) -> AttachResponses
    where
        S: Stream<Item = Result<AttachRequest, Status>> + Send + 'static,
    {
        self.attach_with(requests, Hangup::default(), Retention::None)
    }

    fn attach_with<S>(
        self: &Arc<Self>,
        requests: S,
        hangup: Hangup,
        retention: Retention,
    ) -> AttachResponses
    where
        S: Stream<Item = Result<AttachRequest, Status>> + Send + 'static,
    {
        let (admitted, admission) = oneshot::channel();
        let abandoned = CancellationToken::new();
        let node = Arc::clone(self);
        let requests = Box::pin(requests);
        let uplinks = node.serve_gateway(requests, hangup, retention, admitted, abandoned.clone());
        self.shutdown.tracker().spawn(uplinks);
        AttachResponses {
            state: State::Waiting(admission),
            _abandoned: abandoned.drop_guard(),
        }
    }

    async fn serve_gateway<S>(
        self: Arc<Self>,
        mut requests: Pin<Box<S>>,
        hangup: Hangup,
        retention: Retention,
        admitted: oneshot::Sender<Result<Admitted, Status>>,
        abandoned: CancellationToken,
    ) where
        S: Stream<Item = Result<AttachRequest, Status>> + Send,
    {
        let admission = tokio::select! {
            biased;
            () = abandoned.cancelled() => return,
            () = self.shutdown.draining().cancelled_owned() => Err(DRAINING),
            admission = self.admit(&mut requests, retention) => admission,
        };
        let (admitted_gateway, session) = match admission {
            Ok(admission) => admission,
            Err(refusal) => {
                let reason = refusal.reason().as_str_name();
                if matches!(refusal, Refusal::Draining { .. }) {
                    info!(reason, "attach refused");
                } else {
                    warn!(reason, "attach refused");
                }
                self.metrics.attach_refused(&refusal);
                // Nobody listens if the stream was abandoned meanwhile.
                let _ = admitted.send(Err(refusal.into()));
                return;
            }
        };
        let hello = admitted_gateway.hello.clone();
        let _ = admitted.send(Ok(admitted_gateway));

        let end = tokio::select! {
            biased;
            // Superseded or too slow: whoever decided that has said so to the stream.
            () = session.cancelled() => Ok(()),
            () = abandoned.cancelled() => Ok(()),
            () = self.shutdown.draining().cancelled_owned() => Err(DRAINING),
            end = self.take_uplinks(&hello, &mut requests) => end,
        };
        self.detach(&hello, end.err(), &hangup);
    }

    /// Reads the hello and decides about it. A gateway whose id is in use gets a second chance when the other stream
    /// breaks.
    async fn admit<S>(
        &self,
        requests: &mut Pin<Box<S>>,
        retention: Retention,
    ) -> Result<(Admitted, CancellationToken), Refusal>
    where
        S: Stream<Item = Result<AttachRequest, Status>> + Send,
    {
        let first = match timeout(HELLO_TIME, requests.next()).await {
            Ok(Some(Ok(first))) => first.frame,
            Ok(Some(Err(status))) => return Err(broken(&status)),
            Ok(None) | Err(_) => return Err(Refusal::protocol("a stream begins with hello")),
        };
        let Some(attach_request::Frame::Hello(mut hello)) = first else {
            return Err(Refusal::protocol("a stream begins with hello"));
        };
        let description = hello.description.chars().take(256).collect::<String>();
        let roster = std::mem::take(&mut hello.roster);
        let hello = check_hello(hello, self.epoch, self.clock.now())?;
        let session = CancellationToken::new();
        // Its kernel closes the old connection when the process dies, so this is a matter of milliseconds.
        let patience = tokio::time::sleep(self.settings.id_in_use_wait);
        tokio::pin!(patience);
        let mut patient = true;
        loop {
            let changed = self.gateways_changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let decision = self.transact(|routing, now| {
                let entered = self.enter(routing, now, &hello, &session, retention)?;
                Ok(self.welcome(routing, &hello, &roster, entered))
            });
            match decision {
                Ok(admitted) => {
                    info!(
                        gateway = hello.id,
                        incarnation = format_args!("{:x}", hello.incarnation),
                        attempt = hello.attempt,
                        links = admitted.welcome.applied.len(),
                        description,
                        "gateway attached"
                    );
                    self.gateways_changed.notify_waiters();
                    return Ok((admitted, session));
                }
                Err(Objection::IdInUse) if patient => {}
                Err(objection) => return Err(refusal(objection, hello.id)),
            }
            tokio::select! {
                () = changed => {}
                () = patience.as_mut() => patient = false,
            }
        }
    }

    /// Makes a gateway one of the node's, if nothing speaks against it. Returns its queue.
    fn enter(
        &self,
        routing: &mut Routing,
        now: Duration,
        hello: &Hello,
        session: &CancellationToken,
        retention: Retention,
    ) -> Result<Arc<Outbound>, Objection> {
        let admission = routing.gateways.judge(hello)?;
        routing.core.follow(hello.position);
        match admission {
            Admission::Fresh => {}
            Admission::Replaces(old) => {
                routing.lose_gateway(now, old);
                self.metrics.superseded.add(1, &[]);
                self.chores_changed();
            }
            Admission::Resumed => {
                routing.gateways.resume(hello, session.clone());
                routing.core.reattach_gateway(hello.incarnation);
            }
        }
        if admission != Admission::Resumed {
            let (hello, session) = (hello.clone(), session.clone());
            routing.gateways.insert(hello, session, retention);
        }
        let outbound = routing.gateways.outbound(hello.incarnation);
        Ok(outbound.expect("the gateway was inserted or resumed a moment ago"))
    }

    /// Tells a gateway that has entered what the node has of it, and the others that it is there.
    fn welcome(
        &self,
        routing: &mut Routing,
        hello: &Hello,
        roster: &[String],
        outbound: Arc<Outbound>,
    ) -> Admitted {
        if let Some(cold_start) = &mut routing.cold_start {
            let ids = roster.iter().map(String::as_str);
            let ids = ids.filter(|id| id.len() <= MAX_ID_BYTES);
            cold_start.attached(self.clock.now(), &hello.id, ids);
            self.chores_changed();
        } else {
            routing.gateways.announce_roster(Some(hello.incarnation));
        }
        // Before it knows all links, it may not know all gateways.
        let roster = match &routing.cold_start {
            Some(_) => Vec::new(),
            None => routing.gateways.roster(),
        };
        let gateway = routing.gateways.session(hello.incarnation, hello.attempt);
        let applied = gateway
            .iter()
            .flat_map(|gateway| gateway.sequences.applied());
        let welcome = AttachWelcome {
            epoch: self.epoch,
            applied: applied
                .map(|(link, sequence)| Confirmation { link, sequence })
                .collect(),
            roster,
            max_pdu_bytes: u32::try_from(self.settings.pdu_limit).unwrap_or(u32::MAX),
            patient_bytes: self.settings.patient_bytes as u64,
            cold_start_bytes: self.settings.cold_start_bytes as u64,
        };
        Admitted {
            hello: hello.clone(),
            welcome,
            outbound,
        }
    }

    /// Applies batches until the stream ends (Ok) or breaks the protocol.
    async fn take_uplinks<S>(
        &self,
        hello: &Hello,
        requests: &mut Pin<Box<S>>,
    ) -> Result<(), Refusal>
    where
        S: Stream<Item = Result<AttachRequest, Status>> + Send,
    {
        while let Some(request) = requests.next().await {
            let uplink = match request {
                Ok(request) => match request.frame {
                    Some(attach_request::Frame::Uplink(uplink)) => uplink,
                    Some(attach_request::Frame::Hello(_)) => {
                        return Err(Refusal::protocol("hello is the first message only"));
                    }
                    None => return Err(Refusal::protocol("a message of an unknown kind")),
                },
                Err(status) if status.code() == Code::OutOfRange => return Err(broken(&status)),
                Err(status) => {
                    info!(gateway = hello.id, %status, "attach stream broke");
                    return Ok(());
                }
            };
            let entries = uplink.entries.len();
            if self.take_uplink(hello, uplink)? == Hold::Full {
                self.sync.reach().await;
            }
            if entries >= LARGE_BATCH {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Applies one batch under one lock, or keeps it while the node does not know all links.
    fn take_uplink(&self, hello: &Hello, uplink: Uplink) -> Result<Hold, Refusal> {
        let (incarnation, attempt) = (hello.incarnation, hello.attempt);
        let (effects, result) = self.transact(|routing, now| {
            if self.draining().is_cancelled() {
                // What is not applied here is for the next node.
                return (Effects::default(), Err(DRAINING));
            }
            if let Some(congested) = uplink.congested {
                routing.gateways.set_congested(incarnation, congested);
            }
            let Some(gateway) = routing.gateways.session(incarnation, attempt) else {
                // A newer stream has taken over; this one is about to hear so.
                return (Effects::default(), Ok(Hold::Room));
            };
            gateway.take_over(uplink.taken);
            if uplink.clock_micros != 0 {
                gateway.clock.read(now, uplink.clock_micros);
            }
            let (is_catching_up, caught_up) = (gateway.is_catching_up, uplink.caught_up);
            let (mut entries, mut hold) = (uplink.entries, Hold::Room);
            if let Some(cold_start) = &mut routing.cold_start {
                cold_start.told(uplink.told);
                let read_at = |entry: &UplinkEntry| match entry.read_at_micros {
                    0 => micros(now),
                    read_at => gateway.clock.node_micros(signed(read_at)),
                };
                entries = cold_start.hold(incarnation, entries, read_at);
                if caught_up {
                    cold_start.caught_up(&hello.id);
                    self.chores_changed();
                } else if cold_start.is_full(incarnation) {
                    hold = Hold::Full;
                }
            }
            let (effects, result) = if is_catching_up {
                routing.apply_again(now, incarnation, entries, caught_up)
            } else if entries.is_empty() {
                (Effects::default(), Ok(()))
            } else {
                routing.apply(now, incarnation, entries, None)
            };
            (effects, result.map(|()| hold))
        });
        self.count(&effects);
        result
    }

    /// The stream is over, for a reason of the node's or none.
    fn detach(&self, hello: &Hello, refusal: Option<Refusal>, hangup: &Hangup) {
        if let Some(refusal) = &refusal {
            self.metrics.attach_refused(refusal);
        }
        let reason = refusal.as_ref().map(Refusal::to_string);
        let draining = self.draining().is_cancelled();
        let (detached, links) = self.transact(|routing, now| {
            let gateway = routing.gateways.get_mut(hello.incarnation);
            let links = gateway.map_or(0, |gateway| gateway.sequences.open_links().count());
            let detached = routing.detach(now, hello.incarnation, hello.attempt, refusal);
            if detached && hangup.has_happened() {
                routing.gateways.hung_up(now, hello.incarnation);
            }
            (detached, links)
        });
        if detached {
            let (gateway, attempt) = (&hello.id, hello.attempt);
            let reason = reason.as_deref().unwrap_or("its stream ended");
            // Our own end, and that of a gateway that has ended its links before, are in order.
            if draining || links == 0 {
                info!(gateway, attempt, links, reason, "gateway detached");
            } else {
                warn!(gateway, attempt, links, reason, "gateway detached");
            }
            self.gateways_changed.notify_waiters();
            self.chores_changed();
        }
    }
}

const DRAINING: Refusal = Refusal::Draining { retry: DRAIN_RETRY };

/// Whether more can be kept of a gateway while the node does not know all links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Room,
    Full,
}

/// A gateway that is in.
#[derive(Debug)]
struct Admitted {
    hello: Hello,
    welcome: AttachWelcome,
    outbound: Arc<Outbound>,
}

/// What the node sends to one gateway. Dropping it detaches the gateway.
#[derive(Debug)]
pub struct AttachResponses {
    state: State,
    _abandoned: DropGuard,
}

#[derive(Debug)]
enum State {
    /// For the decision about the hello.
    Waiting(oneshot::Receiver<Result<Admitted, Status>>),
    /// The attempt, and its gateway's queue.
    Open(u64, Arc<Outbound>),
    Over,
}

impl Stream for AttachResponses {
    type Item = Result<AttachResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = match &mut self.state {
            State::Waiting(admission) => match std::task::ready!(Pin::new(admission).poll(cx)) {
                Ok(Ok(admitted)) => {
                    self.state = State::Open(admitted.hello.attempt, admitted.outbound);
                    Some(Ok(attach_response::Frame::Welcome(admitted.welcome)))
                }
                Ok(Err(status)) => Some(Err(status)),
                // The serving task is gone without a word: the process is ending.
                Err(_) => Some(Err(DRAINING.into())),
            },
            State::Open(attempt, outbound) => std::task::ready!(outbound.poll_take(*attempt, cx))
                .map(|taken| taken.map(attach_response::Frame::Downlink)),
            State::Over => None,
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(AttachResponse { frame: Some(frame) })),
            Some(Err(status)) => {
                self.state = State::Over;
                Some(Err(status))
            }
            None => {
                self.state = State::Over;
                None
            }
        })
    }
}

fn check_hello(hello: AttachHello, epoch: u64, now: Duration) -> Result<Hello, Refusal> {
    let id = hello.gateway_id;
    let printable = id.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if id.is_empty() || id.len() > MAX_ID_BYTES || !printable {
        let problem = format!("1 to {MAX_ID_BYTES} bytes of printable ASCII");
        return Err(Refusal::field("hello.gateway_id", problem));
    }
    if hello.incarnation == 0 {
        return Err(Refusal::field("hello.incarnation", "must not be 0"));
    }
    if hello.attempt == 0 {
        return Err(Refusal::field("hello.attempt", "counts from 1"));
    }
    Ok(Hello {
        id,
        incarnation: hello.incarnation,
        attempt: hello.attempt,
        taken: if hello.epoch == epoch { hello.taken } else { 0 },
        // Nobody gets that far; whoever says so must not end the count.
        position: hello.position.min(u64::MAX / 2),
        clock_offset: micros(now).saturating_sub(signed(hello.clock_micros)),
    })
}

fn refusal(objection: Objection, gateway: String) -> Refusal {
    match objection {
        Objection::Superseded => Refusal::AttachSuperseded { gateway },
        Objection::IdInUse => Refusal::GatewayIdInUse { gateway },
        Objection::IncarnationInUse => Refusal::field(
            "hello.incarnation",
            "belongs to a gateway with another id; it has to be unique",
        ),
        Objection::TooMany => Refusal::TooLarge {
            problem: "this node has as many gateways as it can have".to_owned(),
        },
    }
}

/// A message could not be read. If it was too long, the gateway can do something about it.
fn broken(status: &Status) -> Refusal {
    let problem = status.message().to_owned();
    if status.code() == Code::OutOfRange {
        Refusal::TooLarge { problem }
    } else {
        Refusal::AttachProtocol { problem }
    }
}
