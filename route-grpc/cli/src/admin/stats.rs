//! `route-grpc stats`: the node in numbers.

use clap::Args;
use route_proto::admin::v1alpha1::{GetStatsRequest, GetStatsResponse};

use super::AdminArgs;
use crate::failure::Failure;
use crate::table::{Column, Table};
use crate::{json, show};

/// Flags of `stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

/// Shows a table, or one object.
pub(crate) async fn run(args: StatsArgs) -> Result<(), Failure> {
    let mut client = args.admin.connect().await?;
    let request = args.admin.request(GetStatsRequest {});
    let it = client.get_stats(request).await?.into_inner();
    if args.admin.json {
        return show::line(&json::line(&it));
    }
    if let Some(why) = not_ready(&it) {
        show::line(&why)?;
    }
    let mut table = Table::new(&[("what", Column::Word), ("now", Column::Number)]);
    for (what, now) in [
        ("node", it.node_id.clone()),
        ("  epoch", it.epoch.clone()),
        ("  term", it.term.to_string()),
        ("  asked through", it.passed_on_by.clone()),
        ("  version", it.version.clone()),
        ("  since", show::time(it.start_time.as_ref())),
        ("gateways attached", it.attached_gateway_count.to_string()),
        ("gateways away", it.detached_gateway_count.to_string()),
        ("links", it.link_count.to_string()),
        ("  claimed", it.claimed_link_count.to_string()),
        ("  shadows", it.shadow_link_count.to_string()),
        ("  gateway away", it.detached_link_count.to_string()),
        ("seats", it.seat_count.to_string()),
        ("users", it.user_count.to_string()),
        ("sessions", it.session_count.to_string()),
        ("streams", it.stream_count.to_string()),
        ("connections", it.connection_count.to_string()),
        ("queued for gateways", show::bytes(it.queued_bytes)),
        ("held for successors", show::bytes(it.held_bytes)),
        ("unconfirmed", show::bytes(it.unconfirmed_bytes)),
        ("event log", show::bytes(it.log_bytes)),
        ("  events", it.log_event_count.to_string()),
        ("entries applied", it.entry_count.to_string()),
        ("deliveries", it.delivery_count.to_string()),
        ("  dropped", it.dropped_count.to_string()),
        ("PDUs without a target", it.without_target_count.to_string()),
    ] {
        if now.is_empty() {
            continue;
        }
        table.row([what.to_owned(), now]);
    }
    table.print()
}

/// Why the node is not ready, if it is not: as /readyz has it.
pub(super) fn not_ready(it: &GetStatsResponse) -> Option<String> {
    match (it.is_draining, it.is_synced) {
        (true, _) => Some("not ready: draining".to_owned()),
        (false, false) => Some(format!("not ready: waits for {}", it.waits_for)),
        (false, true) => None,
    }
}
