//! Who speaks HTTP at a port for PDUs has come to the wrong one, with the address of a node in mind, or of its probes. He is told so
//! in a way that his program can show, and closed.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use route_grpc::wrong_port;
use route_runtime::http2;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, join};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::pdu::protocol::Protocol;

/// What they are told.
const TOLD: &str = "this port takes the PDUs of MsgServers. gRPC has a port of its own, 50051 unless --grpc-listen says otherwise, \
                    and so have metrics and probes, 9464 unless --probe-listen does";

/// The same for HTTP/1.
const TO_HTTP1: &str =
    "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n";

/// How long they have to hear it in HTTP/1.
const HTTP1_TIME: Duration = Duration::from_secs(1);

/// So many are told at a time; the others are closed without a word.
const AT_A_TIME: usize = 32;

/// What of their beginnings is kept, bytes.
const MOST: usize = 16 << 10;

/// Tells them.
#[derive(Debug, Clone)]
pub struct Strangers(Arc<Semaphore>);

/// One who has begun like this, instead of with a PDU.
#[derive(Debug)]
pub struct Stranger {
    protocol: Protocol,
    came: Vec<u8>,
}

impl Default for Strangers {
    /// Nobody is being told.
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

impl Stranger {
    /// Whoever speaks this, if what has come is his whole beginning, and little.
    pub fn of(protocol: Protocol, came: &[u8]) -> Option<Self> {
        let is_beginning = came.first_chunk().copied().and_then(Protocol::of) == Some(protocol);
        (is_beginning && came.len() <= MOST).then(|| Self {
            protocol,
            came: came.to_vec(),
        })
    }
}

impl Strangers {
    /// Tells this one, which takes 3 s at most.
    pub async fn tell(
        &self,
        Stranger { protocol, came }: Stranger,
        input: impl AsyncRead + Unpin,
        output: impl AsyncWrite + Unpin,
    ) {
        let Ok(_place) = self.0.try_acquire() else {
            return;
        };
        // Whoever does not listen is not told.
        match protocol {
            Protocol::Http2 => {
                let stream = join(Cursor::new(came).chain(input), output);
                let _ = http2::turn_away(stream, &wrong_port(TOLD)).await;
            }
            Protocol::Http1 => {
                let told = format!("{TO_HTTP1}{TOLD}\n");
                let telling = http2::tell(join(input, output), told.as_bytes());
                let _ = timeout(HTTP1_TIME, telling).await;
            }
            // We do not speak it.
            Protocol::Tls | Protocol::Ssh => {}
        }
    }
}
