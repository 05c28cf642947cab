//! Ends that are in order.

use bytes::Bytes;
use system_tests::deployment::process::{Process, Surroundings};
use system_tests::deployment::{Deployment, FanOut, Setup, start_node};
use system_tests::player::connection::{Connection, Ending, Options};
use system_tests::player::messages;
use system_tests::player::pdu::command;

use crate::SOON;

/// A gateway that ends while its node goes on, and a node that ends before its gateway: nobody has
/// to look.
#[tokio::test]
async fn an_orderly_stop_warns_nobody() {
    for order in [[0, 1], [1, 0]] {
        let servers = Deployment::start(Setup::TwoProcesses, FanOut::Directed).await;
        let _msg_server = msg_server(&servers).await;

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
    let msg_server = msg_server(&servers).await;
    let [gateway, node] = servers.processes() else {
        panic!("two processes");
    };

    node.kill();
    assert_ends_well(gateway).await;

    assert!(msg_server.closes(SOON).await, "its connection ends");
}

/// MsgServers are disconnected one after the other. Of those that are gone, the others are told nothing, and neither is
/// who watches: all of them will be back.
#[tokio::test]
async fn a_stop_of_everything_tells_nobody_anything() {
    let servers = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    let connect = async |last, user| {
        let (address, list) = (servers.pdu_address(), messages::online(&[user]));
        let connection =
            Connection::of_msg_server(address, Options::from_loopback(last), true, &list);
        connection.await.expect("the server accepts")
    };
    let mut one = connect(1, 1).await;
    let other = connect(2, 2).await;
    let address = format!("--address=http://{}", servers.grpc_address());
    let watch = ["watch", "1", "--json", &address].map(str::to_owned);
    let watch = Process::start("route-grpc", &watch).expect("a built client");
    assert!(watch.says("ONLINE", SOON).await, "{watch}");
    assert!(other.barrier(SOON).await);
    other.forget();

    servers.processes()[0].terminate();
    assert!(one.closes(SOON).await && !other.is_closed());
    one.close(Ending::Fin).await;
    assert!(other.closes(SOON).await);

    assert_eq!(other.received(), Vec::<Bytes>::new());
    assert!(servers.processes()[0].ended(SOON).await.is_some());
    assert!(!watch.has_said("OFFLINE"), "{watch}");
    assert_eq!(loud(&servers.output()), 0, "{}", servers.output());
}

/// A MsgServer with two connections goes on with the second one while everything is stopped, and nobody waits for what its
/// first one might have given back.
#[tokio::test]
async fn a_second_connection_is_of_use_while_everything_stops() {
    let window = ["--close-window=9s"];
    let servers = Deployment::start_with(Setup::Embedded, FanOut::Directed, &window).await;
    let connect = async |last, claims, user| {
        let (address, list) = (servers.pdu_address(), messages::online(&[user]));
        let from = Options::from_loopback(last);
        let connection = Connection::of_msg_server(address, from, claims, &list);
        connection.await.expect("the server accepts")
    };
    let mut first = connect(1, true, 1).await;
    let second = connect(1, false, 1).await;
    let other = connect(2, true, 2).await;

    servers.processes()[0].terminate();
    assert!(first.closes(SOON).await && !second.is_closed());
    first.close(Ending::Fin).await;
    let claim = messages::role(1).encode();
    second.write(&claim).await.expect("it is open");
    assert!(second.barrier(SOON).await);
    let message = messages::message(2, 1, 7, 1, "still here").encode();
    other.write(&message).await.expect("it is open");

    let comes = second.comes(command::MESSAGE, SOON).await;
    assert_eq!(comes.as_deref(), Some(&message[..]));
    assert!(second.closes(SOON).await && other.closes(SOON).await);
    drop((second, other));
    assert!(servers.processes()[0].ended(SOON).await.is_some());
    assert_eq!(loud(&servers.output()), 0, "{}", servers.output());
}

/// What a link was when it ends, that the node is gone, and with how much a gateway comes to the next one.
#[tokio::test]
async fn ends_are_told_in_plain_words() {
    let servers = Deployment::start(Setup::TwoProcesses, FanOut::Directed).await;
    let [gateway, node] = servers.processes() else {
        panic!("two processes");
    };
    assert!(
        !node.has_said("another node before"),
        "there was none: {node}"
    );
    let connect = async |last, users: &[u32]| {
        let (address, list) = (servers.pdu_address(), messages::online(users));
        let connection =
            Connection::of_msg_server(address, Options::from_loopback(last), true, &list);
        connection.await.expect("the server accepts")
    };
    let mut one = connect(1, &[1, 2]).await;
    let _other = connect(2, &[3]).await;

    node.kill();
    let told = "the node is gone: the connection broke";
    let refused = "cannot connect";
    assert!(
        gateway.says(told, SOON).await || gateway.has_said(refused),
        "{gateway}"
    );
    assert!(!gateway.has_said("h2 protocol error"), "{gateway}");

    let (grpc, probes) = (servers.grpc_address(), servers.probes()[1]);
    let grace = ["--detach-grace=1s".to_owned()];
    let next = start_node(&Surroundings::default(), grpc, probes, &grace).expect("a built node");
    let told = "\"links\":2,";
    assert!(next.says("gateway attached", SOON).await, "{next}");
    let lines = next.to_string();
    let attached = lines.lines().find(|line| line.contains("gateway attached"));
    assert!(attached.is_some_and(|line| line.contains(told)), "{lines}");

    one.close(Ending::Fin).await;
    let told = "\"claimed\":true,\"sessions\":2,";
    assert!(gateway.says(told, SOON).await, "{gateway}");

    gateway.kill();
    assert!(next.says("its connection was closed", SOON).await, "{next}");
    assert!(next.says("gateway lost", SOON).await, "{next}");
    assert!(next.has_said("\"given_up\":0,\"not_handed\":0,"), "{next}");
}

/// SIGHUP is no stop.
#[tokio::test]
async fn a_hang_up_changes_nothing() {
    let servers = Deployment::start(Setup::TwoProcesses, FanOut::Directed).await;
    let msg_server = msg_server(&servers).await;

    for process in servers.processes() {
        for _ in 0..3 {
            process.hang_up();
        }
        assert!(process.says("SIGHUP", SOON).await, "{process}");
    }

    assert!(msg_server.barrier(SOON).await, "its connection lives");
    for process in servers.processes() {
        assert_ends_well(process).await;
    }
}

/// Lines that somebody has to look at.
fn loud(output: &str) -> usize {
    let loud = |line: &&str| line.contains("\"WARN\"") || line.contains("\"ERROR\"");
    output.lines().filter(loud).count()
}

/// One that holds a user.
async fn msg_server(servers: &Deployment) -> Connection {
    let (address, list) = (servers.pdu_address(), messages::online(&[1]));
    let connection = Connection::of_msg_server(address, Options::default(), false, &list);
    connection.await.expect("the server accepts")
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
