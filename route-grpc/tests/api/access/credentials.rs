//! What callers show: each thing that may be wrong with it has its code, its reason, its line and its counter.

use ring::hmac;
use serde_json::json;
use tonic::{Code, Status};

use super::guarded::{BY_NAME, Guarded};
use super::log::Log;
use super::made::{AUDIENCE, ISSUER, TokenIssuer, base64url, message, now};
use crate::attach::reason;
use crate::site::{Site, soon};
use crate::wire::{Said, Wire};

pub(super) const GET: &str = "teamtalk.route.v1.PresenceService/GetUserStatus";

/// Of user 7.
pub(super) fn asks() -> Said {
    Said::all(&[8, 7])
}

/// Ended like this because of what was shown, which the log and the counters say.
fn refused(guarded: &Guarded, log: &Log, what: &str, (why, before): (&str, u64), status: &Status) {
    let expected = match why {
        "credential_missing" => "CREDENTIAL_MISSING",
        _ => "CREDENTIAL_INVALID",
    };
    assert_eq!(status.code(), Code::Unauthenticated, "{what}: {status:?}");
    assert_eq!(reason(status), expected, "{what}: {status:?}");
    assert_eq!(
        guarded.refusals(why),
        before + 1,
        "{what} is counted: {status:?}"
    );
    let line = [
        "WARN audit:",
        "a call was refused",
        &format!("{why:?}"),
        GET,
    ];
    assert!(log.has(&line), "{what}: {}", log.all());
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_told_counted_and_logged() {
    let log = Log::listen();
    let guarded = Guarded::start(BY_NAME).await;
    let wire = guarded.wire(None).await;
    for (what, token, why) in wrong_tokens(&guarded.issuer) {
        let before = guarded.refusals(why);
        let status = wire.ends(GET, asks().token(&token)).await;
        refused(&guarded, &log, what, (why, before), &status);
        assert!(
            !log.all().contains(&token),
            "{what}: the token is in the log"
        );
    }
    let good = guarded.issuer.token("reader");
    let status = wire.ends(GET, asks().token(&good)).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}

/// What is wrong with it, and the reason's name.
fn wrong_tokens(issuer: &TokenIssuer) -> Vec<(&'static str, String, &'static str)> {
    let other = TokenIssuer::new();
    let with = |claims| issuer.with("reader", &claims);
    let headed = |header| issuer.headed(&header, "reader");
    let good = issuer.token("reader");
    let unsigned = {
        let header = json!({"alg": "none"});
        let claims = json!({"iss": ISSUER, "sub": "reader", "aud": AUDIENCE, "exp": now() + 600});
        format!("{}.", message(&header, &claims))
    };

    vec![
        (
            "it has expired",
            with(json!({"exp": now() - 60})),
            "expired",
        ),
        (
            "it begins later",
            with(json!({"nbf": now() + 60})),
            "not_yet_valid",
        ),
        (
            "it is for others",
            with(json!({"aud": "other"})),
            "audience",
        ),
        ("it is of others", with(json!({"iss": "other"})), "issuer"),
        ("it has no end", with(json!({"exp": null})), "malformed"),
        ("it has another key", other.token("reader"), "signature"),
        ("it is not signed", unsigned, "algorithm"),
        (
            "it is signed by the public key",
            signed_by_public_key(issuer),
            "algorithm",
        ),
        (
            "its key is not there",
            headed(json!({"alg": "EdDSA", "kid": "x"})),
            "unknown_key",
        ),
        (
            "its key is of another algorithm",
            headed(json!({"alg": "RS256", "kid": "k"})),
            "algorithm",
        ),
        (
            "it asks for what is not known",
            headed(json!({"alg": "EdDSA", "kid": "k", "crit": ["b64"], "b64": false})),
            "critical",
        ),
        ("it is none", "no-token".to_owned(), "malformed"),
        ("it was changed", changed(&good), "signature"),
    ]
}

/// With another first letter of the signature.
fn changed(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", &signature[1..])
}

/// As if the key that everybody may know were a secret of both.
fn signed_by_public_key(issuer: &TokenIssuer) -> String {
    let header = json!({"alg": "HS256", "kid": "k"});
    let claims = json!({"iss": ISSUER, "sub": "reader", "aud": AUDIENCE, "exp": now() + 600});
    let message = message(&header, &claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, issuer.public());
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", base64url(signature.as_ref()))
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let log = Log::listen();
    let guarded = Guarded::start(BY_NAME).await;
    let good = guarded.issuer.token("reader");
    let wire = guarded.wire(None).await;

    let before = guarded.refusals("credential_missing");
    let status = wire.ends(GET, asks()).await;
    let why = ("credential_missing", before);
    refused(&guarded, &log, "nothing", why, &status);
    for (what, said) in [
        (
            "another scheme",
            asks().header("authorization", "Basic YTpi"),
        ),
        ("no scheme", asks().header("authorization", good.clone())),
        ("no token", asks().header("authorization", "Bearer")),
        ("two tokens", asks().token(&good).token(&good)),
        ("a list", asks().token(&format!("{good}, Bearer {good}"))),
    ] {
        let before = guarded.refusals("malformed");
        let status = wire.ends(GET, said).await;
        refused(&guarded, &log, what, ("malformed", before), &status);
    }
    let scheme = asks().header("authorization", format!("bearer {good}"));
    let status = wire.ends(GET, scheme).await;
    assert_eq!(status.code(), Code::Ok, "schemes have no case: {status:?}");
}

/// Whoever is on the way has it then.
#[tokio::test]
async fn a_token_that_came_without_tls_is_refused_but_on_loopback() {
    let log = Log::listen();
    let everywhere = Guarded::without_tls("0.0.0.0:0").await;
    let wire = Wire::to(&format!("127.0.0.1:{}", everywhere.site.address.port())).await;
    let before = everywhere.refusals("plaintext");
    let token = everywhere.issuer.token("reader");
    let status = wire.ends(GET, asks().token(&token)).await;
    let why = ("plaintext", before);
    refused(&everywhere, &log, "as plain text", why, &status);

    let here = Guarded::without_tls("127.0.0.1:0").await;
    let token = here.issuer.token("reader");
    let wire = Wire::open(&here.site).await;
    let status = wire.ends(GET, asks().token(&token)).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}

#[tokio::test]
async fn a_node_that_takes_no_tokens_says_so() {
    let log = Log::listen();
    let guarded = Guarded::with(BY_NAME, |it| {
        it.security.token_keys = None;
        it.security.token_audience.clear();
        it.security.token_issuer.clear();
    })
    .await;
    let before = guarded.refusals("not_asked");

    let wire = guarded.wire_of("reader").await;
    let status = wire.ends(GET, asks().token("x")).await;

    refused(&guarded, &log, "a token", ("not_asked", before), &status);
}

/// Far too many are an answer of HTTP, as the library has it: it is before anything that could look who calls.
#[tokio::test]
async fn more_headers_than_there_is_room_for_are_refused() {
    let log = Log::listen();
    let guarded = Guarded::start(BY_NAME).await;
    let wire = guarded.wire_of("reader").await;
    let long = |bytes| asks().header("x-long", "x".repeat(bytes));

    let status = wire.ends(GET, long(16 << 10)).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
    let status = wire.ends(GET, long(24 << 10)).await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(reason(&status), "TOO_LARGE");
    let counted = "teamtalk_route_access_refusals_total{reason=\"headers\"} 1";
    guarded.site.shows(counted).await;
    let line = ["a call was refused", "\"headers\"", "urn:reader"];
    assert!(log.has(&line), "{}", log.all());

    let mut call = wire.call(GET, long(48 << 10)).await;
    let refused = soon("a refusal", call.refused()).await;
    assert_eq!(refused.expect("an answer"), "431");
    let status = wire.ends(GET, asks()).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");

    let mut call = wire.call(GET, long(256 << 10)).await;
    let refused = soon("a refusal", call.refused()).await;
    assert_eq!(refused, None, "the connection ends");
    let wire = guarded.wire_of("reader").await;
    let status = wire.ends(GET, asks()).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}

/// Names of methods are told apart letter by letter, and other headers do not matter.
#[tokio::test]
async fn no_spelling_of_a_path_comes_past_the_policy() {
    let guarded = Guarded::start(BY_NAME).await;
    let wire = guarded.wire_of("reader").await;
    let publish = "teamtalk.route.v1.BroadcastService/Publish";
    for path in [
        format!("{publish}/"),
        format!("/{publish}"),
        publish.replace('/', "//"),
        publish.to_lowercase(),
        publish.replace("Publish", "%50ublish"),
        format!("{GET}/../../{publish}"),
    ] {
        let status = wire.ends(&path, Said::all(b"")).await;
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
    }
    for (path, said) in [
        (format!("{publish}?{GET}"), Said::all(b"")),
        (format!("{publish}#{GET}"), Said::all(b"")),
        (
            publish.to_owned(),
            Said::all(b"")
                .header("x-http-method-override", "GET")
                .header("x-original-url", GET)
                .header("x-forwarded-client-cert", "URI=urn:publisher"),
        ),
    ] {
        let status = wire.ends(&path, said).await;
        assert_eq!(status.code(), Code::PermissionDenied, "{path}: {status:?}");
        assert_eq!(reason(&status), "NOT_ALLOWED");
    }
}

/// Without a policy nobody looks at what callers show.
#[tokio::test]
async fn without_a_policy_everybody_on_this_host_may_do_everything() {
    let site = Site::start().await;
    let wire = Wire::open(&site).await;
    let status = wire.ends(GET, asks().token("x")).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}
