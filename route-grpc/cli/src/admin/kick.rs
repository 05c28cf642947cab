//! `route-grpc kick`: disconnects a user's clients, and says which are gone.

use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use route_proto::admin::v1alpha1::{ExplainedSession, KickUserRequest};
use route_runtime::flags::duration_or_zero;

use super::explain::sessions;
use super::{AdminArgs, row};
use crate::failure::Failure;
use crate::publish::client_type;
use crate::table::{Column, Table};
use crate::{json, show};

/// Flags of `kick`.
#[derive(Debug, Args)]
pub(crate) struct KickArgs {
    /// Whose clients
    #[arg(value_name = "ID", value_parser = clap::value_parser!(u32).range(1..))]
    user_id: u32,
    /// Only clients of this type: windows, mac, ios, android, or a number
    #[arg(long, value_name = "TYPE", value_parser = client_type)]
    client_type: Option<i32>,
    /// How long to wait until they are gone, 30s at most; 0s: not at all
    #[arg(long, value_name = "TIME", value_parser = duration_or_zero, default_value = "5s")]
    wait: Duration,
    /// Why, for the node's log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Kicks the user.
pub(crate) async fn run(args: KickArgs) -> Result<(), Failure> {
    let mut client = args.admin.connect().await?;
    let mut request = args.admin.request(KickUserRequest {
        user_id: args.user_id,
        client_type: args.client_type.unwrap_or_default(),
        wait_duration: prost_types::Duration::try_from(args.wait).ok(),
        reason: args.reason,
        ..KickUserRequest::default()
    });
    // What is waited for comes on top of what a call may take.
    request.set_timeout(args.admin.timeout + args.wait);
    let kicked = client.kick_user(request).await?.into_inner();
    let left = kicked.left_sessions.len();
    let end = match left > 0 && !args.wait.is_zero() {
        true => {
            let are = if left == 1 { "is" } else { "are" };
            let left = show::count_of(left, "session");
            Err(Failure::Other(anyhow!("{left} {are} left")))
        }
        false => Ok(()),
    };
    if args.admin.json {
        show::line(&json::line(&kicked))?;
        return end;
    }
    show::line(&row("kicks", kicked.kick_count))?;
    let (gone, left) = (kicked.gone_sessions, kicked.left_sessions);
    for (name, found, table) in [
        ("gone", &gone, gone_sessions(&gone)),
        ("left", &left, sessions(&left)),
    ] {
        let count = show::count_of(found.len(), "session");
        show::line(&row(name, count))?;
        if !found.is_empty() {
            table.print()?;
        }
    }
    end
}

/// Where they were. They count for nothing any more.
fn gone_sessions(sessions: &[ExplainedSession]) -> Table {
    let mut table = Table::new(&[
        ("link", Column::Id),
        ("MsgServer", Column::Id),
        ("client", Column::Word),
        ("since", Column::Word),
    ]);
    for it in sessions {
        table.row([
            it.link.clone(),
            it.msg_server.clone(),
            show::client_type(i32::try_from(it.client_type).unwrap_or_default()),
            show::time(it.since_time.as_ref()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use route_proto::admin::v1alpha1::{Link, LinkPart, SessionStanding};

    use super::*;

    #[test]
    fn a_session_that_is_gone_is_not_shown_as_one_that_counts() {
        let link = Link {
            part: LinkPart::Active.into(),
            ..Link::default()
        };
        let gone = ExplainedSession {
            link: "1f-1".to_owned(),
            msg_server: "msg-1".to_owned(),
            link_state: Some(link),
            client_type: 1,
            standing: SessionStanding::Counts.into(),
            ..ExplainedSession::default()
        };

        let lines = gone_sessions(&[gone]).lines(None);

        assert_eq!(lines[0], "LINK  MSGSERVER  CLIENT   SINCE");
        assert_eq!(lines[1], "1f-1  msg-1      Windows  -");
    }
}
