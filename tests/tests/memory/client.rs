//! A played client that begins requests and does not end them, or watches and does not read.

use prost::Message as _;
use route_proto::attach::v1::{AttachHello, AttachRequest, attach_request};
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{GetUserStatusRequest, WatchUserStatusRequest, WatchUserStatusResponse};
use system_tests::player::unfinished::Unfinished;
use tokio::task::JoinSet;
use tonic::Streaming;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::Channel;
use tower::ServiceExt;

use crate::gateway;
use crate::node::Node;

/// Longest request to publish.
const REQUEST: usize = 1 << 20;

/// Begins so many Publish calls on a new connection. They go on until the set is dropped.
pub(crate) async fn begin(node: &Node, calls: usize) -> JoinSet<()> {
    let channel = node.channel().await;
    let mut begun = JoinSet::new();
    for _ in 0..calls {
        let body = Unfinished::of(REQUEST);
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
    let body = Unfinished::behind(&hello, length);
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
