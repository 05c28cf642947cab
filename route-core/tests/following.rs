//! A link with many users takes another one's place: what is routed goes there at once, what others
//! see of its users follows in pieces. Nobody is gone, or there twice, in between, and what is told
//! last is true. Promises 4, 6, 7 and 8.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use route_core::{
    Audience, Change, ClientType, CloseReason, Core, Effect, Event, LinkId, ListEntry, Output,
    Payload, ReportedStatus, Settings, Status, Transaction, UserId,
};

const MANY: u32 = 20_000;
/// Steps of one piece.
const PIECE: u64 = 1000;
const WINDOWS: ClientType = ClientType::published(1);
/// A link of another MsgServer.
const OTHER: u64 = 9;

/// A node, what it has told MsgServers and subscribers, and users who are known to be online.
struct Site {
    core: Core,
    sequence: u64,
    /// By user: what link 9 was told last.
    told: BTreeMap<u32, ReportedStatus>,
    /// By user: what subscribers were told last, and how often it changed.
    seen: BTreeMap<u32, (Status, usize)>,
}

impl Site {
    /// Link 9 is of another MsgServer, and claims.
    fn new() -> Site {
        let mut site = Site {
            core: Core::new(Settings::default()),
            sequence: 0,
            told: BTreeMap::new(),
            seen: BTreeMap::new(),
        };
        site.connects(OTHER, 2, &[MANY * 2]);
        site.claims(OTHER);
        site
    }

    fn connects(&mut self, link: u64, host: u8, users: &[u32]) {
        let peer = SocketAddr::from(([10, 0, 0, host], 4000)).into();
        let restored = None;
        self.does(link, Change::Opened { peer, restored });
        let entries: Vec<_> = users.iter().map(|user| online(*user)).collect();
        let (entries, last) = (&entries[..], true);
        self.does(link, Change::List { entries, last });
        self.ends();
    }

    fn claims(&mut self, link: u64) {
        self.does(link, Change::Role { claimed: true });
    }

    fn closes(&mut self, link: u64) {
        let reason = CloseReason::Peer;
        self.does(link, Change::Closed { reason });
    }

    fn reports(&mut self, link: u64, user: u32, status: ReportedStatus) {
        let update = Change::Update {
            user: UserId(user),
            client_type: WINDOWS,
            status,
        };
        self.does(link, update);
    }

    fn does(&mut self, number: u64, change: Change<'_>) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.transacts(|transaction| {
            let applied = transaction.apply(id(number), sequence, change, Effect::Notify);
            applied.unwrap();
        });
    }

    /// Goes on with one piece. True while there are more.
    fn proceeds(&mut self) -> bool {
        self.transacts(|transaction| {
            let before = transaction.view().work();
            let more = transaction.proceed(before + PIECE);
            let steps = transaction.view().work() - before;
            assert!(steps <= 2 * PIECE, "{steps} steps in one piece");
            more
        })
    }

    fn ends(&mut self) {
        while self.proceeds() {}
    }

    fn transacts<R>(&mut self, change: impl FnOnce(&mut Transaction<'_>) -> R) -> R {
        let mut transaction = self.core.transaction(Duration::ZERO);
        let result = change(&mut transaction);
        for output in transaction.outputs().drain() {
            let Output::Deliver(fan) = output else {
                continue;
            };
            if fan.targets.contains(&id(OTHER)) {
                for item in fan.items {
                    if let Payload::Status { user, status } = item.payload {
                        self.told.insert(user.0, status);
                    }
                }
            }
        }
        for event in transaction.outputs().drain_events() {
            if let Event::Presence(change) = event {
                let seen = self.seen.entry(change.user.0);
                let seen = seen.or_insert((Status::Offline, 0));
                *seen = (change.after.status, seen.1 + 1);
            }
        }
        result
    }

    /// To which links a message for this user goes, or for which it is held.
    fn targets(&mut self, user: u32) -> Vec<LinkId> {
        let mut transaction = self.core.transaction(Duration::ZERO);
        let targets = transaction.targets(Audience::Users(&[user]));
        targets.into_iter().map(|target| target.link).collect()
    }

    fn is_online(&self, user: u32) -> bool {
        self.core.view().legacy_online_for(id(OTHER), &[user]) == [true]
    }

    /// Where others see the user.
    fn links_of(&self, user: u32) -> Vec<u64> {
        let sessions = self.core.view().sessions_of(UserId(user));
        sessions.map(|session| session.link.id.number).collect()
    }

    /// Each of them is seen once, on one of these links.
    fn are_seen_once(&self, users: impl Iterator<Item = u32>, links: &[u64]) {
        for user in users {
            let seen = self.links_of(user);
            let is_one = seen.len() == 1 && links.contains(&seen[0]);
            assert!(is_one, "{user} is seen on {seen:?}");
            assert!(self.is_online(user), "{user} is offline");
        }
    }
}

fn id(number: u64) -> LinkId {
    LinkId::new(1, number)
}

fn online(user: u32) -> ListEntry {
    ListEntry {
        user: UserId(user),
        client_type: WINDOWS,
        status: ReportedStatus::Online,
    }
}

fn some() -> impl Iterator<Item = u32> {
    (0..MANY).step_by(97)
}

#[test]
fn nobody_is_gone_while_all_users_move_to_another_link() {
    let mut site = Site::new();
    let users: Vec<u32> = (0..MANY).collect();
    site.connects(1, 1, &users);
    site.claims(1);
    site.connects(2, 1, &users);
    let told = (site.told.clone(), site.seen.clone());

    site.claims(2);

    let mut pieces = 0;
    let mut moved = BTreeSet::new();
    loop {
        site.are_seen_once(some(), &[1, 2]);
        for user in some() {
            assert_eq!(site.targets(user), [id(2)], "all is routed there at once");
            if site.links_of(user) == [2] {
                moved.insert(user);
            } else {
                assert!(!moved.contains(&user), "{user} moves back");
            }
        }
        let online = site.core.view().counts().all.online;
        assert_eq!(online, u64::from(MANY) + 1);
        if !site.proceeds() {
            break;
        }
        pieces += 1;
    }
    assert!(pieces > 50, "{pieces} pieces");
    site.are_seen_once(0..MANY, &[2]);
    assert_eq!((site.told, site.seen), told, "nobody has changed");
}

/// Some are only on the one link, some only on the other; some change while the others follow.
#[test]
fn what_differs_is_told_and_what_happens_meanwhile_stands() {
    use ReportedStatus::{Offline, Online};
    for closes in [false, true] {
        let mut site = Site::new();
        // The first 5 000 are on the first link only, the last 5 000 on the second one only.
        let (first, second) = (0..MANY - 5_000, 5_000..MANY);
        site.connects(1, 1, &first.clone().collect::<Vec<_>>());
        site.claims(1);
        site.connects(2, 1, &second.clone().collect::<Vec<_>>());

        if closes {
            site.closes(1);
        }
        site.claims(2);

        assert!(site.is_online(MANY - 1), "a query sees all that was listed");
        assert!(!site.is_online(0));
        assert_eq!(site.targets(MANY - 1), [id(2)]);
        assert!(site.proceeds());
        // Of each kind one comes and one goes, of those that have moved and of the others.
        let goes = [5_003, 7_003, 12_003, MANY - 3, MANY - 4_998];
        let comes = [3, 4_998, MANY + 1];
        for user in goes {
            site.reports(2, user, Offline);
            assert!(!site.is_online(user) && site.links_of(user).is_empty());
            assert_eq!(site.told.get(&user), Some(&Offline), "{user}");
        }
        for user in comes {
            site.reports(2, user, Online);
            site.are_seen_once([user].into_iter(), &[2]);
            assert_eq!(site.told.get(&user), Some(&Online), "{user}");
        }
        if !closes {
            // What the old link still says is history.
            site.reports(1, 9_003, Offline);
            site.reports(1, MANY - 1, Online);
        }
        site.ends();

        for user in 0..MANY {
            let here = (second.contains(&user) || comes.contains(&user)) && !goes.contains(&user);
            let links = if here { &[2][..] } else { &[] };
            assert_eq!(site.links_of(user), links, "{user}");
            assert_eq!(site.is_online(user), here, "{user}");
            let was_there = first.contains(&user);
            let status = if here { Online } else { Offline };
            if was_there != here || goes.contains(&user) {
                assert_eq!(site.told.get(&user), Some(&status), "{user}");
            }
            let seen = site.seen.get(&user).map_or(Status::Offline, |it| it.0);
            let is_seen = seen != Status::Offline;
            assert_eq!(is_seen, here, "subscribers know of {user}");
        }
    }
}

/// The MsgServer claims a third connection while its users follow to the second one.
#[test]
fn an_heir_that_is_succeeded_soon_leaves_nobody_behind() {
    let mut site = Site::new();
    let users: Vec<u32> = (0..MANY).collect();
    site.connects(1, 1, &users);
    site.claims(1);
    site.connects(2, 1, &users);
    site.connects(3, 1, &users[100..]);

    site.claims(2);
    assert!(site.proceeds());
    site.closes(2);
    site.claims(3);

    for _ in 0..10 {
        site.are_seen_once(some().skip(2), &[1, 2, 3]);
        assert!(site.proceeds());
    }
    site.ends();
    site.are_seen_once(100..MANY, &[3]);
    for user in 0..100 {
        assert!(site.links_of(user).is_empty());
        assert_eq!(site.told.get(&user), Some(&ReportedStatus::Offline));
    }
    assert_eq!(site.core.view().stats().users, MANY as usize + 1);
}
