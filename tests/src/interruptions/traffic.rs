//! MsgServers at work, and what becomes of what they send.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Gateways;
use super::memory::Level;
use super::msg_server::{MsgServer, Rates};
use super::report::Row;
use crate::cast::judge::{Judge, State};
use crate::cast::population::{Population, SERVERS};
use crate::dice::Dice;

/// The loopback address of each MsgServer: two share one.
const ADDRESSES: [u8; SERVERS] = [10, 11, 10, 12];
/// For what goes without saying: longer than anything that the servers may take here.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// Between an interruption and the next one: messages, as a share of those of the time between two.
const STEADY: std::ops::Range<f64> = 0.4..1.6;
/// How often memory is looked at, and the time of which the most is told.
const MEMORY_PACE: Duration = Duration::from_secs(1);
const MEMORY_PART: Duration = Duration::from_mins(5);

/// What MsgServers do while the site is interrupted.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Of all MsgServers together, in a second.
    pub messages: u64,
    /// Logins and logouts of all MsgServers together, in a second.
    pub updates: u64,
    /// Queries of all MsgServers together, in a second.
    pub queries: u64,
    /// From one interruption to the next one, on average.
    pub between: Duration,
    /// Of the dice.
    pub seed: u64,
}

/// MsgServers that are connected.
pub(super) struct Traffic {
    pub(super) judge: Arc<Judge>,
    pub(super) dice: Dice,
    /// The memory of each process.
    pub(super) levels: Vec<Level>,
    load: Load,
    servers: Vec<MsgServer>,
}

/// They send.
pub(super) struct Sending {
    stop: watch::Sender<bool>,
    senders: JoinSet<std::io::Result<()>>,
    /// Of each interruption.
    handovers: Vec<Duration>,
    /// What else went wrong.
    failures: Vec<String>,
}

impl Sending {
    /// Notes that something failed, if it did.
    pub(super) fn fails(&mut self, done: anyhow::Result<()>) {
        self.failures
            .extend(done.err().map(|error| format!("{error:#}")));
    }

    /// Of interruptions that are to count as one, only the longest counts.
    pub(super) fn only_longest_of_last(&mut self, interruptions: usize) {
        let first = self.handovers.len().saturating_sub(interruptions);
        let longest = self.handovers.drain(first..).max();
        self.handovers.extend(longest);
    }
}

impl Traffic {
    /// Connects MsgServers. `names`: of the processes whose memory is looked at.
    pub(super) async fn start(
        gateways: Gateways,
        load: Load,
        names: impl IntoIterator<Item = String>,
    ) -> anyhow::Result<Self> {
        let population = Population::new();
        let lists: Vec<_> = (0..SERVERS).map(|number| population.list(number)).collect();
        let judge = Arc::new(Judge::new(population));
        let mut servers = Vec::new();
        for (number, list) in lists.iter().enumerate() {
            let server = MsgServer::connect(number, ADDRESSES[number], &gateways, list, &judge);
            servers.push(server.await.context("a MsgServer cannot connect")?);
        }
        let levels = names.into_iter().map(|name| Level::new(&name, MEMORY_PART));
        Ok(Self {
            judge,
            dice: Dice::new(load.seed),
            levels: levels.collect(),
            load,
            servers,
        })
    }

    /// They begin to send.
    pub(super) fn begin(&mut self) -> anyhow::Result<Sending> {
        let stop = watch::Sender::new(false);
        let mut senders = JoinSet::new();
        let share = |rate: u64| rate / SERVERS as u64;
        let rates = Rates {
            messages: share(self.load.messages),
            updates: share(self.load.updates),
            queries: share(self.load.queries),
        };
        for server in &self.servers {
            let sender = server.sender(rates, &self.judge, self.dice.fork())?;
            senders.spawn(sender.run(stop.subscribe()));
        }
        Ok(Sending {
            stop,
            senders,
            handovers: Vec::new(),
            failures: Vec::new(),
        })
    }

    /// Waits until messages that were sent after the interruption have come through everywhere, and
    /// notes how long that took. False if they do not.
    pub(super) async fn restored(&self, sending: &mut Sending) -> bool {
        let restored = self.judge.until(LIMIT, |judge| judge.restored().is_some());
        let is_restored = restored.await;
        if is_restored {
            let took = self.judge.with(|judge| judge.restored());
            sending.handovers.extend(took);
        } else {
            let number = sending.handovers.len();
            let failure = format!("interruption {number}: no messages for {LIMIT:?}");
            sending.failures.push(failure);
        }
        is_restored
    }

    /// Lets some messages pass, and looks at the memory meanwhile.
    pub(super) async fn steady(&mut self, resident: impl Fn() -> Vec<u64>) {
        let share = STEADY.start + self.dice.share() * (STEADY.end - STEADY.start);
        let time = self.load.between.as_secs_f64() * share;
        let wanted = (self.load.messages as f64 * time) as u64;
        let begin = self.judge.with(|judge| judge.sent());
        let limit = Instant::now() + LIMIT + self.load.between.mul_f64(STEADY.end);
        loop {
            let have = |judge: &mut State| judge.sent() - begin >= wanted;
            let is_over = self.judge.until(MEMORY_PACE, have).await;
            for (level, resident) in self.levels.iter_mut().zip(resident()) {
                level.is(resident);
            }
            if is_over || Instant::now() > limit {
                return;
            }
        }
    }

    /// They send no more. Waits until everything has come.
    pub(super) async fn stop(&self, sending: &mut Sending) -> anyhow::Result<()> {
        let Sending {
            stop,
            senders,
            failures,
            ..
        } = sending;
        stop.send_replace(true);
        while let Ok(Some(ended)) = timeout(LIMIT, senders.join_next()).await {
            let failure = ended?.err();
            failures.extend(failure.map(|error| format!("a MsgServer cannot send: {error}")));
        }
        if !senders.is_empty() {
            failures.push(format!("a gateway has taken nothing for {LIMIT:?}"));
        }
        let all = self.judge.until(LIMIT, |judge| judge.is_quiet()).await;
        if !all {
            failures.push(format!("not everything has come after {LIMIT:?}"));
        }
        // What comes twice comes before the answer to what is asked now.
        for server in &self.servers {
            server.barrier().await;
        }
        Ok(())
    }

    /// What came of it.
    pub(super) fn conclude(&self, kind: &'static str, sending: Sending) -> Row {
        Row {
            kind,
            tally: self.judge.with(State::conclude),
            broken: self.servers.iter().map(MsgServer::broken).sum(),
            handovers: sending.handovers,
            failures: sending.failures,
        }
    }
}
