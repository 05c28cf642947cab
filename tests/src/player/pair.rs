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

/// Users of pairs; no other play has users of such numbers.
const FIRST_USER: u32 = 4_200_000_000;
/// Marks the pair's messages among whatever else comes.
const MARK: &str = "between the two of us";
/// Messages of one round, each way.
const BURST: usize = 5;
/// Rounds of which the time is kept.
const MOST_TIMES: usize = 1_000_000;
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
    /// How long each round took; of the first million.
    pub times: Vec<Duration>,
    /// Messages that did not arrive, or arrived more than once; a connection that was closed.
    pub wrong: Option<String>,
}

impl Pair {
    /// Connects both, from addresses of their own, and lets them begin.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        Self::start_from(address, [2, 3]).await
    }

    /// The same from loopback addresses with these last numbers, which may be one.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn start_from(address: SocketAddr, from: [u8; 2]) -> io::Result<Self> {
        let [first, second] = from.map(u32::from);
        let users = [FIRST_USER + 2 * first, FIRST_USER + 2 * second + 1];
        let left = member(address, Options::from_loopback(from[0]), users[0]).await?;
        let right = member(address, Options::from_loopback(from[1]), users[1]).await?;
        let stop = watch::Sender::new(false);
        let exchange = tokio::spawn(exchange([left, right], users, stop.subscribe()));
        Ok(Self { stop, exchange })
    }

    /// Ends the exchange after the round that is going on.
    ///
    /// # Panics
    /// If anything went wrong, or nothing was exchanged.
    pub async fn ends_well(self) -> Report {
        let report = self.ends().await;
        assert_eq!(report.wrong, None, "what the pair noticed");
        assert!(report.rounds > 0, "the pair never exchanged anything");
        report
    }

    /// Ends the exchange after the round that is going on, whatever came of it.
    pub async fn ends(self) -> Report {
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

async fn exchange(
    [left, right]: [Connection; 2],
    users: [u32; 2],
    stop: watch::Receiver<bool>,
) -> Report {
    let there = message(users[0], users[1]).encode().repeat(BURST);
    let back = message(users[1], users[0]).encode().repeat(BURST);
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
        let time = start.elapsed();
        report.worst_round = report.worst_round.max(time);
        if report.times.len() < MOST_TIMES {
            report.times.push(time);
        }
    }
    report
}

fn message(from: u32, to: u32) -> Pdu {
    messages::p2p(from, to, MARK)
}

fn is_ours(raw: &[u8]) -> bool {
    command_of(raw) == command::P2P_COMMAND && raw.ends_with(MARK.as_bytes())
}
