//! `route-grpc explain routed`: where PDUs went that were routed lately.

use std::time::Duration;

use clap::Args;
use route_proto::admin::v1alpha1::{
    ListRoutedEnvelopesRequest, ListRoutedEnvelopesResponse, RoutedEnvelope, RoutedOutcome,
    RoutedTarget, SparedReason,
};
use route_runtime::flags::duration;

use super::{AdminArgs, Client, PAGE, row};
use crate::failure::Failure;
use crate::table::{Column, Table};
use crate::{json, show};

/// Which PDUs.
#[derive(Debug, Args)]
pub(crate) struct RoutedArgs {
    /// Those that this user has sent, or is to get
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u32).range(1..))]
    user: Option<u32>,
    /// Those with this command: message, kick_user and so on, or an id as 0x0301
    #[arg(long)]
    command: Option<String>,
    /// Those that a link of this MsgServer has sent, or was to get: its name, or its IP address if it has none
    #[arg(long, value_name = "NAME|IP")]
    msg_server: Option<String>,
    /// Those that this link has sent, or was to get
    #[arg(long, value_name = "LINK")]
    link: Option<String>,
    /// Those that were dropped for some link for lack of room, or that it may have lost later
    #[arg(long)]
    dropped: bool,
    /// Those of so much time before now
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// How many are shown at most
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), default_value = "20")]
    limit: u32,
}

/// Shows them.
pub(super) async fn show(
    admin: &AdminArgs,
    client: &mut Client,
    asked: RoutedArgs,
) -> Result<(), Failure> {
    let found = all(admin, client, asked).await?;
    if admin.json {
        return show::line(&json::line(&found));
    }
    let Some(since) = &found.remembers_since else {
        return show::line("This node remembers nothing: --routed-bytes is 0");
    };
    show::line(&row("since", show::time(Some(since))))?;
    match found.envelopes.is_empty() {
        true => show::line(&row("routed", "none of these since then")),
        false => table(&found.envelopes).print(),
    }
}

/// Page by page, as one answer.
async fn all(
    admin: &AdminArgs,
    client: &mut Client,
    asked: RoutedArgs,
) -> Result<ListRoutedEnvelopesResponse, Failure> {
    let mut request = ListRoutedEnvelopesRequest {
        user_id: asked.user.unwrap_or_default(),
        command: asked.command.unwrap_or_default(),
        msg_server: asked.msg_server.unwrap_or_default(),
        link: asked.link.unwrap_or_default(),
        only_dropped: asked.dropped,
        max_age: asked.since.and_then(|it| it.try_into().ok()),
        ..ListRoutedEnvelopesRequest::default()
    };
    let mut found = ListRoutedEnvelopesResponse::default();
    let limit = asked.limit as usize;
    loop {
        let wanted = limit - found.envelopes.len();
        request.page_size = i32::try_from(wanted).unwrap_or(PAGE).min(PAGE);
        request.page_token = std::mem::take(&mut found.next_page_token);
        let asked_now = admin.request(request.clone());
        let page = client.list_routed_envelopes(asked_now).await?.into_inner();
        let mut envelopes = found.envelopes;
        envelopes.extend(page.envelopes);
        found = ListRoutedEnvelopesResponse { envelopes, ..page };
        if found.next_page_token.is_empty() || found.envelopes.len() >= limit {
            return Ok(found);
        }
    }
}

fn table(envelopes: &[RoutedEnvelope]) -> Table {
    let mut table = Table::new(&[
        ("routed", Column::Word),
        ("command", Column::Word),
        ("from", Column::Word),
        ("to", Column::Word),
        ("sent by", Column::Id),
        ("link", Column::Id),
        ("went to", Column::Word),
        ("notes", Column::Text),
    ])
    .least_first(&["link"]);
    for it in envelopes {
        let to = match it.receiver_group_id {
            0 => user(it.receiver_user_id),
            group => format!("group {group}"),
        };
        let sender = match it.origin_link.as_str() {
            "" => "a service".to_owned(),
            _ => it.origin_msg_server.clone(),
        };
        table.row([
            show::time(it.node_time.as_ref()),
            it.command.clone(),
            user(it.sender_user_id),
            to,
            sender,
            it.origin_link.clone(),
            targets(it),
            notes(it),
        ]);
    }
    table
}

fn user(id: u32) -> String {
    match id {
        0 => "-".to_owned(),
        id => id.to_string(),
    }
}

/// Where it went, or why nowhere.
fn targets(it: &RoutedEnvelope) -> String {
    if it.target_count == 0 {
        let reason = it.nowhere_reason();
        let why = match reason == SparedReason::Unspecified {
            true => "no link was there".to_owned(),
            false => show::word("SPARED_REASON_", reason.as_str_name()),
        };
        return format!("nowhere: {why}");
    }
    let mut shown: Vec<_> = it.targets.iter().map(target).collect();
    let more = (it.target_count as usize).saturating_sub(it.targets.len());
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

fn target(it: &RoutedTarget) -> String {
    let name = match it.msg_server.as_str() {
        "" => &it.link,
        name => name,
    };
    if it.lost_later_count > 0 {
        let (count, reason) = (it.lost_later_count, it.lost_later_reason.replace('_', " "));
        return format!("{name} (perhaps lost later: {count} were, {reason})");
    }
    match it.outcome() {
        RoutedOutcome::Queued | RoutedOutcome::Unspecified => name.to_owned(),
        RoutedOutcome::WaitsForGateway => format!("{name} (waits for its gateway)"),
        RoutedOutcome::Held => format!("{name} (held)"),
        RoutedOutcome::QueueFull => format!("{name} (dropped: queue full)"),
        RoutedOutcome::SeatFull => format!("{name} (dropped: seat full)"),
    }
}

fn notes(it: &RoutedEnvelope) -> String {
    let mut notes = Vec::new();
    if it.dropped_count > 0 {
        notes.push(format!("dropped for {}", it.dropped_count));
    }
    match it.unknown_user_count {
        0 => {}
        1 => notes.push("a user was on no link".to_owned()),
        more => notes.push(format!("{more} users were on no link")),
    }
    if it.unparsed {
        notes.push("unreadable".to_owned());
    }
    notes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_where_it_went_and_what_was_lost() {
        let to = |msg_server: &str, outcome: RoutedOutcome| RoutedTarget {
            link: "1f-2".to_owned(),
            msg_server: msg_server.to_owned(),
            outcome: outcome.into(),
            ..RoutedTarget::default()
        };
        let message = RoutedEnvelope {
            command: "message".to_owned(),
            sender_user_id: 1,
            receiver_user_id: 2,
            origin_link: "1f-1".to_owned(),
            origin_msg_server: "msg-1".to_owned(),
            targets: vec![
                to("msg-2", RoutedOutcome::Held),
                to("", RoutedOutcome::QueueFull),
                to("msg-3", RoutedOutcome::Queued),
            ],
            target_count: 5,
            dropped_count: 1,
            unknown_user_count: 1,
            ..RoutedEnvelope::default()
        };
        let group = RoutedEnvelope {
            command: "message".to_owned(),
            receiver_group_id: 7,
            nowhere_reason: SparedReason::NeverReported.into(),
            ..RoutedEnvelope::default()
        };

        let lines = table(&[message, group]).lines(None);

        let columns = |line: &str| -> Vec<String> {
            let cells = line.split("  ").map(str::trim);
            cells
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(
            columns(&lines[1])[1..],
            [
                "message",
                "1",
                "2",
                "msg-1",
                "1f-1",
                "msg-2 (held), 1f-2 (dropped: queue full), msg-3, 2 more",
                "dropped for 1, a user was on no link",
            ]
        );
        assert_eq!(
            columns(&lines[2])[1..],
            [
                "message",
                "-",
                "group 7",
                "a service",
                "nowhere: never reported"
            ]
        );
    }
}
