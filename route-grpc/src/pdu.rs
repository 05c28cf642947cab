//! The frame of legacy PDUs, as far as a node needs it: to write what services publish, and to play MsgServers in
//! `route-grpc check`.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// Length of a PDU's header, bytes.
pub const HEADER: usize = 16;

/// What a reader goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Of the whole PDU, header included, as it claims.
    pub length: u32,
    /// Selects the body's message.
    pub command: u16,
    /// An answer echoes its request's.
    pub sequence: u16,
}

impl Header {
    /// Reads the fields; none of them is checked.
    pub fn parse(bytes: &[u8; HEADER]) -> Self {
        let [l0, l1, l2, l3, _, _, _, _, _, _, c0, c1, s0, s1, _, _] = *bytes;
        Self {
            length: u32::from_be_bytes([l0, l1, l2, l3]),
            command: u16::from_be_bytes([c0, c1]),
            sequence: u16::from_be_bytes([s0, s1]),
        }
    }
}

/// Header (version 1, flag 0, reserved 0) and body.
pub fn encode(service: u16, command: u16, sequence: u16, body: &impl Message) -> Bytes {
    let length = HEADER + body.encoded_len();
    let mut pdu = BytesMut::with_capacity(length);
    // Longer than any PDU limit: the caller refuses it by its real length.
    pdu.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    pdu.put_u16(1);
    pdu.put_u16(0);
    pdu.put_u16(service);
    pdu.put_u16(command);
    pdu.put_u16(sequence);
    pdu.put_u16(0);
    pdu.put_slice(&body.encode_to_vec());
    pdu.freeze()
}

#[cfg(test)]
mod tests {
    use route_proto::legacy::im::server::ImRoleSet;

    use super::*;

    #[test]
    fn a_header_says_what_was_written() {
        let pdu = encode(7, 0x0707, 0x1234, &ImRoleSet { master: 1 });

        assert_eq!(
            &pdu[..],
            [
                0, 0, 0, 18, 0, 1, 0, 0, 0, 7, 0x07, 0x07, 0x12, 0x34, 0, 0, 8, 1
            ]
        );
        assert_eq!(
            Header::parse(pdu.first_chunk().expect("it is long enough")),
            Header {
                length: 18,
                command: 0x0707,
                sequence: 0x1234
            }
        );
    }
}
