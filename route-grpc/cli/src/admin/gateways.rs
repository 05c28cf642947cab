//! `route-grpc gateways`: the gateways that the node has.

use clap::Args;
use prost_types::Timestamp;
use route_proto::admin::v1alpha1::{
    Gateway, GatewayState, ListGatewaysRequest, ListGatewaysResponse,
};

use super::AdminArgs;
use crate::failure::Failure;
use crate::table::{Column, Table};
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
    let found = client.list_gateways(request).await?.into_inner();
    if args.admin.json {
        return found
            .gateways
            .iter()
            .try_for_each(|it| show::line(&json::line(it)));
    }
    table(&found).print()
}

fn table(found: &ListGatewaysResponse) -> Table {
    let mut table = Table::new(&[
        ("gateway", Column::Id),
        ("state", Column::Word),
        ("links", Column::Number),
        ("queued", Column::Number),
        ("dropped", Column::Number),
        ("dialect", Column::Word),
        ("since", Column::Word),
        ("given up", Column::Word),
        ("where", Column::Text),
    ])
    .least_first(&["where", "since", "dialect", "dropped"]);
    for it in &found.gateways {
        table.row([
            it.gateway_id.clone(),
            state_of(it),
            it.link_count.to_string(),
            show::bytes(it.queued_bytes),
            it.dropped_count.to_string(),
            it.dialect.clone(),
            show::time(it.stream_time.as_ref()),
            given_up(it, found.node_time.as_ref()),
            it.description.clone(),
        ]);
    }
    table
}

/// In how much time its links end, if it is away and does not come back.
fn given_up(gateway: &Gateway, now: Option<&Timestamp>) -> String {
    let lost = gateway.lost_time.as_ref();
    let left = lost.zip(now).map(|(lost, now)| {
        let micros = |at: &Timestamp| at.seconds * 1_000_000 + i64::from(at.nanos / 1000);
        micros(lost) - micros(now)
    });
    left.map_or_else(String::new, |left| match u64::try_from(left) {
        Ok(left) => format!("in {} s", left.div_ceil(1_000_000)),
        Err(_) => "now".to_owned(),
    })
}

/// How it can be reached, in a word, and whether an operator drains it, or has.
pub(super) fn state_of(gateway: &Gateway) -> String {
    let state = show::word("GATEWAY_STATE_", gateway.state().as_str_name());
    match (gateway.is_draining, gateway.state(), gateway.link_count) {
        (false, ..) | (true, GatewayState::Stopped, _) => state,
        (true, GatewayState::Here, 0) => "drained".to_owned(),
        (true, GatewayState::Here, _) => "draining".to_owned(),
        // Which links it has, the node does not know for sure.
        (true, ..) => format!("{state}, draining"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_is_away_says_so_though_it_is_drained() {
        let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
        let gateway = |state: GatewayState, is_draining, lost_time| Gateway {
            state: state.into(),
            is_draining,
            lost_time,
            ..Gateway::default()
        };
        let states = [
            (GatewayState::Here, false, "here"),
            (GatewayState::Here, true, "drained"),
            (GatewayState::Away, true, "away, draining"),
            (GatewayState::CatchingUp, true, "catching up, draining"),
            (GatewayState::Stopped, true, "stopped"),
        ];
        for (state, is_draining, said) in states {
            assert_eq!(state_of(&gateway(state, is_draining, None)), said);
        }
        let moves = Gateway {
            link_count: 1,
            ..gateway(GatewayState::Here, true, None)
        };
        assert_eq!(state_of(&moves), "draining");

        let away = gateway(GatewayState::Away, false, at(112, 500_000_000));
        assert_eq!(given_up(&away, at(101, 0).as_ref()), "in 12 s");
        assert_eq!(given_up(&away, at(113, 0).as_ref()), "now");
        let here = gateway(GatewayState::Here, false, None);
        assert_eq!(given_up(&here, at(101, 0).as_ref()), "");
    }
}
