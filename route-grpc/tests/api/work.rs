//! What is done while the lock is held, in steps, by which no machine is judged: never more than is
//! enough at a time, and in all as much as what was sent. Promise 8.

use std::time::Duration;

use route_grpc::node::load::{self, Load};
use route_proto::admin::v1alpha1::{ListLinksRequest, WatchTopologyRequest};
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{LinkOpened, RoleReport, SessionTable, UplinkEntry};
use route_proto::v1::WatchUserStatusRequest;

use crate::played::{
    Played, caught_up, chat, claimed_and_listed, hello, incarnation, kick, list, numbered, opened,
};
use crate::site::{Site, soon};

/// Steps that are enough at a time, and those of the last thing that is done then.
pub(crate) const ENOUGH: u64 = 16_384 + 4_096;

/// So many users are more than may be looked at in one go.
const MANY: u32 = 50_000;

impl Site {
    pub(crate) fn longest_hold(&self) -> u64 {
        Load::of(&self.node).longest_hold
    }

    fn users(&self) -> usize {
        Load::of(&self.node).core.users
    }

    async fn has_users(&self, count: u32) {
        let has = async {
            while self.users() != count as usize {
                tokio::task::yield_now().await;
            }
        };
        soon("users", has).await;
    }
}

#[tokio::test]
async fn a_long_list_and_its_end_are_done_in_pieces() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    let users: Vec<u32> = (0..MANY).collect();

    // One message: all users, and a question that sees the last one.
    let entries = vec![
        a.entry(1, opened(a.incarnation, 1)),
        a.entry(1, list(&users)),
    ];
    a.send_entries(entries).await;
    a.ask(1, &[0, MANY - 1, MANY]).await;
    assert_eq!(a.answer().await.statuses[..], [1, 1, 2]);
    a.confirmed(1).await;
    assert!(site.longest_hold() <= ENOUGH, "{}", site.longest_hold());

    a.close(1).await;
    site.has_users(0).await;
    assert!(site.longest_hold() <= ENOUGH, "{}", site.longest_hold());
}

/// A MsgServer claims its other connection: its users follow, and what it asks then sees all of them.
#[tokio::test]
async fn many_users_follow_to_another_link_in_pieces() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;
    let users: Vec<u32> = (0..MANY).collect();
    a.open_with(1, &users).await;
    let others: Vec<u32> = (1..MANY + 1).collect();
    let entries = vec![
        b.entry(1, opened(a.incarnation, 1)),
        b.entry(1, list(&others)),
    ];
    b.send_entries(entries).await;
    b.confirmed(1).await;

    b.tell(1, Entry::Role(RoleReport { claimed: true })).await;
    b.ask(1, &[0, 1, MANY - 1, MANY]).await;

    assert_eq!(b.answer().await.statuses[..], [2, 1, 1, 1]);
    a.close(1).await;
    site.has_users(MANY).await;
    for user in [1, MANY / 2, MANY] {
        let sessions = site.user(user).await.sessions;
        let links: Vec<_> = sessions.iter().map(|it| it.link.as_str()).collect();
        assert_eq!(links, [format!("{:x}-1", b.incarnation)], "{user}");
    }
    assert!(site.longest_hold() <= ENOUGH, "{}", site.longest_hold());
}

#[tokio::test]
async fn a_long_question_is_answered_in_pieces_and_in_its_place() {
    let (site, mut a) = Played::one(&[1]).await;
    let users: Vec<u32> = (0..MANY).collect();

    let first = a.ask(1, &users).await;
    let second = a.ask(1, &[1]).await;

    let answer = a.answer().await;
    assert_eq!(
        (answer.sequence, answer.statuses.len()),
        (first, MANY as usize)
    );
    assert_eq!((answer.statuses[0], answer.statuses[1]), (2, 1));
    assert_eq!(a.answer().await.sequence, second);
    assert!(site.longest_hold() <= ENOUGH, "{}", site.longest_hold());
}

/// The gateway is gone before its list is applied: what was confirmed, or will be, is there all the
/// same.
#[tokio::test]
async fn what_has_begun_is_finished_without_its_stream() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    let users: Vec<u32> = (0..MANY).collect();
    let entries = vec![
        a.entry(1, opened(a.incarnation, 1)),
        a.entry(1, list(&users)),
    ];
    a.send_entries(entries).await;
    let begun = async {
        while site.users() == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("its beginning", begun).await;

    let again = hello("a", a.incarnation, 2);
    drop(a);

    site.has_users(MANY).await;
    let a = Played::attach_as(&site, again).await.unwrap();
    let applied = a.welcome.applied.iter().map(|it| (it.link, it.sequence));
    assert_eq!(applied.collect::<Vec<_>>(), [(1, 2)]);
}

/// A new node gets tables, and what was not confirmed, and answers last.
#[tokio::test]
async fn a_cold_start_ends_in_pieces() {
    let site = Site::with(|settings| {
        settings.cold_start_wait = Duration::from_secs(20);
    })
    .await;
    let incarnation = incarnation();
    let hello = route_proto::attach::v1::AttachHello {
        roster: vec!["a".to_owned()],
        ..hello("a", incarnation, 1)
    };
    let mut a = Played::attach_as(&site, hello).await.unwrap();
    let mut sequence = 7;
    let mut entries = restored(incarnation, 1, sequence, MANY);
    for user in 0..MANY / 10 {
        sequence += 1;
        let update = route_proto::attach::v1::SessionUpdate {
            user_id: user,
            client_type: 1,
            status: 2,
        };
        entries.push(numbered(1, sequence, Entry::Update(update)));
    }
    sequence += 1;
    entries.push(numbered(
        1,
        sequence,
        list(&(MANY..2 * MANY).collect::<Vec<_>>()),
    ));
    sequence += 1;
    let query = route_proto::attach::v1::StatusQuery {
        user_ids: vec![1, MANY - 1, 2 * MANY - 1, 2 * MANY],
        ..Default::default()
    };
    entries.push(numbered(1, sequence, Entry::Query(query)));

    a.send(caught_up(entries)).await;

    assert_eq!(a.answer().await.statuses[..], [2, 1, 1, 2]);
    site.has_users(2 * MANY - MANY / 10).await;
    assert!(site.longest_hold() <= ENOUGH, "{}", site.longest_hold());
}

fn restored(incarnation: u64, link: u64, sequence: u64, users: u32) -> Vec<UplinkEntry> {
    let Entry::Opened(opened) = opened(incarnation, link) else {
        unreachable!("it is one");
    };
    let opened = LinkOpened {
        restored: Some(claimed_and_listed()),
        ..opened
    };
    let table = SessionTable {
        user_ids: (0..users).collect(),
        client_types: vec![1; users as usize],
        states: vec![1; users as usize],
        logins: vec![1; users as usize],
        last: true,
    };
    vec![
        numbered(link, sequence, Entry::Opened(opened)),
        numbered(link, sequence, Entry::Table(table)),
    ]
}

/// What waits for a gateway that is lost goes to its MsgServer's other connection, in order.
#[tokio::test]
async fn the_queue_of_a_lost_gateway_is_taken_back_in_pieces() {
    const MESSAGES: usize = 20_000;
    let site = Site::with(|settings| settings.detach_grace = Duration::from_millis(1)).await;
    let mut sender = Played::attach(&site, "sender").await;
    sender.open_with(1, &[1]).await;
    let [mut lost, mut heir] = [
        Played::attach(&site, "lost").await,
        Played::attach(&site, "heir").await,
    ];
    lost.open_with(1, &[2]).await;
    // The same MsgServer, by its address.
    let opened = opened(lost.incarnation, 1);
    let entries = vec![heir.entry(1, opened), heir.entry(1, list(&[2]))];
    heir.send_entries(entries).await;
    heir.confirmed(1).await;
    lost.takes_nothing();
    sender.route(1, chat(1, 2, b"handed out")).await;
    lost.delivery().await;
    // From then on nothing more is handed out.
    site.shows("teamtalk_route_gateways_silent 1").await;
    let entries = (0..MESSAGES).map(|_| sender.entry(1, Entry::Envelope(chat(1, 2, b"x"))));
    let entries = entries.collect();
    sender.send_entries(entries).await;
    sender.ask(1, &[1]).await;
    sender.answer().await;

    drop(lost);

    let got = heir.deliveries(MESSAGES).await;
    let sequences: Vec<_> = got.iter().map(|it| it.sequence).collect();
    assert!(sequences.is_sorted());
    assert!(site.longest_hold() <= ENOUGH, "{}", site.longest_hold());
}

/// Snapshots, watches, messages to all, and the end: as much work as there are users, links, gateways
/// and watchers, and no more.
#[tokio::test]
async fn what_services_and_operators_do_is_linear() {
    let mut costs: Vec<Vec<u64>> = Vec::new();
    for size in [1u32, 10, 100] {
        let site = Site::with(|settings| settings.max_gateways = 100).await;
        let mut gateways = Vec::new();
        for number in 0..size {
            let mut gateway = Played::attach(&site, &format!("g{number}")).await;
            let users: Vec<u32> = (number * 10..number * 10 + 10).collect();
            gateway.open_with(1, &users).await;
            gateways.push(gateway);
        }
        let mut of_size = Vec::new();
        let before = load::work(&site.node);
        for number in 0..size {
            let mut presence = site.presence().await;
            let request = WatchUserStatusRequest {
                user_ids: vec![number * 10 + 1],
                ..WatchUserStatusRequest::default()
            };
            let mut watch = presence
                .watch_user_status(request)
                .await
                .unwrap()
                .into_inner();
            soon("its beginning", watch.message()).await.unwrap();
        }
        of_size.push(load::work(&site.node) - before);
        let before = load::work(&site.node);
        gateways[0].route(1, kick(b"all")).await;
        for gateway in gateways.iter_mut().skip(1) {
            gateway.delivery().await;
        }
        of_size.push(load::work(&site.node) - before);
        let before = load::work(&site.node);
        site.shutdown.begin();
        for gateway in &mut gateways {
            gateway.end().await;
        }
        of_size.push(load::work(&site.node) - before);
        costs.push(of_size);
    }
    let [few, some, many]: [Vec<u64>; 3] = costs.try_into().unwrap();
    for ((few, some), many) in few.iter().zip(&some).zip(&many) {
        // Ten times as much of everything.
        assert!(*many <= 15 * some, "{few}, {some}, {many}");
    }
}

/// Ten thousand links: pages of them, of one MsgServer, and a screen.
#[tokio::test]
async fn links_are_listed_in_pieces() {
    const LINKS: u64 = 10_000;
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    let open = |peer: u64, number| {
        let peer = format!("10.{}.{}.{}:1", peer >> 16, peer >> 8 & 255, peer & 255);
        let opened = LinkOpened {
            peer,
            ..LinkOpened::default()
        };
        numbered(number, 1, Entry::Opened(opened))
    };
    for first in (1..=LINKS).step_by(1000) {
        let entries = (first..first + 1000).map(|number| open(number, number));
        a.send_entries(entries.collect()).await;
    }
    a.until(|a| a.confirmed_so_far(LINKS) == 1).await;
    let mut admin = site.admin().await;

    for (msg_server, expected) in [("", LINKS), ("10.0.0.9", 1), ("nobody", 0)] {
        let (mut found, mut pages) = (0, 0);
        let mut asked = ListLinksRequest {
            msg_server: msg_server.to_owned(),
            page_size: 1000,
            ..ListLinksRequest::default()
        };
        loop {
            let page = admin.list_links(asked.clone()).await.unwrap().into_inner();
            (found, pages) = (found + page.links.len() as u64, pages + 1);
            asked.page_token = page.next_page_token;
            if asked.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, expected, "{msg_server}");
        assert!(pages <= 11, "{pages} pages of {msg_server}");
    }
    let request = WatchTopologyRequest::default();
    let mut states = admin.watch_topology(request).await.unwrap().into_inner();
    let state = soon("a state", states.message()).await.unwrap().unwrap();
    assert_eq!(
        (state.links.len(), state.stats.unwrap().link_count),
        (1000, 10_000)
    );
    assert!(site.longest_hold() <= ENOUGH, "{}", site.longest_hold());
}
