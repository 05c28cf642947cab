//! What a gateway asks of the network for MsgServers. Production asks the kernel, the simulation a network of its own.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use route_runtime::listen::{self, BindError};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::links::host::Host;

/// How often a silent peer is asked whether it is there, before it is given up.
const KEEPALIVE_PROBES: u32 = 3;

/// An address that may be listened on, and refuses connections until it is.
pub trait Listen: Sized + Send + 'static {
    /// The same when it is listened on.
    type Listening: Send + Sync;
    /// A connection.
    type Socket: Socket;

    /// Takes the address. Port 0 takes a free port: see [`address`](Self::address).
    fn reserve(address: SocketAddr) -> Result<Self, BindError>;

    /// What was taken.
    fn address(&self) -> SocketAddr;

    /// From now on connections wait to be accepted.
    fn listen(self) -> impl Future<Output = Result<Self::Listening, BindError>> + Send;

    /// Waits for the next connection. An error means that the listener is unusable.
    fn accept(
        listening: &Self::Listening,
    ) -> impl Future<Output = io::Result<(Self::Socket, SocketAddr)>> + Send;
}

/// A MsgServer's connection.
pub trait Socket: Sized + Send + 'static {
    /// What the MsgServer sends.
    type Input: AsyncRead + Unpin + Send;
    /// What it is sent.
    type Output: AsyncWrite + Unpin + Send;

    /// Prepares it for PDUs, and for a host that may vanish: that is to be noticed after so long.
    fn set_up(&self, host_timeout: Duration) -> io::Result<()>;

    /// Its two directions.
    fn into_split(self) -> (Self::Input, Self::Output);

    /// Looks whether the host at the other end is still there.
    fn has_vanished(output: &Self::Output, host: &mut Host) -> bool;

    /// Whether its host has everything that was written.
    fn has_everything(output: &Self::Output) -> bool;

    /// Once it is closed: how long what was written may be tried to be delivered.
    fn limit_leftovers(output: &Self::Output, time: Duration) -> io::Result<()>;
}

/// An address that the kernel has bound and does not listen on yet.
#[derive(Debug)]
pub struct Reserved {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Listen for Reserved {
    type Listening = TcpListener;
    type Socket = TcpStream;

    fn reserve(address: SocketAddr) -> Result<Self, BindError> {
        let socket = listen::reserve(address)?;
        let bound = socket.local_addr();
        let address = bound.map_err(|source| BindError { address, source })?;
        Ok(Reserved { socket, address })
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn listen(self) -> Result<TcpListener, BindError> {
        let Reserved { socket, address } = self;
        let listening = socket.listen(listen::BACKLOG);
        listening.map_err(|source| BindError { address, source })
    }

    async fn accept(listening: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listen::accept(listening).await
    }
}

impl Socket for TcpStream {
    type Input = OwnedReadHalf;
    type Output = OwnedWriteHalf;

    fn set_up(&self, host_timeout: Duration) -> io::Result<()> {
        let socket = SockRef::from(self);
        // A batch is written as a whole: waiting for more would only delay it.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&keepalive(host_timeout))
    }

    fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.into_split()
    }

    fn has_vanished(output: &OwnedWriteHalf, host: &mut Host) -> bool {
        host.has_vanished(output.as_ref())
    }

    fn has_everything(output: &OwnedWriteHalf) -> bool {
        Host::has_everything(output.as_ref())
    }

    fn limit_leftovers(output: &OwnedWriteHalf, time: Duration) -> io::Result<()> {
        SockRef::from(output.as_ref()).set_tcp_user_timeout(Some(time))
    }
}

/// Asks a silent peer whether it is there, so that one that is not is given up in time. That is while nothing is on its way
/// to it; else [`host`](crate::links::host) notices that it has vanished.
fn keepalive(host_timeout: Duration) -> TcpKeepalive {
    // The kernel counts seconds: of 15, it asks after 5, then every 3.
    let seconds = |part| Duration::from_secs(host_timeout.as_secs() / part);
    TcpKeepalive::new()
        .with_time(seconds(3))
        .with_interval(seconds(5))
        .with_retries(KEEPALIVE_PROBES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reserved_address_refuses_connections_until_it_listens() {
        let reserved = Reserved::reserve("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = reserved.address();

        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        let _listener = reserved.listen().await.unwrap();
        assert!(TcpStream::connect(address).await.is_ok());
    }
}
