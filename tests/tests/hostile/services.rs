//! Attackers at the gRPC port and the probe port. Each goes on until it is dropped.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{BatchGetUserStatusRequest, CountOnlineUsersRequest, WatchUserStatusRequest};
use system_tests::player::unfinished::Unfinished;
use system_tests::siege::unread_channel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::codegen::http::Request;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;

use crate::kinds::Target;
use crate::peers::{MANY_USERS, again};

/// Connections at a time, or calls.
const MANY: usize = 100;
/// How long they stay.
const STAYS: Duration = Duration::from_millis(200);
/// Until the node has ended what it ends.
const PATIENCE: Duration = Duration::from_secs(30);
/// The beginning of HTTP/2: its preface, and settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Ids of one question, at most.
const IDS: u32 = 10_000;
/// Calls that are given up at once.
const GIVEN_UP: u32 = 3000;
/// Longest request to publish.
const REQUEST: usize = 1 << 20;

/// Many that begin to speak HTTP/2, and go.
pub(crate) async fn connections(at: Target) {
    crowd(at.grpc, PREFACE, STAYS).await;
}

/// Many that say nothing.
pub(crate) async fn silent_connections(at: Target) {
    crowd(at.grpc, b"", PATIENCE).await;
}

/// Many that speak something else.
pub(crate) async fn browsers(at: Target) {
    crowd(at.grpc, b"GET / HTTP/1.1\r\n\r\n", STAYS).await;
}

/// Many that ask the probe port nothing.
pub(crate) async fn probes(at: Target) {
    crowd(at.probes, b"", STAYS).await;
}

/// Many connect, say this, and stay until they are all closed or the time is over.
async fn crowd(address: SocketAddr, say: &'static [u8], stay: Duration) {
    again(async || {
        let mut all = JoinSet::new();
        for _ in 0..MANY {
            let mut one = TcpStream::connect(address).await?;
            all.spawn(async move {
                let mut answer = Vec::new();
                one.write_all(say).await?;
                let _ = timeout(stay, one.read_to_end(&mut answer)).await;
                io::Result::Ok(())
            });
        }
        all.join_all().await;
        Ok(())
    })
    .await;
}

async fn channel(at: Target) -> io::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", at.grpc));
    let endpoint = endpoint.map_err(io::Error::other)?;
    endpoint.connect().await.map_err(io::Error::other)
}

/// Questions for more users than may be asked for.
pub(crate) async fn long_questions(at: Target) {
    again(async || {
        let mut client = PresenceServiceClient::new(channel(at).await?);
        for _ in 0..MANY {
            let request = BatchGetUserStatusRequest {
                user_ids: (0..=IDS).collect(),
                ..BatchGetUserStatusRequest::default()
            };
            let _refused = client.batch_get_user_status(request).await;
        }
        Ok(())
    })
    .await;
}

/// One that wants to know of all users, and reads nothing.
pub(crate) async fn silent_watcher(at: Target) {
    again(async || {
        let mut client = PresenceServiceClient::new(unread_channel(at.grpc).await?);
        // A snapshot of few fits where nobody need read it.
        loop {
            let answer = client.count_online_users(CountOnlineUsersRequest::default());
            let answer = answer.await.map_err(io::Error::other)?.into_inner();
            if answer.all.unwrap_or_default().online_count >= MANY_USERS {
                break;
            }
            sleep(STAYS).await;
        }
        let all = WatchUserStatusRequest {
            all_users: true,
            ..WatchUserStatusRequest::default()
        };
        let _unread = client.watch_user_status(all).await;
        sleep(PATIENCE).await;
        Ok(())
    })
    .await;
}

/// Many requests on one connection, each but for its last byte.
pub(crate) async fn unended_calls(at: Target) {
    again(async || {
        let channel = channel(at).await?;
        let mut begun = JoinSet::new();
        for _ in 0..MANY {
            let request = Request::post("/teamtalk.route.v1.BroadcastService/Publish")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Body::new(Unfinished::of(REQUEST)))
                .map_err(io::Error::other)?;
            begun.spawn(channel.clone().oneshot(request));
        }
        let _ = timeout(PATIENCE, begun.join_all()).await;
        Ok(())
    })
    .await;
}

/// Calls that are begun and reset, more than any client gives up at once.
pub(crate) async fn resets(at: Target) {
    const RST_STREAM: u8 = 3;
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    const HEADERS: u8 = 1;
    const END_HEADERS: u8 = 4;
    let headers = request_headers();
    again(async || {
        let mut data = PREFACE.to_vec();
        for stream in (1..).step_by(2).take(GIVEN_UP as usize) {
            frame(&mut data, HEADERS, END_HEADERS, stream, &headers);
            frame(&mut data, RST_STREAM, 0, stream, &CANCEL);
        }
        let mut one = TcpStream::connect(at.grpc).await?;
        // The node may end it before all is written.
        let _ = one.write_all(&data).await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, one.read_to_end(&mut answer)).await;
        Ok(())
    })
    .await;
}

/// An HTTP/2 frame.
fn frame(data: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    data.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    data.extend_from_slice(&[kind, flags]);
    data.extend_from_slice(&stream.to_be_bytes());
    data.extend_from_slice(payload);
}

/// Of a call, packed as HPACK does it: the index of a name in its table, and a value.
fn request_headers() -> Vec<u8> {
    const POST: u8 = 0x83;
    const HTTP: u8 = 0x86;
    const PATH: &[u8] = &[0x04];
    const AUTHORITY: &[u8] = &[0x01];
    const CONTENT_TYPE: &[u8] = &[0x0f, 0x10];
    let mut packed = vec![POST, HTTP];
    for (name, value) in [
        (PATH, "/teamtalk.route.v1.PresenceService/GetUserStatus"),
        (AUTHORITY, "node"),
        (CONTENT_TYPE, "application/grpc"),
    ] {
        packed.extend_from_slice(name);
        packed.push(value.len() as u8);
        packed.extend_from_slice(value.as_bytes());
    }
    packed
}
