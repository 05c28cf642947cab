//! A played client that begins requests and does not end them, or watches and does not read.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{WatchUserStatusRequest, WatchUserStatusResponse};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::http::Request;
use tonic::{Status, Streaming};
use tower::ServiceExt;

use crate::node::Node;

/// Longest request to publish.
const REQUEST: usize = 1 << 20;
/// What one read brings.
const CHUNK: usize = 16 << 10;

/// A message but for its last byte.
struct Unfinished(usize);

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let came = self.0;
        if came == REQUEST - 1 {
            return Poll::Pending;
        }
        let some = CHUNK.min(REQUEST - 1 - came);
        let mut data = Vec::with_capacity(some + 5);
        if came == 0 {
            data.push(0);
            data.extend_from_slice(&(REQUEST as u32).to_be_bytes());
        }
        data.resize(data.len() + some, 7);
        self.0 += some;
        Poll::Ready(Some(Ok(Frame::data(data.into()))))
    }
}

/// Begins so many Publish calls on a new connection. They go on until the set is dropped.
pub(crate) async fn begin(node: &Node, calls: usize) -> JoinSet<()> {
    let channel = node.channel().await;
    let mut begun = JoinSet::new();
    for _ in 0..calls {
        let request = Request::post("/teamtalk.route.v1.BroadcastService/Publish")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(Unfinished(0)));
        let call = channel.clone().oneshot(request.expect("a request"));
        begun.spawn(async move {
            // The answer to a refused one keeps its stream.
            let _answer = call.await;
            std::future::pending::<()>().await;
        });
    }
    begun
}

/// A watch over all users, of which nothing is read.
pub(crate) async fn watch(node: &Node) -> Streaming<WatchUserStatusResponse> {
    let mut client = PresenceServiceClient::new(node.channel().await);
    let watch = client.watch_user_status(WatchUserStatusRequest {
        all_users: true,
        ..WatchUserStatusRequest::default()
    });
    watch.await.expect("it is let in").into_inner()
}
