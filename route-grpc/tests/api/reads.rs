//! What answers of PresenceService have in common: a time, a position, and not being older than
//! what their caller knows.

use std::time::{Duration, SystemTime};

use prost::Message;
use route_proto::v1::{
    BatchGetUserStatusRequest, GetUserStatusRequest, GetUserStatusResponse, PresenceStatus,
    UserStatus,
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::attach::reason;
use crate::played::Played;
use crate::site::{Site, soon};
use crate::wire::{Said, Wire};

#[tokio::test]
async fn answers_have_the_nodes_time_and_sessions_only_if_asked_for() {
    let (site, _a) = Played::one(&[7]).await;
    let before = SystemTime::now();

    let answer = get(&site, "").await.unwrap();
    let batch = batch(&site, false, "").await.unwrap();

    // The node's clock is the wall clock as it was when the node started, and what has passed since.
    let said = SystemTime::try_from(answer.node_time.unwrap()).unwrap();
    let late = Duration::from_secs(5);
    assert!(before - late < said && said < SystemTime::now() + late);
    let later = SystemTime::try_from(batch.node_time.unwrap()).unwrap();
    assert!(said <= later, "it never goes back");
    let sessions = |user: Option<&UserStatus>| user.unwrap().sessions.len();
    assert_eq!(sessions(answer.user.as_ref()), 0);
    assert_eq!(sessions(batch.users.first()), 0);
    let detailed = self::batch(&site, true, "").await.unwrap();
    assert_eq!(sessions(detailed.users.first()), 1);
}

#[tokio::test]
async fn an_answer_is_not_older_than_the_position_it_has_to_have() {
    let (site, mut a) = Played::one(&[7]).await;
    a.update(1, 7, 1, 2).await;
    a.confirmed(1).await;
    let known = get(&site, "").await.unwrap().position;

    let answer = get(&site, &known).await.unwrap();
    let batch = batch(&site, false, &known).await.unwrap();

    assert_eq!(answer.user.unwrap().status(), PresenceStatus::Offline);
    assert_eq!(answer.position, known);
    assert_eq!(batch.position, known);
}

#[tokio::test]
async fn a_node_that_is_behind_waits_until_it_is_not() {
    let (site, mut a) = Played::one(&[7]).await;
    let next = after(&get(&site, "").await.unwrap().position);

    let waiting = tokio::spawn({
        let (mut presence, next) = (site.presence().await, next.clone());
        async move { presence.get_user_status(request(&next)).await }
    });
    // What does not wait is answered before the next call is.
    let others = get(&site, "").await.unwrap();
    assert!(others.position < next && !waiting.is_finished());
    a.update(1, 7, 1, 2).await;

    let answer = soon("an answer", waiting).await.unwrap().unwrap();
    let answer = answer.into_inner();
    assert_eq!(answer.user.unwrap().status(), PresenceStatus::Offline);
    // A desktop login's end is two events.
    assert!(answer.position >= next);
}

#[tokio::test]
async fn a_node_that_stays_behind_says_so() {
    let site = Site::with(|it| it.call_wait = Duration::from_millis(50)).await;
    let next = after(&get(&site, "").await.unwrap().position);

    for refused in [
        get(&site, &next).await.unwrap_err(),
        batch(&site, false, &next).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::Unavailable);
        assert_eq!(reason(&refused), "BEHIND");
        assert!(refused.get_details_retry_info().is_some());
    }
}

#[tokio::test]
async fn a_caller_that_waits_no_longer_is_told_by_its_deadline() {
    let site = Site::with(|it| it.call_wait = Duration::from_secs(60)).await;
    let next = after(&get(&site, "").await.unwrap().position);

    let method = "teamtalk.route.v1.PresenceService/GetUserStatus";
    let said = Said::all(&request(&next).encode_to_vec()).within(50);
    let refused = Wire::open(&site).await.ends(method, said).await;

    assert_eq!(refused.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&refused), "DEADLINE_PASSED");
}

#[tokio::test]
async fn a_position_of_another_life_is_refused_with_what_to_do() {
    let (site, before) = (Site::start().await, Site::start().await);
    let foreign = get(&before, "").await.unwrap().position;

    for refused in [
        get(&site, &foreign).await.unwrap_err(),
        batch(&site, false, &foreign).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::OutOfRange);
        assert_eq!(reason(&refused), "EPOCH_CHANGED");
        assert!(refused.message().contains("leave it out"), "{refused}");
    }
    let nonsense = get(&site, "nonsense").await.unwrap_err();
    assert_eq!(nonsense.code(), Code::InvalidArgument);
    let field = &nonsense.get_details_bad_request().unwrap().field_violations[0].field;
    assert_eq!(field, "at_least_position");
}

/// The position behind this one. To clients they are opaque: their last digits count.
pub(crate) fn after(position: &str) -> String {
    let (life, seq) = position.split_at(18);
    format!("{life}{:016x}", u64::from_str_radix(seq, 16).unwrap() + 1)
}

fn request(at_least: &str) -> GetUserStatusRequest {
    GetUserStatusRequest {
        user_id: 7,
        at_least_position: at_least.to_owned(),
        ..GetUserStatusRequest::default()
    }
}

async fn get(site: &Site, at_least: &str) -> Result<GetUserStatusResponse, tonic::Status> {
    let mut presence = site.presence().await;
    let answer = soon("an answer", presence.get_user_status(request(at_least))).await?;
    Ok(answer.into_inner())
}

async fn batch(
    site: &Site,
    include_sessions: bool,
    at_least: &str,
) -> Result<route_proto::v1::BatchGetUserStatusResponse, tonic::Status> {
    let mut presence = site.presence().await;
    let request = BatchGetUserStatusRequest {
        user_ids: vec![7],
        include_sessions,
        at_least_position: at_least.to_owned(),
    };
    let answer = soon("an answer", presence.batch_get_user_status(request)).await?;
    Ok(answer.into_inner())
}
