//! What each operation costs, counted in steps, not timed: as much as what was sent and what that
//! caused, whatever else there is. Promise 8.
//!
//! Each scenario is played at 1, 10 and 100 times the size. A step too many for each of the others
//! shows as ten times the steps for each thing.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use route_core::{
    Audience, Change, ClientType, CloseReason, Command, Core, Effect, Item, LinkId, ListEntry,
    Output, Payload, Reach, ReportedStatus, Restored, ReturnedRun, Settings, TableEntry, Taken,
    Transaction, UserId,
};

const SIZES: [u32; 3] = [1, 10, 100];
/// As many links as know one user, and more.
const LARGE: [u32; 3] = [64, 128, 640];
const WINDOWS: ClientType = ClientType::published(1);
const RESTORED: Restored = Restored {
    opened_at: 0,
    claimed_at: None,
    reported: true,
    listed: true,
    opaque: false,
    silent: false,
};

/// A node, and what it is asked.
struct Site {
    core: Core,
    now: Duration,
    sequence: u64,
    /// What was sent, and what came of it.
    sent: u64,
}

/// How links are told apart.
#[derive(Clone, Copy)]
enum Whose {
    /// Each has an address.
    Own,
    /// All are of one address.
    OneAddress,
    /// All have one name.
    OneName,
}

impl Site {
    fn new() -> Site {
        Site {
            core: Core::new(Settings::default()),
            now: Duration::ZERO,
            sequence: 0,
            sent: 0,
        }
    }

    /// So many links, each with these users.
    fn with(links: u32, whose: Whose, users: impl Fn(u32) -> Vec<u32>) -> Site {
        let mut site = Site::new();
        for number in 1..=links {
            site.opens(number, whose);
            site.lists(number, &users(number));
        }
        site
    }

    fn opens(&mut self, number: u32, whose: Whose) {
        let peer = peer(number, whose);
        let restored = None;
        self.does(number, Change::Opened { peer, restored });
    }

    fn lists(&mut self, number: u32, users: &[u32]) {
        let entries: Vec<_> = users.iter().map(|user| online(*user)).collect();
        self.sent += users.len() as u64;
        let (entries, last) = (&entries[..], true);
        self.does(number, Change::List { entries, last });
    }

    fn reports(&mut self, number: u32, user: u32, status: ReportedStatus) {
        let update = Change::Update {
            user: UserId(user),
            client_type: WINDOWS,
            status,
        };
        self.does(number, update);
    }

    fn claims(&mut self, number: u32) {
        self.does(number, Change::Role { claimed: true });
    }

    fn closes(&mut self, number: u32) {
        let reason = CloseReason::Peer;
        self.does(number, Change::Closed { reason });
    }

    fn returns(&mut self, number: u32, whose: Whose, users: &[u32], claimed_at: Option<i64>) {
        let restored = Restored {
            claimed_at,
            ..RESTORED
        };
        let opened = Change::Opened {
            peer: peer(number, whose),
            restored: Some(restored),
        };
        self.does(number, opened);
        let entries: Vec<_> = users.iter().map(|user| of_table(*user)).collect();
        self.sent += users.len() as u64;
        self.does(
            number,
            Change::Table {
                entries: &entries,
                last: true,
            },
        );
    }

    fn does(&mut self, number: u32, change: Change<'_>) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.transacts(|transaction| {
            let applied = transaction.apply(link(number), sequence, change, Effect::Notify);
            applied.unwrap();
        });
    }

    fn routes(&mut self, number: u32, audience: Audience<'_>) {
        self.sequence += 1;
        let (command, sequence) = (Command { id: 1, dialect: 0 }, self.sequence);
        let pdu = Bytes::from_static(&[7; 160]);
        self.transacts(|transaction| {
            let routed = transaction.route(link(number), sequence, command, audience, pdu, None);
            routed.unwrap();
        });
    }

    /// Everything that links which have ended leave behind goes.
    fn cleans_up(&mut self) {
        self.now += Duration::from_secs(100);
        self.transacts(|transaction| transaction.advance());
        self.transacts(|transaction| {
            transaction.proceed(u64::MAX);
        });
    }

    /// Does this, and counts what comes of it: one for each thing and each link that gets it.
    fn transacts(&mut self, change: impl FnOnce(&mut Transaction<'_>)) {
        let mut transaction = self.core.transaction(self.now);
        change(&mut transaction);
        let outputs = transaction.outputs();
        let caused = outputs.drain().map(|output| match output {
            Output::Deliver(fan) => fan.targets.len() * fan.items.len(),
            Output::TakeOver { .. } | Output::Close(_) | Output::Answer(_) => 1,
        });
        let caused = caused.sum::<usize>() + outputs.drain_events().len();
        self.sent += caused as u64 + 1;
    }

    /// What this costs, in steps for each thing that is sent or comes of it.
    fn costs(mut self, operation: impl FnOnce(&mut Site)) -> f64 {
        let before = self.core.view().work();
        self.sent = 0;
        operation(&mut self);
        let steps = self.core.view().work() - before;
        steps as f64 / self.sent as f64
    }
}

fn link(number: u32) -> LinkId {
    // Some on each gateway.
    LinkId::new(u64::from(number % 7), number.into())
}

fn peer(number: u32, whose: Whose) -> route_core::Peer<'static> {
    let host = match whose {
        Whose::Own | Whose::OneName => [10, 1, (number >> 8) as u8, number as u8],
        Whose::OneAddress => [10, 0, 0, 1],
    };
    route_core::Peer {
        address: SocketAddr::from((host, 4000)),
        msg_server: match whose {
            Whose::OneName => Some("a"),
            Whose::Own | Whose::OneAddress => None,
        },
    }
}

fn online(user: u32) -> ListEntry {
    ListEntry {
        user: UserId(user),
        client_type: WINDOWS,
        status: ReportedStatus::Online,
    }
}

fn of_table(user: u32) -> TableEntry {
    TableEntry {
        user: UserId(user),
        client_type: WINDOWS,
        online: 1,
        away: 0,
        hidden: 0,
    }
}

/// Ten users that no other link has.
fn own(number: u32) -> Vec<u32> {
    (number * 10..number * 10 + 10).collect()
}

/// As many users as that, the same everywhere.
fn common(size: u32) -> impl Fn(u32) -> Vec<u32> {
    move |_| (0..size).collect()
}

/// Ten users that every link has.
fn famous(_: u32) -> Vec<u32> {
    (0..10).collect()
}

/// The operation costs no more for each thing as sizes grow.
fn is_linear(name: &str, costs: impl Fn(u32) -> f64) {
    is_linear_at(SIZES, name, costs);
}

fn is_linear_at(sizes: [u32; 3], name: &str, costs: impl Fn(u32) -> f64) {
    let [few, some, many] = sizes.map(costs);
    // With ten there are others to be compared with; of more than 16 none is.
    let most = 1.5 * some.max(4.0);
    assert!(many <= most, "{name}: {few}, {some}, {many}");
}

#[test]
fn users_of_one_link() {
    is_linear("a list", |size| {
        let site = Site::with(2, Whose::Own, own);
        site.costs(|site| site.lists(1, &common(size * 10)(0)))
    });
    is_linear("a login", |size| {
        let site = Site::with(2, Whose::Own, common(size * 10));
        site.costs(|site| site.reports(1, 77_777, ReportedStatus::Online))
    });
    is_linear("a logout", |size| {
        let site = Site::with(2, Whose::Own, common(size * 10));
        site.costs(|site| site.reports(1, 1, ReportedStatus::Offline))
    });
    is_linear("a message to one", |size| {
        let site = Site::with(2, Whose::Own, common(size * 10));
        site.costs(|site| site.routes(1, Audience::Users(&[1])))
    });
    is_linear("a message to many", |size| {
        let site = Site::with(2, Whose::Own, common(size * 10));
        let users = common(size * 10)(0);
        site.costs(|site| {
            site.sent += users.len() as u64;
            site.routes(1, Audience::Users(&users));
        })
    });
    is_linear("a question", |size| {
        let site = Site::with(2, Whose::Own, common(size * 10));
        let users = common(size * 10)(0);
        site.costs(|site| {
            site.sent += users.len() as u64;
            site.transacts(|transaction| {
                let online = transaction.view().legacy_online_for(link(1), &users);
                transaction.answer(link(1), 9, online)
            });
        })
    });
    is_linear("a link that closes", |size| {
        let mut site = Site::with(2, Whose::Own, common(size * 10));
        site.claims(1);
        site.costs(|site| {
            site.sent += u64::from(size) * 10;
            site.closes(1);
            site.cleans_up();
        })
    });
}

#[test]
fn links_of_one_msg_server() {
    for whose in [Whose::Own, Whose::OneAddress, Whose::OneName] {
        for (sizes, users) in [(SIZES, own as fn(u32) -> Vec<u32>), (LARGE, famous)] {
            links_of(sizes, whose, users);
            links_go(sizes, whose, users);
        }
    }
}

/// So many links list, claim, report and write, all of them.
fn links_of(sizes: [u32; 3], whose: Whose, users: fn(u32) -> Vec<u32>) {
    let is_linear = |name, costs: &dyn Fn(u32) -> f64| is_linear_at(sizes, name, costs);
    is_linear("all connect", &|size| {
        Site::new().costs(|site| {
            for number in 1..=size {
                site.opens(number, whose);
                site.lists(number, &users(number));
            }
        })
    });
    is_linear("all claim", &|size| {
        let site = Site::with(size, whose, users);
        site.costs(|site| {
            site.sent += held(size, users);
            (1..=size).for_each(|number| site.claims(number));
        })
    });
    is_linear("all report", &|size| {
        let site = Site::with(size, whose, users);
        site.costs(|site| {
            for number in 1..=size {
                site.reports(number, 50_000 + number, ReportedStatus::Online);
                site.reports(number, 50_000 + number, ReportedStatus::Offline);
            }
        })
    });
    is_linear("all write to everybody", &|size| {
        let site = Site::with(size, whose, users);
        site.costs(|site| (1..=size).for_each(|it| site.routes(it, Audience::Everyone)))
    });
    is_linear("all write to one", &|size| {
        let site = Site::with(size, whose, users);
        site.costs(|site| (1..=size).for_each(|it| site.routes(it, Audience::Users(&[it * 10]))))
    });
}

/// So many links go, in each of the ways in which they can.
fn links_go(sizes: [u32; 3], whose: Whose, users: fn(u32) -> Vec<u32>) {
    let is_linear = |name, costs: &dyn Fn(u32) -> f64| is_linear_at(sizes, name, costs);
    is_linear("all close", &|size| {
        let mut site = Site::with(size, whose, users);
        (1..=size).for_each(|number| site.claims(number));
        site.costs(|site| {
            site.sent += held(size, users);
            (1..=size).for_each(|number| site.closes(number));
            site.cleans_up();
        })
    });
    is_linear("all are lost with their gateways", &|size| {
        let mut site = Site::with(size, whose, users);
        (1..=size).for_each(|number| site.claims(number));
        site.costs(|site| {
            site.sent += held(size, users);
            for gateway in 0..7 {
                site.transacts(|transaction| transaction.set_reach(gateway, Reach::Away));
                site.transacts(|transaction| transaction.lose_gateway(gateway));
            }
            site.cleans_up();
        })
    });
    is_linear("all come back with their tables", &|size| {
        Site::new().costs(|site| {
            for number in 1..=size {
                site.returns(number, whose, &users(number), Some(number.into()));
            }
        })
    });
}

fn held(links: u32, users: fn(u32) -> Vec<u32>) -> u64 {
    (1..=links).map(|number| users(number).len() as u64).sum()
}

#[test]
fn msg_servers_that_all_claim_their_other_connection() {
    for whose in [Whose::Own, Whose::OneName] {
        is_linear("successions", |size| {
            let mut site = Site::new();
            for number in 1..=2 * size {
                // Two of each address, or name.
                let mut peer = peer(number.div_ceil(2), whose);
                let name = format!("m{}", number.div_ceil(2));
                peer.msg_server = peer.msg_server.map(|_| &name[..]);
                let restored = None;
                site.does(number, Change::Opened { peer, restored });
                site.lists(number, &own(number.div_ceil(2)));
            }
            (1..=size).for_each(|number| site.claims(2 * number));
            site.costs(|site| {
                site.sent += u64::from(size) * 2 * 10;
                for number in 1..=size {
                    site.closes(2 * number);
                    site.claims(2 * number - 1);
                }
                site.cleans_up();
            })
        });
    }
}

/// Half of it comes back, and all of it goes to the heir.
#[test]
fn deliveries_that_wait_at_a_seat() {
    is_linear("what waits for an heir", |size| {
        let mut site = Site::new();
        for number in [1, 8] {
            site.opens(number, Whose::OneAddress);
            site.lists(number, &own(1));
        }
        site.claims(1);
        site.opens(3, Whose::Own);
        site.closes(1);
        site.costs(|site| {
            for _ in 0..size * 10 {
                site.routes(3, Audience::Users(&own(1)));
                site.sent += 10;
            }
            for position in 0..u64::from(size) * 10 {
                let run = run(position);
                site.transacts(|transaction| transaction.returned(link(1), run));
            }
            site.transacts(|transaction| transaction.all_returned(link(1), vec![]));
            site.claims(8);
            site.transacts(|transaction| {
                transaction.proceed(u64::MAX);
            });
            assert_eq!(site.core.view().stats().held_bytes, 0);
        })
    });
}

/// Everywhere something is held, and everywhere something comes back.
#[test]
fn seats_to_which_much_comes_back() {
    is_linear("what comes back", |size| {
        let mut site = Site::new();
        for number in 1..=size {
            // Two at each address.
            for link in [2 * number, 2 * number + 1] {
                let (peer, restored) = (peer(number, Whose::Own), None);
                site.does(link, Change::Opened { peer, restored });
                site.lists(link, &own(number));
            }
            site.claims(2 * number);
        }
        (1..=size).for_each(|number| site.closes(2 * number));
        assert_eq!(site.core.view().stats().seats, size as usize);
        site.costs(|site| {
            for number in 1..=size {
                for position in 0..10 {
                    let run = run(position);
                    site.transacts(|transaction| transaction.returned(link(2 * number), run));
                }
                let taken = Taken {
                    origin: link(1),
                    sequence: 1,
                    index: 0,
                };
                site.transacts(|core| core.all_returned(link(2 * number), vec![taken]));
            }
        })
    });
}

fn run(position: u64) -> ReturnedRun {
    let item = Item {
        sequence: position,
        index: 0,
        payload: Payload::Pdu(Bytes::from_static(b"pdu")),
    };
    ReturnedRun {
        origin: link(3),
        position,
        items: vec![item],
        receipts: Vec::new(),
    }
}

/// Of each user the rest of the site is told once, however often the status changed.
#[test]
fn what_is_told_later() {
    is_linear("notices that wait", |size| {
        let site = Site::with(2, Whose::Own, own);
        site.costs(|site| {
            site.transacts(|transaction| {
                transaction.postpone_notices();
                for sequence in 0..u64::from(size) * 10 {
                    transaction.under(Some(route_core::Receipt::new()));
                    let update = Change::Update {
                        user: UserId(10),
                        client_type: WINDOWS,
                        status: ReportedStatus::Away,
                    };
                    let applied = transaction.apply(link(1), sequence, update, Effect::Notify);
                    applied.unwrap();
                }
                assert!(!transaction.tell(u64::MAX));
            });
            site.sent += u64::from(size) * 10;
        })
    });
}
