//! A played client that begins requests and does not end them, or watches and does not read.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use prost::Message as _;
use route_proto::attach::v1::{AttachHello, AttachRequest, attach_request};
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{GetUserStatusRequest, WatchUserStatusRequest, WatchUserStatusResponse};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tower::ServiceExt;

use crate::gateway;
use crate::node::Node;

/// Longest request to publish.
const REQUEST: usize = 1 << 20;
/// Of what stands before a message.
const PREFIX: usize = 5;
/// What one read brings.
const CHUNK: usize = 16 << 10;

/// A message of so many bytes but for its last one, behind what comes first.
struct Unfinished {
    first: Option<Bytes>,
    length: usize,
    came: usize,
}

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let (came, length) = (self.came, self.length);
        if came == length - 1 {
            return Poll::Pending;
        }
        let some = CHUNK.min(length - 1 - came);
        let mut data = Vec::with_capacity(some + PREFIX);
        if came == 0 {
            data = prefix(length);
        }
        data.resize(data.len() + some, 7);
        self.came += some;
        Poll::Ready(Some(Ok(Frame::data(data.into()))))
    }
}

/// Begins so many Publish calls on a new connection. They go on until the set is dropped.
pub(crate) async fn begin(node: &Node, calls: usize) -> JoinSet<()> {
    let channel = node.channel().await;
    let mut begun = JoinSet::new();
    for _ in 0..calls {
        let body = Unfinished {
            first: None,
            length: REQUEST,
            came: 0,
        };
        let call = call(&channel, "teamtalk.route.v1.BroadcastService/Publish", body);
        begun.spawn(async move {
            // The answer to a refused one keeps its stream.
            let _answer = call.await;
            std::future::pending::<()>().await;
        });
    }
    begun
}

/// A gateway that attaches, and begins a message of so many bytes. It goes on until this is dropped.
pub(crate) async fn begin_as_gateway(node: &Node, id: &str, length: usize) -> JoinSet<()> {
    let hello = AttachHello {
        gateway_id: id.to_owned(),
        incarnation: gateway::life(),
        attempt: 1,
        ..AttachHello::default()
    };
    let frame = Some(attach_request::Frame::Hello(hello));
    let hello = AttachRequest { frame }.encode_to_vec();
    let first = [prefix(hello.len()), hello].concat();
    let body = Unfinished {
        first: Some(first.into()),
        length,
        came: 0,
    };
    let channel = node.channel().await;
    let call = call(&channel, "teamtalk.attach.v1.AttachService/Attach", body);
    let mut begun = JoinSet::new();
    begun.spawn(async move {
        let _answer = call.await;
        std::future::pending::<()>().await;
    });
    begun
}

fn call(
    channel: &Channel,
    method: &str,
    body: Unfinished,
) -> impl Future<Output = Result<Response<Body>, tonic::transport::Error>> + use<> {
    let request = Request::post(format!("/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(body));
    channel.clone().oneshot(request.expect("a request"))
}

/// What stands before a message of so many bytes.
fn prefix(length: usize) -> Vec<u8> {
    let mut prefix = vec![0];
    prefix.extend_from_slice(&(length as u32).to_be_bytes());
    prefix
}

/// Asks for one user.
pub(crate) async fn ask(node: &Node, user_id: u32) {
    let mut client = PresenceServiceClient::new(node.channel().await);
    let asked = client.get_user_status(GetUserStatusRequest {
        user_id,
        ..GetUserStatusRequest::default()
    });
    asked.await.expect("it answers");
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
