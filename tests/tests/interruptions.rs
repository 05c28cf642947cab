//! Promises 1 and 4 to 6 between real processes: MsgServers notice nothing while the node is
//! killed, restarted, cut off.
//!
//! This is the short form. The long one: `cargo build --release --workspace --bins &&
//! target/release/route-load handover`.

#[path = "interruptions/drains.rs"]
mod drains;
#[path = "interruptions/engine.rs"]
mod engine;
#[path = "interruptions/late.rs"]
mod late;
#[path = "interruptions/several.rs"]
mod several;
#[path = "interruptions/silence.rs"]
mod silence;
#[path = "interruptions/stops.rs"]
mod stops;

use std::time::Duration;

use system_tests::deployment::process::Surroundings;
use system_tests::deployment::{Deployment, FanOut, Setup, ports, ready, start_gateway};
use system_tests::interruptions::site::Flags;
use system_tests::interruptions::{self, Course, Interruption, Load};
use system_tests::player::connection::{Connection, Options};
use system_tests::player::messages::{self, SINGLE_TEXT};
use system_tests::player::pdu::command;

/// For what goes without saying; far less than the grace that must not be waited for.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn msg_servers_do_not_notice_what_happens_to_the_node() {
    let course = Course {
        interruptions: vec![
            (Interruption::None, 1),
            (Interruption::Kill, 4),
            (Interruption::Terminate, 2),
            (Interruption::Cut, 4),
        ],
        load: Load {
            messages: 2000,
            updates: 40,
            queries: 80,
            between: Duration::from_millis(500),
            seed: fastrand::u64(..),
        },
        longest_cut: Duration::from_secs(1),
        flags: Flags::default(),
        is_besieged: false,
    };

    let report = interruptions::run(&course, |_| {}).await.unwrap();

    assert!(report.is_clean(), "\n{report}\n{}", report.output);
}

/// A MsgServer of the C++ server goes on with another RouteServer within milliseconds, and what was
/// in flight is lost. Here, the node may not wait for the gateway's grace, for the process is gone
/// and not only cut off.
#[tokio::test]
async fn a_killed_gateway_does_not_hold_up_what_its_msg_servers_other_connections_get() {
    let surroundings = Surroundings::with(vec![("TT_ROUTE_DETACH_GRACE", "1h".to_owned())]);
    let site = Deployment::start_in(&surroundings, Setup::TwoProcesses, FanOut::Directed, &[]);
    let site = site.await;
    let [pdu, probes] = ports::free().unwrap();
    let upstream = [format!("--upstream=http://{}", site.grpc_address())];
    let other = start_gateway(&Surroundings::default(), pdu, probes, &upstream).unwrap();
    ready(probes, [&other]).await.unwrap();
    let connect = async |address, claims, user| {
        let list = messages::online(&[user]);
        let connection = Connection::of_msg_server(address, Options::default(), claims, &list);
        connection.await.unwrap()
    };
    let first = connect(site.pdu_address(), true, 1).await;
    let second = connect(pdu, false, 1).await;
    let sender = connect(pdu, true, 2).await;

    site.processes()[0].kill();
    assert!(first.closes(SOON).await);
    second.write(&messages::role(1).encode()).await.unwrap();
    assert!(second.barrier(SOON).await, "it has claimed");
    let message = messages::message(2, 1, 7, SINGLE_TEXT, "after the kill");
    sender.write(&message.encode()).await.unwrap();

    let came = second.comes(command::MESSAGE, SOON).await.unwrap();
    assert_eq!(came, message.encode());
}
