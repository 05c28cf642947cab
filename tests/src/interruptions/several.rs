//! Several nodes, of which one leads: what is done to them, to gateways and to NATS, and when all is well again.
//!
//! The same MsgServers and the same judge as with one node; and who led when (`terms`).

mod diary;
mod fleet;
mod followers;
mod terms;

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use self::fleet::Fleet;
use self::followers::Followers;
use super::Gateways;
use super::report::{Report, Row};
use super::site::Flags;
use super::traffic::{Load, Sending, Traffic};
use crate::cast::judge::{Judge, State};
use crate::cast::msg_server::{GATEWAYS, gateways_of};
use crate::cast::population::SERVERS;

/// Between a node's end and its next start, at most: longer than it takes to be missed.
const LONGEST_ABSENCE: Duration = Duration::from_secs(4);
/// How long a leader stands still: longer than its lease, and at most so much longer.
const FREEZE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(4));
/// How long a leader stands still that is about to be missed: gateways leave it after 3 s, and not all at once.
const PAUSE: (Duration, Duration) = (Duration::from_millis(2500), Duration::from_millis(1500));
/// How long one NATS server is away, at least, and how much longer at most.
const SERVER_AWAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Course {
    /// How many.
    pub nodes: usize,
    /// NATS servers: one or three.
    pub engine_servers: usize,
    /// How often, of each kind.
    pub troubles: Vec<(Trouble, usize)>,
    /// For how long all NATS servers are away.
    pub absence: Duration,
    /// What MsgServers do meanwhile.
    pub load: Load,
    /// More flags of the processes.
    pub flags: Flags,
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing: the judge has to be content with peace, too.
    None,
    /// The leader is killed (SIGKILL), and started again after a while.
    Kill,
    /// The leader is ended by SIGTERM, and started again.
    Terminate,
    /// The leader stands still (SIGSTOP) for longer than its lease, and goes on.
    Freeze,
    /// The leader stands still for about as long as its gateways wait: some may have left it, and others not.
    Pause,
    /// A NATS server is killed, mostly the one that leads the record's stream, and started again.
    KillEngine,
    /// All NATS servers are away for a time.
    NoEngine,
    /// All nodes are ended by SIGTERM and started again, one after the other.
    Roll,
    /// The leader and a gateway are killed together, and stay away. Each time is a site of its own.
    KillWithGateway,
}

impl Trouble {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "leader killed (-9)",
            Self::Terminate => "leader ended by SIGTERM",
            Self::Freeze => "leader stands still",
            Self::Pause => "leader pauses",
            Self::KillEngine => "NATS server killed",
            Self::NoEngine => "no NATS",
            Self::Roll => "all nodes replaced",
            Self::KillWithGateway => "leader and gateway killed",
        }
    }
}

/// Plays a course. `tell` hears how far it is.
///
/// # Errors
/// If the site does not start, or MsgServers cannot connect; what goes wrong later stands in the
/// report.
pub async fn run(course: &Course, mut tell: impl FnMut(&str)) -> anyhow::Result<Report> {
    let mut report = Report {
        rows: Vec::new(),
        seed: course.load.seed,
        time: Duration::ZERO,
        levels: Vec::new(),
        output: String::new(),
    };
    let mut play = Play::start(course).await?;
    for (kind, count) in course.troubles.iter().copied().filter(|it| it.1 > 0) {
        tell(&format!("{count} × {}", kind.name()));
        let began = Instant::now();
        let mut row = None::<Row>;
        if kind == Trouble::KillWithGateway {
            for number in 0..count {
                // MsgServers do not come back here.
                let mut own = Play::start(course).await?;
                let one = own.row(kind, number..number + 1).await?;
                note_output(&mut report, &one, &own);
                row = Some(match row {
                    Some(row) => row.and(one),
                    None => one,
                });
            }
        } else {
            let one = play.row(kind, 0..count).await?;
            note_output(&mut report, &one, &play);
            row = Some(one);
        }
        report.time += began.elapsed();
        let is_broken = row.as_ref().is_some_and(|row| row.broken > 0);
        if let Some(row) = &row {
            tell(&row.to_string());
        }
        report.rows.extend(row);
        if is_broken {
            play = Play::start(course).await?;
        }
    }
    tell(&play.followers.told());
    report.levels = play.traffic.levels;
    Ok(report)
}

fn note_output(report: &mut Report, row: &Row, play: &Play<'_>) {
    if !row.is_clean() {
        report.output += &format!("=== {}\n{}", row.kind, play.fleet.output());
    }
}

struct Play<'a> {
    course: &'a Course,
    fleet: Fleet,
    gateways: Gateways,
    traffic: Traffic,
    followers: Followers,
}

impl<'a> Play<'a> {
    async fn start(course: &'a Course) -> anyhow::Result<Self> {
        let fleet = Fleet::start(course.nodes, course.engine_servers, &course.flags).await?;
        let gateways = Gateways::new(fleet.pdu_addresses());
        let traffic = Traffic::start(gateways.clone(), course.load, fleet.names()).await?;
        fleet.terms.tell(&traffic.judge);
        let followers = Followers::start(&fleet.grpc_addresses(), &traffic.judge);
        Ok(Self {
            course,
            fleet,
            gateways,
            traffic,
            followers,
        })
    }

    /// One kind of trouble, with traffic before, between and after; then peace, until everything
    /// has arrived.
    async fn row(&mut self, kind: Trouble, numbers: std::ops::Range<usize>) -> anyhow::Result<Row> {
        let mut sending = self.traffic.begin()?;
        for number in numbers {
            self.steady().await;
            let done = self.happens(kind, number, &mut sending).await;
            let failed = done.is_err();
            sending.fails(done);
            if failed {
                break;
            }
        }
        self.steady().await;
        self.traffic.stop(&mut sending).await?;
        let mut wrong = self.fleet.terms.wrong();
        wrong.extend(self.followers.wrong(self.judge()).await);
        for wrong in wrong {
            sending.fails(Err(anyhow::Error::msg(wrong)));
        }
        Ok(self.traffic.conclude(kind.name(), sending))
    }

    /// Until all is well again.
    async fn happens(
        &mut self,
        kind: Trouble,
        number: usize,
        sending: &mut Sending,
    ) -> anyhow::Result<()> {
        let leader = self.fleet.settled().await?;
        let term = self.fleet.terms.newest();
        self.judge().with(State::interrupt);
        match kind {
            Trouble::None => {}
            Trouble::Kill => self.kill(leader).await?,
            Trouble::Terminate => self.terminate(leader).await?,
            Trouble::Freeze => self.freeze(leader, FREEZE).await,
            Trouble::Pause => self.freeze(leader, PAUSE).await,
            Trouble::KillEngine => self.kill_engine(number).await?,
            Trouble::NoEngine => self.no_engine().await?,
            Trouble::KillWithGateway => self.kill_with_gateway(leader, number),
            Trouble::Roll => return self.roll(sending).await,
        }
        ensure!(self.traffic.restored(sending).await, "see above");
        self.fleet.settled().await?;
        let is_next = self.fleet.terms.newest() > term;
        let may_stay = matches!(kind, Trouble::None | Trouble::Pause | Trouble::KillEngine);
        ensure!(is_next || may_stay, "no term has begun");
        Ok(())
    }

    async fn steady(&mut self) {
        let fleet = &self.fleet;
        self.traffic.steady(|| fleet.resident_bytes()).await;
    }

    fn judge(&self) -> &Judge {
        &self.traffic.judge
    }

    async fn kill(&mut self, leader: usize) -> anyhow::Result<()> {
        self.judge().with(State::lose_node);
        self.fleet.kill_node(leader);
        sleep(LONGEST_ABSENCE.mul_f64(self.traffic.dice.share())).await;
        self.fleet.start_node(leader)
    }

    /// That it does not lead any more, the node says itself.
    async fn terminate(&mut self, node: usize) -> anyhow::Result<()> {
        self.fleet.process(node).terminate();
        self.fleet.node_ended(node).await?;
        self.fleet.start_node(node)
    }

    /// If another node leads then, that says so, and the judge hears it.
    async fn freeze(&mut self, leader: usize, (least, more): (Duration, Duration)) {
        self.fleet.process(leader).suspend();
        sleep(least + more.mul_f64(self.traffic.dice.share())).await;
        self.fleet.process(leader).resume();
    }

    async fn kill_engine(&mut self, number: usize) -> anyhow::Result<()> {
        let leader = self.fleet.engine_leader().await;
        let servers = self.fleet.engine.servers.len();
        let place = match number % 4 {
            3 => (leader + 1) % servers,
            _ => leader,
        };
        self.fleet.engine.servers[place].process.kill();
        let (least, more) = SERVER_AWAY;
        sleep(least + more.mul_f64(self.traffic.dice.share())).await;
        let restarted = self.fleet.engine.servers[place].restart().await;
        restarted.map_err(anyhow::Error::msg)
    }

    /// The interruption is what is left of it when NATS is there again.
    async fn no_engine(&mut self) -> anyhow::Result<()> {
        self.fleet.engine.kill();
        sleep(self.course.absence).await;
        self.judge().with(State::interrupt);
        let restarted = self.fleet.engine.restart().await;
        restarted.map_err(anyhow::Error::msg)
    }

    async fn roll(&mut self, sending: &mut Sending) -> anyhow::Result<()> {
        for node in (0..self.fleet.nodes()).rev() {
            self.judge().with(State::interrupt);
            self.terminate(node).await?;
            ensure!(self.traffic.restored(sending).await, "see above");
            self.fleet.settled().await?;
        }
        sending.only_longest_of_last(self.fleet.nodes());
        Ok(())
    }

    /// MsgServers whose claimed connection leads to the gateway are excused.
    fn kill_with_gateway(&mut self, leader: usize, number: usize) {
        let gateway = number % GATEWAYS;
        self.gateways.lose(gateway);
        self.judge().with(|judge| {
            judge.lose_node();
            let servers = 0..SERVERS;
            servers
                .filter(|server| gateways_of(*server)[0] == gateway)
                .for_each(|server| judge.excuse(server));
        });
        self.fleet.kill_node(leader);
        self.fleet.kill_gateway(gateway);
    }
}
