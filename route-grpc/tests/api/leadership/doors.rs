//! Whom a leader lets in, and when.

use route_grpc::engine::played::Fate;
use route_proto::attach::v1::AttachHello;
use tokio::time::sleep;

use super::{AT_ONCE, SECOND, Several, not_leader};
use crate::played::{hello, incarnation};

#[tokio::test(start_paused = true)]
async fn a_newcomer_is_welcome_when_the_record_names_it() {
    let (several, one, [_a]) = Several::with(["a"]).await;
    one.way.delay(AT_ONCE);
    let began = several.age();
    let _b = one.attaches("b").await.unwrap();
    assert!(several.age() - began >= AT_ONCE);
    assert_eq!(several.roster(), ["a", "b"]);

    // It is not known whether the record does.
    for fate in [Fate::Lost, Fate::Unanswered, Fate::Late] {
        one.way.fates([fate]);
        let id = format!("{fate:?}");
        let began = several.age();
        let _new = one.attaches(&id).await.unwrap();
        let took = several.age() - began;
        assert!(took >= SECOND && took < SECOND * 3, "{took:?}");
        assert!(several.roster().contains(&id));
        sleep(SECOND * 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_new_is_let_in_without_the_record() {
    let (several, one, [a]) = Several::with(["a"]).await;
    one.way.cut();
    let new = one.attaches("new");
    tokio::pin!(new);
    let waits = tokio::time::timeout(SECOND * 5, new.as_mut()).await;
    assert!(waits.is_err(), "it waits");
    // Who is known may come again.
    let again = AttachHello {
        term: 1,
        ..hello("a", a.incarnation, 2)
    };
    let began = several.age();
    let _a = one.attaches_as(again).await.unwrap();
    assert!(several.age() - began < AT_ONCE);
    not_leader(&new.await.err().unwrap());
}

#[tokio::test(start_paused = true)]
async fn who_names_a_later_term_is_let_in_after_a_write_and_deposes_nobody() {
    let (several, one, [a]) = Several::with(["a"]).await;
    sleep(SECOND / 2).await;
    let before = several.now().unwrap();
    let later = AttachHello {
        term: 99,
        ..hello("a", a.incarnation, 2)
    };
    let a = one.attaches_as(later.clone()).await.unwrap();
    assert_eq!(a.welcome.term, 1);
    let after = several.now().unwrap();
    assert_eq!((after.term, after.node), (1, before.node));
    assert!(after.counter > before.counter);

    // It speaks the truth.
    let other = several.starts("other");
    other.is_ready(true, "standing by").await;
    one.way.cut();
    let told = one.attaches_as(AttachHello {
        attempt: 3,
        ..later
    });
    not_leader(&told.await.err().unwrap());
    several.serves(&other, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_waits_at_a_standby_is_welcomed_by_it() {
    let several = Several::new();
    let one = several.starts("one");
    sleep(SECOND * 13).await;
    let a = one.attaches("a").await.unwrap();
    assert_eq!(a.welcome.term, 1);
    assert!(several.age() >= SECOND * 15);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_is_told_where_the_leader_is_and_for_how_long_nobody_leads() {
    let several = Several::new();
    let other = several.starts("other");
    let began = several.age();
    assert_eq!(not_leader(&other.attaches("a").await.err().unwrap()), None);
    assert_eq!(several.age() - began, SECOND * 3);

    let one = several.starts("one");
    several.serves(&other, 1).await;
    one.is_ready(true, "standing by").await;
    let told = one.attaches("a").await.err().unwrap();
    let leader = format!("http://{}:2", other.name);
    assert_eq!(not_leader(&told), Some(leader));
}

#[tokio::test(start_paused = true)]
async fn who_is_given_up_is_written_out_and_waits_when_it_comes_again() {
    let (several, one, [a]) = Several::with(["a"]).await;
    let incarnation_before = a.incarnation;
    drop(a);
    sleep(SECOND * 12).await;
    assert_eq!(several.roster(), Vec::<String>::new());
    one.way.delay(AT_ONCE);
    let began = several.age();
    let again = hello("a", incarnation_before, 2);
    let _a = one.attaches_as(again).await.unwrap();
    assert!(several.age() - began >= AT_ONCE);
    let _other_life = one.attaches_as(hello("b", incarnation(), 1)).await;
    assert_eq!(several.roster(), ["a", "b"]);
}
