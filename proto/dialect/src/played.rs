//! What MsgServers write of who is online, and how they read an answer: for those who play one.

use crate::command::Command;
use crate::dialect::{BodyError, Dialect};
use crate::fields::Message;
use crate::presence::{Report, Status, StatusQuery};
use crate::tables::Class;
use crate::wire::Value;

/// The answer to a status query (0x020b).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusAnswer<'a> {
    /// Users and whether they are online, in the order of the query.
    pub users: Vec<(u32, bool)>,
    /// As in the query.
    pub attach_data: &'a [u8],
}

/// Each writer appends a whole PDU; false, and nothing is appended, if the dialect has no such command.
impl Dialect {
    /// `IMOnlineUserInfo` (0x0708): all users at once.
    pub fn write_list(&self, out: &mut Vec<u8>, reports: &[Report]) -> bool {
        const LIST: Message = Message::OnlineUserList;
        const USER: Message = Message::OnlineUser;
        self.put_pdu(out, Command::OnlineUserList, 0, |out| {
            for report in reports {
                self.put_message(out, LIST, 0, |out| {
                    self.put_number(out, USER, 0, report.user_id);
                    self.put_number(out, USER, 1, report.status as u32);
                    self.put_number(out, USER, 2, report.client_type.into());
                    self.put_constants(out, USER);
                });
            }
            self.put_constants(out, LIST);
        })
    }

    /// `IMUsersStatReq` (0x020a).
    pub fn write_query(&self, out: &mut Vec<u8>, sequence: u16, query: &StatusQuery<'_>) -> bool {
        const QUERY: Message = Message::UsersStatusQuery;
        self.put_pdu(out, Command::UsersStatusQuery, sequence, |out| {
            self.put_number(out, QUERY, 0, query.requester);
            for user in &query.user_ids {
                self.put_number(out, QUERY, 1, *user);
            }
            self.put_bytes(out, QUERY, 2, query.attach_data);
            self.put_constants(out, QUERY);
        })
    }

    /// Reads `IMUsersStatRsp` (0x020b).
    ///
    /// # Errors
    ///
    /// The body cannot be read.
    pub fn read_status_answer<'a>(&self, body: &'a [u8]) -> Result<StatusAnswer<'a>, BodyError> {
        let mut users = Vec::new();
        let read = self.read(Message::UsersStatusAnswer, body, |_, value| {
            if let Value::Bytes(entry) = value {
                let read = self.read(Message::UserStatus, entry, |_, _| Ok(()))?;
                let [user, status, ..] = read.numbers;
                users.push((user, Status::of(status) != Some(Status::Offline)));
            }
            Ok(())
        })?;
        Ok(StatusAnswer {
            users,
            attach_data: read.texts[2],
        })
    }

    /// A client type of this class, if there is any: that of an iPhone, if it may be.
    pub fn client_type(&self, class: Class) -> Option<u8> {
        const IOS: u8 = 0x11;
        let mut types = std::iter::once(IOS).chain(0..=u8::MAX);
        types.find(|client_type| self.class((*client_type).into()) == Some(class))
    }
}
