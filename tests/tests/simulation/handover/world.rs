//! One schedule: gateways, a node, MsgServers, and chance, which decides what happens and what
//! moves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use route_grpc::settings::NodeSettings;
use tokio::time::Instant;

use crate::handover::connection::Connection;
use crate::handover::doubts::Doubts;
use crate::handover::facts::Facts;
use crate::handover::host::{GatewayHost, NodeHost};
use crate::handover::msg_server::{MOVERS, MOVING, MsgServer, Receipt, STABLE, user};
use crate::handover::plan::Plan;
use crate::handover::subscriber::{Pace, Subscriber};
use crate::seeds::Trace;
use crate::subscriber::archive::Archive;
use system_tests::cast::judge::messages::Messages;
use system_tests::dice::Dice;

/// So many times something happens by chance.
const STEPS: usize = 600;

/// Whom a message concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    User(u32),
    Group,
}

/// What is noted of a message.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) at: Duration,
    /// The gateway has read it.
    pub(crate) accepted: bool,
    /// It was with a gateway that was lost.
    pub(crate) lost: bool,
}

impl Sent {
    /// Whoever has to get it has to get it.
    pub(crate) fn counts(&self) -> bool {
        self.accepted && !self.lost
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) dice: Dice,
    pub(crate) began: Instant,
    pub(crate) node: Option<NodeHost>,
    /// When the streams of a draining node have to be over.
    pub(crate) streams_end: Option<Duration>,
    /// When a draining node exits.
    pub(crate) node_exits: Option<Duration>,
    pub(crate) node_starts: Option<Duration>,
    pub(crate) gateways: Vec<Option<GatewayHost>>,
    pub(crate) gateway_starts: Vec<Option<Duration>>,
    pub(crate) lives: u64,
    pub(crate) lives_of_nodes: u64,
    pub(crate) servers: Vec<MsgServer>,
    pub(crate) connections: BTreeMap<usize, Connection>,
    pub(crate) next_connection: usize,
    /// How often a gateway has broken the connection of a MsgServer that does not read.
    pub(crate) cut_off_readers: u64,
    /// What nodes have dropped because a queue was full, as far as that is noted.
    pub(crate) dropped: u64,
    /// Whose gateway's process has died, or was cut off for longer than nodes wait.
    pub(crate) lost_connections: BTreeSet<usize>,
    /// The last life of the node in which everything was confirmed at some moment.
    pub(crate) settled_in: u64,
    /// Each connection is a line.
    pub(crate) messages: Messages<Sent, Receipt>,
    /// Of users who stay with one MsgServer: logins and logouts, in order.
    pub(crate) changes: BTreeMap<u32, Vec<bool>>,
    /// Of users who move: how many there were.
    pub(crate) moves: BTreeMap<u32, usize>,
    /// By connection: how often its MsgServer was asked to kick.
    pub(crate) kicks: BTreeMap<usize, usize>,
    pub(crate) began_online: BTreeSet<u32>,
    pub(crate) settings: NodeSettings,
    pub(crate) facts: Facts,
    pub(crate) doubts: Doubts,
    pub(crate) archive: Arc<Mutex<Archive>>,
    pub(crate) subscriber: Subscriber,
    pub(crate) slow_subscriber: Option<Subscriber>,
    /// From here on every MsgServer that is not late is known to the node.
    pub(crate) all_known_since: Duration,
    pub(crate) next_disturbance: Duration,
    pub(crate) next_long_partition: Duration,
    pub(crate) trace: Trace,
    pub(crate) violations: Vec<String>,
}

/// In every second schedule the operator has named the MsgServers, the HttpMsgServer apart.
fn has_names(seed: u64) -> bool {
    seed % 2 == 1
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, shown: bool) -> Self {
        // What production code asks chance for: back-off, identities.
        fastrand::seed(seed);
        let mut dice = Dice::new(seed);
        let gateways = 2 + dice.roll(2);
        let shared = SocketAddr::from(([10, 0, 0, 1], 4000));
        let mut servers: Vec<MsgServer> = (0..2 + dice.roll(3))
            .map(|index| {
                let own = SocketAddr::from(([10, 0, 1, index as u8], 4000));
                let peer = if dice.roll(3) == 0 { shared } else { own };
                let first = dice.roll(gateways);
                let mut to = vec![first];
                if !plan.single_links && dice.roll(3) > 0 {
                    to.push((first + 1) % gateways);
                }
                let mut server = MsgServer::new(peer, false, to);
                server.online = (0..STABLE).map(|number| user(index, number)).collect();
                if has_names(seed) {
                    server.name = format!("m{index}");
                }
                server
            })
            .collect();
        servers.push(MsgServer::new(shared, true, vec![0]));
        for number in 0..MOVING {
            if dice.roll(2) == 0 {
                let at = dice.roll(servers.len() - 1);
                servers[at].online.insert(MOVERS + number);
            }
        }
        let settings = plan.node(&mut dice);
        Self::with(dice, plan, settings, gateways, servers, shown)
    }

    /// These MsgServers, and so many gateways. Nothing has started yet.
    pub(crate) fn with(
        mut dice: Dice,
        plan: Plan,
        settings: NodeSettings,
        gateways: usize,
        servers: Vec<MsgServer>,
        shown: bool,
    ) -> Self {
        let archive = Arc::default();
        let began = Instant::now();
        let slow_subscriber = plan.slow_subscriber.then(|| {
            let some = dice.once_in(2);
            Subscriber::new(began, Pace::Slow, some, Arc::clone(&archive))
        });
        let began_online = servers.iter().flat_map(|s| s.online.clone()).collect();
        World {
            plan,
            dice,
            began,
            node: None,
            streams_end: None,
            node_exits: None,
            node_starts: None,
            gateways: (0..gateways).map(|_| None).collect(),
            gateway_starts: vec![None; gateways],
            lives: 0,
            lives_of_nodes: 0,
            messages: Messages::new(servers.len()),
            servers,
            connections: BTreeMap::new(),
            next_connection: 0,
            cut_off_readers: 0,
            dropped: 0,
            lost_connections: BTreeSet::new(),
            settled_in: 0,
            changes: BTreeMap::new(),
            moves: BTreeMap::new(),
            kicks: BTreeMap::new(),
            began_online,
            settings,
            facts: Facts::default(),
            doubts: Doubts::default(),
            subscriber: Subscriber::new(began, Pace::Prompt, false, Arc::clone(&archive)),
            slow_subscriber,
            archive,
            all_known_since: Duration::MAX,
            next_disturbance: Duration::ZERO,
            next_long_partition: Duration::ZERO,
            trace: Trace::new(shown),
            violations: Vec::new(),
        }
    }

    /// From the first connection to the last check.
    pub(crate) async fn play(&mut self) {
        self.start_node();
        let late = self
            .plan
            .late_gateway
            .then(|| self.dice.roll(self.gateways.len()));
        for number in 0..self.gateways.len() {
            if Some(number) == late {
                let at = self.dice.millis(500..8000);
                self.gateway_starts[number] = Some(at);
                for server in &mut self.servers {
                    server.interrupted |= server.is_single() && server.is_at(number);
                }
            } else {
                self.start_gateway(number);
            }
        }
        if !self.becomes_quiet(late).await {
            return;
        }
        self.say(|| "everybody is connected".to_owned());
        self.all_known_since = self.now();
        for _ in 0..STEPS {
            self.step().await;
        }
        self.say(|| "no more disturbances".to_owned());
        if let Some(slow) = &self.slow_subscriber {
            slow.book().hurries = true;
        }
        if !self.becomes_quiet(None).await {
            return;
        }
        // Seats end, and whoever waits for a predecessor.
        for _ in 0..30 {
            self.pass(Duration::from_millis(100)).await;
            self.settle().await;
        }
        self.ask_everything();
        if self.becomes_quiet(None).await {
            crate::handover::check::all(self);
        }
    }

    pub(crate) fn violate(&mut self, what: String) {
        self.say(|| format!("VIOLATION {what}"));
        self.violations.push(what);
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        let now = self.now();
        self.trace.say(now, &what());
    }
}

/// Lets every task do what it can without time passing.
pub(crate) async fn idle() {
    for _ in 0..12 {
        tokio::task::yield_now().await;
    }
}
