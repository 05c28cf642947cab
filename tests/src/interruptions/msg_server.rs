//! A played MsgServer: one or two connections, claimed the first, and what its users make it send.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::site::Site;
use crate::cast::judge::Judge;
use crate::player::connection::{Connection, Options, Writer};
use crate::player::pdu::{Pdu, command};
use crate::player::stage::BARRIER_LIMIT;

/// Between two writes. Short, so that there is always something on its way.
const PACE: Duration = Duration::from_millis(1);
/// What one write may catch up after the gateway took nothing for a while.
const MOST_AT_ONCE: u64 = 200;
/// MsgServers send a heartbeat so often when they have nothing else to say.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What one MsgServer sends in a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub(super) messages: u64,
    pub(super) updates: u64,
    pub(super) queries: u64,
}

/// A MsgServer. Its connections stay open as long as it lives.
#[derive(Debug)]
pub(super) struct MsgServer {
    number: usize,
    /// The primary one first.
    connections: Vec<Connection>,
}

impl MsgServer {
    /// Connects to these gateways, from this loopback address, as MsgServers do: a claim on the first connection, the
    /// list on all of them.
    pub(super) async fn connect(
        number: usize,
        address: u8,
        site: &Site,
        gateways: &[usize],
        list: &Pdu,
        judge: &Arc<Judge>,
    ) -> io::Result<Self> {
        let options = Options::from_loopback(address);
        let mut connections = Vec::new();
        for gateway in gateways {
            let address = site.pdu_address(*gateway);
            let claims = connections.is_empty();
            let connection = Connection::of_msg_server(address, options, claims, list).await?;
            let judge = Arc::clone(judge);
            connection.show_to(move |raw| judge.arrived(number, raw));
            connections.push(connection);
        }
        Ok(Self {
            number,
            connections,
        })
    }

    /// Waits until everything that was sent to it before has come.
    pub(super) async fn barrier(&self) {
        for connection in &self.connections {
            connection.barrier(BARRIER_LIMIT).await;
        }
    }

    /// Connections that were closed.
    pub(super) fn broken(&self) -> u64 {
        let broken = self.connections.iter().filter(|c| c.is_closed());
        broken.count() as u64
    }

    /// What its users make it send, as a task of its own.
    pub(super) fn sender(&self, rates: Rates, judge: &Arc<Judge>, dice: Rng) -> io::Result<Sender> {
        let writers = self.connections.iter().map(Connection::writer);
        Ok(Sender {
            number: self.number,
            writers: writers.collect::<io::Result<_>>()?,
            rates,
            judge: Arc::clone(judge),
            dice,
        })
    }
}

/// Sends for a MsgServer.
#[derive(Debug)]
pub(super) struct Sender {
    number: usize,
    writers: Vec<Writer>,
    rates: Rates,
    judge: Arc<Judge>,
    dice: Rng,
}

impl Sender {
    /// Sends until it is told to stop. Fails if a connection breaks.
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) -> io::Result<()> {
        let began = Instant::now();
        let mut sent = [0; 3];
        let mut heartbeat = began;
        let mut clock = interval(PACE);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stop.borrow() {
            let now = clock.tick().await;
            let rates = [self.rates.messages, self.rates.updates, self.rates.queries];
            let due = |rate: u64| (began.elapsed().as_secs_f64() * rate as f64) as u64;
            let mut counts = [0; 3];
            for (kind, rate) in rates.into_iter().enumerate() {
                counts[kind] = (due(rate) - sent[kind]).min(MOST_AT_ONCE);
                sent[kind] += counts[kind];
            }
            let (number, dice) = (self.number, &mut self.dice);
            let [mut to_primary, mut to_others] =
                self.judge.with(|judge| judge.batch(number, counts, dice));
            if now - heartbeat > HEARTBEAT {
                heartbeat = now;
                for data in [&mut to_primary, &mut to_others] {
                    data.extend_from_slice(&Pdu::bare(command::HEARTBEAT).encode());
                }
            }
            for (place, writer) in self.writers.iter().enumerate() {
                let data = if place == 0 { &to_primary } else { &to_others };
                writer.write(data).await?;
            }
        }
        Ok(())
    }
}
