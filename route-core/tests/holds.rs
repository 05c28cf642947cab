//! How much CPU time the longest steps take that are not cut into pieces, and the longest pieces: figures for
//! `docs/capacity.md`, on the machine at hand.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use route_core::{
    Change, ClientType, Core, Effect, LinkId, ListEntry, ReportedStatus, Settings, Transaction,
    UserId,
};

const MILLION: u32 = 1_000_000;
/// Sessions in a piece: 16 384 steps.
const PIECE: usize = 4096;
/// Steps of one hold.
const HOLD: u64 = 16_384;
const GATEWAY: u64 = 7;

/// A node with so many links of one MsgServer each, and a million users among them.
fn site(links: u32, longest: &mut Duration) -> Core {
    let mut core = Core::new(Settings::default());
    let each = MILLION / links;
    for number in 0..links {
        let id = LinkId::new(GATEWAY, u64::from(number) + 1);
        opens(&mut core, id, number);
        lists(&mut core, id, number * each..(number + 1) * each, longest);
        does(&mut core, id, Change::Role { claimed: true });
    }
    core
}

fn opens(core: &mut Core, id: LinkId, host: u32) {
    let address = SocketAddr::from(((host + 1).to_be_bytes(), 4000));
    let (peer, restored) = (address.into(), None);
    does(core, id, Change::Opened { peer, restored });
}

fn lists(core: &mut Core, id: LinkId, users: std::ops::Range<u32>, longest: &mut Duration) {
    let entries: Vec<_> = users.map(online).collect();
    let pieces = entries.chunks(PIECE);
    let count = pieces.len();
    for (number, entries) in pieces.enumerate() {
        let last = number + 1 == count;
        let took = does(core, id, Change::List { entries, last });
        *longest = took.max(*longest);
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

fn does(core: &mut Core, id: LinkId, change: Change<'_>) -> Duration {
    transacts(core, |transaction| {
        transaction.apply(id, 1, change, Effect::Notify).unwrap();
    })
}

fn transacts(core: &mut Core, change: impl FnOnce(&mut Transaction<'_>)) -> Duration {
    let began = cpu_time();
    let mut transaction = core.transaction(Duration::ZERO);
    change(&mut transaction);
    drop(transaction);
    cpu_time() - began
}

/// Of this thread, as Linux counts it: what else runs there is no part of it.
fn cpu_time() -> Duration {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = counted.split(' ').next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

fn say(what: &str, took: Duration) {
    let _ = writeln!(std::io::stderr(), "{what}: {took:.1?}");
}

#[test]
#[ignore = "it measures: cargo test --release -p route-core --test holds -- --ignored --nocapture"]
fn the_longest_holds_with_a_million_users() {
    let mut longest = Duration::ZERO;
    let mut core = site(1, &mut longest);
    say("a piece of a list", longest);

    // The same MsgServer claims another connection, with the same users.
    let other = LinkId::new(GATEWAY + 1, 1);
    opens(&mut core, other, 0);
    longest = Duration::ZERO;
    lists(&mut core, other, 0..MILLION, &mut longest);
    say("a piece of a list that others hold, too", longest);
    let took = does(&mut core, other, Change::Role { claimed: true });
    say("a link with all users succeeds another one", took);

    let took = transacts(&mut core, |core| core.lose_gateway(GATEWAY + 1));
    say("a gateway with that link is lost", took);
    longest = Duration::ZERO;
    let mut more = true;
    while more {
        let took = transacts(&mut core, |core| {
            let until = core.view().work() + HOLD;
            more = core.proceed(until);
        });
        longest = took.max(longest);
    }
    say("a piece of its end", longest);

    let mut core = site(50_000, &mut longest);
    let took = transacts(&mut core, |core| core.lose_gateway(GATEWAY));
    say("a gateway with 50 000 links is lost", took);
}
