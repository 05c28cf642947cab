//! The core does what the written rules say: by random reports and PDUs of a few links, which have
//! addresses of their own. What links of one address do is the subject of `failover.rs` in
//! route-core.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use route_core::{
    Audience, Change, ClientType, CloseReason, Command, Core, Effect, LinkId, ListEntry, Output,
    Payload, ReportedStatus, Settings, Status as Shown, Transaction, UserId,
};
use system_tests::deployment::FanOut;
use system_tests::dice::Dice;
use system_tests::player::messages::{self, Client, GROUP_TEXT, Status};
use system_tests::player::pdu::{Pdu, command};
use system_tests::rules::{self, Rules};

const NOW: Duration = Duration::ZERO;
/// Schedules of each mode, and what happens in each.
const SEEDS: u64 = 1000;
const STEPS: usize = 80;
const LINKS: usize = 5;
/// Users who are reported, and a few more, whom nobody has.
const USERS: u32 = 6;
const NAMED: u32 = 8;

#[test]
fn directed_fan_out_and_notices_follow_the_rules() {
    play_seeds(FanOut::Directed);
}

#[test]
fn broadcast_fan_out_and_notices_follow_the_rules() {
    play_seeds(FanOut::Broadcast);
}

/// A user whom only a link knew that is gone, and of whom another one reports an end.
#[test]
fn a_user_who_is_known_no_longer_causes_no_login_notice() {
    use Client::{Ios, Windows};
    use Status::{Leave, Offline};
    for fan_out in [FanOut::Directed, FanOut::Broadcast] {
        let mut play = Play::new(fan_out);
        for action in [
            Action::Open(4),
            Action::Open(0),
            Action::List(4, vec![(0, Offline, Ios)]),
            Action::List(0, vec![(0, Leave, Windows)]),
            Action::Update(4, (0, Offline, Ios)),
            Action::Open(3),
            Action::Close(0),
            Action::Update(3, (0, Offline, Windows)),
        ] {
            play.act(&action);
        }
        play.end();
    }
}

fn play_seeds(fan_out: FanOut) {
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let actions: Vec<_> = (0..STEPS).map(|_| Action::random(&mut dice)).collect();
        let played = std::panic::catch_unwind(|| {
            let mut play = Play::new(fan_out);
            actions.iter().for_each(|action| play.act(action));
            play.end();
        });
        assert!(played.is_ok(), "seed {seed}: {actions:?}");
    }
}

/// What a link does; one that is not there does nothing.
#[derive(Debug)]
enum Action {
    Open(usize),
    Close(usize),
    List(usize, Vec<Report>),
    Update(usize, Report),
    Unreadable(usize),
    Route(usize, Scope),
}

type Report = (u32, Status, Client);

#[derive(Debug)]
enum Scope {
    Users(Vec<u32>),
    Reporters,
    Others,
    UnparsedAll,
    Sessions,
}

impl Action {
    fn random(dice: &mut Dice) -> Self {
        let link = dice.roll(LINKS);
        match dice.roll(18) {
            0..2 => Self::Open(link),
            2 => Self::Close(link),
            3..5 => Self::List(link, (0..dice.roll(5)).map(|_| report(dice)).collect()),
            5..13 => Self::Update(link, report(dice)),
            13 => Self::Unreadable(link),
            _ => Self::Route(link, Scope::random(dice)),
        }
    }
}

impl Scope {
    fn random(dice: &mut Dice) -> Self {
        match dice.roll(8) {
            0..4 => Self::Users((0..dice.roll(4)).map(|_| user(dice, NAMED)).collect()),
            4 => Self::Reporters,
            5 => Self::Others,
            6 => Self::UnparsedAll,
            _ => Self::Sessions,
        }
    }

    /// A PDU that is for them, and how a gateway says whom it is for.
    fn example(&self) -> (Pdu, Audience<'_>) {
        match self {
            Self::Users(users) => {
                let change = messages::group_change(0, 1, users, &[]);
                (change, Audience::Users(users))
            }
            Self::Reporters => {
                let message = messages::message(0, 1, 1, GROUP_TEXT, "text");
                (message, Audience::Reporters)
            }
            Self::Others => (messages::kick(0, Client::Ios), Audience::Others),
            Self::UnparsedAll => (
                unreadable(command::SIGNATURE_CHANGED),
                Audience::UnparsedAll,
            ),
            Self::Sessions => (messages::sign_info(0, "text"), Audience::Sessions),
        }
    }
}

fn report(dice: &mut Dice) -> Report {
    use Status::{Leave, Offline, Online};
    let status = [Online, Online, Online, Offline, Offline, Offline, Leave][dice.roll(7)];
    let client = Client::ALL[dice.roll(Client::ALL.len())];
    (user(dice, USERS), status, client)
}

fn user(dice: &mut Dice, of: u32) -> u32 {
    dice.roll(of as usize) as u32
}

fn unreadable(command: u16) -> Pdu {
    Pdu::new(command, &b"\xff"[..])
}

/// From which link, by which of its entries, and what.
type Got = (u64, u64, Pdu);

struct Play {
    core: Core,
    rules: Rules,
    /// The number of each link that is there; that of a closed one is never used again.
    numbers: BTreeMap<usize, u64>,
    newest: u64,
    sequence: u64,
    expected: BTreeMap<u64, Vec<Got>>,
    got: BTreeMap<u64, Vec<Got>>,
}

impl Play {
    fn new(fan_out: FanOut) -> Self {
        let settings = Settings {
            fan_out: match fan_out {
                FanOut::Directed => route_core::FanOut::Directed,
                FanOut::Broadcast => route_core::FanOut::Broadcast,
            },
            ..Settings::default()
        };
        Self {
            core: Core::new(settings),
            rules: Rules::new(fan_out),
            numbers: BTreeMap::new(),
            newest: 0,
            sequence: 0,
            expected: BTreeMap::new(),
            got: BTreeMap::new(),
        }
    }

    fn act(&mut self, action: &Action) {
        self.sequence += 1;
        match action {
            Action::Open(link) => {
                if !self.numbers.contains_key(link) {
                    self.open(*link);
                }
            }
            Action::Close(link) => {
                if let Some(number) = self.numbers.remove(link) {
                    self.close(number);
                }
            }
            Action::List(link, reports) => self.list(*link, reports),
            Action::Update(link, report) => {
                let entry = entry(report);
                let update = Change::Update {
                    user: entry.user,
                    client_type: entry.client_type,
                    status: entry.status,
                };
                let (user, status, client) = *report;
                self.report(*link, &[update], &messages::update(user, status, client));
            }
            Action::Unreadable(link) => {
                let pdu = unreadable(command::ONLINE_USER_LIST);
                self.report(*link, &[Change::Unreadable], &pdu);
            }
            Action::Route(link, scope) => self.route(*link, scope),
        }
        self.compare();
    }

    fn open(&mut self, link: usize) {
        self.newest += 1;
        self.numbers.insert(link, self.newest);
        let address = Ipv4Addr::from_bits((10 << 24) + self.newest as u32);
        let opened = Change::Opened {
            peer: SocketAddr::new(IpAddr::V4(address), 1).into(),
            restored: None,
        };
        self.apply(self.newest, &[opened]);
        self.rules.open(self.newest as usize);
    }

    fn close(&mut self, number: u64) {
        let reason = CloseReason::Peer;
        let closed = Change::Closed { reason };
        self.apply(number, &[closed]);
        self.rules.close(number as usize);
    }

    /// In two parts, as gateways send long ones.
    fn list(&mut self, link: usize, reports: &[Report]) {
        let entries: Vec<_> = reports.iter().map(entry).collect();
        let (head, tail) = entries.split_at(entries.len() / 2);
        let parts = [(head, false), (tail, true)];
        let parts = parts.map(|(entries, last)| Change::List { entries, last });
        self.report(link, &parts, &messages::list(reports));
    }

    fn report(&mut self, link: usize, changes: &[Change<'_>], pdu: &Pdu) {
        if let Some(number) = self.numbers.get(&link).copied() {
            self.apply(number, changes);
            self.expect(number, pdu);
        }
    }

    fn route(&mut self, link: usize, scope: &Scope) {
        let Some(number) = self.numbers.get(&link).copied() else {
            return;
        };
        let (pdu, audience) = scope.example();
        let raw = pdu.encode().into();
        let mut transaction = self.core.transaction(NOW);
        let link = id(number);
        let command = Command {
            id: pdu.command,
            dialect: 0,
        };
        let routed = transaction.route(link, self.sequence, command, audience, raw, None);
        assert!(routed.is_ok());
        arrive(&mut transaction, &mut self.got);
        drop(transaction);
        self.expect(number, &pdu);
    }

    fn apply(&mut self, number: u64, changes: &[Change<'_>]) {
        let mut transaction = self.core.transaction(NOW);
        for change in changes {
            let applied = transaction.apply(id(number), self.sequence, *change, Effect::Notify);
            assert!(applied.is_ok());
        }
        arrive(&mut transaction, &mut self.got);
    }

    /// What a link has sent causes what the rules say.
    fn expect(&mut self, from: u64, pdu: &Pdu) {
        for delivery in self.rules.handle(from as usize, pdu) {
            let of = self.expected.entry(delivery.to as u64).or_default();
            of.push((from, self.sequence, delivery.pdu));
        }
    }

    fn compare(&self) {
        for user in 0..USERS {
            let view = self.core.view();
            let summary = view.summary(UserId(user));
            let shown = match summary.status {
                Shown::Online => Status::Online,
                Shown::Away => Status::Leave,
                Shown::Offline => Status::Offline,
            };
            assert_eq!(shown, self.rules.shown(user), "user {user}");
            let desktop = self.rules.is_online(user);
            assert_eq!(summary.legacy_online, desktop, "user {user}");
            assert_eq!(view.legacy_online(UserId(user)), desktop, "user {user}");
            let sessions = view.sessions_of(UserId(user)).count();
            assert_eq!(sessions, self.rules.sessions(user), "user {user}");
        }
    }

    /// When every link has gone, nothing is left.
    fn end(mut self) {
        assert_eq!(self.got, self.expected);
        self.sequence += 1;
        for number in std::mem::take(&mut self.numbers).into_values() {
            self.close(number);
        }
        let stats = self.core.view().stats();
        assert_eq!((stats.users, stats.sessions), (0, 0));
    }
}

/// What comes out for links is with them.
fn arrive(transaction: &mut Transaction<'_>, got: &mut BTreeMap<u64, Vec<Got>>) {
    for output in transaction.outputs().drain() {
        let Output::Deliver(fan) = output else {
            continue;
        };
        assert!(fan.targets.is_sorted(), "targets are sorted");
        for target in fan.targets {
            let items = fan.items.iter();
            let items = items.map(|item| (fan.origin.number, item.sequence, pdu(&item.payload)));
            got.entry(target.number).or_default().extend(items);
        }
    }
}

fn id(number: u64) -> LinkId {
    LinkId::new(7, number)
}

fn entry((user, status, client): &Report) -> ListEntry {
    ListEntry {
        user: UserId(*user),
        client_type: ClientType::published(*client as u8),
        status: match status {
            Status::Online => ReportedStatus::Online,
            Status::Offline => ReportedStatus::Offline,
            Status::Leave => ReportedStatus::Away,
        },
    }
}

/// What a gateway writes for it.
fn pdu(payload: &Payload) -> Pdu {
    match payload {
        Payload::Pdu(raw) => Pdu::parse(raw),
        Payload::Perishable(_) => panic!("no time of reading was given"),
        Payload::DesktopLogin { user, on } => rules::login_notice(user.0, *on),
        Payload::Status { user, status } => {
            let status = match status {
                ReportedStatus::Online => Status::Online,
                ReportedStatus::Offline => Status::Offline,
                ReportedStatus::Away => Status::Leave,
            };
            rules::status_notice(user.0, status as u32)
        }
    }
}
