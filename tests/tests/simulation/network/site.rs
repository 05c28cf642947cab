//! A schedule's hosts and the network between them, and the time that passes there.

use std::sync::Arc;
use std::time::Duration;

use system_tests::cast::judge::State;
use system_tests::cast::msg_server::{GATEWAYS, gateways_of};
use system_tests::cast::population::SERVERS;
use system_tests::dice::Dice;
use turmoil::{Builder, Sim};

use crate::network::board::{Board, NODES, TWIN};
use crate::network::host::{self, gateway_name, node_name};
use crate::network::{check, msg_server, storm, subscriber};
use crate::seeds::Outcome;

/// Time passes in steps of this length.
const TICK: Duration = Duration::from_millis(10);
/// What a packet takes from one host to another, milliseconds. All packets of a while take the
/// same: were it drawn for each, the order in which a runtime wakes its tasks, which is tokio's to
/// choose, would change the whole schedule.
const LATENCY: std::ops::Range<usize> = 1..60;
/// How long the network stays as fast as it is, milliseconds.
const WHILE: std::ops::Range<usize> = 100..2000;
/// Longer than every schedule.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);
/// After the last fault, everything has to be at rest within this time.
const REST_WITHIN: Duration = Duration::from_secs(60);
/// Packets that a receiver has not taken before its sender waits.
const PACKETS: usize = 4096;

/// The subscriber's host.
pub(crate) const SUBSCRIBER: &str = "subscriber";

pub(crate) struct Site {
    sim: Sim<'static>,
    pub(crate) board: Arc<Board>,
    pub(crate) dice: Dice,
    /// When the network becomes slower or faster.
    changes_at: Duration,
    /// The host whose node everybody should find.
    pub(crate) active: usize,
}

fn msg_server_name(number: usize) -> String {
    format!("msg-server-{number}")
}

/// MsgServers that are connected to a gateway.
pub(crate) fn servers_of(gateway: usize) -> impl Iterator<Item = usize> {
    (0..SERVERS).filter(move |server| gateways_of(*server).contains(&gateway))
}

impl Site {
    /// A node on the first host, gateways, MsgServers, a subscriber. Nothing has happened yet.
    pub(crate) fn new(seed: u64, shown: bool) -> Self {
        // What production code asks chance for: back-off, jitter.
        fastrand::seed(seed);
        let mut sim = Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(FOR_EVER)
            .tcp_capacity(PACKETS)
            .build();
        let board = Arc::new(Board::new(shown));
        for number in 0..NODES {
            let board = Arc::clone(&board);
            sim.host(node_name(number), move || {
                host::node(Arc::clone(&board), number)
            });
        }
        (1..NODES).for_each(|number| sim.crash(node_name(number)));
        for number in 0..GATEWAYS {
            let board = Arc::clone(&board);
            sim.host(gateway_name(number), move || {
                host::gateway(Arc::clone(&board), number, number)
            });
        }
        {
            let board = Arc::clone(&board);
            sim.host(gateway_name(TWIN), move || {
                host::gateway(Arc::clone(&board), TWIN, 0)
            });
        }
        sim.crash(gateway_name(TWIN));
        for number in 0..SERVERS {
            let dice = Dice::new(seed * SERVERS as u64 + number as u64);
            let server = msg_server::run(Arc::clone(&board), number, dice);
            sim.client(msg_server_name(number), server);
        }
        sim.client(SUBSCRIBER, subscriber::run(Arc::clone(&board)));
        Self {
            sim,
            board,
            dice: Dice::new(seed),
            changes_at: Duration::ZERO,
            active: 0,
        }
    }

    /// After this everybody is there and does something.
    ///
    /// # Panics
    /// If that does not happen.
    pub(crate) fn begun(seed: u64, shown: bool) -> Self {
        let mut site = Self::new(seed, shown);
        assert!(site.begin(), "seed {seed} does not begin");
        let pause = site.dice.millis(0..5000);
        site.pass(pause);
        site
    }

    /// Everybody comes, and users begin. False if that does not happen.
    pub(crate) fn begin(&mut self) -> bool {
        let begun = self.until(REST_WITHIN, "everybody is there", Self::is_at_rest);
        self.board.set_busy(true);
        begun
    }

    /// Users rest, everything comes to rest and is judged.
    pub(crate) fn conclude(mut self) -> Outcome {
        self.board.set_busy(false);
        if self.until(REST_WITHIN, "everything is at rest", Self::is_at_rest) {
            // What nobody waits for.
            self.pass(Duration::from_secs(3));
        }
        check::all(&self.board);
        let (violations, fingerprint) = self.board.conclude();
        Outcome {
            violations,
            fingerprint,
        }
    }

    fn is_at_rest(&self) -> bool {
        let board = &self.board;
        let connected = |server| board.connections(server) == gateways_of(server).len();
        board.all_attached()
            && board.gateways_are_quiet()
            && (0..SERVERS).all(connected)
            && board.judge.with(|judge| judge.is_quiet())
            && (board.book.lock()).follows(board.node(self.active).epoch())
            && check::subscriber_lacks(board).is_empty()
    }

    // ---- time

    pub(crate) fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    pub(crate) fn step(&mut self) {
        self.board.set_now(self.sim.elapsed());
        if self.now() >= self.changes_at {
            self.changes_at = self.now() + self.dice.millis(WHILE);
            self.change_latencies();
        }
        if let Err(error) = self.sim.step() {
            self.board.violate(format!("a host fails: {error}"));
        }
        for host in self.board.take_ended() {
            self.sim.crash(host);
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            self.step();
        }
    }

    /// Waits until something is so; what is not so in time is a violation.
    pub(crate) fn until(
        &mut self,
        limit: Duration,
        what: &str,
        mut is_so: impl FnMut(&Self) -> bool,
    ) -> bool {
        let end = self.now() + limit;
        while !is_so(self) {
            if self.now() >= end {
                let state = self.describe();
                let what = format!("after {limit:?} it is not so that {what}: {state}");
                self.board.violate(what);
                return false;
            }
            self.step();
        }
        self.board.show(what);
        true
    }

    fn change_latencies(&mut self) {
        for node in (0..NODES).map(node_name) {
            for other in (0..GATEWAYS).map(gateway_name).chain([SUBSCRIBER.into()]) {
                let latency = self.dice.millis(LATENCY);
                self.sim.set_link_latency(node.as_str(), other, latency);
            }
        }
        for gateway in (0..GATEWAYS).map(gateway_name) {
            for server in (0..SERVERS).map(msg_server_name) {
                let latency = self.dice.millis(LATENCY);
                self.sim.set_link_latency(gateway.as_str(), server, latency);
            }
        }
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for (number, life) in self.board.gateways().iter().enumerate() {
            let backlog = life.gateway.uplink.backlog();
            text += &format!(
                "gateway {number} {:?} attached {}, {} entries, {} bytes, {} queued; ",
                *life.door.borrow(),
                life.is_attached(),
                backlog.entries,
                backlog.bytes,
                life.gateway.links.queued()
            );
        }
        for server in 0..SERVERS {
            let connections = self.board.connections(server);
            text += &format!("MsgServer {server} has {connections}; ");
        }
        let judged = self.board.judge.with(|judge| judge.is_quiet());
        let life = self.board.node(self.active).epoch();
        let follows = self.board.book.lock().follows(life);
        text + &format!("judge quiet {judged}, the subscriber follows {follows}")
    }

    // ---- processes

    /// kill -9.
    pub(crate) fn kill(&mut self, host: &str) {
        self.board.say(&format!("{host} is killed"));
        if host == node_name(self.active) {
            self.board.judge.with(State::lose_node);
        }
        self.sim.crash(host);
    }

    pub(crate) fn is_running(&mut self, host: &str) -> bool {
        self.sim.is_host_running(host)
    }

    pub(crate) fn start(&mut self, host: &str) {
        self.sim.bounce(host);
    }

    /// Another host, or the same one, has the node from now on.
    pub(crate) fn start_node(&mut self, number: usize) {
        self.active = number;
        self.start(&node_name(number));
    }

    /// SIGTERM.
    pub(crate) fn terminate_node(&mut self) {
        self.board.say("the node is told to end");
        self.board.judge.with(State::lose_node);
        self.board.node(self.active).term.cancel();
    }

    // ---- network

    /// Nothing passes between the two until it is let go; nothing is lost by that.
    pub(crate) fn hold(&mut self, a: &str, b: &str) {
        self.board.say(&format!("{a} and {b} are held apart"));
        self.sim.hold(a, b);
    }

    pub(crate) fn let_go(&mut self, a: &str, b: &str) {
        self.board.say(&format!("{a} and {b} are let go"));
        self.sim.release(a, b);
    }

    /// What is on its way between the two, and what they send until it is repaired, is lost, and
    /// nobody says so: the connections that were open in this time are dead.
    pub(crate) fn cut(&mut self, a: &str, b: &str) {
        self.board.say(&format!("{a} and {b} are cut off"));
        self.sim.partition(a, b);
    }

    pub(crate) fn repair(&mut self, a: &str, b: &str) {
        self.board.say(&format!("{a} and {b} are repaired"));
        self.sim.repair(a, b);
    }

    /// Everything that is held apart from a node that is gone is let go.
    pub(crate) fn heal(&mut self) {
        for node in (0..NODES).map(node_name) {
            for other in storm::everybody() {
                self.sim.release(other.as_str(), node.as_str());
            }
        }
    }

    /// The same in one direction.
    pub(crate) fn cut_one_way(&mut self, from: &str, to: &str) {
        self.board.say(&format!("{from} does not reach {to}"));
        self.sim.partition_oneway(from, to);
    }

    pub(crate) fn repair_one_way(&mut self, from: &str, to: &str) {
        self.board.say(&format!("{from} reaches {to}"));
        self.sim.repair_oneway(from, to);
    }
}
