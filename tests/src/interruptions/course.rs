//! What is done to the site, in which order, and when all is well again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::cable::{Flow, Reset};
use super::memory::Level;
use super::msg_server::{MsgServer, Rates};
use super::report::{Report, Row};
use super::site::{Flags, Site};
use crate::cast::judge::{Judge, State};
use crate::cast::msg_server::GATEWAYS;
use crate::cast::population::{Population, SERVERS};
use crate::dice::Dice;
use crate::siege::{Attack, Siege, Target};

/// The loopback address of each MsgServer: two share one.
const ADDRESSES: [u8; SERVERS] = [10, 11, 10, 12];
/// For what goes without saying: longer than anything that the servers may take here.
const LIMIT: Duration = Duration::from_secs(30);
/// Between a node's end and the start of the next one, at most.
const LONGEST_ABSENCE: Duration = Duration::from_millis(500);
/// How long what one gateway and the node send each other is lost before the node is killed, at
/// most: meanwhile users move on.
const LONGEST_LOSS: Duration = Duration::from_secs(4);
/// How long a node lives that is killed before it is ready, at most.
const SHORTEST_LIFE: Duration = Duration::from_millis(300);
/// How much later one gateway may find the new node: longer than a node waits for gateways that
/// nobody has told it of.
const LATEST_GATEWAY: Duration = Duration::from_secs(4);
/// Between an interruption and the next one: messages, as a share of those of the time between two.
const STEADY: std::ops::Range<f64> = 0.4..1.6;
/// How often memory is looked at, and the time of which the most is told.
const MEMORY_PACE: Duration = Duration::from_secs(1);
const MEMORY_PART: Duration = Duration::from_mins(5);

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Course {
    /// How often, of each kind.
    pub interruptions: Vec<(Interruption, usize)>,
    /// Of all MsgServers together, in a second.
    pub messages: u64,
    /// Logins and logouts of all MsgServers together, in a second.
    pub updates: u64,
    /// Queries of all MsgServers together, in a second.
    pub queries: u64,
    /// The longest cut; less than the grace of nodes.
    pub longest_cut: Duration,
    /// From one interruption to the next one, on average.
    pub between: Duration,
    /// More flags of the processes.
    pub flags: Flags,
    /// Whether others besiege the site meanwhile.
    pub is_besieged: bool,
    /// Of the dice.
    pub seed: u64,
}

/// What may happen to the node, or to the way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// Nothing: the judge has to be content with peace, too.
    None,
    /// Killed (SIGKILL), and another one started; now and then that one is killed while it starts.
    Kill,
    /// Ended by SIGTERM, and another one started.
    Terminate,
    /// Cut off: bytes stand still, vanish, or connections are reset; for one gateway or for both.
    Cut,
}

impl Interruption {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "node killed (-9)",
            Self::Terminate => "node ended by SIGTERM",
            Self::Cut => "node cut off",
        }
    }
}

/// Plays a course. `tell` hears how far it is.
///
/// # Errors
/// If the site does not start, or MsgServers cannot connect; what goes wrong later stands in the
/// report.
pub async fn run(course: &Course, mut tell: impl FnMut(&str)) -> anyhow::Result<Report> {
    let mut play = Play::start(course).await?;
    let began = Instant::now();
    let mut rows = Vec::new();
    for (kind, count) in &course.interruptions {
        tell(&format!("{count} × {}", kind.name()));
        let row = play.row(*kind, *count).await?;
        let is_broken = row.broken > 0 || !play.site.is_alive();
        rows.push(row);
        if is_broken {
            break;
        }
    }
    let time = began.elapsed();
    let mut report = Report {
        rows,
        seed: course.seed,
        time,
        levels: play.levels.to_vec(),
        output: String::new(),
    };
    if !report.is_clean() {
        report.output = play.site.output();
    }
    Ok(report)
}

struct Play<'a> {
    course: &'a Course,
    dice: Dice,
    site: Site,
    judge: Arc<Judge>,
    servers: Vec<MsgServer>,
    levels: [Level; 1 + GATEWAYS],
    _siege: Option<Siege>,
}

impl<'a> Play<'a> {
    async fn start(course: &'a Course) -> anyhow::Result<Self> {
        let site = Site::start(&course.flags).await?;
        let population = Population::new();
        let lists: Vec<_> = (0..SERVERS).map(|number| population.list(number)).collect();
        let judge = Arc::new(Judge::new(population));
        let mut servers = Vec::new();
        for (number, list) in lists.iter().enumerate() {
            let server = MsgServer::connect(number, ADDRESSES[number], &site, list, &judge);
            servers.push(server.await.context("a MsgServer cannot connect")?);
        }
        let target = Target {
            pdu: std::array::from_fn(|number| site.pdu_address(number)),
            grpc: site.grpc_address(),
            address: None,
        };
        let begin = || Siege::begin(&Attack::ALL, target);
        let siege = course.is_besieged.then(begin);
        let names = ["node", "gateway 0", "gateway 1"];
        Ok(Self {
            course,
            dice: Dice::new(course.seed),
            site,
            judge,
            servers,
            levels: names.map(|name| Level::new(name, MEMORY_PART)),
            _siege: siege,
        })
    }

    /// One kind of interruption, with traffic before, between and after; then peace, until
    /// everything has arrived.
    async fn row(&mut self, kind: Interruption, count: usize) -> anyhow::Result<Row> {
        let stop = watch::Sender::new(false);
        let mut senders = JoinSet::new();
        let share = |rate: u64| rate / SERVERS as u64;
        let rates = Rates {
            messages: share(self.course.messages),
            updates: share(self.course.updates),
            queries: share(self.course.queries),
        };
        for server in &self.servers {
            let sender = server.sender(rates, &self.judge, self.dice.fork())?;
            senders.spawn(sender.run(stop.subscribe()));
        }

        let mut handovers = Vec::new();
        let mut failures = Vec::new();
        for number in 0..count {
            self.steady().await;
            self.judge.with(State::interrupt);
            let done = self.interrupt(kind, number).await;
            failures.extend(done.err().map(|error| format!("{error:#}")));
            let restored = self.judge.until(LIMIT, |judge| judge.restored().is_some());
            if !restored.await {
                failures.push(format!("interruption {number}: no messages for {LIMIT:?}"));
                break;
            }
            handovers.extend(self.judge.with(|judge| judge.restored()));
        }
        self.steady().await;

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
        Ok(Row {
            kind: kind.name(),
            tally: self.judge.with(State::conclude),
            broken: self.servers.iter().map(MsgServer::broken).sum(),
            handovers,
            failures,
        })
    }

    /// Lets some messages pass, and looks at the memory meanwhile.
    async fn steady(&mut self) {
        let share = STEADY.start + self.dice.share() * (STEADY.end - STEADY.start);
        let time = self.course.between.as_secs_f64() * share;
        let wanted = (self.course.messages as f64 * time) as u64;
        let begin = self.judge.with(|judge| judge.sent());
        let limit = Instant::now() + LIMIT + self.course.between.mul_f64(STEADY.end);
        loop {
            let have = |judge: &mut State| judge.sent() - begin >= wanted;
            let is_over = self.judge.until(MEMORY_PACE, have).await;
            for (level, resident) in self.levels.iter_mut().zip(self.site.resident_bytes()) {
                level.is(resident);
            }
            if is_over || Instant::now() > limit {
                return;
            }
        }
    }

    async fn interrupt(&mut self, kind: Interruption, number: usize) -> anyhow::Result<()> {
        match kind {
            Interruption::None => Ok(()),
            Interruption::Kill => {
                self.kill(number).await;
                if number % 5 == 4 {
                    self.site.start_node()?;
                    sleep(SHORTEST_LIFE.mul_f64(self.dice.share())).await;
                    self.judge.with(State::lose_node);
                    self.site.kill_node();
                }
                self.replace(number).await
            }
            Interruption::Terminate => {
                self.judge.with(State::lose_node);
                let ended = self.site.stop_node().await;
                // Until now it may have answered.
                self.judge.with(State::lose_node);
                self.replace(number).await?;
                ended
            }
            Interruption::Cut => {
                self.cut(number).await;
                Ok(())
            }
        }
    }

    /// Every third time one of the gateways is cut off already, so that the node dies with what it
    /// had for that one.
    async fn kill(&mut self, number: usize) {
        if !number.is_multiple_of(3) {
            self.judge.with(State::lose_node);
            self.site.kill_node();
            return;
        }
        let gateway = number / 3 % GATEWAYS;
        let cable = self.site.cable(gateway);
        cable.set(Flow::Lost);
        sleep(LONGEST_LOSS.mul_f64(self.dice.share())).await;
        self.judge.with(State::lose_node);
        self.site.kill_node();
        cable.reset(Reset::Both);
        cable.set(Flow::Free);
    }

    /// A new node, after a while. Every second time one of the gateways finds it later than the
    /// other.
    async fn replace(&mut self, number: usize) -> anyhow::Result<()> {
        sleep(LONGEST_ABSENCE.mul_f64(self.dice.share())).await;
        let late = (number % 2 == 1).then_some(number / 2 % GATEWAYS);
        let lateness = LATEST_GATEWAY.mul_f64(self.dice.share());
        if let Some(gateway) = late {
            self.site.cable(gateway).set(Flow::Held);
        }
        self.site.start_node()?;
        if let Some(gateway) = late {
            sleep(lateness).await;
            self.site.cable(gateway).set(Flow::Free);
        }
        Ok(())
    }

    /// The kinds of cuts take turns, and so do those whom they concern: each gateway, and both.
    async fn cut(&mut self, number: usize) {
        let concerned = match number / 4 % 3 {
            0 => 0..1,
            1 => 1..2,
            _ => 0..GATEWAYS,
        };
        let time = self.course.longest_cut.mul_f64(self.dice.share());
        let (flow, reset) = match number % 4 {
            0 => (Flow::Lost, Some(Reset::Both)),
            1 => (Flow::Held, None),
            2 => (Flow::Free, Some(Reset::Both)),
            _ => (Flow::Lost, Some(Reset::GatewayOnly)),
        };
        let cables = || concerned.clone().map(|gateway| self.site.cable(gateway));
        if flow != Flow::Free {
            cables().for_each(|cable| cable.set(flow));
            sleep(time).await;
        }
        if let Some(reset) = reset {
            cables().for_each(|cable| cable.reset(reset));
        }
        cables().for_each(|cable| cable.set(Flow::Free));
    }
}
