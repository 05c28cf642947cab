//! The public keys of a JWKS file (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Members of a JWK that only private keys have.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];
/// Kinds of keys, and curves, that are registered and that no token of ours is signed with.
const OTHER_KINDS: [&str; 1] = ["AKP"];
const OTHER_EC_CURVES: [&str; 3] = ["P-384", "P-521", "secp256k1"];
const OTHER_OKP_CURVES: [&str; 3] = ["Ed448", "X25519", "X448"];
/// Algorithms of RSA keys that are registered beside RS256, but for those that encrypt (`RSA-OAEP`, ...).
const OTHER_RSA_ALGORITHMS: [&str; 5] = ["RS384", "RS512", "PS256", "PS384", "PS512"];
/// Bits. Shorter moduli are too easily factored; `ring` takes none above.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The public keys that tokens are verified with.
#[derive(Clone, Debug)]
pub struct Keys {
    keys: Vec<Key>,
    skipped: Vec<SkippedKey>,
}

/// A key of the file that no token is verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Which: its place in the file and its `kid`.
    pub key: String,
    /// Why.
    pub why: &'static str,
}

/// Why a JWKS file is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// It is not JSON, or no object with a list `keys`.
    #[error("line {line}, column {column}: not a JSON object with a list \"keys\"")]
    Json {
        /// Where reading ended.
        line: usize,
        /// In this line.
        column: usize,
    },
    /// There is something in it that should not be, or a key is not what it says.
    #[error("{key}: {fault}")]
    Key {
        /// Which: its place in the file and its `kid`.
        key: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// No key is left that a token can be verified with.
    #[error("no key that can verify a token{}", told(.skipped))]
    None {
        /// Those that cannot.
        skipped: Vec<SkippedKey>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    public: Public,
}

#[derive(Clone, Debug)]
enum Public {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    P256(UnparsedPublicKey<Vec<u8>>),
    Ed25519(UnparsedPublicKey<Vec<u8>>),
}

/// By what tokens are signed. Each key has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

/// A key that can be used, or why it is passed over.
type Usable = Result<Public, &'static str>;

#[derive(Deserialize)]
struct File {
    keys: Vec<Map<String, Value>>,
}

impl Keys {
    /// Reads a JWKS file: public keys for RS256 (RSA of 2048 to 8192 bits), ES256 (P-256) and EdDSA (Ed25519). Keys of
    /// other kinds, or for another use, are skipped: issuers list them beside these.
    ///
    /// # Errors
    /// It is no JWKS; there is a symmetric or a private key in it; a key is not what it says; two keys have one `kid`;
    /// no key is left.
    pub fn parse(jwks: &[u8]) -> Result<Self, KeysError> {
        let file: File = serde_json::from_slice(jwks).map_err(|error| KeysError::Json {
            line: error.line(),
            column: error.column(),
        })?;
        let mut read = Self {
            keys: Vec::new(),
            skipped: Vec::new(),
        };
        for (index, jwk) in file.keys.iter().enumerate() {
            read.add(index, jwk)?;
        }
        if read.keys.is_empty() {
            Err(KeysError::None {
                skipped: read.skipped,
            })
        } else {
            Ok(read)
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Those of the file that were skipped.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    fn add(&mut self, index: usize, jwk: &Map<String, Value>) -> Result<(), KeysError> {
        let mut key = format!("key {}", index + 1);
        let fault = |key: &str, fault| KeysError::Key {
            key: key.to_owned(),
            fault,
        };
        let kid = text(jwk, "kid").map_err(|_| fault(&key, "kid is no text"))?;
        if let Some(kid) = kid {
            key = format!("{key} (kid {kid:?})");
        }
        match public(jwk).map_err(|it| fault(&key, it))? {
            Ok(_) if kid.is_some() && self.keys.iter().any(|other| other.kid.as_deref() == kid) => {
                Err(fault(&key, "another key has the same kid"))
            }
            Ok(public) => {
                self.keys.push(Key {
                    kid: kid.map(str::to_owned),
                    public,
                });
                Ok(())
            }
            Err(why) => {
                self.skipped.push(SkippedKey { key, why });
                Ok(())
            }
        }
    }
}

impl Key {
    pub(super) fn algorithm(&self) -> Algorithm {
        match self.public {
            Public::Rsa(_) => Algorithm::Rs256,
            Public::P256(_) => Algorithm::Es256,
            Public::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.public {
            Public::Rsa(key) => key
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Public::P256(key) | Public::Ed25519(key) => key.verify(message, signature).is_ok(),
        }
    }
}

impl Algorithm {
    /// What a token's `alg` says. `Ed25519` is the newer name of EdDSA with this curve (RFC 9864).
    pub(super) fn of_token(alg: &str) -> Option<Self> {
        match alg {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

fn public(jwk: &Map<String, Value>) -> Result<Usable, &'static str> {
    let kind = text(jwk, "kty")?.ok_or("kty is missing")?;
    if kind == "oct" || jwk.contains_key("k") {
        return Err("it is symmetric: whoever can verify with it can sign, too");
    }
    if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
        return Err("it is private: it belongs to the issuer alone");
    }
    let usable = match kind {
        "RSA" => rsa(jwk)?,
        "EC" => p256(jwk)?,
        "OKP" => ed25519(jwk)?,
        other if OTHER_KINDS.contains(&other) => Err("no token is verified with keys of this kty"),
        _ => return Err("kty is none that is known"),
    };
    Ok(usable.and_then(|public| for_signatures(jwk).map(|()| public)))
}

fn for_signatures(jwk: &Map<String, Value>) -> Result<(), &'static str> {
    if jwk.get("use").is_some_and(|it| it != "sig") {
        return Err("use is not sig");
    }
    let verifies = |operations: &Value| {
        operations
            .as_array()
            .is_some_and(|it| it.iter().any(|one| one == "verify"))
    };
    if jwk
        .get("key_ops")
        .is_some_and(|operations| !verifies(operations))
    {
        return Err("key_ops has no verify");
    }
    Ok(())
}

fn rsa(jwk: &Map<String, Value>) -> Result<Usable, &'static str> {
    match text(jwk, "alg")? {
        None | Some("RS256") => {}
        Some(alg) if OTHER_RSA_ALGORITHMS.contains(&alg) || alg.starts_with("RSA") => {
            return Ok(Err("alg is not RS256"));
        }
        Some(_) => return Err("alg is not of RSA"),
    }
    let n = number(bytes(
        jwk,
        "n",
        "n is missing or not base64url without padding",
    )?);
    let e = number(bytes(
        jwk,
        "e",
        "e is missing or not base64url without padding",
    )?);
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err("n has not 2048 to 8192 bits");
    }
    if n.last().is_some_and(|last| last % 2 == 0) {
        return Err("n is even");
    }
    // As `ring` takes them: odd, 3 to 2^33 - 1.
    let exponent = if e.len() > 5 {
        0
    } else {
        e.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    if !(3..1 << 33).contains(&exponent) || exponent % 2 == 0 {
        return Err("e is no exponent");
    }
    Ok(Ok(Public::Rsa(RsaPublicKeyComponents { n, e })))
}

fn p256(jwk: &Map<String, Value>) -> Result<Usable, &'static str> {
    match text(jwk, "crv")? {
        Some("P-256") => {}
        Some(other) if OTHER_EC_CURVES.contains(&other) => return Ok(Err("crv is not P-256")),
        Some(_) | None => return Err("crv is none that is known"),
    }
    match text(jwk, "alg")? {
        None | Some("ES256") => {}
        Some(alg) if alg.starts_with("ECDH-ES") => return Ok(Err("alg is not ES256")),
        Some(_) => return Err("alg is not of P-256"),
    }
    let x = bytes(jwk, "x", "x is missing or not base64url without padding")?;
    let y = bytes(jwk, "y", "y is missing or not base64url without padding")?;
    if x.len() != 32 || y.len() != 32 {
        return Err("x or y has not 32 bytes");
    }
    // An uncompressed point begins with 4.
    let point = [&[4][..], &x, &y].concat();
    Ok(Ok(Public::P256(UnparsedPublicKey::new(
        &ECDSA_P256_SHA256_FIXED,
        point,
    ))))
}

fn ed25519(jwk: &Map<String, Value>) -> Result<Usable, &'static str> {
    match text(jwk, "crv")? {
        Some("Ed25519") => {}
        Some(other) if OTHER_OKP_CURVES.contains(&other) => return Ok(Err("crv is not Ed25519")),
        Some(_) | None => return Err("crv is none that is known"),
    }
    if !matches!(text(jwk, "alg")?, None | Some("EdDSA" | "Ed25519")) {
        return Err("alg is not of Ed25519");
    }
    let x = bytes(jwk, "x", "x is missing or not base64url without padding")?;
    if x.len() != 32 {
        return Err("x has not 32 bytes");
    }
    Ok(Ok(Public::Ed25519(UnparsedPublicKey::new(&ED25519, x))))
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &str) -> Result<Option<&'a str>, &'static str> {
    jwk.get(member)
        .map(|value| value.as_str().ok_or("a member that is a text is none"))
        .transpose()
}

fn bytes(
    jwk: &Map<String, Value>,
    member: &str,
    fault: &'static str,
) -> Result<Vec<u8>, &'static str> {
    text(jwk, member)?
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .ok_or(fault)
}

/// Without leading zeros, which some issuers write and `ring` refuses.
fn number(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn told(skipped: &[SkippedKey]) -> String {
    skipped
        .iter()
        .map(|SkippedKey { key, why }| format!("; {key}: {why}"))
        .collect()
}
