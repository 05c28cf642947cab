//! What is lost is in the log, with the MsgServer and the connection.

use system_tests::deployment::{Deployment, FanOut, Setup};
use system_tests::player::connection::{Connection, Ending, Options};
use system_tests::player::messages;

use crate::{SOON, line, says};

async fn connect(servers: &Deployment, last: u8, claims: bool, users: &[u32]) -> Connection {
    let (address, list) = (servers.pdu_address(), messages::online(users));
    let options = Options::from_loopback(last);
    let connection = Connection::of_msg_server(address, options, claims, &list);
    connection.await.expect("the server accepts")
}

/// A MsgServer ends, and its users are nowhere else.
#[tokio::test]
async fn a_node_says_what_a_seat_loses() {
    let servers = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    let sender = connect(&servers, 1, true, &[1]).await;
    let mut primary = connect(&servers, 2, true, &[2, 3]).await;
    let mut other = connect(&servers, 2, false, &[2, 3]).await;

    primary.close(Ending::Fin).await;
    says(&servers.processes()[0], "link leaves_seat").await;
    let message = messages::message(1, 2, 1, 1, "hello").encode();
    sender.write(&message).await.expect("it is open");
    assert!(sender.barrier(SOON).await);
    other.close(Ending::Fin).await;

    says(&servers.processes()[0], "deliveries lost").await;
    let line = line(&servers.output(), "deliveries lost");
    for told in [
        "\"WARN\"",
        "\"msg_server\":\"127.0.0.2\"",
        "\"peer\":\"127.0.0.2:",
        "\"sessions\":2",
        "\"deliveries\":1",
        "\"reason\":\"seat_ends\"",
        "\"left_out\":0",
    ] {
        assert!(line.contains(told), "{told} is not in {line}");
    }
}

/// No node is there when a gateway stops, and it waits for none.
#[tokio::test]
async fn a_gateway_says_what_its_stop_loses() {
    let flags = ["--upstream-drain-wait=0s"];
    let servers = Deployment::start_with(Setup::TwoProcesses, FanOut::Directed, &flags).await;
    let [gateway, node] = servers.processes() else {
        panic!("two processes");
    };
    let sender = connect(&servers, 1, true, &[1, 2]).await;
    node.kill();
    says(gateway, "detached; MsgServers stay connected").await;
    for number in 1..4 {
        let message = messages::message(1, 7, number, 1, "hello").encode();
        sender.write(&message).await.expect("it is open");
    }

    gateway.terminate();
    assert!(gateway.ended(SOON).await.is_some());

    let line = line(
        &gateway.to_string(),
        "\"what a MsgServer did last is lost\"",
    );
    for told in [
        "\"WARN\"",
        "\"peer\":\"127.0.0.1:",
        "\"claimed\":true",
        "\"sessions\":2",
        "\"entries\":3",
    ] {
        assert!(line.contains(told), "{told} is not in {line}");
    }
}

/// A MsgServer that is back before the end of its old connection is known.
#[tokio::test]
async fn a_gateway_says_why_a_connection_has_to_end() {
    let servers = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    let first = connect(&servers, 1, true, &[1, 2]).await;
    let second = connect(&servers, 1, true, &[1, 2]).await;
    assert!(second.barrier(SOON).await);
    let third = connect(&servers, 1, false, &[1, 2]).await;
    let role = messages::role(1).encode();
    third.write(&role).await.expect("it is open");

    let told = "another connection of its MsgServer has taken its place";
    says(&servers.processes()[0], told).await;
    assert!(first.closes(SOON).await || second.closes(SOON).await);
    let ends = servers.output();
    let ends = ends.lines().filter(|line| line.contains(told));
    assert_eq!(ends.count(), 1, "one line a minute");
}
