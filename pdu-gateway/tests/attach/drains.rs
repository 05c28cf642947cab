//! A gateway that an operator drains.

use std::slice;
use std::time::{Duration, Instant};

use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{CloseLink, CloseReason, downlink_entry};
use route_proto::pdu::command;
use tonic::Status;

use crate::harness::{NodeStream, pdu, run};
use crate::{assert_closed, assert_ends, one_msg_server, returned, update};

async fn close(node: &mut NodeStream, link: u64) {
    let close = CloseLink {
        link,
        planned: true,
        ..CloseLink::default()
    };
    node.downlink(vec![downlink_entry::Entry::Close(close)], &[])
        .await;
}

/// Promise 5: what its MsgServer still sends is handled, and what is for it is given back.
#[tokio::test]
async fn a_drained_gateway_refuses_connections_and_loses_nothing_of_those_that_it_closes() {
    let (gateway, mut node, mut msg_server, link) = one_msg_server(&[]).await;

    node.drains(true).await;
    gateway.is_drained().await;
    msg_server.send(&update(41, 1)).await;
    let served = loop {
        // One may have come before the port was closed.
        let entry = node.entry().await;
        if entry.link == link {
            break entry;
        }
    };
    assert!(matches!(served.entry, Some(Entry::Update(u)) if u.user_id == 41));
    close(&mut node, link).await;

    msg_server.finished().await;
    msg_server.send(&update(42, 1)).await;
    assert!(matches!(node.entry().await.entry, Some(Entry::Update(u)) if u.user_id == 42));
    let message = pdu(command::MESSAGE, 0, b"last");
    node.deliver(run(&[link], 1, slice::from_ref(&message)))
        .await;
    node.all_taken().await;
    drop(msg_server);
    assert_closed(&node.entry().await, CloseReason::Drain);
    assert_eq!(returned(&node.entry().await), message);
    assert_ends(&mut node, link).await;

    let begin = Instant::now();
    gateway.shutdown.begin();
    gateway.has_drained().await;
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "it has nothing to wait for"
    );
}

#[tokio::test]
async fn a_drain_is_undone_by_its_node_and_outlives_its_stream() {
    let (mut gateway, mut node, _msg_server, link) = one_msg_server(&[]).await;
    node.drains(true).await;
    gateway.is_drained().await;

    node.refuse(Status::unavailable("broken")).await;
    let (again, _) = gateway.attaching().await;
    gateway.is_drained().await;
    again.welcome_while(1, &[(link, 1)], true).await;
    let mut node = again;
    gateway.is_drained().await;

    node.drains(false).await;
    gateway.ready().await;
    assert!(gateway.connect().await.is_ok());
}

#[tokio::test]
async fn another_node_does_not_drain() {
    let (mut gateway, mut node, _msg_server, _) = one_msg_server(&[]).await;
    node.drains(true).await;
    gateway.is_drained().await;

    node.refuse(Status::unavailable("draining")).await;
    let _other = gateway.attached(2, &[]).await;

    assert!(gateway.connect().await.is_ok());
}
