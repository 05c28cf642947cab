//! From a token's text to what it says, if its signature is right.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};

use super::claims;
use super::keys::{Algorithm, Key, Keys};
use super::{Token, TokenError, TokenRules};

/// Bytes. hyper takes no more as all headers of a request.
pub(super) const LONGEST_TOKEN: usize = 16 * 1024;

/// What counts of a token's header. What it says about keys itself (`jwk`, `jku`, `x5c`, `x5u`) does not.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

impl Keys {
    /// Verifies a token: its signature by the key that it names, then its claims.
    ///
    /// # Errors
    /// It is refused; [`TokenError`] says why.
    pub fn verify(
        &self,
        token: &str,
        rules: &TokenRules,
        now: SystemTime,
    ) -> Result<Token, TokenError> {
        if token.len() > LONGEST_TOKEN {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Parts)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Parts)?;
        if claims.contains('.') {
            return Err(TokenError::Parts);
        }
        let header: Header = object(&decoded(header)?).ok_or(TokenError::Header)?;
        if header.crit {
            return Err(TokenError::Critical);
        }
        let algorithm = Algorithm::of_token(&header.alg).ok_or(TokenError::Algorithm)?;
        let key = self.of_token(header.kid.as_deref(), algorithm)?;
        if !key.has_signed(signed.as_bytes(), &decoded(signature)?) {
            return Err(TokenError::Signature);
        }
        claims::judged(
            &object(&decoded(claims)?).ok_or(TokenError::Claims)?,
            rules,
            now,
        )
    }

    fn of_token(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Key, TokenError> {
        let Some(kid) = kid else {
            let mut candidates = self
                .keys()
                .iter()
                .filter(|key| key.algorithm() == algorithm);
            let key = candidates.next().ok_or(TokenError::UnknownKey)?;
            return if candidates.next().is_none() {
                Ok(key)
            } else {
                Err(TokenError::MissingKeyId)
            };
        };
        let key = self
            .keys()
            .iter()
            .find(|key| key.kid.as_deref() == Some(kid))
            .ok_or(TokenError::UnknownKey)?;
        if key.algorithm() == algorithm {
            Ok(key)
        } else {
            Err(TokenError::KeyAlgorithm)
        }
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Encoding)
}

/// A JSON object; serde would take a list of its values, too. A field of `T` that is there twice is an error.
fn object<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    serde_json::from_slice(json).ok()
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
