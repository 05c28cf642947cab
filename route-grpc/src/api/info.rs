//! ServerService: which server this is, what it takes at most, what its caller may do.

use std::sync::Arc;
use std::time::Duration;

use route_proto::v1::server_service_server::ServerService;
use route_proto::v1::{CallerRights, GetServerInfoRequest, GetServerInfoResponse, ServerLimits};
use tonic::{Request, Response, Status};

use crate::api::reader::WATERMARK;
use crate::limits::{MAX_IDS, MAX_PAGE, MAX_REQUEST_BYTES};
use crate::node::Node;

/// The service, for one node.
#[derive(Debug, Clone)]
pub(crate) struct Info {
    node: Arc<Node>,
}

impl Info {
    /// About this node.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    fn limits(&self) -> ServerLimits {
        let settings = &self.node.settings;
        let duration = |it: Duration| it.try_into().ok();
        ServerLimits {
            user_ids: MAX_IDS as u32,
            page_size: MAX_PAGE as u32,
            request_bytes: MAX_REQUEST_BYTES as u64,
            publish_request_bytes: settings.publish_bytes as u64,
            pdu_bytes: settings.pdu_limit as u64,
            log_events: settings.log_events as u64,
            log_bytes: settings.log_bytes as u64,
            streams: self.node.streams.limit() as u64,
            stream_age: duration(settings.max_stream_age),
            watermark_interval: duration(WATERMARK),
            call_wait: duration(settings.call_wait),
        }
    }
}

#[tonic::async_trait]
impl ServerService for Info {
    /// Of the process, so nothing is waited for.
    async fn get_server_info(
        &self,
        _: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        let clock = &self.node.clock;
        Ok(Response::new(GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: format!("{:016x}", self.node.epoch),
            start_time: Some(clock.timestamp(Duration::ZERO)),
            node_time: Some(clock.timestamp(clock.now())),
            limits: Some(self.limits()),
            rights: Some(CallerRights {
                presence: true,
                subscribe: true,
                publish: true,
            }),
        }))
    }
}
