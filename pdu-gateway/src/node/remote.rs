//! Nodes behind a network address.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use route_proto::attach::v1::attach_service_client::AttachServiceClient;
use route_runtime::http2;
use route_runtime::tls::client::ClientTls;
use route_runtime::tls::hand_shake;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::io::InspectReader;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tower::service_fn;

use crate::node::silence::Heard;
use crate::node::upstream::{AttachError, Place, Responses, Upstream};
use crate::unconfirmed::uplink::UplinkStream;

/// What may come on a connection before it is read: so many streams' worth.
const STREAMS_AT_ONCE: u32 = 2;

/// HTTP/2 frames up to this length: fewer headers and wake-ups.
const FRAME_BYTES: u32 = 1 << 20;

/// What a message may be longer than the longest PDU, bytes.
const MESSAGE_OVERHEAD: usize = 1 << 20;

/// Bounds of a connection to a node.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionSettings {
    /// To connect.
    pub connect_timeout: Duration,
    /// A node that is silent for so long is asked whether it is there.
    pub keepalive_interval: Duration,
    /// It has so long to answer.
    pub keepalive_timeout: Duration,
    /// What a node may send before it waits for us, bytes: a burst of many MsgServers.
    pub stream_bytes: u32,
}

/// How a node's address is connected to.
pub type Dial =
    fn(
        &Endpoint,
    ) -> Pin<Box<dyn Future<Output = Result<Channel, tonic::transport::Error>> + Send + '_>>;

/// How the addresses of a host are found.
pub type Lookup = fn(String, u16) -> Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send>>;

/// Nodes behind one URL: each address of its name may be another one.
#[derive(Debug)]
pub struct Remote {
    name: String,
    endpoint: Endpoint,
    connect_timeout: Duration,
    way: Way,
    message_bytes: usize,
}

#[derive(Debug)]
enum Way {
    /// Over the network.
    Network { tls: ClientTls, lookup: Lookup },
    /// Over one that is simulated.
    Dialled(Dial),
}

impl Remote {
    /// Nodes at this URL that take PDUs up to this limit, by TLS if the URL says so.
    pub fn new(
        url: &str,
        pdu_limit: u32,
        settings: &ConnectionSettings,
        tls: ClientTls,
    ) -> Result<Self, tonic::transport::Error> {
        Self::resolved(url, pdu_limit, settings, tls, system)
    }

    /// The same where addresses are found otherwise than by this host's resolver.
    pub fn resolved(
        url: &str,
        pdu_limit: u32,
        settings: &ConnectionSettings,
        tls: ClientTls,
        lookup: Lookup,
    ) -> Result<Self, tonic::transport::Error> {
        Self::by(url, pdu_limit, settings, Way::Network { tls, lookup })
    }

    /// A node over another network, where one is simulated, without TLS.
    pub fn dialled(
        url: &str,
        pdu_limit: u32,
        settings: &ConnectionSettings,
        dial: Dial,
    ) -> Result<Self, tonic::transport::Error> {
        Self::by(url, pdu_limit, settings, Way::Dialled(dial))
    }

    fn by(
        url: &str,
        pdu_limit: u32,
        settings: &ConnectionSettings,
        way: Way,
    ) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(url.to_owned())?
            .connect_timeout(settings.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(settings.keepalive_interval)
            .keep_alive_timeout(settings.keepalive_timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(settings.stream_bytes)
            .initial_connection_window_size(http2::windows(settings.stream_bytes, STREAMS_AT_ONCE))
            .max_frame_size(FRAME_BYTES);
        Ok(Remote {
            name: url.to_owned(),
            endpoint,
            connect_timeout: settings.connect_timeout,
            way,
            message_bytes: pdu_limit as usize + MESSAGE_OVERHEAD,
        })
    }
}

impl Remote {
    async fn open(&self, to: &Place, requests: UplinkStream) -> Result<Responses, AttachError> {
        let tls = match &self.way {
            Way::Network { tls, .. } => tls,
            Way::Dialled(dial) => {
                let channel = dial(&self.endpoint).await?;
                return Ok(self.call(channel, Request::new(requests)).await?);
            }
        };
        let credentials = tls.current().await?;
        let endpoint = tls.secured(self.endpoint.clone(), &credentials)?;
        let connected = match to.address {
            Some(address) => self.connect(endpoint, address, to.heard.clone()).await,
            None => endpoint.connect().await,
        };
        let channel = connected.map_err(|error| match tls.explained(&error) {
            Some(problem) => AttachError::HandShake(problem),
            None => AttachError::Connect(error),
        })?;
        let mut request = Request::new(requests);
        if let Some(authorization) = credentials.authorization {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", authorization);
        }
        let called = self.call(channel, request).await;
        called.map_err(|status| match self.why_cut_off(tls, &status) {
            Some(problem) => AttachError::HandShake(problem),
            None => AttachError::Ended(status),
        })
    }

    /// Connects to one address. The URL stays what TLS checks the node's certificate against.
    async fn connect(
        &self,
        endpoint: Endpoint,
        address: SocketAddr,
        heard: Heard,
    ) -> Result<Channel, tonic::transport::Error> {
        let limit = self.connect_timeout;
        let connector = service_fn(move |_: Uri| {
            let heard = heard.clone();
            async move {
                let stream = timeout(limit, TcpStream::connect(address)).await;
                let stream = stream.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                stream.set_nodelay(true)?;
                let stream = InspectReader::new(stream, move |read: &[u8]| heard.add(read.len()));
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        // That is for the connection and the hand-shake of TLS, each of which has a limit of its own.
        let endpoint = endpoint.connect_timeout(limit * 3);
        endpoint.connect_with_connector(connector).await
    }

    async fn call(
        &self,
        channel: Channel,
        request: Request<UplinkStream>,
    ) -> Result<Responses, Status> {
        let mut client = AttachServiceClient::new(channel)
            .max_decoding_message_size(self.message_bytes)
            .max_encoding_message_size(self.message_bytes);
        let responses = client.attach(request).await?.into_inner();
        Ok(Box::pin(responses))
    }

    /// What to mend, if the connection ended before any answer because of TLS.
    fn why_cut_off(&self, tls: &ClientTls, status: &Status) -> Option<String> {
        match self.name.starts_with("https://") {
            true => tls.explained(status),
            false => hand_shake::wants_tls(status),
        }
    }
}

impl Upstream for Remote {
    fn name(&self) -> &str {
        &self.name
    }

    fn addresses(&self) -> Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send>> {
        match &self.way {
            Way::Network { lookup, .. } => {
                let (url, limit) = (self.endpoint.uri().clone(), self.connect_timeout);
                Box::pin(found(url, limit, *lookup))
            }
            Way::Dialled(_) => Box::pin(std::future::ready(Vec::new())),
        }
    }

    fn attach<'a>(
        &'a self,
        to: &'a Place,
        requests: UplinkStream,
    ) -> Pin<Box<dyn Future<Output = Result<Responses, AttachError>> + Send + 'a>> {
        Box::pin(self.open(to, requests))
    }
}

/// The addresses to which this URL leads; none if they are not found in time.
pub(super) async fn addresses(url: &str, limit: Duration) -> Vec<SocketAddr> {
    match url.parse() {
        Ok(url) => found(url, limit, system).await,
        Err(_) => Vec::new(),
    }
}

async fn found(url: Uri, limit: Duration, lookup: Lookup) -> Vec<SocketAddr> {
    let default = match url.scheme_str() {
        Some("https") => 443,
        Some(_) | None => 80,
    };
    let port = url.port_u16().unwrap_or(default);
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    if let Ok(address) = host.parse() {
        return vec![SocketAddr::new(address, port)];
    }
    let found = timeout(limit, lookup(host.to_owned(), port)).await;
    let mut found = found.unwrap_or_default();
    found.sort_unstable();
    found.dedup();
    found
}

/// What the resolver of this host finds.
fn system(host: String, port: u16) -> Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send>> {
    Box::pin(async move {
        let found = tokio::net::lookup_host((host, port)).await;
        found.map(Iterator::collect).unwrap_or_default()
    })
}
