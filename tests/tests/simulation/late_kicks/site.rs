//! Gateways, a node and MsgServers' connections, in one thread. Everything moves at once, unless it is broken or away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pdu_gateway::unconfirmed::windows::Windows;
use route_grpc::settings::NodeSettings;
use route_proto::attach::v1::CloseReason;
use system_tests::player::messages::{self, Client, Status};
use system_tests::player::pdu::{Pdu, command};
use tokio::time::Instant;

use crate::stepped::connection::{Connection, Written};
use crate::stepped::host::{GatewayHost, NodeHost};
use crate::stepped::wire::Move;
use system_tests::dice::Dice;

/// Time moves in steps of this.
const STEP: Duration = Duration::from_millis(20);
/// What comes to rest does so in fewer rounds.
const ROUNDS: usize = 200;

/// Plays with time that stands still but for [`Site::pass`].
pub(crate) fn play(test: impl AsyncFnOnce()) {
    fastrand::seed(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test());
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) struct Site {
    began: Instant,
    dice: Dice,
    node: Option<NodeHost>,
    lives: u64,
    gateways: Vec<Option<GatewayHost>>,
    connections: Vec<(Connection, SocketAddr)>,
    received: Vec<Vec<Pdu>>,
}

impl Site {
    /// A node, and gateways that start at these seconds.
    pub(crate) async fn start(starts: &[u64]) -> Self {
        let mut site = Self {
            began: Instant::now(),
            dice: Dice::new(1),
            node: None,
            lives: 0,
            gateways: starts.iter().map(|_| None).collect(),
            connections: Vec::new(),
            received: Vec::new(),
        };
        site.start_node();
        let last = starts.iter().max().unwrap();
        for second in 0..=*last {
            for (number, start) in starts.iter().enumerate() {
                if second == *start {
                    site.start_gateway(number);
                }
            }
            site.pass(seconds(1)).await;
        }
        site.pass(seconds(3)).await;
        assert!(site.gateways.iter().flatten().all(GatewayHost::is_open));
        site
    }

    pub(crate) fn start_node(&mut self) {
        self.lives += 1;
        self.node = Some(NodeHost::start(self.lives, NodeSettings::default()));
    }

    pub(crate) fn crash_node(&mut self) {
        let now = self.began.elapsed();
        for host in self.gateways.iter_mut().flatten() {
            host.wire.node_died(&mut self.dice, now);
        }
        self.node = None;
    }

    /// A gateway's stream breaks, and it cannot attach again for so long.
    pub(crate) fn cut_off(&mut self, gateway: usize, time: Duration) {
        let now = self.began.elapsed();
        let wire = &mut self.gateways[gateway].as_mut().unwrap().wire;
        wire.cut(&mut self.dice, now, Duration::ZERO, Duration::ZERO);
        wire.stall(now + time);
    }

    /// A MsgServer that claims its connection and lists these desktop clients.
    pub(crate) async fn connect(&mut self, gateway: usize, users: &[u32]) -> usize {
        let host = u8::try_from(self.connections.len()).unwrap();
        let peer = SocketAddr::from(([10, 0, 1, host], 4000));
        let number = self.open(gateway, peer);
        self.say(number, &messages::role(1)).await;
        self.say(number, &list(users)).await;
        number
    }

    /// Another connection of the same MsgServer.
    pub(crate) async fn connect_again(&mut self, gateway: usize, first: usize, user: u32) -> usize {
        let number = self.open(gateway, self.connections[first].1);
        self.say(number, &list(&[user])).await;
        number
    }

    /// Says it, and lets everything move.
    pub(crate) async fn say(&mut self, connection: usize, pdu: &Pdu) {
        self.connections[connection].0.say(pdu, None);
        self.settle().await;
    }

    pub(crate) async fn pass(&mut self, time: Duration) {
        let until = self.began.elapsed() + time;
        while self.began.elapsed() < until {
            tokio::time::advance(STEP).await;
            self.settle().await;
        }
    }

    /// Waits until a MsgServer is asked to kick; says how long that took.
    pub(crate) async fn until_kicked(&mut self, connection: usize) -> Duration {
        let before = self.began.elapsed();
        while self.kicks(connection) == 0 {
            self.pass(STEP).await;
            assert!(self.began.elapsed() < before + seconds(60), "it never is");
        }
        self.began.elapsed() - before
    }

    /// How often a MsgServer was asked to kick.
    pub(crate) fn kicks(&self, connection: usize) -> usize {
        let received = self.received[connection].iter();
        received.filter(|pdu| pdu.command == command::KICK).count()
    }

    /// The node has confirmed everything of this gateway.
    pub(crate) fn is_confirmed(&self, gateway: usize) {
        let backlog = self.gateways[gateway]
            .as_ref()
            .unwrap()
            .gateway
            .uplink
            .backlog();
        assert_eq!(backlog.entries, 0);
    }

    fn start_gateway(&mut self, number: usize) {
        self.lives += 1;
        let windows = Windows {
            link: 8 << 20,
            total: 256 << 20,
        };
        self.gateways[number] = Some(GatewayHost::start(number, self.lives, windows, 64 << 20));
    }

    fn open(&mut self, gateway: usize, peer: SocketAddr) -> usize {
        let number = self.connections.len();
        let host = self.gateways[gateway].as_ref().unwrap();
        let now = self.began.elapsed();
        let connection = Connection::open(&host.gateway, gateway, number, peer, now);
        self.connections.push((connection, peer));
        self.received.push(Vec::new());
        number
    }

    async fn settle(&mut self) {
        for _ in 0..ROUNDS {
            idle().await;
            if !self.step() {
                return;
            }
        }
        panic!("it does not settle");
    }

    fn step(&mut self) -> bool {
        let now = self.began.elapsed();
        let mut moved = false;
        for (number, (connection, _)) in self.connections.iter_mut().enumerate() {
            let gateway = &self.gateways[connection.gateway].as_ref().unwrap().gateway;
            moved |= connection.read(gateway, now, usize::MAX).moved;
            match connection.write(gateway, now, usize::MAX) {
                Written::Nothing => {}
                Written::Pdus(pdus) => {
                    moved = true;
                    self.received[number].extend(pdus);
                }
                // The node has given up its gateway.
                Written::Ends(reason) => assert_eq!(reason, CloseReason::Requested),
            }
        }
        let node = self.node.as_ref().map(|host| Arc::clone(&host.node));
        for host in self.gateways.iter_mut().flatten() {
            for what in Move::ALL {
                moved |= host.wire.step(now, what, node.as_ref());
            }
        }
        moved
    }
}

fn list(users: &[u32]) -> Pdu {
    let online = users
        .iter()
        .map(|user| (*user, Status::Online, Client::Windows));
    messages::list(&online.collect::<Vec<_>>())
}

/// Lets every task do what it can without time passing.
async fn idle() {
    for _ in 0..12 {
        tokio::task::yield_now().await;
    }
}
