//! HTTP/2 connections, at either end: bounds that flags set, why they broke, how somebody is sent away.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::iter::successors;
use std::time::Duration;

use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::{self, SendResponse};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Largest window that HTTP/2 allows, bytes.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// Default window of HTTP/2, bytes. A smaller one costs speed and wins nothing.
const LEAST_WINDOW: u32 = 64 << 10;

/// A peer that gets pings more often may take them for an attack and close the connection.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// What is wrong with a flag that says how much may come before it is read.
pub fn window(flag: &str, bytes: u32) -> Result<(), String> {
    if bytes < LEAST_WINDOW {
        return Err(format!("{flag} has to be at least 64KiB"));
    }
    if bytes > LARGEST_WINDOW {
        return Err(format!(
            "{flag} has to be less than 2GiB, for HTTP/2 has no larger window"
        ));
    }
    Ok(())
}

/// The window of a connection on which this many streams may have theirs full.
pub fn windows(stream_bytes: u32, streams: u32) -> u32 {
    stream_bytes.saturating_mul(streams).min(LARGEST_WINDOW)
}

/// What is wrong with a flag that says how often a silent peer is asked whether it is there.
pub fn keepalive(flag: &str, interval: Duration) -> Result<(), String> {
    if interval < SHORTEST_INTERVAL {
        return Err(format!(
            "{flag} has to be at least 1s, or peers take the questions for an attack"
        ));
    }
    Ok(())
}

/// For people, why a connection broke, if a call ended by that: then its error has a cause. "h2 protocol error", as the
/// outermost one says, blames the wrong thing.
pub fn broken(error: &dyn Error) -> Option<String> {
    let innermost = successors(error.source(), |error| (**error).source()).last()?;
    Some(format!("the connection broke ({innermost})"))
}

/// The peer asks for too much.
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// What a server says to somebody who has to go: settings, as each connection begins, and a GOAWAY with this code and this
/// text. Clients show the text to people.
pub fn farewell(code: u32, text: &str) -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: u8 = 7;
    let length = (2 * size_of::<u32>() + text.len()) as u32;
    let mut frames = SETTINGS.to_vec();
    frames.extend_from_slice(&length.to_be_bytes()[1..]);
    frames.extend_from_slice(&[GOAWAY, 0]);
    // Of the connection; no stream was taken.
    frames.extend_from_slice(&[0; 2 * size_of::<u32>()]);
    frames.extend_from_slice(&code.to_be_bytes());
    frames.extend_from_slice(text.as_bytes());
    frames
}

/// Says it, and waits until the peer has heard it and closes: what it sends meanwhile would
/// otherwise make the kernel break the connection before.
pub async fn tell(mut stream: impl AsyncRead + AsyncWrite + Unpin, told: &[u8]) -> io::Result<()> {
    stream.write_all(told).await?;
    stream.shutdown().await?;
    let mut rest = [0; 512];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// From the beginning of a connection that is turned away to its first call: it may come from far away.
const FIRST_CALL: Duration = Duration::from_secs(2);
/// From then on to its end.
const LAST_CALLS: Duration = Duration::from_secs(1);
/// Calls that are answered on it.
const CALLS: u32 = 32;
/// The headers of one, bytes.
const HEADERS: u32 = 16 << 10;

/// What everybody is told who calls where he cannot be served.
#[derive(Debug)]
pub struct Answer {
    /// What a client of gRPC gets: an answer without messages, as headers.
    pub grpc: HeaderMap,
    /// What any other one gets, as HTTP has it.
    pub status: StatusCode,
    /// And for people.
    pub text: String,
}

/// Speaks HTTP/2 for a moment, only to answer every call, so that clients can show why they are not served: what they do with a
/// GOAWAY is up to their libraries, and some try again for ever. It takes 3 s at most, and 32 calls with 16 KiB of headers each.
/// What comes of their bodies is not read, and is no more than HTTP/2's usual window, 64 KiB for all of them.
///
/// # Errors
///
/// The peer does not speak HTTP/2, or does not hear it.
pub async fn turn_away(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &Answer,
) -> io::Result<()> {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(CALLS)
        .max_header_list_size(HEADERS);
    // Whoever drops a call that goes on resets it, and some clients then lose the answer.
    let mut goes_on = Vec::new();
    let first = async {
        let mut connection = builder.handshake::<_, Bytes>(stream).await?;
        if let Some(call) = connection.accept().await {
            goes_on.push(answer.tell(call?)?);
        }
        Ok::<_, h2::Error>(connection)
    };
    let mut connection = timeout(FIRST_CALL, first)
        .await?
        .map_err(io::Error::other)?;
    // Calls that are on their way already are answered.
    connection.graceful_shutdown();
    let rest = async {
        while goes_on.len() < CALLS as usize {
            match connection.accept().await {
                Some(call) => goes_on.push(answer.tell(call?)?),
                None => return Ok(()),
            }
        }
        // The last answers are on their way.
        poll_fn(|cx| connection.poll_closed(cx)).await
    };
    timeout(LAST_CALLS, rest).await?.map_err(io::Error::other)
}

impl Answer {
    fn tell(&self, (request, mut call): Call) -> Result<Answered, h2::Error> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"));
        let mut response = Response::new(());
        if is_grpc {
            *response.headers_mut() = self.grpc.clone();
            call.send_response(response, true)?;
        } else {
            *response.status_mut() = self.status;
            let text = header::HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, text);
            let mut body = call.send_response(response, false)?;
            body.send_data(format!("{}\n", self.text).into(), true)?;
        }
        Ok((request.into_body(), call))
    }
}

type Call = (Request<RecvStream>, SendResponse<Bytes>);
/// What keeps it from being reset.
type Answered = (RecvStream, SendResponse<Bytes>);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("h2 protocol error")]
    struct Ended(#[source] Option<io::Error>);

    #[test]
    fn a_broken_connection_is_told_by_its_innermost_cause() {
        let reset = io::Error::other("connection reset by peer");

        let problem = broken(&Ended(Some(reset)));

        let expected = "the connection broke (connection reset by peer)";
        assert_eq!(problem.as_deref(), Some(expected));
        assert_eq!(broken(&Ended(None)), None, "the peer has said why");
    }

    #[test]
    fn a_connection_has_the_windows_of_its_streams_up_to_what_there_is() {
        assert_eq!(windows(16 << 20, 4), 64 << 20);
        assert_eq!(windows(1 << 30, 4), LARGEST_WINDOW);
    }
}
