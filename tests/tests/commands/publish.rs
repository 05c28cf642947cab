//! What `subscribe` shows of one site is published at another one.

use serde_json::json;
use system_tests::deployment::process::Process;
use system_tests::deployment::{Deployment, FanOut, Setup};
use system_tests::player::messages;

use crate::ended::{command, command_that_reads};
use crate::operators::connect;
use crate::says;

#[tokio::test]
async fn lines_of_a_subscription_are_published_again() {
    let one = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    let other = Deployment::start(Setup::Embedded, FanOut::Directed).await;
    let _msg_server = connect(&other, 2, true, &messages::online(&[1, 2])).await;
    let address = |servers: &Deployment| format!("--address={}", servers.grpc_address());
    let (from, to) = (address(&one), address(&other));
    let flags = ["subscribe", "--json", "--raw", &from].map(str::to_owned);
    let subscriber = Process::start("route-grpc", &flags).expect("it is built");
    says(&subscriber, "subscribed").await;

    let chat = ["--from=1", "--to=2", "--message-id=3", "--text=first"];
    let first = command(&[&["publish", "chat", &from][..], &chat].concat()).await;
    assert_eq!(first.code, 0, "{first:?}");
    let second = json!({ "p2pCommand": { "fromUserId": 2, "toUserId": 1, "command": "Ymll" } });
    let second = command(&["publish", "event", &second.to_string(), &from]).await;
    assert_eq!(second.code, 0, "{second:?}");
    says(&subscriber, "p2pCommand").await;
    let shown = subscriber.to_string();
    let lines: Vec<_> = shown.lines().filter(|line| line.starts_with('{')).collect();

    let input = lines.join("\n");
    let published = command_that_reads(&["publish", "event", "-", &to], input).await;
    assert_eq!(published.code, 0, "{published:?}");
    let outcomes: Vec<_> = published.stdout.lines().collect();
    assert_eq!(outcomes, ["routed to 1 MsgServer connections"; 2]);

    // What only MsgServers cause is left out, and told.
    let input = r#"{"statusChange": {}}"#.to_owned();
    let left_out = command_that_reads(&["publish", "event", "-", &to], input).await;
    assert_eq!((left_out.code, &*left_out.stdout), (0, ""), "{left_out:?}");
    left_out.says("1 events were left out");
    let input = r#"{"kick": {"userId": 1}}"#.to_owned();
    let refused = command_that_reads(&["publish", "event", "-", &to], input).await;
    refused.says("line 1: event.kick");

    // It ends at the first line that is nothing.
    let input = format!("{}\n{{\"chat\": 1}}\n{}\n", lines[1], lines[2]);
    let stopped = command_that_reads(&["publish", "event", "-", &to], input).await;
    assert_eq!(stopped.stdout.lines().count(), 1, "{stopped:?}");
    stopped.says("line 2: the event is not one");
    assert_eq!(stopped.code, 1);
}
