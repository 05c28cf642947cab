//! Promise 8, bounded: bad input costs only the connection that it comes from.
//!
//! Every test here runs beside a pair of well-behaved MsgServers, which must get all of their
//! messages, without noticeable delay, while memory stays bounded.

#[path = "hostile/crowds.rs"]
mod crowds;
#[path = "hostile/frames.rs"]
mod frames;
#[path = "hostile/noise.rs"]
mod noise;
#[path = "hostile/readers.rs"]
mod readers;
#[path = "hostile/strangers.rs"]
mod strangers;

use std::net::SocketAddr;
use std::time::Duration;

use system_tests::deployment::{Deployment, FanOut, Setup, admin};
use system_tests::player::connection::{Connection, Options};
use system_tests::player::messages::{self, Client, GROUP_TEXT, SINGLE_TEXT, Status};
use system_tests::player::pair::Pair;
use system_tests::player::pdu::{Pdu, command};
use tokio::sync::{Mutex, MutexGuard, watch};

/// The gateway's count of connections that ended.
const CLOSED: &str = "teamtalk_pdu_links_closed_total";
/// Its label for lengths that cannot be.
const BAD_FRAME: &str = "reason=\"bad_frame\"";
/// How often it has slowed down senders, because a reader was behind.
const CONGESTIONS: &str = "teamtalk_pdu_congestions_total";
/// Its label for readers that did not read.
const SLOW_READER: &str = "reason=\"slow_reader\"";
/// The pair's messages may take this long at worst: nobody waits for the attack to end. How long
/// they do take is measured by the load tool, not here.
const WORST_ROUND: Duration = Duration::from_secs(10);

/// The pair's delays are measured, so one siege goes on at a time.
/// (Where each test is a process, .config/nextest.toml says the same.)
static ALONE: Mutex<()> = Mutex::const_new(());

/// Servers under attack, and the pair that must not notice.
struct Siege {
    servers: Deployment,
    pair: Pair,
    resident_before: u64,
    _alone: MutexGuard<'static, ()>,
}

impl Siege {
    async fn begin(setup: Setup, gateway_flags: &[&str]) -> Self {
        let alone = ALONE.lock().await;
        let servers = Deployment::start_with(setup, FanOut::Directed, gateway_flags).await;
        let pair = Pair::start(servers.pdu_address()).await;
        let pair = pair.expect("the server accepts");
        // What the pair itself needs is no growth.
        let resident_before = servers.resident_bytes();
        Self {
            servers,
            pair,
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
        let metric = admin::labelled_metric(self.servers.gateway_admin(), name, labels).await;
        metric.expect("the admin port answers")
    }

    /// One of the node's metrics.
    async fn node_metric(&self, name: &str, labels: &str) -> f64 {
        let node = self.servers.admin().last().expect("a node");
        let metric = admin::labelled_metric(*node, name, labels).await;
        metric.expect("the admin port answers")
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
        let gateway = &self.servers.processes()[0];
        // What is counted is written a moment later.
        gateway.says(text, WORST_ROUND).await;
        let lines = gateway.to_string();
        let warned = lines
            .lines()
            .any(|line| line.contains("\"WARN\"") && line.contains(text));
        assert!(warned, "no warning with {text} in\n{lines}");
    }

    /// The pair has got everything in time, the servers live, and have grown by less than `growth`
    /// bytes.
    async fn end(self, growth: u64) {
        let report = self.pair.ends_well().await;
        assert!(
            report.worst_round < WORST_ROUND,
            "the pair waited {:?}",
            report.worst_round
        );
        assert!(self.servers.is_alive(), "a server has ended");
        let grown = self
            .servers
            .resident_bytes()
            .saturating_sub(self.resident_before);
        show(&format!(
            "{} rounds of the pair, the longest took {:?}; memory grew by {} MiB",
            report.rounds,
            report.worst_round,
            grown >> 20
        ));
        assert!(grown < growth, "memory grew by {} MiB", grown >> 20);
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
