//! Tokens that are refused.

use base64::engine::general_purpose::STANDARD;

use super::*;

fn assert_refused(token: &str, keys: &Keys, error: &str, reason: &str) {
    let refused = keys.verify(token, &rules(), at(NOW)).expect_err(token);
    assert_eq!(
        (&*format!("{refused:?}"), refused.reason()),
        (error, reason),
        "{token}"
    );
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
        {"exp": 253402300800}         | Claim("exp")    | malformed
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
    let long = longest(&issuer) + "A";
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

/// A token of 16 KiB.
pub(super) fn longest(issuer: &Issuer) -> String {
    let shorter = issuer.token(&json!({"x": ""})).len();
    // Three bytes of claims are four of the token.
    let token = issuer.token(&json!({"x": "x".repeat((16 * 1024 - shorter) * 3 / 4)}));
    assert_eq!(token.len(), 16 * 1024);
    token
}
