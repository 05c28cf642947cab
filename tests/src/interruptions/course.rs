//! What is done to the site, in which order, and when all is well again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Gateways;
use super::cable::{Flow, Reset};
use super::report::{Report, Row};
use super::site::{Flags, Site};
use super::traffic::{Load, Traffic};
use crate::cast::judge::{Judge, State};
use crate::cast::msg_server::GATEWAYS;
use crate::siege::{Attack, Siege, Target};

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

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Course {
    /// How often, of each kind.
    pub interruptions: Vec<(Interruption, usize)>,
    /// What MsgServers do meanwhile.
    pub load: Load,
    /// The longest cut; less than the grace of nodes.
    pub longest_cut: Duration,
    /// More flags of the processes.
    pub flags: Flags,
    /// Whether others besiege the site meanwhile.
    pub is_besieged: bool,
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
        seed: course.load.seed,
        time,
        levels: play.traffic.levels.clone(),
        output: String::new(),
    };
    if !report.is_clean() {
        report.output = play.site.output();
    }
    Ok(report)
}

struct Play<'a> {
    course: &'a Course,
    site: Site,
    traffic: Traffic,
    _siege: Option<Siege>,
}

impl<'a> Play<'a> {
    async fn start(course: &'a Course) -> anyhow::Result<Self> {
        let site = Site::start(&course.flags).await?;
        let pdu = std::array::from_fn(|number| site.pdu_address(number));
        let names = ["node", "gateway 0", "gateway 1"].map(str::to_owned);
        let traffic = Traffic::start(Gateways::new(pdu), course.load, names).await?;
        let target = Target {
            pdu,
            grpc: site.grpc_address(),
            address: None,
        };
        let begin = || Siege::begin(&Attack::ALL, target);
        let siege = course.is_besieged.then(begin);
        Ok(Self {
            course,
            site,
            traffic,
            _siege: siege,
        })
    }

    /// One kind of interruption, with traffic before, between and after; then peace, until
    /// everything has arrived.
    async fn row(&mut self, kind: Interruption, count: usize) -> anyhow::Result<Row> {
        let mut sending = self.traffic.begin()?;
        for number in 0..count {
            self.steady().await;
            self.judge().with(State::interrupt);
            let done = self.interrupt(kind, number).await;
            sending.fails(done);
            if !self.traffic.restored(&mut sending).await {
                break;
            }
        }
        self.steady().await;
        self.traffic.stop(&mut sending).await?;
        Ok(self.traffic.conclude(kind.name(), sending))
    }

    async fn steady(&mut self) {
        let site = &self.site;
        let resident = || site.resident_bytes().collect();
        self.traffic.steady(resident).await;
    }

    fn judge(&self) -> &Judge {
        &self.traffic.judge
    }

    async fn interrupt(&mut self, kind: Interruption, number: usize) -> anyhow::Result<()> {
        match kind {
            Interruption::None => Ok(()),
            Interruption::Kill => {
                self.kill(number).await;
                if number % 5 == 4 {
                    self.site.start_node()?;
                    sleep(SHORTEST_LIFE.mul_f64(self.traffic.dice.share())).await;
                    self.judge().with(State::lose_node);
                    self.site.kill_node();
                }
                self.replace(number).await
            }
            Interruption::Terminate => {
                self.judge().with(State::lose_node);
                let ended = self.site.stop_node().await;
                // Until now it may have answered.
                self.judge().with(State::lose_node);
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
            self.judge().with(State::lose_node);
            self.site.kill_node();
            return;
        }
        let gateway = number / 3 % GATEWAYS;
        let cable = self.site.cable(gateway);
        cable.set(Flow::Lost);
        sleep(LONGEST_LOSS.mul_f64(self.traffic.dice.share())).await;
        self.judge().with(State::lose_node);
        self.site.kill_node();
        cable.reset(Reset::Both);
        cable.set(Flow::Free);
    }

    /// A new node, after a while. Every second time one of the gateways finds it later than the
    /// other.
    async fn replace(&mut self, number: usize) -> anyhow::Result<()> {
        sleep(LONGEST_ABSENCE.mul_f64(self.traffic.dice.share())).await;
        let late = (number % 2 == 1).then_some(number / 2 % GATEWAYS);
        let lateness = LATEST_GATEWAY.mul_f64(self.traffic.dice.share());
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
        let time = self.course.longest_cut.mul_f64(self.traffic.dice.share());
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
