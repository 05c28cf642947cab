//! The frame: a 16-byte header, all of it big-endian, and a body that this file does not look into.

use bytes::Bytes;

/// Bytes of a header.
pub use route_proto::pdu::HEADER_LEN as HEADER;
use route_proto::pdu::Header;
pub use route_proto::pdu::command;

/// One PDU, its header taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pdu {
    /// 1 in every PDU of MsgServers as shipped.
    pub version: u16,
    /// 0 in every PDU of MsgServers as shipped.
    pub flag: u16,
    /// The service id; by default the high byte of the command id.
    pub service: u16,
    /// The command id.
    pub command: u16,
    /// The sequence number.
    pub sequence: u16,
    /// 0 in every PDU of MsgServers as shipped.
    pub reserved: u16,
    /// The bytes after the header.
    pub body: Bytes,
}

impl Pdu {
    /// A PDU with the usual header and sequence number 0.
    pub fn new(command: u16, body: impl Into<Bytes>) -> Self {
        Self {
            version: 1,
            flag: 0,
            service: command >> 8,
            command,
            sequence: 0,
            reserved: 0,
            body: body.into(),
        }
    }

    /// A PDU without body.
    pub fn bare(command: u16) -> Self {
        Self::new(command, Bytes::new())
    }

    /// The same with another sequence number.
    pub fn sequence(mut self, sequence: u16) -> Self {
        self.sequence = sequence;
        self
    }

    /// The same with another service id.
    pub fn service(mut self, service: u16) -> Self {
        self.service = service;
        self
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_claiming((HEADER + self.body.len()) as u32)
    }

    /// The bytes on the wire, with `length` in the length field whatever the real one is.
    pub fn encode_claiming(&self, length: u32) -> Vec<u8> {
        let header = Header {
            length,
            version: self.version,
            flag: self.flag,
            service: self.service,
            command: self.command,
            sequence: self.sequence,
            reserved: self.reserved,
        };
        let mut out = header.write().to_vec();
        out.extend_from_slice(&self.body);
        out
    }

    /// Takes a whole PDU apart; `raw` is one that a [`Splitter`] has cut out.
    ///
    /// # Panics
    /// If `raw` is shorter than a header.
    pub fn parse(raw: &Bytes) -> Self {
        let header = Header::read(raw.first_chunk().expect("it has a header"));
        Self {
            version: header.version,
            flag: header.flag,
            service: header.service,
            command: header.command,
            sequence: header.sequence,
            reserved: header.reserved,
            body: raw.slice(HEADER..),
        }
    }
}

/// Reads a header; `None` if it claims to be shorter than itself.
pub fn header(bytes: &[u8; HEADER]) -> Option<Header> {
    Some(Header::read(bytes)).filter(|header| header.length as usize >= HEADER)
}

/// The command id of a whole PDU.
pub fn command_of(raw: &[u8]) -> u16 {
    u16::from_be_bytes([raw[10], raw[11]])
}

/// Cuts a byte stream into whole PDUs. A length below 16 breaks it: what follows is kept, uncut.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: Vec<u8>,
    broken: bool,
}

impl Splitter {
    /// Adds bytes and hands each PDU that is now whole to `take`.
    pub fn feed(&mut self, data: &[u8], mut take: impl FnMut(&[u8])) {
        self.buffer.extend_from_slice(data);
        let mut done = 0;
        while let Some(length) = self.next_length(done) {
            take(&self.buffer[done..done + length]);
            done += length;
        }
        self.buffer.drain(..done);
    }

    /// What has come and is not a whole PDU.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether a length below 16 has come.
    pub fn broken(&self) -> bool {
        self.broken
    }

    /// The length of the PDU that starts at `from`, if all of it is there.
    fn next_length(&mut self, from: usize) -> Option<usize> {
        let rest = &self.buffer[from..];
        if self.broken {
            return None;
        }
        let header = header(rest.first_chunk()?);
        self.broken = header.is_none();
        header
            .map(|header| header.length as usize)
            .filter(|length| *length <= rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_was_put_into_it() {
        let bytes = Pdu::new(command::USER_STATUS_UPDATE, &b"body"[..])
            .sequence(7)
            .encode();

        let header = header(bytes.first_chunk().unwrap());

        let expected = Header::new(command::USER_STATUS_UPDATE, 7, 4);
        assert_eq!(header, Some(expected));
    }

    #[test]
    fn a_length_below_the_header_is_none() {
        let bytes = Pdu::bare(command::ROLE_SET).encode_claiming(15);

        assert_eq!(header(bytes.first_chunk().unwrap()), None);
    }
}
