//! Ends that are in order.

use system_tests::deployment::process::Process;
use system_tests::deployment::{Deployment, FanOut, Setup};
use system_tests::player::connection::{Connection, Options};
use system_tests::player::messages;

use crate::SOON;

/// A gateway that ends while its node goes on, and a node that ends before its gateway: nobody has
/// to look.
#[tokio::test]
async fn an_orderly_stop_warns_nobody() {
    for order in [[0, 1], [1, 0]] {
        let servers = Deployment::start(Setup::TwoProcesses, FanOut::Directed).await;
        let servers = servers.expect("ready servers");
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
    let servers = servers.expect("ready servers");
    let msg_server = msg_server(&servers).await;
    let [gateway, node] = servers.processes() else {
        panic!("two processes");
    };

    node.kill();
    assert_ends_well(gateway).await;

    assert!(msg_server.closes(SOON).await, "its connection ends");
}

/// SIGHUP is no stop.
#[tokio::test]
async fn a_hang_up_changes_nothing() {
    let servers = Deployment::start(Setup::TwoProcesses, FanOut::Directed).await;
    let servers = servers.expect("ready servers");
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
