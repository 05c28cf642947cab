//! What a PDU of a MsgServer means: one function from (command id, body) to a [`Meaning`].
//!
//! Bodies are held against the messages of the legacy protocol as C++ does it: a missing required field or a value
//! outside a closed enum makes the body unreadable. A body that concerns other MsgServers is never changed; it is read
//! only to learn whom it concerns, and if it cannot be read it concerns everybody else, as in the C++ RouteServer.

use route_proto::attach::v1::{AudienceScope, ReportedStatus, SessionList, SessionUpdate};

use crate::pdu::dialect::{BodyError, Dialect, Field, append_ids, ignore};
use crate::pdu::wire::Value;
use route_proto::pdu::command;

/// Entries of one part of a list; a longer list becomes several. Keeps single Attach messages and the time that a
/// node spends on one of them small.
pub const LIST_PART: usize = 8192;

/// Users that one query may ask about: an answer has up to 14 bytes for each, so more would exceed the usual limit of
/// PDUs.
const MAX_QUERY_IDS: usize = 1 << 20;

/// Users that may be named as an audience. A PDU that concerns more goes to all others: the names would take more
/// room in Attach than what they save.
const MAX_NAMED: usize = 1 << 16;

/// Set in the client types of mobile clients.
const MOBILE: u32 = 0x10;

/// What a PDU means.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning<'a> {
    /// The MsgServer is alive; it has shown that by sending.
    Heartbeat,
    /// Whether the link is its MsgServer's primary connection.
    Role {
        /// True claims; false means nothing.
        claimed: bool,
    },
    /// These clients are logged in, in at least one part; the last part says so.
    List(Vec<SessionList>),
    /// A client came or went.
    Update(SessionUpdate),
    /// Asks for the status of users.
    Query(Query<'a>),
    /// To be forwarded, as it came.
    Envelope {
        /// To whom.
        scope: AudienceScope,
        /// Users that it concerns, if the scope is users. May contain duplicates.
        user_ids: Vec<u32>,
        /// Why it concerns everybody, if that is because it cannot be read.
        unread: Option<BodyError>,
    },
    /// Cannot be read, and is dropped. If it was a list or an update, it is no longer known whom the link holds.
    Unreadable {
        /// Why.
        error: BodyError,
        /// It was a list or an update.
        presence: bool,
    },
    /// No command of the RouteServer; dropped.
    Unknown,
}

/// A status query (0x020a).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'a> {
    /// Who asks.
    pub requester: u32,
    /// About whom, in this order.
    pub user_ids: Vec<u32>,
    /// Comes back with the answer; empty if there was none.
    pub attach_data: &'a [u8],
}

/// Says what a PDU with this command and body means.
pub fn translate<'a>(dialect: &Dialect, command: u16, body: &'a [u8]) -> Meaning<'a> {
    let envelope = |(scope, user_ids)| Meaning::Envelope {
        scope,
        user_ids,
        unread: None,
    };
    let unreadable = |presence: bool| move |error| Meaning::Unreadable { error, presence };
    let reader = BodyReader { dialect, body };
    match command {
        command::HEARTBEAT => Meaning::Heartbeat,
        command::ROLE_SET => reader.role().unwrap_or_else(unreadable(false)),
        command::ONLINE_USER_LIST => reader.list().unwrap_or_else(unreadable(true)),
        command::USER_STATUS_UPDATE => reader.update().unwrap_or_else(unreadable(true)),
        command::USERS_STATUS_QUERY => reader.query().unwrap_or_else(unreadable(false)),
        command::KICK_USER => envelope((AudienceScope::Others, Vec::new())),
        command::SIGNATURE_CHANGED
        | command::MESSAGE
        | command::READ_RECEIPT
        | command::P2P_COMMAND
        | command::CONVERSATION_REMOVED
        | command::GROUP_CHANGED
        | command::FILE_NOTICE => match reader.audience(command) {
            Ok(audience) => envelope(audience),
            Err(error) => Meaning::Envelope {
                scope: match command {
                    // The one command that comes back to its sender in broadcast mode.
                    command::SIGNATURE_CHANGED => AudienceScope::UnparsedAll,
                    _ => AudienceScope::Others,
                },
                user_ids: Vec::new(),
                unread: Some(error),
            },
        },
        _ => Meaning::Unknown,
    }
}

struct BodyReader<'d, 'a> {
    dialect: &'d Dialect,
    body: &'a [u8],
}

impl<'a> BodyReader<'_, 'a> {
    fn role(&self) -> Result<Meaning<'a>, BodyError> {
        let fields = self.dialect.read(self.body, &[Field::Number], ignore)?;
        let claimed = fields[1] != 0;
        Ok(Meaning::Role { claimed })
    }

    fn list(&self) -> Result<Meaning<'a>, BodyError> {
        const LIST: [Field; 1] = [Field::Repeated];
        const ENTRY: [Field; 3] = [Field::Number, Field::OneOf(&[1, 2, 3]), Field::ClientType];
        let mut parts = vec![SessionList::default()];
        self.dialect.read(self.body, &LIST, |number, value| {
            let (1, Value::Bytes(entry)) = (number, value) else {
                return Ok(());
            };
            let fields = self.dialect.read(entry, &ENTRY, ignore)?;
            if parts.last().is_none_or(|p| p.user_ids.len() == LIST_PART) {
                parts.push(SessionList::default());
            }
            if let Some(part) = parts.last_mut() {
                part.user_ids.push(fields[1]);
                part.statuses.push(fields[2].cast_signed());
                part.client_types.push(fields[3]);
            }
            Ok(())
        })?;
        if let Some(part) = parts.last_mut() {
            part.last = true;
        }
        Ok(Meaning::List(parts))
    }

    fn update(&self) -> Result<Meaning<'a>, BodyError> {
        const UPDATE: [Field; 3] = [Field::Number, Field::Number, Field::ClientType];
        let fields = self.dialect.read(self.body, &UPDATE, ignore)?;
        let (reported, user_id, client_type) = (fields[1], fields[2], fields[3]);
        let status = match ReportedStatus::try_from(reported.cast_signed()) {
            Ok(status) if status != ReportedStatus::Unspecified => status,
            // On the wire it is a plain number. C++ counts any other of a mobile client as a login.
            _ if client_type & MOBILE != 0 => ReportedStatus::Online,
            _ => return Err(BodyError::Status(reported)),
        };
        Ok(Meaning::Update(SessionUpdate {
            user_id,
            client_type,
            status: status.into(),
        }))
    }

    fn query(&self) -> Result<Meaning<'a>, BodyError> {
        const ATTACH_DATA: u32 = 20;
        let mut user_ids = Vec::new();
        let mut attach_data: &[u8] = &[];
        let fields = self.dialect.read(
            self.body,
            &[Field::Number, Field::Repeated],
            |number, value| {
                match (number, value) {
                    (2, ids) => append_ids(ids, &mut user_ids)?,
                    (ATTACH_DATA, Value::Bytes(data)) => attach_data = data,
                    _ => {}
                }
                Ok(())
            },
        )?;
        if user_ids.len() > MAX_QUERY_IDS {
            return Err(BodyError::TooMany);
        }
        Ok(Meaning::Query(Query {
            requester: fields[1],
            user_ids,
            attach_data,
        }))
    }

    /// Whom a body concerns, by the table of commands; what the MsgServers do with it justifies each row.
    fn audience(&self, command: u16) -> Result<(AudienceScope, Vec<u32>), BodyError> {
        use Field::{Number, OneOf, Repeated, Text};
        const SESSION_TYPE: Field = OneOf(&[1, 2]);
        const MESSAGE_TYPE: Field = OneOf(&[1, 2, 0x11, 0x12]);
        let users = match command {
            command::MESSAGE => {
                let shape = [Number, Number, Number, Number, MESSAGE_TYPE, Text];
                let fields = self.dialect.read(self.body, &shape, ignore)?;
                if fields[5] >= 0x11 {
                    return Ok((AudienceScope::Reporters, Vec::new()));
                }
                vec![fields[1], fields[2]]
            }
            command::SIGNATURE_CHANGED => {
                self.dialect.read(self.body, &[Number, Text], ignore)?;
                return Ok((AudienceScope::Sessions, Vec::new()));
            }
            command::P2P_COMMAND => {
                let fields = self
                    .dialect
                    .read(self.body, &[Number, Number, Text], ignore)?;
                vec![fields[1], fields[2]]
            }
            command::READ_RECEIPT => {
                let shape = [Number, Number, Number, SESSION_TYPE];
                vec![self.dialect.read(self.body, &shape, ignore)?[1]]
            }
            command::CONVERSATION_REMOVED => {
                let shape = [Number, SESSION_TYPE, Number];
                vec![self.dialect.read(self.body, &shape, ignore)?[1]]
            }
            command::FILE_NOTICE => {
                let transfer = OneOf(&[1, 2]);
                let shape = [
                    Number, Number, Text, Number, Text, Repeated, transfer, Number,
                ];
                let fields = self.dialect.read(self.body, &shape, |number, value| {
                    if let (6, Value::Bytes(address)) = (number, value) {
                        self.dialect.read(address, &[Text, Number], ignore)?;
                    }
                    Ok(())
                })?;
                vec![fields[2]]
            }
            _ => {
                debug_assert_eq!(command, command::GROUP_CHANGED);
                let change = OneOf(&[1, 2]);
                let shape = [Number, change, Number, Repeated, Repeated];
                let mut users = Vec::new();
                self.dialect
                    .read(self.body, &shape, |number, value| match number {
                        4 | 5 => append_ids(value, &mut users),
                        _ => Ok(()),
                    })?;
                if users.len() > MAX_NAMED {
                    return Ok((AudienceScope::Others, Vec::new()));
                }
                users
            }
        };
        Ok((AudienceScope::Users, users))
    }
}

#[cfg(test)]
mod tests;
