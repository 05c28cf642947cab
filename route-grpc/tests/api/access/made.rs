//! What says who somebody is, made for a test: authorities, certificates, tokens, and the files that a node reads.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, date_time_ymd};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// The name in the node's certificate.
pub(super) const NODE: &str = "node.test";
/// Whom tokens are for, and who issues them.
pub(super) const AUDIENCE: &str = "route";
pub(super) const ISSUER: &str = "https://issuer.test";

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Who signs certificates.
pub(crate) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Of a node.
    pub(super) fn node(&self) -> Pair {
        self.signed(&CertificateParams::new([NODE.to_owned()]).unwrap())
    }

    /// Of a client that is called like this.
    pub(crate) fn client(&self, uri: &str) -> Pair {
        self.signed(&named(uri))
    }

    /// The same, valid from the one to the other: seconds from now on.
    pub(super) fn client_of(&self, uri: &str, from: i64, to: i64) -> Pair {
        let at = |seconds: i64| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let since = now.unwrap().as_secs().strict_add_signed(seconds);
            date_time_ymd(1970, 1, 1) + Duration::from_secs(since)
        };
        let mut params = named(uri);
        (params.not_before, params.not_after) = (at(from), at(to));
        self.signed(&params)
    }

    fn signed(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

fn named(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri).unwrap())];
    params
}

/// Who signs tokens, with a key that is called `k`.
pub(super) struct TokenIssuer(Ed25519KeyPair);

impl TokenIssuer {
    pub(super) fn new() -> Self {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap())
    }

    /// The JWKS file.
    pub(super) fn keys(&self) -> String {
        let x = base64url(self.public());
        let key = json!({"kid": "k", "kty": "OKP", "crv": "Ed25519", "x": x});
        json!({ "keys": [key] }).to_string()
    }

    /// The key that everybody may know.
    pub(super) fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// One for the node, of this subject.
    pub(super) fn token(&self, subject: &str) -> String {
        self.with(subject, &json!({}))
    }

    /// The same with other claims: null takes one away.
    pub(super) fn with(&self, subject: &str, changed: &Value) -> String {
        let mut claims = json!({
            "iss": ISSUER, "sub": subject, "aud": AUDIENCE, "exp": now() + 600, "nbf": now() - 60,
        });
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        self.signed(&json!({"alg": "EdDSA", "kid": "k"}), &claims)
    }

    /// One with another header, signed all the same.
    pub(super) fn headed(&self, header: &Value, subject: &str) -> String {
        let claims = json!({ "iss": ISSUER, "sub": subject, "aud": AUDIENCE, "exp": now() + 600 });
        self.signed(header, &claims)
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.0.sign(message.as_bytes());
        format!("{message}.{}", base64url(signature.as_ref()))
    }
}

/// What is signed of a token.
pub(super) fn message(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|it| base64url(it.to_string().as_bytes()));
    format!("{header}.{claims}")
}

pub(super) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// Files of one test; gone with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tt-access-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Of another process that had this number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file beside its place, and puts it there as a whole.
    pub(super) fn put(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        let beside = self.path(&format!("{name}.new"));
        fs::write(&beside, content).unwrap();
        fs::rename(beside, &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
