//! Gateways that an operator drains.

use std::time::Duration;

use prost_types::Duration as WireDuration;
use route_proto::admin::v1alpha1::{
    DrainGatewayRequest, DrainGatewayResponse, DrainState, GetLinkRequest, LinkPart,
    ListGatewaysRequest,
};
use route_proto::attach::v1::RoleReport;
use route_proto::attach::v1::uplink_entry::Entry;
use tonic::{Code, Status, Streaming};

use crate::attach::reason;
use crate::played::{Played, caught_up, hello, incarnation};
use crate::site::{Site, soon};

fn request(gateway: &str) -> DrainGatewayRequest {
    DrainGatewayRequest {
        gateway_id: gateway.to_owned(),
        slot: WireDuration::try_from(Duration::from_millis(10)).ok(),
        undo: false,
    }
}

async fn drain(
    site: &Site,
    request: DrainGatewayRequest,
) -> Result<Streaming<DrainGatewayResponse>, Status> {
    let answer = soon("an answer", site.admin().await.drain_gateway(request)).await;
    answer.map(tonic::Response::into_inner)
}

/// The next message, which is not the last one.
async fn next(progress: &mut Streaming<DrainGatewayResponse>) -> DrainGatewayResponse {
    let message = soon("progress", progress.message()).await;
    message.unwrap().expect("the drain goes on")
}

/// Everything up to the end.
async fn all(mut progress: Streaming<DrainGatewayResponse>) -> Vec<DrainGatewayResponse> {
    let mut all = Vec::new();
    while let Some(message) = soon("progress", progress.message()).await.unwrap() {
        all.push(message);
    }
    all
}

fn id(gateway: &Played, number: u64) -> String {
    format!("{:x}-{number}", gateway.incarnation)
}

/// Two gateways. The first has claimed links of two MsgServers, the second their other ones.
async fn two_with_two() -> (Site, [Played; 2]) {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    let mut b = Played::attach(&site, "b").await;
    for (link, users) in [(1, [11, 12]), (2, [21, 22])] {
        a.open_with(link, &users).await;
        b.open_sibling(link, (a.incarnation, link), &users).await;
    }
    a.asked_to_close = Some(Vec::new());
    (site, [a, b])
}

/// Its MsgServer claims this link, and the node knows.
async fn claim(site: &Site, gateway: &mut Played, link: u64) {
    let claim = Entry::Role(RoleReport { claimed: true });
    gateway.tell(link, claim).await;
    let get = GetLinkRequest {
        link: id(gateway, link),
        ..GetLinkRequest::default()
    };
    let mut admin = site.admin().await;
    let stands = async {
        loop {
            let answer = admin.get_link(get.clone()).await.unwrap().into_inner();
            if answer.link.unwrap().part() == LinkPart::Active {
                return;
            }
        }
    };
    soon("it stands", stands).await;
}

#[tokio::test]
async fn msg_servers_are_moved_one_after_the_other_and_each_move_is_told() {
    let (site, [mut a, mut b]) = two_with_two().await;

    let mut progress = drain(&site, request("a")).await.unwrap();
    let first = next(&mut progress).await;
    assert_eq!((first.state(), first.link_count), (DrainState::Moving, 2));
    a.until(|a| a.draining == Some(true)).await;
    a.until(|a| a.asked_to_close.as_deref() == Some(&[1])).await;
    a.close(1).await;
    // The second one is not asked for before another link stands for the first MsgServer.
    a.until(|a| a.ended == [1]).await;
    // An answer comes behind everything that was asked before.
    a.ask(2, &[21]).await;
    a.answer().await;
    assert_eq!(a.asked_to_close.as_deref(), Some(&[1][..]));
    claim(&site, &mut b, 1).await;
    a.until(|a| a.asked_to_close.as_deref() == Some(&[1, 2]))
        .await;
    // This one claims before its first link has closed.
    claim(&site, &mut b, 2).await;
    a.close(2).await;

    let rest = all(progress).await;
    let last = rest.last().unwrap();
    assert_eq!(
        (last.state(), last.link_count, last.moved_count),
        (DrainState::Done, 0, 2)
    );
    let moved: Vec<_> = rest.iter().flat_map(|it| &it.moved).collect();
    for (number, moved) in (1..).zip(&moved) {
        assert_eq!(
            (&moved.link, &moved.to_link),
            (&id(&a, number), &id(&b, number))
        );
        assert_eq!(moved.to_gateway_id, "b");
    }
    let without = Duration::try_from(moved[1].gap_duration.unwrap()).unwrap();
    assert_eq!((moved.len(), without), (2, Duration::ZERO));
}

#[tokio::test]
async fn whoever_goes_away_does_not_stop_it_and_another_caller_follows_it() {
    let (site, [mut a, mut b]) = two_with_two().await;
    drop(drain(&site, request("a")).await.unwrap());

    a.until(|a| a.asked_to_close.as_deref() == Some(&[1])).await;
    a.close(1).await;
    claim(&site, &mut b, 1).await;
    a.until(|a| a.asked_to_close.as_deref() == Some(&[1, 2]))
        .await;
    let progress = drain(&site, request("a")).await.unwrap();
    a.close(2).await;
    claim(&site, &mut b, 2).await;

    let all = all(progress).await;
    let moved: Vec<_> = all.iter().flat_map(|it| &it.moved).collect();
    assert_eq!(moved.len(), 2, "what was before is told, too: {all:?}");
    assert_eq!(all.last().unwrap().state(), DrainState::Done);
}

#[tokio::test]
async fn a_shadow_at_the_same_gateway_is_closed_before_the_link_that_stands_for_it() {
    let (site, [mut a, mut b]) = two_with_two().await;
    a.open_sibling(3, (a.incarnation, 1), &[11, 12]).await;
    let progress = drain(&site, request("a")).await.unwrap();

    a.until(|a| a.asked_to_close.as_deref() == Some(&[3])).await;
    a.close(3).await;
    a.until(|a| a.asked_to_close.as_deref() == Some(&[3, 1]))
        .await;
    a.close(1).await;
    claim(&site, &mut b, 1).await;
    a.until(|a| a.asked_to_close.as_deref() == Some(&[3, 1, 2]))
        .await;
    a.close(2).await;
    claim(&site, &mut b, 2).await;

    let all = all(progress).await;
    let moved = all.iter().flat_map(|it| &it.moved);
    let links: Vec<_> = moved.map(|it| it.link.clone()).collect();
    assert_eq!(links, [id(&a, 1), id(&a, 2)], "one row for each MsgServer");
}

/// The links that its MsgServers have claimed are elsewhere: nobody waits.
#[tokio::test]
async fn links_that_nobody_has_claimed_go_without_a_gap() {
    let (site, [a, mut b]) = two_with_two().await;
    b.asked_to_close = Some(Vec::new());
    let progress = drain(&site, request("b")).await.unwrap();

    for number in 1..=2 {
        b.until(|b| {
            b.asked_to_close
                .as_ref()
                .is_some_and(|it| it.contains(&number))
        })
        .await;
        b.close(number).await;
    }

    let all = all(progress).await;
    let moved: Vec<_> = all.iter().flat_map(|it| &it.moved).collect();
    for (number, moved) in (1..).zip(&moved) {
        assert_eq!(
            (&moved.link, &moved.to_link),
            (&id(&b, number), &id(&a, number))
        );
        assert_eq!(moved.gap_duration, Some(WireDuration::default()));
    }
}

#[tokio::test]
async fn a_drain_that_is_undone_ends_and_the_gateway_is_told() {
    let (site, [mut a, _b]) = two_with_two().await;
    let mut progress = drain(&site, request("a")).await.unwrap();
    next(&mut progress).await;
    a.until(|a| a.asked_to_close.as_deref() == Some(&[1])).await;

    let undo = DrainGatewayRequest {
        undo: true,
        ..request("a")
    };
    let undone = all(drain(&site, undo).await.unwrap()).await;

    assert_eq!(undone[0].state(), DrainState::Undone);
    assert_eq!(
        all(progress).await.last().unwrap().state(),
        DrainState::Undone
    );
    a.until(|a| a.draining == Some(false)).await;
    a.close(1).await;
    a.until(|a| a.ended == [1]).await;
    assert_eq!(a.asked_to_close.as_deref(), Some(&[1][..]));
}

#[tokio::test]
async fn a_gateway_that_comes_back_is_told_again_and_its_next_life_is_not_drained() {
    let (site, [mut a, _b]) = two_with_two().await;
    let incarnation = a.incarnation;
    let mut progress = drain(&site, request("a")).await.unwrap();
    a.until(|a| a.draining == Some(true)).await;
    let shown = async || {
        let mut admin = site.admin().await;
        let list = admin.list_gateways(ListGatewaysRequest {}).await;
        list.unwrap().into_inner().gateways[0].is_draining
    };
    assert!(shown().await);
    drop(a);

    let again = Played::attach_as(&site, hello("a", incarnation, 2))
        .await
        .unwrap();
    assert!(again.welcome.draining);
    drop(again);
    let next_life = Played::attach(&site, "a").await;

    assert!(!next_life.welcome.draining && !shown().await);
    loop {
        let message = next(&mut progress).await;
        if message.state() == DrainState::Gone {
            break;
        }
    }
}

/// What its gateway has told is held back: nobody may believe that it has no links.
#[tokio::test]
async fn a_node_that_does_not_know_all_links_does_not_say_that_a_gateway_is_drained() {
    let site = Site::with(|settings| settings.cold_start_wait = Duration::from_secs(60)).await;
    let mut first = hello("a", incarnation(), 1);
    first.roster = ["a", "b", "c"].map(str::to_owned).to_vec();
    let mut a = Played::attach_as(&site, first).await.unwrap();
    a.send(caught_up(Vec::new())).await;
    a.open(1).await;
    let _b = Played::attach(&site, "b").await;

    let mut progress = drain(&site, request("a")).await.unwrap();
    a.until(|a| a.draining == Some(true)).await;

    assert_eq!(next(&mut progress).await.state(), DrainState::Moving);
    let more = tokio::time::timeout(Duration::from_millis(1500), progress.message()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn what_cannot_be_drained_is_refused() {
    let site = Site::start().await;
    let _a = Played::attach(&site, "a").await;
    let refused = async |request| match drain(&site, request).await {
        Err(status) => (status.code(), reason(&status)),
        Ok(_) => panic!("it is drained"),
    };
    let slow = DrainGatewayRequest {
        slot: WireDuration::try_from(Duration::from_secs(61)).ok(),
        ..request("a")
    };

    let nowhere = "NO_OTHER_GATEWAY".to_owned();
    assert_eq!(
        refused(request("a")).await,
        (Code::FailedPrecondition, nowhere.clone())
    );
    assert_eq!(refused(request("x")).await.0, Code::NotFound);
    assert_eq!(refused(slow).await.0, Code::InvalidArgument);
    let _b = Played::attach(&site, "b").await;
    assert!(drain(&site, request("a")).await.is_ok());
    assert_eq!(
        refused(request("b")).await,
        (Code::FailedPrecondition, nowhere)
    );
}
