//! Asking a node: the flags for it, and the connection.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use route_runtime::flags::{duration, node_address};
use tonic::transport::Endpoint;

use crate::connection::{self, Connection, TlsArgs};
use crate::failure::Failure;

/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// Time between two HTTP/2 pings: a follower notices by them that the node has vanished.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// How long the node may take to answer a ping.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Which node, and how to show its answers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node")]
pub(crate) struct ClientArgs {
    /// Where the node listens: host:port, or a URL
    #[arg(
        long,
        global = true,
        env = "TT_ROUTE_ADDRESS",
        value_name = "ADDR",
        value_parser = node_address,
        default_value = "127.0.0.1:50051"
    )]
    pub(crate) address: String,
    /// How long a call may take
    #[arg(long, global = true, env = "TT_ROUTE_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "5s")]
    pub(crate) timeout: Duration,
    /// One JSON object a line, as protobuf maps the API's messages, with fields that are 0 or empty
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    tls: TlsArgs,
}

impl ClientArgs {
    /// Connects to the node.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let (tls, url) = self.tls.of(&self.address)?;
        let endpoint = Endpoint::from_shared(url.clone());
        let wrong = || {
            format!(
                "{:?} is not an address such as http://127.0.0.1:50051",
                self.address
            )
        };
        let endpoint = endpoint
            .with_context(wrong)?
            .connect_timeout(CONNECT_TIME)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let endpoint = connection::secured(&tls, endpoint).await?;
        let unreachable = |problem| Failure::Unreachable {
            address: url,
            problem,
        };
        connection::made(tls, endpoint.connect(), unreachable).await
    }

    /// A request with the deadline.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}
