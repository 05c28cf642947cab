//! What a gateway says of its links when its node asks.

use route_proto::attach::v1::LinkFigures;
use route_proto::pdu::{HEADER_LEN, command};

use crate::harness::{pdu, run};
use crate::{claim, one_msg_server, update};

#[tokio::test]
async fn links_are_told_in_figures_when_the_node_asks() {
    let (gateway, mut node, mut msg_server, link) = one_msg_server(&[]).await;
    let (_other, silent) = gateway.msg_server(&mut node).await;
    msg_server.send(&[claim(), update(42, 1)].concat()).await;
    let received = claim().len() + update(42, 1).len();
    let sent = pdu(command::MESSAGE, 8, b"hello");
    node.entry().await;
    node.entry().await;
    node.confirm(&[(link, 3)]).await;
    node.deliver(run(&[link], 1, &[sent.clone(), sent.clone()]))
        .await;
    msg_server.receive().await;
    msg_server.receive().await;

    let rows = node.looks_at(7, &[silent, link, 99]).await;

    let numbers: Vec<_> = rows.iter().map(|row| row.link).collect();
    assert_eq!(
        numbers,
        [silent, link],
        "of one that is not there nothing is said"
    );
    let LinkFigures {
        sent_pdus,
        sent_bytes,
        idle_micros,
        ..
    } = rows[1];
    // A heartbeat may have gone meanwhile.
    let heartbeats = sent_pdus - 2;
    let of_messages = sent_bytes - heartbeats * HEADER_LEN as u64;
    assert_eq!(of_messages, 2 * sent.len() as u64);
    assert!(idle_micros > 0);
    let counted = LinkFigures {
        link,
        received_pdus: 2,
        received_bytes: received as u64,
        sent_pdus,
        sent_bytes,
        idle_micros,
        ..LinkFigures::default()
    };
    assert_eq!(rows[1], counted, "nothing waits, and all is confirmed");
    assert_eq!((rows[0].received_pdus, rows[0].received_bytes), (0, 0));
    assert!(rows[0].unconfirmed_bytes > 0, "that it was opened");
}

/// The bounds of a queue are its own; here it is enough that something waits.
#[tokio::test]
async fn who_does_not_read_is_seen_by_what_waits_and_since_when() {
    let (_gateway, mut node, _msg_server, link) = one_msg_server(&[]).await;
    // More than any socket takes.
    let large = pdu(command::MESSAGE, 8, &vec![7; 1 << 20]);
    for number in 0..16 {
        let deliveries = [large.clone()];
        node.deliver(run(&[link], number + 1, &deliveries)).await;
    }

    let mut number = 0;
    let stalled = loop {
        number += 1;
        let row = node.looks_at(number, &[link]).await[0];
        if row.queued_bytes > 0 && row.stalled_micros > 100_000 {
            break row;
        }
        tokio::task::yield_now().await;
    };

    let all = 16 * large.len() as u64;
    assert_eq!(stalled.queued_bytes + stalled.sent_bytes, all);
    assert!(stalled.sent_pdus < 16, "{stalled:?}");
}

#[tokio::test]
async fn who_is_not_read_is_paused_and_what_it_sent_is_unconfirmed() {
    let (_gateway, mut node, mut msg_server, link) =
        one_msg_server(&["--window-bytes", "64KiB"]).await;
    let message = pdu(command::MESSAGE, 8, &[7; 1000]);
    for _ in 0..200 {
        msg_server.send(&message).await;
    }

    let mut number = 0;
    let paused = loop {
        number += 1;
        let row = node.looks_at(number, &[link]).await[0];
        if row.paused {
            break row;
        }
        tokio::task::yield_now().await;
    };

    assert!(paused.unconfirmed_bytes >= 64 << 10, "{paused:?}");
}
