//! `route-grpc`: runs a node, or asks and tells a running one.
//!
//! | module | subject |
//! |---|---|
//! | `serve` | runs a node, or checks its configuration |
//! | `pages` | `completions`, `man` |
//! | `status`, `online`, `watch`, `subscribe`, `publish`, `nodes`, `check` | one command each |
//! | `admin/` | commands that ask the admin port |
//! | `before`, `names` | flags before the command; values of enums in any spelling |
//! | `client`, `connection`, `follow` | the connection to a node; its TLS and token; a stream that is followed across its restarts |
//! | `show`, `table`, `json` | how answers look: for a person, for a program |
//! | `failure`, `flags` | why a command failed, and its exit code; the flag that was wrong |

mod admin;
mod before;
mod check;
mod client;
mod connection;
mod failure;
mod flags;
mod follow;
mod json;
mod names;
mod nodes;
mod online;
mod pages;
mod publish;
mod serve;
mod show;
mod status;
mod subscribe;
mod table;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use route_runtime::environment::unknown_names;
use route_runtime::workers;

use failure::Failure;

// The allocator of musl is slow: docs/capacity.md.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the node refused the call, or something else went wrong
  2  the command line is wrong
  3  no node could be reached
`check`, `migrate` and `nodes` have more: see their own help";

const UNITS: &str = "\
TIME is a whole number and ms, s, m or h. BYTES is a whole number and KiB, MiB, GiB or nothing.";

/// The node of TeamTalk Route, and commands for its operators.
///
/// `serve` runs a node. Other commands ask a running one, at --address, those of operators at --admin-address.
#[derive(Debug, Parser)]
#[command(name = "route-grpc", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    before: before::Before,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node
    #[command(
        after_help = UNITS,
        mut_arg("log_format", |arg| arg.env("TT_ROUTE_LOG_FORMAT")),
        mut_arg("log_filter", |arg| arg.env("TT_ROUTE_LOG_FILTER")),
    )]
    Serve(Box<serve::ServeArgs>),
    /// Check the flags of `serve`, their environment, and the files that they name, without starting anything
    #[command(after_help = UNITS)]
    CheckConfig(Box<serve::ServeArgs>),
    /// Show the status of users of the site, and where they are
    Status(status::StatusArgs),
    /// List the users of the site who are not offline
    Online(online::OnlineArgs),
    /// Count the users of the site who are not offline
    Count(online::CountArgs),
    /// Follow who comes and goes in the site
    Watch(watch::WatchArgs),
    /// Follow what is routed in the site
    Subscribe(subscribe::SubscribeArgs),
    /// Route something to MsgServers of the site
    Publish(publish::PublishArgs),
    /// Show nodes of the site, and which of them leads
    #[command(after_help = nodes::EXIT_CODES)]
    Nodes(nodes::NodesArgs),
    /// Show the site's connections of MsgServers, and which part each plays
    Links(admin::links::LinksArgs),
    /// Show one connection of the site, and what it has to do with others; or close it
    Link(admin::links::LinkArgs),
    /// Show the site's gateways
    Gateways(admin::gateways::GatewaysArgs),
    /// Move all MsgServers off a gateway of the site, so that it can be stopped
    Drain(admin::drain::DrainArgs),
    /// Show who reads this node, and how far behind; or close a stream
    Streams(admin::streams::StreamsArgs),
    /// Show this node in numbers
    Stats(admin::stats::StatsArgs),
    /// Explain why a user of the site is seen so, who would get a PDU, or where this node has routed some
    Explain(admin::explain::ExplainArgs),
    /// Disconnect a user's clients in the site, and say which are gone
    Kick(admin::kick::KickArgs),
    /// Set what this node logs, while it runs
    LogFilter(admin::log_filter::LogFilterArgs),
    /// Say which MsgServers of the site have come over from an old RouteServer, and whether it can be stopped
    Migrate(admin::migrate::MigrateArgs),
    /// Show the site on a screen that follows it
    Top(admin::top::TopArgs),
    /// Check a node, and a gateway, end to end
    Check(Box<check::CheckArgs>),
    /// Write what a shell completes
    Completions(pages::CompletionsArgs),
    /// Write man pages
    Man(pages::ManArgs),
}

#[allow(clippy::print_stderr)] // output is what a command is for
fn main() -> ExitCode {
    let (cli, matches) = match parse(std::env::args_os()) {
        Ok(read) => read,
        Err(error) if error.use_stderr() && std::env::args_os().any(|it| it == "--json") => {
            let failure = Failure::Usage(error.to_string());
            eprintln!("{}", failure.json());
            return ExitCode::from(failure.exit_code());
        }
        Err(error) => error.exit(),
    };
    if before::wants_json(&matches) {
        show::speak_json();
    }
    match run(cli.command) {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(failure) => {
            if matches!(failure, Failure::Logged) {
                return ExitCode::from(failure.exit_code());
            }
            let failure = flags::named(failure, Cli::command(), &matches);
            match before::wants_json(&matches) {
                true => eprintln!("{}", failure.json()),
                false => eprintln!("route-grpc: {failure}"),
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Reads a command line.
fn parse(
    line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<(Cli, ArgMatches), clap::Error> {
    let mut cli = names::spelled(Cli::command());
    let matches = cli.try_get_matches_from_mut(line)?;
    before::check(&mut cli, &matches)?;
    let read = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut cli))?;
    Ok((read, matches))
}

fn run(command: Command) -> Result<(), Failure> {
    // A node tells its log.
    if !matches!(command, Command::Serve(_)) {
        for name in unknown_names() {
            show::warning(&format!("{name} is set, and no flag has such a name"));
        }
    }
    match command {
        Command::Serve(args) => {
            fit_together(&args);
            serve::run(*args)
        }
        Command::CheckConfig(args) => {
            fit_together(&args);
            serve::check_config(&args)
        }
        Command::Status(args) => block_on(status::run(args)),
        Command::Online(args) => block_on(online::run(args)),
        Command::Count(args) => block_on(online::count(args)),
        Command::Watch(args) => block_on(watch::run(args)),
        Command::Subscribe(args) => block_on(subscribe::run(args)),
        Command::Publish(args) => block_on(publish::run(args)),
        Command::Nodes(args) => block_on(nodes::run(args)),
        Command::Links(args) => block_on(admin::links::list(args)),
        Command::Link(args) => block_on(admin::links::one(args)),
        Command::Gateways(args) => block_on(admin::gateways::run(args)),
        Command::Drain(args) => block_on(admin::drain::run(args)),
        Command::Streams(args) => block_on(admin::streams::run(args)),
        Command::Stats(args) => block_on(admin::stats::run(args)),
        Command::Explain(args) => block_on(admin::explain::run(args)),
        Command::Kick(args) => block_on(admin::kick::run(args)),
        Command::LogFilter(args) => block_on(admin::log_filter::run(args)),
        Command::Migrate(args) => block_on(admin::migrate::run(args)),
        Command::Top(args) => block_on(admin::top::run(args)),
        Command::Check(args) => block_on(check::run(*args)),
        Command::Completions(args) => pages::completions(&args, Cli::command()),
        Command::Man(args) => pages::man(&args, Cli::command()),
    }
}

/// Ends with a usage error if the flags do not.
fn fit_together(args: &serve::ServeArgs) {
    if let Err(problem) = args.check() {
        let mut cli = Cli::command();
        cli.error(ErrorKind::ValueValidation, problem).exit();
    }
}

/// Runs a command that asks a node.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    workers::runtime(1)?.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_of_the_node_has_an_environment_name_of_its_own_and_a_line_of_help() {
        let mut cli = Cli::command();
        cli.build();
        let serve = cli.find_subcommand("serve").expect("it is there");

        for arg in serve.get_arguments().filter(|arg| arg.get_id() != "help") {
            let env = arg.get_env().map(|env| env.to_string_lossy().into_owned());
            let name = arg.get_id().as_str().to_uppercase();
            assert_eq!(env, Some(format!("TT_ROUTE_{name}")), "{arg}");
            assert!(arg.get_help().is_some(), "{arg} has no help");
        }
    }

    #[test]
    fn a_client_type_has_a_name_or_a_number() {
        let parse = |text| {
            let kick = [
                "route-grpc",
                "publish",
                "kick",
                "--user=1",
                "--client-type",
                text,
            ];
            Cli::try_parse_from(kick)
        };

        for (text, number) in [
            ("android", 18),
            ("iOS", 17),
            ("CLIENT_TYPE_IOS", 17),
            ("18", 18),
            ("0x21", 33),
        ] {
            let parsed = format!("{:?}", parse(text).expect(text));
            assert!(
                parsed.contains(&format!("client_type: {number},")),
                "{parsed}"
            );
        }
        for wrong in ["desktop", "0x", "1.5", ""] {
            let told = parse(wrong).expect_err(wrong).to_string();
            assert!(told.contains("windows, mac, ios, android"), "{told}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port_or_a_url() {
        let parse =
            |address| Cli::try_parse_from(["route-grpc", "status", "--address", address, "1001"]);

        for right in ["http://127.0.0.1:50051", "127.0.0.1:50051", "[::1]:50051"] {
            assert!(parse(right).is_ok(), "{right}");
        }
        for wrong in ["127.0.0.1", "http://", "ftp://node"] {
            let Err(error) = parse(wrong) else {
                panic!("{wrong} was taken");
            };
            assert_eq!(error.exit_code(), 2, "{wrong}");
            assert!(error.to_string().contains("http://host:port"), "{error}");
        }
    }

    #[test]
    fn events_are_asked_for_by_their_names_in_the_api() {
        for part in ["shadow", "Shadow", "SHADOW", "LINK_PART_SHADOW"] {
            assert!(Cli::try_parse_from(["route-grpc", "links", "--part", part]).is_ok());
        }
        let parse = |kinds| Cli::try_parse_from(["route-grpc", "subscribe", "--kind", kinds]);

        assert!(parse("chat-message,p2p-command,desktop-login-change").is_ok());
        assert!(parse("chat_message,CHAT_MESSAGE,EVENT_KIND_CHAT_MESSAGE").is_ok());
        assert!(parse("ChatMessage,P2pCommand,chatMessage,P2P_COMMAND").is_ok());
        for wrong in ["unspecified", "EVENT_KIND_UNSPECIFIED", "nonsense"] {
            let said = parse(wrong).expect_err(wrong).to_string();
            assert!(said.contains("chat-message"), "{said}");
        }
    }

    #[test]
    fn help_says_of_each_command_whether_it_is_about_the_site_or_this_node() {
        let cli = Cli::command();
        let about_no_site = ["serve", "check-config", "check", "completions", "man"];
        let explain = cli.find_subcommand("explain").expect("it is there");
        let all = cli.get_subcommands().chain(explain.get_subcommands());
        for command in all.filter(|it| !about_no_site.contains(&it.get_name())) {
            let about = command.get_about().expect("a line of help").to_string();
            let says = about.contains("site") || about.contains("this node");
            assert!(says, "{}: {about}", command.get_name());
        }
    }

    #[test]
    fn commands_are_asked_for_in_any_spelling() {
        for name in ["group-change", "group_change", "GroupChange"] {
            let line = [
                "route-grpc",
                "publish",
                name,
                "--user=1",
                "--group=2",
                "--add=3",
            ];
            assert!(parse(line).is_ok(), "{name}");
        }
        let chat = ["--from=1", "--to=2", "--message-id=3", "--text=x"];
        for name in [
            "chat",
            "Chat",
            "chat-message",
            "chat_message",
            "ChatMessage",
        ] {
            let line = [&["route-grpc", "publish", name][..], &chat].concat();
            assert!(parse(line).is_ok(), "{name}");
        }
        assert!(parse(["route-grpc", "log_filter", "info"]).is_ok());
        for part in ["active", "Active", "ACTIVE"] {
            assert!(
                parse(["route-grpc", "links", "--part", part]).is_ok(),
                "{part}"
            );
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        names::spelled(Cli::command()).debug_assert();
    }
}
