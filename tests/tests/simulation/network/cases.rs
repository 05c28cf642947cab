//! What is promised of single faults, with its time.

use std::time::Duration;

use pdu_gateway::links::listener::Door;
use system_tests::cast::msg_server::GATEWAYS;
use system_tests::cast::population::{SERVERS, STAYING, home};

use crate::network::board::{GatewayLife, NODES, TWIN};
use crate::network::check;
use crate::network::host::{gateway_name, node_name};
use crate::network::site::{Site, servers_of};
use crate::network::storm::everybody;
use crate::subscriber::diary::Told;
use crate::{processes, seeds};

const SEEDS: u64 = 8;

/// A dead connection: silence for so long, then a ping that is not answered.
const NOTICED_AFTER: Duration = Duration::from_secs(10);
const NOTICED_WITHIN: Duration = Duration::from_secs(15);
/// As `--detach-grace` is by default.
const GRACE: Duration = Duration::from_secs(10);
/// For what comes after, through a slow network.
const MOMENT: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_node_whose_host_vanishes_is_noticed_and_its_successor_found() {
    seeds::play(SEEDS, &"a vanished node", |seed, shown| {
        let mut site = Site::begun(seed, shown);
        let node = node_name(site.active);
        everybody().for_each(|other| site.hold(&other, &node));
        site.kill(&node);
        site.start_node(1);

        site.pass(NOTICED_AFTER - SECOND);
        let board = &site.board;
        if !board.all_attached() {
            board.violate("a gateway has left its node too early".to_owned());
        }
        site.until(
            NOTICED_WITHIN + SECOND - NOTICED_AFTER,
            "gateways know, and hold their doors",
            each_once(|gateway| *gateway.door.borrow() == Door::Held),
        );
        // The vanished host is tried for 3 s.
        site.until(Duration::from_secs(5), "the successor has all", |site| {
            site.board.all_attached()
        });
        site.heal();
        check::connections(&site.board);
        site.conclude()
    });
}

#[test]
fn a_gateway_that_vanishes_is_noticed_and_its_users_go_after_the_grace() {
    seeds::play(SEEDS, &"a vanished gateway", |seed, shown| {
        let mut site = Site::begun(seed, shown);
        let (lost, node) = (1, node_name(site.active));
        servers_of(lost).for_each(|server| site.board.excuse(server));
        let vanished = site.now();
        site.hold(&gateway_name(lost), &node);

        site.pass(NOTICED_WITHIN + GRACE + SECOND);

        let told = site.board.book.lock().told.clone();
        for Told { at, change, .. } in told.into_iter().filter(|told| !told.change.online) {
            let user = change.user;
            let since = at.saturating_sub(vanished);
            let is_late = since > NOTICED_WITHIN + GRACE + MOMENT;
            let staying = home(user).is_some_and(|(_, number)| number < STAYING);
            // Something may have waited for it already: who takes nothing for as long is given up.
            let is_early = since + MOMENT < NOTICED_AFTER + GRACE;
            if staying && (is_early || is_late) {
                let what = format!("{user} went offline {since:?} after its gateway vanished");
                site.board.violate(what);
            }
        }
        let gone = (0..STAYING).map(|number| 2000 + number);
        let online = site.board.book.lock().online.clone();
        for user in gone.filter(|user| online.contains(user)) {
            site.board.violate(format!("{user} is still online"));
        }
        site.let_go(&gateway_name(lost), &node);
        site.conclude()
    });
}

#[test]
fn without_a_node_links_are_held_for_a_minute_then_closed_until_one_comes() {
    seeds::play(SEEDS, &"no node", |seed, shown| {
        let mut site = Site::begun(seed, shown);
        site.kill(&node_name(0));

        site.pass(processes::patience().lost - SECOND);
        check::connections(&site.board);
        for gateway in site.board.gateways() {
            if *gateway.door.borrow() != Door::Held || gateway.readiness.is_ready() {
                site.board.violate(
                    "a gateway without a node is open, or wants more MsgServers".to_owned(),
                );
            }
        }
        site.until(SECOND + MOMENT, "MsgServers are sent away", |site| {
            (0..SERVERS).all(|server| site.board.connections(server) == 0)
        });
        // They come back after 4 s, and are refused.
        site.pass(Duration::from_secs(10));
        if (0..SERVERS).any(|server| site.board.connections(server) > 0) {
            site.board
                .violate("a gateway without a node takes MsgServers".to_owned());
        }
        let node = site.dice.roll(NODES);
        site.start_node(node);
        // The host without a node is tried for 3 s, back-off takes one, and either may have to be
        // gone through once more.
        site.until(Duration::from_secs(9), "gateways have a node", |site| {
            site.board.all_attached()
        });
        site.conclude()
    });
}

#[test]
fn a_drain_moves_all_gateways_at_once() {
    seeds::play(SEEDS, &"a drain", |seed, shown| {
        let mut site = Site::begun(seed, shown);
        site.start(&node_name(1));
        site.pass(SECOND);
        site.terminate_node();

        let streams_end = Duration::from_millis(200);
        let on_its_way = Duration::from_millis(80);
        site.until(
            streams_end + on_its_way,
            "all streams have ended",
            each_once(|gateway| !gateway.is_attached()),
        );
        site.active = 1;
        // A back-off of 100 ms, a connection, a hello.
        site.until(MOMENT, "the successor has all", |site| {
            site.board.all_attached()
        });
        check::connections(&site.board);
        site.conclude()
    });
}

#[test]
fn of_two_gateways_with_one_id_the_second_has_to_wait_and_so_has_the_first_when_it_was_gone() {
    seeds::play(SEEDS, &"two gateways with one id", |seed, shown| {
        let mut site = Site::begun(seed, shown);
        let (first, node) = (gateway_name(0), node_name(0));
        site.start(&gateway_name(TWIN));
        site.pass(Duration::from_secs(10));
        let twin = site.board.gateway(TWIN);
        let refused = twin.gateway.counters.attach_failures.get();
        if twin.is_attached() || *twin.door.borrow() != Door::Shut || refused < 2 {
            site.board
                .violate(format!("the second one was refused {refused} times"));
        }
        check::connections(&site.board);

        // The first one's host stops, as a virtual machine does that is moved.
        servers_of(0).for_each(|server| site.board.excuse(server));
        site.hold(&first, &node);
        site.until(
            NOTICED_WITHIN + Duration::from_secs(8),
            "the second one has its place",
            |site| site.board.gateway(TWIN).is_attached(),
        );
        site.let_go(&first, &node);
        // It goes on trying, for what a node says of somebody else ends no gateway.
        let patience = processes::patience().lost + Duration::from_secs(8);
        site.until(patience, "its MsgServers are sent away", |site| {
            servers_of(0).all(|server| site.board.connections(server) < GATEWAYS)
        });
        // The operator ends the mistake.
        site.kill(&gateway_name(TWIN));
        site.until(patience, "the first one has its place again", |site| {
            site.board.gateway(0).is_attached()
        });
        site.conclude()
    });
}

/// Something has been so of each gateway: the first one may have a successor when the last one
/// knows.
fn each_once(is_so: impl Fn(&GatewayLife) -> bool) -> impl FnMut(&Site) -> bool {
    let mut was_so = [false; GATEWAYS];
    move |site| {
        for (gateway, was_so) in site.board.gateways().iter().zip(&mut was_so) {
            *was_so |= is_so(gateway);
        }
        was_so.iter().all(|was_so| *was_so)
    }
}
