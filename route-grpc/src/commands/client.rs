//! Asking a node: the flags for it, the connection, and what can go wrong.

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use route_runtime::flags::duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::check::Trouble;

/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// A silent connection is asked this often whether it is there, so that a follower notices a vanished node.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// And has this long to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Which node, and how to show its answers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node")]
pub(super) struct ClientArgs {
    /// Where the node listens
    #[arg(
        long,
        global = true,
        env = "TT_ROUTE_ADDRESS",
        value_name = "URL",
        value_parser = address,
        default_value = "http://127.0.0.1:50051"
    )]
    pub(super) address: String,
    /// How long a call may take
    #[arg(long, global = true, env = "TT_ROUTE_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "5s")]
    pub(super) timeout: Duration,
    /// One JSON object a line, with the API's field names
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl ClientArgs {
    /// Connects to the node.
    pub(super) async fn connect(&self) -> Result<Channel, Failure> {
        let endpoint = Endpoint::from_shared(self.address.clone()).map_err(|error| {
            Failure::Other(anyhow::anyhow!(
                "{:?} is not an address such as http://127.0.0.1:50051: {error}",
                self.address
            ))
        })?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIME)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        endpoint
            .connect()
            .await
            .map_err(|error| Failure::Unreachable {
                address: self.address.clone(),
                problem: innermost(&error),
            })
    }

    /// A request with the deadline.
    pub(super) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}

/// Without its scheme an address fails only when it is connected to, as if nobody answered there.
fn address(text: &str) -> Result<String, &'static str> {
    match text.split_once("://") {
        Some(("http", rest)) if !rest.is_empty() => Ok(text.to_owned()),
        Some(("https", _)) => Err("TLS is not supported yet: write http://host:port"),
        Some(_) | None => Err("write http://host:port"),
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody answers there.
    Unreachable { address: String, problem: String },
    /// The node, or the connection to it, said no.
    Refused(Box<Status>),
    /// `check` has found something.
    Check { trouble: Trouble, problem: String },
    /// Nobody reads our output any more: no failure at all.
    OutputClosed,
    /// Anything else.
    Other(anyhow::Error),
}

impl Failure {
    /// As `--help` says.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Refused(_) | Self::Other(_) => ExitCode::from(1),
            Self::Unreachable { .. } => ExitCode::from(3),
            Self::Check { trouble, .. } => ExitCode::from(trouble.exit_code()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, problem } => write!(
                f,
                "no node answers at {address} ({problem}); is it running, and is --address right?"
            ),
            Self::Refused(status) => {
                write!(f, "{}: {}", code_name(status.code()), status.message())
            }
            Self::Check { trouble, problem } => write!(f, "{trouble}: {problem}"),
            Self::OutputClosed => f.write_str("nobody reads the output"),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
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

/// Runs a command that asks a node.
pub(super) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match runtime.block_on(command) {
        Err(Failure::OutputClosed) => Ok(()),
        done => done,
    }
}

/// The last cause says what happened ("Connection refused"); the others only where.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn code_name(code: Code) -> String {
    // The code's description is a sentence; its name is what documentation uses.
    format!("{code:?}")
}
