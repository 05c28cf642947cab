//! What a PDU of a MsgServer means: one function from (command id, body) to a [`Meaning`].
//!
//! A body that concerns other MsgServers is never changed; it is read only to learn whom it concerns, and if it cannot be
//! read it concerns everybody else, as in the C++ RouteServer.

use route_dialect::{BodyError, Command, Concerned, Dialect, Forwarded, StatusQuery};
use route_proto::attach::v1::{AudienceScope, ReportedStatus, SessionList, SessionUpdate};

/// Entries of one part of a list; a longer list becomes several. Keeps single Attach messages and the time that a
/// node spends on one of them small.
pub const LIST_PART: usize = 8192;

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
    Query(StatusQuery<'a>),
    /// To be forwarded, as it came.
    Envelope {
        /// To whom.
        scope: AudienceScope,
        /// Users that it concerns, if the scope is users. May contain duplicates.
        user_ids: Vec<u32>,
        /// Why it concerns everybody, if that is because it cannot be read.
        unread: Option<BodyError>,
        /// A message whose type the dialect does not name: it may be of a group, or not.
        odd_type: Option<u32>,
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

/// Says what a PDU with this command and body means.
pub fn translate<'a>(dialect: &Dialect, id: u16, body: &'a [u8]) -> Meaning<'a> {
    let unreadable = |presence: bool| move |error| Meaning::Unreadable { error, presence };
    match dialect.command(id) {
        Some(Command::Heartbeat) => Meaning::Heartbeat,
        Some(Command::RoleSet) => dialect
            .read_role(body)
            .map_or_else(unreadable(false), |claimed| Meaning::Role { claimed }),
        Some(Command::OnlineUserList) => {
            list(dialect, body).map_or_else(unreadable(true), Meaning::List)
        }
        Some(Command::UserStatusUpdate) => {
            update(dialect, body).map_or_else(unreadable(true), Meaning::Update)
        }
        Some(Command::UsersStatusQuery) => dialect
            .read_query(body)
            .map_or_else(unreadable(false), Meaning::Query),
        // Whatever is in it: a login may be on its way, so it is never narrowed.
        Some(Command::KickUser) => Meaning::to(AudienceScope::Others),
        command => match dialect.read_forwarded(id, body) {
            None => Meaning::Unknown,
            Some(Ok(read)) => envelope(dialect, id, read),
            Some(Err(error)) => Meaning::Envelope {
                scope: match command {
                    // The one command that comes back to its sender in broadcast mode.
                    Some(Command::SignatureChanged) => AudienceScope::UnparsedAll,
                    _ => AudienceScope::Others,
                },
                user_ids: Vec::new(),
                unread: Some(error),
                odd_type: None,
            },
        },
    }
}

impl Meaning<'_> {
    fn to(scope: AudienceScope) -> Self {
        Meaning::Envelope {
            scope,
            user_ids: Vec::new(),
            unread: None,
            odd_type: None,
        }
    }
}

fn list(dialect: &Dialect, body: &[u8]) -> Result<Vec<SessionList>, BodyError> {
    let mut parts = vec![SessionList::default()];
    dialect.read_list(body, |entry| {
        if parts.last().is_none_or(|p| p.user_ids.len() == LIST_PART) {
            parts.push(SessionList::default());
        }
        if let Some(part) = parts.last_mut() {
            part.user_ids.push(entry.user_id);
            part.statuses.push(entry.status as i32);
            part.client_types.push(entry.client_type.into());
        }
    })?;
    if let Some(part) = parts.last_mut() {
        part.last = true;
    }
    Ok(parts)
}

fn update(dialect: &Dialect, body: &[u8]) -> Result<SessionUpdate, BodyError> {
    let report = dialect.read_update(body)?;
    let status = match report.status {
        route_dialect::Status::Online => ReportedStatus::Online,
        route_dialect::Status::Offline => ReportedStatus::Offline,
        route_dialect::Status::Away => ReportedStatus::Away,
    };
    Ok(SessionUpdate {
        user_id: report.user_id,
        client_type: report.client_type.into(),
        status: status.into(),
    })
}

fn envelope<'a>(dialect: &Dialect, id: u16, body: Forwarded<'_>) -> Meaning<'a> {
    let mut odd_type = None;
    if let Forwarded::Message(chat) = &body {
        odd_type = Some(chat.message_type).filter(|odd| !dialect.has_message_type(*odd));
    }
    let (scope, user_ids) = match dialect.concerned(id, body) {
        Concerned::Users(users) => (AudienceScope::Users, users),
        Concerned::Reporters => (AudienceScope::Reporters, Vec::new()),
        Concerned::Others => (AudienceScope::Others, Vec::new()),
        Concerned::Sessions => (AudienceScope::Sessions, Vec::new()),
    };
    Meaning::Envelope {
        scope,
        user_ids,
        unread: None,
        odd_type,
    }
}

#[cfg(test)]
mod tests;
