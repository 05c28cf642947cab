//! PresenceService: who is online, and when that changes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use route_core::{Counted, UserId};
use route_proto::v1::presence_service_server::PresenceService;
use route_proto::v1::{
    BatchGetUserStatusRequest, BatchGetUserStatusResponse, CountUsersRequest, CountUsersResponse,
    GetUserStatusRequest, GetUserStatusResponse, ListOnlineUsersRequest, ListOnlineUsersResponse,
    UserCount, WatchUserStatusRequest, WatchUserStatusResponse, WatchUsersRequest,
    WatchUsersResponse, watch_user_status_response, watch_users_request, watch_users_response,
};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::api::at_least::reach;
use crate::api::list;
use crate::api::status::user_now;
use crate::api::watch::Watch;
use crate::api::watched::Asked;
use crate::limits::{Share, check_ids};
use crate::methods;
use crate::node::Node;
use crate::refusal::{Refusal, no_first_message};

/// How long a client of WatchUsers may take to say whom it wants to watch.
const FIRST_MESSAGE_TIME: Duration = Duration::from_secs(10);

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
    type WatchUsersStream = Pin<Box<dyn Stream<Item = Result<WatchUsersResponse, Status>> + Send>>;

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

    async fn list_online_users(
        &self,
        request: Request<ListOnlineUsersRequest>,
    ) -> Result<Response<ListOnlineUsersResponse>, Status> {
        let mut request = request.into_inner();
        let at_least = std::mem::take(&mut request.at_least_position);
        let asked = list::Asked::new(request)?;
        self.node.admit_call().await?;
        reach(&self.node, &at_least).await?;
        Ok(Response::new(asked.page(&self.node)))
    }

    async fn count_users(
        &self,
        request: Request<CountUsersRequest>,
    ) -> Result<Response<CountUsersResponse>, Status> {
        self.node.admit_call().await?;
        reach(&self.node, &request.into_inner().at_least_position).await?;
        let (counts, now) = self.node.look(|core, now| (core.counts(), now));
        let count = |it: Counted| {
            let Counted { online, away } = it;
            Some(UserCount { online, away })
        };
        Ok(Response::new(CountUsersResponse {
            all: count(counts.all),
            with_desktop: count(counts.with_desktop),
            with_mobile: count(counts.with_mobile),
            with_both: count(counts.with_both),
            position: self.node.position(now.seq).token(),
            node_time: Some(self.node.clock.timestamp(now.at)),
        }))
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

    async fn watch_users(
        &self,
        request: Request<Streaming<WatchUsersRequest>>,
    ) -> Result<Response<Self::WatchUsersStream>, Status> {
        let share = Share::of(request.extensions());
        let mut requests = request.into_inner();
        let first = timeout(FIRST_MESSAGE_TIME, requests.message()).await;
        let first = first.map_err(|_| no_first_message())??;
        let start = match first.and_then(|first| first.request) {
            Some(watch_users_request::Request::Start(start)) => start,
            Some(watch_users_request::Request::ChangeSet(_)) | None => {
                return Err(Refusal::field("start", "has to be the first message").into());
            }
        };
        let node = Arc::clone(&self.node);
        let opened = open_watch(node, &start.into(), Some(requests), share).await;
        let metrics = &self.node.metrics;
        let counted = opened.inspect_err(|why| metrics.stream_refused(methods::WATCH_USERS, why));
        Ok(Response::new(Box::pin(counted?.into_stream())))
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
    let opened = open_watch(Arc::clone(&node), &request.into(), None, share).await;
    let counted = opened.inspect_err(|why| node.metrics.stream_refused(methods::WATCH, why));
    Ok(counted?.into_stream().map_ok(of_fixed_set))
}

async fn open_watch(
    node: Arc<Node>,
    asked: &Asked,
    requests: Option<Streaming<WatchUsersRequest>>,
    share: Share,
) -> Result<Watch, Refusal> {
    asked.check()?;
    node.admit_call().await?;
    Watch::open(node, asked, requests, share)
}

/// The same as an answer of WatchUserStatus, whose set does not change.
fn of_fixed_set(response: WatchUsersResponse) -> WatchUserStatusResponse {
    use watch_user_status_response::Event as Fixed;
    use watch_users_response::Event;
    let event = response.event.and_then(|event| {
        Some(match event {
            Event::Resumed(it) => Fixed::Resumed(it),
            Event::SnapshotBegin(it) => Fixed::SnapshotBegin(it),
            Event::Snapshot(it) => Fixed::Snapshot(it),
            Event::SnapshotEnd(it) => Fixed::SnapshotEnd(it),
            Event::Change(it) => Fixed::Change(it),
            Event::Gap(it) => Fixed::Gap(it),
            Event::Watermark(it) => Fixed::Watermark(it),
            Event::Draining(it) => Fixed::Draining(it),
            Event::SetChanged(_) => return None,
        })
    });
    WatchUserStatusResponse {
        position: response.position,
        node_time: response.node_time,
        event,
    }
}
