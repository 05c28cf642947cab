//! A played MsgServer: one or two connections, claimed the first, and what its users make it send.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Gateways;
use crate::cast::judge::Judge;
use crate::cast::msg_server::{Connections, HEARTBEAT, gateways_of};
use crate::dice::Dice;
use crate::player::connection::BARRIER_LIMIT;
use crate::player::connection::{Connection, Options, Writer};
use crate::player::pdu::{Pdu, command};
use crate::siege::is_of_a_besieger;

/// Between two writes. Short, so that there is always something on its way.
const PACE: Duration = Duration::from_millis(1);
/// What one write may catch up after the gateway took nothing for a while.
const MOST_AT_ONCE: usize = 200;

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
    connections: Connections<Connection>,
    gateways: Gateways,
}

impl MsgServer {
    /// Connects to its gateways, from this loopback address, as MsgServers do: a claim on the first
    /// connection, the list on all of them.
    pub(super) async fn connect(
        number: usize,
        address: u8,
        gateways: &Gateways,
        list: &Pdu,
        judge: &Arc<Judge>,
    ) -> io::Result<Self> {
        let options = Options::from_loopback(address);
        let mut connections = Connections::new(gateways_of(number));
        for (slot, gateway) in (0..).zip(gateways_of(number)) {
            let address = gateways.addresses[gateway];
            let connection = Connection::of_msg_server(address, options, slot == 0, list).await?;
            let judge = Arc::clone(judge);
            connection.show_to(move |raw| {
                if !is_of_a_besieger(raw) {
                    judge.arrived(number, raw);
                }
            });
            connections.open(slot, connection);
        }
        Ok(Self {
            number,
            connections,
            gateways: gateways.clone(),
        })
    }

    /// Waits until everything that was sent to it before has come.
    pub(super) async fn barrier(&self) {
        for connection in self.kept() {
            connection.barrier(BARRIER_LIMIT).await;
        }
    }

    /// Connections that were closed, and not by the loss of a gateway.
    pub(super) fn broken(&self) -> u64 {
        self.kept().filter(|c| c.is_closed()).count() as u64
    }

    /// Connections to gateways that were not lost on purpose.
    fn kept(&self) -> impl Iterator<Item = &Connection> {
        let all = self.connections.slots().iter();
        all.filter(|(gateway, _)| !self.gateways.is_lost(*gateway))
            .filter_map(|(_, open)| open.as_ref())
    }

    /// What its users make it send, as a task of its own.
    pub(super) fn sender(
        &self,
        rates: Rates,
        judge: &Arc<Judge>,
        dice: Dice,
    ) -> io::Result<Sender> {
        let all = self.connections.with_primary();
        let gateways = self.connections.gateways();
        let writers = all
            .zip(gateways)
            .map(|((connection, is_primary), gateway)| {
                let writer = connection.writer()?;
                Ok(Line {
                    writer,
                    is_primary,
                    gateway,
                })
            });
        Ok(Sender {
            number: self.number,
            lines: writers.collect::<io::Result<_>>()?,
            gateways: self.gateways.clone(),
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
    lines: Vec<Line>,
    gateways: Gateways,
    rates: Rates,
    judge: Arc<Judge>,
    dice: Dice,
}

/// One connection.
#[derive(Debug)]
struct Line {
    writer: Writer,
    /// It is the claimed one.
    is_primary: bool,
    gateway: usize,
}

impl Sender {
    /// Sends until it is told to stop, or the gateway of its claimed connection is lost on purpose. Fails if a connection
    /// breaks otherwise.
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) -> io::Result<()> {
        let began = Instant::now();
        let mut sent = [0; 3];
        let mut heartbeat = began;
        let mut clock = interval(PACE);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stop.borrow() {
            let now = clock.tick().await;
            let rates = [self.rates.messages, self.rates.updates, self.rates.queries];
            let due = |rate: u64| (began.elapsed().as_secs_f64() * rate as f64) as usize;
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
            for line in &self.lines {
                let is_lost = self.gateways.is_lost(line.gateway);
                let data = if line.is_primary {
                    &to_primary
                } else {
                    &to_others
                };
                match line.writer.write(data).await {
                    Ok(()) => {}
                    Err(_) if is_lost && line.is_primary => return Ok(()),
                    Err(_) if is_lost => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
