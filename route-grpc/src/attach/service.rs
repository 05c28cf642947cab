//! AttachService: Attach over the network.

use std::sync::Arc;

use route_proto::attach::v1::AttachRequest;
use route_proto::attach::v1::attach_service_server::AttachService;
use tonic::{Request, Response, Status, Streaming};

use crate::attach::AttachResponses;
use crate::attach::Hangup;
use crate::node::Node;

/// The service, for one node.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    node: Arc<Node>,
}

impl Link {
    /// Attaches gateways to this node.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

#[tonic::async_trait]
impl AttachService for Link {
    type AttachStream = AttachResponses;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let hangup = request.extensions().get::<Hangup>().cloned();
        let hangup = hangup.unwrap_or_default();
        let responses = self.node.attach(request.into_inner(), hangup);
        Ok(Response::new(responses))
    }
}
