//! `route-grpc publish`: route events to MsgServers.

mod event;

use std::io::{BufRead, stdin};

use anyhow::Context;
use clap::Args;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::publish_request::Audience;
use route_proto::v1::{
    Acknowledgement, AllMsgServers, Event, ExplainPublishRequest, ExplainPublishResponse,
    MsgServersOfUsers, PublishRequest, PublishResponse, explain_publish_request,
};
use tokio::sync::mpsc;

use crate::client::ClientArgs;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::{json, show};
use event::What;

pub(crate) use event::client_type;

/// Lines of standard input that may wait.
const LINES: usize = 16;

/// Flags of `publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(subcommand)]
    what: What,
    /// Route it to the MsgServers of these users, not to those that it concerns by itself
    #[arg(long, global = true, value_name = "USER", value_delimiter = ',')]
    to_users: Vec<u32>,
    /// Route it to every MsgServer
    #[arg(long, global = true, conflicts_with = "to_users")]
    everyone: bool,
    /// Route it once, however often it is published with this id
    #[arg(
        long,
        global = true,
        value_name = "ID",
        default_value = "",
        hide_default_value = true
    )]
    request_id: String,
    /// Route nothing: say who would get it, and why
    #[arg(long, global = true)]
    dry_run: bool,
    /// Wait until gateways have taken it
    #[arg(long, global = true, conflicts_with = "dry_run")]
    wait: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Publishes what is given, or what standard input says, or rehearses it; says to how many MsgServer connections each was
/// routed.
pub(crate) async fn run(mut args: PublishArgs) -> Result<(), Failure> {
    let audience = if args.everyone {
        Some(Audience::AllMsgServers(AllMsgServers {}))
    } else if args.to_users.is_empty() {
        None
    } else {
        Some(Audience::MsgServersOfUsers(MsgServersOfUsers {
            user_ids: std::mem::take(&mut args.to_users),
        }))
    };
    let given = args.what.event()?;
    let mut publisher = Publisher {
        broadcast: BroadcastServiceClient::new(args.client.connect().await?),
        audience,
        request_id: args.request_id,
        dry_run: args.dry_run,
        wait: args.wait,
        client: args.client,
    };
    match given {
        Some(event) => publisher.publish(event).await,
        None => publisher.publish_lines().await,
    }
}

struct Publisher {
    broadcast: BroadcastServiceClient<Connection>,
    audience: Option<Audience>,
    request_id: String,
    dry_run: bool,
    wait: bool,
    client: ClientArgs,
}

impl Publisher {
    async fn publish(&mut self, event: Event) -> Result<(), Failure> {
        if self.dry_run {
            return self.explain(event).await;
        }
        let acknowledgement = match self.wait {
            true => Acknowledgement::Taken,
            false => Acknowledgement::Routed,
        };
        let request = self.client.request(PublishRequest {
            request_id: self.request_id.clone(),
            event: Some(event),
            audience: self.audience.clone(),
            acknowledgement: acknowledgement.into(),
        });
        let response = self.broadcast.publish(request).await?.into_inner();
        if self.client.json {
            return show::line(&json::line(&response));
        }
        outcome(&response)
            .iter()
            .try_for_each(|line| show::line(line))
    }

    async fn explain(&mut self, event: Event) -> Result<(), Failure> {
        let request = self.client.request(ExplainPublishRequest {
            event: Some(event),
            audience: self.audience.clone().map(explained),
            ..ExplainPublishRequest::default()
        });
        let response = self.broadcast.explain_publish(request).await?.into_inner();
        if self.client.json {
            return show::line(&json::line(&response));
        }
        explanation(&response)
            .iter()
            .try_for_each(|line| show::line(line))
    }

    /// Ends at the first line that is no event, or that the node refuses.
    async fn publish_lines(&mut self) -> Result<(), Failure> {
        if !self.request_id.is_empty() {
            let problem = "--request-id is for one event, and standard input may have many";
            return Err(anyhow::anyhow!(problem).into());
        }
        let (said, mut lines) = mpsc::channel(LINES);
        // Reading standard input blocks.
        std::thread::spawn(move || {
            for line in stdin().lock().lines() {
                if said.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        let (mut number, mut left_out) = (0, 0);
        while let Some(line) = lines.recv().await {
            number += 1;
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let event = event::read(&line).with_context(|| format!("line {number}"))?;
            let Some(event) = event else { continue };
            if event::is_of_msg_servers(&event) {
                left_out += 1;
                continue;
            }
            let published = self.publish(event).await;
            if let Err(Failure::Refused(status)) = published {
                return Err(anyhow::anyhow!("line {number}: {}", status.message()).into());
            }
            published?;
        }
        if left_out > 0 {
            let problem = "events were left out: only MsgServers cause events of their kinds";
            show::warning(&format!("{left_out} {problem}"));
        }
        Ok(())
    }
}

fn explained(audience: Audience) -> explain_publish_request::Audience {
    match audience {
        Audience::MsgServersOfUsers(users) => {
            explain_publish_request::Audience::MsgServersOfUsers(users)
        }
        Audience::AllMsgServers(all) => explain_publish_request::Audience::AllMsgServers(all),
    }
}

/// What came of it, in words.
fn outcome(response: &PublishResponse) -> Vec<String> {
    let again = if response.duplicate {
        ", which was published before"
    } else {
        ""
    };
    let links = response.link_count;
    let mut lines = vec![format!("routed to {links} MsgServer connections{again}")];
    if let Some(outcome) = &response.outcome {
        lines.push(format!(
            "taken by {} gateways; {} are away, {} were full; held for {} connections to come",
            outcome.taken_gateway_count,
            outcome.away_gateway_count,
            outcome.full_gateway_count,
            outcome.held_link_count
        ));
    }
    lines
}

/// Who would get it, in words.
fn explanation(response: &ExplainPublishResponse) -> Vec<String> {
    let links = response.targets.len();
    let mut lines = vec![format!("would be routed to {links} MsgServer connections")];
    lines.extend(response.targets.iter().map(|target| {
        let reason = show::word("PUBLISH_TARGET_REASON_", target.reason().as_str_name());
        let users = target.user_ids.iter().map(u32::to_string);
        let users = users.collect::<Vec<_>>().join(" ");
        let (link, msg_server) = (&target.link, &target.msg_server);
        format!("{msg_server:<22} [{link}]  {reason} {users}")
    }));
    lines
}
