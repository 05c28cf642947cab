//! What a node does with calls while another one leads: what concerns the site it passes on to the leader, one hop, streams
//! too, with what their caller has shown here. Nothing is decoded: bodies go on frame by frame, as fast as they are taken.
//!
//! What bounds what, beside the ports' own limits:
//!
//! | what | is bounded by |
//! |---|---|
//! | streams that are passed on | the places of the process, as those of a leader (`--max-streams`) |
//! | calls at a time | places of connections to the leader: as many as streams there may be, and a thousand |
//! | what waits for a caller that does not read | 64 KiB of each call from the leader, and what HTTP/2 takes up for the caller |
//! | what waits for the leader | what HTTP/2 takes up of each request, and then the caller waits |
//! | what of requests has begun | each client's share here. The leader does not tell the clients of a node apart: eight snapshots at a time are of all |
//! | a call without a leader | `--call-wait` |
//! | a call whose leader is silent | HTTP/2 keepalive, or a second after there is another leader |

mod bodies;
mod lanes;
mod leader;

use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;

use route_access::Role;
use route_runtime::tls::client::ClientTls;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::http::{HeaderName, HeaderValue, Request, Response, header};
use tonic::metadata::MetadataMap;
use tonic::{Status, TimeoutExpired};

use crate::access::{Caller, FORWARDED_BY, FORWARDED_FOR, Part, Right, found};
use crate::limits::{Place, Places};
use crate::methods;
use crate::metrics::passed_on::{Outcome, Passing};
use crate::process::Process;
use crate::refusal::{OfCaller, REFUSED_NODE, Refusal};
use bodies::{Answer, Asked, Told};
pub use lanes::Dial;
use lanes::{Lane, Lanes};
pub use leader::Leader;

/// Longest text about a caller: what a token or a certificate of the longest that are taken has in it.
const MAX_VOUCHED_BYTES: usize = 20 << 10;

/// What goes on of a caller's headers: what the leader reads, and what tools look at.
const HEADERS: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::TE,
    header::USER_AGENT,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// Hands calls on. Clones are one.
#[derive(Debug, Clone)]
pub struct Standby(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    process: Arc<Process>,
    /// What the leader is told that this node is called.
    node_id: HeaderValue,
    lanes: Arc<Lanes>,
    _keeps: AbortOnDropHandle<()>,
}

/// What a call takes for as long as it goes on.
#[derive(Debug)]
struct Taken {
    _of_lane: Place,
    /// None: it has one answer.
    of_streams: Option<Place>,
    passing: Passing,
}

impl Taken {
    fn is_stream(&self) -> bool {
        self.of_streams.is_some()
    }
}

impl Standby {
    /// A node of this id, which is shown in headers, that connects to whoever leads as these flags say. Keeps a connection as
    /// long as it lives.
    ///
    /// # Errors
    ///
    /// For people: the id has characters in it that no header has.
    pub fn new(
        process: &Arc<Process>,
        node_id: &str,
        tls: ClientTls,
        leader: watch::Receiver<Option<Leader>>,
    ) -> Result<Self, String> {
        let dial: Dial = |endpoint| Box::pin(endpoint.connect());
        Self::dialling(process, node_id, tls, leader, dial)
    }

    /// The same over another network, where one is simulated.
    ///
    /// # Errors
    ///
    /// As in [`new`](Self::new).
    pub fn dialling(
        process: &Arc<Process>,
        node_id: &str,
        tls: ClientTls,
        leader: watch::Receiver<Option<Leader>>,
        dial: Dial,
    ) -> Result<Self, String> {
        let unfit = |_| format!("{node_id:?} is no name of a node: it is to be printable ASCII");
        let node_id = HeaderValue::try_from(node_id).map_err(unfit)?;
        let lanes = Lanes::new(process, tls, dial);
        let keeps = Arc::clone(&lanes).keep(leader);
        Ok(Self(Arc::new(Shared {
            process: Arc::clone(process),
            node_id,
            lanes,
            _keeps: AbortOnDropHandle::new(tokio::spawn(keeps)),
        })))
    }

    /// Its process.
    pub(crate) fn process(&self) -> &Arc<Process> {
        &self.0.process
    }

    /// Answers a call that the ports' layers have let in, by what the leader answers. `here` returns when this process leads:
    /// what still waits for a leader then is given back.
    ///
    /// # Errors
    ///
    /// The call is for this process, with what `here` has returned.
    pub async fn call<T>(
        &self,
        request: Request<Body>,
        here: impl Future<Output = T>,
    ) -> Result<Response<Body>, (T, Request<Body>)> {
        match self.pass_on(request, here).await {
            Ok(passed) => passed,
            Err(refusal) => Ok(Status::from(refusal).into_http()),
        }
    }

    async fn pass_on<T>(
        &self,
        request: Request<Body>,
        here: impl Future<Output = T>,
    ) -> Result<Result<Response<Body>, (T, Request<Body>)>, Refusal> {
        let caller = Caller::of(request.extensions())?;
        let (method, right, part) = found(request.uri().path()).ok_or_else(no_method)?;
        let vouched = caller.vouched();
        // Without a policy the leader cannot tell who is a node, and lets nobody operate it who comes by another host.
        let is_open = right != Right::Role(Role::Admin) || vouched.is_some();
        let is_passed_on = request.headers().contains_key(FORWARDED_BY);
        if part != Part::Site || is_passed_on || !is_open {
            return Err(self.0.lanes.not_leader(None));
        }
        let vouched = vouched.map(|it| it.to_text());
        let bytes = vouched.as_ref().map_or(0, String::len);
        if bytes > MAX_VOUCHED_BYTES {
            let most = MAX_VOUCHED_BYTES;
            return Err(OfCaller::Headers { bytes, most }.into());
        }
        let of_streams = self.stream(method)?;
        let counts = &self.0.process.metrics.passed_on;
        let mut passing = counts.begins(of_streams.is_some());
        let found = tokio::select! {
            biased;
            here = here => {
                passing.stays();
                return Ok(Err((here, request)));
            }
            found = self.lane() => found,
        };
        let (lane, of_lane) = found.inspect_err(|_| passing.becomes(Outcome::NotReached))?;
        let taken = Taken {
            _of_lane: of_lane,
            of_streams,
            passing,
        };
        let answer = self.send(&lane, taken, request, vouched.as_deref());
        answer.await.map(Ok)
    }

    /// One of the places that streams of this method have; none: it is no stream.
    fn stream(&self, method: &str) -> Result<Option<Place>, Refusal> {
        let process = &self.0.process;
        if process.draining().is_cancelled() {
            return Err(Refusal::DRAINING);
        }
        let places: &Places = match method {
            methods::DRAIN_GATEWAY | methods::WATCH_TOPOLOGY => &process.screens,
            _ if methods::READERS.contains(&method) => &process.streams,
            _ => return Ok(None),
        };
        let limit = places.limit();
        let place = places.take().ok_or(Refusal::StreamLimit { limit })?;
        Ok(Some(place))
    }

    /// A connection to the leader that has a place; waits for one, but not for ever.
    async fn lane(&self) -> Result<(Lane, Place), Refusal> {
        let lanes = &self.0.lanes;
        let wait = self.0.process.settings.call_wait;
        let found = timeout(wait, lanes.take()).await;
        found.map_err(|_| lanes.not_reached())
    }

    async fn send(
        &self,
        lane: &Lane,
        mut taken: Taken,
        request: Request<Body>,
        vouched: Option<&str>,
    ) -> Result<Response<Body>, Refusal> {
        let lanes = &self.0.lanes;
        let over = lane.over.child_token();
        // Whichever end of the call gives it up: the other one is told.
        let ends = over.clone().drop_guard();
        let request = self.forwarded(request, vouched, &over);
        let mut channel = lane.channel.clone();
        let answer = async {
            poll_fn(|cx| GrpcService::<Body>::poll_ready(&mut channel, cx)).await?;
            channel.call(request).await
        };
        let answered = over.run_until_cancelled(answer).await;
        let lost = lane.not_leader("the call broke off there");
        let passing = &mut taken.passing;
        let Some(response) = answered else {
            passing.becomes(Outcome::Lost);
            return Err(lost);
        };
        let response = response.map_err(|error| {
            if is_timeout(&error) {
                return Refusal::DeadlinePassed;
            }
            passing.becomes(Outcome::Lost);
            lane.not_leader(&lanes.broken(lane, &error))
        })?;
        if response.headers().contains_key(REFUSED_NODE) {
            passing.becomes(Outcome::Refused);
            return Err(lanes.refused(lane, response.headers()));
        }
        passing.becomes(Outcome::Answered);
        let (of_lane, lanes) = (lane.clone(), Arc::clone(lanes));
        let told = Told {
            lost,
            refused: Box::new(move |trailers| lanes.refused(&of_lane, trailers)),
        };
        let process = &self.0.process;
        Ok(response.map(|inner| Body::new(Answer::new(inner, over, ends, taken, process, told))))
    }

    /// The request as the leader gets it.
    fn forwarded(
        &self,
        request: Request<Body>,
        vouched: Option<&str>,
        over: &CancellationToken,
    ) -> Request<Body> {
        let (parts, body) = request.into_parts();
        let mut forwarded = Request::new(Body::new(Asked::new(body, over.clone())));
        *forwarded.method_mut() = parts.method;
        *forwarded.uri_mut() = parts.uri;
        let headers = forwarded.headers_mut();
        for name in HEADERS {
            for value in parts.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        headers.insert(FORWARDED_BY, self.0.node_id.clone());
        // It is base64url.
        if let Some(Ok(text)) = vouched.map(HeaderValue::try_from) {
            headers.insert(FORWARDED_FOR, text);
        }
        if let Some(token) = self.0.lanes.authorization() {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", token);
            headers.extend(metadata.into_headers());
        }
        forwarded
    }
}

/// The caller's time is over, as tonic sees it; our own layer sees it earlier, but for a busy machine.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn no_method() -> Refusal {
    Refusal::NotServed {
        problem: "there is no such method".to_owned(),
    }
}
