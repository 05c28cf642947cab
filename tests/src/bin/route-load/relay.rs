//! The physical limit: copies every message to every other connection and knows nothing else,
//! except where each user is who was listed: a message to one of them is copied once.
//!
//! It answers status requests with nothing, so that a workload can wait until its connections are
//! served. It serves forward, flood, latency, rate and bytes; the other workloads need a
//! RouteServer.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::time::Duration;

use anyhow::Context as _;
use prost::Message as _;
use route_proto::legacy::im::buddy::ImUsersStatRsp;
use route_proto::legacy::im::server::ImOnlineUserInfo;
use system_tests::player::messages::{self, SINGLE_TEXT};
use system_tests::player::pdu::{HEADER, command};

use crate::mesh::{Frame, Mesh};

/// How long a new connection may wait while nothing else happens.
const ACCEPT_EVERY: Duration = Duration::from_millis(20);

/// Serves until the process is ended.
///
/// Looks for new connections in every turn instead of waiting for the event: it costs 2 µs a turn,
/// but a virtual machine whose processors halt when idle then takes 50 µs from A to B instead of
/// 65.
pub(crate) fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    listener.set_nonblocking(true)?;
    let mut mesh = Mesh::new()?;
    let mut turn = Turn::default();
    loop {
        while let Ok((socket, _)) = listener.accept() {
            mesh.adopt(socket)?;
        }
        mesh.poll(ACCEPT_EVERY, |frame| turn.take(frame))?;
        turn.send(&mut mesh);
    }
}

/// What came in between two waits.
#[derive(Default)]
struct Turn {
    messages: Vec<u8>,
    /// Who sent which part of `messages`.
    parts: Vec<(usize, Range<usize>)>,
    /// To whom alone which part of `messages` goes.
    addressed: Vec<(usize, Range<usize>)>,
    /// On which connection each user was listed.
    homes: HashMap<u32, usize>,
    /// Who asks, with which sequence number.
    questions: Vec<(usize, u16)>,
}

impl Turn {
    fn take(&mut self, frame: Frame<'_>) {
        let from = frame.connection;
        match frame.command {
            command::MESSAGE => {
                let start = self.messages.len();
                self.messages.extend_from_slice(frame.bytes);
                let end = self.messages.len();
                let home = receiver(frame.bytes).and_then(|user| self.homes.get(&user));
                if let Some(home) = home {
                    self.addressed.push((*home, start..end));
                    return;
                }
                match self.parts.last_mut() {
                    Some((last, part)) if *last == from => part.end = end,
                    _ => self.parts.push((from, start..end)),
                }
            }
            command::ONLINE_USER_LIST => {
                let list = ImOnlineUserInfo::decode(frame.body()).unwrap_or_default();
                let users = list.user_stat_list.iter().map(|user| user.user_id);
                self.homes.extend(users.map(|user| (user, from)));
            }
            command::USERS_STATUS_QUERY => self.questions.push((from, frame.sequence)),
            _ => {}
        }
    }

    fn send(&mut self, mesh: &mut Mesh) {
        for (from, part) in self.parts.drain(..) {
            for to in (0..mesh.len()).filter(|to| *to != from) {
                mesh.queue(to, &self.messages[part.clone()]);
            }
        }
        for (to, part) in self.addressed.drain(..) {
            mesh.queue(to, &self.messages[part]);
        }
        self.messages.clear();
        for (to, sequence) in self.questions.drain(..) {
            mesh.queue(to, &empty_answer(sequence));
        }
        for to in 0..mesh.len() {
            mesh.flush(to);
        }
    }
}

/// The user to whom a chat message goes; `None` for a group, and for what is not as
/// [`messages::message`] makes it.
///
/// Reads no more than it has to: it is a part of the limit.
fn receiver(pdu: &[u8]) -> Option<u32> {
    let mut body = pdu.get(HEADER..)?;
    let mut fields = [0; 5];
    for (number, field) in (1..).zip(&mut fields) {
        let tag = body.split_off_first()?;
        *field = varint(&mut body)?;
        if *tag != number << 3 {
            return None;
        }
    }
    let [_, to, _, _, kind] = fields;
    (kind == u32::from(SINGLE_TEXT)).then_some(to)
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

/// An answer that holds no user.
fn empty_answer(sequence: u16) -> Vec<u8> {
    let answer = ImUsersStatRsp {
        user_id: 1,
        ..Default::default()
    };
    let answer = messages::encoded(command::USERS_STATUS_ANSWER, &answer);
    answer.sequence(sequence).encode()
}

#[cfg(test)]
mod tests {
    use system_tests::player::messages::GROUP_TEXT;

    use super::*;

    #[test]
    fn a_message_to_a_user_has_a_receiver_and_one_to_a_group_has_none() {
        let message = |to, kind| messages::message(1, to, 7, kind, b"data").encode();

        assert_eq!(receiver(&message(9_000_017, SINGLE_TEXT)), Some(9_000_017));
        assert_eq!(receiver(&message(900, GROUP_TEXT)), None);
        assert_eq!(receiver(&messages::query(1, &[1, 2], None).encode()), None);
    }
}
