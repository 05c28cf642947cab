//! Promise 5 in planned stops of a gateway: nothing that its MsgServers have sent, or that is for
//! them, is lost, or comes twice.
//!
//! 100 stops of each kind: `TEST_STOPS=100 cargo test --release -p system-tests --test interruptions
//! stops -- --nocapture`.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use system_tests::interruptions::site::{Flags, Site};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::late::{Board, MsgServer, Phase, SERVERS, Ways};

/// How many stops of each kind, if there are to be more.
const COUNT_VARIABLE: &str = "TEST_STOPS";
/// Messages pass for so long before a stop, and after it.
const STEADY: Duration = Duration::from_millis(400);
/// How long a node is away that comes back.
const ABSENCE: Duration = Duration::from_secs(2);
/// Until everything has come, at most.
const LIMIT: Duration = Duration::from_secs(10);

/// Where the node is when a gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NodeIs {
    There,
    /// It ends with it, and another one is started.
    Replaced,
    /// It was killed, and comes back.
    Back,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_node_is_there() {
    nothing_is_lost(NodeIs::There).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_node_is_replaced() {
    nothing_is_lost(NodeIs::Replaced).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_the_node_is_away() {
    nothing_is_lost(NodeIs::Back).await;
}

#[allow(clippy::print_stdout, reason = "the figures of a long run")]
async fn nothing_is_lost(node: NodeIs) {
    let count = std::env::var(COUNT_VARIABLE).map_or(2, |count| count.parse().expect("a number"));
    let mut site = Site::start(&Flags::default()).await.expect("a site");
    let mut outcomes = Vec::new();
    for number in 0..count {
        let gateway = number % 2;
        let end = async |site: &mut Site| end_gateway(site, node, gateway).await;
        let outcome = play(&mut site, Ways::Both, gateway, end).await;
        outcomes.push(outcome);
    }
    let sum = |part: fn(&Outcome) -> usize| outcomes.iter().map(part).sum::<usize>();
    let longest = outcomes.iter().map(|outcome| outcome.time).max();
    println!(
        "{count} stops, node {node:?}: {} sent, {} lost, {} twice, {} unanswered, {} FINs missed; longest {longest:?}",
        sum(|outcome| outcome.sent),
        sum(|outcome| outcome.lost),
        sum(|outcome| outcome.twice),
        sum(|outcome| outcome.unanswered),
        sum(|outcome| outcome.missed),
    );
    let bad: Vec<_> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, it)| !it.is_clean())
        .collect();
    assert!(bad.is_empty(), "{bad:#?}\n{}", site.output());
}

/// What became of one stop.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) sent: usize,
    lost: usize,
    twice: usize,
    unanswered: usize,
    missed: usize,
    /// From SIGTERM to the exit.
    pub(super) time: Duration,
}

impl Outcome {
    pub(super) fn is_clean(&self) -> bool {
        [self.lost, self.twice, self.unanswered] == [0; 3]
    }
}

/// MsgServers connect; a gateway is brought to its end while they send; then it is replaced.
pub(super) async fn play(
    site: &mut Site,
    ways: Ways,
    gateway: usize,
    end: impl AsyncFnOnce(&mut Site) -> Duration,
) -> Outcome {
    let board = Arc::<Mutex<Board>>::default();
    let phase = watch::Sender::new(Phase::Listening);
    let addresses = [0, 1].map(|gateway| site.pdu_address(gateway));
    let mut servers = JoinSet::new();
    for number in 0..SERVERS {
        let server = MsgServer::connect(number, ways, addresses, &board).await;
        servers.spawn(server.expect("a connection").run(phase.subscribe()));
    }
    // Everybody is listed at both gateways.
    sleep(STEADY).await;
    phase.send_replace(Phase::Sending);
    sleep(STEADY).await;

    let time = end(site).await;
    sleep(STEADY).await;
    phase.send_replace(Phase::Listening);
    let limit = Instant::now() + LIMIT;
    let waits = || {
        let board = board.lock();
        !board.due.is_empty() || !board.asked.is_empty()
    };
    while waits() && Instant::now() < limit {
        sleep(Duration::from_millis(20)).await;
    }
    // What comes twice may come a little later.
    sleep(STEADY).await;
    phase.send_replace(Phase::Closing);
    while let Some(server) = servers.join_next().await {
        server.expect("a MsgServer that did not panic");
    }
    site.start_gateway(gateway).await.expect("a gateway");
    let board = board.lock();
    Outcome {
        sent: board.sent as usize,
        lost: board.due.len(),
        twice: board.twice,
        unanswered: board.asked.len(),
        missed: board.missed,
        time,
    }
}

async fn end_gateway(site: &mut Site, node: NodeIs, gateway: usize) -> Duration {
    if node == NodeIs::Back {
        site.kill_node();
        sleep(STEADY).await;
    }
    let began = Instant::now();
    site.terminate_gateway(gateway);
    match node {
        NodeIs::There => {}
        NodeIs::Replaced => {
            site.stop_node().await.expect("an orderly end");
            site.start_node().expect("a node");
        }
        NodeIs::Back => {
            sleep(ABSENCE).await;
            site.start_node().expect("a node");
        }
    }
    let ended = site.gateway_ended(gateway).await;
    ended.expect("an orderly end");
    began.elapsed()
}
