//! AttachService: Attach over the network.

use std::sync::Arc;

use route_proto::attach::v1::AttachRequest;
use route_proto::attach::v1::attach_service_server::AttachService;
use tonic::{Request, Response, Status, Streaming};

use super::{AttachResponses, Hangup, open};
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
        let responses = open(&self.node, request.into_inner(), Some(hangup));
        Ok(Response::new(responses))
    }
}
