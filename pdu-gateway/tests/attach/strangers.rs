//! Who comes to the port for PDUs by mistake is told which one he means, and does not stay; MsgServers are never told such things.

use route_proto::pdu::{HEADER_LEN, Header, command};
use route_proto::v1::GetUserStatusRequest;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_types::StatusExt;

use crate::harness::{Harness, NodeStream, pdu, within};

const HTTP1: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: gateway\r\n\r\n";
/// How every client of HTTP/2 begins, with empty settings.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

async fn attached() -> (Harness, NodeStream) {
    let mut gateway = Harness::start(&[]).await;
    let node = gateway.attached(1, &[]).await;
    drop(gateway.connect().await);
    (gateway, node)
}

#[tokio::test]
async fn a_client_of_grpc_is_told_in_answer_to_its_call() {
    let (gateway, _node) = attached().await;
    let url = format!("http://{}", gateway.gateway.pdu_addresses()[0]);
    let channel = Endpoint::from_shared(url).unwrap().connect_lazy();
    let mut presence = PresenceServiceClient::new(channel);

    for _ in 0..2 {
        let called = presence.get_user_status(GetUserStatusRequest::default());
        let refused = within(called).await.unwrap_err();

        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(
            (&*info.reason, &*info.domain),
            ("WRONG_PORT", "route.teamtalk")
        );
        assert!(refused.message().contains("--grpc-listen"), "{refused}");
    }
}

/// All that the gateway says to somebody who says this, and then waits.
async fn said_to(gateway: &Harness, said: &[&[u8]]) -> Vec<u8> {
    let address = gateway.gateway.pdu_addresses()[0];
    let mut stranger = TcpStream::connect(address).await.unwrap();
    stranger.set_nodelay(true).unwrap();
    for piece in said {
        stranger.write_all(piece).await.unwrap();
    }
    let mut told = Vec::new();
    let _ = within(stranger.read_to_end(&mut told)).await;
    told
}

#[tokio::test]
async fn a_browser_is_told_in_text() {
    let (gateway, _node) = attached().await;

    let told = String::from_utf8(said_to(&gateway, &[HTTP1]).await).unwrap();

    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
    assert!(
        told.contains("--grpc-listen") && told.contains("--probe-listen"),
        "{told}"
    );
}

#[tokio::test]
async fn nobody_stays_who_calls_nothing() {
    let (gateway, _node) = attached().await;

    let told = said_to(&gateway, &[HTTP2]).await;

    // Settings; and a GOAWAY, if anything.
    assert_eq!(told.get(3), Some(&4), "{told:?}");
}

/// What looks like HTTP is no more than a PDU that cannot be.
#[tokio::test]
async fn a_msg_server_is_told_nothing() {
    let (gateway, _node) = attached().await;
    let heartbeat = pdu(command::HEARTBEAT, 1, b"");
    for begins in [HTTP1, HTTP2] {
        // But for the answer to its heartbeat.
        let told = said_to(&gateway, &[&heartbeat, begins]).await;
        assert_eq!(told.len(), HEADER_LEN, "{told:?}");
        assert_eq!(
            Header::read(told.first_chunk().unwrap()).command,
            command::HEARTBEAT
        );
    }
    assert_eq!(
        said_to(&gateway, &[b"\x16\x03\x01\x02\0\x01\0\x01"]).await,
        b""
    );
}
