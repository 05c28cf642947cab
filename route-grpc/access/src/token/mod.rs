//! Tokens: JWT, signed by RS256, ES256 or EdDSA (Ed25519), with keys of a JWKS file.
//!
//! Read by hand: what a JWT library adds to `ring` is the check of its times, by the clock, which nothing here reads.

mod claims;
mod error;
mod keys;
mod verify;

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

pub use error::TokenError;
pub use keys::{Keys, KeysError, SkippedKey};

/// What a token has to say beside being signed.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// It is meant for one of these (`aud`). None: no token passes.
    pub audiences: Vec<String>,
    /// One of these has issued it (`iss`). None: anybody who has a key, also if the token does not say who.
    pub issuers: Vec<String>,
    /// How much the clocks of issuers may differ from ours.
    pub leeway: Duration,
}

/// What a token that was verified says about who shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Who he is (`sub`): printable ASCII, 1 to 512 bytes.
    pub subject: String,
    /// Groups that he is in: those of the claim `groups`, and those that Kubernetes means by the subject of a service
    /// account.
    pub groups: Vec<String>,
    /// Who says so (`iss`).
    pub issuer: Option<String>,
    /// From this time on it does not count: `exp` and the leeway.
    pub expires: SystemTime,
}
