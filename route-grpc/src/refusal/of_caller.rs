//! What is refused because of who calls.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use route_proto::v1::ErrorReason;
use tonic::Code;

use super::{BUSY_RETRY, Refusal};

/// Named after what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OfCaller {
    /// Show who you are.
    CredentialMissing,
    /// Show something better. `reason`: of a small closed set.
    CredentialInvalid {
        reason: &'static str,
        problem: Cow<'static, str>,
    },
    /// Ask for the right, or be somebody else.
    NotAllowed { problem: String },
    /// Do less in a second: all connections of this identity together.
    Rate {
        limit: u32,
        what: &'static str,
        retry: Duration,
    },
    /// Do less in one call.
    TooMany {
        count: u32,
        limit: u32,
        what: &'static str,
    },
    /// Send fewer headers, or shorter ones.
    Headers { bytes: usize, most: usize },
    /// Close a stream of this identity.
    Streams { limit: u32 },
    /// Be a node, or call for yourself.
    Forwarding { problem: String },
}

/// A header of refusals that concern the node which has passed a call on, and not its caller.
pub(crate) const REFUSED_NODE: &str = "teamtalk-refused-node";

impl OfCaller {
    /// Words for `reason`, beside those of invalid credentials.
    pub(crate) const REASONS: [&'static str; 7] = [
        "credential_missing",
        "headers",
        "not_allowed",
        "rate",
        "too_many",
        "streams",
        "forwarding",
    ];

    /// One word, as metrics have it.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::CredentialMissing => "credential_missing",
            Self::CredentialInvalid { reason, .. } => reason,
            Self::NotAllowed { .. } => "not_allowed",
            Self::Rate { .. } => "rate",
            Self::TooMany { .. } => "too_many",
            Self::Headers { .. } => "headers",
            Self::Streams { .. } => "streams",
            Self::Forwarding { .. } => "forwarding",
        }
    }

    pub(super) fn terms(&self) -> (ErrorReason, Code, Option<Duration>) {
        use {Code as C, ErrorReason as R};
        match self {
            Self::CredentialMissing => (R::CredentialMissing, C::Unauthenticated, None),
            Self::CredentialInvalid { .. } => (R::CredentialInvalid, C::Unauthenticated, None),
            Self::NotAllowed { .. } | Self::Forwarding { .. } => {
                (R::NotAllowed, C::PermissionDenied, None)
            }
            Self::Rate { retry, .. } => (R::RateLimit, C::ResourceExhausted, Some(*retry)),
            Self::TooMany { .. } | Self::Headers { .. } => {
                (R::TooLarge, C::ResourceExhausted, None)
            }
            Self::Streams { .. } => (R::StreamLimit, C::ResourceExhausted, Some(BUSY_RETRY)),
        }
    }
}

impl fmt::Display for OfCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CredentialMissing => f.write_str(
                "nobody may call this without showing who he is: a client's certificate, or a token (docs/policy.md)",
            ),
            Self::CredentialInvalid { problem, .. } => f.write_str(problem),
            Self::NotAllowed { problem } | Self::Forwarding { problem } => f.write_str(problem),
            Self::Rate { limit, what, .. } => {
                write!(f, "the policy allows this identity {limit} {what} in a second")
            }
            Self::TooMany { count, limit, what } => write!(
                f,
                "{count} {what} in one call, and the policy allows this identity {limit} in a second"
            ),
            Self::Headers { bytes, most } => {
                write!(f, "{bytes} bytes of headers, at most {most}")
            }
            Self::Streams { limit } => {
                write!(f, "all {limit} streams that the policy allows this identity are open")
            }
        }
    }
}

impl From<OfCaller> for Refusal {
    fn from(refusal: OfCaller) -> Self {
        Self::OfCaller(refusal)
    }
}

impl From<OfCaller> for tonic::Status {
    fn from(refusal: OfCaller) -> Self {
        Refusal::from(refusal).into()
    }
}
