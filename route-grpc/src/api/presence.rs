//! PresenceService: who is online, and when that changes.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use route_core::UserId;
use route_proto::v1::presence_service_server::PresenceService;
use route_proto::v1::{
    BatchGetUserStatusRequest, BatchGetUserStatusResponse, GetUserStatusRequest,
    GetUserStatusResponse, WatchUserStatusRequest, WatchUserStatusResponse,
};
use tonic::{Request, Response, Status};

use crate::api::at_least::reach;
use crate::api::status::user_now;
use crate::api::watch::Watch;
use crate::limits::{Share, check_ids};
use crate::methods;
use crate::node::Node;
use crate::refusal::Refusal;

/// The service, for one node.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    node: Arc<Node>,
}

impl Presence {
    /// Answers from this node.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

#[tonic::async_trait]
impl PresenceService for Presence {
    type WatchUserStatusStream =
        Pin<Box<dyn Stream<Item = Result<WatchUserStatusResponse, Status>> + Send>>;

    async fn get_user_status(
        &self,
        request: Request<GetUserStatusRequest>,
    ) -> Result<Response<GetUserStatusResponse>, Status> {
        let request = request.into_inner();
        let user = UserId(request.user_id);
        self.node.admit_call().await?;
        reach(&self.node, &request.at_least_position).await?;
        let clock = &self.node.clock;
        let response = self.node.look(|core, now| GetUserStatusResponse {
            user: Some(user_now(core, clock, user, request.include_sessions)),
            position: self.node.position(now.seq).token(),
            node_time: Some(clock.timestamp(now.at)),
        });
        Ok(Response::new(response))
    }

    async fn batch_get_user_status(
        &self,
        request: Request<BatchGetUserStatusRequest>,
    ) -> Result<Response<BatchGetUserStatusResponse>, Status> {
        let request = request.into_inner();
        check_ids(&request.user_ids, "user_ids")?;
        self.node.admit_call().await?;
        reach(&self.node, &request.at_least_position).await?;
        let clock = &self.node.clock;
        let response = self.node.look(|core, now| {
            let ids = request.user_ids.iter().map(|&id| UserId(id));
            let users = ids.map(|user| user_now(core, clock, user, request.include_sessions));
            BatchGetUserStatusResponse {
                users: users.collect(),
                position: self.node.position(now.seq).token(),
                node_time: Some(clock.timestamp(now.at)),
            }
        });
        Ok(Response::new(response))
    }

    async fn watch_user_status(
        &self,
        request: Request<WatchUserStatusRequest>,
    ) -> Result<Response<Self::WatchUserStatusStream>, Status> {
        let node = Arc::clone(&self.node);
        let share = Share::of(request.extensions());
        let responses = watch(node, request.into_inner(), share).await?;
        Ok(Response::new(Box::pin(responses)))
    }
}

/// `WatchUserStatus`, for a caller without a network between.
pub async fn watch_user_status(
    node: Arc<Node>,
    request: WatchUserStatusRequest,
) -> Result<impl Stream<Item = Result<WatchUserStatusResponse, Status>> + Send, Status> {
    watch(node, request, Share::default()).await
}

async fn watch(
    node: Arc<Node>,
    request: WatchUserStatusRequest,
    share: Share,
) -> Result<impl Stream<Item = Result<WatchUserStatusResponse, Status>> + Send, Status> {
    let opened = open_watch(Arc::clone(&node), &request, share).await;
    let counted = opened.inspect_err(|why| node.metrics.stream_refused(methods::WATCH, why));
    Ok(counted?.into_stream())
}

async fn open_watch(
    node: Arc<Node>,
    request: &WatchUserStatusRequest,
    share: Share,
) -> Result<Watch, Refusal> {
    check_ids(&request.user_ids, "user_ids")?;
    node.admit_call().await?;
    Watch::open(node, request, share)
}
