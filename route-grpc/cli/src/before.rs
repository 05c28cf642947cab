//! Flags about the node, given before the command: `route-grpc --json status 1`.
//!
//! Each command that asks a node has these flags itself, with defaults of its own. To clap, flags of
//! one id are one flag: what is given before the command is the command's, unless it is given there.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};
use route_runtime::flags::{duration, node_address};

use crate::admin::admin_address;

/// The flags that may stand before the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Node, before or after the command")]
pub(crate) struct Before {
    /// Where the node listens: host:port, or a URL
    #[arg(long, value_name = "ADDR", value_parser = node_address)]
    address: Option<String>,
    /// Where the node serves operators: host:port, unix:PATH, or unix:@NAME
    #[arg(long, value_name = "ADDR", value_parser = admin_address)]
    admin_address: Option<String>,
    /// How long a call may take
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// One JSON object a line; a failure too, on standard error
    #[arg(long)]
    json: bool,
    /// Certificates of those who sign the node's certificate, in PEM: an address without http:// is connected to by TLS
    #[arg(long = "tls-ca", value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Your own certificate, in PEM, with those that lead to its root
    #[arg(long = "tls-cert", value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// The key of --tls-cert, in PEM
    #[arg(long = "tls-key", value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// The name that the node's certificate has
    #[arg(long = "tls-server-name", value_name = "NAME")]
    client_server_name: Option<String>,
    /// A token to show to the node; without TLS only to one on this host
    #[arg(long = "token-file", value_name = "FILE")]
    client_token_file: Option<PathBuf>,
}

/// Their ids, and how they are called.
const FLAGS: [(&str, &str); 9] = [
    ("address", "address"),
    ("admin_address", "admin-address"),
    ("timeout", "timeout"),
    ("json", "json"),
    ("client_ca", "tls-ca"),
    ("client_cert", "tls-cert"),
    ("client_key", "tls-key"),
    ("client_server_name", "tls-server-name"),
    ("client_token_file", "token-file"),
];

/// Refuses a flag before a command that has no such flag: it would mean nothing.
pub(crate) fn check(cli: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((name, _)) = matches.subcommand() else {
        return Ok(());
    };
    for (id, flag) in FLAGS {
        let given = matches.value_source(id) == Some(ValueSource::CommandLine);
        let command = cli.find_subcommand(name);
        let is_known = command.is_none_or(|it| it.get_arguments().any(|arg| arg.get_id() == id));
        if given && !is_known {
            let mut problem = format!("--{flag} means nothing to `{name}`");
            if let ("address", Some(_)) = (id, command.filter(|it| has_admin_address(it))) {
                problem += ", which asks at --admin-address";
            }
            return Err(cli.error(ErrorKind::UnknownArgument, problem));
        }
    }
    Ok(())
}

fn has_admin_address(command: &Command) -> bool {
    let mut flags = command.get_arguments();
    flags.any(|flag| flag.get_id() == "admin_address")
}

/// Whether the command is to write JSON, and say in JSON why it failed.
pub(crate) fn wants_json(mut matches: &ArgMatches) -> bool {
    while let Some((_, command)) = matches.subcommand() {
        matches = command;
    }
    let flag = matches.try_get_one::<bool>("json");
    flag.ok().flatten().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::{Cli, parse};

    fn status(line: &[&str]) -> String {
        let (cli, _): (Cli, _) = parse(line).expect("it is right");
        format!("{:?}", cli.command)
    }

    #[test]
    fn flags_about_the_node_stand_before_and_after_the_command() {
        let after = status(&[
            "route-grpc",
            "status",
            "1",
            "--json",
            "--timeout=1s",
            "--address=node:1",
        ]);
        let before = status(&[
            "route-grpc",
            "--json",
            "--timeout=1s",
            "--address=node:1",
            "status",
            "1",
        ]);

        assert_eq!(before, after);
        assert!(
            after.contains("json: true") && after.contains("timeout: 1s"),
            "{after}"
        );
        assert!(after.contains("address: \"node:1\""), "{after}");
        let unset = status(&["route-grpc", "status", "1"]);
        assert!(
            unset.contains("json: false") && unset.contains("timeout: 5s"),
            "{unset}"
        );
        let nested = status(&[
            "route-grpc",
            "--timeout=1s",
            "publish",
            "signature",
            "--user=1",
            "--text=x",
        ]);
        assert!(nested.contains("timeout: 1s"), "{nested}");
    }

    #[test]
    fn the_one_that_is_given_to_the_command_counts() {
        let both = status(&["route-grpc", "--timeout=1s", "status", "1", "--timeout=2s"]);

        assert!(both.contains("timeout: 2s"), "{both}");
    }

    #[test]
    fn what_the_command_does_not_have_is_refused() {
        for line in [
            &["route-grpc", "--json", "serve"][..],
            &["route-grpc", "--admin-address=x:1", "status", "1"],
            &["route-grpc", "--address=x:1", "links"],
            // A node has a flag of this name, for its own certificate.
            &["route-grpc", "--tls-cert=x", "serve"],
        ] {
            let refused = parse(line).expect_err("it means nothing");
            assert!(refused.to_string().contains("means nothing"), "{refused}");
        }
    }
}
