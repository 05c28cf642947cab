//! Promises 1 and 4 to 6 between real processes: MsgServers notice nothing while the node is killed, restarted, cut off.
//!
//! This is the short form. The long one: `cargo build --release --workspace --bins && target/release/route-load handover`.

use std::time::Duration;

use system_tests::handover::{self, Course, Interruption};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn msg_servers_do_not_notice_what_happens_to_the_node() {
    let course = Course {
        interruptions: vec![
            (Interruption::None, 1),
            (Interruption::Kill, 4),
            (Interruption::Terminate, 2),
            (Interruption::Cut, 4),
        ],
        messages: 2000,
        updates: 40,
        queries: 80,
        longest_cut: Duration::from_secs(1),
        seed: fastrand::u64(..),
    };

    let report = handover::run(&course, |_| {}).await.unwrap();

    assert!(report.is_clean(), "\n{report}\n{}", report.output);
}
