//! How terms begin and end.

use route_leadership::State;
use tokio::time::sleep;

use super::{AT_ONCE, SECOND, Several, not_leader};
use crate::played::chat;

#[tokio::test(start_paused = true)]
async fn the_first_node_leads_when_no_other_can_and_is_ready_with_its_gateways() {
    let several = Several::new();
    let one = several.starts("one");
    assert!(!one.readiness.is_ready());
    several.serves(&one, 1).await;
    assert!(several.age() >= SECOND * 15, "{:?}", several.age());
    assert!(several.age() < SECOND * 16, "{:?}", several.age());
    assert!(!one.readiness.is_ready(), "no gateway has come yet");

    let _gateway = one.attaches("a").await.unwrap();
    one.is_ready(true, "serving").await;
    let other = several.starts("other");
    other.is_ready(true, "standing by").await;
    assert_eq!(several.now().unwrap().term, 1);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_told_to_end_ends_its_streams_and_the_next_one_begins_at_once() {
    let (several, one, [mut a]) = Several::with(["a"]).await;
    let other = several.starts("other");
    other.is_ready(true, "standing by").await;
    // So that the order shows.
    one.way.delay(AT_ONCE);
    sleep(SECOND * 2).await;

    one.shutdown.begin();
    let ended = tokio::spawn(async move { (a.end().await, a) });
    let began = several.age();
    several.is(&other, 2, State::Beginning).await;
    assert!(ended.is_finished(), "streams end first");
    assert!(several.age() - began <= AT_ONCE * 3);
    let (_, a) = ended.await.unwrap();
    let mut a = other.takes_in("a", &a, 2).await.unwrap();
    assert_eq!(a.welcome.term, 2);
    a.open_with(1, &[7]).await;
    one.ended("drained").await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_lost_is_followed_soon_by_one_to_which_its_gateways_come() {
    let (several, one, [a, b]) = Several::with(["a", "b"]).await;
    let other = several.starts("other");
    other.is_ready(true, "standing by").await;
    one.way.cut();
    let lost = several.age();

    let first = other.takes_in("a", &a, 2);
    let told = first.await.err().unwrap();
    let leader = format!("http://{}:2", one.name);
    assert_eq!(not_leader(&told), Some(leader), "it may lead still");
    several.is(&other, 2, State::Beginning).await;
    let took = several.age() - lost;
    assert!(took >= SECOND && took <= SECOND * 3, "{took:?}");

    // It does not serve before all of them know of it.
    let _a = other.takes_in("a", &a, 3).await.unwrap();
    sleep(SECOND * 2).await;
    assert_eq!(several.now().unwrap().state, State::Beginning);
    assert_eq!(other.readiness.state().reason, "waiting for gateways");
    let _b = other.takes_in("b", &b, 2).await.unwrap();
    several.serves(&other, 2).await;
    assert!(several.age() - lost < SECOND * 12, "while the lease holds");
    other.is_ready(true, "serving").await;
    one.way.mend();
    one.is_ready(true, "standing by").await;
    one.ended("refused").await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_lost_is_followed_after_the_lease_by_one_to_which_nobody_comes() {
    let (several, one, [a]) = Several::with(["a"]).await;
    let other = several.starts("other");
    other.is_ready(true, "standing by").await;
    one.way.cut();
    let lost = several.age();
    // A gateway that the record does not name is no sign.
    let stranger = other.attaches("stranger").await;
    not_leader(&stranger.err().unwrap());

    several.is(&other, 2, State::Beginning).await;
    let took = several.age() - lost;
    assert!(took > SECOND * 14 && took <= SECOND * 16, "{took:?}");
    several.serves(&other, 2).await;
    assert_eq!(several.roster(), Vec::<String>::new(), "it is given up");
    let _a = other.takes_in("a", &a, 2).await.unwrap();
    assert_eq!(several.roster(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_from_the_record_stops_with_its_lease_and_begins_anew() {
    let (several, one, [mut a, mut b]) = Several::with(["a", "b"]).await;
    one.way.cut();
    let lost = several.age();
    sleep(SECOND * 10).await;
    a.route(1, chat(7, 8, b"in time")).await;
    b.delivery().await;
    a.confirmed(1).await;

    let (of_a, of_b) = tokio::join!(a.end(), b.end());
    let ended = several.age() - lost;
    assert!(ended > SECOND * 10 && ended <= SECOND * 12, "{ended:?}");
    for end in [of_a, of_b] {
        assert_eq!(not_leader(&end.unwrap()), None);
    }
    one.ended("lease_over").await;
    one.is_ready(true, "no node leads at the moment").await;
    not_leader(&one.asks(7).await.unwrap_err());
    one.is_ready(false, "no node leads").await;

    // Nobody else was there: it leads again, and knows nothing.
    one.way.mend();
    several.serves(&one, 2).await;
    let mut a = one.takes_in("a", &a, 2).await.unwrap();
    one.is_ready(true, "serving").await;
    a.open_with(1, &[9]).await;
    for (user, sessions) in [(7, 0), (8, 0), (9, 1)] {
        let told = one.asks(user).await.unwrap().user.unwrap();
        assert_eq!(told.sessions.len(), sessions, "{user}");
    }
}

/// Its engine is lost after it has taken over, and before its term serves.
#[tokio::test(start_paused = true)]
async fn a_term_that_has_not_served_ends_when_the_engine_was_lost() {
    let (several, one, [a, b]) = Several::with(["a", "b"]).await;
    let other = several.starts("other");
    other.is_ready(true, "standing by").await;
    one.way.cut();
    not_leader(&other.takes_in("a", &a, 2).await.err().unwrap());
    several.is(&other, 2, State::Beginning).await;
    let mut a = other.takes_in("a", &a, 3).await.unwrap();

    other.way.interrupt();
    not_leader(&a.end().await.unwrap());
    other.ended("interrupted").await;
    // What it has written stays, and is not taken for its own.
    assert_eq!(several.now().unwrap().term, 2);
    let began = several.age();
    let b = async {
        loop {
            match other.takes_in("b", &b, 2).await {
                Ok(b) => return b,
                Err(told) => not_leader(&told),
            };
            sleep(SECOND / 2).await;
        }
    };
    let b = b.await;
    assert_eq!(b.welcome.term, 3);
    let took = several.age() - began;
    assert!(took > SECOND * 14 && took < SECOND * 17, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_serves_through_interruptions() {
    let (several, one, [mut a]) = Several::with(["a"]).await;
    for _ in 0..3 {
        one.way.cut();
        sleep(SECOND * 5).await;
        one.way.mend();
        sleep(SECOND * 5).await;
    }
    a.open_with(2, &[9]).await;
    assert_eq!(several.now().unwrap().term, 1);
}
