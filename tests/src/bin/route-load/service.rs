//! How services connect to a node: by TLS, with a token, or neither.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use route_runtime::tls::client::{ClientTls, Names};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// A connection whose calls carry the token.
pub(crate) type Connection = InterceptedService<Channel, Bearer>;

/// To connect, and for the hand-shake.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

const NAMES: Names = Names {
    ca: "--tls-ca",
    certificate: "--tls-cert",
    key: "--tls-key",
    server_name: "--tls-server-name",
    token_file: "--token-file",
};

/// What services show to the node, and whom they trust.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServiceTls {
    /// Services connect by TLS; these sign the node's certificate.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// The services' certificate.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// Its key.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// The name that the node's certificate has, if it is not the host of its address.
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,

    /// The services' token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ServiceTls {
    /// Connects to a node: `host:port`, or a URL.
    pub(crate) async fn connect(&self, node: &str) -> anyhow::Result<Connection> {
        self.connect_as(node, |endpoint| endpoint).await
    }

    /// The same with an endpoint that is changed so.
    pub(crate) async fn connect_as(
        &self,
        node: &str,
        change: impl FnOnce(Endpoint) -> Endpoint,
    ) -> anyhow::Result<Connection> {
        let tls = ClientTls {
            names: NAMES,
            ca: self.tls_ca.clone(),
            certificate: self.tls_cert.clone(),
            key: self.tls_key.clone(),
            server_name: self.tls_server_name.clone(),
            token_file: self.token_file.clone(),
        };
        let url = tls.url(node);
        tls.check([url.as_str()]).map_err(anyhow::Error::msg)?;
        let endpoint = change(Endpoint::from_shared(url.clone())?.connect_timeout(CONNECT_LIMIT));
        let credentials = tls.current().await?;
        let endpoint = tls.secured(endpoint, &credentials)?;
        let channel = endpoint.connect().await.map_err(|error| {
            let told = tls.explained(&error);
            told.map_or_else(|| error.into(), anyhow::Error::msg)
        });
        let channel = channel.with_context(|| format!("connect to {url}"))?;
        let bearer = Bearer(credentials.authorization);
        Ok(InterceptedService::new(channel, bearer))
    }
}

/// The token, as it was when the connection was made.
#[derive(Debug, Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", token.clone());
        }
        Ok(request)
    }
}
