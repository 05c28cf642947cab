//! Promise 8, bounded: what the node counts is what it takes. Each place where it keeps something
//! is filled with small things; then the process has grown by what its metrics say, within 1.5
//! times.
//!
//! 48 MiB each, unless `TEST_MEMORY_MIB` says more. Figures by --nocapture.

#[path = "memory/client.rs"]
mod client;
#[path = "memory/gateway.rs"]
mod gateway;
#[path = "memory/limit.rs"]
mod limit;
#[path = "memory/node.rs"]
mod node;

use gateway::Gateway;
use node::Node;

/// How much of each is counted, in MiB, if nothing is said.
const DEFAULT_MIB: u64 = 48;
/// Of a message.
const SHORT: usize = 100;
/// The user of whoever gets something.
const READER: u32 = 1;
/// What is not to be a bound.
const PLENTY: u64 = 4 << 30;

/// A gateway is away. Users come and go at two MsgServers in turn, so nothing is shared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notices_that_wait_for_a_gateway() {
    let (mut node, mut sender) = one_is_away(&[]).await;
    node.measure_from_here().await;
    let mut sent = 0;
    let mut level = 0;
    while level < wanted() {
        sent += toggle(&mut sender, 50_000).await;
        node.comes_to("events_total", sent).await;
        // What comes last is counted before it is packed.
        level = node.settles("gateways_queued_bytes").await;
    }
    node.holds("notices", sent, wanted()).await;
}

/// A gateway is away, and messages of 100 bytes wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_wait_for_a_gateway() {
    let (mut node, mut sender) = one_is_away(&[]).await;
    node.measure_from_here().await;
    let sent = fill(&mut node, &mut sender, "gateways_queued_bytes").await;
    node.holds("messages", sent, wanted()).await;
}

/// Few messages come together, so there are many batches and receipts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_are_not_confirmed() {
    let (mut node, mut sender) = one_is_away(&[]).await;
    sender.in_batches_of(4);
    node.measure_from_here().await;
    let sent = fill(&mut node, &mut sender, "gateways_queued_bytes").await;
    node.holds("messages in small batches", sent, wanted())
        .await;
}

/// A claimed connection has closed while another one of its MsgServer lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_seat_holds() {
    let seat = [
        "--seat-hold=1h".to_owned(),
        format!("--seat-bytes={PLENTY}"),
        "--gateway-silence=1h".to_owned(),
        "--gateway-given-up=2h".to_owned(),
    ];
    let (mut node, mut sender) = nodes(&seat).await;
    let mut reader = Gateway::attach(&node, "reader", &[]).await;
    reader.caught_up().await;
    reader.open(9).await;
    reader.claim_with(1, READER..READER + 10).await;
    reader.open(9).await;
    reader.list(2, READER..READER + 10).await;
    reader.close(1).await;
    node.comes_to("seats", 1).await;
    node.measure_from_here().await;
    let sent = fill(&mut node, &mut sender, "held_bytes").await;
    node.holds("messages at a seat", sent, wanted()).await;
}

/// Messages for nobody, kept for subscribers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_in_the_log() {
    let (node, mut sender) = with_a_log().await;
    let mut sent = 0;
    // Once around, and half again: what was freed has to be used again.
    for _ in 0..3 * wanted() / 2 / 200 {
        sender.message(1, READER, SHORT).await;
        sent += 1;
    }
    sender.flush(false).await;
    node.comes_to("events_total", sent).await;
    node.holds("messages in the log", sent * 2 / 3, a_full_log())
        .await;
}

/// Changes of users, kept for subscribers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_in_the_log() {
    let (node, mut sender) = with_a_log().await;
    let mut sent = 0;
    while sent < 3 * wanted() / 2 / 64 {
        sent += toggle(&mut sender, 200_000).await;
        node.comes_to("events_total", sent).await;
    }
    node.holds("changes in the log", wanted() / 64, a_full_log())
        .await;
}

/// Messages for nobody, of which it is remembered that they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envelopes_that_were_routed() {
    const SOME: u64 = 50_000;
    const EACH: u64 = 56;
    let (mut node, mut sender) = nodes(&[format!("--routed-bytes={}", wanted())]).await;
    let mut sent = 0;
    // Once around, and half again, after some by which buffers grow.
    while sent < SOME + 3 * wanted() / 2 / EACH {
        if sent == SOME {
            node.measure_from_here().await;
        }
        for _ in 0..SOME {
            sender.message(1, READER, SHORT).await;
        }
        sender.flush(false).await;
        sent += SOME;
        node.comes_to("events_total", sent).await;
    }
    let kept = wanted() / EACH;
    node.holds("envelopes that were routed", kept - SOME, wanted() / 10 * 8)
        .await;
}

/// A new node waits for a gateway that does not come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_new_node_holds() {
    let mut node = Node::start(&flags(&[
        "--cold-start-wait=1h".to_owned(),
        format!("--cold-start-bytes={PLENTY}"),
    ]))
    .await;
    let mut sender = Gateway::attach(&node, "sender", &["missing"]).await;
    sender.open(1).await;
    sender.flush(false).await;
    node.measure_from_here().await;
    let sent = fill(&mut node, &mut sender, "cold_start_memory_bytes").await;
    node.holds("messages that a new node holds", sent, wanted())
        .await;
}

/// A log that has been filled has room for less than one event, and was not empty before.
fn a_full_log() -> u64 {
    const LESS: u64 = 4 << 10;
    wanted() - LESS
}

/// Requests to publish that do not end, six times as many as may begin on a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_have_come_in_part() {
    const OF_ONE: u64 = 16;
    let unfinished = [format!("--unfinished-bytes={PLENTY}")];
    let mut node = Node::start(&flags(&unfinished)).await;
    node.measure_from_here().await;
    let connections = wanted().div_ceil(OF_ONE << 20);
    let mut begun = Vec::new();
    for _ in 0..connections {
        begun.push(client::begin(&node, 100).await);
    }
    node.comes_to("requests_unfinished_bytes", wanted()).await;
    let begun_in_part = connections * OF_ONE;
    node.holds("requests in part", begun_in_part, wanted())
        .await;
    // None keeps the pace.
    node.falls_to("requests_unfinished_bytes", 0).await;
}

/// Watches over all users by as many clients as may have one at a time, which do not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_that_are_not_read() {
    const AT_ONCE: u64 = 8;
    // Of a table, between 7/16 and 7/8 are in use.
    const OF_USER: u64 = 16;
    let users = u32::try_from(wanted() / AT_ONCE / OF_USER).expect("some million");
    let (mut node, mut sender) = nodes(&[format!("--max-sessions-per-link={PLENTY}")]).await;
    sender.list(1, 0..users).await;
    sender.flush(false).await;
    node.comes_to("users", users.into()).await;
    node.measure_from_here().await;
    let mut watches = Vec::new();
    for _ in 0..AT_ONCE {
        watches.push(client::watch(&node).await);
    }
    node.comes_to("streams_pending_bytes", wanted() / 2).await;
    node.settles("streams_pending_bytes").await;
    node.holds("snapshots", AT_ONCE * u64::from(users), wanted() / 2)
        .await;
    // The next one gets a place.
    let mut next = client::watch(&node).await;
    let first = next.message().await;
    assert!(first.is_ok(), "{first:?}");
}

/// Its log holds what is wanted, in bytes, however many events that are.
async fn with_a_log() -> (Node, Gateway) {
    let log = [
        format!("--log-bytes={}", wanted()),
        format!("--log-events={PLENTY}"),
    ];
    let (mut node, sender) = nodes(&log).await;
    node.measure_from_here().await;
    (node, sender)
}

/// Fills with messages until this metric has come to what is wanted. Returns how many there are.
async fn fill(node: &mut Node, sender: &mut Gateway, metric: &str) -> u64 {
    let mut sent = 0;
    let before = node.metric(metric).await;
    let mut level = before;
    while level < before + wanted() {
        let some = if sent == 0 { 10_000 } else { 50_000 };
        for _ in 0..some {
            sender.message(1, READER, SHORT).await;
        }
        sender.flush(false).await;
        sent += some;
        node.comes_to(metric, before + 1).await;
        level = node.settles(metric).await;
    }
    sent
}

/// A user of each of two links comes or goes, so many times. Returns how many events that makes.
async fn toggle(sender: &mut Gateway, times: u32) -> u64 {
    for number in 0..times {
        let (link, user, online) = (
            1 + number as usize % 2,
            1000 + number % 2,
            number / 2 % 2 == 0,
        );
        sender.update(link, user, online).await;
    }
    sender.flush(false).await;
    // That the status is another one, and that a desktop client is there, or not.
    2 * u64::from(times)
}

/// A node with a gateway that sends, and one that is away with a MsgServer that has a user.
async fn one_is_away(more: &[String]) -> (Node, Gateway) {
    let (node, sender) = nodes(more).await;
    let mut reader = Gateway::attach(&node, "reader", &[]).await;
    reader.caught_up().await;
    reader.open(9).await;
    reader.claim_with(1, READER..READER + 1).await;
    reader.flush(false).await;
    node.comes_to("users", 1).await;
    drop(reader);
    node.comes_to("gateways_detached", 1).await;
    (node, sender)
}

/// A node with a gateway that has two MsgServers.
async fn nodes(more: &[String]) -> (Node, Gateway) {
    let node = Node::start(&flags(more)).await;
    let mut sender = Gateway::attach(&node, "sender", &[]).await;
    sender.open(1).await;
    sender.open(2).await;
    sender.caught_up().await;
    node.comes_to("links", 2).await;
    (node, sender)
}

fn flags(more: &[String]) -> Vec<String> {
    let mut flags = vec![
        "--newcomer-wait=0s".to_owned(),
        "--detach-grace=1h".to_owned(),
        format!("--gateway-queue-bytes={PLENTY}"),
    ];
    if !more.iter().any(|flag| flag.starts_with("--log-")) {
        flags.push("--log-events=1".to_owned());
    }
    if !more.iter().any(|flag| flag.starts_with("--routed-")) {
        flags.push("--routed-bytes=0".to_owned());
    }
    flags.extend_from_slice(more);
    flags
}

fn wanted() -> u64 {
    let asked = std::env::var("TEST_MEMORY_MIB").ok();
    let asked = asked.and_then(|text| text.parse().ok());
    asked.unwrap_or(DEFAULT_MIB) << 20
}

/// For a person who runs one of these alone, with --nocapture.
#[allow(clippy::print_stdout)]
fn show(figures: &str) {
    println!("{figures}");
}
