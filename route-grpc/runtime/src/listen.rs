//! TCP listeners: binding with an error that names the address, and accepting through a shortage of
//! resources.

pub mod local;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that the kernel may hold for us; what comes beyond is refused or tried again by its
/// sender.
pub const BACKLOG: u32 = 1024;

/// Pause before the next attempt when the process has no file descriptor or memory for a
/// connection. The connection waits in the backlog meanwhile.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(20);

/// `errno` of a shortage that passes: ENOMEM, ENFILE, EMFILE, ENOBUFS.
const SHORTAGES: [i32; 4] = [12, 23, 24, 105];

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address as it was asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// Binds a listener. Port 0 takes a free port: ask the listener for its address. Never waits; it is
/// async because registering a socket needs the runtime that an async caller has.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listening = reserve(address)?.listen(BACKLOG);
    listening.map_err(|source| BindError { address, source })
}

/// Takes an address: connections are refused until the socket listens. An address that a
/// predecessor has just left (`TIME_WAIT`) can be taken over at once.
pub fn reserve(address: SocketAddr) -> Result<TcpSocket, BindError> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    bind().map_err(|source| BindError { address, source })
}

/// Waits for the next connection.
///
/// A connection that broke before it was accepted is skipped. While the process is out of file
/// descriptors or memory, it is tried again every 20 ms, so a waiting connection is served as soon
/// as one is free. Any other error means that the listener is unusable. Cancel safe: no accepted
/// connection is lost.
pub async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    loop {
        match listener.accept().await {
            Ok(accepted) => return Ok(accepted),
            Err(error) => pass_over(error).await?,
        }
    }
}

/// Waits until a shortage may be over, and passes over a connection that is broken already. Any other error comes back.
async fn pass_over(error: io::Error) -> io::Result<()> {
    if is_shortage(&error) {
        tracing::warn!(%error, "cannot accept a connection");
        tokio::time::sleep(SHORTAGE_PAUSE).await;
    } else if !is_of_one_connection(&error) {
        return Err(error);
    }
    Ok(())
}

fn is_shortage(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|errno| SHORTAGES.contains(&errno))
}

/// Linux reports errors of a connection that is already dead, network errors included, through
/// `accept`.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::TimedOut
            | io::ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY_PORT: &str = "127.0.0.1:0";

    #[tokio::test]
    async fn accepts_what_connects() {
        let listener = bind(ANY_PORT.parse().unwrap()).await.unwrap();

        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, accept(&listener));

        let (_, peer) = accepted.unwrap();
        assert_eq!(peer, client.unwrap().local_addr().unwrap());
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let listener = bind(ANY_PORT.parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();

        let error = bind(address).await.unwrap_err();

        assert_eq!(error.address, address);
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(
            error.to_string(),
            format!("cannot listen on {address}"),
            "the cause follows once, as the source"
        );
    }

    #[test]
    fn only_a_broken_listener_is_given_up() {
        let errno = io::Error::from_raw_os_error;

        assert!(is_shortage(&errno(24)), "EMFILE passes");
        assert!(
            is_of_one_connection(&errno(103)),
            "ECONNABORTED concerns one peer"
        );
        assert!(
            !is_shortage(&errno(9)) && !is_of_one_connection(&errno(9)),
            "EBADF is final"
        );
    }
}
