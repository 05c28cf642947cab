//! Whose link is it: MsgServers that share an address, have several, are killed and come back, or
//! have names. Each case is a schedule that once went wrong, as short as it can be.
//!
//! Checks promises 3, 4, 6 and 7.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use route_core::{
    Audience, Change, ClientType, CloseReason, Command, Core, Effect, FanOut, LinkId, ListEntry,
    Output, Payload, Peer, Reach, ReportedStatus, Restored, Settings, TableEntry, Transition,
    TransitionKind, UserId,
};

const MESSAGE: Command = Command {
    id: 0x0301,
    dialect: 0,
};

const HERE: [u8; 4] = [10, 0, 0, 1];
const ELSEWHERE: [u8; 4] = [10, 0, 0, 2];

/// A node with links that are named by numbers.
struct Node {
    core: Core,
    now: Duration,
    sequence: u64,
    said: Vec<Transition>,
    /// Users of whom somebody was told by the last beat that they are offline.
    told_offline: Vec<u32>,
}

impl Node {
    fn new() -> Node {
        Node::with(FanOut::Directed)
    }

    fn with(fan_out: FanOut) -> Node {
        let settings = Settings {
            fan_out,
            ..Settings::default()
        };
        Node {
            core: Core::new(settings),
            now: Duration::ZERO,
            sequence: 0,
            said: Vec::new(),
            told_offline: Vec::new(),
        }
    }

    /// A MsgServer connects, claims or not, and lists these users; then time passes.
    fn connects(&mut self, link: u64, host: [u8; 4], claims: bool, users: &[u32]) {
        self.connects_as(link, (host, None), claims, users);
        self.passes(5);
    }

    /// The same at once, of a MsgServer that may have a name.
    fn connects_as(
        &mut self,
        link: u64,
        (host, msg_server): ([u8; 4], Option<&str>),
        claims: bool,
        users: &[u32],
    ) {
        self.opens(link, (host, msg_server));
        if claims {
            self.claims(link);
        }
        let entries: Vec<_> = users.iter().map(|user| entry(*user)).collect();
        let (entries, last) = (&entries[..], true);
        self.does(link, Change::List { entries, last });
    }

    /// A connection that has said nothing.
    fn opens(&mut self, link: u64, (host, msg_server): ([u8; 4], Option<&str>)) {
        let peer = Peer {
            address: SocketAddr::from((host, 4000)),
            msg_server,
        };
        let restored = None;
        self.does(link, Change::Opened { peer, restored });
    }

    /// An earlier node knew it, as a link of a MsgServer that had claimed it then, or not.
    fn is_restored(
        &mut self,
        link: u64,
        claimed_at: impl Into<Option<i64>>,
        predecessors: &[LinkId],
        users: &[u32],
    ) {
        self.is_restored_as(link, (claimed_at.into(), false), predecessors, users);
    }

    /// The same; `silent`: nothing was heard of it then.
    fn is_restored_as(
        &mut self,
        link: u64,
        (claimed_at, silent): (Option<i64>, bool),
        predecessors: &[LinkId],
        users: &[u32],
    ) {
        let restored = Some(Restored {
            opened_at: 0,
            claimed_at,
            reported: true,
            listed: true,
            opaque: false,
            silent,
        });
        let peer = Peer::from(SocketAddr::from((HERE, 4000)));
        self.does(link, Change::Opened { peer, restored });
        self.does(link, Change::Succeeds { predecessors });
        let row = |user: &u32| TableEntry {
            user: UserId(*user),
            client_type: ClientType::published(1),
            online: 1,
            away: 0,
            hidden: 0,
        };
        let entries: Vec<_> = users.iter().map(row).collect();
        let (entries, last) = (&entries[..], true);
        self.does(link, Change::Table { entries, last });
    }

    fn claims(&mut self, link: u64) -> Vec<u64> {
        self.does(link, Change::Role { claimed: true })
    }

    fn reports(&mut self, link: u64, user: u32, status: ReportedStatus) {
        let (user, client_type) = (UserId(user), ClientType::published(1));
        self.does(
            link,
            Change::Update {
                user,
                client_type,
                status,
            },
        );
    }

    /// Nothing is heard of it.
    fn falls_silent(&mut self, link: u64) {
        let closed = self.does(link, Change::Silence { silent: true });
        assert_eq!(closed, [0; 0], "what that means is decided later");
    }

    fn is_heard(&mut self, link: u64) {
        let closed = self.does(link, Change::Silence { silent: false });
        assert_eq!(closed, [0; 0]);
    }

    /// By now every MsgServer that lives has sent a heartbeat. Returns links that are to be closed.
    fn a_beat_passes(&mut self) -> Vec<u64> {
        self.now += Duration::from_secs(6);
        let mut transaction = self.core.transaction(self.now);
        transaction.advance();
        self.said.extend(transaction.outputs().drain_transitions());
        self.told_offline.clear();
        let mut all = Vec::new();
        for output in transaction.outputs().drain() {
            all.extend(closed(&output));
            self.told_offline.extend(offline(&output));
        }
        all
    }

    /// Its gateway closes its connection, because it stops.
    fn is_sent_away(&mut self, link: u64) {
        let reason = CloseReason::Drain;
        self.does(link, Change::Closed { reason });
    }

    /// Lists these users. Returns the links to which messages go by that.
    fn lists(&mut self, link: u64, users: &[u32]) -> Vec<u64> {
        let entries: Vec<_> = users.iter().map(|user| entry(*user)).collect();
        let (entries, last) = (&entries[..], true);
        self.sequence += 1;
        let mut transaction = self.core.transaction(self.now);
        let list = Change::List { entries, last };
        transaction
            .apply(id(link), self.sequence, list, Effect::Notify)
            .unwrap();
        messages(transaction.outputs().drain())
    }

    fn closes(&mut self, link: u64) {
        let reason = CloseReason::Peer;
        self.does(link, Change::Closed { reason });
    }

    /// Returns links that are to be closed.
    fn does(&mut self, link: u64, change: Change<'_>) -> Vec<u64> {
        self.sequence += 1;
        let mut transaction = self.core.transaction(self.now);
        let id = id(link);
        transaction
            .apply(id, self.sequence, change, Effect::Notify)
            .unwrap();
        self.said.extend(transaction.outputs().drain_transitions());
        let outputs: Vec<_> = transaction.outputs().drain().collect();
        self.told_offline.extend(outputs.iter().flat_map(offline));
        outputs.iter().filter_map(closed).collect()
    }

    /// To which links a message for this user goes.
    fn targets(&mut self, from: u64, user: u32) -> Vec<u64> {
        self.sequence += 1;
        let mut transaction = self.core.transaction(self.now);
        let pdu = Bytes::from_static(b"message");
        let audience = Audience::Users(&[user]);
        transaction
            .route(id(from), self.sequence, MESSAGE, audience, pdu, None)
            .unwrap();
        messages(transaction.outputs().drain())
    }

    /// Seconds pass. Returns the links to which messages go by that.
    fn passes(&mut self, seconds: u64) -> Vec<u64> {
        self.now += Duration::from_secs(seconds);
        let mut transaction = self.core.transaction(self.now);
        transaction.advance();
        messages(transaction.outputs().drain())
    }

    /// The gateway of a closed link has given back everything. Returns the links to which messages
    /// go by that.
    fn gives_back(&mut self, link: u64) -> Vec<u64> {
        let mut transaction = self.core.transaction(self.now);
        transaction.all_returned(id(link), Vec::new());
        messages(transaction.outputs().drain())
    }

    /// The gateways are looked after, as each second.
    fn looks_after(&mut self) {
        let mut transaction = self.core.transaction(self.now);
        for gateway in [1, 2] {
            transaction.set_reach(gateway, Reach::Here);
        }
        transaction.advance();
    }

    /// The gateway of the links from 100 on is gone. Returns as `gives_back` does.
    fn loses_the_other_gateway(&mut self) -> Vec<u64> {
        let mut transaction = self.core.transaction(self.now);
        transaction.lose_gateway(2);
        messages(transaction.outputs().drain())
    }

    /// Nothing is heard of its gateway.
    fn loses_sight_of(&mut self, link: u64) {
        let mut transaction = self.core.transaction(self.now);
        transaction.set_reach(id(link).gateway, Reach::Away);
    }

    fn is_online(&self, user: u32) -> bool {
        self.core.view().legacy_online(UserId(user))
    }
}

/// The link that is to be closed.
fn closed(output: &Output<'_>) -> Option<u64> {
    match output {
        Output::Close(link) => Some(link.number),
        Output::Deliver(_) | Output::TakeOver { .. } | Output::Answer(_) => None,
    }
}

/// Of whom this tells that they are offline.
fn offline<'a>(output: &'a Output<'_>) -> impl Iterator<Item = u32> + use<'a> {
    let items = match output {
        Output::Deliver(fan) => fan.items,
        Output::Close(_) | Output::TakeOver { .. } | Output::Answer(_) => &[],
    };
    items.iter().filter_map(|item| match item.payload {
        Payload::Status { user, status } => (status == ReportedStatus::Offline).then_some(user.0),
        Payload::Pdu(_) | Payload::Perishable(_) | Payload::DesktopLogin { .. } => None,
    })
}

fn messages<'a>(outputs: impl Iterator<Item = Output<'a>>) -> Vec<u64> {
    let mut targets = Vec::new();
    for output in outputs {
        if let Output::Deliver(fan) = output {
            let items = fan.items.iter();
            for _ in items.filter(|item| matches!(item.payload, Payload::Pdu(_))) {
                targets.extend(fan.targets.iter().map(|target| target.number));
            }
        }
    }
    targets
}

/// From 100 on they are another gateway's.
fn id(number: u64) -> LinkId {
    LinkId::new(1 + number / 100, number)
}

fn entry(user: u32) -> ListEntry {
    ListEntry {
        user: UserId(user),
        client_type: ClientType::published(1),
        status: ReportedStatus::Online,
    }
}

/// Somebody else, who sends.
fn with_sender(node: &mut Node) -> u64 {
    node.connects(99, [10, 9, 9, 9], true, &[]);
    99
}

#[test]
fn a_restarted_msg_server_does_not_inherit_from_its_dead_process() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1, 2]);
    node.connects(2, HERE, false, &[1, 2]);
    // The process is killed; its claimed connection is known to be closed first. It is back, and
    // one of its users has logged in again.
    node.closes(1);
    node.targets(sender, 1);
    node.connects_as(3, (HERE, None), true, &[]);
    node.connects_as(4, (HERE, None), false, &[]);
    for link in [3, 4] {
        node.reports(link, 1, ReportedStatus::Online);
    }
    node.closes(2);

    assert_eq!(node.passes(5), [0; 0], "what was held for the dead process");
    assert_eq!(node.targets(sender, 1), [3]);
    assert!(!node.is_online(2));
}

#[test]
fn users_who_move_within_an_address_take_no_seat_with_them() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1, 2]);
    node.connects(2, HERE, false, &[1, 2]);
    node.connects(3, HERE, true, &[3]);
    node.connects(4, HERE, false, &[3]);
    node.closes(1);
    node.closes(2);
    for user in [1, 2] {
        for link in [3, 4] {
            node.reports(link, user, ReportedStatus::Online);
        }
    }

    node.passes(5);

    assert_eq!(node.targets(sender, 1), [3]);
    assert_eq!(node.targets(3, 1), [0; 0], "its own kick");
}

#[test]
fn users_are_gone_when_the_last_connection_of_their_msg_server_has_closed() {
    let mut node = Node::new();
    node.connects(1, HERE, true, &[1, 2]);
    node.connects(2, HERE, false, &[1, 2]);

    node.closes(1);
    assert!(node.is_online(1), "the other connection may claim");
    node.closes(2);

    assert!(!node.is_online(1));
}

#[test]
fn a_msg_server_with_two_addresses_is_one_by_its_name() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects_as(1, (HERE, Some("m1")), true, &[1, 2]);
    node.connects_as(2, (ELSEWHERE, Some("m1")), false, &[1, 2]);

    assert_eq!(node.targets(sender, 1), [1]);
    assert_eq!(node.targets(1, 1), [0; 0]);
    node.closes(1);
    assert_eq!(node.targets(sender, 1), [0; 0], "held");
    assert_eq!(node.claims(2), [0; 0]);
    assert_eq!(node.gives_back(1), [2]);
    assert_eq!(node.targets(sender, 1), [2]);
}

#[test]
fn msg_servers_of_one_address_are_told_apart_by_their_names() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    // They have the same users, as when all of them have moved.
    node.connects_as(1, (HERE, Some("m1")), true, &[1, 2]);
    node.connects_as(2, (HERE, Some("m2")), true, &[1, 2]);
    node.connects_as(3, (HERE, Some("m2")), false, &[1, 2]);

    assert_eq!(node.claims(3), [2], "the other one is to be closed");
    node.gives_back(2);
    assert_eq!(node.targets(sender, 1), [1, 3]);
}

#[test]
fn one_user_is_not_enough_to_take_a_msg_servers_place() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1, 2, 3]);
    // Lists, then claims.
    node.connects(2, HERE, false, &[1]);
    assert_eq!(node.claims(2), [0; 0], "nobody is closed");
    // Claims, then lists all.
    node.connects(3, HERE, true, &[1, 2, 3]);

    assert!(node.targets(sender, 2).contains(&1));
    assert!(node.is_online(3));
}

#[test]
fn a_msg_server_that_never_claims_is_heard_beside_one_that_does() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1]);
    node.connects(2, HERE, false, &[5, 6]);
    assert_eq!(node.targets(sender, 5), [0; 0], "it may be a second one");
    node.passes(4);

    assert_eq!(node.targets(sender, 5), [2]);
    assert!(node.is_online(5));
    assert_eq!(node.targets(1, 5), [2]);
}

#[test]
fn a_login_that_comes_first_on_the_other_connection_makes_it_no_msg_server() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[]);
    node.connects(2, HERE, false, &[]);
    for user in 1..20 {
        node.reports(2, user, ReportedStatus::Online);
        assert_eq!(node.targets(sender, user), [0; 0]);
        node.reports(1, user, ReportedStatus::Online);
        assert_eq!(node.targets(sender, user), [1]);
        node.passes(1);
    }
}

#[test]
fn of_a_msg_server_that_never_claims_one_connection_stands() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, false, &[1, 2, 3]);
    node.connects(2, HERE, false, &[1, 2, 3]);

    assert_eq!(node.targets(sender, 1), [1]);
    assert_eq!(node.targets(1, 2), [0; 0]);
    assert_eq!(node.targets(2, 2), [0; 0], "sent on the other one");
    node.closes(1);
    node.gives_back(1);
    assert_eq!(node.targets(sender, 1), [2]);
    assert!(node.is_online(1));
}

#[test]
fn a_broadcast_goes_to_each_msg_server_once_and_never_back() {
    let mut node = Node::with(FanOut::Broadcast);
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1, 2]);
    node.connects(2, HERE, false, &[1, 2]);

    assert_eq!(node.targets(sender, 7), [1]);
    assert_eq!(node.targets(1, 1), [sender], "its own kick");
    node.closes(1);
    node.claims(2);
    assert_eq!(node.gives_back(1), [0; 0]);
    assert_eq!(node.targets(sender, 7), [2]);
}

#[test]
fn what_happens_to_a_link_is_said() {
    let mut node = Node::new();
    node.connects(1, HERE, true, &[1, 2]);
    node.connects(2, HERE, false, &[1, 2]);
    node.closes(1);
    node.claims(2);

    let kinds: Vec<_> = node.said.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(kinds, ["claims", "leaves_seat", "claims", "succeeds"]);
    let last = node.said.last().unwrap();
    assert_eq!((last.link, last.other), (id(2), Some(id(1))));
    assert_eq!((last.identity.as_str(), last.sessions), ("10.0.0.1", 2));
}

#[test]
fn msg_servers_of_one_address_that_share_a_user_hear_each_other() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1, 2, 3]);
    node.connects(2, HERE, false, &[1]);
    node.claims(2);
    node.reports(2, 7, ReportedStatus::Online);

    assert_eq!(node.targets(2, 3), [1]);
    assert_eq!(node.targets(1, 7), [2]);
    // What the one leaves is for its own other connection.
    node.connects(5, HERE, false, &[1, 2, 3]);
    node.closes(1);
    node.claims(5);
    node.gives_back(1);
    assert_eq!(node.targets(sender, 3), [5]);
    assert_eq!(node.targets(sender, 7), [2]);
}

#[test]
fn a_msg_server_that_never_claims_stands_when_the_last_common_user_has_left_the_other() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1]);
    node.connects(2, HERE, false, &[1]);
    assert_eq!(node.targets(sender, 1), [1]);
    node.reports(1, 1, ReportedStatus::Offline);

    node.passes(5);
    assert_eq!(node.targets(sender, 1), [0; 0], "it may be dead");
    node.passes(4);

    assert_eq!(node.targets(sender, 1), [2]);
    assert!(node.is_online(1));
}

#[test]
fn a_dead_link_does_not_stand_when_the_users_that_it_lists_leave() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1, 2, 3]);
    node.connects(2, HERE, false, &[1, 2, 3]);
    // It dies; its MsgServer tells the other gateway only.
    for user in [1, 2] {
        node.reports(1, user, ReportedStatus::Offline);
    }
    node.passes(5);
    node.falls_silent(2);
    node.passes(4);
    assert!(!node.is_online(1) && node.is_online(3));
    assert_eq!(node.targets(sender, 3), [1]);
}

#[test]
fn a_link_that_reports_what_no_other_one_does_stands_soon() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1]);
    node.connects(2, HERE, false, &[]);
    node.passes(60);
    node.reports(2, 7, ReportedStatus::Online);
    node.passes(1);
    assert_eq!(node.targets(1, 7), [0; 0], "a claimed one that lives");
    node.passes(1);
    assert_eq!(node.targets(sender, 7), [2]);
}

/// Its claimed connection was cut before its first login was told on it.
#[test]
fn a_shadow_does_not_stand_before_its_claimed_link_is_heard() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[]);
    node.connects_as(2, (HERE, None), false, &[5, 6]);
    node.passes(6);
    assert_eq!(node.targets(sender, 5), [0; 0]);
    node.falls_silent(1);
    assert_eq!(
        node.a_beat_passes(),
        [1],
        "it is found before the other one stands"
    );
    node.closes(1);
    node.claims(2);
    assert_eq!(node.targets(sender, 5), [0; 0]);
    assert_eq!(node.gives_back(1), [2]);
    assert!(node.is_online(5));
}

#[test]
fn a_login_elsewhere_reaches_a_msg_server_that_never_claims() {
    let mut node = Node::new();
    node.connects(1, HERE, true, &[]);
    node.connects(2, HERE, false, &[1]);
    node.passes(5);
    node.reports(1, 1, ReportedStatus::Online);
    // Somebody else connects meanwhile.
    node.connects_as(3, (HERE, None), false, &[]);

    assert_eq!(node.targets(1, 1), [2], "the kick");
}

#[test]
fn a_crowd_makes_nobody_deaf() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1]);
    node.connects(2, HERE, false, &[5, 6]);
    node.passes(5);
    for link in 10..30 {
        node.connects_as(link, (HERE, None), false, &[]);
    }

    assert_eq!(node.targets(sender, 5), [2]);
    assert_eq!(node.targets(sender, 1), [1]);
    let said = |it: &&Transition| it.kind == TransitionKind::Crowds;
    assert_eq!(node.said.iter().filter(said).count(), 1);
}

#[test]
fn a_msg_server_that_never_claims_goes_on_when_a_gateway_is_lost() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(101, HERE, false, &[1, 2, 3]);
    node.connects(2, HERE, false, &[1, 2, 3]);
    assert_eq!(node.targets(sender, 1), [101]);

    node.loses_the_other_gateway();
    node.gives_back(101);

    assert_eq!(node.targets(sender, 1), [2]);
    assert!(node.is_online(1));
}

#[test]
fn in_a_crowd_of_those_who_never_claim_everybody_is_heard() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    for link in 1..30 {
        node.connects_as(link, (HERE, None), false, &[link as u32]);
    }

    for link in 1..30 {
        assert_eq!(node.targets(sender, link as u32), [link]);
    }
}

#[test]
fn a_new_msg_server_that_never_claims_is_heard_after_a_moment() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1]);
    node.connects_as(2, (HERE, None), false, &[5, 6]);

    for _ in 0..5 {
        node.passes(1);
        node.looks_after();
        // The claimed one lives.
        node.targets(1, 1);
    }

    assert_eq!(node.targets(sender, 5), [2]);
}

#[test]
fn two_msg_servers_with_one_name_do_not_close_each_others_links_for_ever() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects_as(1, (HERE, Some("m1")), true, &[1, 2]);
    node.passes(60);
    // Another one, by mistake.
    node.connects_as(2, (ELSEWHERE, Some("m1")), true, &[3]);
    assert_eq!(
        node.targets(sender, 3),
        [0; 0],
        "held until the other one is closed"
    );
    node.closes(1);
    assert_eq!(node.gives_back(1), [2]);
    // The first one is back.
    node.passes(4);
    node.connects_as(3, (HERE, Some("m1")), true, &[1, 2]);

    assert_eq!(node.targets(sender, 1), [3]);
    assert_eq!(node.targets(sender, 3), [2]);
    assert!(node.is_online(1) && node.is_online(3));
    let shares = |it: &&Transition| it.kind == TransitionKind::SharesName;
    assert_eq!(node.said.iter().filter(shares).count(), 1);
    node.passes(60);
    assert_eq!(node.targets(3, 3), [2], "it is another MsgServer's user");
}

/// As [`two_msg_servers_with_one_name_do_not_close_each_others_links_for_ever`], but it is one that
/// was restarted, twice.
#[test]
fn a_named_msg_server_may_be_restarted_again_and_again() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects_as(1, (HERE, Some("m1")), true, &[1, 2]);
    for link in [2, 3, 4] {
        node.passes(60);
        node.connects_as(link, (HERE, Some("m1")), true, &[1]);
        node.closes(link - 1);
        node.gives_back(link - 1);
        assert_eq!(node.targets(sender, 1), [link]);
    }
    assert!(!node.is_online(2));
    let shares = |it: &&Transition| it.kind == TransitionKind::SharesName;
    assert_eq!(node.said.iter().filter(shares).count(), 0);
}

#[test]
fn a_claimed_link_that_is_cut_in_one_direction_is_closed() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1, 2]);
    node.connects(2, HERE, false, &[1, 2]);

    node.falls_silent(1);
    assert_eq!(node.a_beat_passes(), [1]);
    node.closes(1);
    node.passes(3);
    assert_eq!(node.gives_back(1), [0; 0]);
    assert_eq!(node.targets(sender, 1), [2]);
}

#[test]
fn of_a_msg_server_that_stands_still_no_link_is_closed() {
    let mut node = Node::new();
    node.connects(1, HERE, true, &[1, 2]);
    node.connects(2, HERE, false, &[1, 2]);

    node.falls_silent(1);
    node.passes(5);
    node.falls_silent(2);
    assert_eq!(node.a_beat_passes(), [0; 0]);
    assert_eq!(node.a_beat_passes(), [0; 0]);
    // It runs again. What its connections say does not come in order.
    node.is_heard(2);
    node.passes(1);
    node.is_heard(1);
    assert_eq!(node.a_beat_passes(), [0; 0]);
}

#[test]
fn a_silent_link_is_closed_when_another_one_of_its_msg_server_is_heard_again_or_comes() {
    for comes in [false, true] {
        let mut node = Node::new();
        node.connects(1, HERE, true, &[1, 2]);
        if !comes {
            node.connects(2, HERE, false, &[1, 2]);
            node.falls_silent(2);
        }
        node.falls_silent(1);
        node.passes(20);
        assert_eq!(node.a_beat_passes(), [0; 0]);

        if comes {
            node.connects_as(2, (HERE, None), false, &[1, 2]);
        } else {
            node.is_heard(2);
        }
        assert_eq!(node.a_beat_passes(), [1], "comes: {comes}");
    }
}

#[test]
fn a_node_that_did_not_run_closes_no_link_for_its_silence() {
    let mut node = Node::new();
    node.connects(1, HERE, true, &[1, 2]);
    node.connects(2, HERE, false, &[1, 2]);
    node.falls_silent(1);

    node.now += Duration::from_secs(20);
    assert_eq!(node.a_beat_passes(), [0; 0]);
    assert_eq!(node.a_beat_passes(), [1], "nobody has told anything else");
}

#[test]
fn a_silent_link_without_another_one_is_left_to_its_gateway() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1, 2]);
    node.connects(2, ELSEWHERE, true, &[3]);

    node.falls_silent(1);
    assert_eq!(node.a_beat_passes(), [0; 0]);
    assert_eq!(node.targets(sender, 1), [1]);
}

#[test]
fn who_holds_much_the_same_succeeds_a_claimed_link_that_is_silent() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1, 2, 3]);
    // Its host lost power and is back; nobody has told of the end of its old connection.
    node.connects(2, HERE, true, &[1, 2]);
    assert!(node.is_online(3));
    assert_eq!(node.targets(sender, 1), [1, 2], "until it is known");

    node.falls_silent(1);
    assert_eq!(node.a_beat_passes(), [1]);
    assert!(!node.is_online(3));
    node.closes(1);
    node.gives_back(1);
    assert_eq!(node.targets(sender, 1), [2]);
}

#[test]
fn who_is_heard_again_succeeds_the_silent_link_of_which_it_holds_much() {
    let mut node = Node::new();
    node.connects(1, HERE, true, &[1, 2, 3]);
    node.connects(2, HERE, true, &[1, 2]);
    node.connects(3, HERE, true, &[7, 8]);

    for link in [2, 1, 3] {
        node.falls_silent(link);
    }
    assert_eq!(node.a_beat_passes(), [0; 0], "its successor is silent, too");
    node.is_heard(3);
    assert_eq!(node.a_beat_passes(), [0; 0], "it is of another MsgServer");
    node.is_heard(2);
    assert_eq!(node.a_beat_passes(), [1]);
}

/// Its old connections die, and nobody is told. It connects anew; then one of its users leaves.
#[test]
fn a_msg_server_whose_address_changes_takes_its_own_place() {
    for closed_first in [false, true] {
        let mut node = Node::new();
        let sender = with_sender(&mut node);
        node.connects(5, [10, 0, 0, 3], true, &[50]);
        node.connects(1, HERE, true, &[1, 2, 3, 4]);
        node.connects(2, HERE, false, &[1, 2, 3, 4]);
        node.connects_as(3, (ELSEWHERE, None), true, &[1, 2, 3, 4]);
        node.connects_as(4, (ELSEWHERE, None), false, &[1, 2, 3, 4]);
        for link in [3, 4] {
            node.reports(link, 4, ReportedStatus::Offline);
        }
        assert!(node.is_online(4), "the old connection says so");

        node.falls_silent(1);
        node.falls_silent(2);
        if closed_first {
            node.closes(1);
            node.gives_back(1);
            node.passes(2);
        }
        let closes = if closed_first { &[][..] } else { &[1] };
        assert_eq!(node.a_beat_passes(), closes);
        assert_eq!(node.told_offline, [4], "he is gone");
        assert!(!node.is_online(4) && node.is_online(1));
        if !closed_first {
            node.closes(1);
            node.gives_back(1);
        }
        assert_eq!(
            node.targets(sender, 1),
            [3],
            "link 2 does not stand for anybody"
        );
        node.closes(2);
        assert!(!node.is_online(4) && node.is_online(1));
        assert_eq!(node.targets(sender, 1), [3]);
    }
}

#[test]
fn a_silent_link_stands_for_nobody_before_it_is_heard() {
    for claims in [false, true] {
        let mut node = Node::new();
        let sender = with_sender(&mut node);
        node.connects(1, HERE, true, &[1, 2]);
        node.connects(2, HERE, false, &[1, 2]);
        node.falls_silent(1);
        node.falls_silent(2);
        node.closes(1);
        node.gives_back(1);
        node.passes(10);
        assert_eq!(node.targets(sender, 1), [0; 0], "it is held");

        // It runs again.
        node.is_heard(2);
        let got = if claims {
            node.does(2, Change::Role { claimed: true });
            node.targets(sender, 1)
        } else {
            node.passes(3)
        };
        assert_eq!(got, [2], "claims: {claims}");
    }
}

#[test]
fn it_is_said_that_one_msg_server_is_taken_for_two() {
    let same = |node: &Node| {
        let said = node.said.iter();
        said.filter(|it| it.kind == TransitionKind::SameUsers)
            .map(|it| (it.link.number, it.other.map(|other| other.number)))
            .collect::<Vec<_>>()
    };
    for names in [[None, None], [Some("m1"), Some("m2")], [Some("m1"), None]] {
        let mut node = Node::new();
        let users: Vec<u32> = (1..200).collect();
        node.connects_as(1, (HERE, names[0]), true, &users);
        node.connects_as(2, ([10, 0, 0, 7], None), true, &[500, 501, 1]);
        assert_eq!(same(&node), []);
        node.connects_as(3, (ELSEWHERE, names[1]), false, &users);
        assert_eq!(same(&node), [(3, Some(1))]);
    }
    let mut node = Node::new();
    node.connects_as(1, (HERE, Some("m1")), true, &[1, 2, 3]);
    node.connects_as(2, (ELSEWHERE, Some("m1")), false, &[1, 2, 3]);
    assert_eq!(same(&node), [], "they have one name");
}

/// The first heir waited for a minute: what had come back was taken for that of the second one, which
/// was still open.
#[test]
fn the_heir_of_an_heir_does_not_wait_for_what_has_come_back() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    for (link, claims) in [(1, true), (2, false), (3, false)] {
        node.connects(link, HERE, claims, &[1, 2]);
    }
    assert_eq!(node.claims(2), [1]);
    assert_eq!(node.claims(3), [2]);
    node.closes(1);
    node.gives_back(1);
    assert_eq!(
        node.targets(sender, 1),
        [0; 0],
        "held for what the second one gives back"
    );
    node.closes(2);
    assert_eq!(node.gives_back(2), [3]);
}

/// Its host lost power, and is back while what could not be sent is held for it.
#[test]
fn a_named_link_gets_nothing_newer_before_its_list_than_what_its_seat_holds() {
    let mut node = Node::with(FanOut::Broadcast);
    let sender = with_sender(&mut node);
    let named = (HERE, Some("msg-1"));
    node.connects_as(1, named, true, &[1, 2]);
    node.connects_as(2, named, false, &[1, 2]);
    node.passes(5);
    node.closes(1);
    assert_eq!(node.targets(sender, 1), [0; 0], "the seat holds it");

    node.opens(3, named);
    node.claims(3);
    assert_eq!(node.targets(sender, 1), [0; 0], "it is newer");
    let (entries, last) = (&[][..], true);
    node.does(3, Change::List { entries, last });
    node.closes(2);
    assert_eq!(node.gives_back(1), [3, 3]);
}

/// The same, but its gateway finds out that the host has vanished before the node calls it silent.
#[test]
fn a_msg_server_whose_address_changes_is_told_of_when_its_old_links_end_first() {
    let mut node = Node::new();
    node.connects(5, [10, 0, 0, 3], true, &[50]);
    node.connects(1, HERE, true, &[1, 2, 3, 4]);
    node.connects(2, HERE, false, &[1, 2, 3, 4]);
    node.connects_as(3, (ELSEWHERE, None), true, &[1, 2, 3, 4]);
    node.reports(3, 4, ReportedStatus::Offline);
    node.closes(2);
    node.closes(1);
    node.gives_back(1);
    assert!(!node.is_online(4) && node.is_online(1));
    assert_eq!(node.told_offline, [4]);
}

#[test]
fn a_named_link_whose_list_does_not_come_is_not_deaf_for_ever() {
    for unreadable in [false, true] {
        let mut node = Node::with(FanOut::Broadcast);
        let sender = with_sender(&mut node);
        let named = (HERE, Some("msg-1"));
        node.connects_as(1, named, true, &[1, 2]);
        node.connects_as(2, named, false, &[1, 2]);
        node.passes(5);
        node.closes(1);
        node.gives_back(1);
        node.opens(3, named);
        node.claims(3);
        assert_eq!(node.targets(sender, 1), [0; 0], "the seat holds it");
        node.closes(2);
        if unreadable {
            node.does(3, Change::Unreadable);
        } else {
            node.passes(3);
        }
        assert_eq!(node.targets(sender, 1), [3], "unreadable: {unreadable}");
    }
}

#[test]
fn a_named_msg_server_that_never_claims_is_heard_in_a_crowd() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    for link in 1..20 {
        node.connects_as(link, (HERE, None), true, &[link as u32]);
    }
    node.connects_as(30, (HERE, Some("m1")), false, &[40, 41]);
    node.connects_as(31, (HERE, Some("m1")), false, &[40, 41]);
    assert_eq!(node.targets(sender, 40), [30]);
    assert_eq!(node.targets(31, 40), [0; 0]);
}

/// Without claims, too, one connection is cut in one direction, and others are heard.
#[test]
fn a_link_that_stands_without_a_claim_and_is_cut_is_closed() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    for link in [1, 2, 3] {
        node.connects(link, HERE, false, &[1, 2, 3]);
    }
    node.falls_silent(2);
    node.falls_silent(1);
    assert_eq!(node.a_beat_passes(), [1]);
    node.closes(1);
    node.gives_back(1);
    assert_eq!(node.targets(sender, 1), [3], "nothing is heard of link 2");
    // What is heard again does not stand beside it.
    node.is_heard(2);
    assert_eq!(node.targets(sender, 1), [3]);
}

/// Of three connections without a claim, the second had just come.
#[test]
fn who_has_taken_another_ones_place_is_not_new() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(7, HERE, true, &[70]);
    node.connects(1, HERE, false, &[1, 2, 3]);
    node.passes(10);
    node.connects_as(2, (HERE, None), false, &[1, 2, 3]);
    node.closes(1);
    node.gives_back(1);
    assert_eq!(node.targets(sender, 1), [2]);
}

/// They never claim, and are two of one name. The older one was in doubt when the other came.
#[test]
fn a_shadow_in_doubt_follows_a_younger_link_of_its_name() {
    let mut node = Node::new();
    let named = Some("m1");
    node.connects(7, HERE, true, &[70]);
    node.connects_as(1, (HERE, named), false, &[1]);
    node.connects_as(2, (ELSEWHERE, named), false, &[1]);
    assert_eq!(node.targets(1, 1), [0; 0], "it does not come back");
}

/// The only user of the older one is told of by another MsgServer of its address, too: its name says more.
#[test]
fn a_link_of_its_name_comes_before_one_of_its_address() {
    let mut node = Node::new();
    let named = Some("m1");
    node.connects(7, HERE, true, &[1, 70]);
    node.connects_as(1, (HERE, named), false, &[1]);
    node.connects_as(2, (ELSEWHERE, named), false, &[1]);
    assert_eq!(node.targets(1, 1), [7], "it does not come back");
}

/// It was restored long ago, and shares a user with another MsgServer of its address. That a third one goes away says nothing
/// of it.
#[test]
fn a_restored_link_is_not_new_for_ever() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.is_restored(1, None, &[], &[1, 2, 3, 4]);
    node.is_restored(7, 1, &[], &[1, 70]);
    node.is_restored(8, 2, &[], &[80]);
    for _ in 0..4 {
        node.reports(1, 5, ReportedStatus::Online);
        node.reports(7, 71, ReportedStatus::Online);
        node.passes(5);
    }
    assert_eq!(node.targets(sender, 2), [1]);

    node.closes(8);

    assert_eq!(node.targets(sender, 2), [1], "it stands as before");
}

/// Two MsgServers have one name. One of them changes its connection.
#[test]
fn of_two_msg_servers_with_one_name_each_inherits_from_itself() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    let named = Some("m1");
    node.connects_as(1, (HERE, named), true, &[1, 2]);
    node.passes(60);
    node.connects_as(2, (ELSEWHERE, named), true, &[3, 4]);
    node.closes(1);
    node.gives_back(1);
    node.passes(4);
    node.connects_as(3, (HERE, named), true, &[1, 2]);
    node.connects_as(4, (HERE, named), false, &[1, 2]);

    assert_eq!(node.claims(4), [3]);
    node.closes(3);
    node.gives_back(3);
    assert_eq!(node.targets(sender, 3), [2]);
    assert_eq!(node.targets(sender, 1), [4]);
    node.passes(60);
    assert!(node.is_online(1) && node.is_online(3));
}

/// It fails over, and comes back on another connection, while its first one is half-open.
#[test]
fn a_named_msg_server_that_changes_connections_is_not_taken_for_two() {
    let mut node = Node::new();
    let named = (HERE, Some("m1"));
    node.connects_as(1, named, true, &[1, 2]);
    node.connects_as(2, named, false, &[1, 2]);
    assert_eq!(node.claims(2), [1]);
    node.closes(1);
    // Nobody knows that this one is dead.
    node.passes(4);
    node.connects_as(3, named, true, &[1, 2]);
    let shares = |it: &&Transition| it.kind == TransitionKind::SharesName;
    assert_eq!(node.said.iter().filter(shares).count(), 0);
}

/// Its host is gone, and its users have logged in elsewhere.
#[test]
fn a_msg_server_to_which_the_users_of_another_one_go_does_not_take_its_place() {
    let mut node = Node::new();
    let sender = with_sender(&mut node);
    node.connects(1, HERE, true, &[1, 2, 3, 4]);
    let users: Vec<u32> = (1..20).collect();
    node.connects_as(3, (ELSEWHERE, None), true, &users);
    node.falls_silent(1);
    assert_eq!(node.a_beat_passes(), [0; 0]);
    assert_eq!(node.targets(sender, 1), [1, 3]);
}

/// Both connections are there, and neither has listed yet; or only the one that does not claim has.
#[test]
fn of_a_name_one_link_stands_before_all_have_listed() {
    for lists_first in [false, true] {
        let mut node = Node::with(FanOut::Broadcast);
        let sender = with_sender(&mut node);
        let named = (HERE, Some("m1"));
        let (entries, last) = (&[][..], true);
        node.opens(1, named);
        node.opens(2, named);
        assert_eq!(node.targets(sender, 1), [1]);
        if lists_first {
            node.does(1, Change::List { entries, last });
        }
        node.claims(2);
        assert_eq!(node.targets(sender, 1).len(), 1);
        node.does(2, Change::List { entries, last });
        assert_eq!(node.targets(sender, 1), [2]);
    }
}

/// A MsgServer that was restarted has no users yet, and the list of its second connection comes between the claim and the
/// list of the first.
#[test]
fn a_named_link_without_users_does_not_stand_beside_one_that_has_claimed() {
    let mut node = Node::with(FanOut::Broadcast);
    let sender = with_sender(&mut node);
    let named = (HERE, Some("msg-1"));
    node.opens(1, named);
    node.claims(1);
    node.connects_as(2, named, false, &[]);
    assert_eq!(node.targets(sender, 1), [1]);

    let (entries, last) = (&[][..], true);
    node.does(1, Change::List { entries, last });
    assert_eq!(node.targets(sender, 1), [1]);
}

/// An HttpMsgServer claims and never lists. A MsgServer of the same name that never claims gets what is for its users, two
/// seconds after the first one has logged in.
#[test]
fn a_named_link_stands_beside_one_that_never_lists_when_it_has_users() {
    for (mode, host) in [
        (FanOut::Broadcast, HERE),
        (FanOut::Directed, HERE),
        (FanOut::Directed, ELSEWHERE),
    ] {
        let mut node = Node::with(mode);
        let sender = with_sender(&mut node);
        node.opens(1, (HERE, Some("msg-1")));
        node.claims(1);
        node.connects_as(2, (host, Some("msg-1")), false, &[]);
        node.reports(2, 7, ReportedStatus::Online);
        node.passes(3);
        assert!(node.targets(sender, 7).contains(&2), "{mode:?} {host:?}");
    }
}

/// A MsgServer has claimed another connection. The gateway of the old one still has much to tell of the time before, when a
/// new node is told of both: they have no user in common any more.
#[test]
fn a_new_node_knows_who_succeeded_whom_whatever_their_tables_are() {
    for newer_first in [false, true] {
        let mut node = Node::new();
        let sender = with_sender(&mut node);
        let (old, new) = ((1, 1, &[1, 2, 3][..]), (2, 2, &[4, 5, 6][..]));
        let both = if newer_first { [new, old] } else { [old, new] };
        for (link, claimed_at, users) in both {
            let before = [id(1)];
            let predecessors = if link == 2 { &before[..] } else { &[] };
            node.is_restored(link, claimed_at, predecessors, users);
        }
        node.gives_back(1);

        assert_eq!(node.targets(sender, 4), [2]);
        assert_eq!(node.targets(1, 4), [0; 0], "it comes back to its sender");
        assert!(node.is_online(4) && !node.is_online(1));
    }
}

/// Its other connection is cut: there a user is still listed who has left since.
#[test]
fn a_new_node_lets_no_silent_connection_stand_beside_a_claimed_one() {
    for silent_first in [false, true] {
        let mut node = Node::new();
        let sender = with_sender(&mut node);
        for silent in [silent_first, !silent_first] {
            match silent {
                true => node.is_restored_as(2, (None, true), &[], &[7]),
                false => node.is_restored(1, 1, &[], &[1, 2]),
            }
        }

        assert_eq!(node.targets(sender, 7), [0; 0], "{silent_first}");
        node.passes(30);
        assert_eq!(node.targets(sender, 7), [0; 0], "{silent_first}");
        assert_eq!(node.targets(sender, 1), [1], "{silent_first}");
    }
}

/// Whatever of the two connections of a MsgServer is heard of first.
#[test]
fn of_a_name_one_link_gets_each_message_in_any_order_of_beginnings() {
    for order in 0..32_u32 {
        // Bits that are set are of the link that claims: it opens, claims, and lists.
        if order.count_ones() != 3 {
            continue;
        }
        for claims_first in [false, true] {
            let mut node = Node::with(FanOut::Broadcast);
            let sender = with_sender(&mut node);
            let named = (HERE, Some("m1"));
            let (entries, last) = (&[][..], true);
            let mut steps = [0; 2];
            for at in 0..5 {
                let of_claimed = order >> at & 1 == 1;
                let link = if of_claimed { 2 } else { 1 };
                let step = &mut steps[usize::from(of_claimed)];
                match (*step, of_claimed, claims_first) {
                    (0, ..) => node.opens(link, named),
                    (1, true, true) | (2, true, false) => {
                        node.claims(link);
                    }
                    _ => {
                        node.does(link, Change::List { entries, last });
                    }
                }
                *step += 1;
                let got = node.targets(sender, 1);
                assert!(
                    got.len() == 1,
                    "{order:05b} after {at}, {claims_first}: {got:?}"
                );
            }
        }
    }
}

/// How often it was said that two MsgServers have one name.
fn shared_names(node: &Node) -> usize {
    let said = node.said.iter();
    said.filter(|it| it.kind == TransitionKind::SharesName)
        .count()
}

/// Neither closes the other one's connection, so only their users tell.
#[test]
fn two_msg_servers_with_one_name_are_heard_though_one_of_them_never_claims() {
    for mode in [FanOut::Directed, FanOut::Broadcast] {
        for claims in [true, false] {
            let mut node = Node::with(mode);
            let sender = with_sender(&mut node);
            let named = Some("m1");
            node.connects_as(1, (HERE, named), claims, &[1, 2, 3]);
            node.connects_as(2, (HERE, named), false, &[1, 2, 3]);
            node.passes(60);
            node.connects_as(3, (ELSEWHERE, named), false, &[11, 12, 13]);
            node.connects_as(4, (ELSEWHERE, named), false, &[11, 12, 13]);
            node.a_beat_passes();
            assert!(!node.is_online(11), "it may be the same one");
            assert_eq!(shared_names(&node), 0);
            node.a_beat_passes();
            node.a_beat_passes();

            assert!(node.is_online(1) && node.is_online(11));
            assert_eq!(shared_names(&node), 1);
            let of = |one, all| if mode == FanOut::Directed { one } else { all };
            assert_eq!(node.targets(sender, 11), of(vec![3], vec![1, 3]));
            assert_eq!(node.targets(1, 11), of(vec![3], vec![3, sender]));
            // Each has another connection, which takes the place of its own one.
            node.closes(3);
            node.gives_back(3);
            assert_eq!(node.targets(sender, 11), of(vec![4], vec![1, 4]));
            node.closes(1);
            node.gives_back(1);
            node.claims(2);
            assert_eq!(node.targets(sender, 1), of(vec![2], vec![2, 4]));
            assert_eq!(shared_names(&node), 1);
        }
    }
}

/// One of its connections is cut, or its gateway is away: what the other one tells is not there.
#[test]
fn a_named_msg_server_whose_links_differ_is_one_while_one_of_them_may_be_dead() {
    for (claims, is_cut) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut node = Node::new();
        let named = Some("m1");
        node.connects_as(1, (HERE, named), claims, &[1, 2, 3]);
        node.connects_as(102, (HERE, named), false, &[1, 2, 3]);
        node.passes(60);
        for user in [1, 2, 3] {
            node.reports(102, user, ReportedStatus::Offline);
            node.reports(102, user + 10, ReportedStatus::Online);
        }
        node.passes(5);
        if is_cut {
            node.falls_silent(1);
        } else {
            node.loses_sight_of(1);
        }
        for _ in 0..4 {
            node.a_beat_passes();
        }
        assert_eq!(shared_names(&node), 0, "{claims} {is_cut}");
    }
}

/// Nobody has logged in yet. Nothing tells them apart but that both are heard.
#[test]
fn two_msg_servers_with_one_name_and_without_users_do_not_close_each_others_links() {
    for mode in [FanOut::Directed, FanOut::Broadcast] {
        let mut node = Node::with(mode);
        let sender = with_sender(&mut node);
        let named = Some("m1");
        for (link, host) in [(1, HERE), (2, ELSEWHERE)] {
            node.opens(link, (host, named));
            node.claims(link);
            let (entries, last) = (&[][..], true);
            assert_eq!(node.does(link, Change::List { entries, last }), [0; 0]);
        }
        for said in [0, 1, 1, 1] {
            assert_eq!(node.a_beat_passes(), [0; 0]);
            assert_eq!(shared_names(&node), said);
        }
        node.reports(1, 1, ReportedStatus::Online);
        node.reports(2, 11, ReportedStatus::Online);
        let of = |one, all| if mode == FanOut::Directed { one } else { all };
        assert_eq!(node.targets(sender, 11), of(vec![2], vec![1, 2]));
        assert_eq!(node.targets(sender, 1), of(vec![1], vec![1, 2]));
    }
}

/// Its old connection is half-open.
#[test]
fn a_named_msg_server_without_users_that_connects_anew_is_one() {
    for mode in [FanOut::Directed, FanOut::Broadcast] {
        let mut node = Node::with(mode);
        let sender = with_sender(&mut node);
        let named = (HERE, Some("m1"));
        node.connects_as(1, named, true, &[]);
        node.passes(60);
        node.connects_as(2, named, true, &[]);
        node.reports(2, 1, ReportedStatus::Online);
        let of = |one, all| if mode == FanOut::Directed { one } else { all };
        assert_eq!(node.targets(2, 5), of(vec![], vec![sender]), "its own");
        node.passes(6);
        node.falls_silent(1);
        assert_eq!(node.a_beat_passes(), [1]);
        assert_eq!(node.targets(sender, 1), [0; 0], "held");
        node.closes(1);
        assert_eq!(node.gives_back(1), [2]);
        for _ in 0..4 {
            assert_eq!(node.a_beat_passes(), [0; 0]);
        }
        assert_eq!(node.targets(sender, 1), [2]);
        assert_eq!(shared_names(&node), 0);
    }
}

/// A MsgServer with one connection is asked to connect anew, for its gateway stops: nothing is lost until it is back.
#[test]
fn what_is_for_a_msg_server_that_was_sent_elsewhere_waits_for_it() {
    for name in [None, Some("m1")] {
        let mut node = Node::new();
        let sender = with_sender(&mut node);
        let peer = (HERE, name);
        node.connects_as(1, peer, true, &[1, 2]);
        node.is_sent_away(1);
        assert_eq!(node.targets(sender, 1), [0; 0], "held");
        assert_eq!(node.gives_back(1), [0; 0]);
        node.passes(4);
        assert!(node.is_online(1) && node.told_offline.is_empty());

        node.opens(2, peer);
        node.claims(2);
        assert_eq!(node.lists(2, &[1, 2]), [2]);
        assert_eq!(node.targets(sender, 1), [2]);
    }
    // One that does not come back.
    let mut node = Node::new();
    with_sender(&mut node);
    node.connects(1, HERE, true, &[1, 2]);
    node.is_sent_away(1);
    node.passes(6);
    assert!(!node.is_online(1));
}

/// A MsgServer is killed and back at once, on an address without a name. One of its users comes and goes again before the seat
/// of its old connection ends: that still shows him.
#[test]
fn a_seat_hides_nobody_who_comes_back_and_leaves() {
    let mut node = Node::new();
    node.connects(9, ELSEWHERE, true, &[9]);
    node.connects(1, HERE, true, &[1, 2, 3]);
    node.connects(2, HERE, false, &[1, 2, 3]);
    node.closes(1);
    node.connects_as(3, (HERE, None), true, &[]);
    node.told_offline.clear();

    node.reports(3, 1, ReportedStatus::Online);
    assert!(node.is_online(1));
    node.reports(3, 1, ReportedStatus::Offline);

    assert!(!node.is_online(1) && node.is_online(2));
    assert_eq!(node.told_offline, [1]);
}

/// The same, of one who comes back in the list of a link that is no heir of the seat.
#[test]
fn a_seat_hides_nobody_whom_another_list_shows() {
    let mut node = Node::new();
    node.connects(9, ELSEWHERE, true, &[9]);
    node.connects(1, HERE, true, &[1, 2, 3]);
    node.connects(2, HERE, false, &[1, 2, 3]);
    node.closes(1);
    node.connects_as(3, (HERE, None), true, &[1, 4, 5, 6]);
    node.told_offline.clear();

    node.reports(3, 1, ReportedStatus::Offline);

    assert!(!node.is_online(1) && node.is_online(2));
    assert_eq!(node.told_offline, [1]);
}
