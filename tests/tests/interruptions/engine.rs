//! What holds the record of which node leads, with real NATS servers: what is acknowledged stays, what is interrupted is
//! counted, and what does not fit says what to mend.

#[path = "engine/cluster.rs"]
mod cluster;
#[path = "engine/logins.rs"]
mod logins;

use std::time::Duration;

use route_grpc::engine::nats::{Login, Nats, NatsSettings, TlsFiles};
use route_grpc::engine::record::{Author, Found, Member};
use route_grpc::engine::{ANSWER_LIMIT, Engine, NotWritten, Unread};
use route_leadership::{Record, State};
use system_tests::deployment::nats::NatsServer;
use tokio::time::{Instant, sleep, timeout};

/// For what goes without saying; a cluster elects meanwhile.
const SOON: Duration = Duration::from_secs(20);
/// How often one asks again who was not answered, as a leader does.
const AGAIN: Duration = Duration::from_millis(50);
/// A node hears of most changes within this, whatever else the machine does.
const HINT_LIMIT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_record_is_made_once_and_replaced_by_who_knows_its_revision() {
    let server = NatsServer::start().await.unwrap();
    let (one, other) = (node(vec![server.url()]), node(vec![server.url()]));

    assert_eq!(settled(&one).await, None);
    let first = one.write(&record(1), &author(), None).await.unwrap();
    let refused = other.write(&record(2), &author(), None).await;
    assert_eq!(refused, Err(NotWritten::Refused));
    let found = settled(&other).await.expect("it was written");
    assert_eq!(
        (found.stored.revision, &found.stored.record),
        (first, &record(1))
    );
    assert_eq!(found.author, author());

    let second = other.write(&record(2), &author(), Some(first)).await;
    let second = second.unwrap();
    assert!(second > first);
    let refused = one.write(&record(3), &author(), Some(first)).await;
    assert_eq!(refused, Err(NotWritten::Refused));
    assert_eq!(settled(&one).await.unwrap().stored.revision, second);
    assert_eq!((one.interruptions(), other.interruptions()), (0, 0));
}

#[tokio::test]
async fn the_other_nodes_hear_of_a_change_when_it_can_be_read() {
    let server = NatsServer::start().await.unwrap();
    let (one, other) = (node(vec![server.url()]), node(vec![server.url()]));
    settled(&one).await;
    settled(&other).await;
    // That it is connected.
    timeout(SOON, other.changed()).await.unwrap();

    let (mut revision, mut soon) = (None, 0);
    for counter in 1..=20 {
        let written = one.write(&record(counter), &author(), revision).await;
        revision = Some(written.unwrap());
        let answered = Instant::now();
        timeout(SOON, other.changed()).await.unwrap();
        soon += u32::from(answered.elapsed() < HINT_LIMIT);
        let found = other.read().await.unwrap().unwrap();
        assert_eq!(found.stored.record.counter, counter);
    }
    assert!(soon > 10, "{soon} of 20");
}

#[tokio::test]
async fn a_write_that_was_not_answered_may_have_happened() {
    let server = NatsServer::start().await.unwrap();
    let node = node(vec![server.url()]);
    settled(&node).await;
    let first = node.write(&record(1), &author(), None).await.unwrap();

    server.process.suspend();
    let sent = Instant::now();
    let write = node.write(&record(2), &author(), Some(first)).await;
    assert!(matches!(write, Err(NotWritten::Unanswered(_))), "{write:?}");
    assert!(sent.elapsed() < ANSWER_LIMIT * 2);
    assert!(matches!(node.read().await, Err(Unread::Unanswered(_))));
    server.process.resume();

    // It may happen after a read that has not shown it.
    let happened = async {
        loop {
            let found = settled(&node).await.expect("there is one");
            match found.stored.record.counter {
                1 => sleep(AGAIN).await,
                _ => return found.stored,
            }
        }
    };
    let found = timeout(SOON, happened).await.unwrap();
    assert_eq!(found.record.counter, 2);
    node.write(&record(3), &author(), Some(found.revision))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lost_connection_is_counted_before_anything_is_read_after_it() {
    let mut server = NatsServer::start().await.unwrap();
    let node = node(vec![server.url()]);
    settled(&node).await;
    let first = node.write(&record(1), &author(), None).await.unwrap();

    server.restart().await.unwrap();
    let found = settled(&node).await.expect("it is kept");
    assert_eq!(node.interruptions(), 1);
    assert_eq!(found.stored.revision, first);

    // A server that does not answer counts as lost, too.
    server.process.suspend();
    let silent = async {
        while node.interruptions() == 1 {
            sleep(AGAIN).await;
        }
    };
    timeout(SOON, silent).await.unwrap();
    server.process.resume();
    assert!(settled(&node).await.is_some());
}

#[tokio::test]
async fn a_bucket_that_would_lose_or_hide_the_record_is_refused() {
    let server = NatsServer::start().await.unwrap();
    for (wrong, told) in [
        (r#""max_msgs_per_subject": 5"#, "--max-msgs-per-subject=1"),
        (
            r#""max_msgs_per_subject": 1, "max_age": 60000000000"#,
            "--max-age=0s",
        ),
        (
            r#""max_msgs_per_subject": 1, "storage": "memory""#,
            "nats kv del teamtalk-wrong",
        ),
    ] {
        let settings = format!(
            r#"{{"name": "KV_teamtalk-wrong", "subjects": ["$KV.teamtalk-wrong.>"], {wrong}}}"#
        );
        let made = by_hand(&server, "STREAM.CREATE.KV_teamtalk-wrong", &settings).await;
        assert!(!made.contains("error"), "{made}");
        let node = Nats::start(settings_of(vec![server.url()], "wrong")).unwrap();
        let problem = problem(&node, "the bucket").await;
        assert!(problem.contains(told), "{problem}");
        assert!(matches!(node.read().await, Err(Unread::Unanswered(it)) if it == problem));
        by_hand(&server, "STREAM.DELETE.KV_teamtalk-wrong", "").await;
    }
}

#[tokio::test]
async fn what_somebody_else_has_written_there_is_not_replaced_and_what_he_deletes_is_written_anew()
{
    let server = NatsServer::start().await.unwrap();
    let node = node(vec![server.url()]);
    settled(&node).await;
    let first = node.write(&record(1), &author(), None).await.unwrap();

    put(&server, "KV-Operation: DEL", "").await;
    assert_eq!(settled(&node).await, None);
    let replaced = node.write(&record(2), &author(), Some(first)).await;
    assert_eq!(replaced, Err(NotWritten::Refused));
    node.write(&record(3), &author(), None).await.unwrap();

    put(&server, "", r#"{"protocol":2,"version":"9.9.9"}"#).await;
    let read = node.read().await;
    assert!(
        matches!(&read, Err(Unread::Unfit(it)) if it.contains("9.9.9")),
        "{read:?}"
    );

    by_hand(&server, "STREAM.DELETE.KV_teamtalk-test", "").await;
    assert_eq!(settled(&node).await, None);
    assert_eq!(node.interruptions(), 1);
    node.write(&record(4), &author(), None).await.unwrap();
}

/// A node of the site `test`.
fn node(urls: Vec<String>) -> Nats {
    Nats::start(settings_of(urls, "test")).expect("they are URLs")
}

fn settings_of(urls: Vec<String>, site: &str) -> NatsSettings {
    NatsSettings {
        urls,
        site: site.to_owned(),
        name: "a node".to_owned(),
        login: Login::None,
        tls: TlsFiles::default(),
    }
}

/// The record, once there is an answer.
async fn settled(node: &Nats) -> Option<Found> {
    let answered = async {
        loop {
            match node.read().await {
                Ok(found) => return found,
                Err(_) => sleep(AGAIN).await,
            }
        }
    };
    let answered = timeout(SOON, answered).await;
    answered.unwrap_or_else(|_| panic!("{:?}", node.problem()))
}

/// Why there is no connection, once that is known.
async fn problem(node: &Nats, has: &str) -> String {
    let known = async {
        loop {
            match node.problem() {
                Some(problem) if problem.contains(has) => return problem,
                _ => sleep(AGAIN).await,
            }
        }
    };
    let known = timeout(SOON, known).await;
    known.unwrap_or_else(|_| panic!("{:?}", node.problem()))
}

fn record(counter: u64) -> Record<Member> {
    let gateway = Member {
        id: "gateway-0".to_owned(),
        incarnation: 5,
    };
    Record {
        term: 1,
        node: 7,
        counter,
        state: State::Serving,
        roster: [gateway].into(),
    }
}

fn author() -> Author {
    Author {
        node_id: "node-0".to_owned(),
        api_url: "http://node-0:50051".to_owned(),
        attach_url: "http://node-0:50052".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

/// What an operator does with JetStream.
async fn by_hand(server: &NatsServer, question: &str, payload: &str) -> String {
    let subject = format!("$JS.API.{question}");
    let answer = server.ask(&subject, "", payload).await;
    answer.expect("JetStream answers")
}

/// What an operator writes in place of the record.
async fn put(server: &NatsServer, headers: &str, value: &str) {
    let subject = "$KV.teamtalk-test.router";
    let written = server.ask(subject, headers, value).await;
    let written = written.expect("JetStream answers");
    assert!(written.contains("seq"), "{written}");
}
