//! A connection that is cut in one direction: the MsgServer hears us, we do not hear it.

use std::time::Duration;

use system_tests::deployment::{Deployment, FanOut, Setup};
use system_tests::player::connection::{BARRIER_LIMIT, Connection, Options};
use system_tests::player::messages::{self, SINGLE_TEXT};
use system_tests::player::pdu::{Pdu, command};
use tokio::time::{Instant, interval, sleep};

use crate::SOON;

const ANN: u32 = 101;
const BOB: u32 = 102;
/// Between two heartbeats of a MsgServer.
const BEAT: Duration = Duration::from_secs(5);
/// When silence is noticed.
const NOTICED: [Duration; 2] = [Duration::from_secs(11), Duration::from_secs(15)];

system_tests::in_both_setups! {
    the_other_connection_is_claimed_long_before_the_idle_time: play();
    a_server_that_did_not_run_for_a_while_has_heard_everybody: suspend();
}

/// What came meanwhile is there to be read.
async fn suspend(setup: Setup) {
    let servers = Deployment::start(setup, FanOut::Directed).await;
    let mut connections = Vec::new();
    for claims in [true, false] {
        let (address, list) = (servers.pdu_address(), messages::online(&[ANN]));
        let connection =
            Connection::of_msg_server(address, Options::from_loopback(20), claims, &list);
        connections.push(connection.await.expect("it is served"));
    }
    for process in servers.processes() {
        process.suspend();
    }
    let until = Instant::now() + NOTICED[1];
    while Instant::now() < until {
        let heartbeat = Pdu::bare(command::HEARTBEAT).encode();
        for connection in &connections {
            connection.write(&heartbeat).await.expect("it is connected");
        }
        sleep(BEAT / 2).await;
    }
    for process in servers.processes() {
        process.resume();
    }

    for connection in &connections {
        assert!(connection.barrier(BARRIER_LIMIT).await);
        assert!(!connection.closes(Duration::from_secs(3)).await);
    }
}

async fn play(setup: Setup) {
    let servers = Deployment::start(setup, FanOut::Directed).await;
    let connect = async |last, claims, user| {
        let address = servers.pdu_address();
        let list = messages::online(&[user]);
        Connection::of_msg_server(address, Options::from_loopback(last), claims, &list)
            .await
            .expect("it is served")
    };
    let claimed = connect(20, true, ANN).await;
    let other = connect(20, false, ANN).await;
    let sender = connect(21, true, BOB).await;
    let began = Instant::now();

    // Nothing more comes of the claimed one. All others beat.
    let mut beat = interval(BEAT);
    while !claimed.is_closed() {
        assert!(began.elapsed() < SOON, "it is closed long before");
        beat.tick().await;
        let heartbeat = Pdu::bare(command::HEARTBEAT).encode();
        for server in [&other, &sender] {
            server.write(&heartbeat).await.expect("it is connected");
        }
        claimed.closes(BEAT).await;
    }
    let closed_at = claimed.closed_at().expect("it is closed") - began;
    assert!(
        NOTICED[0] < closed_at && closed_at < NOTICED[1],
        "{closed_at:?}"
    );

    other
        .write(&messages::role(1).encode())
        .await
        .expect("it is connected");
    assert!(other.barrier(BARRIER_LIMIT).await);
    let message = messages::message(BOB, ANN, 1, SINGLE_TEXT, b"hello").encode();
    sender.write(&message).await.expect("it is connected");
    assert!(other.comes(command::MESSAGE, SOON).await.is_some());
}
