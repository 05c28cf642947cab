//! The demonstration of the README.

use system_tests::deployment::process::Process;
use system_tests::deployment::{Deployment, FanOut, Setup};

use crate::{SOON, says};

#[tokio::test]
async fn a_demo_that_is_kept_is_there_for_the_next_commands() {
    let servers = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    let grpc = format!("http://{}", servers.grpc_address());
    let pdu = format!("--pdu={}", servers.pdu_address());
    let demo = ["demo", "--keep", &pdu, &format!("--grpc={grpc}")].map(str::to_owned);

    let demo = Process::start("route-load", &demo).expect("a built route-load");
    says(&demo, "It works.").await;
    says(&demo, "Ctrl-C ends this.").await;

    let shown = demo.to_string();
    let mut commands = shown
        .lines()
        .filter_map(|line| line.trim().strip_prefix("route-grpc "));
    let mut next = |more: &[&str]| {
        let command = commands.next().expect("three of them").split(' ');
        let words: Vec<_> = command
            .chain(more.iter().copied())
            .map(str::to_owned)
            .collect();
        Process::start("route-grpc", &words).expect("a built route-grpc")
    };
    says(&next(&[]), "online").await;
    let subscribe = next(&["--count=2"]);
    says(&subscribe, "9001001 -> 9001002").await;
    says(&subscribe, "9001002 -> 9001001").await;
    says(&next(&[]), "would be routed to 2 MsgServer connections").await;
    assert!(demo.is_alive());
    demo.interrupt();
    let ended = demo.ended(SOON).await.expect("it ends");
    assert!(ended.success(), "{ended}");
}
