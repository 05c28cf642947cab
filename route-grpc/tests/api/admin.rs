//! AdminService: links, gateways and numbers, as operators see them.

use route_proto::admin::v1alpha1::admin_service_client::AdminServiceClient;
use route_proto::admin::v1alpha1::{
    CloseLinkRequest, GatewayState, GetLinkRequest, GetStatsRequest, LinkPart, LinkPartReason,
    ListGatewaysRequest, ListLinksRequest,
};
use route_proto::attach::v1::SessionUpdate;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::v1::GetServerInfoRequest;
use route_proto::v1::server_service_client::ServerServiceClient;
use tonic::Code;
use tonic_types::StatusExt;

use crate::played::{Played, hello, incarnation};
use crate::site::{Site, soon};

fn page(page_size: i32, page_token: &str) -> ListLinksRequest {
    ListLinksRequest {
        page_size,
        page_token: page_token.to_owned(),
        ..ListLinksRequest::default()
    }
}

fn id(gateway: &Played, number: u64) -> String {
    format!("{:x}-{number}", gateway.incarnation)
}

/// Of all links, by pages of this size.
async fn all_links(site: &Site, page_size: i32) -> (Vec<String>, usize) {
    let (mut links, mut pages, mut token) = (Vec::new(), 0, String::new());
    loop {
        let call = page(page_size, &token);
        let answer = soon("a page", site.admin().await.list_links(call)).await;
        let answer = answer.unwrap().into_inner();
        links.extend(answer.links.into_iter().map(|link| link.link));
        (pages, token) = (pages + 1, answer.next_page_token);
        if token.is_empty() {
            return (links, pages);
        }
    }
}

#[tokio::test]
async fn a_link_says_whose_it_is_and_why_it_stands() {
    let (site, mut a) = Played::one(&[1, 2]).await;
    a.open(2).await;
    let companion = Entry::Update(SessionUpdate {
        user_id: 9,
        client_type: 1,
        status: 1,
    });
    a.tell(2, companion).await;
    a.confirmed(2).await;

    let links = site.admin().await.list_links(page(0, "")).await.unwrap();
    let [claimed, alone] = links.into_inner().links.try_into().unwrap();

    assert_eq!(claimed.link, id(&a, 1));
    assert_eq!(
        (claimed.gateway_id.as_str(), claimed.session_count),
        ("a", 2)
    );
    assert_eq!(
        (claimed.part(), claimed.part_reason()),
        (LinkPart::Active, LinkPartReason::Claimed)
    );
    assert!(claimed.is_listed && claimed.is_claimed && !claimed.is_opaque && !claimed.is_named);
    assert!(claimed.open_time.is_some() && claimed.last_entry_time.is_some());
    assert_eq!(claimed.peer, format!("{}:4000", claimed.msg_server));
    assert_eq!(
        (alone.part(), alone.part_reason()),
        (LinkPart::Active, LinkPartReason::Alone)
    );
    assert!(!alone.is_listed && !alone.is_claimed);
}

#[tokio::test]
async fn a_shadow_names_the_link_that_stands_for_it() {
    let (site, mut a) = Played::one(&[3, 4]).await;
    a.open_sibling(2, (a.incarnation, 1), &[3, 4]).await;

    let get = GetLinkRequest {
        link: id(&a, 2),
        ..GetLinkRequest::default()
    };
    let answer = site.admin().await.get_link(get).await.unwrap().into_inner();

    let link = answer.link.unwrap();
    assert_eq!(
        (link.part(), link.part_reason()),
        (LinkPart::Shadow, LinkPartReason::OtherClaimed)
    );
    assert_eq!(link.other_link, id(&a, 1));
    let [related] = answer.related_links.try_into().unwrap();
    assert_eq!(
        (related.shared_session_count, related.session_count),
        (2, 2)
    );
    assert_eq!(
        (related.link.as_str(), related.part()),
        (id(&a, 1).as_str(), LinkPart::Active)
    );
    let shadows = ListLinksRequest {
        part: LinkPart::Shadow.into(),
        msg_server: link.msg_server,
        ..ListLinksRequest::default()
    };
    let shadows = site
        .admin()
        .await
        .list_links(shadows)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(shadows.links.len(), 1);
}

#[tokio::test]
async fn each_link_is_in_one_page() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    for number in 1..=25 {
        a.open_with(number, &[]).await;
    }

    let (links, pages) = all_links(&site, 10).await;

    let expected: Vec<_> = (1..=25).map(|it| id(&a, it)).collect();
    assert_eq!((links, pages), (expected, 3));
    assert_eq!(all_links(&site, 5000).await.1, 1);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let site = Site::start().await;
    let mut admin = site.admin().await;
    let seats = ListLinksRequest {
        part: LinkPart::Seat.into(),
        ..ListLinksRequest::default()
    };
    let unknown = ListLinksRequest {
        part: 99,
        ..ListLinksRequest::default()
    };
    for (wrong, field) in [
        (page(-1, ""), "page_size"),
        (page(0, "nonsense"), "page_token"),
        (page(0, &"0".repeat(50)), "page_token"),
        (seats, "part"),
        (unknown, "part"),
    ] {
        let status = admin.list_links(wrong).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        assert_eq!(
            details.bad_request().unwrap().field_violations[0].field,
            field
        );
    }
    for (link, code) in [("", Code::InvalidArgument), ("1-1", Code::NotFound)] {
        let get = GetLinkRequest {
            link: link.to_owned(),
            ..GetLinkRequest::default()
        };
        assert_eq!(admin.get_link(get).await.unwrap_err().code(), code);
        let close = CloseLinkRequest {
            link: link.to_owned(),
            reason: String::new(),
        };
        assert_eq!(admin.close_link(close).await.unwrap_err().code(), code);
    }
    let wordy = CloseLinkRequest {
        link: "1-1".to_owned(),
        reason: "x".repeat(201),
    };
    assert_eq!(
        admin.close_link(wordy).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let long = GetLinkRequest {
        link: "x".repeat(65 << 10),
        ..GetLinkRequest::default()
    };
    assert_eq!(
        admin.get_link(long).await.unwrap_err().code(),
        Code::ResourceExhausted
    );
}

#[tokio::test]
async fn a_link_is_closed_by_its_gateway() {
    let (site, mut a) = Played::one(&[1]).await;
    let link = id(&a, 1);
    a.asked_to_close = Some(Vec::new());
    let mut admin = site.admin().await;
    let close = CloseLinkRequest {
        link: link.clone(),
        reason: "maintenance".to_owned(),
    };
    let closing = tokio::spawn(async move { admin.close_link(close).await });

    a.until(|a| a.asked_to_close.as_deref() == Some(&[1])).await;
    a.close(1).await;

    soon("an answer", closing).await.unwrap().unwrap();
    let get = GetLinkRequest {
        link,
        ..GetLinkRequest::default()
    };
    let gone = site.admin().await.get_link(get).await.unwrap().into_inner();
    assert!(gone.link.is_none(), "{gone:?}");
    assert!(gone.closed_link.is_some(), "{gone:?}");
}

#[tokio::test]
async fn gateways_say_how_they_can_be_reached() {
    let (site, a) = Played::one(&[1]).await;
    let mut admin = site.admin().await;

    let here = admin
        .list_gateways(ListGatewaysRequest {})
        .await
        .unwrap()
        .into_inner();

    let [gateway] = here.gateways.as_slice() else {
        panic!("{here:?}");
    };
    assert_eq!((gateway.gateway_id.as_str(), gateway.link_count), ("a", 1));
    assert_eq!(
        (gateway.state(), gateway.dialect.as_str()),
        (GatewayState::Here, "teamtalk")
    );
    assert!(gateway.lost_time.is_none());
    drop(a);
    let away = async {
        loop {
            let found = admin
                .list_gateways(ListGatewaysRequest {})
                .await
                .unwrap()
                .into_inner();
            if found.gateways[0].state() == GatewayState::Away {
                return found;
            }
        }
    };
    let away = soon("it is away", away).await;
    let seconds = |it: Option<prost_types::Timestamp>| it.unwrap().seconds;
    assert!(seconds(away.gateways[0].lost_time) > seconds(away.node_time));
}

#[tokio::test]
async fn a_gateway_that_has_stopped_in_order_is_not_awaited() {
    let site = Site::start().await;
    let mut b = Played::attach(&site, "b").await;
    let mut admin = site.admin().await;
    b.finish();

    let stopped = async {
        loop {
            let found = admin.list_gateways(ListGatewaysRequest {}).await;
            let found = found.unwrap().into_inner().gateways;
            let b = found.into_iter().next();
            let b = b.expect("it is shown for a while");
            if [GatewayState::Away, GatewayState::Stopped].contains(&b.state()) {
                return b;
            }
        }
    };
    let stopped = soon("it has stopped", stopped).await;

    assert_eq!(stopped.state(), GatewayState::Stopped);
    assert!(stopped.lost_time.is_none(), "it has no links: {stopped:?}");
}

#[tokio::test]
async fn a_node_that_waits_says_for_whom() {
    let site = Site::with(|settings| {
        settings.cold_start_wait = std::time::Duration::from_secs(60);
    })
    .await;
    let stats = async || {
        let stats = site.admin().await.get_stats(GetStatsRequest {}).await;
        stats.unwrap().into_inner()
    };
    let before = stats().await;
    let mut server = ServerServiceClient::new(site.channel().await);
    let info = server.get_server_info(GetServerInfoRequest {}).await;
    let info = info.unwrap().into_inner();
    assert_eq!(
        (before.epoch.clone(), before.start_time),
        (info.epoch, info.start_time)
    );
    assert!(
        !before.is_synced && before.waits_for.contains("a first gateway"),
        "{before:?}"
    );

    let mut first = hello("a", incarnation(), 1);
    first.roster = vec!["a".to_owned(), "b".to_owned()];
    let _a = Played::attach_as(&site, first).await.unwrap();

    let after = stats().await;
    assert!(after.waits_for.contains("gateways a, b"), "{after:?}");
    assert_eq!(after.attached_gateway_count, 1);
}

#[tokio::test]
async fn the_public_port_does_not_serve_it() {
    let site = Site::start().await;
    let mut public = site.admin().await;
    assert!(public.get_stats(GetStatsRequest {}).await.is_ok());

    let mut public = AdminServiceClient::new(site.channel().await);

    let refused = public.get_stats(GetStatsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}
