//! BroadcastService: read what is routed, or route something.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use route_access::Kind;
use route_proto::v1::broadcast_service_server::BroadcastService;
use route_proto::v1::{
    BatchPublishRequest, BatchPublishResponse, ExplainPublishRequest, ExplainPublishResponse,
    PublishRequest, PublishResponse, SubscribeRequest, SubscribeResponse,
};
use tonic::{Request, Response, Status};

use crate::access::{Caller, Need};
use crate::api::publisher::{Order, Publisher};
use crate::api::subscription::Subscription;
use crate::limits::Share;
use crate::methods;
use crate::node::Node;
use crate::refusal::{Mistakes, Refusal};

/// Events in one batch.
pub(crate) const MAX_BATCH: usize = 1000;

/// The service, for one node.
#[derive(Debug, Clone)]
pub(crate) struct Broadcast {
    node: Arc<Node>,
    publisher: Arc<Publisher>,
}

impl Broadcast {
    /// Reads from and routes through this node.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self {
            publisher: Arc::new(Publisher::new(Arc::clone(&node))),
            node,
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
        let client = Share::of(request.extensions());
        let caller = Some(Caller::of(request.extensions())?);
        let responses = subscribe_as(node, request.into_inner(), client, caller).await?;
        Ok(Response::new(Box::pin(responses)))
    }

    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let order = self.publisher.order(request.into_inner(), caller.key())?;
        let mut responses = self.carry_out(&caller, vec![order]).await?;
        Ok(Response::new(responses.pop().unwrap_or_default()))
    }

    async fn batch_publish(
        &self,
        request: Request<BatchPublishRequest>,
    ) -> Result<Response<BatchPublishResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let requests = request.into_inner().requests;
        if !(1..=MAX_BATCH).contains(&requests.len()) {
            let problem = format!("{} of them, 1 to {MAX_BATCH} are allowed", requests.len());
            return Err(Refusal::field("requests", problem).into());
        }
        let key = caller.key();
        let mut mistakes = Mistakes::default();
        let orders = requests.into_iter().enumerate();
        let orders = orders.filter_map(|(number, request)| {
            let order = self.publisher.order(request, key.clone());
            mistakes.note(order.map_err(|refusal| refusal.of_part("requests", number)))
        });
        let orders = orders.collect();
        mistakes.end()?;
        let responses = self.carry_out(&caller, orders).await?;
        Ok(Response::new(BatchPublishResponse { responses }))
    }

    async fn explain_publish(
        &self,
        request: Request<ExplainPublishRequest>,
    ) -> Result<Response<ExplainPublishResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let explained = self
            .publisher
            .explain(request.into_inner(), &caller)
            .await?;
        Ok(Response::new(explained))
    }
}

impl Broadcast {
    /// Carries them out, if the caller may publish them all.
    async fn carry_out(
        &self,
        caller: &Caller,
        orders: Vec<Order>,
    ) -> Result<Vec<PublishResponse>, Refusal> {
        let called_at = self.node.clock.now();
        let kinds = kinds(&orders);
        caller.require(Need::Publish(kinds.clone()))?;
        caller.publishes(orders.len())?;
        let events = orders.len();
        let said = |why_not: Option<&Refusal>| caller.published(events, &kinds, why_not);
        self.publisher.carry_out(called_at, orders, said).await
    }
}

/// Of these events, each once.
fn kinds(orders: &[Order]) -> Vec<Kind> {
    let kinds: BTreeSet<_> = orders.iter().map(Order::kind).collect();
    kinds.into_iter().collect()
}

/// `Subscribe`, for a caller without a network between.
pub async fn subscribe(
    node: Arc<Node>,
    request: SubscribeRequest,
) -> Result<impl Stream<Item = Result<SubscribeResponse, Status>> + Send, Status> {
    subscribe_as(node, request, Share::default(), None).await
}

async fn subscribe_as(
    node: Arc<Node>,
    request: SubscribeRequest,
    client: Share,
    caller: Option<Caller>,
) -> Result<impl Stream<Item = Result<SubscribeResponse, Status>> + Send, Status> {
    let opened = open_subscription(Arc::clone(&node), &request, &client, caller.as_ref()).await;
    let counted =
        opened.inspect_err(|why| node.process.metrics.stream_refused(methods::SUBSCRIBE, why));
    Ok(counted?.into_stream())
}

async fn open_subscription(
    node: Arc<Node>,
    request: &SubscribeRequest,
    client: &Share,
    caller: Option<&Caller>,
) -> Result<Subscription, Refusal> {
    node.admit_call().await?;
    Subscription::open(node, request, client, caller)
}
