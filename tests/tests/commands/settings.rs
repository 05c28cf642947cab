//! Settings that cannot be meant are refused, and those that can are taken.

use std::process::{Command, Output};

use system_tests::deployment::process::{Surroundings, binary};
use system_tests::deployment::{ports, start_gateway};

use crate::says;

/// What clap, and every shell, says of a wrong command line.
const WRONG_USAGE: i32 = 2;
/// Ends the process right after its flags have been read: nobody has this address.
const NOWHERE: [&str; 2] = ["--listen=192.0.2.1:9", "--admin-listen=192.0.2.1:9"];

/// Of a gateway.
const GATEWAY: &[&[&str]] = &[
    &["--max-connections=0"],
    &["--max-connections-per-source=0"],
    &["--worker-threads=0"],
    &["--max-pdu-bytes=0"],
    &["--link-queue-bytes=0"],
    &["--window-bytes=0"],
    &["--window-total-bytes=0"],
    &["--upstream-lost=0s"],
    &["--drain-deadline=0s"],
    &["--idle-timeout=0s"],
    &["--heartbeat-interval=0s"],
    &["--write-timeout=0s"],
    &["--first-pdu-timeout=0s"],
    &["--kick-age=0s"],
    &["--host-timeout=0s"],
    &["--host-timeout=5s"],
    &["--close-timeout=0s"],
    &["--query-timeout=0s"],
    &["--remembered-origins=0"],
    &["--upstream-back-off=0s"],
    &["--upstream-connect-timeout=0s"],
    &["--upstream-welcome-timeout=0s"],
    &["--upstream-keepalive-interval=0s"],
    &["--upstream-keepalive-timeout=0s"],
    &["--upstream-stream-bytes=0"],
    &["--max-pdu-bytes=15"],
    &["--link-queue-bytes=1MiB"],
    &["--window-total-bytes=1MiB"],
    &["--window-bytes=4MiB"],
];
/// Of a node, also of one that is embedded.
const NODE: &[&[&str]] = &[
    &["--max-grpc-connections=0"],
    &["--max-streams=0"],
    &["--max-stream-age=0s"],
    &["--detach-grace=0s"],
    &["--gateway-queue-bytes=0"],
    &["--gateway-queue-bytes=1MiB"],
    &["--seat-bytes=0"],
    &["--seat-bytes=1MiB"],
    &["--cold-start-bytes=0"],
    &["--cold-start-bytes=1MiB"],
    &["--patient-bytes=0"],
    &["--patient-bytes=129MiB"],
    &["--gateway-silence=0s"],
    &["--gateway-silence=999ms"],
    &["--grpc-keepalive-interval=0s"],
    &["--grpc-keepalive-interval=999ms"],
    &["--grpc-keepalive-timeout=0s"],
    &["--grpc-stream-bytes=0"],
    &["--grpc-stream-bytes=1KiB"],
    &["--pdu-limit=0"],
    &["--log-events=0"],
    &["--log-bytes=0"],
];
/// Of a node with a process of its own.
const SERVE: &[&[&str]] = &[
    &["--worker-threads=0"],
    &["--shutdown-deadline=0s"],
    &["--drain-window=25s"],
];

#[test]
fn flags_that_cannot_be_meant_are_refused_by_their_name() {
    for flags in GATEWAY.iter().chain(NODE) {
        let output = run("pdu-gateway", &[&["--embedded"], *flags].concat(), &[]);
        assert_refused(&output, flags[0]);
    }
    for flags in SERVE.iter().chain(NODE) {
        let output = run("route-grpc", &[&["serve"], *flags].concat(), &[]);
        assert_refused(&output, flags[0]);
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
    let [pdu, admin] = ports::free().expect("free ports");
    let gateway = start_gateway(&surroundings, pdu, admin, &[upstream.to_owned()]);
    let gateway = gateway.expect("a built gateway");
    says(&gateway, "TT_ROUTE_FAN_OUT").await;
    says(&gateway, "gateway starts").await;
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
