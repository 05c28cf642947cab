//! PresenceService: who is online, and when that changes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use route_core::{Counted, UserId};
use route_proto::v1::presence_service_server::PresenceService;
use route_proto::v1::{
    BatchGetUserStatusRequest, BatchGetUserStatusResponse, CountOnlineUsersRequest,
    CountOnlineUsersResponse, GetUserStatusRequest, GetUserStatusResponse, ListOnlineUsersRequest,
    ListOnlineUsersResponse, UserCount, WatchUserSetRequest, WatchUserSetResponse,
    WatchUserStatusRequest, WatchUserStatusResponse, watch_user_set_request,
    watch_user_set_response, watch_user_status_response,
};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::access::Caller;
use crate::api::at_least::AtLeast;
use crate::api::list;
use crate::api::places::{Users, show};
use crate::api::set_change::Changes;
use crate::api::status::Seen;
use crate::api::watch::Watch;
use crate::api::watched::Asked;
use crate::limits::{MAX_IDS_WITH_SESSIONS, MAX_REQUEST_BYTES, Share, check_id, check_ids};
use crate::methods;
use crate::node::Node;
use crate::refusal::{Mistakes, Refusal};

/// How long a client of WatchUserSet may take to say whom it wants to watch.
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
    type WatchUserSetStream =
        Pin<Box<dyn Stream<Item = Result<WatchUserSetResponse, Status>> + Send>>;

    async fn get_user_status(
        &self,
        request: Request<GetUserStatusRequest>,
    ) -> Result<Response<GetUserStatusResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let mut mistakes = Mistakes::default();
        mistakes.note(check_id(request.user_id, "user_id"));
        let at_least = mistakes.end_with(AtLeast::new(&request.at_least_position))?;
        caller.asks_of(1)?;
        let user = UserId(request.user_id);
        self.node.admit_call().await?;
        at_least.reach(&self.node).await?;
        let clock = &self.node.clock;
        let (seen, now) = self
            .node
            .look(|core, now| (Seen::now(core, user, request.include_sessions), now));
        let mut user = seen.shown(clock);
        show(&caller, &mut user);
        Ok(Response::new(GetUserStatusResponse {
            user: Some(user),
            position: self.node.position(now.seq).token(),
            node_time: Some(clock.timestamp(now.at)),
        }))
    }

    async fn batch_get_user_status(
        &self,
        request: Request<BatchGetUserStatusRequest>,
    ) -> Result<Response<BatchGetUserStatusResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let ids = request.user_ids.len();
        let mut mistakes = Mistakes::default();
        mistakes.note(check_ids(&request.user_ids, "user_ids"));
        if request.include_sessions && ids > MAX_IDS_WITH_SESSIONS {
            let problem = format!("{ids} ids, at most {MAX_IDS_WITH_SESSIONS} with sessions");
            mistakes.add(Refusal::field("user_ids", problem));
        }
        let at_least = mistakes.end_with(AtLeast::new(&request.at_least_position))?;
        caller.asks_of(ids)?;
        self.node.admit_call().await?;
        at_least.reach(&self.node).await?;
        let clock = &self.node.clock;
        let mut seen = Vec::with_capacity(ids);
        let now = self.node.look(|core, now| {
            let ids = request.user_ids.iter().map(|&id| UserId(id));
            seen.extend(ids.map(|user| Seen::now(core, user, request.include_sessions)));
            now
        });
        let mut users: Vec<_> = seen.iter().map(|user| user.shown(clock)).collect();
        show(&caller, &mut users);
        Ok(Response::new(BatchGetUserStatusResponse {
            users,
            position: self.node.position(now.seq).token(),
            node_time: Some(clock.timestamp(now.at)),
        }))
    }

    async fn list_online_users(
        &self,
        request: Request<ListOnlineUsersRequest>,
    ) -> Result<Response<ListOnlineUsersResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let asked = list::Asked::new(request.into_inner())?;
        self.node.admit_call().await?;
        asked.at_least.reach(&self.node).await?;
        let mut page = asked.page(&self.node);
        caller.asks_of(page.users.len())?;
        show(&caller, &mut page.users);
        Ok(Response::new(page))
    }

    async fn count_online_users(
        &self,
        request: Request<CountOnlineUsersRequest>,
    ) -> Result<Response<CountOnlineUsersResponse>, Status> {
        let at_least = AtLeast::new(&request.into_inner().at_least_position)?;
        self.node.admit_call().await?;
        at_least.reach(&self.node).await?;
        let (counts, now) = self.node.look(|core, now| (core.counts(), now));
        let count = |it: Counted| {
            let Counted { online, away } = it;
            Some(UserCount {
                online_count: of_users(online),
                away_count: of_users(away),
            })
        };
        Ok(Response::new(CountOnlineUsersResponse {
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
        let caller = Some(Caller::of(request.extensions())?);
        let responses = watch(node, request.into_inner(), share, caller).await?;
        Ok(Response::new(Box::pin(responses)))
    }

    async fn watch_user_set(
        &self,
        request: Request<Streaming<WatchUserSetRequest>>,
    ) -> Result<Response<Self::WatchUserSetStream>, Status> {
        let share = Share::of(request.extensions());
        let caller = Caller::of(request.extensions())?;
        let mut requests = request.into_inner();
        let start = match timeout(FIRST_MESSAGE_TIME, requests.message()).await {
            Ok(Ok(first)) => match first.and_then(|first| first.message) {
                Some(watch_user_set_request::Message::Start(start)) => Ok(start),
                Some(watch_user_set_request::Message::ChangeSet(_)) | None => {
                    Err(Refusal::field("start", "has to be the first message"))
                }
            },
            Ok(Err(status)) => {
                let longest = format!("{MAX_REQUEST_BYTES} bytes");
                Err(Refusal::of_unread(&status, longest).ok_or(status)?)
            }
            Err(_) => Err(Refusal::TooSlow {
                problem: "no first message has come in 10 s",
            }),
        };
        let node = Arc::clone(&self.node);
        let opened = match start {
            Ok(start) => {
                let changes = Changes::new(requests, caller.clone());
                let opened =
                    open_watch(node, &start.into(), Some(changes), share, Some(&caller)).await;
                opened.map_err(|refusal| refusal.within("start"))
            }
            Err(refusal) => Err(refusal),
        };
        let metrics = &self.node.process.metrics;
        let counted =
            opened.inspect_err(|why| metrics.stream_refused(methods::WATCH_USER_SET, why));
        Ok(Response::new(Box::pin(shown(counted?, Some(&caller)))))
    }
}

/// What a watch tells, as its caller may see it.
fn shown(
    watch: Watch,
    caller: Option<&Caller>,
) -> impl Stream<Item = Result<WatchUserSetResponse, Status>> + Send + use<> {
    let hides = caller.is_some_and(|it| !it.sees_places());
    watch.into_stream().map_ok(move |mut response| {
        if hides {
            response.hide_places();
        }
        response
    })
}

/// User ids have 32 bits, so numbers of users have.
fn of_users(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// `WatchUserStatus`, for a caller without a network between.
pub async fn watch_user_status(
    node: Arc<Node>,
    request: WatchUserStatusRequest,
) -> Result<impl Stream<Item = Result<WatchUserStatusResponse, Status>> + Send, Status> {
    watch(node, request, Share::default(), None).await
}

async fn watch(
    node: Arc<Node>,
    request: WatchUserStatusRequest,
    share: Share,
    caller: Option<Caller>,
) -> Result<impl Stream<Item = Result<WatchUserStatusResponse, Status>> + Send, Status> {
    let asked = request.into();
    let opened = open_watch(Arc::clone(&node), &asked, None, share, caller.as_ref()).await;
    let counted =
        opened.inspect_err(|why| node.process.metrics.stream_refused(methods::WATCH, why));
    Ok(shown(counted?, caller.as_ref()).map_ok(of_fixed_set))
}

async fn open_watch(
    node: Arc<Node>,
    asked: &Asked,
    changes: Option<Changes>,
    share: Share,
    caller: Option<&Caller>,
) -> Result<Watch, Refusal> {
    asked.check()?;
    if let Some(caller) = caller {
        caller.asks_of(asked.user_ids.len() + asked.new_user_ids.len())?;
    }
    node.admit_call().await?;
    Watch::open(node, asked, changes, share)
}

/// The same as an answer of WatchUserStatus, whose set does not change.
fn of_fixed_set(response: WatchUserSetResponse) -> WatchUserStatusResponse {
    use watch_user_set_response::Message;
    use watch_user_status_response::Message as Fixed;
    let message = response.message.and_then(|message| {
        Some(match message {
            Message::Resumed(it) => Fixed::Resumed(it),
            Message::SnapshotBegin(it) => Fixed::SnapshotBegin(it),
            Message::Snapshot(it) => Fixed::Snapshot(it),
            Message::SnapshotEnd(it) => Fixed::SnapshotEnd(it),
            Message::Change(it) => Fixed::Change(it),
            Message::Gap(it) => Fixed::Gap(it),
            Message::Watermark(it) => Fixed::Watermark(it),
            Message::Draining(it) => Fixed::Draining(it),
            Message::SetChanged(_) => return None,
        })
    });
    WatchUserStatusResponse {
        position: response.position,
        node_time: response.node_time,
        message,
    }
}
