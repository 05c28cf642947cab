//! AttachService: Attach over the network.

use std::sync::Arc;

use route_proto::attach::v1::AttachRequest;
use route_proto::attach::v1::attach_service_server::AttachService;
use tonic::{Request, Response, Status, Streaming};

use super::stream::open_by;
use super::{AttachResponses, Hangup};
use crate::access::Caller;
use crate::node::Node;

/// The service, for one node.
#[derive(Debug, Clone)]
pub(crate) struct Attach {
    node: Arc<Node>,
}

impl Attach {
    /// Attaches gateways to this node.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

#[tonic::async_trait]
impl AttachService for Attach {
    type AttachStream = AttachResponses;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let hangup = request.extensions().get::<Hangup>().cloned();
        let hangup = hangup.unwrap_or_default();
        let caller = Caller::of(request.extensions())?;
        let requests = request.into_inner();
        let responses = open_by(&self.node, requests, Some(hangup), Some(caller));
        Ok(Response::new(responses))
    }
}
