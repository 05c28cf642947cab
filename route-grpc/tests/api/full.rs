//! A node that has as many connections as it takes: who comes then is told so, whatever he speaks, and does not stay.

use h2::client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::codegen::http::{Request, StatusCode};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::attach::reason;
use crate::mistakes::said_to;
use crate::site::{Site, soon};
use crate::wire::{Said, Wire};

const GET_USER: &str = "teamtalk.route.v1.PresenceService/GetUserStatus";
const SUBSCRIBE: &str = "teamtalk.route.v1.BroadcastService/Subscribe";
const ATTACH: &str = "teamtalk.attach.v1.AttachService/Attach";

/// How every client of HTTP/2 begins, with empty settings.
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Connections whose calls are answered.
const TURNED_AWAY: usize = 32;

/// Calls that are answered on each.
const CALLS: usize = 32;

/// With its only place taken.
async fn full() -> (Site, Channel) {
    let site = Site::with(|it| it.max_grpc_connections = 1).await;
    let first = site.channel().await;
    (site, first)
}

fn check(refused: &Status) {
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(reason(refused), "CONNECTION_LIMIT");
    assert!(
        refused.message().contains("--max-grpc-connections"),
        "{refused}"
    );
    assert!(refused.get_details_retry_info().is_some());
}

/// Whether the request is complete or goes on.
#[tokio::test]
async fn each_call_is_answered_with_the_reason() {
    let (site, first) = full().await;
    for said in [
        Said::all,
        |_: &[u8]| Said::begun(10),
        |_: &[u8]| Said::nothing(),
    ] {
        let wire = Wire::open(&site).await;
        let mut calls = Vec::new();
        for method in [GET_USER, SUBSCRIBE, ATTACH, "guess/Guess"].repeat(CALLS / 4) {
            calls.push(wire.call(method, said(b"")).await);
        }
        for mut call in calls {
            check(&call.end().await);
        }
    }

    site.shows("teamtalk_route_connections_refused_total 3")
        .await;
    drop(first);
    let room = async {
        while Wire::open(&site)
            .await
            .ends(GET_USER, Said::all(b"\x08\x01"))
            .await
            .code()
            != Code::Ok
        {}
    };
    soon("room", room).await;
}

#[tokio::test]
async fn a_client_of_http2_alone_is_told_so_in_text() {
    let (site, _first) = full().await;
    let socket = TcpStream::connect(site.address).await.unwrap();
    let (mut requests, connection) = client::handshake(socket).await.unwrap();
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));

    let request = Request::get("http://node/").body(()).unwrap();
    let (answer, _) = requests.send_request(request, true).unwrap();
    let answer = soon("an answer", answer).await.unwrap();

    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = soon("its text", answer.into_body().data())
        .await
        .unwrap()
        .unwrap();
    assert!(
        text.starts_with(b"this node has all of its 1 gRPC connections"),
        "{text:?}"
    );
}

/// Paused time goes on when everybody waits.
#[tokio::test(start_paused = true)]
async fn nobody_stays_and_of_many_the_last_are_told_without_a_call() {
    let (site, _first) = full().await;
    let mut stay = Vec::new();
    for number in 0..TURNED_AWAY {
        let mut stranger = TcpStream::connect(site.address).await.unwrap();
        let said = [&b""[..], BEGINNING][number % 2];
        stranger.write_all(said).await.unwrap();
        stay.push(stranger);
    }
    let line = format!("teamtalk_route_connections_refused_total {TURNED_AWAY}");
    site.shows(&line).await;

    let told = said_to(&site, BEGINNING).await;

    let text = String::from_utf8_lossy(&told);
    assert!(text.contains("--max-grpc-connections"), "{text}");
    // Settings, then GOAWAY on stream 0.
    assert_eq!(told[..9], [0, 0, 0, 4, 0, 0, 0, 0, 0]);
    assert_eq!((told[12], &told[14..18]), (7, &[0; 4][..]));
    for mut stranger in stay {
        let mut rest = Vec::new();
        let _ = soon("its end", stranger.read_to_end(&mut rest)).await;
    }
    let refused = Wire::open(&site).await.ends(GET_USER, Said::all(b"")).await;
    check(&refused);
}

/// Who reads nothing of the farewell, and goes on with what he has begun.
#[tokio::test(start_paused = true)]
async fn a_call_that_goes_on_keeps_no_connection_open() {
    let (site, _first) = full().await;
    let wire = Wire::open(&site).await;
    let mut call = wire.call(GET_USER, Said::begun(10)).await;
    check(&call.end().await);

    soon("its end", wire.closed()).await;
}
