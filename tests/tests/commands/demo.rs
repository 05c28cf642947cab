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

    let address = format!("--address={grpc}");
    let status = ["status", "9001001", &address].map(str::to_owned);
    let status = Process::start("route-grpc", &status).expect("a built route-grpc");
    says(&status, "online").await;
    let subscribe = ["subscribe", "--user=9001001", "--count=2", &address].map(str::to_owned);
    let subscribe = Process::start("route-grpc", &subscribe).expect("a built route-grpc");
    says(&subscribe, "9001001 -> 9001002").await;
    says(&subscribe, "9001002 -> 9001001").await;
    let rehearse = "publish --dry-run chat --from 9001001 --to 9001002 --message-id 1 --text hello";
    let mut rehearse: Vec<_> = rehearse.split(' ').map(str::to_owned).collect();
    rehearse.push(address);
    let rehearse = Process::start("route-grpc", &rehearse).expect("a built route-grpc");
    says(&rehearse, "would be routed to 2 MsgServer connections").await;
    assert!(demo.is_alive());
    demo.interrupt();
    let ended = demo.ended(SOON).await.expect("it ends");
    assert!(ended.success(), "{ended}");
}
