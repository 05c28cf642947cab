//! The same with three nodes, of which one leads: it is killed, ended, and stands still for about as long as
//! gateways wait for it, and for longer than its lease.
//!
//! The long form, with NATS servers that are killed: `target/release/route-load handover --nodes 3 --engine nats`.

use std::time::Duration;

use system_tests::interruptions::Load;
use system_tests::interruptions::several::{Course, Trouble, run};
use system_tests::interruptions::site::Flags;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn msg_servers_do_not_notice_that_another_node_leads() {
    let course = Course {
        nodes: 3,
        engine_servers: 1,
        troubles: vec![
            (Trouble::None, 1),
            (Trouble::Kill, 3),
            (Trouble::Terminate, 1),
            (Trouble::Pause, 1),
            (Trouble::Freeze, 1),
        ],
        absence: Duration::ZERO,
        load: Load {
            messages: 400,
            updates: 40,
            queries: 40,
            between: Duration::from_millis(500),
            seed: fastrand::u64(..),
        },
        flags: Flags::default(),
    };

    let report = run(&course, |_| {}).await.unwrap();

    assert!(report.is_clean(), "\n{report}\n{}", report.output);
}
