//! Why a user is what he is.

use std::time::Duration;

use route_proto::admin::v1alpha1::{
    ExplainUserRequest, ExplainUserResponse, LegacyStatusReason, LinkPart, SessionSource,
    SessionStanding,
};
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{LinkOpened, SessionList, SessionTable, Unreadable};
use route_proto::v1::{LegacyStatus, PresenceStatus};
use tonic::Code;
use tonic_types::StatusExt;

use crate::played::{Played, caught_up, claimed_and_listed, hello, incarnation, numbered};
use crate::site::{Site, soon};

pub(crate) async fn explain(site: &Site, user_id: u32) -> ExplainUserResponse {
    let mut admin = site.admin().await;
    let answer = soon(
        "an answer",
        admin.explain_user(ExplainUserRequest { user_id }),
    )
    .await;
    answer.unwrap().into_inner()
}

fn id(gateway: &Played, number: u64) -> String {
    format!("{:x}-{number}", gateway.incarnation)
}

#[tokio::test]
async fn a_desktop_client_that_was_listed_counts_for_both_statuses() {
    let (site, a) = Played::one(&[1001]).await;

    let explained = explain(&site, 1001).await;

    let user = explained.user.unwrap();
    assert_eq!(
        (user.user_id, user.status(), user.legacy_status()),
        (1001, PresenceStatus::Online, LegacyStatus::Online)
    );
    assert_eq!(user.sessions.len(), 1);
    assert!(explained.is_synced && explained.uncertain_links.is_empty());
    let [session] = explained.sessions.as_slice() else {
        panic!("{:?}", explained.sessions);
    };
    assert_eq!(session.link, id(&a, 1));
    assert_eq!(
        (session.source(), session.standing()),
        (SessionSource::List, SessionStanding::Counts)
    );
    assert_eq!(
        (
            session.online_count,
            session.away_count,
            session.hidden_count
        ),
        (1, 0, 0)
    );
    let link = session.link_state.as_ref().unwrap();
    assert_eq!((link.part(), link.is_claimed), (LinkPart::Active, true));
    assert!(session.since_time.is_some());
}

/// What no other call shows: each has sessions, and is offline all the same.
#[tokio::test]
async fn an_offline_user_has_sessions_that_do_not_count() {
    let (site, mut a) = Played::one(&[1, 2]).await;
    a.open(3).await;
    let entry = Entry::List(SessionList {
        user_ids: vec![1001],
        client_types: vec![1],
        statuses: vec![2],
        last: true,
    });
    a.tell(3, entry).await;
    a.update(1, 1002, 0x11, 1).await;
    a.open_sibling(2, (a.incarnation, 1), &[1, 2, 1003]).await;
    a.confirmed(3).await;
    a.confirmed(1).await;

    let hidden = explain(&site, 1001).await;
    let mobile = explain(&site, 1002).await;
    let shadowed = explain(&site, 1003).await;
    let unknown = explain(&site, 1004).await;

    let seen = [&hidden, &mobile, &shadowed, &unknown].map(|it| {
        let user = it.user.as_ref().unwrap();
        let standings: Vec<_> = it.sessions.iter().map(|it| it.standing()).collect();
        assert_eq!(user.legacy_status(), LegacyStatus::Offline);
        (user.status(), it.legacy_status_reason(), standings)
    });
    use PresenceStatus::{Offline, Online};
    assert_eq!(
        seen,
        [
            (
                Offline,
                LegacyStatusReason::HiddenOnly,
                vec![SessionStanding::Hidden]
            ),
            (
                Online,
                LegacyStatusReason::MobileOnly,
                vec![SessionStanding::Mobile]
            ),
            (
                Offline,
                LegacyStatusReason::NotStanding,
                vec![SessionStanding::Shadow]
            ),
            (Offline, LegacyStatusReason::NoSession, vec![]),
        ]
    );
    assert_eq!(mobile.sessions[0].source(), SessionSource::Update);
    assert_eq!(hidden.sessions[0].hidden_count, 1);
    let shadow = shadowed.sessions[0].link_state.as_ref().unwrap();
    assert_eq!(
        (shadow.part(), shadow.other_link.as_str()),
        (LinkPart::Shadow, id(&a, 1).as_str())
    );
}

#[tokio::test]
async fn what_a_gateway_tells_a_new_node_was_restored() {
    let site = Site::start().await;
    // The gateway has been up for an hour, and the link for half of it.
    let mut greeting = hello("a", incarnation(), 1);
    greeting.clock_micros = 3_600_000_000;
    let mut a = Played::attach_as(&site, greeting).await.unwrap();
    let opened = Entry::Opened(LinkOpened {
        peer: "10.0.0.1:4000".to_owned(),
        opened_at_micros: 1_800_000_000,
        restored: Some(claimed_and_listed()),
        ..LinkOpened::default()
    });
    let table = Entry::Table(SessionTable {
        user_ids: vec![1001],
        client_types: vec![1],
        states: vec![1],
        logins: vec![1],
        last: true,
    });
    let entries = vec![numbered(1, 7, opened), numbered(1, 7, table)];
    a.send(caught_up(entries)).await;
    a.until(|a| a.confirmed_so_far(1) == 7).await;

    let explained = explain(&site, 1001).await;

    assert_eq!(explained.sessions[0].source(), SessionSource::Restored);
    let link = explained.sessions[0].link_state.as_ref().unwrap();
    let seconds = |it: Option<prost_types::Timestamp>| it.unwrap().seconds;
    let open_for = seconds(explained.node_time) - seconds(link.open_time);
    assert!((1800..1800 + 60).contains(&open_for), "{open_for} s");
}

#[tokio::test]
async fn links_that_could_hide_an_offline_user_are_named_at_most_16() {
    let (site, mut a) = Played::one(&[1]).await;
    a.open(2).await;
    a.tell(1, Entry::Unreadable(Unreadable {})).await;
    a.confirmed(1).await;
    a.confirmed(2).await;

    let explained = explain(&site, 1001).await;

    let links = explained.uncertain_links.iter();
    let links: Vec<_> = links
        .map(|it| (it.link.clone(), it.is_opaque, it.is_listed))
        .collect();
    assert_eq!(links, [(id(&a, 1), true, true), (id(&a, 2), false, false)]);
    assert_eq!(explain(&site, 1).await.uncertain_links, []);
    for number in 3..=30 {
        a.open(number).await;
    }
    a.confirmed(30).await;
    assert_eq!(explain(&site, 1001).await.uncertain_links.len(), 16);
}

/// Its gateway is away: what it has not sent is not known.
#[tokio::test]
async fn a_node_that_does_not_know_all_links_says_so() {
    let site = Site::with(|it| it.cold_start_wait = Duration::from_secs(600)).await;

    let explained = explain(&site, 1001).await;

    assert!(!explained.is_synced);
    assert_eq!(
        explained.legacy_status_reason(),
        LegacyStatusReason::NoSession
    );
}

#[tokio::test]
async fn nobody_cannot_be_explained() {
    let site = Site::start().await;
    let nobody = ExplainUserRequest { user_id: 0 };

    let status = site.admin().await.explain_user(nobody).await.unwrap_err();

    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    assert_eq!(
        details.bad_request().unwrap().field_violations[0].field,
        "user_id"
    );
}
