//! A place where a node may be attached to, and why there is no stream, or no longer.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use route_proto::attach::v1::AttachResponse;
use route_proto::v1::ErrorReason;
use route_runtime::http2;
use route_runtime::telemetry::reasons;
use route_runtime::tls::client::ClientError;
use tokio_stream::Stream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::node::silence::Heard;
use crate::unconfirmed::uplink::UplinkStream;

/// Longest URL of a leader that is looked at, bytes.
const LONGEST_URL: usize = 512;

/// What a node sends.
pub type Responses = Pin<Box<dyn Stream<Item = Result<AttachResponse, Status>> + Send>>;

/// Where one or more nodes may be attached to.
pub trait Upstream: fmt::Debug + Send + Sync {
    /// For people: a URL.
    fn name(&self) -> &str;

    /// The addresses that this has now; none if they cannot be found, or there is only one way to go.
    fn addresses(&self) -> Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Opens a stream to this place that sends these requests.
    fn attach<'a>(
        &'a self,
        to: &'a Place,
        requests: UplinkStream,
    ) -> Pin<Box<dyn Future<Output = Result<Responses, AttachError>> + Send + 'a>>;
}

/// Where one attempt goes.
#[derive(Debug)]
pub struct Place {
    /// For people.
    pub name: String,
    /// One of [`Upstream::addresses`]; none if it has none.
    pub address: Option<SocketAddr>,
    /// Grows with what comes from there.
    pub heard: Heard,
}

impl Place {
    /// One of an upstream's addresses, or the upstream.
    pub fn new(upstream: &str, address: Option<SocketAddr>) -> Self {
        let name = match address.map(|it| it.to_string()) {
            Some(address) if !upstream.ends_with(&address) => format!("{upstream} ({address})"),
            Some(_) | None => upstream.to_owned(),
        };
        Place {
            name,
            address,
            heard: Heard::default(),
        }
    }
}

/// Why there is no stream, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The node cannot be reached.
    #[error("cannot connect: {}", reasons(.0))]
    Connect(#[from] tonic::transport::Error),
    /// There is no connection by TLS: what to mend.
    #[error("cannot connect: {0}")]
    HandShake(String),
    /// Our own files are of no use now.
    #[error(transparent)]
    Credentials(#[from] ClientError),
    /// The node, or the transport, ended the stream.
    #[error("{}", ended(.0))]
    Ended(#[from] Status),
    /// The node ended the stream without a reason.
    #[error("the stream ended")]
    Closed,
    /// It took too long.
    #[error("no welcome in time")]
    Slow,
    /// Nothing came though the node has promised to speak.
    #[error("the node is silent")]
    Silent,
    /// A message that does not fit here.
    #[error("the node does not speak this protocol")]
    Protocol,
}

/// What a node has said, or that it is gone.
fn ended(status: &Status) -> String {
    match http2::broken(status) {
        Some(problem) => format!("the node is gone: {problem}"),
        None => format!("{}: {}", status.code(), status.message()),
    }
}

impl AttachError {
    /// The node ends, and says so: another one is to be expected.
    pub fn is_drain(&self) -> bool {
        self.is_of(ErrorReason::Draining)
    }

    /// Another node leads, or none does at present.
    pub fn is_not_leader(&self) -> bool {
        self.is_of(ErrorReason::NotLeader)
    }

    /// The URL of the leader, if it is not this node, and it knows.
    pub fn leader(&self) -> Option<String> {
        let AttachError::Ended(status) = self else {
            return None;
        };
        let details = status.get_error_details();
        let url = details.error_info()?.metadata.get("leader")?;
        (url.len() <= LONGEST_URL).then(|| url.clone())
    }

    fn is_of(&self, reason: ErrorReason) -> bool {
        let AttachError::Ended(status) = self else {
            return false;
        };
        let details = status.get_error_details();
        let said = details.error_info().map(|info| info.reason.as_str());
        said == Some(reason.as_str_name().trim_start_matches("ERROR_REASON_"))
    }

    /// The node has stopped to speak.
    pub fn is_silence(&self) -> bool {
        matches!(self, AttachError::Silent)
    }

    /// Nobody there has said anything.
    pub fn is_unanswered(&self) -> bool {
        matches!(
            self,
            AttachError::Connect(_) | AttachError::HandShake(_) | AttachError::Slow
        )
    }

    /// Of what several nodes have said, this is for people to know rather than the other: what they may have to mend.
    pub fn is_worse(&self, other: &AttachError) -> bool {
        let badness = |it: &AttachError| (it.is_refusal(), !it.is_not_leader());
        badness(self) >= badness(other)
    }

    /// The node does not know `teamtalk.attach.v1`, so it is older than we are.
    pub fn is_older_node(&self) -> bool {
        self.code() == Some(Code::Unimplemented)
    }

    /// The node has said no, and will say so again.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.code(),
            Some(
                Code::AlreadyExists
                    | Code::Aborted
                    | Code::InvalidArgument
                    | Code::FailedPrecondition
                    | Code::Unimplemented
                    | Code::PermissionDenied
                    | Code::Unauthenticated
            )
        )
    }

    /// The node does not let us in, or no longer, as who we are.
    pub fn is_of_credentials(&self) -> bool {
        matches!(
            self.code(),
            Some(Code::PermissionDenied | Code::Unauthenticated)
        )
    }

    /// The node does not know who we are, or no longer: a token or a certificate has its time.
    pub fn is_unauthenticated(&self) -> bool {
        self.code() == Some(Code::Unauthenticated)
    }

    fn code(&self) -> Option<Code> {
        match self {
            AttachError::Ended(status) => Some(status.code()),
            AttachError::Connect(_)
            | AttachError::HandShake(_)
            | AttachError::Credentials(_)
            | AttachError::Closed
            | AttachError::Slow
            | AttachError::Silent
            | AttachError::Protocol => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_does_not_know_the_service_is_older() {
        let error = AttachError::Ended(Status::unimplemented("no such service"));

        assert!(error.is_older_node() && error.is_refusal());
        assert!(!AttachError::Closed.is_older_node());
    }
}
