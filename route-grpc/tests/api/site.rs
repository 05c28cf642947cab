//! A node in this process, served on a free port.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use route_grpc::server::ServeError;
use route_grpc::settings::NodeSettings;
use route_grpc::{Addresses, Node, Ports};
use route_proto::admin::v1alpha1::admin_service_client::AdminServiceClient;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{
    GetUserStatusRequest, UserStatus, WatchUserStatusRequest, WatchUserStatusResponse,
};
use route_runtime::budget::Budget;
use route_runtime::listen::local::LocalAddress;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use route_runtime::telemetry::Metrics;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::http::{HeaderMap, Request, StatusCode};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Status, Streaming};

/// No wait in these tests takes longer, unless something is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(done) => done,
        Err(_) => panic!("waited {DEADLINE:?} for {what}"),
    }
}

/// A body of one piece.
struct Whole(Option<Bytes>);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|body| Ok(Frame::data(body))))
    }
}

/// A free one.
const ANY_PORT: &str = "127.0.0.1:0";

pub(crate) struct Site {
    pub(crate) node: Arc<Node>,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    pub(crate) server: JoinHandle<Result<(), ServeError>>,
    /// Of AdminService.
    pub(crate) admin_address: String,
    /// Of all.
    pub(crate) addresses: Addresses,
    /// What clients of this test make hand-shakes with; none: they make none.
    pub(crate) tls: Option<ClientTlsConfig>,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// Settings for tests: the drain is short, and there was no node before; then these.
    pub(crate) async fn with(change: impl FnOnce(&mut NodeSettings)) -> Self {
        Self::at(ANY_PORT, change).await
    }

    /// The same, with the public port at this address.
    pub(crate) async fn at(listen: &str, change: impl FnOnce(&mut NodeSettings)) -> Self {
        let mut settings = NodeSettings {
            drain_window: Duration::from_millis(100),
            cold_start_wait: Duration::ZERO,
            ..NodeSettings::default()
        };
        settings.admin_grpc_listen = Some(LocalAddress::parse(ANY_PORT).unwrap());
        change(&mut settings);
        let metrics = Metrics::new("test", "0").unwrap();
        let shutdown = Shutdown::new(DEADLINE);
        let readiness = Readiness::new();
        let listen = ("--listen", listen.parse().unwrap());
        let ports = Ports::open(&settings, listen, &metrics.meter())
            .await
            .unwrap();
        let at = ports.addresses();
        let node = Node::start(
            settings,
            Budget::new(None),
            &metrics.meter(),
            shutdown.clone(),
        );
        let server = ports.serve(&node, readiness.clone());
        Self {
            server,
            admin_address: at.admin.as_ref().unwrap().to_string(),
            node,
            address: at.public,
            addresses: at,
            tls: None,
            shutdown,
            readiness,
            metrics,
        }
    }

    /// Waits until a metric line, without its help, reads like this.
    pub(crate) async fn shows(&self, line: &str) {
        let shown = async {
            while !self.metrics.render().lines().any(|l| l == line) {
                tokio::task::yield_now().await;
            }
        };
        soon(line, shown).await;
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.channel_to(&self.address.to_string(), self.tls.clone())
            .await
    }

    /// A connection to this port, by TLS if there is any.
    pub(crate) async fn channel_to(&self, address: &str, tls: Option<ClientTlsConfig>) -> Channel {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).unwrap();
        let endpoint = match tls {
            Some(tls) => endpoint.tls_config(tls).unwrap(),
            None => endpoint,
        };
        soon("a connection", endpoint.connect()).await.unwrap()
    }

    pub(crate) async fn presence(&self) -> PresenceServiceClient<Channel> {
        PresenceServiceClient::new(self.channel().await)
    }

    pub(crate) async fn admin(&self) -> AdminServiceClient<Channel> {
        let channel = self.channel_to(&self.admin_address, None);
        AdminServiceClient::new(channel.await)
    }

    pub(crate) async fn broadcast(&self) -> BroadcastServiceClient<Channel> {
        BroadcastServiceClient::new(self.channel().await).max_decoding_message_size(usize::MAX)
    }

    pub(crate) async fn watch(
        &self,
        request: WatchUserStatusRequest,
    ) -> Result<Streaming<WatchUserStatusResponse>, Status> {
        let mut presence = self.presence().await;
        let stream = soon("a stream", presence.watch_user_status(request)).await?;
        Ok(stream.into_inner())
    }

    /// How the node answers a call of this method, such as `package.Service/Method`.
    pub(crate) async fn call(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (StatusCode, HeaderMap) {
        let mut request = Request::post(format!("http://{}/{method}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut channel = self.channel().await;
        let ready = poll_fn(|cx| GrpcService::<Body>::poll_ready(&mut channel, cx));
        soon("a connection", ready).await.unwrap();
        let body = Body::new(Whole(Some(Bytes::copy_from_slice(body))));
        let answer = channel.call(request.body(body).unwrap());
        let response = soon("an answer", answer).await.unwrap();
        (response.status(), response.headers().clone())
    }

    pub(crate) async fn user(&self, user_id: u32) -> UserStatus {
        let mut presence = self.presence().await;
        let request = GetUserStatusRequest {
            user_id,
            include_sessions: true,
            ..GetUserStatusRequest::default()
        };
        let response = soon("a status", presence.get_user_status(request)).await;
        response.unwrap().into_inner().user.unwrap()
    }
}
