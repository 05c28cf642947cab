//! The admin port: AdminService and reflection, on a listener of its own that only this host can reach.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use route_proto::admin::v1alpha1::admin_service_server::{self, AdminServiceServer};
use route_runtime::listen::local::{Io, LocalAddress, LocalBindError, LocalListener, LocalProcess};
use tonic::transport::Server;
use tracing::{error, warn};

use super::accept::{Listener, Port, incoming};
use super::layers::{Asked, Codes, Deadline, Each, Framed, Trace};
use super::{LAST_CALLS, ServeError, measure, reflection, served};
use crate::admin::service::Admin;
use crate::limits::{ADMIN_STREAMS, MAX_ADMIN_REQUEST_BYTES};
use crate::node::Node;

/// Binds the admin port that is asked for. Else a socket that is named after the public one: if it is
/// taken, there is no admin port, and the log says so.
///
/// # Errors
///
/// What is asked for cannot be had.
pub async fn bind_admin(
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
}

/// Serves AdminService and reflection there, until the node has drained.
pub fn serve_admin(node: &Arc<Node>, listener: Option<LocalListener>) {
    let Some(listener) = listener else {
        return;
    };
    let serving = serve(Arc::clone(node), listener);
    node.shutdown.tracker().spawn(async move {
        if let Err(error) = serving.await {
            error!(%error, "the admin port broke");
        }
    });
}

async fn serve(node: Arc<Node>, listener: LocalListener) -> Result<(), ServeError> {
    let admin = AdminServiceServer::new(Admin::new(Arc::clone(&node)))
        .max_decoding_message_size(MAX_ADMIN_REQUEST_BYTES);
    let drained = {
        let node = Arc::clone(&node);
        async move { node.drained().await }
    };
    let services = [admin_service_server::SERVICE_NAME];
    let settings = &node.settings;
    let server = Server::builder()
        .http2_keepalive_interval(Some(settings.grpc_keepalive_interval))
        .http2_keepalive_timeout(Some(settings.grpc_keepalive_timeout))
        .max_concurrent_streams(ADMIN_STREAMS)
        .layer(Each(Trace))
        .layer(Each(measure(&node)))
        .layer(Each(Codes {
            publish_bytes: settings.publish_bytes,
        }))
        .layer(Each(Asked(served(&services))))
        .layer(Each(Deadline))
        .layer(Each(Framed))
        .add_service(reflection(&services).build_v1()?)
        .add_service(reflection(&services).build_v1alpha()?)
        .add_service(admin)
        .serve_with_incoming_shutdown(incoming(Arc::clone(&node), listener, Port::Admin), drained);
    let given_up = async move {
        node.drained().await;
        tokio::time::sleep(LAST_CALLS).await;
    };
    tokio::select! {
        served = server => Ok(served?),
        () = given_up => Ok(()),
    }
}
