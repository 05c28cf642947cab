//! Crowds of hellos, and hellos that are none, at a leader's door and at a standby.

use route_proto::attach::v1::AttachHello;
use route_proto::attach::v1::attach_service_client::AttachServiceClient;
use route_proto::v1::WatchUserStatusRequest;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::watch_user_status_response::Message;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Code;

use super::{AT_ONCE, SECOND, Several, not_leader};
use crate::attach::reason;
use crate::played::{Played, chat, hello, incarnation};
use crate::site::soon;

/// A site with gateways a and b, which may have 40, and 900 hellos that name a later term, each of another life.
#[tokio::test(start_paused = true)]
async fn hellos_that_name_later_terms_share_writes_and_places_and_hold_up_nobody() {
    let several = Several::new();
    let one = several.starts_with("one", |it| it.max_gateways = 40);
    several.serves(&one, 1).await;
    let mut a = one.attaches("a").await.unwrap();
    let mut b = one.attaches("b").await.unwrap();
    a.open_with(1, &[7]).await;
    b.open_with(1, &[8]).await;
    sleep(SECOND * 2).await;
    let (began, before) = (several.age(), several.now().unwrap().counter);
    one.way.delay(AT_ONCE);
    let channel = one.channel().await;
    let mut crowd = JoinSet::new();
    for number in 0..900 {
        let later = AttachHello {
            term: 1 << 40,
            ..hello(&format!("of-{}", number % 300), incarnation(), 1)
        };
        crowd.spawn(Played::attach_over(channel.clone(), later));
    }
    for _ in 0..20 {
        a.route(1, chat(7, 8, b"goes on")).await;
        b.delivery().await;
        a.confirmed(1).await;
    }
    let mut let_in = Vec::new();
    let mut refused = 0;
    while let Some(came) = crowd.join_next().await {
        match came.unwrap() {
            Ok(played) => let_in.push(played),
            Err(status) => {
                let full = ["TOO_LARGE", "GATEWAY_ID_IN_USE"];
                assert!(full.contains(&&*reason(&status)), "{status:?}");
                refused += 1;
            }
        }
    }
    assert!(let_in.len() <= 38 && refused >= 862, "{refused}");
    let now = several.now().unwrap();
    assert_eq!(now.term, 1);
    assert!(now.roster.len() <= 40, "{}", now.roster.len());
    // A write takes so long, to go and to come back, and there is one at a time.
    let writes = (several.age() - began).as_millis() / (2 * AT_ONCE.as_millis()) + 2;
    assert!(u128::from(now.counter - before) <= writes);

    drop(let_in);
    sleep(SECOND * 13).await;
    assert_eq!(several.roster(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn hellos_wait_at_a_standby_for_three_seconds_and_as_they_may_be() {
    let several = Several::new();
    let one = several.starts("one");
    let channel = one.channel().await;
    let began = several.age();
    let mut crowd = JoinSet::new();
    for number in 0..900 {
        let hello = hello(&format!("of-{number}"), incarnation(), 1);
        crowd.spawn(Played::attach_over(channel.clone(), hello));
    }
    while let Some(came) = crowd.join_next().await {
        not_leader(&came.unwrap().err().unwrap());
    }
    assert!(several.age() - began < SECOND * 4);
    // What is longer than it may be is not kept so long.
    let began = several.age();
    for wrong in [
        AttachHello {
            description: "x".repeat(1 << 20),
            ..hello("a", incarnation(), 1)
        },
        AttachHello {
            roster: vec!["b".to_owned(); 100_000],
            ..hello("a", incarnation(), 1)
        },
        hello(&"a".repeat(10_000), incarnation(), 1),
    ] {
        let told = Played::attach_over(channel.clone(), wrong).await;
        let told = told.err().unwrap();
        assert_eq!(told.code(), Code::InvalidArgument, "{told:?}");
    }
    assert!(several.age() - began < AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn streams_without_a_hello_end_at_a_standby_and_at_a_door() {
    let several = Several::new();
    let one = several.starts("one");
    for _ in 0..2 {
        let channel = one.channel().await;
        let (began, mut crowd) = (several.age(), JoinSet::new());
        for _ in 0..900 {
            let mut links = AttachServiceClient::new(channel.clone());
            crowd.spawn(async move {
                let answer = links.attach(tokio_stream::pending()).await?;
                answer.into_inner().message().await
            });
        }
        while let Some(end) = crowd.join_next().await {
            let told = end.unwrap().unwrap_err();
            assert_eq!(told.code(), Code::FailedPrecondition, "{told:?}");
        }
        assert!(several.age() - began < SECOND * 11);
        several.serves(&one, 1).await;
    }
}

/// Its engine is away for a while, and the leader is there.
#[tokio::test(start_paused = true)]
async fn a_standby_that_cannot_read_the_record_passes_calls_on_as_before() {
    let (several, one, [mut a]) = Several::with(["a"]).await;
    let other = several.starts("other");
    other.is_ready(true, "standing by").await;
    let mut presence = PresenceServiceClient::new(other.channel().await);
    let watch = presence.watch_user_status(WatchUserStatusRequest {
        user_ids: vec![7],
        ..WatchUserStatusRequest::default()
    });
    let mut watch = soon("a stream", watch).await.unwrap().into_inner();
    for its_own in [true, false] {
        // The leader's renewals fail, too, for less than its lease.
        let ways = [&other.way, &one.way];
        let ways = if its_own { &ways[..1] } else { &ways[..] };
        ways.iter().for_each(|way| way.cut());
        sleep(SECOND * 8).await;
        other.asks(7).await.unwrap();
        a.update(1, 7, 1, 3).await;
        a.update(1, 7, 1, 1).await;
        let told = async {
            loop {
                let told = watch.message().await.unwrap().unwrap();
                if let Some(Message::Change(change)) = told.message {
                    return change;
                }
            }
        };
        soon("a change", told).await;
        soon("a change", async { watch.message().await.unwrap() }).await;
        ways.iter().for_each(|way| way.mend());
        sleep(SECOND * 2).await;
    }
    assert_eq!(several.now().unwrap().term, 1);
}
