//! What a process does for its callers at the moment: a port asks for each call, so that a process may become a node, and be
//! one no more, while its ports stay open.

use std::convert::Infallible;
use std::future::pending;
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

use crate::admin::log_filter::SetLogFilter;
use crate::admin::service::Admin;
use crate::api::broadcast::Broadcast;
use crate::api::info::Info;
use crate::api::presence::Presence;
use crate::attach::service::Attach;
use crate::attach::standby::StandbyAttach;
use crate::engine::record::Author;
use crate::leads::{Leads, Site};
use crate::limits::{MAX_ADMIN_REQUEST_BYTES, MAX_REQUEST_BYTES};
use crate::node::Node;
use crate::standby::Standby;

/// Hands each call to what the process is at the moment. Which of the services a port has is checked before.
#[derive(Debug, Clone)]
pub struct Role(watch::Receiver<Routes>);

impl Role {
    /// A node, from the beginning to the end.
    pub fn node(node: &Arc<Node>) -> Self {
        Self(watch::channel(services(node, Info::alone(node))).1)
    }

    /// A node that passes calls on, from the beginning to the end, and leaves open who leads.
    pub fn standby(standby: Standby) -> Self {
        let site = Site::new();
        let info = Info::new(standby.process(), Author::default(), site.leads());
        Self(watch::channel(passes_on(standby, info, site)).1)
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
    info: Info,
}

impl Roles {
    /// A process that stands by, and is called so when it leads.
    pub(crate) fn standby(author: &Author, site: &Site, standby: Standby) -> Self {
        let process = standby.process();
        let info = Info::new(process, author.clone(), site.leads());
        let attach = AttachServiceServer::new(StandbyAttach::new(process, site.clone()))
            .max_decoding_message_size(process.settings.attach_message_bytes());
        let standby = passes_on(standby, info.clone(), site.clone()).add_service(attach);
        Self {
            now: watch::Sender::new(standby.clone()),
            standby,
            info,
        }
    }

    /// As ports ask for it.
    pub(crate) fn role(&self) -> Role {
        Role(self.now.subscribe())
    }

    /// It is this node.
    pub(crate) fn leads(&self, node: &Arc<Node>) {
        self.now.send_replace(services(node, self.info.clone()));
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
fn services(node: &Arc<Node>, info: Info) -> Routes {
    let presence = PresenceServiceServer::new(Presence::new(Arc::clone(node)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let broadcast = BroadcastServiceServer::new(Broadcast::new(Arc::clone(node)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(node.process.settings.publish_bytes);
    let attach = AttachServiceServer::new(Attach::new(Arc::clone(node)))
        .max_decoding_message_size(node.process.settings.attach_message_bytes());
    let admin = AdminServiceServer::new(Admin::new(Arc::clone(node), info.node_id()))
        .max_decoding_message_size(MAX_ADMIN_REQUEST_BYTES);
    Routes::new(presence)
        .add_service(broadcast)
        .add_service(of_server(info))
        .add_service(attach)
        .add_service(admin)
}

fn of_server(info: Info) -> ServerServiceServer<Info> {
    ServerServiceServer::new(info)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(MAX_REQUEST_BYTES)
}

/// All services of the leader, by a node that does not lead; and what is about this one. Calls that wait for a leader when
/// this process becomes it are answered here.
fn passes_on(standby: Standby, info: Info, site: Site) -> Routes {
    let of_this = of_server(info.clone());
    let call = move |request: Request<axum::body::Body>| {
        let (standby, info, leads) = (standby.clone(), info.clone(), site.leads());
        async move {
            let passed = standby.call(request.map(Body::new), this_leads(leads));
            match passed.await {
                Ok(response) => Ok(response),
                Err((node, request)) => services(&node, info).call(request).await,
            }
        }
    };
    let others = axum::Router::new().fallback_service(tower::service_fn(call));
    Routes::from(others.route_service(SetLogFilter::PATH, SetLogFilter)).add_service(of_this)
}

/// Returns when this process leads, by which node.
async fn this_leads(mut leads: watch::Receiver<Leads>) -> Arc<Node> {
    loop {
        if let Leads::This(node) = &*leads.borrow_and_update() {
            return Arc::clone(node);
        }
        if leads.changed().await.is_err() {
            // It never will.
            return pending().await;
        }
    }
}
