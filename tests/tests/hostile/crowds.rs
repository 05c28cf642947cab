//! Many at a time: PDUs that never end, notices for somebody who does not read, connections that hold
//! the same users.

use std::net::SocketAddr;
use std::time::Duration;

use system_tests::deployment::Setup;
use system_tests::player::connection::{BARRIER_LIMIT, Connection, Options};
use system_tests::player::messages::{self, SINGLE_TEXT, Status};
use system_tests::player::pdu::{Pdu, command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::{Siege, show};

const CUT_OFF: &str = "teamtalk_pdu_links_cut_off_total";
const TRANSITIONS: &str = "teamtalk_route_links_transitions_total";
/// Bytes of a long message.
const LONG: usize = 4 << 20;
/// Before one that was cut off comes again.
const BREATH: Duration = Duration::from_millis(200);
/// Until all of it is there, or done.
const PATIENCE: Duration = Duration::from_secs(60);

system_tests::in_both_setups! {
    pdus_that_never_end: pdus_that_never_end();
    notices_that_nobody_reads: notices_that_nobody_reads();
    connections_with_the_same_users: connections_with_the_same_users();
}

/// 60 connections of one host announce a PDU of 4 MiB each, and send all but its last byte, again and
/// again. The process stays in a container of which `--memory-limit` is four fifths, as it is by
/// default; messages of 4 MiB from another host come through, and their sender stays.
async fn pdus_that_never_end(setup: Setup) {
    const LIMIT: u64 = 128 << 20;
    const COUNT: u32 = 60;
    let flags = [
        "--memory-limit=128MiB",
        "--window-bytes=8MiB",
        "--window-total-bytes=32MiB",
        "--link-queue-bytes=16MiB",
        "--pdu-timeout=3s",
        "--pdu-rate=4MiB",
    ];
    let siege = Siege::begin(setup, &flags).await;
    let before = siege.servers.processes()[0].resident_bytes();
    let mut honest = Honest::connect(siege.address()).await;
    let mut hostile = JoinSet::new();
    for number in 0..COUNT {
        hostile.spawn(begin_again_and_again(siege.address(), 1000 + number));
    }

    let attack = async {
        while siege.metric(CUT_OFF, "").await < f64::from(COUNT) {
            honest.send_long().await;
        }
    };
    let attack = timeout(PATIENCE, attack).await;
    assert!(attack.is_ok(), "too few were cut off");
    assert!(!honest.sender.is_closed(), "it has done nothing");
    siege.assert_warned("--memory-limit").await;
    hostile.shutdown().await;
    let peak = siege.servers.processes()[0].peak_bytes();
    show(&format!(
        "{} MiB at most, {} messages of 4 MiB, the slowest took {:?}",
        peak >> 20,
        honest.sent,
        honest.slowest
    ));
    assert!(peak < before + LIMIT / 4 * 5, "{} MiB at most", peak >> 20);
    // What the messages cost the node, too.
    siege.ends_promptly(2 * LIMIT).await;
}

/// A MsgServer that sends long messages, and the one that gets them.
struct Honest {
    sender: Connection,
    receiver: Connection,
    sent: usize,
    slowest: Duration,
}

impl Honest {
    async fn connect(address: SocketAddr) -> Self {
        let open = async |host, user| {
            let list = messages::online(&[user]);
            let options = Options::from_loopback(host);
            let connection = Connection::of_msg_server(address, options, true, &list);
            connection.await.expect("it is served")
        };
        let (sender, receiver) = (open(5, 5000).await, open(6, 6000).await);
        receiver.count_matching(|raw| raw.len() > LONG);
        Self {
            sender,
            receiver,
            sent: 0,
            slowest: Duration::ZERO,
        }
    }

    async fn send_long(&mut self) {
        let message = messages::message(5000, 6000, 1, SINGLE_TEXT, vec![7; LONG]).encode();
        let began = Instant::now();
        self.sender.write(&message).await.expect("it is served");
        self.sent += 1;
        let came = self.receiver.counts(self.sent, PATIENCE).await;
        assert!(came, "{} of {}", self.receiver.count(), self.sent);
        self.slowest = self.slowest.max(began.elapsed());
    }
}

/// Sends all of a long PDU but its last byte, and comes again when it is cut off.
async fn begin_again_and_again(address: SocketAddr, user: u32) {
    let long = Pdu::new(command::MESSAGE, vec![0; LONG]).encode();
    loop {
        let one = crate::connect(address).await;
        let listed = one.write(&messages::online(&[user]).encode()).await;
        // It may be cut off before all is written.
        let _ = (listed, one.write(&long[..long.len() - 1]).await);
        one.closes(PATIENCE).await;
        sleep(BREATH).await;
    }
}

/// Users come and go, and somebody who is told of each does not read: what waits for it is bounded in
/// memory, not only in bytes that are to be written.
async fn notices_that_nobody_reads(setup: Setup) {
    const QUEUE: u64 = 8 << 20;
    const FLAGS: [&str; 3] = [
        "--link-queue-bytes=8MiB",
        "--max-pdu-bytes=1MiB",
        // It says nothing while it does not read.
        "--idle-timeout=1h",
    ];
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
