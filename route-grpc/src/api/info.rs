//! ServerService: which server this is, what it takes at most, what its caller may do.

use std::sync::Arc;
use std::time::Duration;

use route_access::Role;
use route_core::MAX_SESSIONS_OF_USER;
use route_proto::pieces::MAX_PIECES;
use route_proto::v1::server_service_server::ServerService;
use route_proto::v1::{CallerRights, GetServerInfoRequest, GetServerInfoResponse, ServerLimits};
use tonic::{Request, Response, Status};

use crate::access::Caller;
use crate::api::broadcast::MAX_BATCH;
use crate::api::filter::{MAX_FILTERS, MAX_SHARES, USUAL_BYTES};
use crate::api::reader::WATERMARK;
use crate::api::requests::{KEPT, KEPT_FOR};
use crate::limits::{MAX_ID_BYTES, MAX_IDS, MAX_IDS_WITH_SESSIONS, MAX_PAGE, MAX_REQUEST_BYTES};
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
        let settings = &self.node.process.settings;
        let duration = |it: Duration| it.try_into().ok();
        let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        ServerLimits {
            max_user_ids: number(MAX_IDS),
            max_user_ids_with_sessions: number(MAX_IDS_WITH_SESSIONS),
            max_page_size: number(MAX_PAGE),
            max_request_bytes: number(MAX_REQUEST_BYTES),
            max_publish_request_bytes: number(settings.publish_bytes),
            max_pdu_bytes: number(settings.pdu_limit),
            max_batch_requests: number(MAX_BATCH),
            max_request_id_bytes: number(MAX_ID_BYTES),
            remembered_request_ids: number(KEPT),
            request_id_age: duration(KEPT_FOR),
            max_filters: number(MAX_FILTERS),
            max_shares: MAX_SHARES,
            default_max_event_bytes: number(USUAL_BYTES),
            log_events: settings.log_events as u64,
            log_bytes: settings.log_bytes as u64,
            max_streams: number(self.node.process.streams.limit()),
            max_stream_age: duration(settings.max_stream_age),
            watermark_interval: duration(WATERMARK),
            call_wait: duration(settings.call_wait),
            max_request_pieces: number(MAX_PIECES),
            max_sessions_of_user: number(MAX_SESSIONS_OF_USER),
        }
    }
}

#[tonic::async_trait]
impl ServerService for Info {
    /// Of the process, so nothing is waited for.
    async fn get_server_info(
        &self,
        request: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let clock = &self.node.clock;
        Ok(Response::new(GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: format!("{:016x}", self.node.epoch),
            start_time: Some(clock.timestamp(Duration::ZERO)),
            node_time: Some(clock.timestamp(clock.now())),
            limits: Some(self.limits()),
            rights: Some(CallerRights {
                presence: caller.may(Role::Reader),
                subscribe: caller.may(Role::Listener),
                publish: caller.may(Role::Publisher),
            }),
        }))
    }
}
