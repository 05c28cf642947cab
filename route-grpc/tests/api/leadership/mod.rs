//! Several processes of one site in this one, with a record in memory and time that the tests move: who leads, whom it lets
//! in, and how its term ends.

mod doors;
mod hostile;
mod network;
mod terms;
mod writes;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use route_grpc::engine::played::{Played as Way, PlayedSite};
use route_grpc::engine::record::Author;
use route_grpc::leadership::Leadership;
use route_grpc::settings::NodeSettings;
use route_grpc::{Access, Gateways, Process};
use route_leadership::{Record, State};
use route_proto::attach::v1::AttachHello;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{GetUserStatusRequest, GetUserStatusResponse};
use route_runtime::budget::Budget;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use route_runtime::telemetry::Metrics;
use route_runtime::tls::client::ClientTls;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt as _;

use crate::attach::reason;
use crate::played::{Played, caught_up, hello, incarnation};
use crate::site::{DEADLINE, soon};
use crate::standby::NAMES;

const SECOND: Duration = Duration::from_secs(1);

/// What takes no time takes less, when time is played.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How often it is looked whether something is so.
const STEP: Duration = Duration::from_millis(5);

/// Time as tests move it.
fn clock() -> Duration {
    static BEGAN: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    // The time of a test may have begun earlier.
    let began = *BEGAN;
    (Instant::now().into_std() + SECOND * 3600).duration_since(began)
}

/// The nodes of one site, and its record.
struct Several {
    site: PlayedSite,
    number: u64,
    began: Instant,
}

/// One of its processes.
struct One {
    name: String,
    way: Way,
    shutdown: Shutdown,
    readiness: Readiness,
    metrics: Metrics,
}

impl Several {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            site: PlayedSite::new(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            began: Instant::now(),
        }
    }

    /// Another process.
    fn starts(&self, name: &str) -> One {
        self.starts_with(name, |_| ())
    }

    fn starts_with(&self, name: &str, change: impl FnOnce(&mut NodeSettings)) -> One {
        let name = format!("{name}-{}", self.number);
        let mut settings = NodeSettings {
            drain_window: Duration::from_millis(100),
            cold_start_wait: Duration::ZERO,
            ..NodeSettings::default()
        };
        change(&mut settings);
        let metrics = Metrics::new("test", "0").unwrap();
        let (meter, budget) = (metrics.meter(), Budget::new(None));
        let shutdown = Shutdown::new(DEADLINE);
        let process = Process::new(settings, budget, &meter, shutdown.clone());
        let (way, readiness) = (self.site.way(), Readiness::new());
        let author = Author {
            node_id: name.clone(),
            api_url: format!("http://{name}"),
            attach_url: format!("http://{name}:2"),
            version: "test".to_owned(),
        };
        let (engine, peers) = (Arc::new(way.clone()), ClientTls::none(NAMES));
        let peers = (peers, network::dial as _);
        let leadership = Leadership::dialling(&process, engine, author, &meter, clock, peers);
        let leadership = leadership.unwrap();
        let served = route_grpc::serve(
            process,
            leadership.role(),
            network::Port::open(&name),
            readiness.clone(),
            Access::without_policy(&meter),
            Gateways::Here,
        );
        let tracker = shutdown.tracker();
        tracker.spawn(served);
        tracker.spawn(leadership.follow(readiness.clone()));
        tracker.spawn(leadership.run());
        One {
            name,
            way,
            shutdown,
            readiness,
            metrics,
        }
    }

    /// A site with one node, which leads and serves these gateways, each with a MsgServer that has user 7, 8, …
    async fn with<const N: usize>(ids: [&str; N]) -> (Self, One, [Played; N]) {
        let several = Self::new();
        let one = several.starts("one");
        several.serves(&one, 1).await;
        let mut gateways = Vec::new();
        for (id, user) in ids.into_iter().zip(7..) {
            let mut gateway = one.attaches(id).await.unwrap();
            gateway.open_with(1, &[user]).await;
            gateways.push(gateway);
        }
        (several, one, gateways.try_into().ok().unwrap())
    }

    /// What is there of the record, if it is.
    fn now(&self) -> Option<Record<route_grpc::engine::record::Member>> {
        let found = self.site.record().unwrap();
        found.map(|it| it.stored.record)
    }

    fn writer(&self) -> String {
        self.site.record().unwrap().unwrap().author.node_id
    }

    /// Who is in the record.
    fn roster(&self) -> Vec<String> {
        let roster = self.now().unwrap().roster;
        roster.into_iter().map(|it| it.id).collect()
    }

    /// Waits until it is written that this node serves in this term.
    async fn serves(&self, one: &One, term: u64) {
        self.is(one, term, State::Serving).await;
    }

    /// Or that it serves already, where that takes no time.
    async fn is(&self, one: &One, term: u64, state: State) {
        let is = |it: Record<_>| it.term == term && [state, State::Serving].contains(&it.state);
        let is_so = async {
            while !self.now().is_some_and(is) {
                sleep(STEP).await;
            }
        };
        let waits = timeout(SECOND * 40, is_so).await;
        let now = self.now();
        assert!(waits.is_ok(), "{}, {term}, {state:?}: {now:?}", one.name);
        assert_eq!(self.writer(), one.name);
    }

    fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

impl One {
    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.name)).unwrap();
        soon("a connection", network::dial(&endpoint))
            .await
            .unwrap()
    }

    /// A gateway that has nothing to send again.
    async fn attaches(&self, id: &str) -> Result<Played, Status> {
        self.attaches_as(hello(id, incarnation(), 1)).await
    }

    async fn attaches_as(&self, hello: AttachHello) -> Result<Played, Status> {
        let attached = Played::attach_over(self.channel().await, hello).await?;
        attached.send(caught_up(Vec::new())).await;
        Ok(attached)
    }

    /// The same gateway on a stream of its own: what it was welcomed by, it says.
    async fn takes_in(&self, id: &str, before: &Played, attempt: u64) -> Result<Played, Status> {
        self.attaches_as(AttachHello {
            term: before.welcome.term,
            roster: before.roster.clone(),
            ..hello(id, before.incarnation, attempt)
        })
        .await
    }

    async fn asks(&self, user_id: u32) -> Result<GetUserStatusResponse, Status> {
        let mut presence = PresenceServiceClient::new(self.channel().await);
        let asked = presence.get_user_status(GetUserStatusRequest {
            user_id,
            include_sessions: true,
            ..GetUserStatusRequest::default()
        });
        Ok(soon("an answer", asked).await?.into_inner())
    }

    /// One term of it ends so, and no other has.
    async fn ended(&self, reason: &str) {
        let ended = async {
            while self.count_ended(reason) == 0 {
                sleep(STEP).await;
            }
        };
        soon("the end of a term", ended).await;
        assert_eq!(self.count_ended(reason), 1);
    }

    fn count_ended(&self, reason: &str) -> u64 {
        let name = "teamtalk_route_terms_ended_total";
        let of_reason = format!("reason=\"{reason}\"");
        let text = self.metrics.render();
        let line = text
            .lines()
            .find(|it| it.starts_with(name) && it.contains(&of_reason));
        let (_, value) = line.unwrap().rsplit_once(' ').unwrap();
        value.parse().unwrap()
    }

    /// Why it is ready, or not.
    async fn is_ready(&self, ready: bool, reason: &str) {
        let mut states = self.readiness.watch();
        let is_so = states.wait_for(|it| it.ready == ready && it.reason == reason);
        let waits = timeout(SECOND * 40, is_so).await.map(drop);
        assert!(waits.is_ok(), "{}: {:?}", self.name, self.readiness.state());
    }
}

/// Where the leader is, by what a gateway or a caller is told.
fn not_leader(status: &Status) -> Option<String> {
    assert_eq!(reason(status), "NOT_LEADER", "{status:?}");
    let info = status.get_details_error_info().unwrap();
    info.metadata.get("leader").cloned()
}
