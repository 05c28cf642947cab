//! Each error that the comments of AdminService list for a method comes as they say, as `errors` has it for the public API.

use std::time::Duration;

use prost::Message;
use route_proto::admin::v1alpha1::{
    CloseLinkRequest, CloseStreamRequest, DrainGatewayRequest, ExplainEnvelopeRequest,
    GetLinkRequest, KickUserRequest, ListLinksRequest, SetLogFilterRequest, WatchTopologyRequest,
};
use route_proto::v1::ErrorReason;
use tonic::Status;

use crate::access::guarded::{BY_NAME, Guarded};
use crate::errors::{check, documented};
use crate::played::Played;
use crate::site::Site;
use crate::wire::{Said, Wire};

const ADMIN: (&str, &str) = ("teamtalk.admin.v1alpha1", "AdminService");

/// Longer than any request of operators.
const TOO_LONG: usize = 65 << 10;

/// Connections to the admin port.
const MOST_CONNECTIONS: usize = 64;

/// Streams that look at everything.
const MOST_SCREENS: usize = 16;

const WATCH: &str = "teamtalk.admin.v1alpha1.AdminService/WatchTopology";

#[tokio::test]
async fn each_documented_error_for_operators_comes_as_it_is_documented() {
    let documented = documented(ADMIN);
    assert!(documented.len() > 14 * 5, "{documented:?}");
    for (method, code, reason) in documented {
        let refused = provoked(&method, reason).await;
        check(&method, &code, reason, &refused);
    }
}

/// How the method ends with this.
async fn provoked(method: &str, documented: ErrorReason) -> Status {
    use ErrorReason as R;
    match documented {
        // No field has such a type.
        R::FieldInvalid => at(&Site::start().await, method, Said::all(b"\x07")).await,
        R::TooLarge => at(&Site::start().await, method, Said::begun(TOO_LONG)).await,
        R::NotServed => {
            let said = Said::all(b"").packed("gzip");
            at(&Site::start().await, method, said).await
        }
        R::DeadlinePassed => {
            let said = Said::begun(10).within(50);
            at(&Site::start().await, method, said).await
        }
        R::ConnectionLimit => {
            let site = Site::start().await;
            let mut others = Vec::new();
            for _ in 0..MOST_CONNECTIONS {
                others.push(Wire::to(&site.admin_address).await);
            }
            at(&site, method, Said::all(b"")).await
        }
        R::CredentialMissing | R::CredentialInvalid | R::NotAllowed => {
            let guarded = Guarded::start(BY_NAME).await;
            let address = guarded.site.admin_address.parse().unwrap();
            let shows = (documented == R::NotAllowed).then(|| guarded.ca.client("urn:nobody"));
            let wire = guarded.wire_to(address, shows.as_ref()).await;
            let said = match documented {
                R::CredentialInvalid => Said::all(b"").token("x"),
                _ => Said::all(b""),
            };
            wire.ends(method, said).await
        }
        R::NotFound => at(&Site::start().await, method, of_what_is_not_there(method)).await,
        R::NoOtherGateway => {
            let (site, _only) = Played::one(&[]).await;
            at(&site, method, drains("a")).await
        }
        R::StreamLimit => {
            let site = Site::start().await;
            let wire = Wire::to(&site.admin_address).await;
            let mut screens = Vec::new();
            for _ in 0..MOST_SCREENS {
                let mut screen = wire.call(WATCH, watches()).await;
                screen.begun().await;
                screens.push(screen);
            }
            at(&site, method, watches()).await
        }
        R::NotSynced => {
            let site = Site::with(|it| {
                it.cold_start_wait = Duration::from_secs(3600);
                it.call_wait = Duration::from_millis(10);
            });
            at(&site.await, method, kicks()).await
        }
        R::Draining => of_a_node_that_drains(method).await,
        other => panic!("{method} may end with {other:?}: no test provokes it"),
    }
}

async fn at(site: &Site, method: &str, said: Said) -> Status {
    Wire::to(&site.admin_address).await.ends(method, said).await
}

async fn of_a_node_that_drains(method: &str) -> Status {
    let site = Site::with(|it| it.drain_window = Duration::from_secs(1 << 30)).await;
    let mut a = Played::attach(&site, "a").await;
    a.open_with(1, &[7]).await;
    let _b = Played::attach(&site, "b").await;
    let wire = Wire::to(&site.admin_address).await;
    if method.ends_with("/KickUser") {
        // It is connected before the port closes.
        let mut screen = wire.call(WATCH, watches()).await;
        screen.begun().await;
        site.shutdown.begin();
        return wire.ends(method, kicks()).await;
    }
    let said = match method.ends_with("/DrainGateway") {
        true => drains("a"),
        false => watches(),
    };
    let mut stream = wire.call(method, said).await;
    stream.next().await;
    site.shutdown.begin();
    stream.end().await
}

fn drains(gateway: &str) -> Said {
    let request = DrainGatewayRequest {
        gateway_id: gateway.to_owned(),
        ..DrainGatewayRequest::default()
    };
    Said::all(&request.encode_to_vec())
}

fn watches() -> Said {
    Said::all(&WatchTopologyRequest::default().encode_to_vec())
}

fn kicks() -> Said {
    let request = KickUserRequest {
        user_id: 7,
        kick_reason: 1,
        ..KickUserRequest::default()
    };
    Said::all(&request.encode_to_vec())
}

/// A request of this method that names what no node has.
fn of_what_is_not_there(method: &str) -> Said {
    let nobody = || "nobody".to_owned();
    let link = || "1-1".to_owned();
    let (_, short) = method.rsplit_once('/').unwrap();
    Said::all(&match short {
        "ListLinks" => ListLinksRequest {
            gateway_id: nobody(),
            ..ListLinksRequest::default()
        }
        .encode_to_vec(),
        "GetLink" => GetLinkRequest {
            link: link(),
            ..GetLinkRequest::default()
        }
        .encode_to_vec(),
        "CloseLink" => CloseLinkRequest {
            link: link(),
            ..CloseLinkRequest::default()
        }
        .encode_to_vec(),
        "CloseStream" => CloseStreamRequest {
            stream: "99".to_owned(),
            ..CloseStreamRequest::default()
        }
        .encode_to_vec(),
        // Tests have no log.
        "SetLogFilter" => SetLogFilterRequest {
            filter: "info".to_owned(),
            ..SetLogFilterRequest::default()
        }
        .encode_to_vec(),
        "ExplainEnvelope" => ExplainEnvelopeRequest {
            command: "message".to_owned(),
            user_ids: vec![7],
            origin_link: link(),
            ..ExplainEnvelopeRequest::default()
        }
        .encode_to_vec(),
        "DrainGateway" => return drains("nobody"),
        "KickUser" => return kicks(),
        other => panic!("no request of {other}"),
    })
}
