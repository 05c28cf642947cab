//! AdminService: who would get a PDU.

use route_proto::admin::v1alpha1::{ExplainEnvelopeRequest, ExplainEnvelopeResponse, SparedReason};
use route_proto::v1::PublishTargetReason;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::explain::explain;
use crate::played::Played;
use crate::site::{Site, soon};

const IOS: u32 = 0x11;
const ONLINE: i32 = 1;

async fn envelope(
    site: &Site,
    request: ExplainEnvelopeRequest,
) -> Result<ExplainEnvelopeResponse, Status> {
    let mut admin = site.admin().await;
    let explained = soon("an answer", admin.explain_envelope(request)).await;
    explained.map(tonic::Response::into_inner)
}

fn chat(user_ids: &[u32], origin_link: &str) -> ExplainEnvelopeRequest {
    ExplainEnvelopeRequest {
        command: "message".to_owned(),
        user_ids: user_ids.to_vec(),
        origin_link: origin_link.to_owned(),
        ..ExplainEnvelopeRequest::default()
    }
}

fn id(gateway: &Played, number: u64) -> String {
    format!("{:x}-{number}", gateway.incarnation)
}

#[tokio::test]
async fn a_message_goes_where_its_users_are() {
    let site = Site::start().await;
    let [a, b] = Played::two(&site).await;

    let found = envelope(&site, chat(&[1, 2, 99], &id(&a, 1))).await;

    let found = found.unwrap();
    let [target] = found.targets.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (target.link.as_str(), target.reason()),
        (id(&b, 1).as_str(), PublishTargetReason::HasUsers)
    );
    assert_eq!(target.user_ids, [2]);
    assert!(!target.is_held && !target.waits_for_gateway);
    let [spared] = found.spared_links.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (spared.link.as_str(), spared.reason()),
        (id(&a, 1).as_str(), SparedReason::Origin)
    );
    assert_eq!((found.target_count, found.unknown_user_ids), (1, vec![99]));
}

#[tokio::test]
async fn a_kick_goes_to_all_and_a_notice_to_those_with_desktops() {
    let site = Site::start().await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[1]).await;
    a.open(2).await;
    a.update(2, 5, IOS, ONLINE).await;
    a.confirmed(2).await;
    let command = |command: &str| ExplainEnvelopeRequest {
        command: command.to_owned(),
        ..ExplainEnvelopeRequest::default()
    };

    let kick = envelope(&site, command("0x070d")).await.unwrap();
    let notice = envelope(&site, command("status_notice")).await.unwrap();
    let group = envelope(&site, command("message")).await.unwrap();

    assert_eq!((kick.target_count, kick.spared_links.len()), (2, 0));
    assert_eq!(kick.targets[0].reason(), PublishTargetReason::All);
    let [spared] = notice.spared_links.as_slice() else {
        panic!("{notice:?}");
    };
    assert_eq!(
        (notice.target_count, spared.reason()),
        (1, SparedReason::HasNoDesktops)
    );
    assert_eq!(group.targets[0].reason(), PublishTargetReason::Reports);
}

#[tokio::test]
async fn it_may_be_asked_about_one_msg_server() {
    let site = Site::start().await;
    let [a, _b] = Played::two(&site).await;
    let of_a = {
        let link = explain(&site, 1).await.sessions.remove(0);
        assert_eq!(link.link, id(&a, 1));
        link.msg_server
    };

    let request = ExplainEnvelopeRequest {
        msg_server: of_a,
        ..chat(&[2], "")
    };
    let found = envelope(&site, request).await.unwrap();

    assert_eq!(found.target_count, 0);
    assert_eq!(found.spared_links[0].reason(), SparedReason::HasNoUsers);
    assert_eq!(found.spared_links.len(), 1);
}

#[tokio::test]
async fn what_is_for_a_gateway_that_is_away_waits_for_it() {
    let site = Site::start().await;
    let [_a, b] = Played::two(&site).await;
    drop(b);

    let waits = async {
        loop {
            let found = envelope(&site, chat(&[2], "")).await.unwrap();
            if found.targets[0].waits_for_gateway {
                return;
            }
        }
    };

    soon("it is away", waits).await;
}

#[tokio::test]
async fn what_is_no_envelope_is_refused() {
    let (site, a) = Played::one(&[1]).await;
    let link = id(&a, 1);
    let request = |command: &str, user_ids: &[u32]| ExplainEnvelopeRequest {
        command: command.to_owned(),
        user_ids: user_ids.to_vec(),
        ..ExplainEnvelopeRequest::default()
    };
    for (wrong, field) in [
        (request("", &[1]), "command"),
        (request("nonsense", &[1]), "command"),
        (request("heartbeat", &[1]), "command"),
        (request("0x7001", &[1]), "command"),
        (request("0x10301", &[1]), "command"),
        (request("read_receipt", &[]), "user_ids"),
        (request("message", &[1, 0]), "user_ids[1]"),
        (request("message", &vec![1; 10_001]), "user_ids"),
        (chat(&[1], "x"), "origin_link"),
    ] {
        let refused = envelope(&site, wrong).await.unwrap_err();
        assert_eq!(field_of(&refused), field);
    }
    let gone = link.replace("-1", "-9");
    for unknown in [gone.as_str(), "1-1"] {
        let refused = envelope(&site, chat(&[1], unknown)).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused}");
    }
}

fn field_of(refused: &Status) -> String {
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let details = refused.get_error_details();
    details.bad_request().unwrap().field_violations[0]
        .field
        .clone()
}
