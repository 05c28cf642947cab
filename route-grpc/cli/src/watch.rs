//! `route-grpc watch`: who is online, then who comes and goes.

use clap::Args;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::watch_user_status_response::Message;
use route_proto::v1::{UserStatus, WatchUserStatusRequest, WatchUserStatusResponse};

use crate::client::ClientArgs;
use crate::failure::Failure;
use crate::follow::follow;
use crate::{json, show};

/// Flags of `watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Only these users; everybody if none is named
    #[arg(value_name = "USER")]
    users: Vec<u32>,
    /// Go on after this position instead of showing everybody first
    #[arg(long, value_name = "POSITION")]
    resume: Option<String>,
    /// End after this many changes; 0 ends after the first snapshot
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Shows the stream until it is told to end.
pub(crate) async fn run(args: WatchArgs) -> Result<(), Failure> {
    let WatchArgs {
        users,
        resume,
        count,
        client,
    } = args;
    let open = async |position: String| {
        let mut presence = PresenceServiceClient::new(client.connect().await?);
        let request = WatchUserStatusRequest {
            user_ids: users.clone(),
            all_users: users.is_empty(),
            resume_position: position,
            ..WatchUserStatusRequest::default()
        };
        Ok(presence.watch_user_status(request).await?.into_inner())
    };
    let mut changes = 0;
    let show = |message: WatchUserStatusResponse| {
        changes += u64::from(matches!(message.message, Some(Message::Change(_))));
        let snapshot_over = matches!(message.message, Some(Message::SnapshotEnd(_)));
        if client.json {
            show::line(&json::line(&message))?;
        } else {
            lines(&message)
                .iter()
                .try_for_each(|line| show::line(line))?;
        }
        let enough = count.is_some_and(|count| changes >= count);
        Ok(enough && (changes > 0 || snapshot_over))
    };
    let from = resume.unwrap_or_default();
    follow(from, |message| &message.position, open, show).await
}

fn lines(response: &WatchUserStatusResponse) -> Vec<String> {
    let Some(message) = &response.message else {
        return Vec::new();
    };
    match message {
        Message::Snapshot(snapshot) => snapshot.users.iter().map(user).collect(),
        Message::Change(change) => {
            let changed = change.user.clone().unwrap_or_default();
            let reason = show::change_reason(change.reason());
            vec![format!("{}  ({reason})", user(&changed))]
        }
        Message::SnapshotEnd(_) => vec!["-- that is everybody; now changes".to_owned()],
        Message::Gap(gap) => vec![show::gap(gap)],
        Message::Draining(_) => vec!["-- the node ends this stream; coming back".to_owned()],
        Message::Resumed(_) => vec!["-- resumed".to_owned()],
        Message::SnapshotBegin(_) | Message::Watermark(_) => Vec::new(),
    }
}

fn user(user: &UserStatus) -> String {
    format!(
        "{:>10}  {:<8}legacy {}",
        user.user_id,
        show::status(user),
        show::legacy_status(user)
    )
}
