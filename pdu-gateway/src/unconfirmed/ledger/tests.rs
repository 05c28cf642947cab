use bytes::Bytes;
use proptest::prelude::*;
use route_proto::attach::v1::{
    Envelope, LinkClosed, Returned, RoleReport, SessionList, SessionState, SessionTable,
    SessionUpdate,
};

use super::*;

const LINK: u64 = 7;
/// Read at the moment when the gateway starts: what is sent again is the same to the last field.
const NOW: Duration = Duration::ZERO;

#[test]
fn everything_is_numbered_in_one_sequence() {
    let (mut ledger, opened) = open();

    let first = ledger.record(NOW, message("a"));
    let second = ledger.record(NOW, query(0));

    assert_eq!(
        [opened.sequence, first.sequence, second.sequence],
        [1, 2, 3]
    );
    assert_eq!(second.link, LINK);
}

#[test]
fn what_is_sent_again_says_when_it_was_read_and_when_the_link_claimed() {
    let (mut ledger, _) = open();
    let at = Duration::from_micros;
    ledger.record(at(5), claim());
    ledger.record(at(9), message("a"));
    ledger.confirm(2);

    let replayed = replay(&ledger, None);

    assert!(matches!(
        &replayed[0].entry,
        Some(Entry::Opened(LinkOpened { restored: Some(it), .. })) if it.claimed_at_micros == 5
    ));
    assert_eq!(replayed.last().map(|entry| entry.read_at_micros), Some(9));
}

#[test]
fn a_new_node_is_not_told_that_nothing_more_comes_back_before_it_has_said_so() {
    let (mut ledger, _) = open();
    ledger.record(NOW, closed());
    let said = ledger.record(NOW, last());
    ledger.confirm(2);

    assert!(ledger.reopen_end());
    let numbers: Vec<_> = replay(&ledger, None).iter().map(|e| e.sequence).collect();
    let again = ledger.record(NOW, last());

    assert_eq!(numbers.last(), Some(&2), "closed, and no more");
    assert_eq!(again, said);
    ledger.confirm(3);
    assert!(ledger.is_finished() && !ledger.reopen_end());
}

#[test]
fn a_node_that_knows_the_link_gets_what_is_newer() {
    let (mut ledger, _) = open();
    let sent: Vec<_> = ["a", "b", "c"]
        .map(|text| ledger.record(NOW, message(text)))
        .into();
    ledger.confirm(2);

    assert_eq!(replay(&ledger, Some(3)), sent[2..]);
    assert_eq!(replay(&ledger, Some(2)), sent[1..]);
}

#[test]
fn a_node_that_knows_nothing_gets_the_table_as_of_the_cut_and_what_came_after() {
    // given
    let (mut ledger, _) = open();
    ledger.record(NOW, list(&[8]));
    ledger.record(NOW, update(9, 1));
    let unconfirmed = ledger.record(NOW, update(9, 2));
    ledger.confirm(3);
    let before = LinkId {
        gateway: 7,
        number: 1,
    };
    ledger.succeeds(vec![before]);

    // when
    let entries = replay(&ledger, None);

    // then
    let [opened, table, after] = &entries[..] else {
        panic!("{entries:?}");
    };
    assert_eq!((opened.sequence, table.sequence), (3, 3));
    assert!(matches!(
        &opened.entry,
        Some(Entry::Opened(LinkOpened { peer, msg_server, restored: Some(it), .. }))
            if it.listed && it.reported && it.predecessors == [before]
                && peer == "10.0.0.1:1" && msg_server == "one"
    ));
    assert!(matches!(
        &table.entry,
        Some(Entry::Table(t)) if t.last && t.user_ids.len() == 2
    ));
    assert_eq!(*after, unconfirmed);
}

#[test]
fn a_link_of_which_nothing_is_confirmed_is_sent_as_it_was() {
    let (mut ledger, opened) = open();
    let update = ledger.record(NOW, update(9, 1));

    assert_eq!(replay(&ledger, None), [opened, update]);
}

#[test]
fn a_way_is_measured_until_it_is_confirmed_and_then_not_for_a_while() {
    let at = Duration::from_millis;
    let (mut ledger, _) = open();
    let measured = |timing: Option<Timing>| timing.map(|it| (it.command, it.read_at));
    let mut read = |millis, command| {
        ledger.record(at(millis), message("a"));
        ledger.measure(at(millis), command);
        ledger.confirm(ledger.last)
    };

    assert_eq!(measured(read(1000, 1)), Some((1, at(1000))));
    assert_eq!(measured(read(1050, 2)), None);
    assert_eq!(measured(read(1100, 3)), Some((3, at(1100))));
}

#[test]
fn what_is_confirmed_before_does_not_end_a_measurement() {
    let (mut ledger, _) = open();
    ledger.record(Duration::ZERO, message("a"));
    ledger.record(Duration::ZERO, message("b"));
    ledger.measure(Duration::ZERO, 7);

    assert_eq!(ledger.confirm(2), None);
    assert!(ledger.confirm(3).is_some());
    assert_eq!(ledger.confirm(3), None);
}

#[test]
fn the_first_answer_wins() {
    let (mut ledger, _) = open();
    let asked = ledger.record(NOW, query(0));

    assert!(ledger.answer(asked.sequence).is_some());
    assert!(ledger.answer(asked.sequence).is_none());
    assert!(ledger.answer(99).is_none());
}

#[test]
fn the_cut_waits_for_an_answer() {
    let (mut ledger, _) = open();
    let asked = ledger.record(NOW, query(0));
    let after = ledger.record(NOW, message("after"));
    ledger.confirm(3);

    let before_answer = replay(&ledger, None);
    ledger.answer(asked.sequence);
    let after_answer = replay(&ledger, None);

    assert_eq!(before_answer[2..], [asked, after]);
    assert_eq!(
        after_answer.len(),
        2,
        "the link and its empty table: {after_answer:?}"
    );
    assert_eq!(ledger.bytes(), 0);
}

#[test]
fn old_queries_are_given_up() {
    let (mut ledger, _) = open();
    ledger.record(NOW, query(1));
    let young = ledger.record(NOW, query(5));

    assert_eq!(ledger.give_up_queries(Duration::from_secs(5)), 1);

    assert!(ledger.answer(young.sequence).is_some());
}

#[test]
fn a_link_that_ended_is_not_opened_again_for_what_it_gives_back() {
    // given: the end is confirmed, what was given back is not
    let (mut ledger, _) = open();
    ledger.record(NOW, update(9, 1));
    let closed = ledger.record(NOW, closed());
    ledger.confirm(closed.sequence);
    let returned = ledger.record(NOW, last());

    assert!(!ledger.is_finished());
    let entries = replay(&ledger, None);
    assert_eq!(entries[entries.len() - 2..], [closed, returned]);

    ledger.confirm(4);
    assert!(ledger.is_finished());
    assert_eq!(ledger.bytes(), 0);
}

#[test]
fn a_summary_is_of_everything_so_far() {
    for keep in [Keep::Contents, Keep::Counts] {
        let (mut ledger, _) = Ledger::open(NOW, LINK, keep, LinkOpened::default());
        assert_eq!(ledger.summary(), Summary::default());

        ledger.record(NOW, claim());
        ledger.record(NOW, list(&[1, 2]));
        ledger.confirm(3);
        ledger.record(NOW, list(&[2, 3]));

        let (claimed, sessions) = (true, 3);
        assert_eq!(ledger.summary(), Summary { claimed, sessions });
    }
}

#[test]
fn an_embedded_ledger_counts_and_keeps_nothing() {
    let (mut ledger, _) = Ledger::open(NOW, LINK, Keep::Counts, LinkOpened::default());
    for _ in 0..100 {
        ledger.record(NOW, message("a message"));
    }

    assert!(ledger.bytes() >= 100 * "a message".len());
    assert!(ledger.window.len() < 3);
    assert_eq!(replay(&ledger, None), []);
    ledger.confirm(101);
    assert_eq!(ledger.bytes(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Message,
    Update(u32, i32),
    List(Vec<u32>),
    Query,
    Confirm(prop::sample::Index),
    Answer(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Message),
        // Not away: which of the absent logins had been online before is not replayed.
        (0..5_u32, 1..=2_i32).prop_map(|(user, status)| Step::Update(user, status)),
        prop::collection::vec(0..5_u32, 0..5).prop_map(Step::List),
        Just(Step::Query),
        any::<prop::sample::Index>().prop_map(Step::Confirm),
        any::<prop::sample::Index>().prop_map(Step::Answer),
    ]
}

proptest! {
    /// The model keeps everything. A node that is told the replay must come to the same table as one that saw it all,
    /// and must see every entry after what was confirmed, and every query that has no answer.
    #[test]
    fn a_replay_tells_what_the_whole_history_tells(steps in prop::collection::vec(step(), 0..80)) {
        let (mut ledger, opened) = open();
        let mut history = vec![opened];
        let mut confirmed = 0;
        let mut unanswered: Vec<u64> = Vec::new();
        for step in steps {
            let deed = match step {
                Step::Message => message("m"),
                Step::Update(user, status) => update(user, status),
                Step::List(users) => list(&users),
                Step::Query => {
                    unanswered.push(history.len() as u64 + 1);
                    query(0)
                }
                Step::Confirm(index) => {
                    let sequence = index.index(history.len() + 1) as u64;
                    confirmed = confirmed.max(sequence);
                    ledger.confirm(sequence);
                    continue;
                }
                Step::Answer(index) => {
                    if !unanswered.is_empty() {
                        let sequence = unanswered.remove(index.index(unanswered.len()));
                        prop_assert!(ledger.answer(sequence).is_some());
                    }
                    continue;
                }
            };
            history.push(ledger.record(NOW, deed));

            let cut = unanswered.first().map_or(confirmed, |query| confirmed.min(query - 1));
            let replayed = replay(&ledger, None);
            let newer: Vec<_> = replayed.iter().filter(|e| e.sequence > cut).cloned().collect();
            prop_assert_eq!(&newer[..], &history[cut as usize..]);
            prop_assert_eq!(table_after(&replayed), table_after(&history));
            let wanted = |e: &&UplinkEntry| e.sequence > confirmed || unanswered.contains(&e.sequence);
            let known: Vec<_> = history.iter().filter(wanted).cloned().collect();
            prop_assert_eq!(replay(&ledger, Some(confirmed)), known);
        }
        ledger.confirm(u64::MAX);
        for query in unanswered {
            ledger.answer(query);
        }
        prop_assert_eq!(ledger.bytes(), 0);
    }
}

type Rows = std::collections::BTreeMap<(u32, i32), u32>;

/// What a new node makes of the whole history, and of a replay.
fn table_after(entries: &[UplinkEntry]) -> Rows {
    let mut table = Table::default();
    for entry in entries {
        let entry = entry.entry.as_ref().unwrap();
        if let Entry::Opened(opened) = entry {
            table.link = opened.restored.clone().unwrap_or_default();
        } else if let Entry::Table(part) = entry {
            restore(&mut table, part);
        } else {
            table.apply(entry);
        }
    }
    rows(&table)
}

/// In a first list, offline is hidden.
fn restore(table: &mut Table, part: &SessionTable) {
    let listed = std::mem::replace(&mut table.link.listed, false);
    for at in 0..part.user_ids.len() {
        let status = match SessionState::try_from(part.states[at]).unwrap() {
            SessionState::Online => ReportedStatus::Online,
            SessionState::Away => ReportedStatus::Away,
            SessionState::Hidden => ReportedStatus::Offline,
            SessionState::Unspecified => panic!("each row has a state"),
        };
        let one = SessionList {
            user_ids: vec![part.user_ids[at]],
            client_types: vec![part.client_types[at]],
            statuses: vec![status.into()],
            last: false,
        };
        for _ in 0..part.logins[at] {
            table.apply(&Entry::List(one.clone()));
        }
    }
    table.link.listed = listed;
}

fn rows(table: &Table) -> Rows {
    let parts = table.replay();
    let mut rows = Rows::new();
    for part in parts {
        for at in 0..part.user_ids.len() {
            rows.insert((part.user_ids[at], part.states[at]), part.logins[at]);
        }
    }
    rows
}

fn open() -> (Ledger, UplinkEntry) {
    let opened = LinkOpened {
        peer: "10.0.0.1:1".to_owned(),
        msg_server: "one".to_owned(),
        ..LinkOpened::default()
    };
    Ledger::open(NOW, LINK, Keep::Contents, opened)
}

fn replay(ledger: &Ledger, applied: Option<u64>) -> Vec<UplinkEntry> {
    let mut out = Vec::new();
    ledger.replay(applied, &mut out);
    out
}

fn message(text: &'static str) -> Deed {
    Deed::Entry(Entry::Envelope(Envelope {
        pdu: Bytes::from_static(text.as_bytes()),
        ..Envelope::default()
    }))
}

fn update(user_id: u32, status: i32) -> Deed {
    Deed::Entry(Entry::Update(SessionUpdate {
        user_id,
        client_type: 1,
        status,
    }))
}

fn list(users: &[u32]) -> Deed {
    Deed::Entry(Entry::List(SessionList {
        user_ids: users.to_vec(),
        client_types: vec![1; users.len()],
        statuses: users.iter().map(|user| (user % 3 + 1) as i32).collect(),
        last: true,
    }))
}

fn claim() -> Deed {
    Deed::Entry(Entry::Role(RoleReport { claimed: true }))
}

fn closed() -> Deed {
    Deed::Entry(Entry::Closed(LinkClosed::default()))
}

fn last() -> Deed {
    Deed::Entry(Entry::Returned(Returned {
        last: true,
        ..Returned::default()
    }))
}

fn query(asked_at: u64) -> Deed {
    Deed::Query(OpenQuery {
        header_sequence: 1,
        requester: 2,
        user_ids: vec![3],
        attach_data: Bytes::new(),
        asked_at: Duration::from_secs(asked_at),
        traceparent: String::new(),
    })
}
