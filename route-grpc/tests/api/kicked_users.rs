//! KickUser: what is published, and which sessions go.

use std::time::Duration;

use route_proto::admin::v1alpha1::{ExplainedSession, KickUserRequest, KickUserResponse};
use route_proto::attach::v1::delivery::Payload;
use tonic::{Code, Status};

use crate::attach::reason;
use crate::checks::assert_names;
use crate::played::Played;
use crate::site::{Site, soon};

/// Windows, Mac, iOS.
const TYPES: [u32; 3] = [0x01, 0x02, 0x11];

async fn kick(site: &Site, request: KickUserRequest) -> Result<KickUserResponse, Status> {
    let mut admin = site.admin().await;
    let answer = soon("an answer", admin.kick_user(request)).await;
    Ok(answer?.into_inner())
}

fn user(user_id: u32, wait: Duration) -> KickUserRequest {
    KickUserRequest {
        user_id,
        wait_duration: prost_types::Duration::try_from(wait).ok(),
        reason: "a stolen phone".to_owned(),
        ..KickUserRequest::default()
    }
}

/// The bodies of the next PDUs, notices left out.
async fn bodies(gateway: &mut Played, count: usize) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let delivered = gateway.delivery().await;
        if let Payload::Pdu(pdu) = delivered.payload {
            bodies.push(pdu[16..].to_vec());
        }
    }
    bodies
}

fn types(sessions: &[ExplainedSession]) -> Vec<u32> {
    let mut types: Vec<_> = sessions.iter().map(|it| it.client_type).collect();
    types.sort_unstable();
    types
}

#[tokio::test]
async fn each_type_that_the_user_has_is_kicked_and_waited_for() {
    let (site, mut a) = Played::one(&[1]).await;
    for client_type in TYPES {
        a.update(1, 1001, client_type, 1).await;
    }
    a.confirmed(1).await;
    let call = user(1001, Duration::from_secs(20));
    let mut admin = site.admin().await;
    let kicking = tokio::spawn(async move { admin.kick_user(call).await });

    let bodies = bodies(&mut a, 3).await;
    for client_type in TYPES {
        a.update(1, 1001, client_type, 2).await;
    }

    let expected = TYPES.map(|it| vec![0x08, 0xe9, 0x07, 0x10, it as u8, 0x18, 1]);
    assert_eq!(bodies, expected);
    let answer = soon("an answer", kicking)
        .await
        .unwrap()
        .unwrap()
        .into_inner();
    assert_eq!(types(&answer.gone_sessions), TYPES);
    assert_eq!((answer.left_sessions, answer.kick_count), (vec![], 3));
}

#[tokio::test]
async fn what_stays_is_said_when_the_time_is_over() {
    let (site, mut a) = Played::one(&[1]).await;
    for client_type in TYPES {
        a.update(1, 1001, client_type, 1).await;
    }
    a.confirmed(1).await;

    let answer = kick(&site, user(1001, Duration::ZERO)).await.unwrap();

    assert_eq!(types(&answer.left_sessions), TYPES);
    assert_eq!(answer.gone_sessions, []);
    let left = &answer.left_sessions[0];
    assert_eq!(left.link, format!("{:x}-1", a.incarnation));
}

/// A MsgServer disconnects one client for each kick.
#[tokio::test]
async fn one_type_is_kicked_as_often_as_a_msg_server_has_it() {
    let (site, mut a) = Played::one(&[1001]).await;
    a.update(1, 1001, 0x01, 1).await;
    a.update(1, 1001, 0x11, 1).await;
    a.confirmed(1).await;
    let call = KickUserRequest {
        client_type: 0x01,
        kick_reason: 2,
        ..user(1001, Duration::ZERO)
    };

    let answer = kick(&site, call).await.unwrap();

    assert_eq!(
        (answer.kick_count, types(&answer.left_sessions)),
        (2, vec![0x01])
    );
    for body in bodies(&mut a, 2).await {
        assert_eq!(body, [0x08, 0xe9, 0x07, 0x10, 0x01, 0x18, 2]);
    }
}

#[tokio::test]
async fn what_cannot_be_kicked_is_refused() {
    let (site, _a) = Played::one(&[1]).await;
    let usual = || user(1, Duration::ZERO);
    let wait = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for (wrong, field) in [
        (
            KickUserRequest {
                user_id: 0,
                ..usual()
            },
            "user_id",
        ),
        (
            KickUserRequest {
                client_type: 256,
                ..usual()
            },
            "client_type",
        ),
        (
            KickUserRequest {
                client_type: -1,
                ..usual()
            },
            "client_type",
        ),
        (
            KickUserRequest {
                kick_reason: -1,
                ..usual()
            },
            "kick_reason",
        ),
        (
            KickUserRequest {
                wait_duration: wait(31),
                ..usual()
            },
            "wait_duration",
        ),
        (
            KickUserRequest {
                wait_duration: wait(-1),
                ..usual()
            },
            "wait_duration",
        ),
        (
            KickUserRequest {
                reason: "x".repeat(201),
                ..usual()
            },
            "reason",
        ),
    ] {
        assert_names(&kick(&site, wrong).await.unwrap_err(), field);
    }
}

#[tokio::test]
async fn nothing_is_published_where_there_is_nothing_to_kick() {
    let (site, mut a) = Played::one(&[1]).await;
    let unknown = kick(&site, user(1001, Duration::ZERO)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let mobile = KickUserRequest {
        client_type: 0x11,
        ..user(1, Duration::ZERO)
    };
    assert_eq!(
        kick(&site, mobile).await.unwrap_err().code(),
        Code::NotFound
    );
    a.update(1, 5, 1, 1).await;
    a.until(|a| a.runs > 0).await;
    let told = a.delivery().await;
    assert!(matches!(told.payload, Payload::DesktopLogin(_)), "{told:?}");
}

#[tokio::test]
async fn a_node_that_does_not_know_all_links_kicks_nobody() {
    let site = Site::with(|it| {
        it.cold_start_wait = Duration::from_secs(600);
        it.call_wait = Duration::ZERO;
    })
    .await;

    let refused = kick(&site, user(1, Duration::ZERO)).await.unwrap_err();

    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(reason(&refused), "NOT_SYNCED");
}
