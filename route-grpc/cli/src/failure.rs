//! Why a command failed, and the exit code that says so.

use std::error::Error as _;
use std::io;

use route_proto::v1::ErrorReason;
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a command failed. `--help` names the exit codes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody answers there.
    #[error("no node answers at {address} ({problem}); is it running, and is --address right?")]
    Unreachable { address: String, problem: String },
    /// Nobody answers at the admin port.
    #[error(
        "no node answers at {address} ({problem}); --admin-address has to be its --admin-grpc-listen, \
         which its own host can reach, and at a socket only its user and root"
    )]
    NoAdmin { address: String, problem: String },
    /// Somebody takes connections there, and ends them without an answer: another port, or a node
    /// that has just ended.
    #[error(
        "no gRPC there ({problem}): the node has ended, does not let this user ask, or the address is that of another port"
    )]
    NoGrpc { problem: String },
    /// There is no connection because of TLS, or of what is shown to the node: what to mend.
    #[error("cannot connect: {0}")]
    HandShake(String),
    /// The node has not answered in time.
    #[error("no answer within --timeout")]
    Late,
    /// Somebody else than operators is served there.
    #[error("{told}; --admin-address has to be the node's --admin-grpc-listen")]
    NotForOperators { told: String },
    /// The node refused the call. Shows the code by its name, as documents do.
    #[error("{:?}: {}", .0.code(), .0.message())]
    Refused(Box<Status>),
    /// The node refused a field that somebody has typed.
    #[error("{told}")]
    WrongFlag {
        /// Of each, the flag and what is wrong.
        told: String,
        status: Box<Status>,
    },
    /// `check` has found something.
    #[error("{trouble}: {problem}")]
    Check { trouble: Trouble, problem: String },
    /// MsgServers have not come over yet.
    #[error("the old server is still needed: {0}")]
    NotMigrated(String),
    /// Not one node leads the site, and no more.
    #[error("{0}")]
    Leaders(String),
    /// Nobody reads our output any more: no failure at all.
    #[error("nobody reads the output")]
    OutputClosed,
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// A node has logged why it could not start, or had to end.
    #[error("the log says why")]
    Logged,
    /// Anything else.
    #[error("{0:#}")]
    Other(anyhow::Error),
}

/// A call could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Somebody has to mend something, which is said.
    #[error("{0}")]
    ToMend(String),
    /// The connection broke.
    #[error(transparent)]
    Transport(tonic::transport::Error),
}

/// What `check` has found to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// No connection to the node or the gateway.
    #[error("unreachable")]
    Unreachable,
    /// The node does not serve.
    #[error("unhealthy")]
    Unhealthy,
    /// A PDU did not come back.
    #[error("the round trip failed")]
    RoundTrip,
    /// A subscriber does not see what is routed.
    #[error("the subscription failed")]
    Subscription,
}

impl Failure {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Refused(_) | Self::Logged | Self::Other(_) => 1,
            Self::Usage(_) | Self::WrongFlag { .. } => 2,
            Self::Unreachable { .. }
            | Self::NoAdmin { .. }
            | Self::NotForOperators { .. }
            | Self::HandShake(_)
            | Self::Late
            | Self::NoGrpc { .. } => 3,
            Self::NotMigrated(_) => 7,
            Self::Leaders(_) => 8,
            Self::Check { trouble, .. } => match trouble {
                Trouble::Unreachable => 3,
                Trouble::Unhealthy => 4,
                Trouble::RoundTrip => 5,
                Trouble::Subscription => 6,
            },
        }
    }

    /// One JSON object: what failed, the exit code, and of a node's refusal the code and the reason.
    pub(crate) fn json(&self) -> String {
        let mut object = json!({ "message": self.to_string(), "exitCode": self.exit_code() });
        if let Self::Refused(status) | Self::WrongFlag { status, .. } = self {
            object["code"] = format!("{:?}", status.code()).into();
            let details = status.get_error_details();
            let reason = details.error_info().map(|info| info.reason.clone());
            object["reason"] = reason.into();
        }
        object.to_string()
    }

    /// The node does not know who asks.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        match self {
            Self::Refused(status) => status.code() == Code::Unauthenticated,
            Self::Unreachable { .. }
            | Self::NoAdmin { .. }
            | Self::NoGrpc { .. }
            | Self::HandShake(_)
            | Self::Late
            | Self::NotForOperators { .. }
            | Self::WrongFlag { .. }
            | Self::Check { .. }
            | Self::NotMigrated(_)
            | Self::Leaders(_)
            | Self::OutputClosed
            | Self::Usage(_)
            | Self::Logged
            | Self::Other(_) => false,
        }
    }

    /// Whether the call may succeed when it is tried again. A broken transport shows up as any of
    /// these codes.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            // Files may be replaced just now, at either end.
            Self::HandShake(_)
            | Self::Unreachable { .. }
            | Self::NoAdmin { .. }
            | Self::Late
            | Self::NoGrpc { .. } => true,
            Self::Refused(status) => matches!(
                status.code(),
                Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled
            ),
            Self::Check { .. }
            | Self::NotForOperators { .. }
            | Self::NotMigrated(_)
            | Self::Leaders(_)
            | Self::OutputClosed
            | Self::Usage(_)
            | Self::WrongFlag { .. }
            | Self::Logged
            | Self::Other(_) => false,
        }
    }
}

impl From<Status> for Failure {
    /// What a node says has no cause here.
    fn from(status: Status) -> Self {
        let is_of_connection = matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Internal
        );
        let call = status.source().and_then(|it| it.downcast_ref());
        if let Some(CallError::ToMend(problem)) = call {
            return Self::HandShake(problem.clone());
        }
        match status.source() {
            Some(cause) if is_of_connection => Self::NoGrpc {
                problem: innermost(cause),
            },
            _ if has_timed_out(&status) => Self::Late,
            _ if is_of(ErrorReason::NotServed, &status) && status.message().contains(OPERATORS) => {
                Self::NotForOperators {
                    told: status.message().to_owned(),
                }
            }
            _ if is_of(ErrorReason::WrongPort, &status) => Self::NoGrpc {
                problem: status.message().to_owned(),
            },
            _ => Self::Refused(Box::new(status)),
        }
    }
}

/// What only the admin port serves.
const OPERATORS: &str = "teamtalk.admin.";

/// tonic gives up by itself when the time of a call is over.
fn has_timed_out(status: &Status) -> bool {
    status.code() == Code::Cancelled && status.message() == "Timeout expired"
}

fn is_of(reason: ErrorReason, status: &Status) -> bool {
    let details = status.get_error_details();
    let told = details.error_info().map(|info| info.reason.as_str());
    told == reason.as_str_name().strip_prefix("ERROR_REASON_")
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::Other(error.into())
        }
    }
}

/// The last cause, which says what happened ("Connection refused"); the others say where.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn who_calls_in_vain_is_told_by_which_flag() {
        let late = Failure::from(Status::cancelled("Timeout expired"));
        let details = ErrorDetails::with_error_info("NOT_SERVED", "route.teamtalk", HashMap::new());
        let told = "/teamtalk.admin.v1alpha1.AdminService/GetStats is not served here";
        let public = Status::with_error_details(Code::Unimplemented, told, details);
        let public = Failure::from(public);

        assert!(late.to_string().contains("--timeout"), "{late}");
        assert!(public.to_string().contains("--admin-address"), "{public}");
        assert_eq!([late.exit_code(), public.exit_code()], [3, 3]);
    }
}
