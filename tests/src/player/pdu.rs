//! The frame: a 16-byte header, all of it big-endian, and a body that this file does not look into.

use bytes::Bytes;

/// Bytes of a header.
pub const HEADER: usize = 16;

/// The command ids that a RouteServer handles or makes.
pub mod command {
    /// `IMUserStatNotify`, made by the server.
    pub const STATUS_NOTICE: u16 = 0x0203;
    /// `IMUsersStatReq`.
    pub const STATUS_QUERY: u16 = 0x020a;
    /// `IMUsersStatRsp`, made by the server.
    pub const STATUS_ANSWER: u16 = 0x020b;
    /// `IMRemoveSessionNotify`.
    pub const REMOVE_SESSION: u16 = 0x020f;
    /// `IMSignInfoChangedNotify`.
    pub const SIGN_INFO: u16 = 0x0215;
    /// `IMMsgData`.
    pub const MESSAGE: u16 = 0x0301;
    /// `IMMsgDataReadNotify`.
    pub const READ: u16 = 0x0304;
    /// `IMGroupChangeMemberNotify`.
    pub const GROUP_CHANGE: u16 = 0x040b;
    /// `IMFileNotify`.
    pub const FILE: u16 = 0x0508;
    /// `IMP2PCmdMsg`.
    pub const P2P: u16 = 0x0601;
    /// `IMHeartBeat`.
    pub const HEARTBEAT: u16 = 0x0701;
    /// `IMRoleSet`.
    pub const ROLE: u16 = 0x0707;
    /// `IMOnlineUserInfo`.
    pub const LIST: u16 = 0x0708;
    /// `IMUserStatusUpdate`.
    pub const UPDATE: u16 = 0x070a;
    /// `IMServerKickUser`.
    pub const KICK: u16 = 0x070d;
    /// `IMServerPCLoginStatusNotify`, made by the server.
    pub const LOGIN_NOTICE: u16 = 0x070e;
}

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
        let mut out = Vec::with_capacity(HEADER + self.body.len());
        out.extend_from_slice(&length.to_be_bytes());
        for word in [
            self.version,
            self.flag,
            self.service,
            self.command,
            self.sequence,
            self.reserved,
        ] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&self.body);
        out
    }

    /// Takes a whole PDU apart; `raw` is one that a [`Splitter`] has cut out.
    ///
    /// # Panics
    /// If `raw` is shorter than a header.
    pub fn parse(raw: &Bytes) -> Self {
        let word = |at: usize| u16::from_be_bytes([raw[at], raw[at + 1]]);
        Self {
            version: word(4),
            flag: word(6),
            service: word(8),
            command: word(10),
            sequence: word(12),
            reserved: word(14),
            body: raw.slice(HEADER..),
        }
    }
}

/// What a header says of its PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Of the whole PDU; at least [`HEADER`].
    pub length: usize,
    /// The command id.
    pub command: u16,
    /// The sequence number.
    pub sequence: u16,
}

impl Header {
    /// Reads a header; `None` if it claims to be shorter than itself.
    pub fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        (length >= HEADER).then(|| Self {
            length,
            command: word(10),
            sequence: word(12),
        })
    }
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
        let header = Header::parse(rest.first_chunk()?);
        self.broken = header.is_none();
        header
            .map(|header| header.length)
            .filter(|length| *length <= rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_was_put_into_it() {
        let bytes = Pdu::new(command::UPDATE, &b"body"[..]).sequence(7).encode();

        let header = Header::parse(bytes.first_chunk().unwrap());

        let expected = Header {
            length: HEADER + 4,
            command: command::UPDATE,
            sequence: 7,
        };
        assert_eq!(header, Some(expected));
    }

    #[test]
    fn a_length_below_the_header_is_none() {
        let bytes = Pdu::bare(command::ROLE).encode_claiming(15);

        assert_eq!(Header::parse(bytes.first_chunk().unwrap()), None);
    }
}
