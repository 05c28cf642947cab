//! One connection's input, from bytes to deeds: cuts the stream into PDUs, translates them, and keeps for the node what
//! it needs to know. Pure: what comes out is numbered and sent by others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use route_dialect::{Command, Dialect, StatusQuery};
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{AudienceScope, Envelope, RoleReport, Unreadable};
use route_proto::pdu::Header;
use route_runtime::quota::Lines;

use crate::clock::micros;
use crate::pdu::complaints::{Complaints, Problem};
use crate::pdu::deed::{Deed, OpenQuery};
use crate::pdu::frame::{FrameError, Framer, Pdu, Unfinished};
use crate::pdu::translate::{Meaning, translate};

/// What was received, for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// 0x0701
    Heartbeat,
    /// 0x0707
    Role,
    /// 0x0708
    List,
    /// 0x070a
    Update,
    /// 0x020a
    Query,
    /// To be forwarded.
    Envelope,
    /// To be forwarded to everybody else, because it cannot be read.
    UnreadEnvelope,
    /// Dropped: it cannot be read.
    Unreadable,
    /// Dropped: not a command of the RouteServer.
    Unknown,
}

/// All kinds, in the order of their numbers, as they are named in metrics.
pub const KINDS: [&str; 9] = [
    "heartbeat",
    "role",
    "list",
    "update",
    "query",
    "envelope",
    "unread_envelope",
    "unreadable",
    "unknown",
];

/// What can be received: kinds, and the commands that can be of that kind; none of those that TeamTalk has is last.
pub const RECEIVED: [(Kind, Option<Command>); 28] = [
    (Kind::Heartbeat, Some(Command::Heartbeat)),
    (Kind::Role, Some(Command::RoleSet)),
    (Kind::List, Some(Command::OnlineUserList)),
    (Kind::Update, Some(Command::UserStatusUpdate)),
    (Kind::Query, Some(Command::UsersStatusQuery)),
    (Kind::Envelope, Some(Command::Message)),
    (Kind::Envelope, Some(Command::ReadReceipt)),
    (Kind::Envelope, Some(Command::P2pCommand)),
    (Kind::Envelope, Some(Command::ConversationRemoved)),
    (Kind::Envelope, Some(Command::KickUser)),
    (Kind::Envelope, Some(Command::GroupChanged)),
    (Kind::Envelope, Some(Command::FileNotice)),
    (Kind::Envelope, Some(Command::SignatureChanged)),
    (Kind::Envelope, None),
    (Kind::UnreadEnvelope, Some(Command::Message)),
    (Kind::UnreadEnvelope, Some(Command::ReadReceipt)),
    (Kind::UnreadEnvelope, Some(Command::P2pCommand)),
    (Kind::UnreadEnvelope, Some(Command::ConversationRemoved)),
    (Kind::UnreadEnvelope, Some(Command::KickUser)),
    (Kind::UnreadEnvelope, Some(Command::GroupChanged)),
    (Kind::UnreadEnvelope, Some(Command::FileNotice)),
    (Kind::UnreadEnvelope, Some(Command::SignatureChanged)),
    (Kind::UnreadEnvelope, None),
    (Kind::Unreadable, Some(Command::RoleSet)),
    (Kind::Unreadable, Some(Command::OnlineUserList)),
    (Kind::Unreadable, Some(Command::UserStatusUpdate)),
    (Kind::Unreadable, Some(Command::UsersStatusQuery)),
    (Kind::Unknown, None),
];

/// The place of a PDU among [`RECEIVED`]. What is unknown comes last.
pub fn place(kind: Kind, command: Option<Command>) -> usize {
    let known = RECEIVED.iter().position(|it| *it == (kind, command));
    known.unwrap_or(RECEIVED.len() - 1)
}

/// How many PDUs, in the order of [`RECEIVED`].
pub type Tally = [u64; RECEIVED.len()];

/// The receiving end of one connection.
#[derive(Debug)]
pub struct Session {
    framer: Framer,
    dialect: Arc<Dialect>,
    complete: bool,
    complaints: Complaints,
}

impl Session {
    /// PDUs of more than `limit` bytes end the session. What cannot be read is told in these lines.
    pub fn new(dialect: Arc<Dialect>, limit: u32, lines: Lines) -> Self {
        Session {
            framer: Framer::new(limit),
            dialect,
            complete: false,
            complaints: Complaints::new(lines),
        }
    }

    /// Takes what arrived. Appends what it means to `deeds`, also when it ends in an error: that is what came before.
    pub fn receive(
        &mut self,
        now: Duration,
        mut data: &[u8],
        deeds: &mut Vec<Deed>,
        tally: &mut Tally,
    ) -> Result<(), FrameError> {
        while let Some(pdu) = self.framer.next(&mut data)? {
            self.complete = true;
            let command = self.dialect.command(pdu.header().command);
            let kind = self.take(now, pdu, command, deeds);
            tally[place(kind, command)] += 1;
        }
        Ok(())
    }

    /// A whole PDU has come.
    pub fn has_begun(&self) -> bool {
        self.complete
    }

    /// The PDU that has begun and is not complete.
    pub fn unfinished(&self) -> Option<Unfinished> {
        self.framer.unfinished(!self.complete)
    }

    /// There is memory for all of it.
    pub fn make_room(&mut self) {
        self.framer.make_room();
    }

    /// What has come of it is not kept any longer.
    pub fn break_off(&mut self, error: FrameError) {
        self.framer.break_off(error);
    }

    fn take(
        &mut self,
        now: Duration,
        pdu: Pdu<'_>,
        command: Option<Command>,
        deeds: &mut Vec<Deed>,
    ) -> Kind {
        let header = pdu.header();
        let (kind, entry) = match translate(&self.dialect, header.command, pdu.body()) {
            Meaning::Heartbeat => return Kind::Heartbeat,
            Meaning::Role { claimed: false } => return Kind::Role,
            Meaning::Role { claimed: true } => {
                (Kind::Role, Entry::Role(RoleReport { claimed: true }))
            }
            Meaning::List(parts) => {
                deeds.extend(parts.into_iter().map(|p| Deed::Entry(Entry::List(p))));
                return Kind::List;
            }
            Meaning::Update(update) => (Kind::Update, Entry::Update(update)),
            Meaning::Query(query) => {
                deeds.push(Deed::Query(open_query(now, header, query)));
                return Kind::Query;
            }
            Meaning::Envelope {
                scope,
                user_ids,
                unread,
                odd_type,
            } => {
                let kind = match unread {
                    None => Kind::Envelope,
                    Some(error) => {
                        self.complain(
                            now,
                            &pdu,
                            Problem::Body(error),
                            "forwarding to all others what cannot be read",
                        );
                        Kind::UnreadEnvelope
                    }
                };
                if let Some(odd) = odd_type {
                    self.complain_of_type(now, &pdu, odd);
                }
                let is_kick = command == Some(Command::KickUser);
                let envelope = envelope(now, header, scope, user_ids, pdu, is_kick);
                (kind, Entry::Envelope(envelope))
            }
            Meaning::Unreadable { error, presence } => {
                self.complain(
                    now,
                    &pdu,
                    Problem::Body(error),
                    "dropping what cannot be read",
                );
                if !presence {
                    return Kind::Unreadable;
                }
                (Kind::Unreadable, Entry::Unreadable(Unreadable {}))
            }
            Meaning::Unknown => {
                self.complain(now, &pdu, Problem::Command, "dropping an unknown command");
                return Kind::Unknown;
            }
        };
        deeds.push(Deed::Entry(entry));
        kind
    }

    fn complain_of_type(&mut self, now: Duration, pdu: &Pdu<'_>, odd: u32) {
        let what = if self.dialect.is_of_group(odd) {
            "taking an unknown type for a group's"
        } else {
            "taking an unknown type for one user's"
        };
        self.complain(now, pdu, Problem::MessageType(odd), what);
    }

    fn complain(&mut self, now: Duration, pdu: &Pdu<'_>, problem: Problem, what: &str) {
        let dialect = &self.dialect;
        self.complaints.about(now, dialect, pdu, problem, what);
    }
}

fn open_query(now: Duration, header: Header, query: StatusQuery<'_>) -> OpenQuery {
    OpenQuery {
        header_sequence: header.sequence,
        requester: query.requester,
        user_ids: query.user_ids,
        attach_data: Bytes::copy_from_slice(query.attach_data),
        asked_at: now,
        traceparent: String::new(),
    }
}

fn envelope(
    now: Duration,
    header: Header,
    scope: AudienceScope,
    user_ids: Vec<u32>,
    pdu: Pdu<'_>,
    is_kick: bool,
) -> Envelope {
    let read_at_micros = if is_kick {
        // 0 would say that its age does not matter.
        micros(now).cast_unsigned().max(1)
    } else {
        0
    };
    Envelope {
        command: u32::from(header.command),
        scope: scope.into(),
        user_ids,
        pdu: pdu.into_bytes(),
        traceparent: String::new(),
        read_at_micros,
    }
}

#[cfg(test)]
mod tests {
    use route_proto::attach::v1::SessionUpdate;
    use route_runtime::quota::Quota;

    use super::*;
    use route_proto::pdu::{command, framed};

    const NOW: Duration = Duration::from_secs(3);

    #[test]
    fn pdus_become_deeds_in_order() {
        let claim = pdu(command::ROLE_SET, &[0x08, 1]);
        let update = pdu(command::USER_STATUS_UPDATE, &[0x08, 1, 0x10, 42, 0x18, 1]);
        let query = pdu(
            command::USERS_STATUS_QUERY,
            &[0x08, 5, 0x10, 9, 0xa2, 0x01, 1, b'x'],
        );
        let p2p = pdu(command::P2P_COMMAND, &[0x08, 1, 0x10, 2, 0x1a, 0]);
        let input = [claim, update, query, p2p.clone()].concat();

        let (deeds, result, tally) = receive(&mut session(), &input);

        assert_eq!(result, Ok(()));
        assert_eq!(
            deeds,
            [
                Deed::Entry(Entry::Role(RoleReport { claimed: true })),
                Deed::Entry(Entry::Update(SessionUpdate {
                    user_id: 42,
                    client_type: 1,
                    status: 1
                })),
                Deed::Query(OpenQuery {
                    header_sequence: 77,
                    requester: 5,
                    user_ids: vec![9],
                    attach_data: bytes::Bytes::from_static(b"x"),
                    asked_at: NOW,
                    traceparent: String::new(),
                }),
                Deed::Entry(Entry::Envelope(Envelope {
                    command: u32::from(command::P2P_COMMAND),
                    scope: AudienceScope::Users.into(),
                    user_ids: vec![1, 2],
                    pdu: p2p.into(),
                    traceparent: String::new(),
                    read_at_micros: 0,
                })),
            ]
        );
        let expected = [
            (Kind::Role, Some(Command::RoleSet), 1),
            (Kind::Update, Some(Command::UserStatusUpdate), 1),
            (Kind::Query, Some(Command::UsersStatusQuery), 1),
            (Kind::Envelope, Some(Command::P2pCommand), 1),
        ];
        assert_eq!(counted(&tally), expected);
    }

    #[test]
    fn a_kick_says_when_it_was_read() {
        let (deeds, ..) = receive(&mut session(), &pdu(command::KICK_USER, b""));

        let [Deed::Entry(Entry::Envelope(kick))] = &deeds[..] else {
            panic!("a kick is forwarded, not {deeds:?}");
        };
        assert_eq!(kick.read_at_micros, 3_000_000);
    }

    #[test]
    fn what_means_nothing_to_the_node_stays_here() {
        let input = [
            pdu(command::HEARTBEAT, b"any body"),
            pdu(command::ROLE_SET, &[0x08, 0]),
            pdu(command::ROLE_SET, b""),
            pdu(0x9999, b""),
        ]
        .concat();

        let (deeds, result, tally) = receive(&mut session(), &input);

        assert_eq!(result, Ok(()));
        assert_eq!(deeds, []);
        let expected = [
            (Kind::Heartbeat, Some(Command::Heartbeat), 1),
            (Kind::Role, Some(Command::RoleSet), 1),
            (Kind::Unreadable, Some(Command::RoleSet), 1),
            (Kind::Unknown, None, 1),
        ];
        assert_eq!(counted(&tally), expected);
    }

    #[test]
    fn a_list_that_cannot_be_read_is_reported() {
        let (deeds, ..) = receive(&mut session(), &pdu(command::ONLINE_USER_LIST, b"\xff"));

        assert_eq!(deeds, [Deed::Entry(Entry::Unreadable(Unreadable {}))]);
    }

    #[test]
    fn what_came_before_a_bad_frame_counts() {
        let input = [pdu(command::MESSAGE, b""), vec![0; 16]].concat();

        let (deeds, result, _) = receive(&mut session(), &input);

        assert_eq!(deeds.len(), 1);
        assert_eq!(result, Err(FrameError::TooShort { length: 0 }));
    }

    #[test]
    fn what_is_unfinished_is_known() {
        let mut session = session();
        let pdu = pdu(command::HEARTBEAT, b"");

        assert_eq!(session.unfinished(), None);
        let _ = receive(&mut session, &pdu[..15]);
        let first = session.unfinished().map(|it| (it.number, it.length));
        assert_eq!(first, Some((0, pdu.len())));
        let _ = receive(&mut session, &pdu[15..]);
        assert_eq!(session.unfinished(), None);
        let _ = receive(&mut session, &pdu[..3]);
        let second = session.unfinished().map(|it| (it.number, it.length));
        assert_eq!(second, Some((1, 0)), "its length is not known yet");
    }

    fn session() -> Session {
        Session::new(
            Arc::new(Dialect::standard()),
            1 << 20,
            Arc::new(Quota::new(10)).of("m1"),
        )
    }

    fn counted(tally: &Tally) -> Vec<(Kind, Option<Command>, u64)> {
        let all = RECEIVED.into_iter().zip(tally);
        all.filter(|(_, count)| **count > 0)
            .map(|((kind, command), count)| (kind, command, *count))
            .collect()
    }

    fn receive(session: &mut Session, data: &[u8]) -> (Vec<Deed>, Result<(), FrameError>, Tally) {
        let mut deeds = Vec::new();
        let mut tally = Tally::default();
        let result = session.receive(NOW, data, &mut deeds, &mut tally);
        (deeds, result, tally)
    }

    fn pdu(command: u16, body: &[u8]) -> Vec<u8> {
        framed(command, 77, body).to_vec()
    }
}
