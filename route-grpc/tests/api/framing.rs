//! What is no gRPC, or not framed as gRPC is, and what nobody serves.

use route_proto::admin::v1alpha1::admin_service_server;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::attach::reason;
use crate::site::Site;
use crate::wire::{Said, Wire};

const GET_USER: &str = "teamtalk.route.v1.PresenceService/GetUserStatus";
const WATCH: &str = "teamtalk.route.v1.PresenceService/WatchUserStatus";
const WATCH_SET: &str = "teamtalk.route.v1.PresenceService/WatchUserSet";
const HEALTH: &str = "grpc.health.v1.Health/Check";

fn check_field(refused: &Status, told: &str) {
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert_eq!(reason(refused), "FIELD_INVALID");
    let fields = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(fields[0].field, "request");
    assert!(refused.message().contains(told), "{refused}");
}

#[tokio::test]
async fn json_without_a_frame_is_known_as_such() {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    for method in [GET_USER, WATCH, WATCH_SET, HEALTH] {
        for json in [r#"{"user_ids":[1]}"#, "{}", "[]", r#""""#] {
            let refused = wire.ends(method, Said::bytes(json.as_bytes())).await;
            check_field(&refused, "looks like JSON");
        }
    }
}

#[tokio::test]
async fn what_is_not_framed_is_refused_by_its_caller() {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    for method in [GET_USER, WATCH, HEALTH] {
        for (bytes, told) in [
            // A bare message, other text, and flags that there are not.
            (&b"\x08\x01"[..], "begins with 0 or 1"),
            (b"user_id: 1", "begins with 0 or 1"),
            (b"\x02\0\0\0\x02\x08\x01", "begins with 0 or 1"),
            (b"\x01\0\0\0\x02\x08\x01", "no grpc-encoding"),
            // Less than it says, less than a prefix, nothing.
            (b"\0\0\0\0\x09\x08\x01", "7 bytes are missing"),
            (b"\0\0", "3 bytes are missing"),
            (b"", "has no message"),
        ] {
            let refused = wire.ends(method, Said::bytes(bytes)).await;
            check_field(&refused, told);
        }
    }
}

/// The mistake comes in the middle of a stream.
#[tokio::test]
async fn a_later_message_is_looked_at_too() {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    let start = b"\0\0\0\0\x05\x0a\x03\x0a\x01\x07";
    let mut call = wire.call(WATCH_SET, Said::goes_on(start)).await;
    call.next().await;

    call.say(b"{}", true);

    check_field(&call.end().await, "looks like JSON");
}

#[tokio::test]
async fn operators_are_told_the_same() {
    let site = Site::start().await;
    let wire = Wire::to(&site.admin_address).await;
    let method = format!("{}/ListLinks", admin_service_server::SERVICE_NAME);

    check_field(
        &wire.ends(&method, Said::bytes(b"{}")).await,
        "looks like JSON",
    );
    check_field(
        &wire.ends(&method, Said::bytes(b"")).await,
        "has no message",
    );
    let unknown = wire.ends("guess/Guess", Said::all(b"")).await;
    check_not_served(&unknown, admin_service_server::SERVICE_NAME);
}

fn check_not_served(refused: &Status, told: &str) {
    assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
    assert_eq!(reason(refused), "NOT_SERVED");
    assert!(refused.message().contains(told), "{refused}");
}

#[tokio::test]
async fn who_calls_what_is_not_there_is_told_what_is() {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    for (method, there_are) in [
        ("teamtalk.route.v1.PresenceService/Guess", "GetUserStatus, "),
        ("teamtalk.route.v1.ServerService/", "GetServerInfo"),
        ("grpc.health.v1.Health/Guess", "Check, "),
        (
            "teamtalk.route.v1.Guess/GetUserStatus",
            "teamtalk.route.v1.PresenceService, ",
        ),
        ("", "teamtalk.route.v1.PresenceService, "),
    ] {
        let refused = wire.ends(method, Said::all(b"")).await;
        check_not_served(&refused, there_are);
        assert!(
            refused.message().starts_with(&format!("/{method} ")),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn who_compresses_otherwise_is_told_how_it_can_be() {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    let takes = |refused: &Status| -> String {
        let metadata: &MetadataMap = refused.metadata();
        metadata
            .get("grpc-accept-encoding")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    for method in [GET_USER, WATCH, WATCH_SET] {
        for encoding in ["deflate", "br", "zstd"] {
            let refused = wire.ends(method, Said::all(b"").packed(encoding)).await;
            check_not_served(&refused, "gzip,identity");
            assert!(refused.message().contains(encoding), "{refused}");
            assert_eq!(takes(&refused), "gzip,identity");
        }
    }
    let refused = wire.ends(HEALTH, Said::all(b"").packed("gzip")).await;
    check_not_served(&refused, "taken are identity");
}

/// Else the request is reset, and some clients lose the answer.
#[tokio::test]
async fn a_request_that_is_refused_is_read_to_its_end() {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    let begins = || Said::goes_on(b"{");
    for (method, said) in [
        (GET_USER, begins().of_type("application/json")),
        ("guess/Guess", begins()),
        (GET_USER, begins()),
        (GET_USER, begins().timeout("soon")),
    ] {
        let mut call = wire.call(method, said).await;
        everything_is_heard(&wire).await;
        call.say(&[b' '; 10_000], true);

        call.begun().await;

        everything_is_heard(&wire).await;
        assert!(!call.is_reset(), "{method}");
    }
}

/// Frames of one connection come in order.
async fn everything_is_heard(wire: &Wire) {
    let other = wire.ends(
        "teamtalk.route.v1.ServerService/GetServerInfo",
        Said::all(b""),
    );
    assert_eq!(other.await.code(), Code::Ok);
}

/// A serializer of JSON in a client of gRPC.
#[tokio::test]
async fn json_in_a_frame_is_known_as_such() {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    for method in [GET_USER, WATCH, WATCH_SET] {
        for json in [
            r#"{"user_ids":[1]}"#,
            "{}",
            "[]",
            "[1]",
            r#"[{"user_id":1}]"#,
        ] {
            let refused = wire.ends(method, Said::all(json.as_bytes())).await;
            check_field(&refused, "looks like JSON");
        }
    }
}

/// The client's program is gone, and its proxy keeps the connection.
#[tokio::test]
async fn a_stream_ends_at_its_deadline() {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    let everybody = b"\0\0\0\0\x02\x10\x01";
    for (method, asked) in [(WATCH, &everybody[..]), (WATCH_SET, b"\0\0\0\0\x02\x0a\0")] {
        let said = Said::goes_on(asked).within(300);
        let ended = wire.call(method, said).await.end().await;
        assert_eq!(ended.code(), Code::DeadlineExceeded, "{method}: {ended}");
        assert_eq!(reason(&ended), "DEADLINE_PASSED");
    }
}
