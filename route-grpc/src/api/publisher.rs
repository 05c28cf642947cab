//! What services publish: checked, routed once, and followed to the gateways.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use hashbrown::HashMap;
use parking_lot::Mutex;
use route_access::Kind;
use route_core::{Audience, Command, LinkId, Routed, Why};
use route_proto::v1::publish_request::Audience as WireAudience;
use route_proto::v1::{
    Acknowledgement, ExplainPublishRequest, ExplainPublishResponse, PublishOutcome, PublishRequest,
    PublishResponse, PublishTarget, PublishTargetReason, explain_publish_request,
};
use route_runtime::telemetry;
use tracing::debug;

use crate::access::{Caller, Need};
use crate::api::at_least::AtLeast;
use crate::api::events::{self, Publication};
use crate::api::places::show;
use crate::api::requests::{CarriedOut, Content, Requests};
use crate::clock::micros;
use crate::dialects::Dialects;
use crate::gateways::queue::{Fate, Placed};
use crate::limits::{MAX_ID_BYTES, check_ids};
use crate::node::Node;
use crate::refusal::{Mistakes, Refusal};

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
}

impl Publisher {
    /// Routes through this node.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            requests: Mutex::default(),
        }
    }

    /// Checks a request that has come in now from this identity; none: of those without a name.
    pub(crate) fn order(
        &self,
        request: PublishRequest,
        whose: Option<String>,
    ) -> Result<Order, Refusal> {
        let mut mistakes = Mistakes::default();
        mistakes.note(check_request_id(&request.request_id));
        mistakes.note(request.audience.as_ref().map_or(Ok(()), check_audience));
        let waits = mistakes.note(waits(request.acknowledgement));
        let content = Content::of(&request);
        let event = request.event.unwrap_or_default();
        let now = self.node.clock.unix_seconds();
        let publication = events::publication(event, now, &self.node.dialects);
        let publication = mistakes.end_with(publication)?;
        let (length, limit) = (publication.pdu.len(), self.node.process.settings.pdu_limit);
        if length > limit {
            let problem =
                format!("a PDU of {length} bytes, more than the node's {limit} (--pdu-limit)");
            return Err(Refusal::TooLarge { problem });
        }
        let request_id = match (whose, request.request_id) {
            (Some(whose), id) if !id.is_empty() => format!("{whose}\n{id}"),
            (_, id) => id,
        };
        Ok(Order {
            request_id,
            content,
            publication,
            audience: request.audience,
            waits: waits.unwrap_or_default(),
        })
    }

    /// Carries out all of these, in order, or none. `called_at`: when they came in. `routed` is told that they are, or why not,
    /// before anything is waited for: then the caller may go away.
    pub(crate) async fn carry_out(
        &self,
        called_at: Duration,
        orders: Vec<Order>,
        routed: impl FnOnce(Option<&Refusal>),
    ) -> Result<Vec<PublishResponse>, Refusal> {
        let admitted = self.node.admit_call().await;
        let came = admitted.and_then(|()| self.route_all(called_at, &orders));
        routed(came.as_ref().err());
        let came = came?;
        let waits = orders.iter().map(|order| order.waits);
        let responses = waits.zip(came).map(|(waits, came)| async move {
            let mut response = came.response;
            response.outcome = response.outcome.filter(|_| waits);
            if let Some(outcome) = &mut response.outcome {
                wait(&came.placed, outcome).await;
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

    /// Finds out who would get it.
    pub(crate) async fn explain(
        &self,
        request: ExplainPublishRequest,
        caller: &Caller,
    ) -> Result<ExplainPublishResponse, Refusal> {
        use explain_publish_request::Audience as Asked;
        let mut mistakes = Mistakes::default();
        let at_least = mistakes.note(AtLeast::new(&request.at_least_position));
        let order = mistakes.end_with(self.order(
            PublishRequest {
                event: request.event,
                audience: request.audience.map(|audience| match audience {
                    Asked::MsgServersOfUsers(users) => WireAudience::MsgServersOfUsers(users),
                    Asked::AllMsgServers(all) => WireAudience::AllMsgServers(all),
                }),
                ..PublishRequest::default()
            },
            None,
        ))?;
        caller.require(Need::Publish(vec![order.kind()]))?;
        self.node.admit_call().await?;
        at_least.unwrap_or_default().reach(&self.node).await?;
        let audience = order.audience();
        let (targets, seq, at) = self.node.transact(|transaction, now| {
            let targets = transaction.core.targets(audience);
            (targets, self.node.log.extent().0, now)
        });
        let shown = targets.iter().take(MOST_TARGETS).cloned().map(target);
        let mut shown: Vec<_> = shown.collect();
        show(caller, &mut shown);
        Ok(ExplainPublishResponse {
            target_count: count(targets.len()),
            targets: shown,
            position: self.node.position(seq).token(),
            node_time: Some(self.node.clock.timestamp(at)),
        })
    }

    /// Equal requests wait for each other.
    fn route_all(&self, called_at: Duration, orders: &[Order]) -> Result<Vec<CarriedOut>, Refusal> {
        let _acts = self.node.act()?;
        let mut requests = self.requests.lock();
        let now = self.node.clock.now();
        let mut firsts = HashMap::new();
        for (number, order) in orders.iter().enumerate() {
            let id = order.request_id.as_str();
            let known = requests.find(now, id).map(|it| it.content);
            let first = *firsts.entry(id).or_insert(known.unwrap_or(order.content));
            if !id.is_empty() && first != order.content {
                let number = (orders.len() > 1).then_some(number);
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
        self.node.process.metrics.published.add(1, &[]);
        let Routed { links, held } = routed;
        debug!(links, "published");
        CarriedOut {
            content: order.content,
            response: PublishResponse {
                link_count: count(links),
                position: self.node.position(before + 1).token(),
                outcome: Some(PublishOutcome {
                    held_link_count: count(held),
                    ..PublishOutcome::default()
                }),
                ..PublishResponse::default()
            },
            placed: placed.into(),
        }
    }
}

fn check_request_id(id: &str) -> Result<(), Refusal> {
    if id.len() > MAX_ID_BYTES {
        let problem = format!("at most {MAX_ID_BYTES} bytes");
        return Err(Refusal::field("request_id", problem));
    }
    Ok(())
}

fn check_audience(audience: &WireAudience) -> Result<(), Refusal> {
    let WireAudience::MsgServersOfUsers(users) = audience else {
        return Ok(());
    };
    match users.user_ids.is_empty() {
        true => Err(Refusal::field(USERS, "is empty")),
        false => check_ids(&users.user_ids, USERS),
    }
}

fn waits(acknowledgement: i32) -> Result<bool, Refusal> {
    match Acknowledgement::try_from(acknowledgement) {
        Ok(Acknowledgement::Unspecified | Acknowledgement::Routed) => Ok(false),
        Ok(Acknowledgement::Taken) => Ok(true),
        Err(_) => {
            let problem = format!("{acknowledgement} is no acknowledgement");
            Err(Refusal::field("acknowledgement", problem))
        }
    }
}

impl Order {
    /// What is published.
    pub(crate) fn kind(&self) -> Kind {
        self.publication.kind
    }

    fn audience(&self) -> Audience<'_> {
        match &self.audience {
            Some(WireAudience::MsgServersOfUsers(users)) => Audience::Users(&users.user_ids),
            Some(WireAudience::AllMsgServers(_)) => Audience::Everyone,
            None => self.publication.audience(),
        }
    }
}

/// Waits until each gateway has it, is away, or was found full.
async fn wait(placed: &[Placed], outcome: &mut PublishOutcome) {
    for Placed { queue, place } in placed {
        let counter = match place {
            None => &mut outcome.full_gateway_count,
            Some(place) => match queue.fate(*place).await {
                Fate::Taken => &mut outcome.taken_gateway_count,
                Fate::Away => &mut outcome.away_gateway_count,
            },
        };
        *counter += 1;
    }
}

/// Targets of one answer.
pub(crate) const MOST_TARGETS: usize = 1000;

/// Users of one target that are named.
const MOST_USERS: usize = 100;

/// A link that would get it, as the API says it.
pub(crate) fn target(target: route_core::Target) -> PublishTarget {
    let (reason, mut user_ids) = match target.why {
        Why::HasUsers(users) => (PublishTargetReason::HasUsers, users),
        Why::Opaque => (PublishTargetReason::Unreadable, Vec::new()),
        Why::Reports => (PublishTargetReason::Reports, Vec::new()),
        Why::HasSessions => (PublishTargetReason::HasSessions, Vec::new()),
        Why::All => (PublishTargetReason::All, Vec::new()),
    };
    let user_count = count(user_ids.len());
    user_ids.truncate(MOST_USERS);
    PublishTarget {
        link: target.link.to_string(),
        msg_server: target.msg_server,
        held: target.held,
        reason: reason.into(),
        user_ids,
        user_count,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
