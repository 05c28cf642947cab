//! The admin port: AdminService and reflection, on a listener of its own: for this host, or for others with rights.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use route_proto::admin::v1alpha1::admin_service_server;
use route_runtime::listen::local::{Io, LocalAddress, LocalBindError, LocalListener, LocalProcess};
use tonic::service::Routes;
use tonic::transport::Server;
use tracing::warn;

use super::Role;
use super::accept::{Listener, Port, incoming};
use super::{ServeError, drained, layers, reflection, served, until_drained};
use crate::access::{Access, Exposure};
use crate::limits::{ADMIN_STREAMS, READ_HEADER_BYTES};
use crate::process::Process;

/// Binds the admin port that is asked for. Else a socket that is named after the public one: if it is
/// taken, there is no admin port, and the log says so.
///
/// # Errors
///
/// What is asked for cannot be had.
pub(super) async fn bind_admin(
    asked: Option<&LocalAddress>,
    public: SocketAddr,
) -> Result<Option<LocalListener>, LocalBindError> {
    let Some(asked) = asked else {
        let bound = LocalListener::bind(&beside(public)).await;
        let told = bound.inspect_err(|error| {
            let (address, error) = (&error.address, &error.source);
            warn!(%address, %error, "no admin port: choose one with --admin-grpc-listen");
        });
        return Ok(told.ok());
    };
    LocalListener::bind(asked).await.map(Some)
}

/// A socket that is named after the public port, so that several nodes of a host do not meet, and
/// no port is taken that somebody else needs.
fn beside(public: SocketAddr) -> LocalAddress {
    LocalAddress::Unix(format!("@teamtalk-route-admin-{}", public.port()).into())
}

impl Listener for LocalListener {
    type Stream = Box<dyn Io>;

    async fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)> {
        LocalListener::accept(self).await
    }

    fn process(stream: &Self::Stream) -> Option<LocalProcess> {
        stream.process()
    }

    fn exposure(&self) -> Exposure {
        match self.address() {
            LocalAddress::Unix(_) => Exposure::Process,
            LocalAddress::Tcp(address) if address.ip().is_loopback() => Exposure::Host,
            LocalAddress::Tcp(_) => Exposure::Network,
        }
    }
}

/// Serves AdminService and reflection there, until the node has drained.
///
/// # Errors
///
/// The port broke.
pub(super) async fn serve_admin(
    process: Arc<Process>,
    role: Role,
    listener: LocalListener,
    access: Arc<Access>,
) -> Result<(), ServeError> {
    let services = [admin_service_server::SERVICE_NAME];
    let always = Routes::new(reflection(&services).build_v1()?)
        .add_service(reflection(&services).build_v1alpha()?);
    let settings = &process.settings;
    let server = Server::builder()
        .http2_keepalive_interval(Some(settings.grpc_keepalive_interval))
        .http2_keepalive_timeout(Some(settings.grpc_keepalive_timeout))
        .max_concurrent_streams(ADMIN_STREAMS)
        .http2_max_header_list_size(READ_HEADER_BYTES)
        .layer(layers(&process, &access, served(&services)))
        .add_routes(role.after(always));
    let incoming = incoming(Arc::clone(&process), listener, Port::Admin, access);
    let serving = server.serve_with_incoming_shutdown(incoming, drained(&process));
    until_drained(process, Box::pin(serving)).await
}
