//! What a process does for its callers at the moment: a port asks for each call, so that a process may become a node, and be
//! one no more, while its ports stay open.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use route_proto::admin::v1alpha1::admin_service_server::AdminServiceServer;
use route_proto::attach::v1::attach_service_server::AttachServiceServer;
use route_proto::v1::broadcast_service_server::BroadcastServiceServer;
use route_proto::v1::presence_service_server::PresenceServiceServer;
use route_proto::v1::server_service_server::ServerServiceServer;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
use tonic::codegen::http::Request;
use tonic::service::Routes;

use crate::admin::service::Admin;
use crate::api::broadcast::Broadcast;
use crate::api::info::Info;
use crate::api::presence::Presence;
use crate::attach::service::Attach;
use crate::attach::standby::StandbyAttach;
use crate::leads::Site;
use crate::limits::{MAX_ADMIN_REQUEST_BYTES, MAX_REQUEST_BYTES};
use crate::node::Node;
use crate::process::Process;
use crate::standby::Standby;

/// Hands each call to what the process is at the moment. Which of the services a port has is checked before.
#[derive(Debug, Clone)]
pub struct Role(watch::Receiver<Routes>);

impl Role {
    /// A node, from the beginning to the end.
    pub fn node(node: &Arc<Node>) -> Self {
        Self(watch::channel(services(node)).1)
    }

    /// A node that passes calls on, from the beginning to the end.
    pub fn standby(standby: Standby) -> Self {
        Self(watch::channel(passes_on(standby)).1)
    }

    /// What a port has: these, whatever the process is, and what it is.
    pub(super) fn after(self, always: Routes) -> Routes {
        let router = always.into_axum_router();
        Routes::from(router.fallback_service(self))
    }
}

/// Says what a process is from now on.
#[derive(Debug)]
pub(crate) struct Roles {
    now: watch::Sender<Routes>,
    standby: Routes,
}

impl Roles {
    /// A process that stands by.
    pub(crate) fn standby(process: &Process, site: &Site, standby: Standby) -> Self {
        let attach = AttachServiceServer::new(StandbyAttach::new(site.clone()))
            .max_decoding_message_size(process.settings.attach_message_bytes());
        let standby = passes_on(standby).add_service(attach);
        Self {
            now: watch::Sender::new(standby.clone()),
            standby,
        }
    }

    /// As ports ask for it.
    pub(crate) fn role(&self) -> Role {
        Role(self.now.subscribe())
    }

    /// It is this node.
    pub(crate) fn leads(&self, node: &Arc<Node>) {
        self.now.send_replace(services(node));
    }

    /// It stands by again.
    pub(crate) fn stands_by(&self) {
        self.now.send_replace(self.standby.clone());
    }
}

impl Service<Request<axum::body::Body>> for Role {
    type Response = <Routes as Service<Request<Body>>>::Response;
    type Error = Infallible;
    type Future = <Routes as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<axum::body::Body>) -> Self::Future {
        // It is always ready.
        let mut routes = self.0.borrow().clone();
        routes.call(request.map(Body::new))
    }
}

/// All services of a node.
fn services(node: &Arc<Node>) -> Routes {
    let presence = PresenceServiceServer::new(Presence::new(Arc::clone(node)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let info = ServerServiceServer::new(Info::new(Arc::clone(node)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let broadcast = BroadcastServiceServer::new(Broadcast::new(Arc::clone(node)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(node.process.settings.publish_bytes);
    let attach = AttachServiceServer::new(Attach::new(Arc::clone(node)))
        .max_decoding_message_size(node.process.settings.attach_message_bytes());
    let admin = AdminServiceServer::new(Admin::new(Arc::clone(node)))
        .max_decoding_message_size(MAX_ADMIN_REQUEST_BYTES);
    Routes::new(presence)
        .add_service(broadcast)
        .add_service(info)
        .add_service(attach)
        .add_service(admin)
}

/// All services of the leader, by a node that does not lead.
fn passes_on(standby: Standby) -> Routes {
    let call = move |request: Request<axum::body::Body>| {
        let standby = standby.clone();
        async move { Ok::<_, Infallible>(standby.call(request.map(Body::new)).await) }
    };
    Routes::from(axum::Router::new().fallback_service(tower::service_fn(call)))
}
