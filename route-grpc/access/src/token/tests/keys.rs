//! Files of keys.

use super::*;

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
        r | {"k": "AAAA"}                  | it is symmetric: whoever can verify with it can sign, too
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
        r | {"e": "AQAAAAAAAAAD"}          | e is no exponent
        e | {"y": "AAAA"}                  | x or y has not 32 bytes
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

#[test]
fn keys_may_have_no_id() {
    let issuer = Issuer::new();
    let without_id = |kid: &str| {
        let mut jwk = issuer.jwk(kid);
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let keys = parsed(&["r", "e", "o"].map(without_id)).unwrap();
    let verified = |header| {
        keys.verify(
            &issuer.signed("e", header, &claims(&json!({}))),
            &rules(),
            at(NOW),
        )
        .is_ok()
    };
    assert!(verified(r#"{"alg":"ES256"}"#));
    assert!(!verified(r#"{"alg":"ES256","kid":"e"}"#));
}
