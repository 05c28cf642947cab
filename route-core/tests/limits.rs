//! How many sessions are kept, and what becomes of links that report more. Promise 8.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use route_core::{
    Audience, Change, ClientType, Command, Core, Effect, LinkId, ListEntry, Output, ReportedStatus,
    Settings, TransitionKind, UserId,
};

const MESSAGE: Command = Command {
    id: 0x0301,
    dialect: 0,
};

struct Node {
    core: Core,
    sequence: u64,
    overflown: Vec<u64>,
}

impl Node {
    fn new(link_sessions: u32, sessions: u32) -> Node {
        let settings = Settings {
            link_sessions,
            sessions,
            ..Settings::default()
        };
        Node {
            core: Core::new(settings),
            sequence: 0,
            overflown: Vec::new(),
        }
    }

    /// A MsgServer of its own address lists these users.
    fn connects(&mut self, link: u8, users: std::ops::Range<u32>) {
        self.connects_from(link, link, users);
    }

    /// One of this host does.
    fn connects_from(&mut self, link: u8, host: u8, users: std::ops::Range<u32>) {
        let restored = None;
        let peer = SocketAddr::from(([10, 0, 0, host], 4000)).into();
        self.does(link, Change::Opened { peer, restored });
        self.lists(link, users);
    }

    fn lists(&mut self, link: u8, users: std::ops::Range<u32>) {
        let entries = users.map(|user| ListEntry {
            user: UserId(user),
            client_type: ClientType::published(1),
            status: ReportedStatus::Online,
        });
        let entries: Vec<_> = entries.collect();
        let (entries, last) = (&entries[..], true);
        self.does(link, Change::List { entries, last });
    }

    fn reports(&mut self, link: u8, user: u32, status: ReportedStatus) {
        let (user, client_type) = (UserId(user), ClientType::published(1));
        let update = Change::Update {
            user,
            client_type,
            status,
        };
        self.does(link, update);
    }

    fn does(&mut self, link: u8, change: Change<'_>) {
        self.sequence += 1;
        let mut transaction = self.core.transaction(Duration::ZERO);
        let id = LinkId::new(1, link.into());
        transaction
            .apply(id, self.sequence, change, Effect::Notify)
            .unwrap();
        let said = transaction.outputs().drain_transitions();
        let overflown = said.filter(|it| it.kind == TransitionKind::Overflows);
        self.overflown.extend(overflown.map(|it| it.link.number));
    }

    fn targets(&mut self, from: u8, user: u32) -> Vec<u64> {
        self.sequence += 1;
        let mut transaction = self.core.transaction(Duration::ZERO);
        let (id, audience) = (LinkId::new(1, from.into()), Audience::Users(&[user]));
        let pdu = Bytes::from_static(b"message");
        transaction
            .route(id, self.sequence, MESSAGE, audience, pdu, None)
            .unwrap();
        let targets = transaction
            .outputs()
            .drain()
            .flat_map(|output| match output {
                Output::Deliver(fan) => fan.targets.to_vec(),
                Output::Close(_) | Output::TakeOver { .. } | Output::Answer(_) => Vec::new(),
            });
        targets.map(|target| target.number).collect()
    }

    fn is_online(&self, user: u32) -> bool {
        self.core.view().legacy_online(UserId(user))
    }

    fn sessions(&self) -> usize {
        self.core.view().stats().sessions
    }
}

#[test]
fn a_link_that_reports_too_much_gets_everything_and_keeps_what_was_first() {
    let mut node = Node::new(10, 1000);
    node.connects(1, 0..30);
    node.connects(2, 100..105);

    assert_eq!(node.overflown, [1]);
    assert_eq!(node.sessions(), 15);
    assert_eq!(node.targets(2, 25), [1], "it may have him");
    assert!(node.is_online(9) && !node.is_online(25));

    node.reports(1, 9, ReportedStatus::Offline);
    assert!(!node.is_online(9));
    node.reports(1, 26, ReportedStatus::Online);
    assert!(node.is_online(26), "there is room again");
    node.lists(1, 0..3);
    assert_eq!(node.targets(2, 25), [1], "some are still missing");
    assert_eq!(node.overflown, [1], "said once");
}

#[test]
fn in_all_there_is_room_for_so_many() {
    let mut node = Node::new(1000, 20);
    node.connects(1, 0..15);
    node.connects(2, 100..110);

    assert_eq!((node.sessions(), &node.overflown[..]), (20, &[2][..]));
    assert!(node.is_online(0) && node.is_online(104) && !node.is_online(105));
    let closed = Change::Closed {
        reason: route_core::CloseReason::Peer,
    };
    node.does(1, closed);
    node.lists(2, 105..110);
    assert!(node.is_online(105));
}

/// Else a user that everybody has would cost each of them as much as there are.
#[test]
fn one_user_is_known_on_so_many_links() {
    let mut node = Node::new(1000, 100_000);
    for link in 1..=70 {
        node.connects(link, 0..1);
    }
    assert_eq!(node.sessions(), 64);
    assert_eq!(node.overflown, [65, 66, 67, 68, 69, 70]);
    assert_eq!(node.targets(1, 0).len(), 69, "all others");
}

/// Else one host with many connections makes those of others overflow.
#[test]
fn one_address_leaves_room_for_others() {
    let mut node = Node::new(1000, 100_000);
    for link in 1..=70 {
        node.connects_from(link, 200, 0..1);
    }
    node.connects(71, 0..1);
    assert_eq!(node.sessions(), 17);
    assert!(!node.overflown.contains(&71));
}
