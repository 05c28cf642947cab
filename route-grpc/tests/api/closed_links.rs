//! Links that have closed lately, and why.

use route_proto::admin::v1alpha1::{
    ClosedLink, LinkCloseReason, ListClosedLinksRequest, ListClosedLinksResponse,
};
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{CloseReason, LinkClosed};
use tonic::{Code, Status};

use crate::played::Played;
use crate::site::{Site, soon};

async fn list(
    site: &Site,
    asked: ListClosedLinksRequest,
) -> Result<ListClosedLinksResponse, Status> {
    let listed = site.admin().await.list_closed_links(asked).await;
    listed.map(tonic::Response::into_inner)
}

/// A gateway with this many links, which it closes for this reason.
async fn closes(site: &Site, id: &str, links: u64, reason: CloseReason) -> Played {
    let mut gateway = Played::attach(site, id).await;
    for link in 1..=links {
        gateway.open_with(link, &[7]).await;
        let reason = reason.into();
        gateway
            .tell(link, Entry::Closed(LinkClosed { reason }))
            .await;
    }
    gateway.until(|it| it.ended.len() as u64 == links).await;
    gateway
}

#[tokio::test]
async fn each_says_whose_it_was_and_why_it_has_closed() {
    let site = Site::start().await;
    for (id, reason, said) in [
        ("a", CloseReason::Peer, LinkCloseReason::Peer),
        ("b", CloseReason::Idle, LinkCloseReason::Idle),
        ("c", CloseReason::BadFrame, LinkCloseReason::BadFrame),
        ("d", CloseReason::SlowReader, LinkCloseReason::SlowReader),
        ("e", CloseReason::Drain, LinkCloseReason::GatewayStops),
        ("f", CloseReason::Requested, LinkCloseReason::NoNode),
    ] {
        let _gateway = closes(&site, id, 1, reason).await;
        let asked = ListClosedLinksRequest {
            gateway_id: id.to_owned(),
            ..ListClosedLinksRequest::default()
        };

        let found = list(&site, asked).await.unwrap().closed_links;

        let [closed] = found.as_slice() else {
            panic!("{id}: {found:?}");
        };
        assert_eq!((closed.reason(), closed.session_count), (said, 1), "{id}");
        assert_eq!(closed.msg_server, closed.peer.split(':').next().unwrap());
        let seconds = |it: Option<prost_types::Timestamp>| it.unwrap().seconds;
        assert!(seconds(closed.open_time) <= seconds(closed.close_time));
    }
}

#[tokio::test]
async fn the_links_of_a_gateway_that_is_lost_are_among_them() {
    let site = Site::with(|settings| {
        settings.detach_grace = std::time::Duration::from_millis(100);
        settings.departed_wait = std::time::Duration::from_millis(50);
    })
    .await;
    let mut gateway = Played::attach(&site, "a").await;
    gateway.open_with(1, &[7]).await;
    drop(gateway);

    let lost = async {
        loop {
            let found = list(&site, ListClosedLinksRequest::default()).await;
            if let Some(link) = found.unwrap().closed_links.pop() {
                return link;
            }
        }
    };
    let lost = soon("it is lost", lost).await;

    assert_eq!(lost.reason(), LinkCloseReason::GatewayLost);
    assert_eq!(lost.gateway_id, "a", "though it is gone");
}

#[tokio::test]
async fn they_are_listed_page_by_page_the_newest_first() {
    let site = Site::start().await;
    let _gateway = closes(&site, "a", 5, CloseReason::Peer).await;
    let number = |it: &ClosedLink| it.link.rsplit('-').next().unwrap().to_owned();

    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let asked = ListClosedLinksRequest {
            page_size: 2,
            page_token: token,
            ..ListClosedLinksRequest::default()
        };
        let page = list(&site, asked).await.unwrap();
        assert!(page.remembers_since.is_some());
        pages.push(page.closed_links.iter().map(number).collect::<Vec<_>>());
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }

    assert_eq!(pages, [vec!["5", "4"], vec!["3", "2"], vec!["1"]]);
    for (page_size, page_token) in [(-1, ""), (0, "nonsense")] {
        let asked = ListClosedLinksRequest {
            page_size,
            page_token: page_token.to_owned(),
            ..ListClosedLinksRequest::default()
        };
        let refused = list(&site, asked).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}
