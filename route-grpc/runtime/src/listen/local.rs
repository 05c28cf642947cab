//! Listeners on a TCP address, or a Unix socket that only this host can reach.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{
    SocketAddr as UnixAddress, UnixListener as StdListener, UnixStream as StdStream,
};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::quota::Quota;

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

/// What stands before the name of one that is in no folder.
const ABSTRACT: &str = "@";

/// Who may connect to the socket: its owner.
const MODE: u32 = 0o600;

/// Log lines a minute about processes of other users.
const STRANGERS: u32 = 1;

/// Where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket in a folder, or `@NAME`, one that is in none and vanishes with its process (Linux). Processes of our own
    /// user and of root may use it.
    Unix(PathBuf),
}

impl LocalAddress {
    /// Reads a flag's value.
    ///
    /// # Errors
    ///
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            let is_none = path.is_empty() || path == ABSTRACT || path.contains(char::is_control);
            return match is_none {
                true => Err("unix: needs the path of a socket, or @NAME".to_owned()),
                false => Ok(Self::Unix(path.into())),
            };
        }
        let address = text.parse().map(Self::Tcp);
        address.map_err(|_| "expected unix:PATH, or IP:PORT".to_owned())
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// It could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct LocalBindError {
    /// As it was asked for.
    pub address: LocalAddress,
    /// What the system said.
    pub source: io::Error,
}

/// Such a listener, bound. A socket is removed when this is dropped.
#[derive(Debug)]
pub struct LocalListener {
    address: LocalAddress,
    socket: Socket,
    bound: Instant,
    /// Log lines about processes of other users.
    strangers: Quota,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl LocalListener {
    /// Binds it. A socket that a process has left which was killed is taken over.
    ///
    /// # Errors
    ///
    /// What the system says, `AddrInUse` if somebody answers there.
    pub async fn bind(address: &LocalAddress) -> Result<Self, LocalBindError> {
        let bound = bound(address).await;
        let (address, socket) = bound.map_err(|source| LocalBindError {
            address: address.clone(),
            source,
        })?;
        Ok(Self {
            address,
            socket,
            bound: Instant::now(),
            strangers: Quota::new(STRANGERS),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> &LocalAddress {
        &self.address
    }

    /// Waits for the next connection. Whoever uses the socket has no address: it is shown as a loopback one.
    ///
    /// # Errors
    ///
    /// The listener is unusable.
    pub async fn accept(&self) -> io::Result<(Box<dyn Io>, SocketAddr)> {
        match &self.socket {
            Socket::Tcp(listener) => loop {
                let (stream, peer) = super::accept(listener).await?;
                match stream.set_nodelay(true) {
                    Ok(()) => return Ok((Box::new(stream), peer)),
                    Err(error) => {
                        tracing::debug!(%peer, %error, "a connection broke before it was served")
                    }
                }
            },
            Socket::Unix(listener) => loop {
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        super::pass_over(error).await?;
                        continue;
                    }
                };
                let uid = stream.process().map(|it| it.uid);
                if uid.is_some_and(|uid| uid == 0 || uid == rustix::process::getuid().as_raw()) {
                    return Ok((Box::new(stream), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
                }
                if let Some(left_out) = self.strangers.take(self.bound.elapsed(), "") {
                    let address = &self.address;
                    tracing::warn!(%address, left_out, "a process of another user was turned away");
                }
            },
        }
    }
}

async fn bound(address: &LocalAddress) -> io::Result<(LocalAddress, Socket)> {
    Ok(match address {
        LocalAddress::Tcp(wanted) => {
            let listener = super::bind(*wanted).await.map_err(|error| error.source)?;
            let address = LocalAddress::Tcp(listener.local_addr()?);
            (address, Socket::Tcp(listener))
        }
        LocalAddress::Unix(path) => {
            let listener = match abstract_name(path)? {
                Some(name) => {
                    let listener = StdListener::bind_addr(&name)?;
                    listener.set_nonblocking(true)?;
                    UnixListener::from_std(listener)?
                }
                None => bind_unix(path).await?,
            };
            (address.clone(), Socket::Unix(listener))
        }
    })
}

/// Who has connected to the socket: the process that did, and whose it was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalProcess {
    /// None if the system does not say: it is in another namespace.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: u32,
}

/// A connection of either kind.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {
    /// Who has connected. None: by TCP, or the system does not say.
    fn process(&self) -> Option<LocalProcess>;
}

impl Io for TcpStream {
    fn process(&self) -> Option<LocalProcess> {
        None
    }
}

impl Io for UnixStream {
    fn process(&self) -> Option<LocalProcess> {
        let who = self.peer_cred().ok()?;
        // 0 is what the system says of one that this process cannot see.
        let pid = who.pid().filter(|pid| *pid > 0);
        Some(LocalProcess {
            pid,
            uid: who.uid(),
        })
    }
}

/// Connects to such a socket.
///
/// # Errors
///
/// What the system says.
pub async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let Some(name) = abstract_name(path)? else {
        return UnixStream::connect(path).await;
    };
    let stream = StdStream::connect_addr(&name)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// The address of a socket that is in no folder; none: this one is.
fn abstract_name(path: &Path) -> io::Result<Option<UnixAddress>> {
    let name = path.to_str().and_then(|path| path.strip_prefix(ABSTRACT));
    name.map(UnixAddress::from_abstract_name).transpose()
}

/// A file of another kind is somebody's, and stays.
fn is_socket(path: &Path) -> bool {
    let found = std::fs::symlink_metadata(path);
    found.is_ok_and(|it| it.file_type().is_socket())
}

/// A socket that nobody answers at is what a process left that was killed.
async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let bound = UnixListener::bind(path);
    let listener = match bound {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_socket(path) => {
            let answer = UnixStream::connect(path).await;
            if !answer.is_err_and(|it| it.kind() == io::ErrorKind::ConnectionRefused) {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    Ok(listener)
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        if let LocalAddress::Unix(path) = &self.address
            && matches!(abstract_name(path), Ok(None))
            && is_socket(path)
        {
            // If somebody has removed it already, that is all right.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tcp_or_a_socket() {
        let parse = LocalAddress::parse;

        assert!(parse("127.0.0.1:50052").is_ok() && parse("[::]:50052").is_ok());
        assert_eq!(
            parse("unix:/run/a.sock"),
            Ok(LocalAddress::Unix("/run/a.sock".into()))
        );
        for wrong in ["unix:", "50052", "/run/a.sock"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_is_left_is_taken_over_and_one_in_use_is_not() {
        let folder = std::env::temp_dir().join(format!("admin-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("a.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
        let asked = LocalAddress::Unix(path.clone());

        let first = LocalListener::bind(&asked).await.expect("it is free");
        let second = LocalListener::bind(&asked).await;

        assert!(second.is_err(), "it is in use");
        let mode = std::fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, MODE);
        drop(first);
        assert!(!path.exists());
        std::fs::remove_dir_all(folder).expect("it is ours");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let path = std::env::temp_dir().join(format!("admin-file-{}", std::process::id()));
        std::fs::write(&path, "precious").expect("a file");

        let bound = LocalListener::bind(&LocalAddress::Unix(path.clone())).await;

        assert!(bound.is_err());
        assert_eq!(
            std::fs::read_to_string(&path).expect("it is there"),
            "precious"
        );
        std::fs::remove_file(path).expect("it is ours");
    }

    #[tokio::test]
    async fn one_in_no_folder_is_reached_by_its_name() {
        let path = PathBuf::from(format!("@admin-{}", std::process::id()));
        let listener = LocalListener::bind(&LocalAddress::Unix(path.clone())).await;
        let listener = listener.expect("it is free");

        let client = connect_unix(&path).await.expect("somebody listens");

        let (_, peer) = listener.accept().await.expect("it connects");
        assert!(peer.ip().is_loopback());
        drop((client, listener));
        assert!(connect_unix(&path).await.is_err());
    }
}
