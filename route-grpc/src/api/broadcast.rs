//! BroadcastService: read what is routed, or route something.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use parking_lot::Mutex;
use route_core::{Audience, Command, LinkId};
use route_proto::v1::broadcast_service_server::BroadcastService;
use route_proto::v1::publish_request::Audience as WireAudience;
use route_proto::v1::{PublishRequest, PublishResponse, SubscribeRequest, SubscribeResponse};
use route_runtime::telemetry;
use tonic::{Request, Response, Status};
use tracing::debug;

use crate::api::events::{self, Publication};
use crate::api::requests::Requests;
use crate::api::subscription::Subscription;
use crate::clock::micros;
use crate::dialects::Dialects;
use crate::limits::{MAX_ID_BYTES, check_ids};
use crate::methods;
use crate::node::Node;
use crate::refusal::Refusal;

/// Where the users of an audience stand in a request.
const USERS: &str = "msg_servers_of_users.user_ids";

/// The service, for one node.
#[derive(Debug, Clone)]
pub(crate) struct Broadcast {
    node: Arc<Node>,
    requests: Arc<Mutex<Requests>>,
}

impl Broadcast {
    /// Reads from and routes through this node.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            requests: Arc::default(),
        }
    }
}

#[tonic::async_trait]
impl BroadcastService for Broadcast {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let node = Arc::clone(&self.node);
        let responses = subscribe(node, request.into_inner()).await?;
        Ok(Response::new(Box::pin(responses)))
    }

    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        let request = request.into_inner();
        if request.request_id.len() > MAX_ID_BYTES {
            let problem = format!("at most {MAX_ID_BYTES} bytes");
            return Err(Refusal::field("request_id", problem).into());
        }
        if let Some(WireAudience::MsgServersOfUsers(users)) = &request.audience {
            check_ids(&users.user_ids, USERS)?;
            if users.user_ids.is_empty() {
                return Err(Refusal::field(USERS, "is empty").into());
            }
        }
        let event = request.event.unwrap_or_default();
        let publication = events::publication(event, &self.node.dialects)?;
        let (length, limit) = (publication.pdu.len(), self.node.settings.pdu_limit);
        if length > limit {
            let problem = format!("a PDU of {length} bytes, the limit is {limit}");
            return Err(Refusal::TooLarge { problem }.into());
        }
        let called_at = self.node.clock.now();
        self.node.admit_call().await?;
        let audience = request.audience.as_ref();
        let response = self.publish_once(called_at, request.request_id, audience, &publication);
        Ok(Response::new(response))
    }
}

/// `Subscribe`, for callers with and without a network between.
pub async fn subscribe(
    node: Arc<Node>,
    request: SubscribeRequest,
) -> Result<impl Stream<Item = Result<SubscribeResponse, Status>> + Send, Status> {
    let opened = open_subscription(Arc::clone(&node), &request).await;
    let counted = opened.inspect_err(|why| node.metrics.stream_refused(methods::SUBSCRIBE, why));
    Ok(counted?.into_stream())
}

async fn open_subscription(
    node: Arc<Node>,
    request: &SubscribeRequest,
) -> Result<Subscription, Refusal> {
    node.admit_call().await?;
    Subscription::open(node, request)
}

impl Broadcast {
    /// Routes it, unless the same request was carried out before. Equal requests wait for each
    /// other.
    fn publish_once(
        &self,
        called_at: Duration,
        request_id: String,
        audience: Option<&WireAudience>,
        publication: &Publication,
    ) -> PublishResponse {
        if request_id.is_empty() {
            return self.route(called_at, audience, publication);
        }
        let now = self.node.clock.now();
        let mut requests = self.requests.lock();
        if let Some(answer) = requests.answer(now, &request_id) {
            return answer;
        }
        let response = self.route(called_at, audience, publication);
        requests.remember(now, request_id, response.clone());
        response
    }

    fn route(
        &self,
        called_at: Duration,
        audience: Option<&WireAudience>,
        publication: &Publication,
    ) -> PublishResponse {
        let read_at = publication.perishable.then(|| micros(called_at));
        let command = Command {
            id: publication.command,
            dialect: Dialects::PUBLISHED,
        };
        let (links, before) = self.node.transact(|transaction, _| {
            let audience = match audience {
                Some(WireAudience::MsgServersOfUsers(users)) => Audience::Users(&users.user_ids),
                Some(WireAudience::AllMsgServers(_)) => Audience::Everyone,
                None => publication.audience(),
            };
            // What was logged before: the event comes next, for nothing else happens under this
            // lock.
            let before = self.node.log.extent().0;
            if let Some(parent) = telemetry::current() {
                transaction.traced.route(LinkId::NODE, 0, parent);
            }
            let pdu = publication.pdu.clone();
            let links = transaction.core.publish(command, audience, pdu, read_at);
            (links, before)
        });
        self.node.metrics.published.add(1, &[]);
        debug!(links, "published");
        PublishResponse {
            links: u32::try_from(links).unwrap_or(u32::MAX),
            position: self.node.position(before + 1).token(),
            duplicate: false,
        }
    }
}
