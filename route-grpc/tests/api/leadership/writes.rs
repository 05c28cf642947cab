//! Writes of which nobody says whether they happen.

use std::time::Duration;

use route_grpc::engine::played::Fate;
use route_leadership::State;
use tokio::time::sleep;

use super::{SECOND, STEP, Several, not_leader};

#[tokio::test(start_paused = true)]
async fn a_leader_finds_out_what_became_of_its_writes() {
    let (several, one, [mut a]) = Several::with(["a"]).await;
    for round in 0..6 {
        one.way.fates([Fate::Unanswered, Fate::Lost, Fate::Late]);
        sleep(SECOND * 8).await;
        if round % 2 == 1 {
            one.way.let_late_writes_happen();
        }
    }
    a.open_with(2, &[9]).await;
    let now = several.now().unwrap();
    assert_eq!((now.term, now.state), (1, State::Serving));
    let text = one.metrics.render();
    let counted = "teamtalk_route_renewals_unanswered_total";
    let line = text.lines().find(|it| it.starts_with(counted)).unwrap();
    assert!(line.ends_with(" 18"), "{line}");
}

/// Else its release would replace what is not there any more, and others would wait for the lease.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_told_to_end_finds_out_before_it_releases_the_record() {
    let (several, one, [_a]) = Several::with(["a"]).await;
    let other = several.starts("other");
    other.is_ready(true, "standing by").await;
    one.way.fates([Fate::Unanswered]);
    let before = several.now();
    while several.now() == before {
        sleep(STEP).await;
    }
    let began = several.age();
    one.shutdown.begin();
    several.serves(&other, 2).await;
    let took = several.age() - began;
    assert!(took < SECOND * 3 / 2, "{took:?}");
}

/// It replaces the record after that has been read.
#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_tell_its_own_write_from_another_ones_leads_no_more() {
    let (several, one, [mut a]) = Several::with(["a"]).await;
    let before = several.now();
    while several.now() == before {
        sleep(STEP).await;
    }
    // After a second, and after two.
    one.way.fates([Fate::Late, Fate::Lost]);
    sleep(SECOND * 5 / 2).await;
    one.way.let_late_writes_happen();
    not_leader(&a.end().await.unwrap());
    one.ended("refused").await;
    several.serves(&one, 2).await;
}

/// By then the node has ended itself: the record would name a leader that refuses everybody.
#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_when_the_lease_is_over_revives_no_term() {
    let (several, one, [mut a]) = Several::with(["a"]).await;
    let before = several.now();
    while several.now() == before {
        sleep(STEP).await;
    }
    // Three writes are lost; the fourth one is sent after 11.2 s, and answered after 12.8 s.
    one.way.fates([Fate::Lost, Fate::Lost, Fate::Lost]);
    one.way.delay(SECOND * 4 / 5);
    not_leader(&a.end().await.unwrap());
    one.ended("lease_over").await;
    one.way.delay(Duration::ZERO);
    several.serves(&one, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_take_over_that_was_not_answered_is_found_or_tried_again() {
    for (fate, term) in [(Fate::Unanswered, 1), (Fate::Lost, 1)] {
        let several = Several::new();
        let one = several.starts("one");
        one.way.fates([fate]);
        several.serves(&one, term).await;
        assert!(several.age() < SECOND * 18, "{:?}", several.age());
        let a = one.attaches("a").await.unwrap();
        assert_eq!(a.welcome.term, term);
    }
}

/// Nobody knows any more that it is this node's.
#[tokio::test(start_paused = true)]
async fn a_take_over_that_happens_late_is_no_leaders() {
    let several = Several::new();
    let one = several.starts("one");
    one.way.fates([Fate::Late, Fate::Lost, Fate::Lost]);
    sleep(SECOND * 17).await;
    one.way.interrupt();
    one.way.let_late_writes_happen();
    sleep(SECOND * 5).await;
    assert_eq!(several.now().unwrap().state, State::Beginning);
    several.serves(&one, 2).await;
    assert!(several.age() > SECOND * 32, "{:?}", several.age());
}

#[tokio::test(start_paused = true)]
async fn of_two_that_take_over_at_once_one_leads() {
    let several = Several::new();
    let (one, other) = (several.starts("one"), several.starts("other"));
    for it in [&one, &other] {
        it.way.delay(SECOND / 10);
    }
    sleep(SECOND * 18).await;
    let now = several.now().unwrap();
    assert_eq!((now.term, now.state), (1, State::Serving));
    let (leads, follows) = match several.writer() == one.name {
        true => (&one, &other),
        false => (&other, &one),
    };
    let _a = leads.attaches("a").await.unwrap();
    leads.is_ready(true, "serving").await;
    follows.is_ready(true, "standing by").await;
    not_leader(&follows.attaches("b").await.err().unwrap());
    follows.asks(7).await.unwrap();
}
