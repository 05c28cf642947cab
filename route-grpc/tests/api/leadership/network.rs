//! A network in memory, so that time may be played: names of hosts, and connections to them.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{LazyLock, Mutex as StdMutex};

use hyper_util::rt::TokioIo;
use route_grpc::{Exposure, Listener};
use tokio::io::DuplexStream;
use tokio::sync::{Mutex, mpsc};
use tonic::transport::{Channel, Endpoint, Error, Uri};
use tower::service_fn;

/// What may be on its way in one direction.
const ON_ITS_WAY: usize = 1 << 20;

type Door = mpsc::UnboundedSender<DuplexStream>;

static HOSTS: LazyLock<StdMutex<HashMap<String, Door>>> = LazyLock::new(StdMutex::default);

/// Where a host takes connections.
pub(super) struct Port(Mutex<mpsc::UnboundedReceiver<DuplexStream>>);

impl Port {
    /// Of a name that no other host has.
    pub(super) fn open(name: &str) -> Self {
        let (door, port) = mpsc::unbounded_channel();
        let before = HOSTS.lock().unwrap().insert(name.to_owned(), door);
        assert!(before.is_none(), "{name} is there already");
        Self(Mutex::new(port))
    }
}

impl Listener for Port {
    type Stream = DuplexStream;

    async fn accept(&self) -> io::Result<(DuplexStream, SocketAddr)> {
        let stream = self.0.lock().await.recv().await;
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        stream
            .map(|stream| (stream, peer))
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn exposure(&self) -> Exposure {
        Exposure::Host
    }
}

/// Connects to the host of an endpoint.
pub(super) fn dial(
    endpoint: &Endpoint,
) -> Pin<Box<dyn Future<Output = Result<Channel, Error>> + Send + '_>> {
    Box::pin(
        endpoint.connect_with_connector(service_fn(|uri: Uri| async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let (here, there) = tokio::io::duplex(ON_ITS_WAY);
            let hosts = HOSTS.lock().unwrap();
            let door = hosts.get(uri.host().unwrap_or_default());
            let taken = door.ok_or_else(refused)?.send(there);
            taken.map_err(|_| refused())?;
            Ok::<_, io::Error>(TokioIo::new(here))
        })),
    )
}
