//! Sockets of the simulated network, as gateways, nodes and clients take them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use pdu_gateway::links::host::Host;
use pdu_gateway::links::network::{Listen, Socket};
use route_grpc::Exposure;
use route_runtime::listen::BindError;
use tonic::transport::{Channel, Endpoint, Error, Uri};
use tower::service_fn;
use turmoil::net::{TcpListener, TcpStream, tcp};

/// Connects to the node that an endpoint names.
pub(crate) fn dial(
    endpoint: &Endpoint,
) -> Pin<Box<dyn Future<Output = Result<Channel, Error>> + Send + '_>> {
    Box::pin(
        endpoint.connect_with_connector(service_fn(|uri: Uri| async move {
            let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16());
            let stream = TcpStream::connect((host, port.unwrap_or_default())).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        })),
    )
}

/// A node's port.
pub(crate) struct NodePort(pub(crate) TcpListener);

impl route_grpc::Listener for NodePort {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }

    fn exposure(&self) -> Exposure {
        Exposure::Host
    }
}

/// A gateway's port before it listens.
pub(crate) struct Reserved(SocketAddr);

impl Listen for Reserved {
    type Listening = TcpListener;
    type Socket = Connection;

    fn reserve(address: SocketAddr) -> Result<Self, BindError> {
        Ok(Self(address))
    }

    fn address(&self) -> SocketAddr {
        self.0
    }

    async fn listen(self) -> Result<TcpListener, BindError> {
        let address = self.0;
        let listening = TcpListener::bind(address).await;
        listening.map_err(|source| BindError { address, source })
    }

    async fn accept(listening: &TcpListener) -> io::Result<(Connection, SocketAddr)> {
        let (stream, peer) = listening.accept().await?;
        Ok((Connection(stream), peer))
    }
}

/// A MsgServer's connection, at the gateway.
pub(crate) struct Connection(TcpStream);

impl Socket for Connection {
    type Input = tcp::OwnedReadHalf;
    type Output = tcp::OwnedWriteHalf;

    fn set_up(&self, _: Duration) -> io::Result<()> {
        self.0.set_nodelay(true)
    }

    fn into_split(self) -> (tcp::OwnedReadHalf, tcp::OwnedWriteHalf) {
        self.0.into_split()
    }

    /// Only a kernel knows.
    fn has_vanished(_: &tcp::OwnedWriteHalf, _: &mut Host) -> bool {
        false
    }

    fn has_everything(_: &tcp::OwnedWriteHalf) -> bool {
        true
    }

    fn limit_leftovers(_: &tcp::OwnedWriteHalf, _: Duration) -> io::Result<()> {
        Ok(())
    }
}
