//! How a connection begins: with what every HTTP/2 client says first, within a time. Nothing is
//! written before, so that somebody who speaks something else can be told so in a way that it
//! understands.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// With this a client begins HTTP/2.
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// From the accept to the end of those.
const PREFACE_TIME: Duration = Duration::from_secs(10);

/// By so many bytes protocols are told apart.
const TELLING: usize = 3;

/// What a browser, or `curl`, is told.
const TO_HTTP1: &str = "HTTP/1.1 505 HTTP Version Not Supported\r\n\
     content-type: text/plain\r\ncontent-length: 86\r\nconnection: close\r\n\r\n\
     This port speaks gRPC, which is HTTP/2. Probes and metrics have a port of their own.\r\n";

/// What has come, and until when the rest has to.
#[derive(Debug)]
pub(super) struct Greeting {
    came: Vec<u8>,
    deadline: Pin<Box<Sleep>>,
}

/// How it has begun.
#[derive(Debug)]
pub(super) enum Heard {
    /// As HTTP/2 does, or not at all, because the peer has closed: this has come.
    Beginning(Vec<u8>),
    /// With something else.
    Other(&'static str),
    /// Too late.
    Nothing,
}

impl Greeting {
    /// Of a connection that was accepted now.
    pub(super) fn awaited() -> Self {
        Self {
            came: Vec::new(),
            deadline: Box::pin(sleep(PREFACE_TIME)),
        }
    }

    /// Waits for it. Who speaks HTTP/1 has been answered then.
    pub(super) fn poll(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Heard>> {
        loop {
            if self.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Heard::Nothing));
            }
            let mut space = [0; PREFACE.len()];
            let mut buffer = ReadBuf::new(&mut space[self.came.len()..]);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            let is_over = buffer.filled().is_empty();
            self.came.extend_from_slice(buffer.filled());
            if is_over || self.came == PREFACE {
                return Poll::Ready(Ok(Heard::Beginning(std::mem::take(&mut self.came))));
            }
            if !PREFACE.starts_with(&self.came) && self.came.len() >= TELLING {
                let protocol = protocol(&self.came);
                if protocol == HTTP1 {
                    answer(stream, cx);
                }
                return Poll::Ready(Ok(Heard::Other(protocol)));
            }
        }
    }
}

const HTTP1: &str = "it speaks HTTP/1, and this port HTTP/2";

/// What the peer speaks, by how it begins.
fn protocol(came: &[u8]) -> &'static str {
    match came {
        [b'A'..=b'Z', b'A'..=b'Z', b'A'..=b'Z', ..] => HTTP1,
        [0x16, 3, ..] => "it speaks TLS, which this port does not",
        // A length, and there is none of 16 MiB or more.
        [0, ..] => "it sends PDUs, and MsgServers have a port of their own",
        _ => "it does not speak HTTP/2",
    }
}

/// Says it at once or not at all: the kernel takes so much of a connection that has just begun.
fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), cx: &mut Context<'_>) {
    const HEADERS: usize = 16 << 10;
    let _ = Pin::new(&mut *stream).poll_write(cx, TO_HTTP1.as_bytes());
    // What is left unread would make the kernel break the connection before the peer has read that.
    let mut rest = vec![0; HEADERS];
    let _ = Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut rest));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let (headers, text) = TO_HTTP1.split_once("\r\n\r\n").expect("it has both");
        assert!(headers.contains(&format!("content-length: {}\r\n", text.len())));
    }

    #[test]
    fn what_comes_to_the_wrong_port_is_known_by_its_beginning() {
        assert_eq!(protocol(b"GET / HTTP/1.1"), HTTP1);
        assert!(protocol(&[0, 0, 0, 16, 0, 1, 0, 0]).contains("PDUs"));
        assert!(protocol(&[0x16, 3, 1]).contains("TLS"));
        assert!(protocol(b"hello").contains("HTTP/2"));
    }
}
