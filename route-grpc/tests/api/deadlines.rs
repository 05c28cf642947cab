//! A caller whose own side does not watch its deadline: tonic's clients do, so that nobody sees what the node makes of it.

use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::site::Site;

/// A frame's type.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

/// Asks, by HTTP/2 as it stands on the wire, to be answered within this many milliseconds, and waits until the node has
/// answered that the time is over. `method`: its full name.
pub(crate) async fn runs_out(site: &Site, method: &str, millis: u32, message: &impl Message) {
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    let path = format!("/{method}");
    let timeout = format!("{millis}m");
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &*path),
        (":authority", "node"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", &*timeout),
    ];
    let headers = headers
        .iter()
        .flat_map(|(name, value)| literal(name, value));
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0], &length[..], &message].concat();
    let mut asked = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    asked.extend(frame(SETTINGS, 0, 0, &[]));
    asked.extend(frame(HEADERS, END_HEADERS, 1, &headers.collect::<Vec<_>>()));
    asked.extend(frame(DATA, END_STREAM, 1, &body));

    let mut connection = TcpStream::connect(site.address).await.unwrap();
    connection.write_all(&asked).await.unwrap();

    let labels =
        format!(r#"{{rpc_method="{method}",rpc_response_status_code="DEADLINE_EXCEEDED"}}"#);
    let series = "rpc_server_call_duration_seconds_count";
    site.shows(&format!("{series}{labels} 1")).await;
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let header = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&header, payload].concat()
}

/// A header that is not compressed.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 0x7f, "one byte says how long it is");
        [&[length], text.as_bytes()].concat()
    };
    [vec![0], text(name), text(value)].concat()
}
