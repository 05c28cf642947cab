//! Two well-behaved MsgServers that keep exchanging messages while something happens, and tell
//! whether they noticed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::BARRIER_LIMIT;
use super::connection::{Connection, Options};
use super::messages;
use super::pdu::{Pdu, command, command_of};

/// Users of the pair; no other play has users of such numbers.
const LEFT: u32 = 4_200_000_001;
const RIGHT: u32 = 4_200_000_002;
/// Marks the pair's messages among whatever else comes.
const MARK: &str = "between the two of us";
/// Messages of one round, each way.
const BURST: usize = 5;
/// The time between two rounds: the pair is a witness, not a load.
const PACE: Duration = Duration::from_millis(2);

/// A pair at work.
#[derive(Debug)]
pub struct Pair {
    stop: watch::Sender<bool>,
    exchange: JoinHandle<Report>,
}

/// What a pair has noticed.
#[derive(Debug, Default)]
pub struct Report {
    /// Rounds in which every message arrived.
    pub rounds: usize,
    /// The longest that a round took, there and back.
    pub worst_round: Duration,
    /// Messages that did not arrive, or arrived more than once; a connection that was closed.
    pub wrong: Option<String>,
}

impl Pair {
    /// Connects both, from addresses of their own, and lets them begin.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        let left = member(address, Options::from_loopback(2), LEFT).await?;
        let right = member(address, Options::from_loopback(3), RIGHT).await?;
        let stop = watch::Sender::new(false);
        let exchange = tokio::spawn(exchange(left, right, stop.subscribe()));
        Ok(Self { stop, exchange })
    }

    /// Ends the exchange after the round that is going on.
    ///
    /// # Panics
    /// If anything went wrong, or nothing was exchanged.
    pub async fn ends_well(self) -> Report {
        let report = self.stop().await;
        assert_eq!(report.wrong, None, "what the pair noticed");
        assert!(report.rounds > 0, "the pair never exchanged anything");
        report
    }

    async fn stop(self) -> Report {
        self.stop.send_replace(true);
        self.exchange.await.unwrap_or_else(|error| Report {
            wrong: Some(error.to_string()),
            ..Report::default()
        })
    }
}

async fn member(address: SocketAddr, options: Options, user: u32) -> io::Result<Connection> {
    let list = messages::online(&[user]);
    let connection = Connection::of_msg_server(address, options, true, &list).await?;
    connection.count_matching(is_ours);
    Ok(connection)
}

async fn exchange(left: Connection, right: Connection, stop: watch::Receiver<bool>) -> Report {
    let there = message(LEFT, RIGHT).encode().repeat(BURST);
    let back = message(RIGHT, LEFT).encode().repeat(BURST);
    let mut report = Report::default();
    let mut expected = 0;
    let mut clock = interval(PACE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow() && report.wrong.is_none() {
        clock.tick().await;
        let start = Instant::now();
        expected += BURST;
        for (from, to, data) in [(&left, &right, &there), (&right, &left, &back)] {
            let sent = from.write(data).await.is_ok();
            let came = sent && to.counts(expected, BARRIER_LIMIT).await;
            if !came || to.count() != expected {
                let count = to.count();
                report.wrong = Some(format!("{count} messages came, expected {expected}"));
            }
        }
        report.rounds += 1;
        report.worst_round = report.worst_round.max(start.elapsed());
    }
    report
}

fn message(from: u32, to: u32) -> Pdu {
    messages::p2p(from, to, MARK)
}

fn is_ours(raw: &[u8]) -> bool {
    command_of(raw) == command::P2P_COMMAND && raw.ends_with(MARK.as_bytes())
}
