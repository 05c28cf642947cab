//! `route-grpc status`: who is online, and where.

use clap::Args;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::{BatchGetUserStatusRequest, UserSession, UserStatus};

use crate::client::ClientArgs;
use crate::failure::Failure;
use crate::table::{Column, Table};
use crate::{json, show};

/// Flags of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// User ids, at most 300
    #[arg(required = true, value_name = "USER")]
    users: Vec<u32>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Shows a table, or one object per user.
pub(crate) async fn run(args: StatusArgs) -> Result<(), Failure> {
    let mut presence = PresenceServiceClient::new(args.client.connect().await?)
        .max_decoding_message_size(usize::MAX);
    let request = args.client.request(BatchGetUserStatusRequest {
        user_ids: args.users,
        include_sessions: true,
        at_least_position: String::new(),
    });
    let users = presence
        .batch_get_user_status(request)
        .await?
        .into_inner()
        .users;
    if args.client.json {
        return users
            .iter()
            .try_for_each(|user| show::line(&json::line(user)));
    }
    table(&users).print()
}

/// Users, their status, and their clients.
pub(crate) fn table(users: &[UserStatus]) -> Table {
    let mut table = Table::new(&[
        ("user", Column::Number),
        ("status", Column::Word),
        ("legacy", Column::Word),
        ("clients", Column::Word),
    ]);
    for user in users {
        let sessions: Vec<_> = user.sessions.iter().map(session).collect();
        table.row([
            user.user_id.to_string(),
            show::status(user),
            show::legacy_status(user),
            sessions.join("; "),
        ]);
    }
    table
}

fn session(session: &UserSession) -> String {
    let logins = match session.login_count {
        1 => String::new(),
        logins => format!(" x{logins}"),
    };
    format!(
        "{}{logins} {} at {} [{}]",
        show::client_type(session.client_type),
        show::word("SESSION_STATE_", session.state().as_str_name()),
        session.msg_server,
        session.link
    )
}

#[cfg(test)]
mod tests {
    use route_proto::v1::{LegacyStatus, PresenceStatus, SessionState};

    use super::*;

    #[test]
    fn a_row_says_who_is_where() {
        let user = UserStatus {
            user_id: 42,
            status: PresenceStatus::Away.into(),
            legacy_status: LegacyStatus::Offline.into(),
            sessions: vec![UserSession {
                client_type: 0x11,
                state: SessionState::Away.into(),
                link: "1f-2".to_owned(),
                msg_server: "10.0.0.1".to_owned(),
                peer: "10.0.0.1:4000".to_owned(),
                login_count: 2,
                ..UserSession::default()
            }],
        };

        assert_eq!(
            table(std::slice::from_ref(&user)).lines(None),
            [
                "USER  STATUS  LEGACY   CLIENTS",
                "  42  away    offline  iOS x2 away at 10.0.0.1 [1f-2]",
            ]
        );
        assert_eq!(
            table(&[UserStatus {
                status: PresenceStatus::Offline.into(),
                sessions: Vec::new(),
                ..user
            }])
            .lines(None)[1],
            "  42  offline  offline"
        );
    }
}
