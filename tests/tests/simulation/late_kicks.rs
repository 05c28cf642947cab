//! A kick that was held up does not throw out a client that has logged in since: the real gateways without their sockets,
//! the real node, with time that only the test moves, and gateways whose clocks differ.

mod site;

use std::time::Duration;

use site::{Site, play, seconds};
use system_tests::player::messages::{self, Client, Status};

const ALICE: u32 = 42;
/// Gateways of the MsgServer that kicks, of the one that holds Alice, and of that one's second connection.
const HERE: usize = 0;
const THERE: usize = 1;
const BESIDE: usize = 2;
/// When the gateways start: the one or the other clock is 40 s behind.
const STARTS: [[u64; 3]; 2] = [[0, 40, 20], [40, 0, 20]];

#[test]
fn a_kick_that_waited_for_a_node_spares_who_has_logged_in_since() {
    for starts in STARTS {
        play(async || {
            let mut site = Site::start(&starts).await;
            let [kicking, holding, other] = site.three_msg_servers().await;

            site.crash_node();
            site.say(kicking, &messages::kick(ALICE, Client::Mac)).await;
            site.pass(seconds(3)).await;
            site.say(holding, &log_in(Client::Windows)).await;
            site.start_node();
            site.pass(seconds(5)).await;

            assert_eq!(site.kicks(holding), 0, "{starts:?}");
            assert_eq!(
                site.kicks(other),
                1,
                "nobody has logged in there: {starts:?}"
            );
            site.is_confirmed(HERE);
        });
    }
}

#[test]
fn it_does_not_spare_who_was_there_before() {
    for starts in STARTS {
        for first in [None, Some(Client::Windows)] {
            play(async || {
                let mut site = Site::start(&starts).await;
                let [kicking, holding, _] = site.three_msg_servers().await;
                if let Some(client) = first {
                    site.say(holding, &log_in(client)).await;
                }
                site.pass(seconds(1)).await;

                site.crash_node();
                site.say(kicking, &messages::kick(ALICE, Client::Mac)).await;
                site.pass(seconds(3)).await;
                // Clients of the other class are not meant.
                site.say(holding, &log_in(Client::Ios)).await;
                site.start_node();
                site.pass(seconds(5)).await;

                assert_eq!(site.kicks(holding), 1, "{starts:?}, {first:?}");
            });
        }
    }
}

#[test]
fn a_young_kick_goes_as_ever() {
    for starts in STARTS {
        play(async || {
            let mut site = Site::start(&starts).await;
            let [kicking, holding, _] = site.three_msg_servers().await;
            site.crash_node();
            site.pass(seconds(3)).await;

            site.say(kicking, &messages::kick(ALICE, Client::Mac)).await;
            site.pass(Duration::from_millis(100)).await;
            site.say(holding, &log_in(Client::Windows)).await;
            site.start_node();
            let waited = site.until_kicked(holding).await;

            assert!(
                waited < Duration::from_millis(1900),
                "it was not young any more: {waited:?}"
            );
        });
    }
}

#[test]
fn a_kick_that_waited_for_a_gateway_spares_who_has_logged_in_since() {
    for (starts, again) in [(STARTS[0], true), (STARTS[1], true), (STARTS[0], false)] {
        play(async || {
            let mut site = Site::start(&starts).await;
            let [kicking, holding, other] = site.three_msg_servers().await;

            site.cut_off(THERE, seconds(5));
            site.say(kicking, &messages::kick(ALICE, Client::Mac)).await;
            site.pass(seconds(3)).await;
            if again {
                site.say(holding, &log_in(Client::Windows)).await;
            }
            site.pass(seconds(5)).await;

            assert_eq!(site.kicks(holding), usize::from(!again));
            assert_eq!(site.kicks(other), 1);
            site.is_confirmed(HERE);
        });
    }
}

/// What the lost gateway was not handed goes to the MsgServer's other connection, whose gateway has its own clock, and has
/// heard of the login too.
#[test]
fn a_kick_that_goes_to_a_successor_spares_who_has_logged_in_since() {
    for again in [true, false] {
        play(async || {
            let mut site = Site::start(&STARTS[0]).await;
            let [kicking, holding, _] = site.three_msg_servers().await;
            let second = site.connect_again(BESIDE, holding, ALICE).await;

            site.cut_off(THERE, seconds(30));
            site.say(kicking, &messages::kick(ALICE, Client::Mac)).await;
            site.pass(seconds(3)).await;
            if again {
                site.say(holding, &log_in(Client::Windows)).await;
                site.say(second, &log_in(Client::Windows)).await;
            }
            // Its grace is over.
            site.pass(seconds(12)).await;

            assert_eq!(site.kicks(second), usize::from(!again));
            assert_eq!(site.kicks(holding), 0, "its gateway is away");
        });
    }
}

fn log_in(client: Client) -> system_tests::player::pdu::Pdu {
    messages::update(ALICE, Status::Online, client)
}

impl Site {
    /// One that kicks, one that holds Alice since before it connected, one beside it.
    async fn three_msg_servers(&mut self) -> [usize; 3] {
        let kicking = self.connect(HERE, &[]).await;
        let holding = self.connect(THERE, &[ALICE]).await;
        let other = self.connect(THERE, &[]).await;
        self.pass(Duration::from_millis(100)).await;
        [kicking, holding, other]
    }
}
