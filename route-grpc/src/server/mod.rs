//! The gRPC servers: every service of a node on the public port, but AdminService, which has a port of its own;
//! until the process drains.

mod accept;
pub(crate) mod admin;
mod connection;
mod elsewhere;
mod greeting;
mod handshake;
mod health;
mod layers;
pub mod ports;
mod rewound;
pub(crate) mod role;
mod transport;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use route_proto::admin::v1alpha1::admin_service_server;
use route_proto::attach::v1::attach_service_server;
use route_proto::v1::broadcast_service_server;
use route_proto::v1::presence_service_server;
use route_proto::v1::server_service_server;
use route_runtime::http2;
use route_runtime::readiness::Readiness;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthReporter;
use tower::layer::util::Stack;

use crate::access::Access;
use crate::attach::former::FormerAttach;
use crate::limits::READ_HEADER_BYTES;
use crate::process::Process;
use crate::settings::NodeSettings;
pub use accept::Listener;
use accept::{Port, incoming};
pub use elsewhere::wrong_port;
use layers::{Asked, Codes, Deadline, Each, Framed, Guard, Intake, Measure, Served, Trace};
pub use role::Role;
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

/// Open calls of one connection to the health port.
const HEALTH_STREAMS: u32 = 16;

/// What the public port serves; the last one unless it has a port of its own.
const SERVICES: [&str; 5] = [
    presence_service_server::SERVICE_NAME,
    broadcast_service_server::SERVICE_NAME,
    server_service_server::SERVICE_NAME,
    tonic_health::pb::health_server::SERVICE_NAME,
    attach_service_server::SERVICE_NAME,
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

/// Where gateways attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateways {
    /// At the public port.
    Here,
    /// At a port of their own, this one.
    Elsewhere(u16),
}

/// Serves `node` on a bound listener: presence, broadcast, gateways unless they are elsewhere, health and reflection.
///
/// Health says NOT_SERVING until `readiness` says otherwise. When the node's shutdown begins to
/// drain, streams end over the drain window; a second after the last of them, whatever is still
/// open is dropped. Returns then.
///
/// # Errors
///
/// The port broke.
pub async fn serve(
    process: Arc<Process>,
    role: Role,
    listener: impl Listener,
    readiness: Readiness,
    access: Arc<Access>,
    gateways: Gateways,
) -> Result<(), ServeError> {
    let [without_attach @ .., attach_name] = &SERVICES;
    let (services, served): (&[&str], _) = match gateways {
        Gateways::Here => (&SERVICES, of_port(&SERVICES)),
        Gateways::Elsewhere(port) => {
            let there = format!("port {port} (--attach-listen)");
            (
                without_attach,
                of_port(without_attach).but(attach_name, &there),
            )
        }
    };
    // Without a policy nobody can tell who is a node.
    let served = match access.has_policy() {
        true => served.and_to_nodes(admin_service_server::SERVICE_NAME),
        false => served,
    };
    let always = Routes::new(health_service(&process, readiness).await)
        .add_service(reflection(services).build_v1()?)
        .add_service(reflection(services).build_v1alpha()?)
        .add_service(FormerAttach::new(Arc::clone(&process)));
    let server = builder(&process.settings)
        .layer(layers(&process, &access, served))
        .layer(Each(Intake(Arc::clone(&process))))
        .add_routes(role.after(always));
    let incoming = incoming(Arc::clone(&process), listener, Port::Public, access);
    let serving = server.serve_with_incoming_shutdown(incoming, drained(&process));
    until_drained(process, Box::pin(serving)).await
}

/// Serves gateways and reflection on a listener of their own, until the node has drained.
///
/// # Errors
///
/// The port broke.
pub async fn serve_attach(
    process: Arc<Process>,
    role: Role,
    listener: impl Listener,
    access: Arc<Access>,
) -> Result<(), ServeError> {
    let services = [attach_service_server::SERVICE_NAME];
    let always = Routes::new(reflection(&services).build_v1()?)
        .add_service(reflection(&services).build_v1alpha()?)
        .add_service(FormerAttach::new(Arc::clone(&process)));
    let server = builder(&process.settings)
        .layer(layers(&process, &access, of_port(&services)))
        .layer(Each(Intake(Arc::clone(&process))))
        .add_routes(role.after(always));
    let incoming = incoming(Arc::clone(&process), listener, Port::Attach, access);
    let serving = server.serve_with_incoming_shutdown(incoming, drained(&process));
    until_drained(process, Box::pin(serving)).await
}

/// Serves health alone, without TLS: for probes that know none.
///
/// # Errors
///
/// The port broke.
pub async fn serve_health(
    process: Arc<Process>,
    listener: impl Listener,
    readiness: Readiness,
    access: Arc<Access>,
) -> Result<(), ServeError> {
    let services = [tonic_health::pb::health_server::SERVICE_NAME];
    let server = Server::builder()
        .max_concurrent_streams(HEALTH_STREAMS)
        .http2_max_header_list_size(READ_HEADER_BYTES)
        .layer(layers(
            &process,
            &access,
            Served::new(&services, &DESCRIBED),
        ))
        .add_service(health_service(&process, readiness).await);
    let incoming = incoming(Arc::clone(&process), listener, Port::Health, access);
    let serving = server.serve_with_incoming_shutdown(incoming, drained(&process));
    until_drained(process, Box::pin(serving)).await
}

/// What HTTP/2 may have on the ports of services and of gateways.
fn builder(settings: &NodeSettings) -> Server {
    Server::builder()
        // Until a dead gateway is noticed, what it should have taken is not confirmed to the
        // others.
        .http2_keepalive_interval(Some(settings.grpc_keepalive_interval))
        .http2_keepalive_timeout(Some(settings.grpc_keepalive_timeout))
        .initial_stream_window_size(settings.grpc_stream_bytes)
        .initial_connection_window_size(http2::windows(settings.grpc_stream_bytes, STREAMS_AT_ONCE))
        .max_frame_size(FRAME_BYTES)
        .http2_max_header_list_size(READ_HEADER_BYTES)
        .max_concurrent_streams(CONNECTION_STREAMS)
        // Whoever gives up calls may give up all that it may have: its other streams go on.
        .http2_max_pending_accept_reset_streams(Some(CONNECTION_STREAMS as usize))
}

async fn health_service(
    process: &Arc<Process>,
    readiness: Readiness,
) -> HealthServer<health::Service> {
    let reporter = HealthReporter::new();
    health::start(&reporter).await;
    let service = health::Service::new(reporter.clone(), process);
    let follow = health::follow(reporter, Arc::clone(process), readiness);
    process.shutdown.tracker().spawn(follow);
    service
}

/// What every call passes on every port.
fn layers(process: &Process, access: &Arc<Access>, served: Served) -> Layers {
    let outer = Stack::new(Each(measure(process)), Each(Trace));
    let codes = Codes {
        publish_bytes: process.settings.publish_bytes,
    };
    let outer = Stack::new(Each(codes), outer);
    let outer = Stack::new(Each(Asked(served)), outer);
    let outer = Stack::new(Each(Guard(Arc::clone(access))), outer);
    Stack::new(Each(Framed), Stack::new(Each(Deadline), outer))
}

type Layers = Stack<
    Each<Framed>,
    Stack<
        Each<Deadline>,
        Stack<
            Each<Guard>,
            Stack<Each<Asked>, Stack<Each<Codes>, Stack<Each<Measure>, Each<Trace>>>>,
        >,
    >,
>;

/// The node has drained.
fn drained(process: &Arc<Process>) -> impl Future<Output = ()> + use<> {
    let process = Arc::clone(process);
    async move { process.drained().await }
}

/// Serves a port until the node has drained, and what is still open is dropped.
async fn until_drained(
    process: Arc<Process>,
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
) -> Result<(), ServeError> {
    let given_up = async {
        process.drained().await;
        tokio::time::sleep(LAST_CALLS).await;
    };
    tokio::select! {
        served = serving => Ok(served?),
        () = given_up => {
            tracing::info!("connections that stayed open are dropped");
            Ok(())
        }
    }
}

/// What counts calls. What HTTP/2 may end is counted from 0 on.
fn measure(process: &Process) -> Measure {
    for Verdict { scope, reason } in Verdict::all() {
        process.metrics.http2_ended(scope.as_str(), reason, 0);
    }
    Measure {
        calls: process.metrics.calls.clone(),
        unknown: process.metrics.unknown_calls(),
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

fn of_port(services: &[&str]) -> Served {
    served(services).and_former(FormerAttach::NAME)
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
