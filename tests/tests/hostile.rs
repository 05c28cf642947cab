//! Promise 8, bounded: bad input costs only the connection that it comes from.
//!
//! Every test here runs beside a pair of well-behaved MsgServers, which must get all of their
//! messages, and a service that asks for their users over gRPC: nobody waits for more than 2 s, during
//! the attack and after it. Memory stays bounded, and the servers end in time when they are asked to.
//! `kinds` has an attack of each kind that goes on and on; the others look closer at some.

#[path = "hostile/crowds.rs"]
mod crowds;
#[path = "hostile/frames.rs"]
mod frames;
#[path = "hostile/gateways.rs"]
mod gateways;
#[path = "hostile/kinds.rs"]
mod kinds;
#[path = "hostile/noise.rs"]
mod noise;
#[path = "hostile/peers.rs"]
mod peers;
#[path = "hostile/reader.rs"]
mod reader;
#[path = "hostile/readers.rs"]
mod readers;
#[path = "hostile/services.rs"]
mod services;
#[path = "hostile/strangers.rs"]
mod strangers;

use std::net::SocketAddr;
use std::time::Duration;

use system_tests::deployment::process::Surroundings;
use system_tests::deployment::{Deployment, FanOut, Flags, Setup, probes};
use system_tests::player::connection::{Connection, Options};
use system_tests::player::messages::{self, Client, GROUP_TEXT, SINGLE_TEXT, Status};
use system_tests::player::pair::Pair;
use system_tests::player::pdu::{Pdu, command};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::{Instant, sleep, timeout};

use kinds::At;
use reader::Reader;

/// The gateway's count of connections that ended.
const CLOSED: &str = "teamtalk_pdu_links_closed_total";
/// Its label for lengths that cannot be.
const BAD_FRAME: &str = "reason=\"bad_frame\"";
/// How often it has slowed down senders, because a reader was behind.
const CONGESTIONS: &str = "teamtalk_pdu_congestions_total";
/// Its label for readers that did not read.
const SLOW_READER: &str = "reason=\"slow_reader\"";
/// The pair's messages, and the answers to the reader, may take this long at worst: nobody waits for
/// the attack to end. How long they do take is measured by the load tool, not here.
const WORST_ROUND: Duration = Duration::from_secs(2);
/// What is counted and logged is so after this.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a metric is asked for.
const LOOK: Duration = Duration::from_millis(20);
/// Rounds of the pair, and answers to the reader, after an attack.
const AFTERWARDS: usize = 50;
/// From SIGTERM to the exit.
const DEADLINE: Duration = Duration::from_secs(6);
/// A process may take this much longer, to say its last words.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// MsgServers that do not go at SIGTERM are waited for shortly.
const STOP_OF_GATEWAY: [&str; 4] = [
    "--shutdown-deadline=6s",
    "--close-window=500ms",
    "--close-timeout=1s",
    "--upstream-drain-wait=2s",
];
const STOP_OF_NODE: [&str; 1] = ["--shutdown-deadline=6s"];

/// What others wait for at most, where the attack is on what all share.
const PROMPT: Duration = Duration::from_secs(2);

/// The pair's delays are measured, so one siege goes on at a time.
/// (Where each test is a process, .config/nextest.toml says the same.)
static ALONE: Mutex<()> = Mutex::const_new(());

/// Servers under attack, and the pair that must not notice.
struct Siege {
    servers: Deployment,
    pair: Pair,
    reader: Reader,
    resident_before: u64,
    _alone: MutexGuard<'static, ()>,
}

impl Siege {
    async fn begin(setup: Setup, gateway_flags: &[&str]) -> Self {
        Self::begin_with(setup, gateway_flags, &[]).await
    }

    /// The same with flags for the node, too.
    async fn begin_with(setup: Setup, gateway: &[&str], node: &[&str]) -> Self {
        let alone = ALONE.lock().await;
        let gateway = [&STOP_OF_GATEWAY, gateway].concat();
        let flags = Flags {
            gateway: &gateway,
            node,
            node_alone: &STOP_OF_NODE,
        };
        let surroundings = Surroundings::default();
        let servers = Deployment::start_as(&surroundings, setup, FanOut::Directed, flags).await;
        let pair = Pair::start(servers.pdu_address()).await;
        let pair = pair.expect("the server accepts");
        let reader = Reader::start(servers.grpc_address()).await;
        // What the pair itself needs is no growth.
        let resident_before = servers.resident_bytes();
        Self {
            servers,
            pair,
            reader,
            resident_before,
            _alone: alone,
        }
    }

    fn address(&self) -> SocketAddr {
        self.servers.pdu_address()
    }

    /// Connects somebody, from an address that is not the pair's.
    async fn connect(&self) -> Connection {
        connect(self.address()).await
    }

    /// One of the gateway's metrics.
    async fn metric(&self, name: &str, labels: &str) -> f64 {
        metric(self.servers.gateway_probes(), name, labels).await
    }

    /// One of the node's metrics.
    async fn node_metric(&self, name: &str, labels: &str) -> f64 {
        let node = self.servers.probes().last().expect("a node");
        metric(*node, name, labels).await
    }

    /// The node's log has one line with this in it, which somebody will look at.
    async fn assert_said_once(&self, text: &str) {
        let node = self.servers.processes().last().expect("a node");
        assert!(node.says(text, WORST_ROUND).await, "{node}");
        let log = node.to_string();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(text)).collect();
        assert!(
            lines.len() == 1 && lines[0].contains("\"WARN\""),
            "{lines:?}"
        );
    }

    /// Lines of the gateway's log with this in them.
    fn lines(&self, text: &str) -> Vec<String> {
        let log = self.servers.processes()[0].to_string();
        let lines = log.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
    }

    /// The gateway's log has a line that somebody will look at, with this in it.
    async fn assert_warned(&self, text: &str) {
        self.assert_warns(At::Gateway, text).await;
    }

    /// The same of either log.
    async fn assert_warns(&self, at: At, text: &str) {
        let process = match at {
            At::Gateway => self.servers.processes().first(),
            At::Node => self.servers.processes().last(),
        };
        let process = process.expect("it runs");
        // What is counted is written a moment later.
        process.says(text, WORST_ROUND).await;
        let lines = process.to_string();
        let warned = lines
            .lines()
            .any(|line| line.contains("\"WARN\"") && line.contains(text));
        assert!(warned, "no warning with {text} in\n{lines}");
    }

    /// A metric of either.
    async fn counter(&self, at: At, name: &str, labels: &str) -> f64 {
        match at {
            At::Gateway => self.metric(name, labels).await,
            At::Node => self.node_metric(name, labels).await,
        }
    }

    /// Waits until a metric has grown to this.
    async fn grows(&self, at: At, name: &str, labels: &str, count: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let is = self.counter(at, name, labels).await;
            if is >= count {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{name}{{{labels}}} is {is}, less than {count}"
            );
            sleep(LOOK).await;
        }
    }

    /// Others go on: so many more rounds of the pair, so many more answers.
    async fn goes_on(&self) {
        let (rounds, answers) = (self.pair.rounds(), self.reader.answers());
        let enough = async {
            while self.pair.rounds() < rounds + AFTERWARDS
                || self.reader.answers() < answers + AFTERWARDS
            {
                sleep(LOOK).await;
            }
        };
        let goes_on = timeout(PATIENCE, enough).await;
        assert!(goes_on.is_ok(), "others do not get on");
    }

    /// The pair has got everything in time, the reader its answers; the servers live, and have grown
    /// by less than `growth` bytes; and they end in time when they are asked to, whatever the attack
    /// has left open or goes on with.
    async fn end(self, growth: u64) {
        self.end_within(growth, WORST_ROUND).await;
    }

    /// The same, and the pair has got everything at once.
    async fn ends_promptly(self, growth: u64) {
        self.end_within(growth, PROMPT).await;
    }

    async fn end_within(self, growth: u64, worst_round: Duration) {
        self.goes_on().await;
        // It asks for users of the pair.
        let (answers, worst_answer) = self.reader.ends().await;
        let report = self.pair.ends_well().await;
        assert!(
            report.worst_round < worst_round,
            "the pair waited {:?}",
            report.worst_round
        );
        assert!(
            worst_answer < WORST_ROUND,
            "a reader waited {worst_answer:?}"
        );
        assert!(self.servers.is_alive(), "a server has ended");
        let grown = self
            .servers
            .resident_bytes()
            .saturating_sub(self.resident_before);
        show(&format!(
            "{} rounds of the pair, the longest took {:?}; {answers} answers, the longest took \
             {worst_answer:?}; memory grew by {} MiB",
            report.rounds,
            report.worst_round,
            grown >> 20
        ));
        assert!(grown < growth, "memory grew by {} MiB", grown >> 20);
        stop(&self.servers).await;
    }
}

/// All processes are asked to end, and do within their deadline.
async fn stop(servers: &Deployment) {
    let began = Instant::now();
    for process in servers.processes() {
        process.terminate();
    }
    for process in servers.processes() {
        let limit = (DEADLINE + LAST_WORDS).saturating_sub(began.elapsed());
        let status = process.ended(limit).await;
        assert!(status.is_some(), "SIGTERM, and it has not ended: {process}");
    }
    show(&format!("they ended after {:?}", began.elapsed()));
}

/// Who asks may be dropped for a newer one, and asks again, as probes do.
async fn metric(probes: SocketAddr, name: &str, labels: &str) -> f64 {
    let deadline = Instant::now() + WORST_ROUND;
    loop {
        match probes::labelled_metric(probes, name, labels).await {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "no answer at {probes}: {error}"),
        }
    }
}

/// For a person who runs one of these alone, with --nocapture.
#[allow(clippy::print_stdout)]
fn show(figures: &str) {
    println!("{figures}");
}

async fn connect(address: SocketAddr) -> Connection {
    let connection =
        Connection::open(address, Options::from_loopback(1), watch::Sender::new(())).await;
    connection.expect("the server accepts")
}

/// One valid PDU of every command that MsgServers send.
fn every_command() -> Vec<Pdu> {
    vec![
        Pdu::bare(command::HEARTBEAT),
        messages::role(1),
        messages::list(&[
            (1, Status::Online, Client::Mac),
            (2, Status::Leave, Client::Ios),
        ]),
        messages::update(3, Status::Online, Client::Windows),
        messages::query(1, &[1, 2, 3], Some(b"attached")),
        messages::message(1, 2, 1, SINGLE_TEXT, b"text"),
        messages::message(1, 900, 1, GROUP_TEXT, b"text"),
        messages::p2p(1, 2, "{}"),
        messages::read(1, 2, 1),
        messages::remove_session(1, 2),
        messages::kick(1, Client::Windows),
        messages::group_change(1, 900, &[1, 2], &[2]),
        messages::file(1, 2),
        messages::sign_info(1, "s"),
    ]
}
