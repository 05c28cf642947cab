//! What a node and its gateways say of each other when they come, stay away and go.

use serde_json::Value as Json;
use system_tests::deployment::process::{Process, Surroundings};
use system_tests::deployment::{
    Deployment, FanOut, Flags, Setup, ports, probes, ready, start_gateway, start_node,
};
use system_tests::player::connection::{Connection, Options};
use system_tests::player::messages;
use system_tests::player::pdu::{command, command_of};
use tokio::time::{Instant, sleep};

use crate::{SOON, line, says};

/// A node with these flags, and its first gateway, which is called `one`.
async fn site(node: &[&str]) -> Deployment {
    let flags = Flags {
        gateway: &["--gateway-id=one"],
        node,
        ..Flags::default()
    };
    let (surroundings, fan_out) = (Surroundings::default(), FanOut::Directed);
    Deployment::start_as(&surroundings, Setup::TwoProcesses, fan_out, flags).await
}

/// One more gateway of this site, and where MsgServers reach it. It may not be ready.
fn gateway(servers: &Deployment, id: &str) -> (Process, [std::net::SocketAddr; 2]) {
    let [pdu, probes] = ports::free().expect("free ports");
    let flags = [
        format!("--upstream=http://{}", servers.grpc_address()),
        format!("--gateway-id={id}"),
    ];
    let gateway = start_gateway(&Surroundings::default(), pdu, probes, &flags);
    (gateway.expect("a built gateway"), [pdu, probes])
}

async fn connect(address: std::net::SocketAddr, last: u8, user: u32) -> Connection {
    let list = messages::online(&[user]);
    let connection = Connection::of_msg_server(address, Options::from_loopback(last), true, &list);
    connection.await.expect("the server accepts")
}

/// Both processes say which gateway that is, and where the other one is.
#[tokio::test]
async fn an_id_that_two_have_is_said_with_both_addresses() {
    let servers = site(&["--id-in-use-wait=100ms"]).await;
    let [_, node] = servers.processes() else {
        panic!("two processes");
    };
    let (second, _) = gateway(&servers, "one");

    says(node, "attach refused").await;
    says(&second, "cannot attach").await;
    for line in [
        line(&node.to_string(), "attach refused"),
        line(&second.to_string(), "cannot attach"),
    ] {
        for told in [
            "\"WARN\"",
            "gateway id",
            "one",
            "is in use by another live process, 127.0.0.1:",
        ] {
            assert!(line.contains(told), "{told} is not in {line}");
        }
    }
    let refused = line(&node.to_string(), "attach refused");
    assert!(refused.contains("\"peer\":\"127.0.0.1:"), "{refused}");
}

/// A gateway that had a node says why it gets none any more.
#[tokio::test]
async fn a_gateway_that_cannot_attach_again_says_why() {
    let servers = site(&[]).await;
    let [_, node] = servers.processes() else {
        panic!("two processes");
    };
    // Not the first one: that may have been there before its node.
    let (gateway, [pdu, probes]) = gateway(&servers, "two");
    ready(probes, [&gateway]).await.expect("it attaches");
    assert!(!gateway.has_said("cannot attach"), "{gateway}");
    let _msg_server = connect(pdu, 1, 1).await;

    node.kill();

    says(&gateway, "cannot attach").await;
    let line = line(&gateway.to_string(), "cannot attach");
    assert!(
        line.contains("\"WARN\"") && line.contains("Connection refused"),
        "{line}"
    );
}

/// One message was handed to it, another one was kept back when it had fallen silent.
#[tokio::test]
async fn a_lost_gateway_is_said_with_what_went_with_it() {
    let servers = site(&["--detach-grace=1s"]).await;
    let [_, node] = servers.processes() else {
        panic!("two processes");
    };
    let (second, [pdu, probes]) = gateway(&servers, "two");
    ready(probes, [&second]).await.expect("it attaches");
    let sender = connect(servers.pdu_address(), 1, 1).await;
    let _receiver = connect(pdu, 2, 2).await;
    let send = async |number| {
        let message = messages::message(1, 2, number, 1, "hello").encode();
        sender.write(&message).await.expect("it is open");
        assert!(sender.barrier(SOON).await);
    };

    second.suspend();
    send(1).await;
    shows(&servers, "teamtalk_route_gateways_silent", 1.0).await;
    send(2).await;
    second.kill();

    says(node, "gateway lost").await;
    let lost = line(&node.to_string(), "gateway lost");
    let lost: Json = serde_json::from_str(&lost).expect("an object");
    assert_eq!(lost["gateway"], "two", "{lost}");
    for name in ["links", "given_up", "not_handed"] {
        assert_eq!(lost[name], 1, "{name}: {lost}");
    }
}

/// Its MsgServer has another connection, and does not know that it should claim that.
#[tokio::test]
async fn who_stands_in_for_a_lost_gateways_link_is_said_and_counted() {
    let servers = site(&["--detach-grace=1s"]).await;
    let [_, node] = servers.processes() else {
        panic!("two processes");
    };
    let (second, [pdu, probes]) = gateway(&servers, "two");
    ready(probes, [&second]).await.expect("it attaches");
    let _claimed = connect(pdu, 2, 2).await;
    let (address, list) = (servers.pdu_address(), messages::online(&[2]));
    let other = Connection::of_msg_server(address, Options::from_loopback(2), false, &list);
    let _other = other.await.expect("the server accepts");

    second.kill();

    says(node, "link stands_in").await;
    let said = line(&node.to_string(), "link stands_in");
    for told in [
        "\"msg_server\":\"127.0.0.2\"",
        "\"peer\":\"127.0.0.2:",
        "\"sessions\":1",
        "\"other\":\"",
    ] {
        assert!(said.contains(told), "{told} is not in {said}");
    }
    shows(&servers, "teamtalk_route_seats", 0.0).await;
    let (name, kind) = (
        "teamtalk_route_links_transitions_total",
        "kind=\"stands_in\"",
    );
    let counted = probes::labelled_metric(servers.probes()[1], name, kind).await;
    assert!(counted.is_ok_and(|counted| counted >= 1.0));
}

/// A gateway that has ended in order is nobody for whom the next node waits.
#[tokio::test]
async fn the_next_node_does_not_wait_for_a_gateway_that_has_said_goodbye() {
    let servers = site(&[]).await;
    let [_, node] = servers.processes() else {
        panic!("two processes");
    };
    assert!(
        !node.has_said("another node before"),
        "there was none: {node}"
    );
    let (second, [pdu, probes]) = gateway(&servers, "two");
    ready(probes, [&second]).await.expect("it attaches");
    let stays = connect(servers.pdu_address(), 1, 1).await;
    let leaves = connect(pdu, 2, 2).await;

    second.terminate();
    assert!(leaves.closes(SOON).await);
    drop(leaves);
    assert!(second.ended(SOON).await.is_some_and(|end| end.success()));
    says(node, "gateway detached").await;
    // What the first gateway is told then is before the answer.
    assert!(stays.barrier(SOON).await);
    node.kill();
    let (grpc, probes) = (servers.grpc_address(), servers.probes()[1]);
    let next = start_node(&Surroundings::default(), grpc, probes, &[]).expect("a built node");

    says(&next, "all links are known").await;
    let known = line(&next.to_string(), "all links are known");
    assert!(known.contains("\"missing\":\"[]\""), "{known}");
    assert!(!next.has_said("two"), "{next}");
}

/// A MsgServer with one connection gets what was sent to it from the end of that until it is connected again.
#[tokio::test]
async fn what_is_for_a_msg_server_waits_until_it_has_left_a_gateway_that_stops() {
    let servers = site(&[]).await;
    let (second, [pdu, probes]) = gateway(&servers, "two");
    ready(probes, [&second]).await.expect("it attaches");
    let sender = connect(servers.pdu_address(), 1, 1).await;
    let send = async |number| {
        let message = messages::message(1, 2, number, 1, "hello").encode();
        sender.write(&message).await.expect("it is open");
        assert!(sender.barrier(SOON).await);
        message
    };
    let leaves = connect(pdu, 2, 2).await;

    second.terminate();
    assert!(leaves.closes(SOON).await);
    let mut sent = vec![send(1).await];
    drop(leaves);
    sent.push(send(2).await);
    let comes_back = connect(servers.pdu_address(), 2, 2).await;
    sent.push(send(3).await);

    assert!(comes_back.comes(command::MESSAGE, SOON).await.is_some());
    assert!(comes_back.barrier(SOON).await);
    let mut came = comes_back.received();
    came.retain(|raw| command_of(raw) == command::MESSAGE);
    assert_eq!(came, sent);
    assert!(second.ended(SOON).await.is_some_and(|end| end.success()));
    assert!(!second.has_said("is lost"), "{second}");
}

/// Waits until the node's metric has this value.
async fn shows(servers: &Deployment, name: &str, value: f64) {
    let limit = Instant::now() + SOON;
    loop {
        let found = probes::metric(servers.probes()[1], name).await;
        if found.is_ok_and(|found| (found - value).abs() < 0.5) {
            return;
        }
        assert!(Instant::now() < limit, "{name} is never {value}");
        sleep(std::time::Duration::from_millis(20)).await;
    }
}
