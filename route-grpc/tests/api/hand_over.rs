//! What happens to PDUs, presence and answers when streams, nodes and gateways go.

use std::time::Duration;

use route_grpc::settings::NotifyOnLoss;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    AttachHello, Delivery, DeliveryRun, DesktopLoginNotice, LinkId, Returned, RoleReport,
    SessionTable, SessionUpdate, StatusNotice, Uplink, UplinkEntry, delivery,
};
use route_proto::v1::{GetUserStatusRequest, PresenceStatus};
use tonic::Code;

use crate::attach::reason;
use crate::played::{
    Delivered, Played, caught_up, chat, claimed_and_listed, hello, incarnation, list, numbered,
    opened,
};
use crate::site::{Site, soon};

/// Promise 5: a broken stream between hand-out and take-over.
#[tokio::test]
async fn what_was_handed_out_and_not_taken_is_handed_out_again_in_order() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;
    let b_incarnation = b.incarnation;

    b.takes_nothing();
    let first = a.route(1, chat(1, 2, b"one")).await;
    assert_eq!(b.delivery().await.sequence, first);
    drop(b);
    a.route(1, chat(1, 2, b"two")).await;

    let again = hello("b", b_incarnation, 2);
    let mut b = Played::attach_as(&site, again).await.unwrap();
    let sequences: Vec<_> = b.deliveries(2).await.iter().map(|d| d.sequence).collect();
    assert_eq!(sequences, [first, first + 1]);
    a.confirmed(1).await;
}

/// The gateway knows better than the node what it has taken.
#[tokio::test]
async fn what_a_gateway_says_it_has_taken_does_not_come_again() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;

    b.takes_nothing();
    a.route(1, chat(1, 2, b"one")).await;
    b.delivery().await;
    let again = AttachHello {
        epoch: b.welcome.epoch,
        taken: b.number,
        ..hello("b", b.incarnation, 2)
    };
    drop(b);
    let second = a.route(1, chat(1, 2, b"two")).await;

    let mut b = Played::attach_as(&site, again).await.unwrap();
    assert_eq!(b.delivery().await.sequence, second);
    a.confirmed(1).await;
}

/// Promise 5: what only the node holds dies with it.
#[tokio::test]
async fn nothing_is_confirmed_before_its_targets_have_taken_it() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;

    b.takes_nothing();
    let sequence = a.route(1, chat(1, 2, b"x")).await;
    b.delivery().await;
    // This gateway's own query is answered, so the node has applied what came before it.
    let asked = a.ask(1, &[2]).await;
    assert_eq!(a.answer().await.sequence, asked);
    assert!(a.confirmed_so_far(1) < sequence);

    b.send(Uplink {
        taken: b.number,
        ..Uplink::default()
    })
    .await;
    a.confirmed(1).await;
}

/// Promises 5 and 6: a new node, before which there was another one.
#[tokio::test]
async fn a_new_node_waits_for_every_gateway_and_answers_last() {
    let site = cold_site(Duration::from_secs(60)).await;
    let [a_life, b_life] = [incarnation(), incarnation()];

    // given: link 1 of a has a table; 7 has logged in on b, and that is not confirmed
    let mut a = Played::attach_as(&site, with_roster("a", a_life))
        .await
        .unwrap();
    assert!(a.welcome.roster.is_empty(), "it may not know them all");
    let mut entries = replayed(a_life, 1, 5, &[1]);
    entries.push(numbered(1, 6, Entry::Envelope(chat(1, 2, b"sent before"))));
    entries.push(numbered(
        1,
        7,
        Entry::Query(route_proto::attach::v1::StatusQuery {
            user_ids: vec![7, 8],
            traceparent: String::new(),
        }),
    ));
    a.send(caught_up(entries)).await;
    let mut presence = site.presence().await;
    let request = GetUserStatusRequest {
        user_id: 7,
        ..GetUserStatusRequest::default()
    };
    let refused = soon("an answer", presence.get_user_status(request)).await;
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::Unavailable, "NOT_SYNCED")
    );

    // when
    let mut b = Played::attach_as(&site, with_roster("b", b_life))
        .await
        .unwrap();
    let mut entries = replayed(b_life, 1, 3, &[2]);
    entries.push(numbered(
        1,
        4,
        Entry::Update(SessionUpdate {
            user_id: 7,
            client_type: 1,
            status: 1,
        }),
    ));
    b.send(caught_up(entries)).await;

    // then: once, with the ids it had, and the answer knows of the login
    let delivered = b.deliveries(3).await;
    assert_eq!(delivered[0].sequence, 6, "a came first");
    assert_eq!(delivered[0].pdu(), &chat(1, 2, b"sent before").pdu);
    let answer = a.answer().await;
    assert_eq!((answer.sequence, &answer.statuses[..]), (7, &[1, 2][..]));
    a.until(|a| a.confirmed_so_far(1) == 7).await;
    assert_eq!(site.user(7).await.sessions.len(), 1);
}

/// Promise 4: what was read before the claim goes to the connection that claims, and to no other.
#[tokio::test]
async fn a_claim_that_a_new_node_holds_is_known_before_anything_is_routed() {
    let site = cold_site(Duration::from_secs(60)).await;
    let [a_life, b_life, c_life] = [(); 3].map(|()| incarnation());
    let attach = |id, life| Played::attach_as(&site, with_roster(id, life));
    let a = attach("a", a_life).await.unwrap();
    let mut b = attach("b", b_life).await.unwrap();
    let c = attach("c", c_life).await.unwrap();
    let unclaimed = |mut entries: Vec<UplinkEntry>| {
        if let Some(Entry::Opened(opened)) = &mut entries[0].entry {
            opened.restored.as_mut().unwrap().claimed = false;
        }
        entries
    };

    // given: link 1 of b and link 1 of c are connections of one MsgServer
    let mut entries = replayed(a_life, 1, 5, &[1]);
    entries.push(numbered(1, 6, Entry::Envelope(chat(1, 2, b"read before"))));
    a.send(caught_up(entries)).await;
    c.send(caught_up(unclaimed(replayed(b_life, 1, 3, &[2]))))
        .await;
    let mut entries = unclaimed(replayed(b_life, 1, 3, &[2]));
    entries.push(numbered(1, 4, Entry::Role(RoleReport { claimed: true })));
    b.send(caught_up(entries)).await;

    assert_eq!(b.delivery().await.pdu(), &chat(1, 2, b"read before").pdu);
    site.shows("teamtalk_route_deliveries_total 1").await;
}

/// Promise 6: nobody knows what a lost node had told of what was unconfirmed. So the next one tells, once, how things are.
#[tokio::test]
async fn a_new_node_tells_once_how_the_users_are_whose_changes_were_unconfirmed() {
    let site = cold_site(Duration::from_secs(60)).await;
    let [a_life, b_life] = [incarnation(), incarnation()];
    let mut a = Played::attach_as(&site, with_roster("a", a_life))
        .await
        .unwrap();
    let b = Played::attach_as(&site, with_roster("b", b_life))
        .await
        .unwrap();

    // given: 6 and 7 are at a; 7 has come to b and is away there, 8 has come to b and gone.
    a.send(caught_up(replayed(a_life, 1, 5, &[6, 7]))).await;
    let mut entries = replayed(b_life, 1, 3, &[]);
    let reports = [(7, 1), (8, 1), (7, 3), (8, 2)];
    entries.extend((4..).zip(reports).map(|(sequence, (user_id, status))| {
        let update = SessionUpdate {
            user_id,
            client_type: 1,
            status,
        };
        numbered(1, sequence, Entry::Update(update))
    }));
    // when
    b.send(caught_up(entries)).await;

    // then: 7 and 8, each once, and it is nobody's entry that causes it
    let delivered = a.deliveries(3).await;
    let of_node = |delivered: &Delivered| (delivered.origin, delivered.index);
    assert_eq!(
        delivered.iter().map(of_node).collect::<Vec<_>>(),
        [(0, 0), (0, 1), (0, 0)]
    );
    let payloads: Vec<_> = delivered.into_iter().map(|it| it.payload).collect();
    assert_eq!(payloads, [login(7, true), status(7, 1), status(8, 2)]);
}

/// Promise 6: a notice that comes back late may be older than what was told since. Whoever goes on for its link's
/// MsgServer is told how things are instead; nobody else has missed anything.
#[tokio::test]
async fn a_notice_of_an_earlier_node_that_comes_back_is_told_as_things_are() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;
    let mut c = Played::attach(&site, "c").await;
    a.open_with(1, &[1]).await;
    a.open_with(2, &[2]).await;
    b.open_with(1, &[3]).await;
    c.open_sibling(1, (b.incarnation, 1), &[3]).await;
    b.close(1).await;

    let returned = b.entry(1, Entry::Returned(notice_of_an_earlier_node(2)));
    b.send_entries(vec![returned]).await;

    assert_eq!(c.delivery().await.payload, status(2, 1));
    a.route(2, chat(2, 1, b"after it")).await;
    assert_eq!(a.delivery().await.pdu(), &chat(2, 1, b"after it").pdu);
}

/// A MsgServer that reads slowly and goes away has missed a lot; no other one hears of it.
#[tokio::test]
async fn a_notice_of_an_earlier_node_to_a_msg_server_that_is_gone_is_told_to_nobody() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;
    a.open_with(1, &[1]).await;
    a.open_with(2, &[2]).await;
    b.open_with(1, &[3]).await;
    b.close(1).await;

    let returned = b.entry(1, Entry::Returned(notice_of_an_earlier_node(2)));
    b.send_entries(vec![returned]).await;

    b.confirmed(1).await;
    a.route(2, chat(2, 1, b"after it")).await;
    assert_eq!(a.delivery().await.pdu(), &chat(2, 1, b"after it").pdu);
}

/// It says that this user is offline, and could not be written.
fn notice_of_an_earlier_node(user: u32) -> Returned {
    let earlier = Delivery {
        sequence: 9,
        payload: Some(status(user, 2)),
        ..Delivery::default()
    };
    let run = DeliveryRun {
        origin: Some(LinkId {
            gateway: incarnation(),
            number: 1,
        }),
        position: 1,
        deliveries: vec![earlier],
        ..DeliveryRun::default()
    };
    Returned {
        runs: vec![run],
        last: true,
        ..Returned::default()
    }
}

/// Promise 5: what a closed link gives back is judged by where it was routed, by whichever node.
#[tokio::test]
async fn a_node_whose_clock_is_behind_goes_on_where_its_predecessor_was() {
    let site = Site::start().await;
    let before = u64::MAX / 4;
    let mut a = Played::attach_as(
        &site,
        AttachHello {
            position: before,
            ..hello("a", incarnation(), 1)
        },
    )
    .await
    .unwrap();
    let mut b = Played::attach(&site, "b").await;
    a.open_with(1, &[1]).await;
    b.open_with(1, &[2]).await;

    a.route(1, chat(1, 2, b"x")).await;

    assert!(b.delivery().await.position > before);
}

#[tokio::test]
async fn a_new_node_does_not_wait_for_ever() {
    let site = cold_site(Duration::from_millis(50)).await;
    let hello = AttachHello {
        roster: vec!["gone".to_owned()],
        ..hello("a", incarnation(), 1)
    };

    let mut a = Played::attach_as(&site, hello).await.unwrap();
    a.open_with(1, &[1]).await;

    a.until(|a| a.roster == ["a"]).await;
    assert_eq!(site.user(1).await.sessions.len(), 1);
}

/// A stream that breaks while a table is on its way.
#[tokio::test]
async fn half_a_table_is_nobody_s_presence_and_nobody_s_absence() {
    let site = Site::start().await;
    let life = incarnation();
    let a = Played::attach_as(&site, hello("a", life, 1)).await.unwrap();
    let mut half = replayed(life, 1, 5, &[1]);
    let Some(Entry::Table(table)) = &mut half[1].entry else {
        panic!("a table follows");
    };
    table.last = false;
    a.send_entries(half).await;
    drop(a);

    let mut a = Played::attach_as(&site, hello("a", life, 2)).await.unwrap();
    assert_eq!(a.welcome.applied, []);
    let mut entries = replayed(life, 1, 5, &[1]);
    entries.push(numbered(1, 6, list(&[])));
    a.send_entries(entries).await;
    a.until(|a| a.confirmed_so_far(1) == 6).await;
    assert_eq!(site.user(1).await.sessions[0].login_count, 1);
}

/// Promise 5: what a lost gateway has not taken goes to the next link of its MsgServer.
#[tokio::test]
async fn what_a_lost_gateway_was_never_handed_goes_to_who_stands_in() {
    let site = Site::with(|it| it.detach_grace = Duration::from_secs(1)).await;
    let mut a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;
    let mut c = Played::attach(&site, "c").await;
    a.open_with(1, &[1]).await;
    b.open_with(1, &[2]).await;
    c.open_sibling(1, (b.incarnation, 1), &[2]).await;

    // Whether it was written nobody knows: it does not go anywhere else.
    b.takes_nothing();
    a.route(1, chat(1, 2, b"handed out")).await;
    b.delivery().await;
    drop(b);
    site.shows("teamtalk_route_gateways_detached 1").await;
    a.route(1, chat(1, 2, b"held")).await;
    a.until(|a| a.roster == ["a", "c"]).await;

    let delivered = c.delivery().await;
    assert_eq!(delivered.pdu(), &chat(1, 2, b"held").pdu);
    a.confirmed(1).await;
}

/// A gateway that is cut off: what is routed after a second or two is not lost with it.
#[tokio::test]
async fn a_silent_gateway_is_handed_nothing_that_could_go_elsewhere() {
    let site = Site::with(|it| {
        it.detach_grace = Duration::from_secs(1);
        it.gateway_silence = Duration::from_secs(1);
    })
    .await;
    let [mut a, mut b] = Played::two(&site).await;
    let mut c = Played::attach(&site, "c").await;
    c.open_sibling(1, (b.incarnation, 1), &[2]).await;

    b.takes_nothing();
    a.route(1, chat(1, 2, b"handed out")).await;
    b.delivery().await;
    site.shows("teamtalk_route_gateways_silent 1").await;
    a.route(1, chat(1, 2, b"held")).await;
    a.ask(1, &[2]).await;
    a.answer().await;
    drop(b);

    let delivered = c.delivery().await;
    assert_eq!(delivered.pdu(), &chat(1, 2, b"held").pdu);
    a.confirmed(1).await;
    site.shows("teamtalk_route_gateways_given_up_total 1").await;
    site.shows("teamtalk_route_gateways_dropped_total 0").await;
}

/// A process that is gone gives nothing back, and need not be waited for until its grace is over.
#[tokio::test]
async fn a_gateway_that_has_hung_up_holds_up_its_msgservers_other_connections_for_a_moment_only() {
    let site = Site::with(|it| {
        it.detach_grace = Duration::from_secs(3600);
        it.departed_wait = Duration::from_millis(100);
    })
    .await;
    let mut a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;
    let mut c = Played::attach(&site, "c").await;
    a.open_with(1, &[1]).await;
    b.open_with(1, &[2]).await;
    b.open_with(2, &[3]).await;
    c.open_sibling(1, (b.incarnation, 1), &[2]).await;

    drop(b);
    site.shows("teamtalk_route_gateways_detached 1").await;
    a.route(1, chat(1, 2, b"held")).await;
    a.route(1, chat(1, 3, b"for one who may be back")).await;
    let claim = c.entry(1, Entry::Role(RoleReport { claimed: true }));
    c.send_entries(vec![claim]).await;
    c.confirmed(1).await;
    a.route(1, chat(1, 2, b"newer")).await;

    let delivered = c.deliveries(2).await;
    assert_eq!(delivered[0].pdu(), &chat(1, 2, b"held").pdu);
    assert_eq!(delivered[1].pdu(), &chat(1, 2, b"newer").pdu);
    assert_eq!(site.user(3).await.status(), PresenceStatus::Online);
}

#[tokio::test]
async fn the_end_of_a_link_is_said_after_everything_that_was_meant_for_it() {
    let site = Site::start().await;
    let [mut a, mut b] = Played::two(&site).await;
    a.route(1, chat(1, 2, b"x")).await;
    a.confirmed(1).await;

    b.close(1).await;
    b.until(|b| b.ended == [1]).await;

    b.delivery().await;
}

#[tokio::test]
async fn msgservers_are_told_of_users_that_vanish_if_that_is_wanted() {
    let site = Site::with(|it| it.notify_on_loss = NotifyOnLoss::All).await;
    let mut a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;
    a.open_with(1, &[1, 2]).await;
    b.open_with(1, &[2]).await;

    a.close(1).await;

    let delivered = b.delivery().await;
    let status = delivery::Payload::Status(StatusNotice {
        user_id: 1,
        status: 2,
    });
    assert_eq!(delivered.payload, status);
    a.got_nothing_after(1).await;
    b.got_nothing_after(1).await;
}

/// Nothing is routed by a node that goes, and nobody is kept waiting by it.
#[tokio::test]
async fn a_draining_node_ends_all_streams_at_once_and_itself_without_a_window() {
    let site = Site::with(|it| it.drain_window = Duration::from_secs(3600)).await;
    let mut a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;

    site.shutdown.begin();

    for gateway in [&mut a, &mut b] {
        let status = gateway.end().await.unwrap();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(reason(&status), "DRAINING");
    }
    soon("the server's end", site.server)
        .await
        .unwrap()
        .unwrap();
    assert!(soon("all tasks", site.shutdown.finish()).await);
}

async fn cold_site(cold_start_wait: Duration) -> Site {
    Site::with(|it| it.cold_start_wait = cold_start_wait).await
}

/// One of two gateways, `a` and `b`, that have had a node before.
fn with_roster(id: &str, incarnation: u64) -> AttachHello {
    AttachHello {
        roster: vec!["a".to_owned(), "b".to_owned()],
        ..hello(id, incarnation, 2)
    }
}

fn login(user_id: u32, logged_in: bool) -> delivery::Payload {
    delivery::Payload::DesktopLogin(DesktopLoginNotice { user_id, logged_in })
}

fn status(user_id: u32, status: i32) -> delivery::Payload {
    delivery::Payload::Status(StatusNotice { user_id, status })
}

/// A claimed link with its table as of a cut.
fn replayed(incarnation: u64, link: u64, cut: u64, users: &[u32]) -> Vec<UplinkEntry> {
    let mut opened = opened(incarnation, link);
    if let Entry::Opened(opened) = &mut opened {
        opened.restored = Some(claimed_and_listed());
    }
    let table = Entry::Table(SessionTable {
        user_ids: users.to_vec(),
        client_types: vec![1; users.len()],
        states: vec![1; users.len()],
        logins: vec![1; users.len()],
        last: true,
    });
    let at_the_cut = |entry| numbered(link, cut, entry);
    vec![at_the_cut(opened), at_the_cut(table)]
}
