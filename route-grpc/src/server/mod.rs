//! The gRPC servers: every service of a node on the public port, but AdminService, which has a port of its own;
//! until the process drains.

mod accept;
pub(crate) mod admin;
mod connection;
mod elsewhere;
mod greeting;
mod health;
mod layers;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use route_proto::attach::v1::attach_service_server::{self, AttachServiceServer};
use route_proto::v1::broadcast_service_server::{self, BroadcastServiceServer};
use route_proto::v1::presence_service_server::{self, PresenceServiceServer};
use route_proto::v1::server_service_server::{self, ServerServiceServer};
use route_runtime::http2;
use route_runtime::readiness::Readiness;
use tonic::codec::CompressionEncoding;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic_health::server::HealthReporter;

use crate::api::broadcast::Broadcast;
use crate::api::info::Info;
use crate::api::presence::Presence;
use crate::attach::former::FormerAttach;
use crate::attach::service::Attach;
use crate::limits::MAX_REQUEST_BYTES;
use crate::node::Node;
pub use accept::Listener;
use accept::{Port, incoming};
pub use elsewhere::wrong_port;
use layers::{Asked, Codes, Deadline, Each, Framed, Intake, Measure, Served, Trace};
use verdicts::Verdict;

/// What may come on one connection before it is read: so many streams' worth.
const STREAMS_AT_ONCE: u32 = 4;

/// HTTP/2 frames up to this length: fewer headers and wake-ups on Attach.
const FRAME_BYTES: u32 = 1 << 20;

/// Open streams and calls of one connection.
const CONNECTION_STREAMS: u32 = 1000;

/// What is left after the last stream for calls that are still running. A bare TCP connection, or a
/// peer that reads nothing, would hold the server for ever.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// What the public port serves.
const SERVICES: [&str; 5] = [
    presence_service_server::SERVICE_NAME,
    broadcast_service_server::SERVICE_NAME,
    server_service_server::SERVICE_NAME,
    attach_service_server::SERVICE_NAME,
    tonic_health::pb::health_server::SERVICE_NAME,
];

/// What each port serves.
const REFLECTION: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The reflection service could not be made from the descriptors.
    #[error("cannot set up reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport gave up.
    #[error("gRPC server: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves `node` on a bound listener: presence, broadcast, links, health and reflection.
///
/// Health says NOT_SERVING until `readiness` says otherwise. When the node's shutdown begins to
/// drain, streams end over the drain window; a second after the last of them, whatever is still
/// open is dropped. Returns then.
pub async fn serve(
    node: Arc<Node>,
    listener: impl Listener,
    readiness: Readiness,
) -> Result<(), ServeError> {
    let reporter = HealthReporter::new();
    health::start(&reporter).await;
    let health_service = health::Service::new(reporter.clone(), &node);
    let follow = health::follow(reporter, Arc::clone(&node), readiness);
    node.shutdown.tracker().spawn(follow);

    let gateways = AttachServiceServer::new(Attach::new(Arc::clone(&node)))
        .max_decoding_message_size(node.settings.attach_message_bytes());
    let presence = PresenceServiceServer::new(Presence::new(Arc::clone(&node)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let info = ServerServiceServer::new(Info::new(Arc::clone(&node)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let broadcast = BroadcastServiceServer::new(Broadcast::new(Arc::clone(&node)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(node.settings.publish_bytes);
    let drained = {
        let node = Arc::clone(&node);
        async move { node.drained().await }
    };
    let settings = &node.settings;
    let server = Server::builder()
        // Until a dead gateway is noticed, what it should have taken is not confirmed to the
        // others.
        .http2_keepalive_interval(Some(settings.grpc_keepalive_interval))
        .http2_keepalive_timeout(Some(settings.grpc_keepalive_timeout))
        .initial_stream_window_size(settings.grpc_stream_bytes)
        .initial_connection_window_size(http2::windows(settings.grpc_stream_bytes, STREAMS_AT_ONCE))
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(CONNECTION_STREAMS)
        // Whoever gives up calls may give up all that it may have: its other streams go on.
        .http2_max_pending_accept_reset_streams(Some(CONNECTION_STREAMS as usize))
        .layer(Each(Trace))
        .layer(Each(measure(&node)))
        .layer(Each(Codes {
            publish_bytes: settings.publish_bytes,
        }))
        .layer(Each(Asked(of_public_port())))
        .layer(Each(Deadline))
        .layer(Each(Framed))
        .layer(Each(Intake(Arc::clone(&node))))
        .add_service(health_service)
        .add_service(reflection(&SERVICES).build_v1()?)
        .add_service(reflection(&SERVICES).build_v1alpha()?)
        .add_service(presence)
        .add_service(broadcast)
        .add_service(info)
        .add_service(gateways)
        .add_service(FormerAttach::new(Arc::clone(&node)))
        .serve_with_incoming_shutdown(incoming(Arc::clone(&node), listener, Port::Public), drained);

    let given_up = async move {
        node.drained().await;
        tokio::time::sleep(LAST_CALLS).await;
    };
    tokio::select! {
        served = server => Ok(served?),
        () = given_up => {
            tracing::info!("connections that stayed open are dropped");
            Ok(())
        }
    }
}

/// What counts calls. What HTTP/2 may end is counted from 0 on.
fn measure(node: &Node) -> Measure {
    for Verdict { scope, reason } in Verdict::all() {
        node.metrics.http2_ended(scope.as_str(), reason, 0);
    }
    Measure {
        calls: node.metrics.calls.clone(),
        unknown: node.metrics.unknown_calls(),
    }
}

/// What is described of all services, their errors' details included.
const DESCRIBED: [&[u8]; 5] = [
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    route_proto::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_types::pb::FILE_DESCRIPTOR_SET,
];

fn of_public_port() -> Served {
    served(&SERVICES).and_former(FormerAttach::NAME)
}

/// What a port has that serves these, and reflection.
fn served(services: &[&str]) -> Served {
    Served::new(&[services, &REFLECTION].concat(), &DESCRIBED)
}

/// Of a port that serves these, and reflection.
fn reflection(services: &[&str]) -> tonic_reflection::server::Builder<'static> {
    let mut builder = tonic_reflection::server::Builder::configure();
    for name in services.iter().chain(&REFLECTION) {
        builder = builder.with_service_name(*name);
    }
    for set in DESCRIBED {
        builder = builder.register_encoded_file_descriptor_set(set);
    }
    builder
}
