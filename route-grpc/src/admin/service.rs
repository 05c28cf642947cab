//! The methods of AdminService.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{Stream, StreamExt};
use route_proto::admin::v1alpha1::admin_service_server::AdminService;
use route_proto::admin::v1alpha1::{
    CloseLinkRequest, CloseLinkResponse, CloseStreamRequest, CloseStreamResponse,
    DrainGatewayRequest, DrainGatewayResponse, ExplainEnvelopeRequest, ExplainEnvelopeResponse,
    ExplainUserRequest, ExplainUserResponse, GetLinkRequest, GetLinkResponse, GetStatsRequest,
    GetStatsResponse, KickUserRequest, KickUserResponse, ListClosedLinksRequest,
    ListClosedLinksResponse, ListGatewaysRequest, ListGatewaysResponse, ListLinksRequest,
    ListLinksResponse, ListRoutedEnvelopesRequest, ListRoutedEnvelopesResponse, ListStreamsRequest,
    ListStreamsResponse, SetLogFilterRequest, SetLogFilterResponse, WatchTopologyRequest,
    WatchTopologyResponse,
};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::audit::Caller;
use super::stats::Shows;
use super::{
    closed_links, drain, envelope, gateways, kick, links, log_filter, routed, stats, streams,
    topology, users,
};
use crate::access::FORWARDED_BY;
use crate::api::publisher::Publisher;
use crate::methods;
use crate::node::Node;
use crate::refusal::Refusal;

/// The service, for one node.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    node: Arc<Node>,
    node_id: Arc<str>,
    publisher: Arc<Publisher>,
}

impl Admin {
    /// Of this node, which is called so.
    pub(crate) fn new(node: Arc<Node>, node_id: &str) -> Self {
        Self {
            node_id: node_id.into(),
            publisher: Arc::new(Publisher::new(Arc::clone(&node))),
            node,
        }
    }

    /// By whom the node is shown to this caller.
    fn shows(&self, headers: &MetadataMap) -> Shows {
        let by = headers.get(FORWARDED_BY).and_then(|by| by.to_str().ok());
        Shows {
            node_id: Arc::clone(&self.node_id),
            passed_on_by: by.unwrap_or_default().to_owned(),
        }
    }

    /// A stream that is counted, when it ends or is refused, as those that services read.
    fn counted<T>(
        &self,
        method: &'static str,
        opened: Result<impl Stream<Item = Result<T, Status>> + Send + 'static, Refusal>,
    ) -> Result<Response<Messages<T>>, Status> {
        let metrics = &self.node.process.metrics;
        let stream = opened.inspect_err(|why| metrics.stream_refused(method, why))?;
        let open = Open {
            node: Arc::clone(&self.node),
            method,
            since: Instant::now(),
        };
        let stream = stream.inspect(move |_| {
            let _ends_with_the_stream = &open;
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

/// What a stream sends.
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream is open.
struct Open {
    node: Arc<Node>,
    method: &'static str,
    since: Instant,
}

impl Drop for Open {
    fn drop(&mut self) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.node.process.metrics.stream_ended(self.method, seconds);
    }
}

/// Whatever the state of the node, for that is what is asked for: nothing is waited for.
#[tonic::async_trait]
impl AdminService for Admin {
    type DrainGatewayStream = Messages<DrainGatewayResponse>;
    type WatchTopologyStream = Messages<WatchTopologyResponse>;

    async fn list_links(
        &self,
        request: Request<ListLinksRequest>,
    ) -> Result<Response<ListLinksResponse>, Status> {
        Ok(Response::new(
            links::list(&self.node, request.get_ref()).await?,
        ))
    }

    async fn get_link(
        &self,
        request: Request<GetLinkRequest>,
    ) -> Result<Response<GetLinkResponse>, Status> {
        Ok(Response::new(
            links::get(&self.node, request.get_ref()).await?,
        ))
    }

    async fn list_closed_links(
        &self,
        request: Request<ListClosedLinksRequest>,
    ) -> Result<Response<ListClosedLinksResponse>, Status> {
        let closed = closed_links::list(&self.node, request.get_ref())?;
        Ok(Response::new(closed))
    }

    async fn close_link(
        &self,
        request: Request<CloseLinkRequest>,
    ) -> Result<Response<CloseLinkResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        // Before the wait: whoever hangs up meanwhile has asked all the same.
        let asked = links::ask_to_close(&self.node, &request).map_err(Status::from);
        caller.did("CloseLink", &request.link, &request.reason, &asked);
        Ok(Response::new(links::closed(&self.node, asked?).await?))
    }

    async fn list_gateways(
        &self,
        _: Request<ListGatewaysRequest>,
    ) -> Result<Response<ListGatewaysResponse>, Status> {
        Ok(Response::new(gateways::list(&self.node)))
    }

    async fn drain_gateway(
        &self,
        request: Request<DrainGatewayRequest>,
    ) -> Result<Response<Self::DrainGatewayStream>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let drained = drain::drain(&self.node, &request);
        let drained = self.counted(methods::DRAIN_GATEWAY, drained);
        let reason = if request.undo { "undo" } else { "" };
        caller.did("DrainGateway", &request.gateway_id, reason, &drained);
        drained
    }

    async fn get_stats(
        &self,
        request: Request<GetStatsRequest>,
    ) -> Result<Response<GetStatsResponse>, Status> {
        let shows = self.shows(request.metadata());
        Ok(Response::new(stats::stats(&self.node, &shows)))
    }

    async fn list_streams(
        &self,
        request: Request<ListStreamsRequest>,
    ) -> Result<Response<ListStreamsResponse>, Status> {
        Ok(Response::new(streams::list(&self.node, request.get_ref())?))
    }

    async fn close_stream(
        &self,
        request: Request<CloseStreamRequest>,
    ) -> Result<Response<CloseStreamResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let asked = streams::ask_to_close(&self.node, &request).map_err(Status::from);
        caller.did("CloseStream", &request.stream, &request.reason, &asked);
        Ok(Response::new(streams::closed(&self.node, &*asked?).await?))
    }

    async fn set_log_filter(
        &self,
        request: Request<SetLogFilterRequest>,
    ) -> Result<Response<SetLogFilterResponse>, Status> {
        log_filter::asked(request).map(Response::new)
    }

    async fn explain_envelope(
        &self,
        request: Request<ExplainEnvelopeRequest>,
    ) -> Result<Response<ExplainEnvelopeResponse>, Status> {
        let explained = envelope::explain(&self.node, request.into_inner())?;
        Ok(Response::new(explained))
    }

    async fn list_routed_envelopes(
        &self,
        request: Request<ListRoutedEnvelopesRequest>,
    ) -> Result<Response<ListRoutedEnvelopesResponse>, Status> {
        Ok(Response::new(routed::list(&self.node, request.get_ref())?))
    }

    async fn watch_topology(
        &self,
        request: Request<WatchTopologyRequest>,
    ) -> Result<Response<Self::WatchTopologyStream>, Status> {
        let shows = self.shows(request.metadata());
        let states = topology::watch(Arc::clone(&self.node), shows, request.get_ref());
        self.counted(methods::WATCH_TOPOLOGY, states)
    }

    async fn explain_user(
        &self,
        request: Request<ExplainUserRequest>,
    ) -> Result<Response<ExplainUserResponse>, Status> {
        let explained = users::explain(&self.node, request.get_ref())?;
        Ok(Response::new(explained))
    }

    async fn kick_user(
        &self,
        request: Request<KickUserRequest>,
    ) -> Result<Response<KickUserResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let kicked = kick::kick(&self.node, &self.publisher, &request).await;
        let kicked = kicked.map_err(Status::from);
        // Before that is waited for: the caller may not.
        let user = format!("user {}", request.user_id);
        caller.did("KickUser", &user, &request.reason, &kicked);
        Ok(Response::new(kicked?.wait(&self.node).await))
    }
}
