//! Three NATS servers, and the one that leads the record's stream is lost.

use std::time::Duration;

use route_grpc::engine::{Engine, NotWritten};
use system_tests::deployment::nats::NatsCluster;
use tokio::time::{Instant, sleep, timeout};

use super::{AGAIN, author, node, record, settled};

/// A lease: what a leader has to be able to write within, whatever is lost.
const LEASE: Duration = Duration::from_secs(15);

/// A leader that has not written for so long stops.
const SERVES: Duration = Duration::from_secs(12);

#[tokio::test]
async fn a_lost_server_of_three_costs_less_than_a_lease_and_nothing_that_was_acknowledged() {
    let mut cluster = NatsCluster::start().await.unwrap();
    let (leader, standby) = (node(cluster.urls()), node(cluster.urls()));
    settled(&leader).await;
    settled(&standby).await;
    let mut revision = None;
    for counter in 1..=50 {
        revision = Some(
            leader
                .write(&record(counter), &author(), revision)
                .await
                .unwrap(),
        );
    }

    let of_stream = cluster.stream_leader("KV_teamtalk-test").await;
    of_stream.expect("there are three replicas").process.kill();
    let killed = Instant::now();
    let acknowledged = settled(&standby).await.expect("it is kept");
    assert_eq!(acknowledged.stored.record.counter, 50);

    let written = async {
        let mut counter = 50;
        loop {
            counter += 1;
            match leader.write(&record(counter), &author(), revision).await {
                Ok(revision) => return (counter, revision),
                Err(NotWritten::Unanswered(_)) => {}
                Err(NotWritten::Refused) => panic!("one of its own has happened: read first"),
            }
            // As a leader does (rule 7).
            if let Ok(Some(found)) = leader.read().await {
                revision = Some(found.stored.revision);
            }
            sleep(AGAIN).await;
        }
    };
    let (counter, _) = timeout(LEASE, written)
        .await
        .expect("it is written in time");
    println!("written again after {:?}", killed.elapsed());
    let found = settled(&standby).await.expect("it is kept");
    assert_eq!(found.stored.record.counter, counter);
}

/// It answers reads for some seconds: a leader that only looked at those would stay until it has to stop.
#[tokio::test]
async fn a_server_that_is_cut_off_from_the_others_is_left_in_time() {
    let mut cluster = NatsCluster::start().await.unwrap();
    let urls = cluster.urls();
    settled(&node(urls)).await;
    let of_stream = cluster.stream_leader("KV_teamtalk-test").await;
    let name = of_stream.expect("there are three replicas").name.clone();
    let parted = cluster.servers.iter().partition(|it| it.name == name);
    let (alone, others): (Vec<_>, Vec<_>) = parted;
    let node = node(vec![alone[0].url()]);
    settled(&node).await;
    let first = node.write(&record(1), &author(), None).await.unwrap();

    let suspended = Instant::now();
    others.iter().for_each(|other| other.process.suspend());
    while node.interruptions() == 0 {
        assert!(suspended.elapsed() < SERVES, "a leader would have stopped");
        // What the one says is not what counts.
        let _ = node.read().await;
        let _ = node.write(&record(2), &author(), Some(first)).await;
    }
    others.iter().for_each(|other| other.process.resume());
    assert!(settled(&node).await.is_some());
}
