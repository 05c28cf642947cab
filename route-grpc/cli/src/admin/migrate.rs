//! `route-grpc migrate`: which MsgServers have come over from an old RouteServer, and whether that can
//! be stopped.

mod hosts;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use route_proto::admin::v1alpha1::{GetStatsRequest, Link, ListLinksRequest};
use route_runtime::flags::duration;
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::servers::{Server, State, judge, missing};
use super::AdminArgs;
use crate::failure::Failure;
use crate::follow::Absence;
use crate::show;
use crate::table::{Column, Table};

/// How often it is looked again.
const LOOK: Duration = Duration::from_millis(500);

const HELP: &str = "\
A MsgServer is known by the name that its gateway gives it (pdu-gateway --listen ADDR=NAME, \
--msg-server NAME=IP), or by its IP address. An HttpMsgServer, which has no users, is expected as \
http:NAME.

  not here   no connection: does its configuration name a gateway of this site?
  connected  it is connected, and has not claimed: its primary connection is still another one
  claimed    its primary connection is here

The old server can be stopped when each MsgServer that is expected has claimed here, and has told \
its users so that they can be read. Then the exit \
code is 0, else 7.";

/// Flags of `migrate`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct MigrateArgs {
    /// MsgServers that have to come: names or IP addresses
    #[arg(long, value_name = "NAME|IP", value_delimiter = ',')]
    expect: Vec<String>,
    /// The same from a file, one a line; # begins a comment
    #[arg(long, value_name = "FILE")]
    expect_file: Option<PathBuf>,
    /// Write those that are here to a file, for --expect-file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Look again until all have claimed, for so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Shows a table, and says whether the old server can be stopped.
pub(crate) async fn run(args: MigrateArgs) -> Result<(), Failure> {
    let expected = args.expected()?;
    let until = Instant::now() + args.wait.unwrap_or_default();
    let mut absence = Absence::default();
    let (servers, waits_for) = loop {
        let is_last = Instant::now() >= until;
        match look(&args.admin).await {
            Ok(seen) => {
                absence.ends();
                let servers = judge(&seen.links, &seen.doubts, &expected);
                if is_last || missing(&servers, seen.waits_for.as_deref()).is_empty() {
                    break (servers, seen.waits_for);
                }
            }
            // It may be restarted meanwhile.
            Err(failure) if failure.may_pass() && !is_last => {
                absence.begins(&failure);
            }
            Err(failure) => return Err(failure),
        }
        sleep(LOOK).await;
    };
    match args.admin.json {
        true => servers.iter().try_for_each(|it| show::line(&as_json(it)))?,
        false => table(&servers).print()?,
    }
    args.save(&servers, waits_for.as_deref())?;
    let missing = missing(&servers, waits_for.as_deref());
    if !missing.is_empty() {
        return Err(Failure::NotMigrated(missing.join("; ")));
    }
    match (args.admin.json, expected.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => show::line(
            "All that are here have claimed. Say which have to come, with --expect or --expect-file: others may be missing.",
        ),
        (false, false) => show::line("Safe to stop the old server."),
    }
}

impl MigrateArgs {
    fn expected(&self) -> Result<BTreeSet<String>, Failure> {
        let named = self.expect.iter().map(|name| name.trim());
        let named = named.filter(|name| !name.is_empty());
        let mut expected: BTreeSet<_> = named.map(str::to_owned).collect();
        if let Some(path) = &self.expect_file {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("--expect-file {}", path.display()))?;
            let lines = text.lines().filter_map(|line| line.split('#').next());
            let names = lines.map(str::trim).filter(|name| !name.is_empty());
            expected.extend(names.map(str::to_owned));
        }
        if expected.is_empty() && (!self.expect.is_empty() || self.expect_file.is_some()) {
            let problem = "--expect, --expect-file: no MsgServer is named there";
            return Err(anyhow::anyhow!(problem).into());
        }
        Ok(expected)
    }

    /// Writes those that are here to the file. A list that cannot be whole would replace a good one.
    fn save(&self, servers: &[Server], waits_for: Option<&str>) -> Result<(), Failure> {
        let Some(path) = &self.save else {
            return Ok(());
        };
        let flag = || format!("--save {}", path.display());
        let here = servers.iter().filter(|it| it.state > State::NotHere);
        let lines: String = here.map(|it| format!("{}\n", it.listed())).collect();
        let why = match waits_for {
            Some(it) => format!("the node does not know all links yet, it waits for {it}"),
            None if lines.is_empty() => "no MsgServer is here".to_owned(),
            None => return Ok(std::fs::write(path, lines).with_context(flag)?),
        };
        Err(anyhow::anyhow!("{}: nothing is written: {why}", flag()).into())
    }
}

/// What a node says.
#[derive(Debug, Default)]
struct Seen {
    links: Vec<Link>,
    /// For whom it waits, if it does not know all links.
    waits_for: Option<String>,
    /// What is doubtful of MsgServers, by name.
    doubts: BTreeMap<String, String>,
}

async fn look(admin: &AdminArgs) -> Result<Seen, Failure> {
    let mut client = admin.connect().await?;
    let stats = admin.request(GetStatsRequest {});
    let stats = client.get_stats(stats).await?.into_inner();
    let links = admin.links(&mut client, ListLinksRequest::default());
    let links = links.await?;
    Ok(Seen {
        waits_for: (!stats.is_synced).then_some(stats.waits_for),
        doubts: hosts::doubts(admin, &mut client, &links).await?,
        links,
    })
}

fn table(servers: &[Server]) -> Table {
    let mut table = Table::new(&[
        ("MsgServer", Column::Id),
        ("state", Column::Word),
        ("links", Column::Number),
        ("sessions", Column::Number),
        ("gateways", Column::Word),
        ("notes", Column::Text),
    ])
    .least_first(&["links", "sessions", "gateways"]);
    let any_expected = servers.iter().any(|it| it.is_expected);
    for it in servers {
        let unexpected = (any_expected && !it.is_expected).then(|| "not expected".to_owned());
        let notes: Vec<_> = unexpected
            .into_iter()
            .chain(it.notes.iter().cloned())
            .collect();
        let gateways: Vec<_> = it.gateways.iter().cloned().collect();
        table.row([
            it.name.clone(),
            it.state.as_str().to_owned(),
            it.links.to_string(),
            it.sessions.to_string(),
            gateways.join(", "),
            notes.join("; "),
        ]);
    }
    table
}

fn as_json(it: &Server) -> String {
    json!({
        "msgServer": it.name,
        "state": it.state.as_str().replace(' ', "_").to_uppercase(),
        "isExpected": it.is_expected,
        "linkCount": it.links,
        "sessionCount": it.sessions,
        "gatewayIds": it.gateways,
        "notes": it.notes,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_nobody_expects_is_told() {
        let link = Link {
            msg_server: "x".to_owned(),
            ..Link::default()
        };
        let servers = judge(&[link], &BTreeMap::new(), &BTreeSet::from(["a".to_owned()]));

        let shown = table(&servers).lines(None).join("\n");
        assert!(shown.contains("not expected"), "{shown}");
    }
}
