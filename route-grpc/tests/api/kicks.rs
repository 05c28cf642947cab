//! When a kick was read, as each gateway that gets it is told: by its own clock, on whatever way
//! the kick comes.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    AttachHello, Delivery, DeliveryRun, Envelope, LinkId, Returned, RoleReport, Uplink,
    UplinkEntry, delivery,
};
use route_proto::v1::{Event, Kick, PublishRequest, event};

use crate::played::{Played, caught_up, chat, hello, incarnation, kick, opened};
use crate::site::{Site, soon};

const SECOND: u64 = 1_000_000;
/// What the gateways' clocks show when they attach.
const A: u64 = 1000 * SECOND;
const B: u64 = 5 * SECOND;
const C: u64 = 77 * SECOND;

#[tokio::test]
async fn a_gateway_is_told_by_its_own_clock() {
    let (site, began) = (Site::start().await, Instant::now());
    let [mut a, mut b] = two(&site).await;

    a.route(1, kick_read_at(A - 3 * SECOND)).await;
    a.route(1, chat(1, 1, b"not a kick")).await;

    let [kick, chat] = &b.deliveries(2).await[..] else {
        panic!("two deliveries");
    };
    assert!(
        since(began, B - 3 * SECOND).contains(&kick.read_at_micros),
        "{kick:?}"
    );
    assert_eq!(chat.read_at_micros, 0);
}

/// It was read before the gateway started.
#[tokio::test]
async fn a_time_may_be_before_the_gateway_s() {
    let (site, began) = (Site::start().await, Instant::now());
    let [mut a, mut b] = two(&site).await;

    a.route(1, kick_read_at(A - 30 * SECOND)).await;

    let delivered = b.delivery().await;
    assert!(
        (-25_000_000 - elapsed(began)..=-25_000_000).contains(&delivered.read_at_micros),
        "{delivered:?}"
    );
}

#[tokio::test]
async fn what_a_detached_gateway_was_held_is_as_old_as_it_is() {
    let (site, began) = (Site::start().await, Instant::now());
    let [mut a, b] = two(&site).await;
    let life = b.incarnation;
    drop(b);
    site.shows("teamtalk_route_gateways_detached 1").await;

    a.route(1, kick_read_at(A)).await;
    let again = AttachHello {
        clock_micros: B + 60 * SECOND,
        ..hello("b", life, 2)
    };
    let mut b = Played::attach_as(&site, again).await.unwrap();

    let delivered = b.delivery().await;
    assert!(
        since(began, B).contains(&delivered.read_at_micros),
        "{delivered:?}"
    );
}

/// From the gateway that gave it back to the one of the MsgServer's other connection.
#[tokio::test]
async fn what_is_given_back_is_told_by_the_next_gateway_s_clock() {
    let (site, began) = (Site::start().await, Instant::now());
    let mut b = attach(&site, "b", B).await;
    let mut c = attach(&site, "c", C).await;
    b.open_with(1, &[1]).await;
    c.open_sibling(1, (b.incarnation, 1), &[1, 2]).await;

    b.close(1).await;
    b.until(|b| b.ended == [1]).await;
    let claim = c.entry(1, Entry::Role(RoleReport { claimed: true }));
    c.send_entries(vec![claim]).await;
    let pdu = kick(b"").pdu;
    let run = DeliveryRun {
        origin: Some(LinkId {
            gateway: 1,
            number: 9,
        }),
        deliveries: vec![Delivery {
            sequence: 3,
            payload: Some(delivery::Payload::Pdu(pdu)),
            read_at_micros: i64::try_from(B).unwrap() - 3_000_000,
            ..Delivery::default()
        }],
        ..DeliveryRun::default()
    };
    let returned = Returned {
        runs: vec![run],
        last: true,
        taken: Vec::new(),
    };
    b.tell(1, Entry::Returned(returned)).await;

    let delivered = c.delivery().await;
    assert!(
        since(began, C - 3 * SECOND).contains(&delivered.read_at_micros),
        "{delivered:?}"
    );
}

/// From the queue of a gateway that does not come back.
#[tokio::test]
async fn what_a_lost_gateway_was_never_handed_is_told_by_the_next_one_s_clock() {
    let site = Site::with(|it| it.detach_grace = Duration::from_millis(100)).await;
    let began = Instant::now();
    let mut a = attach(&site, "a", A).await;
    let mut b = attach(&site, "b", B).await;
    let mut c = attach(&site, "c", C).await;
    a.open_with(1, &[1]).await;
    b.open_with(1, &[2]).await;
    c.open_sibling(1, (b.incarnation, 1), &[1, 2]).await;
    drop(b);
    site.shows("teamtalk_route_gateways_detached 1").await;

    a.route(1, kick_read_at(A - 3 * SECOND)).await;
    a.until(|a| a.roster == ["a", "c"]).await;

    let delivered = c.delivery().await;
    assert!(
        since(began, C - 3 * SECOND).contains(&delivered.read_at_micros),
        "{delivered:?}"
    );
}

/// A new node routes what its predecessor had not confirmed.
#[tokio::test]
async fn a_new_node_is_told_how_old_it_is() {
    let site = Site::with(|it| {
        it.cold_start_wait = Duration::from_secs(60);
        it.newcomer_wait = Duration::ZERO;
    })
    .await;
    let began = Instant::now();
    let attach = async |id: &str, clock_micros| {
        let roster = vec!["a".to_owned(), "b".to_owned()];
        let hello = AttachHello {
            roster,
            clock_micros,
            ..hello(id, incarnation(), 2)
        };
        Played::attach_as(&site, hello).await.unwrap()
    };
    let mut a = attach("a", A).await;
    let mut b = attach("b", B).await;
    let read_at = A - 40 * SECOND;
    let entries = vec![
        a.entry(1, opened(a.incarnation, 1)),
        UplinkEntry {
            read_at_micros: read_at,
            ..a.entry(1, Entry::Envelope(kick_read_at(read_at)))
        },
    ];
    a.send(caught_up(entries)).await;
    // Read before everything else, so that it is there when the kick is routed.
    let open = UplinkEntry {
        read_at_micros: 1,
        ..b.entry(1, opened(b.incarnation, 1))
    };
    b.send(caught_up(vec![open])).await;

    let delivered = b.delivery().await;
    assert!(
        (-35_000_000 - elapsed(began)..=-35_000_000).contains(&delivered.read_at_micros),
        "{delivered:?}"
    );
}

#[tokio::test]
async fn a_published_kick_is_as_old_as_the_call() {
    let (site, began) = (Site::start().await, Instant::now());
    let mut b = attach(&site, "b", B).await;
    b.open_with(1, &[1]).await;

    let kick = Kick {
        user_id: 1,
        client_type: 1,
        reason: 1,
    };
    let request = PublishRequest {
        event: Some(Event {
            body: Some(event::Body::Kick(kick)),
            ..Event::default()
        }),
        ..PublishRequest::default()
    };
    let mut broadcast = site.broadcast().await;
    soon("an answer", broadcast.publish(request)).await.unwrap();

    let at = b.delivery().await.read_at_micros;
    let attached = i64::try_from(B).unwrap();
    assert!((attached..=attached + elapsed(began)).contains(&at), "{at}");
}

/// A hello that was long on its way makes its gateway's clock look slow, until the next reading.
#[tokio::test]
async fn a_clock_is_compared_again() {
    let (site, began) = (Site::start().await, Instant::now());
    let [mut a, mut b] = two(&site).await;

    b.send(Uplink {
        clock_micros: B + 20 * SECOND,
        ..Uplink::default()
    })
    .await;
    b.update(1, 2, 1, 1).await;
    b.confirmed(1).await;
    b.deliveries(2).await;
    a.deliveries(1).await;
    a.route(1, kick_read_at(A)).await;

    let delivered = b.delivery().await;
    assert!(
        since(began, B + 20 * SECOND).contains(&delivered.read_at_micros),
        "{delivered:?}"
    );
}

/// Whatever its gateway's clock seems to show.
#[tokio::test]
async fn nothing_is_read_after_it_has_arrived() {
    let (site, began) = (Site::start().await, Instant::now());
    let [mut a, mut b] = two(&site).await;

    a.route(1, kick_read_at(A + 500 * SECOND)).await;

    let at = b.delivery().await.read_at_micros;
    let attached = i64::try_from(B).unwrap();
    assert!((attached..=attached + elapsed(began)).contains(&at), "{at}");
}

/// Two gateways, each with a MsgServer that has user 1.
async fn two(site: &Site) -> [Played; 2] {
    let mut a = attach(site, "a", A).await;
    let mut b = attach(site, "b", B).await;
    a.open_with(1, &[1]).await;
    b.open_with(1, &[1]).await;
    [a, b]
}

async fn attach(site: &Site, id: &str, clock_micros: u64) -> Played {
    let hello = AttachHello {
        clock_micros,
        ..hello(id, incarnation(), 1)
    };
    let attached = Played::attach_as(site, hello).await.unwrap();
    attached.send(caught_up(Vec::new())).await;
    attached
}

fn kick_read_at(read_at_micros: u64) -> Envelope {
    Envelope {
        read_at_micros,
        ..kick(b"")
    }
}

/// The gateways attached one after the other, so their clocks differ from what these tests say by
/// less than has passed.
fn since(began: Instant, micros: u64) -> RangeInclusive<i64> {
    let (exact, error) = (i64::try_from(micros).unwrap(), elapsed(began));
    exact - error..=exact + error
}

fn elapsed(began: Instant) -> i64 {
    i64::try_from(began.elapsed().as_micros()).unwrap()
}
