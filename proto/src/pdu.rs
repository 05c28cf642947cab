//! The frame of legacy PDUs: the header, and the ids of the commands.

use prost::bytes::{BufMut, Bytes, BytesMut};

/// Bytes of the header, which the length in it includes.
pub const HEADER_LEN: usize = 16;

/// The fields of a header. All integers are big-endian on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Of the whole PDU, header included, bytes.
    pub length: u32,
    /// 1; never checked.
    pub version: u16,
    /// 0; never checked.
    pub flag: u16,
    /// Group of the command; never checked.
    pub service: u16,
    /// What the PDU is.
    pub command: u16,
    /// An answer echoes its request's.
    pub sequence: u16,
    /// 0; never checked.
    pub reserved: u16,
}

impl Header {
    /// The header of a command with a body of so many bytes, as MsgServers write it.
    pub fn new(command: u16, sequence: u16, body: usize) -> Self {
        Header {
            // Longer than any limit of PDUs: whoever sends it is refused by the real length.
            length: u32::try_from(HEADER_LEN + body).unwrap_or(u32::MAX),
            version: 1,
            flag: 0,
            service: command >> 8,
            command,
            sequence,
            reserved: 0,
        }
    }

    /// Reads the first 16 bytes of a PDU. Nothing is checked.
    pub fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        let short = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Header {
            length: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            version: short(4),
            flag: short(6),
            service: short(8),
            command: short(10),
            sequence: short(12),
            reserved: short(14),
        }
    }

    /// As it stands on the wire.
    pub fn write(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&self.length.to_be_bytes());
        let shorts = [
            self.version,
            self.flag,
            self.service,
            self.command,
            self.sequence,
            self.reserved,
        ];
        for (place, short) in bytes[4..].chunks_exact_mut(2).zip(shorts) {
            place.copy_from_slice(&short.to_be_bytes());
        }
        bytes
    }
}

/// A whole PDU with this body.
pub fn framed(command: u16, sequence: u16, body: &[u8]) -> Bytes {
    let header = Header::new(command, sequence, body.len());
    let mut pdu = BytesMut::with_capacity(HEADER_LEN + body.len());
    pdu.put_slice(&header.write());
    pdu.put_slice(body);
    pdu.freeze()
}

/// How many whole PDUs these bytes are, by what their headers say.
pub fn count(mut pdus: &[u8]) -> usize {
    let mut count = 0;
    while let Some(header) = pdus.first_chunk::<HEADER_LEN>() {
        let length = Header::read(header).length as usize;
        let Some(rest) = pdus.get(length.max(HEADER_LEN)..) else {
            break;
        };
        pdus = rest;
        count += 1;
    }
    count
}

/// The ids of the commands that a RouteServer handles or makes. The high byte is the service, the
/// other half of the legacy numbering.
pub mod command {
    /// `IMHeartBeat`: alive.
    pub const HEARTBEAT: u16 = 0x0701;
    /// `IMRoleSet`: whether a link is its MsgServer's primary connection.
    pub const ROLE_SET: u16 = 0x0707;
    /// `IMOnlineUserInfo`: the clients that are logged in.
    pub const ONLINE_USER_LIST: u16 = 0x0708;
    /// `IMUserStatusUpdate`: a client came or went.
    pub const USER_STATUS_UPDATE: u16 = 0x070a;
    /// `IMUsersStatReq`: asks for the status of users.
    pub const USERS_STATUS_QUERY: u16 = 0x020a;
    /// `IMUsersStatRsp`: answers that.
    pub const USERS_STATUS_ANSWER: u16 = 0x020b;
    /// `IMMsgData`: a chat message.
    pub const MESSAGE: u16 = 0x0301;
    /// `IMMsgDataReadNotify`: a user has read up to here.
    pub const READ_RECEIPT: u16 = 0x0304;
    /// `IMP2PCmdMsg`: a command from client to client.
    pub const P2P_COMMAND: u16 = 0x0601;
    /// `IMRemoveSessionNotify`: a user removed a conversation.
    pub const CONVERSATION_REMOVED: u16 = 0x020f;
    /// `IMServerKickUser`: kick a user's clients of this class elsewhere.
    pub const KICK_USER: u16 = 0x070d;
    /// `IMGroupChangeMemberNotify`: a group's members changed.
    pub const GROUP_CHANGED: u16 = 0x040b;
    /// `IMFileNotify`: a file waits for a user.
    pub const FILE_NOTICE: u16 = 0x0508;
    /// `IMSignInfoChangedNotify`: a user's signature changed.
    pub const SIGNATURE_CHANGED: u16 = 0x0215;
    /// `IMServerPCLoginStatusNotify`: made by the RouteServer only.
    pub const DESKTOP_LOGIN_NOTICE: u16 = 0x070e;
    /// `IMUserStatNotify`: made by the RouteServer only.
    pub const STATUS_NOTICE: u16 = 0x0203;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_was_written() {
        let pdu = framed(command::ROLE_SET, 0x1234, &[8, 1]);

        assert_eq!(
            &pdu[..],
            [
                0, 0, 0, 18, 0, 1, 0, 0, 0, 7, 0x07, 0x07, 0x12, 0x34, 0, 0, 8, 1
            ]
        );
        let header = Header::read(pdu.first_chunk().expect("it is long enough"));
        assert_eq!(header, Header::new(command::ROLE_SET, 0x1234, 2));
    }

    #[test]
    fn whole_pdus_are_counted() {
        let pdus = [b"".as_slice(), b"some", b"more of it"].map(|body| framed(1, 0, body));
        let pdus = pdus.concat();

        assert_eq!(count(&pdus), 3);
        assert_eq!(count(&pdus[..pdus.len() - 1]), 2);
        assert_eq!(count(b""), 0);
        assert_eq!(count(&[0; 40]), 2, "of no length that can be");
    }
}
