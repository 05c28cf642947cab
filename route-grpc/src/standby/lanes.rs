//! Connections to the leader: made anew for each leader, and as many as calls need.

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use route_runtime::telemetry::reasons;
use route_runtime::tls::client::ClientTls;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::codegen::http::HeaderMap;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use super::leader::Leader;
use crate::limits::{Place, Places, READ_HEADER_BYTES};
use crate::process::Process;
use crate::refusal::Refusal;

/// Calls of one connection: what a node takes of one.
const CALLS: usize = 1000;

/// What may come of one call before its caller takes it.
const CALL_BYTES: u32 = 64 << 10;

/// No less than of all calls of a connection together, so that none waits for another one's caller. As much as there may be:
/// by this the library says how many short frames may wait, and ends the connection beyond.
const LANE_BYTES: u32 = i32::MAX as u32;

/// A hand-shake that takes longer is none.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(100);

/// A leader that was silent for so long is asked whether it is there, and has so long to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// When there is another leader, calls that are open at the one before have so long to be ended by it.
const ENDED_BY_FORMER: Duration = Duration::from_secs(1);

/// New calls take a connection up to this age: what is shown in the hand-shake is read for each from its files.
const AGE: Duration = Duration::from_secs(300);

/// A token's file is read so often.
const TOKEN_AGE: Duration = Duration::from_secs(5);

/// How an endpoint is connected to.
pub type Dial =
    fn(
        &Endpoint,
    ) -> Pin<Box<dyn Future<Output = Result<Channel, tonic::transport::Error>> + Send + '_>>;

/// One connection. Clones are one.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) channel: Channel,
    /// Its calls are to end now.
    pub(super) over: CancellationToken,
    leader: Arc<Leader>,
    places: Arc<Places>,
    made: Instant,
    is_broken: Arc<AtomicBool>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Lanes {
    process: Arc<Process>,
    tls: ClientTls,
    dial: Dial,
    /// There are no more.
    most: usize,
    state: Mutex<State>,
    /// There is another one, or another leader.
    changed: watch::Sender<()>,
    /// There are too few.
    wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    leader: Option<Arc<Leader>>,
    lanes: Vec<Lane>,
    /// Why the last attempt came to nothing.
    problem: Option<String>,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Lane {
    fn takes_calls(&self) -> bool {
        !self.is_broken.load(Ordering::Relaxed) && !self.over.is_cancelled()
    }

    fn is_free(&self) -> bool {
        self.takes_calls() && self.places.in_use() < CALLS
    }

    /// What is said of a call that did not come to an end at this leader.
    pub(super) fn not_leader(&self, problem: &str) -> Refusal {
        Refusal::NotLeader {
            leader: Some(self.leader.api_url.clone()),
            problem: Some(problem.to_owned()),
        }
    }
}

impl Lanes {
    /// None yet.
    pub(super) fn new(process: &Arc<Process>, tls: ClientTls, dial: Dial) -> Arc<Self> {
        Arc::new(Self {
            process: Arc::clone(process),
            tls,
            dial,
            // A lane's worth of streams may be full of calls with one answer all the same.
            most: process.settings.max_streams.div_ceil(CALLS) + 1,
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            wanted: Notify::new(),
        })
    }

    /// Connects to whoever leads, until nobody says any more who that is.
    pub(super) async fn keep(self: Arc<Self>, mut leader: watch::Receiver<Option<Leader>>) {
        loop {
            let leads = leader.borrow_and_update().clone().map(Arc::new);
            self.led_by(leads.clone());
            let connecting = async {
                match &leads {
                    Some(leads) => self.connect(leads).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                changed = leader.changed() => if changed.is_err() { return },
                never = connecting => match never {},
                never = self.refresh_token() => match never {},
            }
        }
    }

    /// Somebody leads, or nobody does.
    fn led_by(&self, leader: Option<Arc<Leader>>) {
        let former = {
            let mut state = self.state.lock();
            if state.leader == leader {
                return;
            }
            state.leader = leader;
            state.problem = None;
            std::mem::take(&mut state.lanes)
        };
        if !former.is_empty() {
            tokio::spawn(async move {
                sleep(ENDED_BY_FORMER).await;
                for lane in former {
                    lane.over.cancel();
                }
            });
        }
        self.changed.send_replace(());
    }

    async fn connect(&self, leader: &Arc<Leader>) -> Infallible {
        loop {
            let wanted = self.wanted.notified();
            if !self.state.lock().is_short(self.most) {
                wanted.await;
                continue;
            }
            match self.lane(leader).await {
                Ok(lane) => {
                    let mut state = self.state.lock();
                    state
                        .lanes
                        .retain(|it| it.takes_calls() && it.made.elapsed() < AGE);
                    state.lanes.push(lane);
                    state.problem = None;
                }
                Err(problem) => {
                    self.log("connection", &problem);
                    self.state.lock().problem = Some(problem);
                    sleep(AGAIN).await;
                }
            }
            self.changed.send_replace(());
        }
    }

    /// Makes one, by what the files have now.
    async fn lane(&self, leader: &Arc<Leader>) -> Result<Lane, String> {
        let (tls, url) = (&self.tls, self.tls.url(&leader.api_url));
        tls.check([&*url])?;
        let endpoint = Endpoint::from_shared(url).map_err(|error| reasons(&error))?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIME)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(CALL_BYTES)
            .initial_connection_window_size(LANE_BYTES)
            .http2_max_header_list_size(READ_HEADER_BYTES);
        let credentials = tls.current().await.map_err(|error| error.to_string())?;
        let endpoint = tls.secured(endpoint, &credentials);
        let endpoint = endpoint.map_err(|error| error.to_string())?;
        self.state.lock().authorization = credentials.authorization;
        let channel = (self.dial)(&endpoint).await;
        let channel = channel.map_err(|error| {
            let explained = tls.explained(&error);
            explained.unwrap_or_else(|| reasons(&error))
        })?;
        Ok(Lane {
            channel,
            over: CancellationToken::new(),
            leader: Arc::clone(leader),
            places: Arc::new(Places::new(CALLS)),
            made: Instant::now(),
            is_broken: Arc::default(),
        })
    }

    async fn refresh_token(&self) -> Infallible {
        if self.tls.token_file.is_none() {
            return pending().await;
        }
        loop {
            sleep(TOKEN_AGE).await;
            let tls = self.tls.clone();
            match tokio::task::spawn_blocking(move || tls.authorization()).await {
                Ok(Ok(token)) => self.state.lock().authorization = token,
                // What was before stays.
                Ok(Err(error)) => self.log("token", &error),
                // The runtime goes down.
                Err(_) => {}
            }
        }
    }

    /// One with a place, as soon as there is one.
    pub(super) async fn take(&self) -> (Lane, Place) {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(found) = self.free() {
                return found;
            }
            // The sender is this value's own, so there is no other end.
            let _ = changed.changed().await;
        }
    }

    fn free(&self) -> Option<(Lane, Place)> {
        let state = self.state.lock();
        let found = state.lanes.iter().find_map(|lane| {
            let place = lane.is_free().then(|| lane.places.take())??;
            Some((lane.clone(), place))
        });
        if state.is_short(self.most) {
            self.wanted.notify_one();
        }
        found
    }

    /// A call on it came to nothing: no more begin there. Says why.
    pub(super) fn broken(&self, lane: &Lane, error: &(dyn Error + 'static)) -> String {
        lane.is_broken.store(true, Ordering::Relaxed);
        self.state.lock().lanes.retain(Lane::takes_calls);
        self.wanted.notify_one();
        let explained = self.tls.explained(error);
        let problem = explained.unwrap_or_else(|| reasons(error));
        self.log("connection", &problem);
        problem
    }

    /// The leader takes no calls of this node, as these headers say.
    pub(super) fn refused(&self, lane: &Lane, headers: &HeaderMap) -> Refusal {
        let status = Status::from_header_map(headers);
        let told = status.as_ref().map_or("", Status::message);
        let problem = format!("it does not take calls from this node: {told}");
        self.log("refused", &problem);
        lane.not_leader(&problem)
    }

    /// What is said of a call that does not go on to whoever leads.
    pub(super) fn not_leader(&self, problem: Option<String>) -> Refusal {
        let leader = self.state.lock().leader.clone();
        Refusal::NotLeader {
            leader: leader.map(|it| it.api_url.clone()),
            problem,
        }
    }

    /// What is said of one for which there was no connection in time.
    pub(super) fn not_reached(&self) -> Refusal {
        let problem = {
            let state = self.state.lock();
            match (&state.leader, &state.problem) {
                (None, _) => None,
                (Some(_), Some(problem)) => Some(problem.clone()),
                (Some(_), None) if state.lanes.is_empty() => {
                    Some("it is not reached yet".to_owned())
                }
                (Some(_), None) => Some("too many calls go on there already".to_owned()),
            }
        };
        self.not_leader(problem)
    }

    /// What this node shows of itself beside its certificate.
    pub(super) fn authorization(&self) -> Option<MetadataValue<Ascii>> {
        self.state.lock().authorization.clone()
    }

    fn log(&self, reason: &'static str, problem: &dyn std::fmt::Display) {
        let kind = ("calls cannot be passed on to the leader", reason);
        let now = self.process.clock.now();
        self.process.refusals.log(now, kind, None, problem);
    }
}

impl State {
    fn is_short(&self, most: usize) -> bool {
        let mut young = self.lanes.iter().filter(|it| it.made.elapsed() < AGE);
        !young.any(Lane::is_free) && self.lanes.iter().filter(|it| it.takes_calls()).count() < most
    }
}
