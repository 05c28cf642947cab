//! Commands that follow a node through its restarts.

use system_tests::deployment::process::{Process, Surroundings};
use system_tests::deployment::{ports, start_node};

use crate::says;

/// What a follower shows is for programs; that nothing comes for a while, a person has to be told.
#[tokio::test]
async fn a_follower_says_that_the_node_is_away_and_that_it_is_back() {
    for command in ["subscribe", "watch"] {
        let [grpc, probes] = ports::free().expect("free ports");
        let node = || {
            let flags = ["--cold-start-wait=0s".to_owned()];
            start_node(&Surroundings::default(), grpc, probes, &flags).expect("a built node")
        };
        let first = node();
        says(&first, "node started").await;
        let address = format!("--address=http://{grpc}");
        let flags = [command.to_owned(), "--json".to_owned(), address];
        let follower = Process::start("route-grpc", &flags).expect("a built node");
        says(&follower, "position").await;

        first.kill();
        says(&follower, "the node is away").await;
        let _second = node();
        says(&follower, "the node is back").await;

        let output = follower.to_string();
        assert_eq!(output.matches("is away").count(), 1, "{output}");
    }
}
