//! `route-grpc explain`: why a user is seen so; who would get a PDU, who would not, and why; where PDUs went.

use clap::{Args, Subcommand};
use route_proto::admin::v1alpha1::{
    ExplainEnvelopeRequest, ExplainEnvelopeResponse, ExplainUserRequest, ExplainUserResponse,
    ExplainedSession,
};

use super::links::{notes, part_of};
use super::routed::{self, RoutedArgs};
use super::{AdminArgs, row};
use crate::failure::Failure;
use crate::table::{Column, Table};
use crate::{json, show};

/// Flags of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What is to be explained.
#[derive(Debug, Subcommand)]
enum What {
    /// Why a user of the site is online, or is not: what each link holds of the user, and what of that counts
    User {
        /// Whose id
        #[arg(value_name = "ID", value_parser = clap::value_parser!(u32).range(1..))]
        user_id: u32,
    },
    /// Who of the site would get a PDU now, and who would not
    Envelope(EnvelopeArgs),
    /// Where PDUs went that this node has routed lately, newest first, and what was dropped
    Routed(RoutedArgs),
}

/// A PDU, by what it is about.
#[derive(Debug, Args)]
struct EnvelopeArgs {
    /// Its command: message, kick_user, status_notice and so on, or an id as 0x0301
    command: String,
    /// Users whom it names; a message without any is one of a group
    #[arg(value_name = "USER")]
    user_ids: Vec<u32>,
    /// The link that sends it; else a service publishes it
    #[arg(long, value_name = "LINK")]
    from: Option<String>,
    /// Only about links of this MsgServer: its name, or its IP address if it has none
    #[arg(long, value_name = "NAME|IP")]
    msg_server: Option<String>,
}

/// Explains it.
pub(crate) async fn run(args: ExplainArgs) -> Result<(), Failure> {
    let mut client = args.admin.connect().await?;
    match args.what {
        What::User { user_id } => {
            let request = args.admin.request(ExplainUserRequest { user_id });
            let found = client.explain_user(request).await?.into_inner();
            match args.admin.json {
                true => show::line(&json::line(&found)),
                false => user(&found),
            }
        }
        What::Envelope(asked) => {
            let msg_server = asked.msg_server.clone().unwrap_or_default();
            let request = args.admin.request(ExplainEnvelopeRequest {
                command: asked.command,
                user_ids: asked.user_ids,
                origin_link: asked.from.unwrap_or_default(),
                msg_server: asked.msg_server.unwrap_or_default(),
            });
            let found = client.explain_envelope(request).await?.into_inner();
            match args.admin.json {
                true => show::line(&json::line(&found)),
                // Each of its links either gets it or does not.
                false
                    if found.targets.is_empty()
                        && found.spared_links.is_empty()
                        && !msg_server.is_empty() =>
                {
                    show::no_such_server(&msg_server)
                }
                false => envelope(&found),
            }
        }
        What::Routed(asked) => routed::show(&args.admin, &mut client, asked).await,
    }
}

fn user(found: &ExplainUserResponse) -> Result<(), Failure> {
    let Some(seen) = &found.user else {
        return Ok(());
    };
    let reason = found.legacy_status_reason().as_str_name();
    let reason = show::word("LEGACY_STATUS_REASON_", reason);
    let legacy = format!("{}: {reason}", show::legacy_status(seen));
    show::line(&row("status", show::status(seen)))?;
    show::line(&row("legacy status", legacy))?;
    if !found.is_synced {
        let waits = "does not know all links yet: `stats` says for what it waits";
        show::line(&row("node", waits))?;
    }
    for link in &found.uncertain_links {
        let text = format!("{} of {}: {}", link.link, link.msg_server, notes(link));
        show::line(&row("may have him", text))?;
    }
    match found.sessions.is_empty() {
        true => show::line(&row("sessions", "no link holds any")),
        false => sessions(&found.sessions).print(),
    }
}

/// What links hold of a user.
pub(super) fn sessions(sessions: &[ExplainedSession]) -> Table {
    let mut table = Table::new(&[
        ("link", Column::Id),
        ("MsgServer", Column::Id),
        ("part", Column::Word),
        ("client", Column::Word),
        ("counts", Column::Word),
        ("online", Column::Number),
        ("away", Column::Number),
        ("hidden", Column::Number),
        ("known by", Column::Word),
        ("since", Column::Word),
    ])
    .least_first(&["away", "hidden", "online", "since", "part", "known by"]);
    for it in sessions {
        let part = it.link_state.as_ref();
        table.row([
            it.link.clone(),
            it.msg_server.clone(),
            part.map_or_else(|| "ended".to_owned(), part_of),
            show::client_type(i32::try_from(it.client_type).unwrap_or_default()),
            show::word("SESSION_STANDING_", it.standing().as_str_name()),
            it.online_count.to_string(),
            it.away_count.to_string(),
            it.hidden_count.to_string(),
            show::word("SESSION_SOURCE_", it.source().as_str_name()),
            show::time(it.since_time.as_ref()),
        ]);
    }
    table
}

fn envelope(found: &ExplainEnvelopeResponse) -> Result<(), Failure> {
    if !found.waits_for.is_empty() {
        let waits = format!("routes nothing now, it waits for {}", found.waits_for);
        show::line(&row("node", waits))?;
    }
    if !found.unknown_user_ids.is_empty() {
        let ids: Vec<_> = found.unknown_user_ids.iter().map(u32::to_string).collect();
        show::line(&row("nowhere", format!("users {}", ids.join(", "))))?;
    }
    let mut table = Table::new(&[
        ("link", Column::Id),
        ("MsgServer", Column::Id),
        ("gets it", Column::Word),
        ("why", Column::Word),
        ("users", Column::Text),
    ]);
    for it in &found.targets {
        let gets = match (it.waits_for_gateway, it.is_held) {
            (true, _) => "when its gateway is back",
            (false, true) => "when it has a successor",
            (false, false) => "yes",
        };
        let users: Vec<_> = it.user_ids.iter().map(u32::to_string).collect();
        table.row([
            it.link.clone(),
            it.msg_server.clone(),
            gets.to_owned(),
            show::word("PUBLISH_TARGET_REASON_", it.reason().as_str_name()),
            users.join(", "),
        ]);
    }
    for it in &found.spared_links {
        table.row([
            it.link.clone(),
            it.msg_server.clone(),
            "no".to_owned(),
            show::word("SPARED_REASON_", it.reason().as_str_name()),
            String::new(),
        ]);
    }
    table.print()?;
    let left_out = found.has_more_spared_links || found.targets.len() < found.target_count as usize;
    if left_out {
        show::line("Not all links are shown: --msg-server asks about one MsgServer")?;
    }
    Ok(())
}
