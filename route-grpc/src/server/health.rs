//! grpc.health.v1: what probes ask.
//!
//! | name | serving means |
//! |---|---|
//! | `liveness` | the node's loop turns; depends on nothing else |
//! | `readiness`, and the empty name | this process wants work |
//! | each API service | the same |

use std::sync::Arc;
use std::time::Duration;

use route_proto::attach::v1::attach_service_server;
use route_proto::v1::{broadcast_service_server, presence_service_server, server_service_server};
use route_runtime::readiness::Readiness;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::node::Node;

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

/// Registers every name as not serving: a reporter starts as serving under the empty name.
pub(crate) async fn start(reporter: &HealthReporter) {
    for name in READINESS.into_iter().chain([LIVENESS]) {
        reporter
            .set_service_status(name, ServingStatus::NotServing)
            .await;
    }
}

/// Follows node and readiness until the node drains; then ends every health watch.
pub(crate) async fn follow(mut reporter: HealthReporter, node: Arc<Node>, readiness: Readiness) {
    let draining = node.draining();
    let mut ready = readiness.watch();
    let (mut shown_ready, mut shown_alive) = (false, false);
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
                let now = node.turns();
                let alive = turns.replace(now) != Some(now);
                show(&reporter, &[LIVENESS], &mut shown_alive, alive).await;
            }
        }
    }
    show(&reporter, &READINESS, &mut shown_ready, false).await;
    // Whoever watches has been told; the names stay until the end of the drain for those who ask.
    node.drained().await;
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
