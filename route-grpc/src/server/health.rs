//! grpc.health.v1: what probes ask.
//!
//! | name | serving means |
//! |---|---|
//! | `liveness` | the node's loop turns; depends on nothing else |
//! | `readiness`, and the empty name | this process wants work |
//! | each API service | the same |

use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use route_proto::attach::v1::attach_service_server;
use route_proto::v1::{broadcast_service_server, presence_service_server, server_service_server};
use route_runtime::readiness::Readiness;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_check_response::ServingStatus as Told;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::{HealthReporter, HealthService};

use crate::process::Process;

const LIVENESS: &str = "liveness";

/// Names that follow the process's readiness.
const READINESS: [&str; 6] = [
    "",
    "readiness",
    presence_service_server::SERVICE_NAME,
    broadcast_service_server::SERVICE_NAME,
    server_service_server::SERVICE_NAME,
    attach_service_server::SERVICE_NAME,
];

/// How often the loop is looked after. It turns at least every second.
const LOOK: Duration = Duration::from_secs(5);

/// The service. Of names that nobody has registered it answers as the protocol says: a check is
/// refused, a watch is told so and stays open.
#[derive(Debug)]
pub(super) struct Service {
    registered: HealthService,
    draining: CancellationToken,
}

impl Service {
    /// Answers from what the reporter is told, until the node drains.
    pub(super) fn new(reporter: HealthReporter, process: &Process) -> HealthServer<Self> {
        HealthServer::new(Self {
            registered: HealthService::from_health_reporter(reporter),
            draining: process.draining(),
        })
    }
}

type Watched = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Service {
    type WatchStream = Watched;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.get_ref().service.clone();
        let checked = self.registered.check(request).await;
        checked.map_err(|status| {
            if status.code() != Code::NotFound {
                return status;
            }
            let names = READINESS.join(" ");
            Status::not_found(format!(
                "{name:?} is not served here, but {LIVENESS}{names}"
            ))
        })
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Watched>, Status> {
        match self.registered.watch(request).await {
            Ok(watched) => Ok(watched.map(|statuses| Box::pin(statuses) as Watched)),
            Err(status) if status.code() == Code::NotFound => {
                let unknown = HealthCheckResponse {
                    status: Told::ServiceUnknown.into(),
                };
                let ends = self.draining.clone().cancelled_owned();
                let told = stream::once(future::ready(Ok(unknown)));
                let told = told.chain(stream::pending()).take_until(ends);
                Ok(Response::new(Box::pin(told)))
            }
            Err(status) => Err(status),
        }
    }
}

/// Registers every name: alive, and not ready. (A reporter starts as serving under the empty name.)
pub(crate) async fn start(reporter: &HealthReporter) {
    let names = READINESS.map(|name| (name, ServingStatus::NotServing));
    for (name, status) in names
        .into_iter()
        .chain([(LIVENESS, ServingStatus::Serving)])
    {
        reporter.set_service_status(name, status).await;
    }
}

/// Follows node and readiness until the node drains; then ends every health watch.
pub(crate) async fn follow(
    mut reporter: HealthReporter,
    process: Arc<Process>,
    readiness: Readiness,
) {
    let draining = process.draining();
    let mut ready = readiness.watch();
    let (mut shown_ready, mut shown_alive) = (false, true);
    let mut turns = None;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        let is_ready = ready.borrow_and_update().ready;
        show(&reporter, &READINESS, &mut shown_ready, is_ready).await;
        tokio::select! {
            biased;
            () = draining.cancelled() => break,
            changed = ready.changed() => {
                if changed.is_err() {
                    break;
                }
            }
            _ = looks.tick() => {
                let now = process.turns();
                let alive = turns.replace(now) != Some(now);
                show(&reporter, &[LIVENESS], &mut shown_alive, alive).await;
            }
        }
    }
    show(&reporter, &READINESS, &mut shown_ready, false).await;
    // Whoever watches has been told; the names stay until the end of the drain for those who ask.
    process.drained().await;
    for name in READINESS.into_iter().chain([LIVENESS]) {
        reporter.clear_service_status(name).await;
    }
}

/// Says so of these names, unless it is shown already: that would tell every watcher again.
async fn show(reporter: &HealthReporter, names: &[&str], shown: &mut bool, serves: bool) {
    if std::mem::replace(shown, serves) == serves {
        return;
    }
    let status = match serves {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    for name in names {
        reporter.set_service_status(name, status).await;
    }
}
