//! The hosts of a schedule, and what is done to them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use route_grpc::engine::played::PlayedSite;
use system_tests::dice::Dice;
use turmoil::{Builder, Sim};

use crate::leaders::gateway::{self, GATEWAYS, Habit};
use crate::leaders::judge::Judge;
use crate::leaders::node::{self, Life, NODES};
use crate::seeds::Outcome;

const TICK: Duration = Duration::from_millis(10);
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);
/// After the last fault, one node serves all gateways within this time.
const REST_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    sim: Sim<'static>,
    pub(crate) judge: Arc<Judge>,
    pub(crate) record: PlayedSite,
    pub(crate) dice: Dice,
    lives: Arc<Mutex<Vec<Option<Life>>>>,
    habits: Arc<Mutex<[Habit; GATEWAYS]>>,
}

impl Site {
    /// Nodes and gateways; nobody leads yet.
    pub(crate) fn new(seed: u64, shown: bool) -> Self {
        fastrand::seed(seed);
        let sim = Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(FOR_EVER)
            .tcp_capacity(4096)
            .build();
        let any = Habit {
            first: None,
            silence: Duration::from_secs(3),
        };
        let mut site = Self {
            sim,
            judge: Arc::new(Judge::new(shown)),
            record: PlayedSite::new(),
            dice: Dice::new(seed),
            lives: Arc::new(Mutex::new(vec![None; NODES])),
            habits: Arc::new(Mutex::new([any; GATEWAYS])),
        };
        (0..NODES).for_each(|number| site.add_node(number));
        (0..GATEWAYS).for_each(|number| site.add_gateway(number));
        site
    }

    fn add_node(&mut self, number: usize) {
        node::freeze(number, false);
        let (judge, lives) = (Arc::clone(&self.judge), Arc::clone(&self.lives));
        let record = self.record.clone();
        self.sim.host(node::name(number), move || {
            let life = Life::new(&record);
            lives.lock()[number] = Some(life.clone());
            node::run(Arc::clone(&judge), number, life)
        });
    }

    fn add_gateway(&mut self, number: usize) {
        let (judge, habits) = (Arc::clone(&self.judge), Arc::clone(&self.habits));
        let state = Mutex::new((0, self.dice.fork()));
        self.sim.host(gateway::name(number), move || {
            let (life, dice) = &mut *state.lock();
            *life += 1;
            let habit = habits.lock()[number];
            gateway::run(Arc::clone(&judge), (number, *life), habit, dice.fork())
        });
    }

    pub(crate) fn life(&self, node: usize) -> Life {
        let life = self.lives.lock()[node].clone();
        life.expect("it has started")
    }

    /// From its next start on.
    pub(crate) fn set_habit(&self, gateway: usize, habit: Habit) {
        self.habits.lock()[gateway] = habit;
    }

    /// Which node has written the record.
    pub(crate) fn leader(&self) -> Option<usize> {
        let found = self.record.record().ok()??;
        (0..NODES).find(|it| node::name(*it) == found.author.node_id)
    }

    // ---- time

    pub(crate) fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    fn step(&mut self) {
        self.judge.set_now(self.sim.elapsed());
        if let Err(error) = self.sim.step() {
            self.judge.violate(format!("a host fails: {error}"));
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.now() < end {
            self.step();
        }
    }

    /// False, and a violation, if it is not so in time.
    pub(crate) fn until(
        &mut self,
        limit: Duration,
        what: &str,
        is_so: impl Fn(&Self) -> bool,
    ) -> bool {
        let end = self.now() + limit;
        while !is_so(self) {
            if self.now() >= end {
                let record = self.record.record();
                let what = format!("after {limit:?} it is not so that {what}: {record:?}");
                self.judge.violate(what);
                return false;
            }
            self.step();
        }
        self.judge.say(what);
        true
    }

    /// One node serves all gateways.
    pub(crate) fn rests(&mut self) -> bool {
        let now = self.now();
        self.until(REST_WITHIN, "one node serves all gateways", |site| {
            site.judge.all_served_since(now, GATEWAYS)
        })
    }

    pub(crate) fn conclude(mut self) -> Outcome {
        self.rests();
        Outcome {
            violations: self.judge.conclude(),
            fingerprint: 0,
        }
    }

    // ---- processes and the network

    pub(crate) fn kill(&mut self, host: &str) {
        self.judge.say(&format!("{host} is killed"));
        self.sim.crash(host);
    }

    pub(crate) fn start(&mut self, host: &str) {
        self.sim.bounce(host);
    }

    /// Nothing passes between the two until it is let go; nothing is lost by that.
    pub(crate) fn hold(&mut self, a: &str, b: &str) {
        self.judge.say(&format!("{a} and {b} are held apart"));
        self.sim.hold(a, b);
    }

    pub(crate) fn let_go(&mut self, a: &str, b: &str) {
        self.judge.say(&format!("{a} and {b} are let go"));
        self.sim.release(a, b);
    }

    /// All that talk to this node.
    pub(crate) fn others(node: usize) -> Vec<String> {
        let nodes = (0..NODES).filter(|it| *it != node).map(node::name);
        nodes.chain((0..GATEWAYS).map(gateway::name)).collect()
    }

    /// A node does nothing, and does not notice it.
    pub(crate) fn freeze(&mut self, node: usize) {
        node::freeze(node, true);
        self.life(node).way.cut();
        for other in Self::others(node) {
            self.hold(&node::name(node), &other);
        }
    }

    pub(crate) fn thaw(&mut self, node: usize) {
        node::freeze(node, false);
        self.life(node).way.mend();
        for other in Self::others(node) {
            self.let_go(&node::name(node), &other);
        }
    }
}
