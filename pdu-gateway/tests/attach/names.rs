//! Whose connection it is, as the gateway tells the node.

use std::net::Ipv4Addr;

use route_proto::attach::v1::LinkOpened;
use route_proto::attach::v1::uplink_entry::Entry;
use tonic::Status;

use crate::claim;
use crate::harness::{Harness, NodeStream};

/// By the listener, else by the table of hosts, else not at all; and again when a new node has to be told.
#[tokio::test]
async fn a_link_is_told_with_the_name_of_its_msg_server() {
    let mut gateway = Harness::start(&[
        "--listen=127.0.0.1:0=by-listener",
        "--msg-server=by-host=127.0.0.2",
    ])
    .await;
    let mut node = gateway.attached(1, &[]).await;
    let [plain, named] = gateway.gateway.pdu_addresses() else {
        panic!("there are two listeners");
    };
    let (host, stranger) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST);

    let mut connected = Vec::new();
    for (listener, from, name) in [
        (plain, host, "by-host"),
        (plain, stranger, ""),
        (named, host, "by-listener"),
        (named, stranger, "by-listener"),
    ] {
        connected.push(gateway.connect_to(*listener, from).await.unwrap());
        let opened = opened(&mut node).await;
        assert_eq!(opened.msg_server, name);
        assert!(opened.peer.starts_with(&from.to_string()), "{opened:?}");
    }
    node.confirm(&[(1, 1)]).await;
    node.all_taken().await;

    node.refuse(Status::unavailable("draining")).await;
    let mut next = gateway.attached(2, &[]).await;

    let again = opened(&mut next).await;
    assert!(again.restored.is_some() && again.msg_server == "by-host");
}

/// Of two connections of one MsgServer that have not said anything, the node could not tell which one stands. A
/// connection that says nothing at all, such as a probe, is nothing that it has to know.
#[tokio::test]
async fn the_node_is_told_of_a_connection_with_its_first_words() {
    let mut gateway = Harness::start(&[]).await;
    let mut node = gateway.attached(1, &[]).await;

    drop(gateway.connect().await.unwrap());
    let mut msg_server = gateway.connect().await.unwrap();
    msg_server.send(&claim()).await;

    let told = [node.entry().await, node.entry().await].map(|it| (it.link, it.entry));
    let [(2, Some(Entry::Opened(_))), (2, Some(Entry::Role(role)))] = &told else {
        panic!("{told:?}");
    };
    assert!(role.claimed);
}

/// It may wait for what others say.
#[tokio::test]
async fn the_node_is_told_of_a_connection_that_says_nothing_a_moment_later() {
    let mut gateway = Harness::start(&[]).await;
    let mut node = gateway.attached(1, &[]).await;

    let _silent = gateway.connect().await.unwrap();

    opened(&mut node).await;
}

/// The next entry, which has to tell of a new link.
pub(crate) async fn opened(node: &mut NodeStream) -> LinkOpened {
    match node.entry().await.entry {
        Some(Entry::Opened(opened)) => opened,
        other => panic!("{other:?}"),
    }
}
