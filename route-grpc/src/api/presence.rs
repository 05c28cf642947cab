//! PresenceService: who is online, and when that changes.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use route_core::{SessionView, UserId, View};
use route_proto::v1::presence_service_server::PresenceService;
use route_proto::v1::{
    BatchGetUserStatusRequest, BatchGetUserStatusResponse, GetUserStatusRequest,
    GetUserStatusResponse, SessionState, UserSession, UserStatus, WatchUserStatusRequest,
    WatchUserStatusResponse,
};
use tonic::{Request, Response, Status};

use crate::api::status::user_status;
use crate::api::watch::Watch;
use crate::clock::Clock;
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
        let user = UserId(request.into_inner().user_id);
        self.node.admit_call().await?;
        let clock = &self.node.clock;
        let response = self.node.look(|core, position| GetUserStatusResponse {
            user: Some(with_sessions(core, clock, user)),
            position: position.token(),
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
        let clock = &self.node.clock;
        let response = self.node.look(|core, position| {
            let ids = request.user_ids.iter().map(|&id| UserId(id));
            let users = if request.omit_sessions {
                ids.map(|user| user_status(user.0, core.summary(user)))
                    .collect()
            } else {
                ids.map(|user| with_sessions(core, clock, user)).collect()
            };
            BatchGetUserStatusResponse {
                users,
                position: position.token(),
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

fn with_sessions(core: View<'_>, clock: &Clock, user: UserId) -> UserStatus {
    let session = |session: SessionView| UserSession {
        client_type: session.client_type.number.into(),
        state: match session.state {
            route_core::Status::Online => SessionState::Online,
            route_core::Status::Away => SessionState::Away,
            route_core::Status::Offline => SessionState::Unspecified,
        }
        .into(),
        link: session.link.to_string(),
        msg_server: session.peer.to_string(),
        logins: session.logins,
        since_unix_millis: clock.unix_millis(session.since),
    };
    UserStatus {
        sessions: core.sessions_of(user).map(session).collect(),
        ..user_status(user.0, core.summary(user))
    }
}
