//! `route-grpc log-filter`: what the node logs, set while it runs.

use std::time::Duration;

use clap::Args;
use route_proto::admin::v1alpha1::SetLogFilterRequest;
use route_runtime::flags::duration;
use route_runtime::telemetry::unknown_targets;

use super::AdminArgs;
use crate::failure::Failure;
use crate::{json, show};

/// Flags of `log-filter`.
#[derive(Debug, Args)]
pub(crate) struct LogFilterArgs {
    /// A level, or target=level pairs separated by commas; without it, as at the node's start
    #[arg(default_value = "")]
    filter: String,
    /// For so long, at most 24h; then as at the node's start
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    for_long: Option<Duration>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Sets it, and says what it was.
pub(crate) async fn run(args: LogFilterArgs) -> Result<(), Failure> {
    let unknown = unknown_targets(&args.filter);
    let mut client = args.admin.connect().await?;
    let request = SetLogFilterRequest {
        filter: args.filter,
        duration: args.for_long.and_then(|time| time.try_into().ok()),
    };
    let set = client
        .set_log_filter(args.admin.request(request))
        .await?
        .into_inner();
    match args.admin.json {
        true => show::line(&json::line(&set))?,
        false => show::line(&format!("set; it was {}", set.previous_filter))?,
    }
    for target in unknown {
        show::warning(&format!("nothing is logged as {target}"));
    }
    Ok(())
}
