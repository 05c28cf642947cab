//! `--memory-limit` of a node: it stays in a container of which that is four fifths, as it is by default, and
//! the honest are served meanwhile.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::gateway::Gateway;
use crate::node::Node;
use crate::{READER, client};

const LIMIT: u64 = 256 << 20;
/// Of what has come in part.
const UNFINISHED: u64 = 64 << 20;
const FLAGS: [&str; 9] = [
    "--memory-limit=256MiB",
    "--unfinished-bytes=64MiB",
    "--gateway-queue-bytes=128MiB",
    "--log-bytes=8MiB",
    "--seat-bytes=16MiB",
    "--newcomer-wait=0s",
    "--detach-grace=1h",
    "--id-in-use-wait=0s",
    "--gateway-replay-wait=1h",
];
/// What is answered is answered within this.
const PROMPT: Duration = Duration::from_secs(2);

async fn limited() -> Node {
    let mut node = Node::start(&FLAGS.map(str::to_owned)).await;
    node.measure_from_here().await;
    node
}

/// Six gateways are away. 128 MiB may wait for each of them, and as much is sent; so some are cut off,
/// and who sends is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_of_many_gateways() {
    const AWAY: u32 = 6;
    const MESSAGE: usize = 256 << 10;
    let node = limited().await;
    let mut sender = Gateway::attach(&node, "sender", &[]).await;
    sender.in_batches_of(16);
    sender.open(1).await;
    sender.caught_up().await;
    for number in 0..AWAY {
        let mut reader = Gateway::attach(&node, &format!("reader-{number}"), &[]).await;
        reader.caught_up().await;
        reader.open(9).await;
        let user = READER + number;
        reader.claim_with(1, user..user + 1).await;
        reader.flush(false).await;
        node.comes_to("users", u64::from(number) + 1).await;
    }
    node.comes_to("gateways_detached", AWAY.into()).await;

    let each = (128 << 20) / MESSAGE;
    for _ in 0..each {
        for number in 0..AWAY {
            sender.message(1, READER + number, MESSAGE).await;
        }
    }
    sender.flush(false).await;

    node.comes_to("cut_off_total", 1).await;
    node.says("--memory-limit is nearly reached").await;
    answers_at_once(&node).await;
    node.stays_below("queues", LIMIT / 4 * 5);
    assert_eq!(node.metric("gateways_attached").await, 1, "the sender");
}

/// Gateways that are let in begin long messages and do not end them: no more comes of these than may
/// come in part, and an honest one comes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_gateways_that_have_come_in_part() {
    const LONG: usize = 16 << 20;
    let node = limited().await;
    let mut begun = Vec::new();
    for number in 0..20 {
        begun.push(client::begin_as_gateway(&node, &format!("g{number}"), LONG).await);
    }
    node.comes_to("requests_unfinished_bytes", UNFINISHED / 2)
        .await;

    let mut honest = Gateway::attach(&node, "honest", &[]).await;
    honest.open(1).await;
    honest.caught_up().await;
    node.comes_to("links", 1).await;
    honest.message(1, READER, 1 << 20).await;
    honest.flush(false).await;
    node.comes_to("envelopes_total", 1).await;

    node.comes_to("cut_off_total", 1).await;
    answers_at_once(&node).await;
    node.stays_below("messages in part", UNFINISHED * 2);
}

/// Whoever asks for a user.
async fn answers_at_once(node: &Node) {
    let asked = Instant::now();
    client::ask(node, READER).await;
    assert!(asked.elapsed() < PROMPT, "{:?}", asked.elapsed());
    // Nothing was on its way that would have come later.
    sleep(Duration::from_millis(200)).await;
}
