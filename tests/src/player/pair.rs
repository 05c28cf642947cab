//! Two well-behaved MsgServers that keep exchanging messages while something happens, and tell
//! whether they noticed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    rounds: Arc<AtomicUsize>,
    exchange: JoinHandle<Report>,
}

/// What a pair has noticed.
#[derive(Debug, Default)]
pub struct Report {
    /// Rounds in which every message arrived.
    pub rounds: usize,
    /// The longest that a round took, there and back.
    pub worst_round: Duration,
    /// Each round; the first million.
    pub times: Vec<Round>,
    /// Messages that did not arrive, or arrived more than once; a connection that was closed.
    pub wrong: Option<String>,
}

/// Messages there and back.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// When it began.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
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
        let users = users(from);
        let left = member(address, Options::from_loopback(from[0]), users[0]).await?;
        let right = member(address, Options::from_loopback(from[1]), users[1]).await?;
        let stop = watch::Sender::new(false);
        let rounds = Arc::default();
        let exchange = exchange([left, right], users, stop.subscribe(), Arc::clone(&rounds));
        Ok(Self {
            stop,
            rounds,
            exchange: tokio::spawn(exchange),
        })
    }

    /// How many rounds there have been.
    pub fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
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

/// The users of a pair at loopback addresses with these last numbers.
pub fn users(from: [u8; 2]) -> [u32; 2] {
    let [first, second] = from.map(u32::from);
    [FIRST_USER + 2 * first, FIRST_USER + 2 * second + 1]
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
    rounds: Arc<AtomicUsize>,
) -> Report {
    let there = message(users[0], users[1]).encode().repeat(BURST);
    let back = message(users[1], users[0]).encode().repeat(BURST);
    let mut report = Report::default();
    let mut expected = 0;
    let mut clock = interval(PACE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow() && report.wrong.is_none() {
        clock.tick().await;
        let began = Instant::now();
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
        rounds.fetch_add(1, Ordering::Relaxed);
        let took = began.elapsed();
        report.worst_round = report.worst_round.max(took);
        if report.times.len() < MOST_TIMES {
            report.times.push(Round { began, took });
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
