//! Tokens that are verified, and who signs them.

mod keys;
mod refused;

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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
            rsa: RsaKeyPair::from_der(include_bytes!("../data/rsa_2048_of_tests.der")).unwrap(),
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

/// The examples of RFC 7515 (A.2, A.3) and RFC 8037 (A.4). Their claims are not enough for us: so their signatures are.
#[test]
fn signatures_of_others_are_verified() {
    let n = concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR",
        "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB",
        "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia",
        "GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    );
    let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    let keys = parsed(&[
        json!({"kty": "RSA", "n": n, "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
    ])
    .unwrap();
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rs256 = concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9",
        "uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB",
        "_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq",
        "Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    let es256 =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let eddsa =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    for (token, error) in [
        (
            format!("eyJhbGciOiJSUzI1NiJ9.{claims}.{rs256}"),
            TokenError::Claim("aud"),
        ),
        (
            format!("eyJhbGciOiJFUzI1NiJ9.{claims}.{es256}"),
            TokenError::Claim("aud"),
        ),
        (
            format!("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.{eddsa}"),
            TokenError::Claims,
        ),
    ] {
        assert_eq!(
            keys.verify(&token, &rules(), at(NOW)),
            Err(error),
            "{token}"
        );
    }
}

#[test]
fn bounds_are_the_last_that_pass() {
    let issuer = Issuer::new();
    let verified = |token: &str| issuer.keys().verify(token, &rules(), at(NOW)).is_ok();
    assert!(verified(&refused::longest(&issuer)));
    assert!(verified(&issuer.token(&json!({"sub": "s".repeat(512)}))));
    assert!(verified(
        &issuer.token(&json!({"exp": 253_402_300_799_u64}))
    ));
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

fn changed_jwk(mut jwk: Value, changed: &Value) -> Value {
    for (name, value) in changed.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}
