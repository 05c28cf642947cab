//! Random reports and PDUs, valid and mutated, by fixed seeds: after every step each link has what
//! the model gives it, no more, in that order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use bytes::Bytes;
use fastrand::Rng;
use system_tests::deployment::{Deployment, FanOut, Setup};
use system_tests::player::connection::BARRIER_LIMIT;
use system_tests::player::connection::Ending;
use system_tests::player::messages::{self, Client, GROUP_TEXT, SINGLE_TEXT, Status};
use system_tests::player::pdu::{Pdu, command};
use system_tests::player::wire;
use system_tests::recording;
use system_tests::rules::{Rules, server};
use system_tests::stage::Stage;

use crate::{from_own_address, mutated};

system_tests::in_both_setups! {
    two_msgservers: play(2, 5..15);
    three_msgservers: play(3, 5..15);
    twenty_msgservers: play(20, 0..3);
}

/// Steps of one seed.
const STEPS: usize = 300;

/// Plays all seeds on one server.
async fn play(setup: Setup, links: usize, seeds: Range<u64>) {
    let servers = Deployment::start(setup, FanOut::Directed).await;
    schedules(servers.pdu_address(), links, seeds).await;
}

/// The player and the model agree with themselves.
#[tokio::test]
async fn three_msgservers_before_the_model() {
    let model = server::serve(FanOut::Directed).await;
    schedules(model.expect("a listener on a free port"), 3, 0..5).await;
}

async fn schedules(address: SocketAddr, links: usize, seeds: Range<u64>) {
    for seed in seeds {
        let mut schedule = Schedule::start(address, links, seed).await;
        for step in 0..STEPS {
            if let Err(difference) = schedule.step(step).await {
                panic!("{links} MsgServers, seed {seed}, step {step}: {difference}");
            }
        }
        schedule.end().await;
    }
}

/// One schedule: MsgServers, what they have reported by the model, and the dice.
struct Schedule {
    stage: Stage,
    rules: Rules,
    links: usize,
    dice: Rng,
    /// How often a link has closed and come back: part of its connection's name.
    lives: Vec<usize>,
}

impl Schedule {
    async fn start(address: SocketAddr, links: usize, seed: u64) -> Self {
        let mut schedule = Self {
            stage: Stage::new(&format!("directed, seed {seed}"), address),
            rules: Rules::new(FanOut::Directed),
            links,
            dice: Rng::with_seed(seed),
            lives: vec![0; links],
        };
        for link in 0..links {
            schedule.connect(link).await;
        }
        schedule
    }

    /// Does something, and compares what every link got.
    async fn step(&mut self, step: usize) -> Result<(), String> {
        let link = self.dice.usize(..self.links);
        if self.dice.u8(..64) == 0 {
            self.reconnect(link).await;
        }
        let pdu = self.random_pdu().sequence(step as u16);
        let mut expected: BTreeMap<usize, Vec<Bytes>> = BTreeMap::new();
        for delivery in self.rules.handle(link, &pdu) {
            let pdus = expected.entry(delivery.to).or_default();
            pdus.push(delivery.pdu.encode().into());
        }

        self.stage.send(&self.name(link), pdu.clone()).await;
        self.stage[&self.name(link)].barrier(BARRIER_LIMIT).await;

        for target in 0..self.links {
            let connection = &self.stage[&self.name(target)];
            if !connection.barrier(BARRIER_LIMIT).await {
                return Err(format!(
                    "link {target} does not answer after {}",
                    shown(&pdu)
                ));
            }
            let got = connection.received();
            connection.forget();
            let wanted = expected.remove(&target).unwrap_or_default();
            if got != wanted {
                return Err(format!(
                    "link {link} sent {}\nlink {target} expected {}\ngot {}",
                    shown(&pdu),
                    all_shown(&wanted),
                    all_shown(&got)
                ));
            }
        }
        Ok(())
    }

    /// Nothing came late. Then all leave.
    async fn end(mut self) {
        self.stage.settle().await;
        for link in 0..self.links {
            let name = self.name(link);
            let late = self.stage[&name].received();
            assert!(late.is_empty(), "link {link} got late {}", all_shown(&late));
            self.stage.close(&name, Ending::Fin).await;
        }
        self.stage.settle().await;
    }

    async fn connect(&mut self, link: usize) {
        let name = self.name(link);
        self.stage.open_with(&name, from_own_address(link)).await;
        self.rules.open(link);
        if self.dice.bool() {
            self.stage.send(&name, messages::role(1)).await;
        }
    }

    async fn reconnect(&mut self, link: usize) {
        let ending = if self.dice.bool() {
            Ending::Fin
        } else {
            Ending::Reset
        };
        self.stage.close(&self.name(link), ending).await;
        self.rules.close(link);
        self.stage.settle().await;
        self.lives[link] += 1;
        self.connect(link).await;
    }

    fn name(&self, link: usize) -> String {
        format!("{link}, life {}", self.lives[link])
    }

    fn random_pdu(&mut self) -> Pdu {
        let pdu = match self.dice.u8(..20) {
            0 | 1 => self.random_list(),
            2..=6 => self.random_update(),
            7 => messages::query(self.user(), &self.users(), None),
            8..=10 => self.random_message(),
            11 | 12 => messages::p2p(self.user(), self.user(), "{}"),
            13 => messages::read(self.user(), self.user(), 1),
            14 => messages::remove_session(self.user(), self.user()),
            15 => messages::kick(self.user(), self.client()),
            16 => messages::group_change(self.user(), 900, &self.users(), &self.users()),
            17 => messages::file(self.user(), self.user()),
            18 => messages::sign_info(self.user(), "s"),
            _ => Pdu::new(self.dice.u16(..), wire::number(1, self.user())),
        };
        if self.dice.u8(..8) == 0 {
            mutated(&mut self.dice, &pdu)
        } else {
            pdu
        }
    }

    fn random_list(&mut self) -> Pdu {
        let mut entries = Vec::new();
        for user in self.users() {
            let status = [Status::Online, Status::Offline, Status::Leave];
            let status = self.dice.choice(status).unwrap_or(Status::Online);
            entries.push((user, status, self.client()));
        }
        messages::list(&entries)
    }

    fn random_update(&mut self) -> Pdu {
        let (user, client) = (self.user(), self.client());
        match self.dice.u8(..16) {
            0 => messages::update_with(user, self.dice.u32(..6), client),
            1..=8 => messages::update(user, Status::Online, client),
            9 => messages::update(user, Status::Leave, client),
            _ => messages::update(user, Status::Offline, client),
        }
    }

    fn random_message(&mut self) -> Pdu {
        let msg_type = if self.dice.u8(..4) == 0 {
            GROUP_TEXT
        } else {
            SINGLE_TEXT
        };
        messages::message(self.user(), self.user(), 1, msg_type, b"text")
    }

    /// A few users for everybody, so that some are on several MsgServers, some on one, some on
    /// none.
    fn user(&mut self) -> u32 {
        let count = 3 * self.links as u32;
        self.stage.uid(self.dice.u32(..count))
    }

    fn users(&mut self) -> Vec<u32> {
        let count = self.dice.usize(..4);
        (0..count).map(|_| self.user()).collect()
    }

    fn client(&mut self) -> Client {
        self.dice.choice(Client::ALL).unwrap_or(Client::Windows)
    }
}

fn shown(pdu: &Pdu) -> String {
    let raw = pdu.encode();
    if pdu.command == command::ONLINE_USER_LIST {
        return format!("{} (a list)", recording::short_hex(&raw));
    }
    recording::event(&raw.into()).to_string()
}

fn all_shown(pdus: &[Bytes]) -> String {
    let lines: Vec<_> = pdus
        .iter()
        .map(|raw| recording::event(raw).to_string())
        .collect();
    format!("[{}]", lines.join("\n  "))
}
