//! `route-grpc migrate`: which MsgServers have come over from an old RouteServer, and whether that can
//! be stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use route_proto::admin::v1alpha1::{GetStatsRequest, Link, LinkPart, ListLinksRequest};
use route_runtime::flags::duration;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::AdminArgs;
use super::links::notes;
use crate::failure::Failure;
use crate::show;
use crate::table::{Column, Table};

/// How often it is looked again.
const LOOK: Duration = Duration::from_millis(500);

const HELP: &str = "\
A MsgServer is known by the name that its gateway gives it (pdu-gateway --listen ADDR=NAME, \
--msg-server NAME=IP), or by its IP address.

  not here   no connection: does its configuration name a gateway of this site?
  connected  it is connected, and has not claimed: its primary connection is still another one
  claimed    its primary connection is here

The old server can be stopped when each MsgServer that is expected has claimed here. Then the exit \
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

/// How far a MsgServer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    NotHere,
    Connected,
    Claimed,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotHere => "not here",
            Self::Connected => "connected",
            Self::Claimed => "claimed",
        }
    }
}

/// One MsgServer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    name: String,
    state: State,
    is_expected: bool,
    links: usize,
    sessions: u32,
    gateways: BTreeSet<String>,
    notes: BTreeSet<String>,
}

/// Shows a table, and says whether the old server can be stopped.
pub(crate) async fn run(args: MigrateArgs) -> Result<(), Failure> {
    let expected = args.expected()?;
    let until = Instant::now() + args.wait.unwrap_or_default();
    let mut is_away = false;
    let (servers, waits_for) = loop {
        let is_last = Instant::now() >= until;
        match look(&args.admin).await {
            Ok((links, waits_for)) => {
                let servers = judge(&links, &expected);
                if is_last || missing(&servers, waits_for.as_deref()).is_empty() {
                    break (servers, waits_for);
                }
                is_away = false;
            }
            // It may be restarted meanwhile.
            Err(failure) if failure.may_pass() && !is_last => {
                if !std::mem::replace(&mut is_away, true) {
                    show::warning(&format!("the node is away, trying again: {failure}"));
                }
            }
            Err(failure) => return Err(failure),
        }
        sleep(LOOK).await;
    };
    if let Some(path) = &args.save {
        let here = servers.iter().filter(|it| it.state > State::NotHere);
        let lines: String = here.map(|it| format!("{}\n", it.name)).collect();
        std::fs::write(path, lines).with_context(|| format!("--save {}", path.display()))?;
    }
    match args.admin.json {
        true => servers.iter().try_for_each(|it| show::line(&as_json(it)))?,
        false => table(&servers).print()?,
    }
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
}

/// All links, and for whom the node waits if it does not know all of them.
async fn look(admin: &AdminArgs) -> Result<(Vec<Link>, Option<String>), Failure> {
    let mut client = admin.connect().await?;
    let stats = admin.request(GetStatsRequest {});
    let stats = client.get_stats(stats).await?.into_inner();
    let waits_for = (!stats.is_synced).then_some(stats.waits_for);
    let links = admin.links(&mut client, ListLinksRequest::default());
    Ok((links.await?, waits_for))
}

/// All MsgServers that are expected or here, by name.
fn judge(links: &[Link], expected: &BTreeSet<String>) -> Vec<Server> {
    let mut servers = BTreeMap::new();
    for name in expected {
        servers.insert(name.clone(), Server::new(name, true));
    }
    for link in links {
        let known = servers.entry(link.msg_server.clone());
        let server = known.or_insert_with(|| Server::new(&link.msg_server, false));
        server.add(link);
    }
    let mut servers: Vec<_> = servers.into_values().collect();
    servers.iter_mut().for_each(Server::conclude);
    servers
}

impl Server {
    fn new(name: &str, is_expected: bool) -> Self {
        Self {
            name: name.to_owned(),
            state: State::NotHere,
            is_expected,
            links: 0,
            sessions: 0,
            gateways: BTreeSet::new(),
            notes: BTreeSet::new(),
        }
    }

    fn add(&mut self, link: &Link) {
        let is_primary = link.is_claimed && link.part() == LinkPart::Active;
        // Whether it is still there, nobody knows.
        let state = match is_primary && !link.is_detached {
            true => State::Claimed,
            false => State::Connected,
        };
        if self.state == State::Claimed && state == State::Claimed {
            let note = match link.is_named {
                true => "two claimed: do two MsgServers have this name?",
                false => "several MsgServers at one address: name them",
            };
            self.notes.insert(note.to_owned());
        }
        if state == State::Connected && (link.part() == LinkPart::Active || link.is_detached) {
            self.notes
                .extend(Some(notes(link)).filter(|it| !it.is_empty()));
        }
        if state == State::Claimed && link.is_opaque {
            self.notes
                .insert("cannot be read: does --dialect fit?".to_owned());
        }
        self.state = self.state.max(state);
        self.links += 1;
        self.sessions = self.sessions.max(link.session_count);
        self.gateways.insert(link.gateway_id.clone());
    }

    /// What is said of it when all its links are known.
    fn conclude(&mut self) {
        if self.state == State::Connected && !self.notes.contains("gateway away") {
            self.notes
                .insert("its primary connection is another one".to_owned());
        }
    }

    /// It keeps the old server from being stopped.
    fn problem(&self) -> Option<String> {
        match self.state {
            State::NotHere => Some(format!("{} is not here", self.name)),
            State::Connected => Some(format!("{} has not claimed", self.name)),
            State::Claimed => None,
        }
    }
}

/// What keeps the old server from being stopped. A MsgServer that nobody expects counts, too: it is
/// connected, so its users are on one of the servers.
fn missing(servers: &[Server], waits_for: Option<&str>) -> Vec<String> {
    let not_ready =
        waits_for.map(|it| format!("the node does not know all links yet, it waits for {it}"));
    let nobody = servers
        .is_empty()
        .then(|| "no MsgServer is here".to_owned());
    let problems = servers.iter().filter_map(Server::problem);
    not_ready
        .into_iter()
        .chain(nobody)
        .chain(problems)
        .collect()
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

    fn link(msg_server: &str, is_claimed: bool) -> Link {
        Link {
            msg_server: msg_server.to_owned(),
            is_named: true,
            is_claimed,
            is_listed: true,
            part: LinkPart::Active.into(),
            gateway_id: "g".to_owned(),
            session_count: 3,
            ..Link::default()
        }
    }

    fn expected(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn each_expected_msg_server_has_to_claim() {
        let links = [link("a", true), link("b", false)];

        let servers = judge(&links, &expected(&["a", "b", "c"]));

        let states: Vec<_> = servers.iter().map(|it| it.state).collect();
        assert_eq!(states, [State::Claimed, State::Connected, State::NotHere]);
        assert_eq!(
            missing(&servers, None),
            ["b has not claimed", "c is not here"]
        );
        assert!(missing(&judge(&[link("a", true)], &expected(&["a"])), None).is_empty());
    }

    #[test]
    fn one_that_nobody_expects_has_to_claim_too() {
        let servers = judge(&[link("a", true), link("x", false)], &expected(&["a"]));

        assert_eq!(missing(&servers, None), ["x has not claimed"]);
        let shown = table(&servers).lines(None).join("\n");
        assert!(shown.contains("not expected"), "{shown}");
    }

    #[test]
    fn what_nobody_knows_is_not_safe() {
        let away = Link {
            is_detached: true,
            ..link("a", true)
        };
        let servers = judge(&[away], &expected(&[]));
        assert_eq!(missing(&servers, None), ["a has not claimed"]);
        assert!(servers[0].notes.contains("gateway away"));
        assert_eq!(missing(&[], None), ["no MsgServer is here"]);
        assert_eq!(
            missing(&judge(&[link("a", true)], &expected(&[])), Some("b")).len(),
            1
        );
    }

    #[test]
    fn wrong_configurations_are_named() {
        let mut unreadable = link("a", true);
        unreadable.is_opaque = true;
        let silent = Link {
            is_listed: false,
            ..link("c", false)
        };
        let servers = judge(
            &[unreadable, link("b", true), link("b", true), silent],
            &expected(&[]),
        );

        let notes: Vec<_> = servers
            .iter()
            .map(|it| it.notes.iter().cloned().collect::<Vec<_>>().join("; "))
            .collect();
        assert_eq!(notes[0], "cannot be read: does --dialect fit?");
        assert_eq!(notes[1], "two claimed: do two MsgServers have this name?");
        assert_eq!(
            notes[2],
            "its primary connection is another one; no list yet"
        );
    }
}
