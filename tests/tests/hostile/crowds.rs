//! Many at a time: PDUs that never end, notices for somebody who does not read, connections that hold
//! the same users.

use std::time::Duration;

use system_tests::deployment::Setup;
use system_tests::player::connection::{BARRIER_LIMIT, Connection, Options};
use system_tests::player::messages::{self, Status};
use system_tests::player::pdu::{Pdu, command};
use tokio::time::{sleep, timeout};

use crate::Siege;

const CUT_OFF: &str = "teamtalk_pdu_links_cut_off_total";
const TRANSITIONS: &str = "teamtalk_route_links_transitions_total";
const MIB: usize = 1 << 20;
/// Until all of it is there, or done.
const PATIENCE: Duration = Duration::from_secs(60);

system_tests::in_both_setups! {
    pdus_that_never_end: pdus_that_never_end();
    notices_that_nobody_reads: notices_that_nobody_reads();
    connections_with_the_same_users: connections_with_the_same_users();
}

/// 20 MsgServers begin a PDU of 4 MiB each, and send all but its last byte. The budget is 32 MiB.
async fn pdus_that_never_end(setup: Setup) {
    const COUNT: usize = 20;
    let flags = [
        "--memory-limit=32MiB",
        "--window-bytes=5MiB",
        "--window-total-bytes=8MiB",
        "--link-queue-bytes=16MiB",
        "--pdu-timeout=3s",
        "--pdu-rate=4MiB",
    ];
    let siege = Siege::begin(setup, &flags).await;
    let mut hostile = Vec::new();
    for number in 0..COUNT as u32 {
        let one = siege.connect().await;
        one.write(&messages::online(&[1000 + number]).encode())
            .await
            .expect("an open connection");
        assert!(one.barrier(BARRIER_LIMIT).await);
        let long = Pdu::new(command::MESSAGE, vec![0; 4 * MIB]).encode();
        // It may be cut off before all is written.
        let _ = timeout(PATIENCE, one.write(&long[..long.len() - 1])).await;
        hostile.push(one);
    }

    let cut_off = async {
        while siege.metric(CUT_OFF, "").await < 1.0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let cut_off = timeout(PATIENCE, cut_off).await;
    assert!(cut_off.is_ok(), "none was cut off");
    siege.assert_warned("--memory-limit").await;
    for one in &hostile {
        assert!(
            one.closes(PATIENCE).await,
            "a PDU that never ends is waited for"
        );
    }
    siege.end(2 * 32 * MIB as u64).await;
}

/// Users come and go, and somebody who is told of each does not read: what waits for it is bounded in
/// memory, not only in bytes that are to be written.
async fn notices_that_nobody_reads(setup: Setup) {
    const QUEUE: u64 = 8 << 20;
    const FLAGS: [&str; 2] = ["--link-queue-bytes=8MiB", "--max-pdu-bytes=1MiB"];
    const ROUND: u32 = 1000;
    // The event log, windows, and what is on its way; and a link that ends gives back what it has.
    const OVERHEAD: u64 = 96 << 20;
    let siege = Siege::begin(setup, &FLAGS).await;
    let mut stuck = siege.connect().await;
    let reported = messages::online(&[1]).encode();
    stuck.write(&reported).await.expect("an open connection");
    stuck.barrier(BARRIER_LIMIT).await;
    stuck.pause().await;
    let sender = siege.connect().await;
    let round: Vec<u8> = (0..ROUND)
        .flat_map(|user| [Status::Online, Status::Offline].map(|status| (1000 + user, status)))
        .flat_map(|(user, status)| {
            messages::update(user, status, messages::Client::Windows).encode()
        })
        .collect();
    let closed = async || siege.metric(crate::CLOSED, crate::SLOW_READER).await >= 1.0;
    let flood = async {
        while !closed().await {
            sender.write(&round).await.expect("it is served");
            assert!(sender.barrier(PATIENCE).await);
        }
    };
    timeout(2 * PATIENCE, flood).await.expect("it is cut off");
    siege.end(OVERHEAD + 4 * QUEUE).await;
}

/// 200 connections of one address list the same 1000 users, claim and go: no more work than that.
async fn connections_with_the_same_users(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    let users: Vec<u32> = (1000..2000).collect();
    let list = messages::online(&users);
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let options = Options::from_loopback(77);
        let one = Connection::of_msg_server(siege.address(), options, true, &list);
        crowd.push(one.await.expect("it is served"));
    }
    assert!(siege.node_metric(TRANSITIONS, "kind=\"overflows\"").await >= 1.0);
    drop(crowd);
    // What is asked now is answered behind all that.
    let asking = siege.connect().await;
    assert!(asking.barrier(BARRIER_LIMIT).await);
    sleep(Duration::from_secs(1)).await;
    siege.end(64 << 20).await;
}
