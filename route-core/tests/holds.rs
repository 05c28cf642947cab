//! What is done under one lock is bounded however many users there are, but for the few things that
//! are done at once. With a million users, how much CPU time that takes: figures for
//! `docs/capacity.md`, on the machine at hand. Promise 8.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use route_core::{
    Change, ClientType, Core, Effect, LinkId, ListEntry, ReportedStatus, Settings, Transaction,
    UserId,
};

/// Steps after which a node lets others come in between.
const HOLD: u64 = 16_384;
/// And those of the last thing that is done then.
const ENOUGH: u64 = HOLD + 4_096;
/// Sessions of a list that a node applies before it looks at what has been done.
const ROWS: usize = 256;
const GATEWAY: u64 = 7;

/// The longest hold of its kind.
#[derive(Clone, Copy, Default)]
struct Longest {
    steps: u64,
    cpu: Duration,
}

struct Site {
    core: Core,
    longest: Longest,
}

impl Site {
    fn new() -> Site {
        Site {
            core: Core::new(Settings::default()),
            longest: Longest::default(),
        }
    }

    fn opens(&mut self, id: LinkId, host: u32) {
        let address = SocketAddr::from(((host + 1).to_be_bytes(), 4000));
        let (peer, restored) = (address.into(), None);
        self.does(id, Change::Opened { peer, restored });
    }

    fn lists(&mut self, id: LinkId, users: std::ops::Range<u32>) {
        let entries: Vec<_> = users.map(online).collect();
        let mut pieces = entries.chunks(ROWS).peekable();
        while pieces.peek().is_some() {
            self.transacts(|transaction| {
                let until = transaction.view().work() + HOLD;
                while transaction.view().work() < until
                    && let Some(entries) = pieces.next()
                {
                    let last = pieces.peek().is_none();
                    let list = Change::List { entries, last };
                    transaction.apply(id, 1, list, Effect::Notify).unwrap();
                }
            });
        }
    }

    fn claims(&mut self, id: LinkId) {
        self.does(id, Change::Role { claimed: true });
    }

    fn does(&mut self, id: LinkId, change: Change<'_>) {
        self.transacts(|transaction| {
            transaction.apply(id, 1, change, Effect::Notify).unwrap();
        });
    }

    /// Goes on until nothing is left.
    fn proceeds(&mut self) {
        let mut more = true;
        while more {
            self.transacts(|transaction| {
                let until = transaction.view().work() + HOLD;
                more = transaction.proceed(until);
            });
        }
    }

    fn transacts(&mut self, change: impl FnOnce(&mut Transaction<'_>)) {
        let (before, began) = (self.core.view().work(), cpu_time());
        let mut transaction = self.core.transaction(Duration::ZERO);
        change(&mut transaction);
        drop(transaction);
        let (steps, cpu) = (self.core.view().work() - before, cpu_time() - began);
        self.longest.steps = steps.max(self.longest.steps);
        self.longest.cpu = cpu.max(self.longest.cpu);
    }

    /// What the longest hold of this took.
    fn takes(
        &mut self,
        what: &'static str,
        act: impl FnOnce(&mut Site),
    ) -> (&'static str, Longest) {
        self.longest = Longest::default();
        act(self);
        (what, self.longest)
    }
}

fn online(user: u32) -> ListEntry {
    ListEntry {
        // All over the numbers.
        user: UserId(user.wrapping_mul(2_654_435_761)),
        client_type: ClientType::published(1),
        status: ReportedStatus::Online,
    }
}

/// Of this thread, as Linux counts it: what else runs there is no part of it.
fn cpu_time() -> Duration {
    // Until then it is not counted.
    std::thread::yield_now();
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = counted.split(' ').next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

/// One MsgServer with so many users, which changes connections and is lost.
fn of_one_msg_server(users: u32) -> Vec<(&'static str, Longest)> {
    let mut site = Site::new();
    let (one, other) = (LinkId::new(GATEWAY, 1), LinkId::new(GATEWAY + 1, 1));
    site.opens(one, 0);
    let list = site.takes("a list", |site| site.lists(one, 0..users));
    site.claims(one);
    site.opens(other, 0);
    let same = site.takes("a list of users whom another link holds, too", |site| {
        site.lists(other, 0..users);
    });
    let claim = site.takes("a link with all users takes another one's place", |site| {
        site.claims(other);
    });
    let follow = site.takes("all users follow", Site::proceeds);
    site.core.transaction(Duration::ZERO).lose_gateway(GATEWAY);
    site.proceeds();
    let end = site.takes("a gateway with all users is lost", |site| {
        site.transacts(|transaction| transaction.lose_gateway(GATEWAY + 1));
        site.proceeds();
    });
    assert_eq!(site.core.view().stats().users, 0);
    vec![list, same, claim, follow, end]
}

/// So many links of one gateway, each of a MsgServer with this many users.
fn of_one_gateway(links: u32, users: u32) -> Vec<(&'static str, Longest)> {
    let mut site = Site::new();
    for number in 0..links {
        let id = LinkId::new(GATEWAY, u64::from(number) + 1);
        site.opens(id, number);
        site.lists(id, number * users..(number + 1) * users);
        site.claims(id);
    }
    let lost = site.takes("a gateway with many links is lost", |site| {
        site.transacts(|transaction| transaction.lose_gateway(GATEWAY));
    });
    let ends = site.takes("its links end", Site::proceeds);
    assert_eq!(site.core.view().stats().users, 0);
    vec![lost, ends]
}

#[test]
fn no_hold_grows_with_the_users() {
    let all = [of_one_msg_server(50_000), of_one_gateway(500, 20)];
    for (what, longest) in all.concat() {
        assert!(longest.steps <= ENOUGH, "{what}: {} steps", longest.steps);
    }
}

#[test]
#[ignore = "it measures: cargo test --release -p route-core --test holds -- --ignored --nocapture"]
fn the_longest_holds_with_a_million_users() {
    let all = [of_one_msg_server(1_000_000), of_one_gateway(50_000, 20)];
    for (what, Longest { steps, cpu }) in all.concat() {
        let _ = writeln!(std::io::stderr(), "{what}: {steps} steps, {cpu:.1?}");
    }
}
