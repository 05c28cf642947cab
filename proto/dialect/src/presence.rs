//! What MsgServers say and ask of who is online, and what they are told.

use route_proto::pdu::{HEADER_LEN, Header};

use crate::command::Command;
use crate::dialect::{BodyError, Dialect};
use crate::fields::Message;
use crate::tables::Class;
use crate::wire::{Value, append_ids};

/// Users that one query may ask about: an answer has up to 14 bytes for each, so more would exceed the usual limit of
/// PDUs.
const MAX_QUERY_IDS: usize = 1 << 20;

/// What a MsgServer says of a client (`UserStatType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 1
    Online = 1,
    /// 2
    Offline,
    /// 3, `LEAVE`
    Away,
}

/// A client, and what is said of it: an entry of a list (0x0708), or an update (0x070a).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Whose client.
    pub user_id: u32,
    /// One that has a class in the dialect.
    pub client_type: u8,
    /// How it is logged in.
    pub status: Status,
}

/// A status query (0x020a).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusQuery<'a> {
    /// Who asks.
    pub requester: u32,
    /// About whom, in this order.
    pub user_ids: Vec<u32>,
    /// Comes back with the answer; empty if there was none.
    pub attach_data: &'a [u8],
}

/// What the answer to a status query (0x020b) is made from, beside the statuses.
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

/// Reading.
impl Dialect {
    /// Does the MsgServer claim the link as its primary connection (0x0707)?
    ///
    /// # Errors
    ///
    /// The body cannot be read; so with the other readers here.
    pub fn read_role(&self, body: &[u8]) -> Result<bool, BodyError> {
        let read = self.read(Message::RoleSet, body, |_, _| Ok(()))?;
        Ok(read.numbers[0] != 0)
    }

    /// Hands over each entry of a list of users (0x0708). One bad entry spoils the list.
    pub fn read_list(&self, body: &[u8], mut each: impl FnMut(Report)) -> Result<(), BodyError> {
        self.read(Message::OnlineUserList, body, |_, value| {
            let Value::Bytes(entry) = value else {
                return Ok(());
            };
            let read = self.read(Message::OnlineUser, entry, |_, _| Ok(()))?;
            let [user_id, status, client_type, ..] = read.numbers;
            // Zero is no status, but a MsgServer that leaves it out still lists the client.
            let status = Status::of(status).unwrap_or(Status::Online);
            let (client_type, _) = self.client(client_type)?;
            each(Report {
                user_id,
                client_type,
                status,
            });
            Ok(())
        })?;
        Ok(())
    }

    /// A client came or went (0x070a).
    pub fn read_update(&self, body: &[u8]) -> Result<Report, BodyError> {
        let read = self.read(Message::UserStatusUpdate, body, |_, _| Ok(()))?;
        let [reported, user_id, client_type, ..] = read.numbers;
        let (client_type, class) = self.client(client_type)?;
        let status = match Status::of(reported) {
            Some(status) => status,
            // On the wire it is a plain number. C++ counts any other of a mobile client as a login, and so do forks that
            // are compiled as proto3, of any client.
            None if class == Class::Mobile || self.is_open() => Status::Online,
            None => return Err(BodyError::Status(reported)),
        };
        Ok(Report {
            user_id,
            client_type,
            status,
        })
    }

    /// Asks for the status of users (0x020a).
    pub fn read_query<'a>(&self, body: &'a [u8]) -> Result<StatusQuery<'a>, BodyError> {
        let mut user_ids = Vec::new();
        let read = self.read(Message::UsersStatusQuery, body, |_, value| {
            Ok(append_ids(value, &mut user_ids)?)
        })?;
        if user_ids.len() > MAX_QUERY_IDS {
            return Err(BodyError::TooMany);
        }
        Ok(StatusQuery {
            requester: read.numbers[0],
            user_ids,
            attach_data: read.texts[2],
        })
    }

    fn client(&self, client_type: u32) -> Result<(u8, Class), BodyError> {
        let class = self.class(client_type);
        let known = u8::try_from(client_type).ok().zip(class);
        known.ok_or(BodyError::Value("client_type"))
    }
}

/// Writing. All but the first append a whole PDU; a dialect without the command appends nothing.
impl Dialect {
    /// The heartbeat, whole.
    pub fn heartbeat(&self) -> [u8; HEADER_LEN] {
        const HEARTBEAT: Command = Command::Heartbeat;
        let id = self
            .id(HEARTBEAT)
            .unwrap_or_else(|| HEARTBEAT.standard_id());
        Header {
            service: HEARTBEAT.standard_id() >> 8,
            ..Header::new(id, 0, 0)
        }
        .write()
    }

    /// `IMUsersStatRsp` (0x020b), with `online` for each user id.
    pub fn write_status_answer(
        &self,
        out: &mut Vec<u8>,
        answer: AnswerTo<'_>,
        online: impl IntoIterator<Item = bool>,
    ) {
        const ANSWER: Message = Message::UsersStatusAnswer;
        self.put_pdu(out, Command::UsersStatusAnswer, answer.sequence, |out| {
            self.put_number(out, ANSWER, 0, answer.requester);
            for (user_id, online) in answer.user_ids.iter().zip(online) {
                let status = if online {
                    Status::Online
                } else {
                    Status::Offline
                };
                self.put_message(out, ANSWER, 1, |out| {
                    self.put_user_status(out, *user_id, status);
                });
            }
            self.put_bytes(out, ANSWER, 2, answer.attach_data);
            self.put_constants(out, ANSWER);
        });
    }

    /// `IMServerPCLoginStatusNotify` (0x070e): has the user a desktop login?
    pub fn write_desktop_login_notice(&self, out: &mut Vec<u8>, user_id: u32, logged_in: bool) {
        const NOTICE: Message = Message::DesktopLoginNotice;
        self.put_pdu(out, Command::DesktopLoginNotice, 0, |out| {
            self.put_number(out, NOTICE, 0, user_id);
            self.put_number(out, NOTICE, 1, u32::from(logged_in));
            self.put_constants(out, NOTICE);
        });
    }

    /// `IMUserStatNotify` (0x0203): the status of a user.
    pub fn write_status_notice(&self, out: &mut Vec<u8>, user_id: u32, status: Status) {
        const NOTICE: Message = Message::StatusNotice;
        self.put_pdu(out, Command::StatusNotice, 0, |out| {
            self.put_message(out, NOTICE, 0, |out| {
                self.put_user_status(out, user_id, status)
            });
            self.put_constants(out, NOTICE);
        });
    }

    fn put_user_status(&self, out: &mut Vec<u8>, user_id: u32, status: Status) {
        self.put_number(out, Message::UserStatus, 0, user_id);
        self.put_number(out, Message::UserStatus, 1, status as u32);
        self.put_constants(out, Message::UserStatus);
    }
}

impl Status {
    /// The one with this number.
    pub fn of(number: u32) -> Option<Status> {
        match number {
            1 => Some(Status::Online),
            2 => Some(Status::Offline),
            3 => Some(Status::Away),
            _ => None,
        }
    }
}
