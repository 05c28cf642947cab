//! What else comes to a port for PDUs.

use std::fmt;

/// How its clients begin is no length of a PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC is spoken in it.
    Http2,
    /// Of probes and browsers.
    Http1,
    /// Whatever is in it.
    Tls,
    /// Of a scanner.
    Ssh,
}

impl Protocol {
    /// Of whoever begins with these bytes.
    pub fn of(start: [u8; 4]) -> Option<Self> {
        match &start {
            b"PRI " => Some(Self::Http2),
            b"GET " | b"POST" | b"HEAD" | b"PUT " | b"OPTI" => Some(Self::Http1),
            [0x16, 3, ..] => Some(Self::Tls),
            b"SSH-" => Some(Self::Ssh),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http2 => "HTTP/2, as gRPC does",
            Self::Http1 => "HTTP",
            Self::Tls => "TLS",
            Self::Ssh => "SSH",
        })
    }
}
