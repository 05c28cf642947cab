//! What operators meet: settings that cannot be meant, and ends that are in order.

use std::process::{Command, Output};
use std::time::Duration;

use system_tests::deployment::process::{Process, Surroundings, binary};
use system_tests::deployment::{Deployment, FanOut, Setup, ports};
use system_tests::player::connection::{Connection, Options};
use system_tests::player::messages::{self, Client, Status};
use system_tests::player::stage::BARRIER_LIMIT;
use tokio::sync::watch;

/// What clap, and every shell, says of a wrong command line.
const WRONG_USAGE: i32 = 2;
/// No end takes that long unless something is broken, and less than the drain deadlines.
const SOON: Duration = Duration::from_secs(15);
/// Ends the process right after its flags have been read: nobody has this address.
const NOWHERE: [&str; 2] = ["--listen=192.0.2.1:9", "--admin-listen=192.0.2.1:9"];

#[test]
fn flags_that_cannot_be_meant_are_refused_by_their_name() {
    let gateway: &[&[&str]] = &[
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
    let node: &[&[&str]] = &[
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
    let serve: &[&[&str]] = &[
        &["--worker-threads=0"],
        &["--shutdown-deadline=0s"],
        &["--drain-window=25s"],
    ];

    for flags in gateway.iter().chain(node) {
        let output = run("pdu-gateway", &[&["--embedded"], *flags].concat(), &[]);
        assert_refused(&output, flags[0]);
    }
    for flags in serve.iter().chain(node) {
        let output = run("route-grpc", &[&["serve"], *flags].concat(), &[]);
        assert_refused(&output, flags[0]);
    }
    for (name, mode) in [("pdu-gateway", "--embedded"), ("route-grpc", "serve")] {
        let output = run(name, &[mode, "--log-filter=route=loud"], &[]);
        assert_refused(&output, "--log-filter=route=loud");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("level"), "the reason is missing: {said}");
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
    let surroundings = Surroundings {
        variables,
        ..Surroundings::default()
    };
    let [pdu, admin] = ports::free().expect("free ports");
    let flags = [
        upstream.to_owned(),
        format!("--listen={pdu}"),
        format!("--admin-listen={admin}"),
    ];
    let gateway = Process::start_in(&surroundings, "pdu-gateway", &flags).expect("a built gateway");
    says(&gateway, "TT_ROUTE_FAN_OUT").await;
    says(&gateway, "gateway starts").await;
}

/// A gateway that ends while its node goes on, and a node that ends before its gateway: nobody has to look.
#[tokio::test]
async fn an_orderly_stop_warns_nobody() {
    for order in [[0, 1], [1, 0]] {
        let servers = Deployment::start(Setup::TwoProcesses, FanOut::Directed).await;
        let servers = servers.expect("ready servers");
        let msg_server = msg_server(&servers).await;
        msg_server.barrier(BARRIER_LIMIT).await;

        // A gateway that starts before its node says so.
        let before = loud(&servers.output());
        for number in order {
            assert_ends_well(&servers.processes()[number]).await;
        }

        let output = servers.output();
        assert_eq!(loud(&output), before, "{output}");
    }
}

/// The node is gone for good, and the gateway holds nothing that only a node could save.
#[tokio::test]
async fn a_gateway_does_not_wait_for_a_node_that_is_gone() {
    let servers = Deployment::start(Setup::TwoProcesses, FanOut::Directed).await;
    let servers = servers.expect("ready servers");
    let msg_server = msg_server(&servers).await;
    msg_server.barrier(BARRIER_LIMIT).await;
    let [gateway, node] = servers.processes() else {
        panic!("two processes");
    };

    node.kill();
    assert_ends_well(gateway).await;

    assert!(
        msg_server.closes(BARRIER_LIMIT).await,
        "its connection ends"
    );
}

/// What a follower shows is for programs; that nothing comes for a while, a person has to be told.
#[tokio::test]
async fn a_follower_says_that_the_node_is_away_and_that_it_is_back() {
    for command in ["subscribe", "watch"] {
        let [grpc, admin] = ports::free().expect("free ports");
        let node = || {
            let flags = [
                "serve".to_owned(),
                format!("--listen={grpc}"),
                format!("--admin-listen={admin}"),
                "--cold-start-wait=0s".to_owned(),
            ];
            Process::start("route-grpc", &flags).expect("a built node")
        };
        let first = node();
        says(&first, "node started").await;
        let address = format!("--address=http://{grpc}");
        let flags = [command.to_owned(), "--json".to_owned(), address];
        let follower = Process::start("route-grpc", &flags).expect("a built node");
        says(&follower, "position").await;

        first.kill();
        says(&follower, "the node is away").await;
        let _second = node();
        says(&follower, "the node is back").await;

        let output = follower.to_string();
        assert_eq!(output.matches("is away").count(), 1, "{output}");
    }
}

async fn says(process: &Process, text: &str) {
    let said = async {
        while !process.has_said(text) {
            // Its output is another thread's.
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(SOON, said).await;
    assert!(in_time.is_ok(), "not said: {text}\n{process}");
}

/// Lines that somebody has to look at.
fn loud(output: &str) -> usize {
    let loud = |line: &&str| line.contains("\"WARN\"") || line.contains("\"ERROR\"");
    output.lines().filter(loud).count()
}

async fn msg_server(servers: &Deployment) -> Connection {
    let address = servers.pdu_address();
    let connection = Connection::open(address, Options::default(), watch::Sender::new(())).await;
    let connection = connection.expect("the server accepts");
    let list = messages::list(&[(1, Status::Online, Client::Windows)]);
    connection
        .write(&list.encode())
        .await
        .expect("an open connection");
    connection
}

async fn assert_ends_well(process: &Process) {
    process.terminate();
    let end = process.ended(SOON).await;
    assert_eq!(
        end.and_then(|end| end.code()),
        Some(0),
        "{end:?}: {process}"
    );
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
