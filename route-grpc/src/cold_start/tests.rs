use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    DeliveryRun, LinkClosed, LinkOpened, RestoredLink, Returned, RoleReport, SessionTable,
    StatusQuery,
};

use super::*;

const UNTIL: Duration = Duration::from_secs(10);
const NOW: Duration = Duration::from_secs(1);
const NEWCOMERS: Duration = Duration::from_secs(2);

#[test]
fn gateways_that_know_of_nobody_are_all_there_is_after_a_while() {
    let mut start = cold_start(1000);
    assert!(!start.is_over(NOW, here(&[])), "nobody has come");

    start.attached(NOW, "a", std::iter::empty());
    assert_eq!(missing(&start, &[]), ["a"]);

    assert!(
        !start.is_over(NOW, here(&["a"])),
        "others may be on their way"
    );
    assert_eq!(start.until(here(&["a"])), NOW + NEWCOMERS);
    assert!(start.is_over(NOW + NEWCOMERS, here(&["a"])));
}

#[test]
fn a_node_to_which_nobody_comes_cannot_know_that_there_is_nobody() {
    let start = cold_start(1000);
    let last = UNNOTICED + UNTIL;

    let before = last.saturating_sub(Duration::from_millis(1));
    assert!(!start.is_over(before, here(&[])));
    assert_eq!(start.until(here(&[])), last);
    assert!(start.is_over(last, here(&[])));
}

#[test]
fn a_newcomer_that_is_first_does_not_hide_the_others() {
    let mut start = cold_start(1000);
    start.attached(NOW, "new", std::iter::empty());

    start.attached(NOW, "a", ["a", "b"].into_iter());
    assert_eq!(missing(&start, &["new", "a"]), ["b"]);
    assert!(!start.is_over(NOW + NEWCOMERS, here(&["new", "a"])));

    start.attached(NOW, "b", ["a", "b"].into_iter());
    assert!(start.is_over(NOW, here(&["new", "a", "b"])));
}

#[test]
fn everybody_in_the_united_rosters_is_waited_for() {
    let mut start = cold_start(1000);
    start.attached(NOW, "a", ["a", "b"].into_iter());
    assert_eq!(missing(&start, &["a"]), ["b"]);

    start.attached(NOW, "b", ["b", "c"].into_iter());
    assert_eq!(missing(&start, &["a", "b"]), ["c"]);

    assert!(!start.is_over(UNTIL, here(&["a", "b"])));
    assert_eq!(start.until(here(&["a", "b"])), NOW + UNTIL);
    assert!(
        start.is_over(NOW + UNTIL, here(&["a", "b"])),
        "but not for ever"
    );
}

#[test]
fn a_first_gateway_is_waited_for_until_it_has_noticed_that_it_needs_a_node() {
    let mut start = cold_start(1000);
    let last = UNNOTICED + UNTIL;

    start.attached(last - NOW, "a", ["a", "b"].into_iter());

    assert!(
        !start.is_over(last, here(&["a"])),
        "the others notice at about this time"
    );
}

#[test]
fn a_stream_that_breaks_has_to_come_again_with_everything() {
    let mut start = cold_start(1000);
    start.attached(NOW, "a", ["a"].into_iter());
    start.hold(7, vec![query(1, 2)], |_| 0);
    assert!(start.is_over(NOW, here(&["a"])));

    drop(start.forget(7));

    assert!(!start.is_over(NOW, |_| Some(Reach::CatchingUp)));
    assert_eq!(start.entries(), 0);
}

#[test]
fn tables_are_applied_at_once_and_the_rest_is_held_in_order() {
    let mut start = cold_start(200);
    let opened = Entry::Opened(LinkOpened {
        restored: Some(RestoredLink::default()),
        ..LinkOpened::default()
    });
    let table = Entry::Table(SessionTable {
        last: true,
        ..SessionTable::default()
    });

    let entries = vec![entry(1, 1, opened), entry(1, 1, table), query(1, 2)];
    let tables = start.hold(7, entries, |_| 0);

    assert_eq!(tables.len(), 2);
    assert!(!start.is_full(7));
    assert!(start.hold(7, vec![query(1, 3)], |_| 0).is_empty());
    assert!(start.is_full(7) && !start.is_full(8));
    let returned = Entry::Returned(Returned {
        runs: vec![DeliveryRun::default(); 9],
        ..Returned::default()
    });
    start.hold(8, vec![entry(1, 1, returned)], |_| 0);
    assert!(!start.is_full(8), "it is not within a window");
    let (gateway, entries) = start.take_next().expect("some are held");
    let sequences: Vec<_> = entries.iter().map(|e| e.sequence).collect();
    assert_eq!((gateway, sequences), (7, vec![2, 3]));
}

#[test]
fn what_several_gateways_have_read_is_applied_in_that_order() {
    let mut start = cold_start(1000);
    let [first, second, third] = [query(1, 2), query(1, 3), query(2, 2)];
    // Link 1's second query was read before its first, by a clock that went back.
    start.hold(7, vec![first, second, third], |entry| {
        match entry.sequence {
            3 => 10,
            _ if entry.link == 1 => 50,
            _ => 60,
        }
    });
    start.hold(8, vec![query(1, 9)], |_| 55);

    let order = std::iter::from_fn(|| start.take_next()).map(|(gateway, entries)| {
        let numbers = entries.iter().map(|e| (e.link, e.sequence));
        (gateway, numbers.collect::<Vec<_>>())
    });
    let order: Vec<_> = order.collect();

    assert_eq!(
        order,
        [
            (7, vec![(1, 2), (1, 3)]),
            (8, vec![(1, 9)]),
            (7, vec![(2, 2)])
        ]
    );
}

#[test]
fn a_claim_comes_after_the_end_of_the_connection_before_although_clocks_err() {
    let mut start = cold_start(1000);
    let claim = Entry::Role(RoleReport { claimed: true });
    start.hold(7, vec![entry(1, 2, claim), query(1, 3)], |_| 0);
    start.hold(
        8,
        vec![entry(1, 9, Entry::Closed(LinkClosed::default()))],
        |_| 50_000,
    );
    start.hold(9, vec![query(1, 5)], |_| 200_000);

    let order = std::iter::from_fn(|| start.take_next());
    let order: Vec<_> = order.map(|(gateway, _)| gateway).collect();

    assert_eq!(order, [8, 7, 9]);
}

/// The node has these gateways, and they have caught up.
fn here<'a>(ids: &'a [&'a str]) -> impl Fn(&str) -> Option<Reach> + 'a {
    |id| ids.contains(&id).then_some(Reach::Here)
}

fn missing<'a>(start: &'a ColdStart, caught_up: &[&str]) -> Vec<&'a str> {
    start.missing(here(caught_up)).collect()
}

fn cold_start(held_bytes: usize) -> ColdStart {
    let waits = Waits {
        missing: UNTIL,
        newcomers: NEWCOMERS,
    };
    ColdStart::new(Duration::ZERO, waits, held_bytes)
}

fn query(link: u64, sequence: u64) -> UplinkEntry {
    entry(link, sequence, Entry::Query(StatusQuery::default()))
}

fn entry(link: u64, sequence: u64, entry: Entry) -> UplinkEntry {
    UplinkEntry {
        link,
        sequence,
        entry: Some(entry),
        read_at_micros: 0,
    }
}
