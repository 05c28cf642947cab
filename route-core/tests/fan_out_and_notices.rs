//! The core against a naive model: a literal transcription of the legacy rules, with the deviations
//! that mend defects.
//!
//! Links have addresses of their own here; what links of one address do is the subject of
//! `failover.rs`.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use route_core::{
    Audience, Change, ClientType, CloseReason, Core, Effect, FanOut, LinkId, ListEntry, Output,
    Outputs, Payload, ReportedStatus, Settings, Status, Summary, Transaction, UserId,
};

const NOW: Duration = Duration::ZERO;
const TYPES: [u8; 4] = [0x01, 0x02, 0x11, 0x12];

#[derive(Clone, Debug)]
enum Action {
    Open(u64),
    Close(u64),
    List(u64, Vec<(u32, u8, ReportedStatus)>),
    Update(u64, u32, u8, ReportedStatus),
    Unreadable(u64),
    Route(u64, Scope),
}

#[derive(Clone, Debug)]
enum Scope {
    Users(Vec<u32>),
    Reporters,
    Others,
    UnparsedAll,
    Sessions,
}

/// (online, away, hidden, left)
type Counts = (u16, u16, u16, u16);

#[derive(Default, Debug)]
struct ModelLink {
    table: BTreeMap<(u32, u8), Counts>,
    reported: bool,
    listed: bool,
    opaque: bool,
    /// Users that the link has brought, and has not taken away as the last link of all.
    brought: BTreeSet<u32>,
}

#[derive(Debug)]
struct Model {
    fan_out: FanOut,
    links: BTreeMap<u64, ModelLink>,
}

/// What one link is to get: from whom, and what.
type Got = (u64, u64, Payload);

impl Model {
    fn count(&self, pick: impl Fn(u32, u8, Counts) -> bool) -> bool {
        self.links
            .values()
            .flat_map(|link| &link.table)
            .any(|((user, kind), counts)| pick(*user, *kind, *counts))
    }

    fn summary(&self, user: u32) -> Summary {
        let online = self.count(|u, _, (online, ..)| u == user && online > 0);
        let away = self.count(|u, _, (_, away, _, left)| u == user && away + left > 0);
        let desktop = self.count(|u, kind, (on, away, _, left)| {
            u == user && on + away + left > 0 && kind & 0x10 == 0
        });
        let status = if online {
            Status::Online
        } else if away {
            Status::Away
        } else {
            Status::Offline
        };
        Summary {
            status,
            legacy_online: desktop,
        }
    }

    fn report(&mut self, link: u64, user: u32, kind: u8, status: ReportedStatus) {
        let table = &mut self.links.get_mut(&link).unwrap().table;
        let counts = table.entry((user, kind)).or_default();
        let (online, away, hidden, left) = counts;
        match status {
            ReportedStatus::Online => {
                if *left > 0 {
                    *left -= 1;
                } else if *away > 0 {
                    *away -= 1;
                }
                *online += 1;
            }
            ReportedStatus::Away if *online > 0 => {
                *online -= 1;
                *left += 1;
            }
            ReportedStatus::Away => {
                *away += *left + 1;
                *online = *left;
                *left = 0;
            }
            ReportedStatus::Offline => {
                if let Some(count) = [left, away, online, hidden].into_iter().find(|c| **c > 0) {
                    *count -= 1;
                }
            }
        }
        if *counts == (0, 0, 0, 0) {
            table.remove(&(user, kind));
        }
        if status != ReportedStatus::Offline {
            self.links.get_mut(&link).unwrap().brought.insert(user);
        } else if self.summary(user).status == Status::Offline {
            self.links.get_mut(&link).unwrap().brought.remove(&user);
        }
    }

    /// In broadcast mode as C++ has it: some link that brought the user has neither closed nor
    /// taken the last login of all away. In directed mode there is somebody to tell only if
    /// somebody has a login.
    fn is_known(&self, user: u32) -> bool {
        match self.fan_out {
            FanOut::Broadcast => self.links.values().any(|link| link.brought.contains(&user)),
            FanOut::Directed => self.summary(user).status != Status::Offline,
        }
    }

    fn list(&mut self, link: u64, entries: &[(u32, u8, ReportedStatus)]) {
        let first = !self.links[&link].listed;
        for (user, kind, status) in entries {
            let state = self.links.get_mut(&link).unwrap();
            match status {
                ReportedStatus::Online => {
                    state.brought.insert(*user);
                    state.table.entry((*user, *kind)).or_default().0 += 1;
                }
                ReportedStatus::Away => {
                    state.brought.insert(*user);
                    state.table.entry((*user, *kind)).or_default().1 += 1;
                }
                ReportedStatus::Offline if first => {
                    state.table.entry((*user, *kind)).or_default().2 += 1;
                }
                ReportedStatus::Offline => {
                    self.report(link, *user, *kind, ReportedStatus::Offline);
                }
            }
        }
        let state = self.links.get_mut(&link).unwrap();
        (state.reported, state.listed, state.opaque) = (true, true, false);
    }

    fn notices(&self, user: u32, kind: u8, status: ReportedStatus) -> Vec<Payload> {
        let after = self.summary(user);
        let desktop = kind & 0x10 == 0;
        let mut out = Vec::new();
        let known = self.is_known(user);
        let user = UserId(user);
        if known {
            if status == ReportedStatus::Offline {
                if desktop && !after.legacy_online {
                    out.push(Payload::DesktopLogin { user, on: false });
                }
            } else if after.legacy_online {
                out.push(Payload::DesktopLogin { user, on: true });
            }
        }
        if desktop && !(status == ReportedStatus::Offline && after.legacy_online) {
            out.push(Payload::Status { user, status });
        }
        out
    }

    fn notice_targets(&self, notice: &Payload) -> Vec<u64> {
        self.targets(None, |link| match notice {
            Payload::DesktopLogin { user, .. } => link.table.keys().any(|(u, _)| *u == user.0),
            Payload::Status { .. } => link.table.keys().any(|(_, kind)| kind & 0x10 == 0),
            Payload::Pdu(_) | Payload::Perishable(_) => false,
        })
    }

    fn route_targets(&self, origin: u64, scope: &Scope) -> Vec<u64> {
        match scope {
            Scope::Users(users) => self.targets(Some(origin), |link| {
                link.table.keys().any(|(u, _)| users.contains(u))
            }),
            Scope::Reporters => self.targets(Some(origin), |link| link.reported),
            Scope::Others => self.targets(Some(origin), |_| true),
            Scope::UnparsedAll => {
                let spared = (self.fan_out == FanOut::Directed).then_some(origin);
                self.targets(spared, |_| true)
            }
            Scope::Sessions => self.targets(None, |link| !link.table.is_empty()),
        }
    }

    fn targets(&self, spared: Option<u64>, wants: impl Fn(&ModelLink) -> bool) -> Vec<u64> {
        self.links
            .iter()
            .filter(|(number, link)| {
                Some(**number) != spared
                    && (self.fan_out == FanOut::Broadcast || link.opaque || wants(link))
            })
            .map(|(number, _)| *number)
            .collect()
    }
}

fn status() -> impl Strategy<Value = ReportedStatus> {
    prop_oneof![
        3 => Just(ReportedStatus::Online),
        3 => Just(ReportedStatus::Offline),
        1 => Just(ReportedStatus::Away),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let link = 1..6u64;
    let user = 0..6u32;
    let kind = prop::sample::select(&TYPES[..]);
    let entry = (user.clone(), kind.clone(), status());
    let scope = prop_oneof![
        4 => prop::collection::vec(0..8u32, 0..4).prop_map(Scope::Users),
        1 => Just(Scope::Reporters),
        1 => Just(Scope::Others),
        1 => Just(Scope::UnparsedAll),
        1 => Just(Scope::Sessions),
    ];
    prop_oneof![
        2 => link.clone().prop_map(Action::Open),
        1 => link.clone().prop_map(Action::Close),
        2 => (link.clone(), prop::collection::vec(entry, 0..5)).prop_map(|(l, e)| Action::List(l, e)),
        8 => (link.clone(), user, kind, status()).prop_map(|(l, u, k, s)| Action::Update(l, u, k, s)),
        1 => link.clone().prop_map(Action::Unreadable),
        4 => (link, scope).prop_map(|(l, s)| Action::Route(l, s)),
    ]
}

fn link(number: u64) -> LinkId {
    LinkId { gateway: 7, number }
}

fn drain(outputs: &mut Outputs, got: &mut BTreeMap<u64, Vec<Got>>) {
    for output in outputs.drain() {
        let fan = match output {
            Output::Deliver(fan) => fan,
            Output::TakeOver { .. } | Output::Close(_) | Output::Answer(_) | Output::Event(_) => {
                continue;
            }
        };
        assert!(fan.targets.is_sorted(), "targets are sorted");
        for target in fan.targets {
            let of_target = got.entry(target.number).or_default();
            let items = fan.items.iter();
            of_target
                .extend(items.map(|item| (fan.origin.number, item.sequence, item.payload.clone())));
        }
    }
}

fn apply(transaction: &mut Transaction<'_>, number: u64, sequence: u64, change: Change<'_>) {
    let applied = transaction.apply(link(number), sequence, change, Effect::Notify);
    applied.unwrap();
}

fn run(fan_out: FanOut, actions: &[Action]) {
    let mut core = Core::new(Settings {
        fan_out,
        ..Settings::default()
    });
    let mut model = Model {
        fan_out,
        links: BTreeMap::new(),
    };
    // A closed number is never used again: the model maps each to the newest incarnation.
    let mut current: BTreeMap<u64, u64> = BTreeMap::new();
    let mut expected: BTreeMap<u64, Vec<Got>> = BTreeMap::new();
    let mut got: BTreeMap<u64, Vec<Got>> = BTreeMap::new();
    let mut next_number = 0;
    for (sequence, action) in (1u64..).zip(actions) {
        let mut core = core.transaction(NOW);
        let apply = |core: &mut Transaction<'_>, number, change| {
            apply(core, number, sequence, change);
        };
        match action {
            Action::Open(which) => {
                if current.contains_key(which) {
                    continue;
                }
                next_number += 1;
                current.insert(*which, next_number);
                let peer = SocketAddr::from(([10, 0, 0, 0], 1));
                let peer = SocketAddr::new(
                    std::net::IpAddr::V4(
                        (u32::from_be_bytes([10, 0, 0, 0]) + next_number as u32).into(),
                    ),
                    peer.port(),
                );
                apply(
                    &mut core,
                    next_number,
                    Change::Opened {
                        peer,
                        restored: None,
                    },
                );
                model.links.insert(next_number, ModelLink::default());
            }
            Action::Close(which) => {
                let Some(number) = current.remove(which) else {
                    continue;
                };
                apply(
                    &mut core,
                    number,
                    Change::Closed {
                        reason: CloseReason::Peer,
                    },
                );
                model.links.remove(&number);
            }
            Action::List(which, entries) => {
                let Some(number) = current.get(which).copied() else {
                    continue;
                };
                let all: Vec<ListEntry> = entries
                    .iter()
                    .map(|(user, kind, status)| ListEntry {
                        user: UserId(*user),
                        client_type: ClientType(*kind),
                        status: *status,
                    })
                    .collect();
                let (head, tail) = all.split_at(all.len() / 2);
                for (entries, last) in [(head, false), (tail, true)] {
                    apply(&mut core, number, Change::List { entries, last });
                }
                model.list(number, entries);
            }
            Action::Update(which, user, kind, status) => {
                let Some(number) = current.get(which).copied() else {
                    continue;
                };
                apply(
                    &mut core,
                    number,
                    Change::Update {
                        user: UserId(*user),
                        client_type: ClientType(*kind),
                        status: *status,
                    },
                );
                model.links.get_mut(&number).unwrap().reported = true;
                let counts = model.links[&number].table.get(&(*user, *kind)).copied();
                let unseen = fan_out == FanOut::Directed
                    && *status == ReportedStatus::Offline
                    && counts.is_some_and(|(online, away, _, left)| online + away + left == 0);
                model.report(number, *user, *kind, *status);
                let mut notices = model.notices(*user, *kind, *status);
                if unseen {
                    notices.clear();
                }
                for notice in notices {
                    for target in model.notice_targets(&notice) {
                        let got = (number, sequence, notice.clone());
                        expected.entry(target).or_default().push(got);
                    }
                }
            }
            Action::Unreadable(which) => {
                let Some(number) = current.get(which).copied() else {
                    continue;
                };
                apply(&mut core, number, Change::Unreadable);
                let state = model.links.get_mut(&number).unwrap();
                (state.reported, state.opaque) = (true, true);
            }
            Action::Route(which, scope) => {
                let Some(number) = current.get(which).copied() else {
                    continue;
                };
                let pdu = Bytes::from(sequence.to_string());
                let users;
                let audience = match scope {
                    Scope::Users(some) => {
                        users = some.clone();
                        Audience::Users(&users)
                    }
                    Scope::Reporters => Audience::Reporters,
                    Scope::Others => Audience::Others,
                    Scope::UnparsedAll => Audience::UnparsedAll,
                    Scope::Sessions => Audience::Sessions,
                };
                core.route(link(number), sequence, 0x0301, audience, pdu.clone(), None)
                    .unwrap();
                for target in model.route_targets(number, scope) {
                    let got = (number, sequence, Payload::Pdu(pdu.clone()));
                    expected.entry(target).or_default().push(got);
                }
            }
        }
        drain(core.outputs(), &mut got);
        for user in 0..6 {
            let view = core.view().user(UserId(user));
            assert_eq!(view.summary(), model.summary(user), "user {user}");
            assert_eq!(
                core.view().legacy_online(UserId(user)),
                model.summary(user).legacy_online
            );
            let visible = model
                .links
                .values()
                .flat_map(|state| &state.table)
                .filter(|((u, _), (on, away, _, left))| *u == user && on + away + left > 0);
            assert_eq!(view.sessions().count(), visible.count());
        }
    }
    assert_eq!(got, expected);

    // When every link has gone, nothing is left.
    for number in current.values() {
        let closed = Change::Closed {
            reason: CloseReason::Peer,
        };
        apply(&mut core.transaction(NOW), *number, u64::MAX, closed);
    }
    let stats = core.view().stats();
    assert_eq!((stats.users, stats.sessions), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn directed_fan_out_and_notices_follow_the_rules(
        actions in prop::collection::vec(action(), 1..80)
    ) {
        run(FanOut::Directed, &actions);
    }

    #[test]
    fn broadcast_fan_out_and_notices_follow_the_rules(
        actions in prop::collection::vec(action(), 1..80)
    ) {
        run(FanOut::Broadcast, &actions);
    }
}

#[test]
fn a_large_link_is_removed_piece_by_piece_and_leaves_nothing() {
    // given a link with 10 000 users
    let mut core = Core::new(Settings::default());
    let mut transaction = core.transaction(NOW);
    let peer = SocketAddr::from(([10, 0, 0, 1], 1));
    let restored = None;
    apply(&mut transaction, 1, 1, Change::Opened { peer, restored });
    let entries: Vec<ListEntry> = (0..10_000)
        .map(|user| ListEntry {
            user: UserId(user),
            client_type: ClientType(1),
            status: ReportedStatus::Online,
        })
        .collect();
    let list = Change::List {
        entries: &entries,
        last: true,
    };
    apply(&mut transaction, 1, 2, list);

    // when it closes
    let closed = Change::Closed {
        reason: CloseReason::Peer,
    };
    apply(&mut transaction, 1, 3, closed);

    // then it is no link any more, and its sessions go in bounded steps
    assert_eq!(transaction.view().stats().links, 0);
    let mut steps = 0;
    while transaction.reap(1000) {
        steps += 1;
    }
    assert!(steps >= 8, "{steps} steps");
    let stats = transaction.view().stats();
    assert_eq!((stats.users, stats.sessions), (0, 0));
    let outputs = transaction.outputs().drain();
    let events = outputs.filter(|output| matches!(output, Output::Event(_)));
    assert_eq!(events.count(), 4 * 10_000, "every login and logout is told");
}
