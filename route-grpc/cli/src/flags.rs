//! Which flag somebody has typed wrongly, when the node names a field of its API.

use clap::{Arg, ArgMatches, Command};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::failure::Failure;

/// Fields of the API that have another name on the command line.
const ALIASES: [(&str, &str); 6] = [
    ("origin_link", "from"),
    ("duration", "for_long"),
    ("max_age", "since"),
    ("stream", "close"),
    ("user_ids", "users"),
    ("user_ids", "to_users"),
];

/// What fields have at their ends and flags have not.
const ENDS: [&str; 4] = ["_user_id", "_id", "_ids", "_duration"];

/// Names the flags, if it is these that the node refuses.
pub(crate) fn named(failure: Failure, mut cli: Command, matches: &ArgMatches) -> Failure {
    let Failure::Refused(status) = failure else {
        return failure;
    };
    // Only then flags know how they are shown.
    cli.build();
    match told(&status, &cli, matches) {
        Some(told) => Failure::WrongFlag { told, status },
        None => Failure::Refused(status),
    }
}

/// None unless each field belongs to a flag.
fn told(status: &Status, cli: &Command, matches: &ArgMatches) -> Option<String> {
    let details = status.get_error_details();
    let fields = &details.bad_request()?.field_violations;
    if status.code() != Code::InvalidArgument || fields.is_empty() {
        return None;
    }
    let commands = path(cli, matches);
    let told = fields.iter().map(|it| {
        let arg = commands
            .iter()
            .rev()
            .find_map(|it_has| arg(it_has, &it.field))?;
        Some(format!("{arg}: {}", it.description))
    });
    Some(told.collect::<Option<Vec<_>>>()?.join("; "))
}

/// The command, and those that it belongs to before it.
fn path<'a>(cli: &'a Command, mut matches: &ArgMatches) -> Vec<&'a Command> {
    let mut commands = vec![cli];
    while let Some((name, below)) = matches.subcommand()
        && let Some(command) = commands.last().and_then(|it| it.find_subcommand(name))
    {
        commands.push(command);
        matches = below;
    }
    commands
}

/// The flag for this field, which may be one of a list or in another message.
fn arg<'a>(command: &'a Command, field: &str) -> Option<&'a Arg> {
    let field = field.rsplit('.').next()?.split('[').next()?;
    let aliases = ALIASES.iter().filter(|(it, _)| *it == field);
    let shorter = ENDS.iter().filter_map(|end| field.strip_suffix(end));
    let names = [field]
        .into_iter()
        .chain(shorter)
        .chain(aliases.map(|it| it.1));
    let mut found = names.filter_map(|name| command.get_arguments().find(|it| it.get_id() == name));
    found.next()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use tonic_types::ErrorDetails;

    use super::*;
    use crate::{Cli, parse};

    /// What is said of this line, of which the node refuses this field.
    fn said(line: &[&str], field: &str) -> (String, u8) {
        let (_, matches) = parse(line).expect("it is right");
        let details = ErrorDetails::with_bad_request_violation(field, "is wrong");
        let message = format!("{field}: is wrong");
        let status = Status::with_error_details(Code::InvalidArgument, message, details);
        let failure = named(Failure::from(status), Cli::command(), &matches);
        (failure.to_string(), failure.exit_code())
    }

    #[test]
    fn a_field_is_called_as_it_was_typed() {
        let envelope = ["route-grpc", "explain", "envelope", "message", "1"];
        let chat = [
            "route-grpc",
            "publish",
            "chat",
            "--from=0",
            "--to=1",
            "--message-id=1",
            "--text=x",
        ];
        for (line, field, flag) in [
            (&["route-grpc", "drain", "a"][..], "slot", "--slot <TIME>"),
            (
                &["route-grpc", "kick", "1"],
                "wait_duration",
                "--wait <TIME>",
            ),
            (&["route-grpc", "log-filter"], "duration", "--for <TIME>"),
            (
                &["route-grpc", "streams", "--close=x"],
                "stream",
                "--close <ID>",
            ),
            (&["route-grpc", "status", "1"], "user_ids[0]", "<USER>..."),
            (&envelope, "origin_link", "--from <LINK>"),
            (&envelope, "user_ids[0]", "[USER]..."),
            (&chat, "event.chat_message.from_user_id", "--from <FROM>"),
            (&chat, "audience.user_ids[3]", "--to-users <USER>"),
        ] {
            assert_eq!(
                said(line, field),
                (format!("{flag}: is wrong"), 2),
                "{field}"
            );
        }
    }

    #[test]
    fn a_field_without_a_flag_is_called_as_the_api_does() {
        let unknown = said(&["route-grpc", "publish", "event", "-"], "event.kick.user");

        let as_the_api = "InvalidArgument: event.kick.user: is wrong";
        assert_eq!(unknown, (as_the_api.to_owned(), 1));
    }
}
