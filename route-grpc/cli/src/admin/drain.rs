//! `route-grpc drain`: moves all MsgServers off a gateway, so that it can be stopped.

use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use route_proto::admin::v1alpha1::{
    DrainGatewayRequest, DrainGatewayResponse, DrainState, MovedMsgServer,
};
use route_runtime::flags::duration;
use tonic::{Request, Streaming};

use super::AdminArgs;
use crate::failure::Failure;
use crate::{json, show};

/// Flags of `drain`.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// The gateway's id, as `gateways` shows it
    gateway: String,
    /// From the move of one MsgServer to that of the next one, 10ms to 1m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1s")]
    slot: Duration,
    /// Have it take connections again
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Follows the drain to its end. One that is interrupted goes on at the node.
pub(crate) async fn run(args: DrainArgs) -> Result<(), Failure> {
    let mut client = args.admin.connect().await?;
    let request = DrainGatewayRequest {
        gateway_id: args.gateway.clone(),
        slot: args.slot.try_into().ok(),
        undo: args.undo,
    };
    // It takes as long as there are MsgServers.
    let mut progress = client
        .drain_gateway(Request::new(request))
        .await?
        .into_inner();
    let mut state = DrainState::Unspecified;
    let mut nowhere = 0;
    while let Some(message) = next(&mut progress).await? {
        state = message.state();
        nowhere += message
            .moved
            .iter()
            .filter(|it| it.to_link.is_empty())
            .count();
        match args.admin.json {
            true => show::line(&json::line(&message))?,
            false => tell(&message)?,
        }
    }
    match state {
        DrainState::Done if nowhere > 0 => Err(Failure::Other(anyhow!(
            "{nowhere} MsgServers had not been seen again within 10 s: their users are on no gateway, unless they have come \
             since (`links`)"
        ))),
        DrainState::Done => Ok(()),
        DrainState::Undone if args.undo => Ok(()),
        DrainState::Undone => Err(Failure::Other(anyhow!("somebody has undone the drain"))),
        DrainState::Gone => Err(Failure::Other(anyhow!("the gateway is gone"))),
        DrainState::Moving | DrainState::Unspecified => {
            Err(Failure::Other(anyhow!("the node has ended the stream")))
        }
    }
}

/// A drain is of one life of the node.
async fn next(
    progress: &mut Streaming<DrainGatewayResponse>,
) -> Result<Option<DrainGatewayResponse>, Failure> {
    let next = progress.message().await;
    next.map_err(|status| match Failure::from(status) {
        failure if failure.may_pass() => Failure::Other(anyhow!(
            "{failure}; if the node was restarted, the drain has ended with it, and the gateway takes connections again: \
             repeat it"
        )),
        failure => failure,
    })
}

fn tell(message: &DrainGatewayResponse) -> Result<(), Failure> {
    let left = message.link_count;
    for moved in &message.moved {
        show::line(&told(moved))?;
    }
    match message.state() {
        DrainState::Done => show::line("drained: the gateway has no link, and can be stopped"),
        DrainState::Undone => show::line(&format!("it takes connections again; links: {left}")),
        DrainState::Moving => show::line(&format!("links left: {left}")),
        DrainState::Gone | DrainState::Unspecified => Ok(()),
    }
}

fn told(moved: &MovedMsgServer) -> String {
    let MovedMsgServer {
        msg_server,
        link,
        to_link,
        to_gateway_id,
        gap_duration,
    } = moved;
    if to_link.is_empty() {
        return format!("{msg_server}: {link} closed, not seen again yet");
    }
    let gap = show::seconds(gap_duration.as_ref());
    format!("{msg_server}: {link} -> {to_link} at {to_gateway_id}, {gap} without a link")
}
