//! What services publish: checked, routed once, and followed to the gateways.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use parking_lot::Mutex;
use route_core::{Audience, Command, LinkId, Routed, Why};
use route_proto::v1::publish_request::Audience as WireAudience;
use route_proto::v1::{
    Acknowledgement, PublishRequest, PublishResponse, Taken, Target, TargetReason,
};
use route_runtime::telemetry;
use tracing::debug;

use crate::api::events::{self, Publication};
use crate::api::requests::{CarriedOut, Content, Requests};
use crate::clock::micros;
use crate::dialects::Dialects;
use crate::gateways::queue::{Fate, Placed};
use crate::limits::{MAX_ID_BYTES, check_ids};
use crate::node::Node;
use crate::refusal::Refusal;

/// Where the users of an audience stand in a request.
const USERS: &str = "msg_servers_of_users.user_ids";

/// Publishes, and remembers what it has published.
#[derive(Debug)]
pub(crate) struct Publisher {
    node: Arc<Node>,
    requests: Mutex<Requests>,
}

/// A request that can be carried out.
#[derive(Debug)]
pub(crate) struct Order {
    request_id: String,
    content: Content,
    publication: Publication,
    audience: Option<WireAudience>,
    waits: bool,
    dry_run: bool,
}

impl Publisher {
    /// Routes through this node.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            requests: Mutex::default(),
        }
    }

    /// Checks a request that has come in now.
    pub(crate) fn order(&self, request: PublishRequest) -> Result<Order, Refusal> {
        if request.request_id.len() > MAX_ID_BYTES {
            let problem = format!("at most {MAX_ID_BYTES} bytes");
            return Err(Refusal::field("request_id", problem));
        }
        if let Some(WireAudience::MsgServersOfUsers(users)) = &request.audience {
            check_ids(&users.user_ids, USERS)?;
            if users.user_ids.is_empty() {
                return Err(Refusal::field(USERS, "is empty"));
            }
        }
        let waits = match Acknowledgement::try_from(request.acknowledgement) {
            Ok(Acknowledgement::Unspecified | Acknowledgement::Routed) => false,
            Ok(Acknowledgement::Taken) => true,
            Err(_) => {
                let problem = format!("{} is none", request.acknowledgement);
                return Err(Refusal::field("acknowledgement", problem));
            }
        };
        let content = Content::of(&request);
        let event = request.event.unwrap_or_default();
        let now = self.node.clock.unix_seconds();
        let publication = events::publication(event, now, &self.node.dialects)?;
        let (length, limit) = (publication.pdu.len(), self.node.settings.pdu_limit);
        if length > limit {
            let problem = format!("a PDU of {length} bytes, the limit is {limit}");
            return Err(Refusal::TooLarge { problem });
        }
        Ok(Order {
            request_id: request.request_id,
            content,
            publication,
            audience: request.audience,
            waits,
            dry_run: request.dry_run,
        })
    }

    /// Carries out all of these, in order, or none. `called_at`: when they came in.
    pub(crate) async fn carry_out(
        &self,
        called_at: Duration,
        orders: Vec<Order>,
    ) -> Result<Vec<PublishResponse>, Refusal> {
        self.node.admit_call().await?;
        let came = self.route_all(called_at, &orders)?;
        let waits = orders.iter().map(|order| order.waits && !order.dry_run);
        let responses = waits.zip(came).map(|(waits, came)| async move {
            let mut response = came.response;
            response.taken = response.taken.filter(|_| waits);
            if let Some(taken) = &mut response.taken {
                wait(&came.placed, taken).await;
            }
            response
        });
        let mut responses = future::join_all(responses).await;
        let now = self.node.clock.timestamp(self.node.clock.now());
        for response in &mut responses {
            response.node_time = Some(now);
        }
        Ok(responses)
    }

    /// Equal requests wait for each other.
    fn route_all(&self, called_at: Duration, orders: &[Order]) -> Result<Vec<CarriedOut>, Refusal> {
        let mut requests = self.requests.lock();
        let now = self.node.clock.now();
        for (number, order) in orders.iter().enumerate() {
            let earlier = &orders[..number];
            let twin = earlier.iter().find(|it| it.request_id == order.request_id);
            let known = requests.find(now, &order.request_id).map(|it| it.content);
            let first = known.or_else(|| twin.map(|it| it.content));
            let has_id = !order.request_id.is_empty();
            if has_id && first.is_some_and(|content| content != order.content) {
                return Err(Refusal::RequestIdReused { number });
            }
        }
        let came = orders.iter().map(|order| {
            let mut came = self.carry_out_once(called_at, now, order, &mut requests);
            let since = self.node.clock.timestamp(requests.since());
            came.response.request_ids_since = Some(since);
            came
        });
        Ok(came.collect())
    }

    /// Routes it, unless the same request was carried out before.
    fn carry_out_once(
        &self,
        called_at: Duration,
        now: Duration,
        order: &Order,
        requests: &mut Requests,
    ) -> CarriedOut {
        if order.dry_run {
            return self.rehearse(order);
        }
        let id = &order.request_id;
        if !id.is_empty()
            && let Some(first) = requests.find(now, id)
        {
            let mut first = first.clone();
            first.response.duplicate = true;
            return first;
        }
        let came = self.route(called_at, order);
        if !id.is_empty() {
            requests.remember(now, id.clone(), came.clone());
        }
        came
    }

    fn route(&self, called_at: Duration, order: &Order) -> CarriedOut {
        let publication = &order.publication;
        let read_at = publication.perishable.then(|| micros(called_at));
        let command = Command {
            id: publication.command,
            dialect: Dialects::PUBLISHED,
        };
        let ((routed, before), placed) = self.node.transact_placed(|transaction, _| {
            // What was logged before: the event comes next, for nothing else happens under this
            // lock.
            let before = self.node.log.extent().0;
            if let Some(parent) = telemetry::current() {
                transaction.traced.route(LinkId::NODE, 0, parent);
            }
            transaction.placed = Some(Vec::new());
            let (audience, pdu) = (order.audience(), publication.pdu.clone());
            let routed = transaction.core.publish(command, audience, pdu, read_at);
            (routed, before)
        });
        self.node.metrics.published.add(1, &[]);
        let Routed { links, held } = routed;
        debug!(links, "published");
        CarriedOut {
            content: order.content,
            response: PublishResponse {
                links: count(links),
                position: self.node.position(before + 1).token(),
                taken: Some(Taken {
                    links_held: count(held),
                    ..Taken::default()
                }),
                ..PublishResponse::default()
            },
            placed: placed.into(),
        }
    }

    /// Finds out who would get it.
    fn rehearse(&self, order: &Order) -> CarriedOut {
        let audience = order.audience();
        let targets = self
            .node
            .transact(|transaction, _| transaction.core.targets(audience));
        CarriedOut {
            content: order.content,
            response: PublishResponse {
                links: count(targets.len()),
                targets: targets.into_iter().map(target).collect(),
                ..PublishResponse::default()
            },
            placed: Arc::default(),
        }
    }
}

impl Order {
    fn audience(&self) -> Audience<'_> {
        match &self.audience {
            Some(WireAudience::MsgServersOfUsers(users)) => Audience::Users(&users.user_ids),
            Some(WireAudience::AllMsgServers(_)) => Audience::Everyone,
            None => self.publication.audience(),
        }
    }
}

/// Waits until each gateway has it, is away, or was found full.
async fn wait(placed: &[Placed], taken: &mut Taken) {
    for Placed { queue, place } in placed {
        let counter = match place {
            None => &mut taken.gateways_full,
            Some(place) => match queue.fate(*place).await {
                Fate::Taken => &mut taken.gateways,
                Fate::Away => &mut taken.gateways_away,
            },
        };
        *counter += 1;
    }
}

fn target(target: route_core::Target) -> Target {
    let (reason, user_ids) = match target.why {
        Why::HasUsers(users) => (TargetReason::HasUsers, users),
        Why::Opaque => (TargetReason::Unreadable, Vec::new()),
        Why::Reports => (TargetReason::Reports, Vec::new()),
        Why::HasSessions => (TargetReason::HasSessions, Vec::new()),
        Why::All => (TargetReason::All, Vec::new()),
    };
    Target {
        link: target.link.to_string(),
        msg_server: target.msg_server,
        held: target.held,
        reason: reason.into(),
        user_ids,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
