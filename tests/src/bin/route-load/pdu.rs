//! The PDUs that a played MsgServer sends and the header of what it gets.

use prost::Message;
use route_proto::legacy::im::{base_define, buddy, message, server};

pub(crate) const HEADER_BYTES: usize = 16;

pub(crate) const STATUS_NOTIFY: u16 = 0x0203;
pub(crate) const STATUS_REQUEST: u16 = 0x020a;
pub(crate) const STATUS_ANSWER: u16 = 0x020b;
pub(crate) const MESSAGE: u16 = 0x0301;
pub(crate) const HEARTBEAT: u16 = 0x0701;
const ROLE_SET: u16 = 0x0707;
pub(crate) const ONLINE_LIST: u16 = 0x0708;
const STATUS_UPDATE: u16 = 0x070a;

pub(crate) const ONLINE: u32 = 1;
pub(crate) const OFFLINE: u32 = 2;

/// Kinds of chat messages: to a user, to a group.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Single = 0x01,
    Group = 0x11,
}

/// A whole PDU: the header and `body`. The service id is the upper byte of the command, as TeamTalk numbers them.
pub(crate) fn pdu(command: u16, sequence: u16, body: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES + body.len();
    let words = [1, 0, command >> 8, command, sequence, 0];
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&(length as u32).to_be_bytes());
    for word in words {
        out.extend_from_slice(&u16::to_be_bytes(word));
    }
    out.extend_from_slice(body);
    out
}

/// A chat message; its `data` ends the PDU.
pub(crate) fn message(kind: Kind, from: u32, to: u32, data: &[u8]) -> Vec<u8> {
    let body = message::ImMsgData {
        from_user_id: from,
        to_session_id: to,
        msg_id: 1_000_000,
        create_time: 1_700_000_000,
        msg_type: kind as i32,
        msg_data: data.to_vec().into(),
        attach_data: None,
    };
    pdu(MESSAGE, 0, &body.encode_to_vec())
}

/// The user to whom a chat message goes; `None` for a group, and for what is not as [`message()`] makes it.
///
/// Reads no more than it has to: it is a part of the limit.
pub(crate) fn receiver(pdu: &[u8]) -> Option<u32> {
    let mut body = pdu.get(HEADER_BYTES..)?;
    let mut fields = [0; 5];
    for (number, field) in (1..).zip(&mut fields) {
        let tag = body.split_off_first()?;
        *field = varint(&mut body)?;
        if *tag != number << 3 {
            return None;
        }
    }
    let [_, to, _, _, kind] = fields;
    (kind == Kind::Single as u32).then_some(to)
}

fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in (0..32).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Asks for the status of `users`, with 12 bytes of attached data, as a MsgServer does.
pub(crate) fn status_request(sequence: u16, users: Vec<u32>) -> Vec<u8> {
    let body = buddy::ImUsersStatReq {
        user_id: 1,
        user_id_list: users,
        attach_data: Some(vec![0; 12].into()),
    };
    pdu(STATUS_REQUEST, sequence, &body.encode_to_vec())
}

/// The statuses in the body of an answer to [`status_request`].
pub(crate) fn statuses(body: &[u8]) -> anyhow::Result<Vec<u32>> {
    let answer = buddy::ImUsersStatRsp::decode(body)?;
    let statuses = answer.user_stat_list.iter();
    Ok(statuses.map(|user| user.status as u32).collect())
}

/// An answer that holds no user, as the relay gives it.
pub(crate) fn empty_status_answer(sequence: u16) -> Vec<u8> {
    let body = buddy::ImUsersStatRsp {
        user_id: 1,
        ..Default::default()
    };
    pdu(STATUS_ANSWER, sequence, &body.encode_to_vec())
}

/// These users are logged in on a PC.
pub(crate) fn online_list(users: impl Iterator<Item = u32>) -> Vec<u8> {
    let entry = |user| base_define::ServerUserStat {
        user_id: user,
        status: base_define::UserStatType::UserStatusOnline as i32,
        client_type: base_define::ClientType::Windows as i32,
    };
    let body = server::ImOnlineUserInfo {
        user_stat_list: users.map(entry).collect(),
    };
    pdu(ONLINE_LIST, 0, &body.encode_to_vec())
}

/// The users in the body of an [`online_list`].
pub(crate) fn listed(body: &[u8]) -> Vec<u32> {
    let list = server::ImOnlineUserInfo::decode(body).unwrap_or_default();
    list.user_stat_list
        .iter()
        .map(|user| user.user_id)
        .collect()
}

/// One user's PC client came or went.
pub(crate) fn status_update(status: u32, user: u32) -> Vec<u8> {
    let body = server::ImUserStatusUpdate {
        user_status: status,
        user_id: user,
        client_type: base_define::ClientType::Windows as i32,
    };
    pdu(STATUS_UPDATE, 0, &body.encode_to_vec())
}

/// This connection is its MsgServer's primary one.
pub(crate) fn claim() -> Vec<u8> {
    let body = server::ImRoleSet { master: 1 };
    pdu(ROLE_SET, 0, &body.encode_to_vec())
}

/// What a header says of its PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Of the whole PDU; at least [`HEADER_BYTES`].
    pub(crate) length: usize,
    pub(crate) command: u16,
    pub(crate) sequence: u16,
}

impl Header {
    /// Reads a header; an error if it claims to be shorter than itself.
    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> anyhow::Result<Self> {
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        anyhow::ensure!(length >= HEADER_BYTES, "the server sent length {length}");
        Ok(Self {
            length,
            command: word(10),
            sequence: word(12),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_was_put_into_it() {
        let bytes = status_request(7, vec![1, 2]);

        let header = Header::parse(bytes.first_chunk().unwrap()).unwrap();

        let expected = Header {
            length: bytes.len(),
            command: STATUS_REQUEST,
            sequence: 7,
        };
        assert_eq!(header, expected);
    }

    #[test]
    fn a_length_below_the_header_is_an_error() {
        let mut bytes = claim();
        bytes[..4].copy_from_slice(&15u32.to_be_bytes());

        assert!(Header::parse(bytes.first_chunk().unwrap()).is_err());
    }

    #[test]
    fn the_data_of_a_message_ends_it() {
        assert!(message(Kind::Group, 1, 2, b"payload").ends_with(b"payload"));
    }
    #[test]
    fn a_message_to_a_user_has_a_receiver_and_one_to_a_group_has_none() {
        let (user, group) = (9_000_017, 900);

        assert_eq!(
            receiver(&message(Kind::Single, 1, user, b"data")),
            Some(user)
        );
        assert_eq!(receiver(&message(Kind::Group, 1, group, b"data")), None);
        assert_eq!(receiver(&status_request(7, vec![1, 2])), None);
        assert_eq!(
            listed(&online_list([5, 6].into_iter())[HEADER_BYTES..]),
            [5, 6]
        );
    }
}
