//! A connection to a node, at its public or its admin port: its flags of TLS, and the token that goes with each call.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use clap::Args;
use route_runtime::tls::client::{ClientError, ClientTls, Names};
use route_runtime::tls::hand_shake;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use crate::failure::{CallError, Failure, innermost};

/// How the flags are called.
const NAMES: Names = Names {
    ca: "--tls-ca",
    certificate: "--tls-cert",
    key: "--tls-key",
    server_name: "--tls-server-name",
    token_file: "--token-file",
};

/// What is shown to the node, and whom is trusted. Files are read anew for each connection, the token for each call.
// The names in the environment are not those of `serve`, which has flags like these.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS to the node")]
pub(crate) struct TlsArgs {
    /// Certificates of those who sign the node's certificate, in PEM: an address without http:// is connected to by TLS
    #[arg(
        long = "tls-ca",
        global = true,
        env = "TT_ROUTE_CLIENT_CA",
        value_name = "FILE"
    )]
    client_ca: Option<PathBuf>,
    /// Your own certificate, in PEM, with those that lead to its root
    #[arg(
        long = "tls-cert",
        global = true,
        env = "TT_ROUTE_CLIENT_CERT",
        value_name = "FILE"
    )]
    client_cert: Option<PathBuf>,
    /// The key of --tls-cert, in PEM
    #[arg(
        long = "tls-key",
        global = true,
        env = "TT_ROUTE_CLIENT_KEY",
        value_name = "FILE"
    )]
    client_key: Option<PathBuf>,
    /// The name that the node's certificate has [default: the host of the address]
    #[arg(
        long = "tls-server-name",
        global = true,
        env = "TT_ROUTE_CLIENT_SERVER_NAME",
        value_name = "NAME"
    )]
    client_server_name: Option<String>,
    /// A token to show to the node; without TLS only to one on this host
    #[arg(
        long = "token-file",
        global = true,
        env = "TT_ROUTE_CLIENT_TOKEN_FILE",
        value_name = "FILE"
    )]
    client_token_file: Option<PathBuf>,
}

impl TlsArgs {
    /// How an address is connected to, and its URL.
    pub(crate) fn of(&self, address: &str) -> Result<(ClientTls, String), Failure> {
        let tls = ClientTls {
            names: NAMES,
            ca: self.client_ca.clone(),
            certificate: self.client_cert.clone(),
            key: self.client_key.clone(),
            server_name: self.client_server_name.clone(),
            token_file: self.client_token_file.clone(),
        };
        let url = tls.url(address);
        tls.check([url.as_str()]).map_err(Failure::Usage)?;
        Ok((tls, url))
    }

    /// The same at a socket, where nobody speaks TLS.
    pub(crate) fn without_tls(&self) -> ClientTls {
        ClientTls {
            token_file: self.client_token_file.clone(),
            ..ClientTls::none(NAMES)
        }
    }
}

/// Calls on it carry the token.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    channel: Channel,
    tls: ClientTls,
}

/// What the files have, and an endpoint that is secured by them.
pub(crate) async fn secured(tls: &ClientTls, endpoint: Endpoint) -> Result<Endpoint, Failure> {
    let wrong = |error: ClientError| Failure::Usage(error.to_string());
    let credentials = tls.current().await.map_err(wrong)?;
    tls.secured(endpoint, &credentials).map_err(wrong)
}

/// Connects, or says what to mend; else the failure is as this says, with the reason.
pub(crate) async fn made(
    tls: ClientTls,
    connecting: impl Future<Output = Result<Channel, tonic::transport::Error>>,
    otherwise: impl FnOnce(String) -> Failure,
) -> Result<Connection, Failure> {
    match connecting.await {
        Ok(channel) => Ok(Connection { channel, tls }),
        Err(error) => Err(match tls.explained(&error) {
            Some(problem) => Failure::HandShake(problem),
            None => otherwise(innermost(&error)),
        }),
    }
}

impl Connection {
    /// Why, as far as TLS has to do with it.
    fn why(tls: &ClientTls, error: tonic::transport::Error) -> CallError {
        let told = match tls.ca.is_some() {
            true => tls.explained(&error),
            false => hand_shake::wants_tls(&error),
        };
        told.map_or_else(|| CallError::Transport(error), CallError::ToMend)
    }
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Body>;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, CallError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let ready = Service::poll_ready(&mut self.channel, cx);
        ready.map_err(|error| Self::why(&self.tls, error))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let tls = self.tls.clone();
        match tls.authorization() {
            Ok(None) => {}
            Ok(Some(value)) => {
                let mut metadata = MetadataMap::new();
                metadata.insert("authorization", value);
                request.headers_mut().extend(metadata.into_headers());
            }
            Err(error) => {
                let problem = error.to_string();
                return Box::pin(async { Err(CallError::ToMend(problem)) });
            }
        }
        let called = self.channel.call(request);
        Box::pin(async move { called.await.map_err(|error| Self::why(&tls, error)) })
    }
}

#[cfg(test)]
mod tests;
