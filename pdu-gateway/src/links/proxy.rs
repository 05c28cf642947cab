//! The header of the PROXY protocol, versions 1 and 2: by it a proxy says whose connection it passes on.
//!
//! It is read to its last byte and no further: what follows is the MsgServer's.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// With this begins a header of version 2; then come a byte each of command and family, and two of the length of the rest.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What is there of version 2 before the rest.
const FIXED: usize = 16;

/// Longest header that is read, bytes. Those of version 1 have 107 at most; one of version 2 with a certificate in it
/// has some hundred.
const LONGEST: usize = 4096;

/// See [`LONGEST`].
const LONGEST_V1: usize = 107;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The connection ended, or was silent, before its first byte: a probe.
    #[error("nothing came")]
    Nothing,
    /// It did not come in time.
    #[error("its PROXY protocol header did not come in time")]
    Late,
    /// The connection ended within it.
    #[error("it closed before the end of its PROXY protocol header")]
    Cut,
    /// Something else came.
    #[error("it has to send a PROXY protocol header, for its address is in --proxy-protocol-from")]
    Missing,
    /// Longer than is read here.
    #[error("its PROXY protocol header is too long")]
    TooLong,
    /// It is none.
    #[error("its PROXY protocol header is malformed")]
    Malformed,
}

/// Reads the header, within this time. `None`: the proxy speaks for itself, or does not know for whom.
pub async fn read(
    input: &mut (impl AsyncRead + Unpin),
    within: Duration,
) -> Result<Option<SocketAddr>, HeaderError> {
    let mut header = Vec::new();
    let gathered = timeout(within, gather(input, &mut header)).await;
    if header.is_empty() {
        return Err(HeaderError::Nothing);
    }
    gathered.map_err(|_| HeaderError::Late)??;
    parse(&header)
}

fn parse(header: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let (parsed, length) =
        ProxyHeader::parse(header, ParseConfig::default()).map_err(|_| HeaderError::Malformed)?;
    if length != header.len() {
        return Err(HeaderError::Malformed);
    }
    Ok(parsed.proxied_address().map(|told| told.source))
}

/// Reads so much as is the header by its own account.
async fn gather(
    input: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
) -> Result<(), HeaderError> {
    // No header is shorter, nor any PDU.
    fill(input, header, SIGNATURE.len()).await?;
    if header.starts_with(SIGNATURE) {
        fill(input, header, FIXED).await?;
        let rest = u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]);
        let length = FIXED + usize::from(rest);
        if length > LONGEST {
            return Err(HeaderError::TooLong);
        }
        fill(input, header, length).await
    } else if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\n") {
            if header.len() == LONGEST_V1 {
                return Err(HeaderError::TooLong);
            }
            // Only its end tells its length.
            fill(input, header, header.len() + 1).await?;
        }
        Ok(())
    } else {
        Err(HeaderError::Missing)
    }
}

async fn fill(
    input: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
    length: usize,
) -> Result<(), HeaderError> {
    while header.len() < length {
        let missing = (length - header.len()) as u64;
        let read: io::Result<usize> = (&mut *input).take(missing).read_buf(header).await;
        if !read.is_ok_and(|bytes| bytes > 0) {
            return Err(HeaderError::Cut);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
