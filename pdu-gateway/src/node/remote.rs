//! A node behind a network address.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use route_proto::attach::v1::attach_service_client::AttachServiceClient;
use route_runtime::http2;
use route_runtime::tls::client::ClientTls;
use route_runtime::tls::hand_shake;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::node::upstream::{AttachError, Responses, Upstream};
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

/// A node behind a network address.
#[derive(Debug)]
pub struct Remote {
    name: String,
    endpoint: Endpoint,
    dial: Dial,
    /// None where the network is simulated.
    tls: Option<ClientTls>,
    message_bytes: usize,
}

impl Remote {
    /// A node at this URL that takes PDUs up to this limit, by TLS if the URL says so.
    pub fn new(
        url: &str,
        pdu_limit: u32,
        settings: &ConnectionSettings,
        tls: ClientTls,
    ) -> Result<Self, tonic::transport::Error> {
        let dial: Dial = |endpoint| Box::pin(endpoint.connect());
        let remote = Self::dialled(url, pdu_limit, settings, dial)?;
        Ok(Remote {
            tls: Some(tls),
            ..remote
        })
    }

    /// The same over another network, where one is simulated, without TLS.
    pub fn dialled(
        url: &str,
        pdu_limit: u32,
        settings: &ConnectionSettings,
        dial: Dial,
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
            dial,
            tls: None,
            message_bytes: pdu_limit as usize + MESSAGE_OVERHEAD,
        })
    }
}

impl Remote {
    async fn open(&self, requests: UplinkStream) -> Result<Responses, AttachError> {
        let Some(tls) = &self.tls else {
            let channel = (self.dial)(&self.endpoint).await?;
            return Ok(self.call(channel, Request::new(requests)).await?);
        };
        let credentials = tls.current().await?;
        let endpoint = tls.secured(self.endpoint.clone(), &credentials)?;
        let connected = (self.dial)(&endpoint).await;
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

    fn attach(
        &self,
        requests: UplinkStream,
    ) -> Pin<Box<dyn Future<Output = Result<Responses, AttachError>> + Send + '_>> {
        Box::pin(self.open(requests))
    }
}
