//! Settings that cannot be meant are refused, and those that can are taken.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use route_runtime::environment::NAMES;
use system_tests::deployment::process::{Surroundings, binary};
use system_tests::deployment::{ports, start_gateway};

use crate::says;

/// What clap, and every shell, says of a wrong command line.
const WRONG_USAGE: i32 = 2;
/// Ends the process right after its flags have been read: nobody has this address.
const NOWHERE: [&str; 2] = ["--listen=192.0.2.1:9", "--probe-listen=192.0.2.1:9"];

/// Flags for which 0 means something: not at all, or at once.
const ZERO_MEANS_SOMETHING: [&str; 10] = [
    "--departed-wait",
    "--routed-bytes",
    "--cold-start-wait",
    "--newcomer-wait",
    "--call-wait",
    "--id-in-use-wait",
    "--seat-hold",
    "--drain-window",
    "--upstream-drain-wait",
    "--token-leeway",
];

/// Values of the gateway, of a node anywhere, and of one on its own that do not fit the others.
const GATEWAY: [&str; 6] = [
    "--memory-limit=335MiB",
    "--host-timeout=5s",
    "--max-pdu-bytes=15",
    "--link-queue-bytes=1MiB",
    "--window-total-bytes=1MiB",
    "--window-bytes=4MiB",
];
const NODE: [&str; 14] = [
    "--tls-cert=tls.crt",
    "--token-keys=jwks.json",
    "--policy-mode=audit",
    "--token-leeway=11m",
    "--gateway-given-up=1s",
    "--max-gateways=1025",
    "--unfinished-bytes=16MiB",
    "--gateway-queue-bytes=1MiB",
    "--seat-bytes=1MiB",
    "--cold-start-bytes=1MiB",
    "--patient-bytes=129MiB",
    "--gateway-silence=999ms",
    "--grpc-keepalive-interval=999ms",
    "--grpc-stream-bytes=1KiB",
];
const SERVE: [&str; 4] = [
    "--drain-window=25s",
    "--memory-limit=479MiB",
    "--engine=nats",
    "--advertise-api=http://node-0:50051",
];

#[test]
fn flags_that_cannot_be_meant_are_refused_by_their_name() {
    for (name, mode, unlike) in [
        ("pdu-gateway", "--embedded", &GATEWAY[..]),
        ("route-grpc", "serve", &SERVE),
    ] {
        for flag in unlike.iter().chain(&NODE) {
            assert_refused(&run(name, &[mode, flag], &[]), flag);
        }
        let zeros = zeros(&run(name, &[mode, "--help"], &[]));
        assert!(zeros.len() > 15, "{zeros:?}");
        for flag in zeros {
            assert_refused(&run(name, &[mode, &flag], &[]), &flag);
        }
    }
    for (name, mode) in [("pdu-gateway", "--embedded"), ("route-grpc", "serve")] {
        for filter in ["--log-filter=route=loud", "--log-filter=inof"] {
            let output = run(name, &[mode, filter], &[]);
            assert_refused(&output, filter);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("level"), "the reason is missing: {said}");
        }
    }
    for (name, mode, variable) in [
        ("pdu-gateway", "--embedded", "TT_GATEWAY_LOG_FILTER"),
        ("route-grpc", "serve", "TT_ROUTE_LOG_FILTER"),
    ] {
        let output = run(name, &[mode], &[(variable, "inof")]);
        assert_refused(&output, "inof");
    }
    let output = run("route-grpc", &["status", "--timeout=0s", "1"], &[]);
    assert_refused(&output, "--timeout=0s");
}

#[test]
fn zero_is_taken_where_it_means_something() {
    let flags = [
        "serve",
        "--cold-start-wait=0s",
        "--newcomer-wait=0s",
        "--call-wait=0s",
        "--id-in-use-wait=0s",
        "--seat-hold=0s",
        "--drain-window=0s",
        NOWHERE[0],
        NOWHERE[1],
    ];

    assert_accepted(&run("route-grpc", &flags, &[]));
}

#[test]
fn switches_in_the_environment_can_be_off() {
    let upstream = ["--upstream=http://127.0.0.1:1", NOWHERE[0], NOWHERE[1]];
    for off in ["false", "0", "no", "off"] {
        let off = [("TT_GATEWAY_EMBEDDED", off), ("TT_GATEWAY_LENIENT", off)];

        assert_refused(&run("pdu-gateway", &NOWHERE, &off), "--embedded");
        assert_accepted(&run("pdu-gateway", &upstream, &off));
    }
    for on in ["true", "1", "yes", "on"] {
        let on = [("TT_GATEWAY_EMBEDDED", on), ("TT_GATEWAY_LENIENT", on)];

        assert_accepted(&run("pdu-gateway", &NOWHERE, &on));
        assert_refused(&run("pdu-gateway", &upstream, &on), "--embedded");
    }
    for (name, flag) in [
        ("TT_GATEWAY_EMBEDDED", "--embedded"),
        ("TT_GATEWAY_LENIENT", "--lenient"),
    ] {
        assert_refused(&run("pdu-gateway", &NOWHERE, &[(name, "perhaps")]), flag);
    }
}

#[test]
fn who_may_open_too_few_files_says_so_before_it_opens_any() {
    for (name, mode) in [("pdu-gateway", "--embedded"), ("route-grpc", "serve")] {
        for files in ["7", "8", "9", "40"] {
            let binary = binary(name).expect("it is built");
            let limited = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
            let mut command = Command::new("sh");
            command
                .args(["-c", &limited])
                .arg(binary)
                .arg(mode)
                .args(NOWHERE);
            let output = command.output().expect("it runs");

            let said = String::from_utf8_lossy(&output.stdout);
            let why = format!("this process may open {files} files, and needs");
            assert!(said.contains(&why), "{name} with {files}: {said}");
            assert_eq!(output.status.code(), Some(1), "{name} with {files}");
        }
    }
}

/// In the log, where operators look; and where nothing is logged, on standard error.
#[test]
fn who_cannot_listen_says_by_which_flag() {
    let tcp = "192.0.2.1:9: Cannot assign";
    let unix = "unix:/dev/null/x: Not a directory";
    for (name, mode, flag, address) in [
        ("pdu-gateway", "--embedded", "--listen", tcp),
        ("pdu-gateway", "--embedded", "--probe-listen", tcp),
        ("pdu-gateway", "--embedded", "--grpc-listen", tcp),
        ("pdu-gateway", "--embedded", "--admin-grpc-listen", unix),
        ("route-grpc", "serve", "--listen", tcp),
        ("route-grpc", "serve", "--probe-listen", tcp),
        ("route-grpc", "serve", "--attach-listen", tcp),
        ("route-grpc", "serve", "--health-listen", tcp),
        ("route-grpc", "serve", "--admin-grpc-listen", unix),
    ] {
        let (given, _) = address.split_once(": ").expect("an address and a reason");
        let insecure = "--insecure".to_owned();
        let mut flags = vec![mode.to_owned(), insecure, format!("{flag}={given}")];
        let free = ports::free::<3>().expect("free ports");
        for (other, port) in ["--listen", "--probe-listen", "--grpc-listen"]
            .iter()
            .zip(free)
        {
            let is_there = name == "pdu-gateway" || *other != "--grpc-listen";
            if is_there && *other != flag {
                flags.push(format!("{other}={port}"));
            }
        }
        for filter in ["info", "off"] {
            let filter = format!("--log-filter={filter}");
            let flags: Vec<_> = flags.iter().chain([&filter]).map(String::as_str).collect();
            let output = run(name, &flags, &[]);
            let (out, err) = (&output.stdout, &output.stderr);
            let said = [out, err].map(|it| String::from_utf8_lossy(it)).concat();
            let expected = format!("{flag}: cannot listen on {address}");
            assert_eq!(said.matches(&expected).count(), 1, "{flags:?}: {said}");
            assert_eq!(output.status.code(), Some(1), "{flags:?}");
        }
    }
}

#[tokio::test]
async fn flags_of_a_node_are_not_for_a_gateway_without_one() {
    let upstream = "--upstream=http://127.0.0.1:1";
    for flag in [
        "--fan-out=broadcast",
        "--detach-grace=20s",
        "--grpc-listen=127.0.0.1:1",
    ] {
        let with = |mode| run("pdu-gateway", &[mode, flag, NOWHERE[0], NOWHERE[1]], &[]);

        assert_refused(&with(upstream), flag);
        assert_accepted(&with("--embedded"));
    }

    // The environment may be one for both processes.
    let variables = vec![("TT_ROUTE_FAN_OUT", "broadcast".to_owned())];
    let surroundings = Surroundings::with(variables);
    let [pdu, probes] = ports::free().expect("free ports");
    let gateway = start_gateway(&surroundings, pdu, probes, &[upstream.to_owned()]);
    let gateway = gateway.expect("a built gateway");
    says(&gateway, "TT_ROUTE_FAN_OUT").await;
    says(&gateway, "gateway starts").await;
}

/// Those of which mistyped ones are told apart are those of the flags.
#[test]
fn names_in_the_environment_are_those_of_flags() {
    let help = |name: &str, command: &str| {
        let arguments = [command, "--help"];
        let arguments = arguments.iter().filter(|it| !it.is_empty()).copied();
        let shown = run(name, &arguments.collect::<Vec<_>>(), &[]).stdout;
        String::from_utf8(shown).expect("a text")
    };
    let commands = help("route-grpc", "");
    let commands = commands.lines().filter_map(|it| it.strip_prefix("  "));
    let commands = commands.filter(|it| it.starts_with(|it: char| it.is_ascii_lowercase()));
    let commands = commands.filter_map(|it| it.split_whitespace().next());
    let mut helps = vec![help("pdu-gateway", "")];
    helps.extend(commands.map(|it| help("route-grpc", it)));
    assert!(helps.len() > 10, "{helps:?}");

    let words = helps.iter().flat_map(|it| it.split([' ', '\n', '=', ']']));
    let found: BTreeSet<_> = words.filter(|it| it.starts_with("TT_")).collect();

    assert_eq!(found, BTreeSet::from(NAMES));
}

fn run(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary(name).expect("a built binary"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TT_")) {
        command.env_remove(name);
    }
    let output = command
        .args(arguments)
        .envs(environment.iter().copied())
        .output();
    output.expect("the binary runs")
}

/// Every flag with a number of which this help tells, set to 0, but those for which 0 means something.
fn zeros(help: &Output) -> Vec<String> {
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let flags = help.lines().filter_map(|line| line.trim().split_once(" <"));
    let zeros = flags.filter_map(|(flag, kind)| match kind.split_once('>')?.0 {
        "TIME" => Some((flag, "0s")),
        "BYTES" | "COUNT" => Some((flag, "0")),
        _ => None,
    });
    let refused = zeros.filter(|(flag, _)| !ZERO_MEANS_SOMETHING.contains(flag));
    refused
        .map(|(flag, zero)| format!("{flag}={zero}"))
        .collect()
}

fn assert_refused(output: &Output, flag: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(WRONG_USAGE), "{flag}: {said}");
    let name = flag.split('=').next().unwrap_or(flag);
    assert!(said.contains(name), "{name} is not named: {said}");
}

/// The flags are taken; it is the address that is not.
fn assert_accepted(output: &Output) {
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("192.0.2.1:9"), "{said}");
}
