//! BroadcastService: read what is routed, or route something.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use route_proto::v1::broadcast_service_server::BroadcastService;
use route_proto::v1::{
    BatchPublishRequest, BatchPublishResponse, ExplainPublishRequest, ExplainPublishResponse,
    PublishRequest, PublishResponse, SubscribeRequest, SubscribeResponse,
};
use tonic::{Request, Response, Status};

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
        let responses = subscribe_as(node, request.into_inner(), client).await?;
        Ok(Response::new(Box::pin(responses)))
    }

    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        let order = self.publisher.order(request.into_inner())?;
        let mut responses = self.carry_out(vec![order]).await?;
        Ok(Response::new(responses.pop().unwrap_or_default()))
    }

    async fn batch_publish(
        &self,
        request: Request<BatchPublishRequest>,
    ) -> Result<Response<BatchPublishResponse>, Status> {
        let requests = request.into_inner().requests;
        if !(1..=MAX_BATCH).contains(&requests.len()) {
            let problem = format!("{} of them, 1 to {MAX_BATCH} are allowed", requests.len());
            return Err(Refusal::field("requests", problem).into());
        }
        let mut mistakes = Mistakes::default();
        let orders = requests.into_iter().enumerate();
        let orders = orders.filter_map(|(number, request)| {
            let order = self.publisher.order(request);
            mistakes.note(order.map_err(|refusal| refusal.of_part("requests", number)))
        });
        let orders = orders.collect();
        mistakes.end()?;
        let responses = self.carry_out(orders).await?;
        Ok(Response::new(BatchPublishResponse { responses }))
    }

    async fn explain_publish(
        &self,
        request: Request<ExplainPublishRequest>,
    ) -> Result<Response<ExplainPublishResponse>, Status> {
        let explained = self.publisher.explain(request.into_inner()).await?;
        Ok(Response::new(explained))
    }
}

impl Broadcast {
    async fn carry_out(&self, orders: Vec<Order>) -> Result<Vec<PublishResponse>, Refusal> {
        let called_at = self.node.clock.now();
        self.publisher.carry_out(called_at, orders).await
    }
}

/// `Subscribe`, for a caller without a network between.
pub async fn subscribe(
    node: Arc<Node>,
    request: SubscribeRequest,
) -> Result<impl Stream<Item = Result<SubscribeResponse, Status>> + Send, Status> {
    subscribe_as(node, request, Share::default()).await
}

async fn subscribe_as(
    node: Arc<Node>,
    request: SubscribeRequest,
    client: Share,
) -> Result<impl Stream<Item = Result<SubscribeResponse, Status>> + Send, Status> {
    let opened = open_subscription(Arc::clone(&node), &request, &client).await;
    let counted = opened.inspect_err(|why| node.metrics.stream_refused(methods::SUBSCRIBE, why));
    Ok(counted?.into_stream())
}

async fn open_subscription(
    node: Arc<Node>,
    request: &SubscribeRequest,
    client: &Share,
) -> Result<Subscription, Refusal> {
    node.admit_call().await?;
    Subscription::open(node, request, client)
}
