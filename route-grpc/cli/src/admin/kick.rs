//! `route-grpc kick`: disconnects a user's clients, and says which are gone.

use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use route_proto::admin::v1alpha1::KickUserRequest;
use route_runtime::flags::duration_or_zero;

use super::explain::sessions;
use super::{AdminArgs, row};
use crate::failure::Failure;
use crate::publish::client_type;
use crate::{json, show};

/// Flags of `kick`.
#[derive(Debug, Args)]
pub(crate) struct KickArgs {
    /// Whose clients
    #[arg(value_name = "ID")]
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
        true => Err(Failure::Other(anyhow!("{left} sessions are left"))),
        false => Ok(()),
    };
    if args.admin.json {
        show::line(&json::line(&kicked))?;
        return end;
    }
    show::line(&row("kicks", kicked.kick_count))?;
    for (name, found) in [
        ("gone", kicked.gone_sessions),
        ("left", kicked.left_sessions),
    ] {
        show::line(&row(name, format!("{} sessions", found.len())))?;
        if !found.is_empty() {
            sessions(&found).print()?;
        }
    }
    end
}
