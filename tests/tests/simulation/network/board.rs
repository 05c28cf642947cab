//! Where the hosts of a schedule say what they are and what happened to them, for the schedule to
//! look at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pdu_gateway::links::gateway::Gateway;
use pdu_gateway::links::listener::Door;
use prost::Message as _;
use route_proto::legacy::im::message::ImMsgData;
use route_runtime::readiness::Readiness;
use system_tests::cast::judge::Judge;
use system_tests::cast::msg_server::GATEWAYS;
use system_tests::cast::population::{Population, SERVERS};
use system_tests::player::pdu::{HEADER, Splitter, command, command_of};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::processes;
use crate::seeds::Trace;
use crate::subscriber::archive::Archive;
use crate::subscriber::diary::Diary;

/// Number of a process that calls itself like the first gateway, where there is one.
pub(crate) const TWIN: usize = GATEWAYS;
/// Hosts on which a node may run.
pub(crate) const NODES: usize = 2;

/// One for a schedule.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) judge: Judge,
    pub(crate) archive: Arc<Mutex<Archive>>,
    pub(crate) book: Mutex<Diary>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Duration,
    trace: Trace,
    violations: Vec<String>,
    lives: u64,
    nodes: [NodeLife; NODES],
    gateways: [Option<GatewayLife>; GATEWAYS + 1],
    /// Connections of each MsgServer: how many there are.
    connected: [usize; SERVERS],
    /// When its connections broke.
    broken: [Vec<Duration>; SERVERS],
    /// It may have missed something.
    excused: [bool; SERVERS],
    /// Processes that have come to their end, by host.
    ended: Vec<String>,
    /// Users do something.
    busy: bool,
    /// Messages by number: who sent them, and when.
    sent: BTreeMap<u32, (usize, Duration)>,
    /// By target, then by origin: when the newest message was sent that came through.
    heard: [[Duration; SERVERS]; SERVERS],
}

/// The present life of a node's host.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeLife {
    /// 0: there has been none.
    pub(crate) number: u64,
    /// SIGTERM.
    pub(crate) term: CancellationToken,
}

impl NodeLife {
    /// As the node's positions have it.
    pub(crate) fn epoch(&self) -> u64 {
        processes::epoch(self.number)
    }
}

/// The present life of a gateway.
#[derive(Debug, Clone)]
pub(crate) struct GatewayLife {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) door: watch::Receiver<Door>,
    pub(crate) readiness: Readiness,
}

impl GatewayLife {
    /// Everything was sent, confirmed, written.
    fn is_quiet(&self) -> bool {
        let backlog = self.gateway.uplink.backlog();
        self.is_attached()
            && backlog.entries == 0
            && backlog.bytes == 0
            && self.gateway.links.queued() == 0
    }

    /// It has a node, and says so to everybody.
    pub(crate) fn is_attached(&self) -> bool {
        let attached = self.gateway.uplink.is_attached();
        attached && *self.door.borrow() == Door::Open && self.readiness.is_ready()
    }
}

impl Board {
    /// `shown`: people want to read what happens.
    pub(crate) fn new(shown: bool) -> Self {
        let archive = Arc::default();
        Self {
            judge: Judge::new(Population::new()),
            book: Mutex::new(Diary::new(Vec::new(), Arc::clone(&archive))),
            archive,
            state: Mutex::new(State {
                now: Duration::ZERO,
                trace: Trace::new(shown),
                violations: Vec::new(),
                lives: 0,
                nodes: Default::default(),
                gateways: Default::default(),
                connected: [0; SERVERS],
                broken: Default::default(),
                excused: [false; SERVERS],
                ended: Vec::new(),
                busy: false,
                sent: BTreeMap::new(),
                heard: Default::default(),
            }),
        }
    }

    /// The schedule's time.
    pub(crate) fn now(&self) -> Duration {
        self.state.lock().now
    }

    pub(crate) fn set_now(&self, now: Duration) {
        self.state.lock().now = now;
    }

    pub(crate) fn say(&self, what: &str) {
        let mut state = self.state.lock();
        let now = state.now;
        state.trace.say(now, what);
    }

    /// Of what tokio's dice have a say in: in which order streams of one node wake.
    pub(crate) fn show(&self, what: &str) {
        let state = self.state.lock();
        state.trace.show(state.now, what);
    }

    pub(crate) fn violate(&self, what: String) {
        self.say(&format!("VIOLATION {what}"));
        self.state.lock().violations.push(what);
    }

    /// What was wrong, and the fingerprint of the trace.
    pub(crate) fn conclude(&self) -> (Vec<String>, u64) {
        let mut state = self.state.lock();
        let violations = std::mem::take(&mut state.violations);
        (violations, state.trace.fingerprint())
    }

    // ---- processes

    /// A process starts: its number is higher than those of all before.
    pub(crate) fn next_life(&self) -> u64 {
        let mut state = self.state.lock();
        state.lives += 1;
        state.lives
    }

    /// A process has come to its end.
    pub(crate) fn ends(&self, host: String) {
        self.say(&format!("{host} exits"));
        self.state.lock().ended.push(host);
    }

    /// Hosts whose processes have ended since the last call.
    pub(crate) fn take_ended(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().ended)
    }

    pub(crate) fn node_starts(&self, host: usize, life: NodeLife) {
        self.say(&format!("node {host} starts as {}", life.number));
        self.state.lock().nodes[host] = life;
    }

    pub(crate) fn node(&self, host: usize) -> NodeLife {
        self.state.lock().nodes[host].clone()
    }

    pub(crate) fn gateway_starts(&self, number: usize, life: GatewayLife) {
        self.say(&format!("gateway {number} starts"));
        self.state.lock().gateways[number] = Some(life);
    }

    /// The present life of one.
    ///
    /// # Panics
    /// If it has never started.
    pub(crate) fn gateway(&self, number: usize) -> GatewayLife {
        let life = self.state.lock().gateways[number].clone();
        life.expect("it has started")
    }

    /// All but the twin.
    pub(crate) fn gateways(&self) -> Vec<GatewayLife> {
        let state = self.state.lock();
        let gateways = state.gateways[..GATEWAYS].iter();
        gateways.flatten().cloned().collect()
    }

    /// Every gateway has a node.
    pub(crate) fn all_attached(&self) -> bool {
        let gateways = self.gateways();
        gateways.len() == GATEWAYS && gateways.iter().all(GatewayLife::is_attached)
    }

    /// Nothing is on its way or kept anywhere, but what the judge waits for.
    pub(crate) fn gateways_are_quiet(&self) -> bool {
        self.gateways().iter().all(GatewayLife::is_quiet)
    }

    // ---- MsgServers

    pub(crate) fn is_busy(&self) -> bool {
        self.state.lock().busy
    }

    pub(crate) fn set_busy(&self, busy: bool) {
        self.say(if busy { "users begin" } else { "users rest" });
        self.state.lock().busy = busy;
    }

    pub(crate) fn connects(&self, server: usize, gateway: usize) {
        self.say(&format!("s{server} connects to g{gateway}"));
        self.state.lock().connected[server] += 1;
    }

    pub(crate) fn breaks(&self, server: usize, gateway: usize) {
        self.say(&format!("s{server} loses g{gateway}"));
        self.excuse(server);
        let mut state = self.state.lock();
        let now = state.now;
        state.connected[server] -= 1;
        state.broken[server].push(now);
    }

    /// From now on it may miss something.
    pub(crate) fn excuse(&self, server: usize) {
        self.judge.with(|judge| judge.excuse(server));
        self.state.lock().excused[server] = true;
    }

    pub(crate) fn is_excused(&self, server: usize) -> bool {
        self.state.lock().excused[server]
    }

    /// How many connections a MsgServer has.
    pub(crate) fn connections(&self, server: usize) -> usize {
        self.state.lock().connected[server]
    }

    /// When its connections broke.
    pub(crate) fn broken(&self, server: usize) -> Vec<Duration> {
        self.state.lock().broken[server].clone()
    }

    /// It writes this.
    pub(crate) fn sends(&self, server: usize, bytes: &[u8]) {
        let mut state = self.state.lock();
        let now = state.now;
        Splitter::default().feed(bytes, |raw| {
            if let Some(number) = message_number(raw) {
                state.sent.insert(number, (server, now));
            }
        });
    }

    /// Messages that were sent after this have come through from everybody to everybody.
    pub(crate) fn all_hear_since(&self, moment: Duration) -> bool {
        let state = self.state.lock();
        (0..SERVERS).all(|to| (0..SERVERS).all(|of| of == to || state.heard[to][of] > moment))
    }

    /// All messages: number, MsgServer, time.
    pub(crate) fn sent(&self) -> BTreeMap<u32, (usize, Duration)> {
        self.state.lock().sent.clone()
    }

    /// It reads this, from its connection to this gateway.
    pub(crate) fn arrives(&self, server: usize, gateway: usize, raw: &[u8]) {
        if command_of(raw) == command::HEARTBEAT {
            return;
        }
        let (command, size) = (command_of(raw), raw.len());
        let begin = &raw[HEADER..size.min(HEADER + 14)];
        let begin: String = begin.iter().map(|byte| format!("{byte:02x}")).collect();
        self.say(&format!(
            "s{server} g{gateway} gets {command:04x} {size} {begin}"
        ));
        if let Some(number) = message_number(raw) {
            let state = &mut *self.state.lock();
            if let Some((origin, sent)) = state.sent.get(&number) {
                let newest = &mut state.heard[server][*origin];
                *newest = (*sent).max(*newest);
            }
        }
        self.judge.arrived(server, raw);
    }
}

fn message_number(raw: &[u8]) -> Option<u32> {
    if command_of(raw) != command::MESSAGE {
        return None;
    }
    let message = ImMsgData::decode(&raw[HEADER..]).ok()?;
    Some(message.msg_id)
}
