//! A kick that was held up does not throw out a client that has logged in since. Gateways' clocks
//! differ here.

use std::time::Duration;

use system_tests::dice::Dice;
use system_tests::player::messages::{self, Client, Status};
use system_tests::player::pdu::Pdu;

use crate::handover::host::GatewayHost;
use crate::handover::msg_server::{MsgServer, user};
use crate::handover::plan::Plan;
use crate::handover::with_time_that_stands;
use crate::handover::world::World;

/// MsgServers: one kicks, one holds Alice since before it connected, one is beside it.
const KICKING: usize = 0;
const HOLDING: usize = 1;
const OTHER: usize = 2;
/// Gateways of the MsgServer that kicks, of the one that holds Alice, and of that one's second
/// connection.
const HERE: usize = 0;
const THERE: usize = 1;
const BESIDE: usize = 2;
/// When the gateways start: the one or the other clock is 40 s behind.
const STARTS: [[u64; 3]; 2] = [[0, 40, 20], [40, 0, 20]];
/// When MsgServers connect.
const CONNECT: Duration = Duration::from_secs(44);
/// Time moves in steps of this.
const STEP: Duration = Duration::from_millis(20);

#[test]
fn a_kick_that_waited_for_a_node_spares_who_has_logged_in_since() {
    for starts in STARTS {
        play(starts, &[THERE], async |play| {
            play.crash_node();
            play.kick().await;
            play.pass(seconds(3)).await;
            play.log_in(0, Client::Windows).await;
            play.world.start_node();
            play.pass(seconds(5)).await;

            assert_eq!(play.kicks(HOLDING, 0), 0, "{starts:?}");
            let others = play.kicks(OTHER, 0);
            assert_eq!(others, 1, "nobody has logged in there: {starts:?}");
            play.is_confirmed();
        });
    }
}

#[test]
fn it_does_not_spare_who_was_there_before() {
    for starts in STARTS {
        for first in [None, Some(Client::Windows)] {
            play(starts, &[THERE], async |play| {
                if let Some(client) = first {
                    play.log_in(0, client).await;
                }
                play.pass(seconds(1)).await;

                play.crash_node();
                play.kick().await;
                play.pass(seconds(3)).await;
                // Clients of the other class are not meant.
                play.log_in(0, Client::Ios).await;
                play.world.start_node();
                play.pass(seconds(5)).await;

                assert_eq!(play.kicks(HOLDING, 0), 1, "{starts:?}, {first:?}");
            });
        }
    }
}

/// Gateways' clocks are not compared so exactly.
#[test]
fn who_logs_in_a_moment_after_the_kick_is_not_spared() {
    for starts in STARTS {
        play(starts, &[THERE], async |play| {
            play.crash_node();
            play.pass(seconds(3)).await;

            play.kick().await;
            play.pass(Duration::from_millis(60)).await;
            play.log_in(0, Client::Windows).await;
            play.world.start_node();
            play.pass(seconds(3)).await;

            assert_eq!(play.kicks(HOLDING, 0), 1, "{starts:?}");
        });
    }
}

/// However short the node's absence is.
#[test]
fn of_two_logins_while_the_node_is_away_the_later_one_stays() {
    for starts in STARTS {
        play(starts, &[THERE], async |play| {
            play.crash_node();
            play.pass(Duration::from_millis(200)).await;
            play.log_in_at(KICKING, Client::Mac).await;
            play.pass(Duration::from_millis(400)).await;
            play.log_in_at(HOLDING, Client::Windows).await;
            play.pass(Duration::from_millis(600)).await;
            play.world.start_node();
            play.pass(seconds(5)).await;

            assert_eq!(play.kicks(HOLDING, 0), 0, "{starts:?}");
            assert_eq!(play.kicks(KICKING, 0), 1, "{starts:?}");
        });
    }
}

#[test]
fn a_kick_that_waited_for_a_gateway_spares_who_has_logged_in_since() {
    for (starts, again) in [(STARTS[0], true), (STARTS[1], true), (STARTS[0], false)] {
        play(starts, &[THERE], async |play| {
            play.cut_off(seconds(5));
            play.kick().await;
            play.pass(seconds(3)).await;
            if again {
                play.log_in(0, Client::Windows).await;
            }
            play.pass(seconds(5)).await;

            assert_eq!(play.kicks(HOLDING, 0), usize::from(!again));
            assert_eq!(play.kicks(OTHER, 0), 1);
            play.is_confirmed();
        });
    }
}

/// What the lost gateway was not handed goes to the MsgServer's other connection, whose gateway has
/// its own clock, and has heard of the login too.
#[test]
fn a_kick_that_goes_to_a_successor_spares_who_has_logged_in_since() {
    for again in [true, false] {
        play(STARTS[0], &[THERE, BESIDE], async |play| {
            play.cut_off(seconds(30));
            play.kick().await;
            play.pass(seconds(3)).await;
            if again {
                play.log_in(0, Client::Windows).await;
                play.log_in(1, Client::Windows).await;
            }
            // Its grace is over.
            play.pass(seconds(12)).await;

            assert_eq!(play.kicks(HOLDING, 1), usize::from(!again));
            assert_eq!(play.kicks(HOLDING, 0), 0, "its gateway is away");
        });
    }
}

struct Play {
    world: World,
}

/// Plays a case with gateways that start at these seconds. `holding`: those of the MsgServer that
/// holds Alice.
fn play(starts: [u64; 3], holding: &[usize], case: impl AsyncFnOnce(&mut Play)) {
    fastrand::seed(1);
    let mut servers = Vec::new();
    for (number, gateways) in [&[HERE][..], holding, &[THERE]].into_iter().enumerate() {
        let peer = ([10, 0, 1, number as u8], 4000).into();
        let mut server = MsgServer::new(peer, false, gateways.to_vec());
        server.retry_at.fill(CONNECT);
        servers.push(server);
    }
    servers[HOLDING].online.insert(alice());
    let plan = Plan::default();
    with_time_that_stands(async {
        let settings = Default::default();
        let mut world = World::with(Dice::new(1), plan, settings, 3, servers, false);
        world.start_node();
        world.gateway_starts = starts.map(|start| Some(seconds(start))).to_vec();
        let mut play = Play { world };
        play.pass(CONNECT + seconds(1)).await;
        let mut gateways = play.world.gateways.iter().flatten();
        assert!(gateways.all(GatewayHost::is_open));
        case(&mut play).await;
        assert_eq!(play.world.violations, [""; 0]);
    });
}

impl Play {
    async fn pass(&mut self, time: Duration) {
        let until = self.world.now() + time;
        while self.world.now() < until {
            self.world.pass(STEP).await;
            self.world.settle().await;
        }
    }

    /// Another one starts when the case says so.
    fn crash_node(&mut self) {
        self.world.crash_node();
        self.world.node_starts = None;
    }

    async fn kick(&mut self) {
        let kick = messages::kick(alice(), Client::Mac);
        self.say(KICKING, 0, &kick).await;
    }

    /// Alice logs in; her MsgServer says so on one of its connections.
    async fn log_in(&mut self, slot: usize, client: Client) {
        let update = messages::update(alice(), Status::Online, client);
        self.say(HOLDING, slot, &update).await;
    }

    /// The same as her MsgServer tells everybody: who kicks, and who is there.
    async fn log_in_at(&mut self, server: usize, client: Client) {
        self.say(server, 0, &messages::kick(alice(), client)).await;
        let update = messages::update(alice(), Status::Online, client);
        self.say(server, 0, &update).await;
    }

    async fn say(&mut self, server: usize, slot: usize, pdu: &Pdu) {
        let connection = self.connection(server, slot);
        self.world.tell(connection, pdu, None);
        self.world.settle().await;
    }

    /// The gateway of the MsgServer that holds Alice cannot reach the node for so long.
    fn cut_off(&mut self, time: Duration) {
        let now = self.world.now();
        let wire = &mut self.world.gateways[THERE].as_mut().unwrap().wire;
        wire.cut(&mut self.world.dice, now, Duration::ZERO, Duration::ZERO);
        wire.stall(now + time);
    }

    /// How often a MsgServer was asked to kick.
    fn kicks(&self, server: usize, slot: usize) -> usize {
        let connection = self.connection(server, slot);
        let kicks = self.world.kicks.get(&connection);
        kicks.copied().unwrap_or_default()
    }

    /// The node has confirmed everything of the MsgServer that kicks.
    fn is_confirmed(&self) {
        let host = self.world.gateways[HERE].as_ref().unwrap();
        assert_eq!(host.gateway.uplink.backlog().entries, 0);
    }

    fn connection(&self, server: usize, slot: usize) -> usize {
        self.world.servers[server].links.slots()[slot].1.unwrap()
    }
}

fn alice() -> u32 {
    user(HOLDING, 0)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
