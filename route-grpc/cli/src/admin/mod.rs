//! Commands that ask the admin port, and tell it something.
//!
//! | module | subject |
//! |---|---|
//! | `links`, `closed_links` | `links`, `link`; of links that are gone |
//! | `gateways`, `drain`, `streams`, `stats`, `log_filter` | one command each |
//! | `explain`, `kick` | `explain user`, `explain envelope`; `kick` |
//! | `routed` | `explain routed` |
//! | `migrate` | `migrate`: which MsgServers have come over |
//! | `top` | `top`: a screen |

mod closed_links;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod gateways;
pub(crate) mod kick;
pub(crate) mod links;
pub(crate) mod log_filter;
pub(crate) mod migrate;
pub(crate) mod routed;
pub(crate) mod stats;
pub(crate) mod streams;
pub(crate) mod top;

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use hyper_util::rt::TokioIo;
use route_proto::admin::v1alpha1::Link;
use route_proto::admin::v1alpha1::ListLinksRequest;
use route_proto::admin::v1alpha1::admin_service_client::AdminServiceClient;
use route_runtime::flags::{duration, node_address};
use route_runtime::listen::local::connect_unix;
use tonic::Request;
use tonic::transport::{Endpoint, Uri};

use crate::connection::{self, Connection, TlsArgs};
use crate::failure::Failure;

/// How long a connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// Time between two HTTP/2 pings: a screen notices by them that the node has vanished.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long the node may take to answer a ping.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Links that are asked for at a time.
const PAGE: i32 = 1000;

/// The admin port of a node whose public port is the usual one.
const USUAL: &str = "unix:@teamtalk-route-admin-50051";

/// A client of the admin port.
pub(crate) type Client = AdminServiceClient<Connection>;

/// Which admin port, and how to show its answers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node")]
pub(crate) struct AdminArgs {
    /// Where the node serves operators, as its --admin-grpc-listen: host:port, unix:PATH, or unix:@NAME
    #[arg(
        long,
        global = true,
        env = "TT_ROUTE_ADMIN_ADDRESS",
        value_name = "ADDR",
        value_parser = admin_address,
        default_value = USUAL
    )]
    pub(crate) admin_address: String,
    /// How long a call may take
    #[arg(long, global = true, env = "TT_ROUTE_TIMEOUT", value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub(crate) timeout: Duration,
    /// One JSON object a line, as protobuf maps the API's messages, with fields that are 0 or empty
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    tls: TlsArgs,
}

/// A line of an answer that has a name.
fn row(name: &str, value: impl Display) -> String {
    format!("{name:<14}{value}")
}

/// Checks where the admin port is.
pub(crate) fn admin_address(text: &str) -> Result<String, String> {
    match text.strip_prefix("unix:") {
        Some("") => Err("unix: needs the path of a socket, or @NAME".to_owned()),
        Some(_) => Ok(text.to_owned()),
        None => Ok(node_address(text)?),
    }
}

/// The usual admin port of the node at this address.
fn beside(node: &str) -> anyhow::Result<String> {
    let address = node_address(node).map_err(anyhow::Error::msg)?;
    let url: Uri = match address.contains("://") {
        true => address.parse()?,
        // A scheme is missing, which says nothing about where it is.
        false => format!("http://{address}").parse()?,
    };
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.port_u16().filter(|_| is_here) {
        Some(port) => Ok(format!("unix:@teamtalk-route-admin-{port}")),
        None => bail!(
            "TT_ROUTE_ADDRESS is {node}, and its admin port cannot be guessed: say --admin-address, or run this on the \
             node's host without TT_ROUTE_ADDRESS"
        ),
    }
}

impl AdminArgs {
    /// What is said; else, of the node that TT_ROUTE_ADDRESS names, if that is on this host.
    pub(crate) fn address(&self) -> Result<String, Failure> {
        let node = std::env::var("TT_ROUTE_ADDRESS").unwrap_or_default();
        match self.admin_address == USUAL && !node.is_empty() {
            false => Ok(self.admin_address.clone()),
            true => Ok(beside(&node)?),
        }
    }

    /// Connects to the admin port.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let address = &self.address()?;
        let unix = address.strip_prefix("unix:").map(PathBuf::from);
        let (tls, url) = match &unix {
            // Nobody looks at it.
            Some(_) => (self.tls.without_tls(), "http://localhost".to_owned()),
            None => self.tls.of(address)?,
        };
        let wrong = || {
            format!("--admin-address: {address:?} is none of host:port, unix:PATH and unix:@NAME")
        };
        let endpoint = Endpoint::from_shared(url)
            .with_context(wrong)?
            .connect_timeout(CONNECT_TIME)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let endpoint = connection::secured(&tls, endpoint).await?;
        let no_admin = |problem| Failure::NoAdmin {
            address: address.clone(),
            problem,
        };
        let made = match unix {
            None => connection::made(tls, endpoint.connect(), no_admin).await,
            Some(path) => {
                let connector = tower::service_fn(move |_| {
                    let path = path.clone();
                    async move { connect_unix(&path).await.map(TokioIo::new) }
                });
                let connecting = endpoint.connect_with_connector(connector);
                connection::made(tls, connecting, no_admin).await
            }
        };
        // A state of a large site is longer than what is usual.
        Ok(Client::new(made?).max_decoding_message_size(usize::MAX))
    }

    /// A request with the deadline.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// All links that are asked for, page by page.
    pub(crate) async fn links(
        &self,
        client: &mut Client,
        mut asked: ListLinksRequest,
    ) -> Result<Vec<Link>, Failure> {
        asked.page_size = PAGE;
        let mut links = Vec::new();
        loop {
            let request = self.request(asked.clone());
            let page = client.list_links(request).await?.into_inner();
            links.extend(page.links);
            if page.next_page_token.is_empty() {
                return Ok(links);
            }
            asked.page_token = page.next_page_token;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn the_admin_port_is_beside_the_public_one_of_this_host() {
        for here in ["127.0.0.1:50151", "http://localhost:50151", "[::1]:50151"] {
            let admin = beside(here).expect("it is here");
            assert_eq!(admin, "unix:@teamtalk-route-admin-50151", "{here}");
        }
        for elsewhere in ["node:50051", "10.0.0.1:50051", "nonsense"] {
            assert!(beside(elsewhere).is_err(), "{elsewhere}");
        }
    }
}
