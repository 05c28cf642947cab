//! The PDUs that the gateway makes itself: heartbeats, answers to status queries, notices.
//!
//! They carry sequence 0, an answer its request's. Everything else that is
//! written to a MsgServer goes out byte for byte as another one sent it.

use route_proto::attach::v1::ReportedStatus;
use route_proto::pdu::command;
use route_proto::pdu::{HEADER_LEN, Header};

/// The heartbeat, whole.
pub const HEARTBEAT: [u8; HEADER_LEN] = [0, 0, 0, 16, 0, 1, 0, 0, 0, 7, 0x07, 0x01, 0, 0, 0, 0];

/// Longest notice, bytes.
pub const MAX_NOTICE_LEN: usize = HEADER_LEN + 10;

/// What a status answer is made from, beside the statuses.
#[derive(Debug, Clone, Copy)]
pub struct AnswerTo<'a> {
    /// Header sequence of the request.
    pub sequence: u16,
    /// Who asked; echoed.
    pub requester: u32,
    /// Of whom, in the order of the request, duplicates kept.
    pub user_ids: &'a [u32],
    /// Echoed; present and empty if the request had none.
    pub attach_data: &'a [u8],
}

/// Appends `IMUsersStatRsp` (0x020b). `statuses` has one byte for each user id, a [`ReportedStatus`]; what is not
/// online counts as offline.
pub fn status_answer(out: &mut Vec<u8>, answer: AnswerTo<'_>, statuses: &[u8]) {
    let start = begin(out);
    varint_field(out, 0x08, answer.requester);
    let statuses = statuses.iter().copied().chain(std::iter::repeat(0));
    for (user_id, status) in answer.user_ids.iter().zip(statuses) {
        let status = match ReportedStatus::try_from(i32::from(status)) {
            Ok(ReportedStatus::Online) => ReportedStatus::Online,
            _ => ReportedStatus::Offline,
        };
        out.push(0x12);
        user_stat(out, *user_id, status as u32);
    }
    out.extend_from_slice(&[0xa2, 0x01]);
    varint(out, answer.attach_data.len() as u64);
    out.extend_from_slice(answer.attach_data);
    end(out, start, command::USERS_STATUS_ANSWER, answer.sequence);
}

/// Appends `IMServerPCLoginStatusNotify` (0x070e).
pub fn desktop_login_notice(out: &mut Vec<u8>, user_id: u32, logged_in: bool) {
    let start = begin(out);
    varint_field(out, 0x08, user_id);
    varint_field(out, 0x10, u32::from(logged_in));
    end(out, start, command::DESKTOP_LOGIN_NOTICE, 0);
}

/// Appends `IMUserStatNotify` (0x0203). `status` is a [`ReportedStatus`].
pub fn status_notice(out: &mut Vec<u8>, user_id: u32, status: u32) {
    let start = begin(out);
    out.push(0x0a);
    user_stat(out, user_id, status);
    end(out, start, command::STATUS_NOTICE, 0);
}

fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    start
}

fn end(out: &mut [u8], start: usize, command: u16, sequence: u16) {
    let header = Header::new(command, sequence, out.len() - start - HEADER_LEN);
    out[start..start + HEADER_LEN].copy_from_slice(&header.write());
}

/// A length-delimited `UserStat` without its tag.
fn user_stat(out: &mut Vec<u8>, user_id: u32, status: u32) {
    let length_at = out.len();
    out.push(0);
    varint_field(out, 0x08, user_id);
    varint_field(out, 0x10, status);
    let length = out.len() - length_at - 1;
    out[length_at] = u8::try_from(length).expect("two 32-bit varints and their tags have 12 bytes");
}

fn varint_field(out: &mut Vec<u8>, tag: u8, value: u32) {
    out.push(tag);
    varint(out, u64::from(value));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_heartbeat_is_the_one_that_was_recorded() {
        assert_eq!(hex(&HEARTBEAT), "00000010000100000007070100000000");
    }

    #[test]
    fn an_answer_is_the_one_that_was_recorded() {
        let mut out = Vec::new();

        // Two users asked for, among them the largest id; no attach_data in the request.
        let answer = AnswerTo {
            sequence: 1,
            requester: 0xffff_ffff,
            user_ids: &[0, 0xffff_ffff, 0xffff_fffe],
            attach_data: b"",
        };
        status_answer(&mut out, answer, &[1, 1, 2]);

        assert_eq!(
            hex(&out),
            "00000033000100000002020b0001000008ffffffff0f120408001001120808ffffffff0f1001120808feffffff0f1002a20100"
        );
    }

    #[test]
    fn notices_are_the_ones_that_were_recorded() {
        let mut out = Vec::new();

        desktop_login_notice(&mut out, 0xffff_ffff, true);
        status_notice(&mut out, 0, 2);

        assert_eq!(
            hex(&out),
            "00000018000100000007070e0000000008ffffffff0f1001\
             000000160001000000020203000000000a0408001002"
        );
    }

    #[test]
    fn the_longest_notice_is_as_long_as_is_said() {
        let mut out = Vec::new();

        status_notice(&mut out, u32::MAX, 3);

        assert_eq!(out.len(), MAX_NOTICE_LEN);
    }
}
