//! HTTP/2 connections, at either end: bounds that flags set, why they broke, how somebody is sent away.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

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
