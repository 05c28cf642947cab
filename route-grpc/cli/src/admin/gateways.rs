//! `route-grpc gateways`: the gateways that the node has.

use clap::Args;
use route_proto::admin::v1alpha1::{Gateway, ListGatewaysRequest};

use super::AdminArgs;
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::{json, show};

/// Flags of `gateways`.
#[derive(Debug, Args)]
pub(crate) struct GatewaysArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

/// Shows a table, or one object per gateway.
pub(crate) async fn run(args: GatewaysArgs) -> Result<(), Failure> {
    let mut client = args.admin.connect().await?;
    let request = args.admin.request(ListGatewaysRequest {});
    let gateways = client.list_gateways(request).await?.into_inner().gateways;
    if args.admin.json {
        return gateways
            .iter()
            .try_for_each(|it| show::line(&json::line(it)));
    }
    let mut table = Table::new(&[
        ("gateway", Align::Left),
        ("state", Align::Left),
        ("links", Align::Right),
        ("queued", Align::Right),
        ("dropped", Align::Right),
        ("dialect", Align::Left),
        ("since", Align::Left),
        ("lost at", Align::Left),
        ("where", Align::Left),
    ]);
    for it in &gateways {
        let lost = it.lost_time.as_ref();
        table.row([
            it.gateway_id.clone(),
            state_of(it),
            it.link_count.to_string(),
            show::bytes(it.queued_bytes),
            it.dropped_count.to_string(),
            it.dialect.clone(),
            show::time(it.stream_time.as_ref()),
            lost.map_or_else(String::new, |at| show::time(Some(at))),
            it.description.clone(),
        ]);
    }
    table.print()
}

/// How it can be reached, in a word, or that an operator drains it.
pub(super) fn state_of(gateway: &Gateway) -> String {
    match (gateway.is_draining, gateway.link_count) {
        (true, 0) => "drained".to_owned(),
        (true, _) => "draining".to_owned(),
        (false, _) => show::word("GATEWAY_STATE_", gateway.state().as_str_name()),
    }
}
