//! The probe port: plain HTTP, asked without a client library.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether `/readyz` says yes.
pub async fn is_ready(probes: SocketAddr) -> bool {
    matches!(get(probes, "/readyz").await, Ok((200, _)))
}

/// The sum of a metric over all its labels; 0 if it is not there (yet).
///
/// # Errors
/// What the socket says.
pub async fn metric(probes: SocketAddr, name: &str) -> io::Result<f64> {
    labelled_metric(probes, name, "").await
}

/// The sum of a metric over the samples whose labels contain `labels`, such as
/// `reason="bad_frame"`.
///
/// # Errors
/// What the socket says.
pub async fn labelled_metric(probes: SocketAddr, name: &str, labels: &str) -> io::Result<f64> {
    let (_, text) = get(probes, "/metrics").await?;
    let mut sum = 0.0;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        let is_this_one = rest.starts_with(['{', ' ']) && rest.contains(labels);
        if let Some((_, value)) = rest.rsplit_once(' ')
            && is_this_one
        {
            sum += value.parse().unwrap_or(0.0);
        }
    }
    Ok(sum)
}

/// The status and the body of a page.
///
/// # Errors
/// What the socket says, or `TimedOut`.
pub async fn get(probes: SocketAddr, page: &str) -> io::Result<(u16, String)> {
    timeout(LIMIT, fetch(probes, page)).await?
}

async fn fetch(probes: SocketAddr, page: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(probes).await?;
    let request = format!("GET {page} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::InvalidData)?;
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok((status, body.to_owned()))
}
