use super::verify::LONGEST_TOKEN;

/// Why a token is refused. No text of the token is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is longer than 16 KiB.
    #[error("the token is longer than {LONGEST_TOKEN} bytes")]
    TooLong,
    /// It has not three parts with a point between them.
    #[error("the token has not three parts")]
    Parts,
    /// A part is not base64url without padding.
    #[error("a part of the token is not base64url without padding")]
    Encoding,
    /// The header is no JSON object with a text `alg`, `kid` is no text, or one of them is there twice.
    #[error("the token's header cannot be read")]
    Header,
    /// The header has `crit`: it asks for something that has to be understood. Nothing is.
    #[error("the token's header has crit")]
    Critical,
    /// `alg` is none of RS256, ES256, EdDSA.
    #[error("the token is not signed by RS256, ES256 or EdDSA")]
    Algorithm,
    /// `alg` is not the algorithm of the key that `kid` names.
    #[error("the token's algorithm is not its key's")]
    KeyAlgorithm,
    /// There is no `kid`, and several keys of the algorithm.
    #[error("the token does not name its key, and several are of its algorithm")]
    MissingKeyId,
    /// No key has this `kid`; or there is no `kid`, and no key of the algorithm.
    #[error("the token's key is not known")]
    UnknownKey,
    /// Another key signed it, or something was changed.
    #[error("the token's signature is not its key's")]
    Signature,
    /// The claims are no JSON object, or one that counts is there twice.
    #[error("the token's claims cannot be read")]
    Claims,
    /// This claim is missing, or not what it has to be.
    #[error("the token's claim {0} is missing or not what it has to be")]
    Claim(&'static str),
    /// It has expired (`exp`).
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet (`nbf`).
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It is meant for others (`aud`).
    #[error("the token is meant for another audience")]
    Audience,
    /// Another one issued it (`iss`), or it does not say who.
    #[error("the token is of another issuer")]
    Issuer,
}

impl TokenError {
    /// One word for metrics and log lines, of a small closed set that does not change.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Parts | Self::Encoding | Self::Header | Self::Claims | Self::Claim(_) => {
                "malformed"
            }
            Self::Critical => "critical",
            Self::Algorithm | Self::KeyAlgorithm => "algorithm",
            Self::MissingKeyId => "missing_key_id",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
        }
    }
}
