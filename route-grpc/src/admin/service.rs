//! The methods of AdminService.

use std::sync::Arc;

use route_proto::v1::admin_service_server::AdminService;
use route_proto::v1::{
    CloseLinkRequest, CloseLinkResponse, GetLinkRequest, GetLinkResponse, GetStatsRequest,
    GetStatsResponse, ListGatewaysRequest, ListGatewaysResponse, ListLinksRequest,
    ListLinksResponse,
};
use tonic::{Request, Response, Status};

use super::audit::Caller;
use super::{gateways, links, stats};
use crate::node::Node;

/// The service, for one node.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    node: Arc<Node>,
}

impl Admin {
    /// Of this node.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

/// Whatever the state of the node, for that is what is asked for: nothing is waited for.
#[tonic::async_trait]
impl AdminService for Admin {
    async fn list_links(
        &self,
        request: Request<ListLinksRequest>,
    ) -> Result<Response<ListLinksResponse>, Status> {
        Ok(Response::new(links::list(&self.node, request.get_ref())?))
    }

    async fn get_link(
        &self,
        request: Request<GetLinkRequest>,
    ) -> Result<Response<GetLinkResponse>, Status> {
        Ok(Response::new(links::get(&self.node, request.get_ref())?))
    }

    async fn close_link(
        &self,
        request: Request<CloseLinkRequest>,
    ) -> Result<Response<CloseLinkResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let closed = links::close(&self.node, &request).await;
        let closed = closed.map(Response::new).map_err(Status::from);
        caller.did("CloseLink", &request.link, &request.reason, &closed);
        closed
    }

    async fn list_gateways(
        &self,
        _: Request<ListGatewaysRequest>,
    ) -> Result<Response<ListGatewaysResponse>, Status> {
        Ok(Response::new(gateways::list(&self.node)))
    }

    async fn get_stats(
        &self,
        _: Request<GetStatsRequest>,
    ) -> Result<Response<GetStatsResponse>, Status> {
        Ok(Response::new(stats::stats(&self.node)))
    }
}
