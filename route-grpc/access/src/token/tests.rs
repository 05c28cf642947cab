use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use super::*;

// What is signed, and by whom

/// An issuer with three keys: `r`, `e` and `o`, of RSA, P-256 and Ed25519.
struct Issuer {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            rsa: RsaKeyPair::from_der(include_bytes!("data/rsa_2048_of_tests.der")).unwrap(),
            p256: EcdsaKeyPair::from_pkcs8(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                p256.as_ref(),
                &random,
            )
            .unwrap(),
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap(),
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        match kid {
            "r" => {
                let RsaPublicKeyComponents { n, e } = self.rsa_components();
                json!({"kid": "r", "kty": "RSA", "use": "sig", "alg": "RS256", "n": base64url(&n), "e": base64url(&e)})
            }
            "e" => {
                let (x, y) = self.p256.public_key().as_ref()[1..].split_at(32);
                json!({"kid": "e", "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
            }
            "o" => {
                let x = self.ed25519.public_key().as_ref();
                json!({"kid": "o", "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": base64url(x)})
            }
            other => panic!("no key {other}"),
        }
    }

    fn rsa_components(&self) -> RsaPublicKeyComponents<Vec<u8>> {
        self.rsa.public().into()
    }

    fn keys(&self) -> Keys {
        parsed(&["r", "e", "o"].map(|kid| self.jwk(kid))).unwrap()
    }

    /// Signs with the key, whatever the header says.
    fn signed(&self, kid: &str, header: &str, claims: &str) -> String {
        let message = format!(
            "{}.{}",
            base64url(header.as_bytes()),
            base64url(claims.as_bytes())
        );
        let random = SystemRandom::new();
        let signature = match kid {
            "r" => self.rsa_signed(&RSA_PKCS1_SHA256, &message),
            "r by SHA-512" => self.rsa_signed(&RSA_PKCS1_SHA512, &message),
            "e" => self
                .p256
                .sign(&random, message.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            "o" => self.ed25519.sign(message.as_bytes()).as_ref().to_vec(),
            other => panic!("no key {other}"),
        };
        format!("{message}.{}", base64url(&signature))
    }

    fn rsa_signed(&self, how: &'static dyn ring::signature::RsaEncoding, message: &str) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public().modulus_len()];
        self.rsa
            .sign(
                how,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .unwrap();
        signature
    }

    /// Claims as they have to be, changed by what is given: null takes one away.
    fn token(&self, changed: &Value) -> String {
        self.signed("o", HEADER, &claims(changed))
    }
}

const HEADER: &str = r#"{"alg":"EdDSA","kid":"o","typ":"JWT"}"#;
/// When it is, in seconds.
const NOW: u64 = 1_800_000_000;
const LEEWAY: u64 = 30;

fn claims(changed: &Value) -> String {
    let mut claims = json!({
        "iss": "https://issuer.site", "sub": "push", "aud": ["route", "other"],
        "exp": NOW + 600, "nbf": NOW - 60, "iat": NOW - 60, "groups": ["archive"],
    });
    for (name, value) in changed.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims.to_string()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn rules() -> TokenRules {
    TokenRules {
        audiences: vec!["route".to_owned(), "route.site".to_owned()],
        issuers: vec!["https://issuer.site".to_owned()],
        leeway: Duration::from_secs(LEEWAY),
    }
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn parsed(keys: &[Value]) -> Result<Keys, KeysError> {
    Keys::parse(json!({ "keys": keys }).to_string().as_bytes())
}

// Tokens that pass

#[test]
fn a_token_of_each_algorithm_is_verified() {
    let issuer = Issuer::new();
    for (kid, alg) in [
        ("r", "RS256"),
        ("e", "ES256"),
        ("o", "EdDSA"),
        ("o", "Ed25519"),
    ] {
        for header in [json!({"alg": alg, "kid": kid}), json!({"alg": alg})] {
            let token = issuer.signed(kid, &header.to_string(), &claims(&json!({})));
            let verified = issuer.keys().verify(&token, &rules(), at(NOW));
            let expected = Token {
                subject: "push".to_owned(),
                groups: vec!["archive".to_owned()],
                issuer: Some("https://issuer.site".to_owned()),
                expires: at(NOW + 600 + LEEWAY),
            };
            assert_eq!(verified, Ok(expected), "{header}");
        }
    }
}

#[test]
fn times_count_with_the_leeway_to_the_second() {
    let issuer = Issuer::new();
    let verified = |changed: Value| {
        issuer
            .keys()
            .verify(&issuer.token(&changed), &rules(), at(NOW))
            .map(|_| ())
    };
    assert_eq!(verified(json!({"exp": NOW - LEEWAY + 1})), Ok(()));
    assert_eq!(
        verified(json!({"exp": NOW - LEEWAY})),
        Err(TokenError::Expired)
    );
    assert_eq!(verified(json!({"nbf": NOW + LEEWAY})), Ok(()));
    assert_eq!(
        verified(json!({"nbf": NOW + LEEWAY + 1})),
        Err(TokenError::NotYetValid)
    );
    assert_eq!(
        verified(json!({"exp": 1_800_000_600.25, "nbf": null, "iat": null})),
        Ok(())
    );
}

#[test]
fn audience_issuer_and_groups_may_be_one_text_or_left_out() {
    let issuer = Issuer::new();
    let token = issuer.token(&json!({"aud": "route.site", "iss": null, "groups": null}));
    let any_issuer = TokenRules {
        issuers: vec![],
        ..rules()
    };
    let verified = issuer.keys().verify(&token, &any_issuer, at(NOW)).unwrap();
    assert_eq!((verified.issuer, verified.groups), (None, vec![]));
    let one = issuer
        .keys()
        .verify(
            &issuer.token(&json!({"groups": "archive"})),
            &rules(),
            at(NOW),
        )
        .unwrap();
    assert_eq!(one.groups, ["archive"]);
}

#[test]
fn a_service_account_of_kubernetes_is_in_its_groups() {
    let issuer = Issuer::new();
    let groups = |subject: &str| {
        let token = issuer.token(&json!({"sub": subject, "groups": ["a"]}));
        issuer
            .keys()
            .verify(&token, &rules(), at(NOW))
            .unwrap()
            .groups
    };
    let service_accounts = ["a", "system:serviceaccounts", "system:serviceaccounts:im"];
    assert_eq!(groups("system:serviceaccount:im:push"), service_accounts);
    for other in [
        "system:serviceaccount:im",
        "system:serviceaccount::push",
        "system:serviceaccount:im:",
        "system:node:x",
    ] {
        assert_eq!(groups(other), ["a"], "{other}");
    }
    assert_eq!(groups("system:serviceaccount:im:push:x"), ["a"]);
}

// Tokens that do not

fn assert_refused(token: &str, keys: &Keys, error: &str, reason: &str) {
    let refused = keys.verify(token, &rules(), at(NOW)).expect_err(token);
    assert_eq!(
        (&*format!("{refused:?}"), refused.reason()),
        (error, reason),
        "{token}"
    );
}

/// A table's rows; `|` stands between their fields.
fn rows<const N: usize>(table: &str) -> Vec<[&str; N]> {
    let rows = table.lines().filter(|row| !row.trim().is_empty());
    rows.map(|row| {
        row.split('|')
            .map(str::trim)
            .collect::<Vec<_>>()
            .try_into()
            .expect(row)
    })
    .collect()
}

#[test]
fn claims_that_do_not_count_here_are_refused() {
    let issuer = Issuer::new();
    let table = r#"
        {"exp": 1799990000}           | Expired         | expired
        {"nbf": 1800003600}           | NotYetValid     | not_yet_valid
        {"aud": "other"}              | Audience        | audience
        {"aud": []}                   | Audience        | audience
        {"aud": ["Route", "rout", ""]} | Audience       | audience
        {"iss": "https://other.site"} | Issuer          | issuer
        {"iss": null}                 | Issuer          | issuer
        {"exp": null}                 | Claim("exp")    | malformed
        {"exp": "1800000600"}         | Claim("exp")    | malformed
        {"exp": -1}                   | Claim("exp")    | malformed
        {"exp": 1e300}                | Claim("exp")    | malformed
        {"nbf": "0"}                  | Claim("nbf")    | malformed
        {"iat": [0]}                  | Claim("iat")    | malformed
        {"aud": null}                 | Claim("aud")    | malformed
        {"aud": ["route", 1]}         | Claim("aud")    | malformed
        {"aud": {"route": 1}}         | Claim("aud")    | malformed
        {"iss": 1}                    | Claim("iss")    | malformed
        {"sub": null}                 | Claim("sub")    | malformed
        {"sub": ""}                   | Claim("sub")    | malformed
        {"sub": 7}                    | Claim("sub")    | malformed
        {"sub": "push\nadmin"}        | Claim("sub")    | malformed
        {"sub": "p\u202eush"}         | Claim("sub")    | malformed
        {"groups": [["archive"]]}     | Claim("groups") | malformed
        {"groups": {"archive": 1}}    | Claim("groups") | malformed
    "#;
    for [changed, error, reason] in rows(table) {
        let token = issuer.token(&serde_json::from_str(changed).unwrap());
        assert_refused(&token, &issuer.keys(), error, reason);
    }
    let long = json!({"sub": "s".repeat(513)});
    assert_refused(
        &issuer.token(&long),
        &issuer.keys(),
        r#"Claim("sub")"#,
        "malformed",
    );
}

#[test]
fn claims_that_are_null_twice_or_in_a_list_are_refused() {
    let issuer = Issuer::new();
    let good = claims(&json!({}));
    let added = |to: &str, member: &str| to.replacen('{', &format!("{{{member},"), 1);
    for (claims, error) in [
        (added(&good, r#""exp":null"#), "Claims"),
        (added(&good, r#""sub":"admin""#), "Claims"),
        (added(&good, r#""aud":"route""#), "Claims"),
        (
            added(&claims(&json!({"nbf": null})), r#""nbf":null"#),
            r#"Claim("nbf")"#,
        ),
        (format!("[{good}]"), "Claims"),
        (r#"["push","a","route",9e9,0,0,[]]"#.to_owned(), "Claims"),
        (format!("{good} {{}}"), "Claims"),
        ("null".to_owned(), "Claims"),
        (String::new(), "Claims"),
    ] {
        assert_refused(
            &issuer.signed("o", HEADER, &claims),
            &issuer.keys(),
            error,
            "malformed",
        );
    }
}

#[test]
fn headers_do_not_choose_how_they_are_verified() {
    let issuer = Issuer::new();
    let table = r#"
        o | {"alg": "none"}                                          | Algorithm    | algorithm
        o | {"alg": "none", "kid": "o"}                              | Algorithm    | algorithm
        o | {"alg": "HS256", "kid": "r"}                             | Algorithm    | algorithm
        o | {"alg": "eddsa", "kid": "o"}                             | Algorithm    | algorithm
        r by SHA-512 | {"alg": "RS512", "kid": "r"}                  | Algorithm    | algorithm
        r by SHA-512 | {"alg": "RS256", "kid": "r"}                  | Signature    | signature
        o | {"alg": "RS256", "kid": "o"}                             | KeyAlgorithm | algorithm
        e | {"alg": "EdDSA", "kid": "e"}                             | KeyAlgorithm | algorithm
        o | {"alg": "EdDSA", "kid": "x"}                             | UnknownKey   | unknown_key
        o | {"alg": "EdDSA", "kid": "O"}                             | UnknownKey   | unknown_key
        o | {"alg": "EdDSA", "kid": ""}                              | UnknownKey   | unknown_key
        o | {"alg": "EdDSA", "kid": "o", "crit": ["b64"], "b64": true} | Critical   | critical
        o | {"alg": "EdDSA", "kid": "o", "crit": []}                 | Critical     | critical
        o | {"alg": "EdDSA", "kid": "o", "crit": null}               | Critical     | critical
        o | {"kid": "o"}                                             | Header       | malformed
        o | {"alg": ["EdDSA"], "kid": "o"}                           | Header       | malformed
        o | {"alg": "EdDSA", "kid": 1}                               | Header       | malformed
        o | {"alg": "none", "alg": "EdDSA", "kid": "o"}              | Header       | malformed
        o | ["EdDSA", "o"]                                           | Header       | malformed
    "#;
    for [signer, header, error, reason] in rows(table) {
        let token = issuer.signed(signer, header, &claims(&json!({})));
        assert_refused(&token, &issuer.keys(), error, reason);
    }
}

#[test]
fn what_another_key_has_signed_is_refused() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let embedded =
        json!({"jwk": other.jwk("o"), "jku": "https://other.site/jwks", "x5c": ["AA=="]});
    for (kid, alg) in [("e", "ES256"), ("o", "EdDSA")] {
        let mut header = embedded.clone();
        header["alg"] = json!(alg);
        header["kid"] = json!(kid);
        let token = other.signed(kid, &header.to_string(), &claims(&json!({})));
        assert_refused(&token, &issuer.keys(), "Signature", "signature");
    }
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    let issuer = Issuer::new();
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, issuer.rsa.public().as_ref());
    for alg in ["HS256", "RS256"] {
        let header = json!({"alg": alg, "kid": "r"}).to_string();
        let message = format!(
            "{}.{}",
            base64url(header.as_bytes()),
            base64url(claims(&json!({})).as_bytes())
        );
        let token = format!(
            "{message}.{}",
            base64url(ring::hmac::sign(&secret, message.as_bytes()).as_ref())
        );
        let error = if alg == "HS256" {
            "Algorithm"
        } else {
            "Signature"
        };
        assert_refused(&token, &issuer.keys(), error, &error.to_lowercase());
    }
}

#[test]
fn without_a_key_id_there_is_one_key_of_the_algorithm() {
    let issuer = Issuer::new();
    let token = issuer.signed("o", r#"{"alg":"EdDSA"}"#, &claims(&json!({})));
    let mut second = Issuer::new().jwk("o");
    second["kid"] = json!("second");
    let two = parsed(&[issuer.jwk("o"), second]).unwrap();
    assert_refused(&token, &two, "MissingKeyId", "missing_key_id");
    let none = parsed(&[issuer.jwk("r")]).unwrap();
    assert_refused(&token, &none, "UnknownKey", "unknown_key");
}

#[test]
fn what_has_not_the_form_of_a_token_is_refused() {
    let issuer = Issuer::new();
    let good = issuer.token(&json!({}));
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!()
    };
    let padded = STANDARD.encode(br#"{"alg":"EdDSA","kid":"o"} "#);
    assert!(padded.ends_with('='));
    for (token, error) in [
        (String::new(), TokenError::Parts),
        ("..".to_owned(), TokenError::Header),
        (format!("{header}.{claims}"), TokenError::Parts),
        (format!("{good}.{signature}"), TokenError::Parts),
        (format!("{header}.{claims}."), TokenError::Signature),
        (
            format!("{padded}.{claims}.{signature}"),
            TokenError::Encoding,
        ),
        (
            format!("{header}.{claims}.{signature}=="),
            TokenError::Encoding,
        ),
        (format!("{good}\n"), TokenError::Encoding),
        (format!(" {good}"), TokenError::Encoding),
        (
            format!("{header}.{claims}x.{signature}"),
            TokenError::Signature,
        ),
    ] {
        assert_eq!(
            issuer.keys().verify(&token, &rules(), at(NOW)),
            Err(error),
            "{token}"
        );
    }
    let long = issuer.token(&json!({"x": "x".repeat(16 * 1024)}));
    assert_refused(&long, &issuer.keys(), "TooLong", "too_long");
}

#[test]
fn a_refusal_does_not_show_the_token() {
    let issuer = Issuer::new();
    let token = issuer.signed(
        "o",
        r#"{"alg":"EdDSA","kid":"secret-kid"}"#,
        &claims(&json!({"sub": "secret-sub"})),
    );
    let refused = issuer.keys().verify(&token, &rules(), at(NOW)).unwrap_err();
    let shown = format!("{refused} {refused:?}");
    assert!(
        !shown.contains("secret") && !shown.contains(token.split('.').next().unwrap()),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>(), middle in "[A-Za-z0-9_-]{0,40}[.]{0,3}[A-Za-z0-9_-]{0,40}") {
        let keys = parsed(&[Issuer::new().jwk("r")]).unwrap();
        prop_assert!(keys.verify(&text, &rules(), at(NOW)).is_err());
        prop_assert!(keys.verify(&middle, &rules(), at(NOW)).is_err());
        prop_assert!(Keys::parse(text.as_bytes()).is_err());
    }
}

#[test]
fn no_part_and_no_changed_byte_of_a_token_passes() {
    let issuer = Issuer::new();
    let (keys, token) = (issuer.keys(), issuer.token(&json!({})));
    for index in 0..token.len() {
        assert!(
            keys.verify(&token[..index], &rules(), at(NOW)).is_err(),
            "the first {index} bytes"
        );
        let mut changed = token.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(
            keys.verify(&changed, &rules(), at(NOW)).is_err(),
            "byte {index}"
        );
    }
}

// Files of keys

#[test]
fn keys_of_other_kinds_are_skipped_and_told() {
    let issuer = Issuer::new();
    let mut keys = vec![issuer.jwk("r")];
    let skipped = [
        (json!({"kid": "1", "use": "enc"}), "r", "use is not sig"),
        (json!({"kid": "2", "alg": "RS512"}), "r", "alg is not RS256"),
        (
            json!({"kid": "3", "alg": "RSA-OAEP", "use": "enc"}),
            "r",
            "alg is not RS256",
        ),
        (json!({"kid": "4", "crv": "P-384"}), "e", "crv is not P-256"),
        (
            json!({"kid": "5", "crv": "X25519"}),
            "o",
            "crv is not Ed25519",
        ),
        (
            json!({"kid": "6", "key_ops": ["encrypt"]}),
            "r",
            "key_ops has no verify",
        ),
        (
            json!({"kid": "7", "kty": "AKP"}),
            "o",
            "no token is verified with keys of this kty",
        ),
        (json!({"kid": "r", "use": "enc"}), "r", "use is not sig"),
    ];
    keys.extend(
        skipped
            .iter()
            .map(|(changed, kid, _)| changed_jwk(issuer.jwk(kid), changed)),
    );
    let told: Vec<&str> = parsed(&keys)
        .unwrap()
        .skipped()
        .iter()
        .map(|it| it.why)
        .collect();
    assert_eq!(told, skipped.map(|(_, _, why)| why));
    let alone = parsed(&keys[1..2]).unwrap_err();
    assert_eq!(
        alone.to_string(),
        r#"no key that can verify a token; key 1 (kid "1"): use is not sig"#
    );
}

#[test]
fn a_file_with_what_should_not_be_in_it_is_refused() {
    let issuer = Issuer::new();
    let table = r#"
        r | {"kty": "oct", "k": "AAAA"}    | it is symmetric: whoever can verify with it can sign, too
        r | {"d": "AAAA"}                  | it is private: it belongs to the issuer alone
        r | {"p": "AAAA", "use": "enc"}    | it is private: it belongs to the issuer alone
        o | {"d": null}                    | it is private: it belongs to the issuer alone
        r | {"kty": "rsa"}                 | kty is none that is known
        e | {"crv": "P256"}                | crv is none that is known
        r | {"alg": "ES256"}               | alg is not of RSA
        e | {"alg": "RS256"}               | alg is not of P-256
        o | {"alg": "HS256"}               | alg is not of Ed25519
        r | {"n": ""}                      | n has not 2048 to 8192 bits
        r | {"n": "+/=="}                  | n is missing or not base64url without padding
        r | {"e": "AQ"}                    | e is no exponent
        r | {"e": "AQAC"}                  | e is no exponent
        r | {"e": "AQAAAAAB"}              | e is no exponent
        e | {"x": "AAAA"}                  | x or y has not 32 bytes
        o | {"x": "AAAA"}                  | x has not 32 bytes
        o | {"x": 5}                       | a member that is a text is none
    "#;
    for [kid, changed, fault] in rows(table) {
        let changed = serde_json::from_str(changed).unwrap();
        assert_eq!(
            fault_of(&issuer, kid, &changed),
            format!(r#"key 2 (kid "bad"): {fault}"#)
        );
    }
    let n = issuer.rsa_components().n;
    let even = [&n[..255], &[0]].concat();
    for (n, fault) in [
        (&n[1..], "n has not 2048 to 8192 bits"),
        (&even, "n is even"),
    ] {
        let changed = json!({"n": base64url(n)});
        assert_eq!(
            fault_of(&issuer, "r", &changed),
            format!(r#"key 2 (kid "bad"): {fault}"#)
        );
    }
    let twice = parsed(&[issuer.jwk("r"), issuer.jwk("r")]).unwrap_err();
    assert_eq!(
        twice.to_string(),
        r#"key 2 (kid "r"): another key has the same kid"#
    );
}

/// What is said of a file whose second key is this one, changed.
fn fault_of(issuer: &Issuer, kid: &str, changed: &Value) -> String {
    let bad = changed_jwk(
        changed_jwk(issuer.jwk(kid), &json!({"kid": "bad"})),
        changed,
    );
    parsed(&[issuer.jwk("e"), bad, issuer.jwk("o")])
        .unwrap_err()
        .to_string()
}

#[test]
fn a_file_without_keys_is_refused() {
    assert_eq!(
        parsed(&[]).unwrap_err().to_string(),
        "no key that can verify a token"
    );
    for text in [
        "",
        "{}",
        "[]",
        r#"{"keys":{}}"#,
        r#"{"keys":["secret"]}"#,
        "not json",
    ] {
        let refused = Keys::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(
            refused.starts_with("line 1, column ") || refused.starts_with("line 1, "),
            "{refused}"
        );
        assert!(!refused.contains("secret"), "{refused}");
    }
}

#[test]
fn a_modulus_may_begin_with_zeros() {
    let issuer = Issuer::new();
    let n = [&[0, 0][..], &issuer.rsa_components().n].concat();
    let keys = parsed(&[changed_jwk(issuer.jwk("r"), &json!({"n": base64url(&n)}))]).unwrap();
    let token = issuer.signed("r", r#"{"alg":"RS256","kid":"r"}"#, &claims(&json!({})));
    assert!(keys.verify(&token, &rules(), at(NOW)).is_ok());
}

fn changed_jwk(mut jwk: Value, changed: &Value) -> Value {
    for (name, value) in changed.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}
