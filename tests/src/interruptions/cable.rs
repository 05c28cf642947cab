//! The network between a gateway and the node: a TCP proxy that can be cut.
//!
//! A cut is what the two ends may see of a broken network: bytes that stand still, bytes that
//! vanish, a connection that is reset, or one that only one end believes to be there.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes of one read.
const READ_BUFFER: usize = 64 << 10;

/// A proxy in front of one address. Connections end with it.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    wire: Arc<watch::Sender<Wire>>,
    acceptor: JoinHandle<()>,
}

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    Free,
    /// They stand still, in both directions; new connections get nowhere. All goes on afterwards.
    Held,
    /// They vanish, in both directions. New connections get nowhere.
    Lost,
}

/// Which ends of the connections are told that they are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The gateway and the node.
    Both,
    /// The gateway; to the node the connection is silent from now on.
    GatewayOnly,
}

#[derive(Debug, Clone, Copy)]
struct Wire {
    flow: Flow,
    /// Counts resets: connections that are older are over.
    resets: u64,
    reset: Reset,
}

impl Cable {
    /// Begins to listen at a free port; connections lead to `node`.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn lay(node: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let wire = Arc::new(watch::Sender::new(Wire {
            flow: Flow::Free,
            resets: 0,
            reset: Reset::Both,
        }));
        let acceptor = tokio::spawn(accept(listener, node, wire.subscribe()));
        Ok(Self {
            address,
            wire,
            acceptor,
        })
    }

    /// The gateway's end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens to bytes.
    pub fn set(&self, flow: Flow) {
        self.wire.send_modify(|wire| wire.flow = flow);
    }

    /// Ends all connections by a TCP reset.
    pub fn reset(&self, reset: Reset) {
        self.wire.send_modify(|wire| {
            wire.resets += 1;
            wire.reset = reset;
        });
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, node: SocketAddr, wire: watch::Receiver<Wire>) {
    while let Ok((gateway, _)) = listener.accept().await {
        tokio::spawn(connection(gateway, node, wire.clone()));
    }
}

/// One connection, until it is reset or one of its ends is gone. An end that is gone takes the
/// other one along: Attach knows no half-closed streams.
async fn connection(gateway: TcpStream, node: SocketAddr, mut wire: watch::Receiver<Wire>) {
    let resets = wire.borrow().resets;
    let mut flow = wire.clone();
    let connect = async {
        flow.wait_for(|wire| wire.flow == Flow::Free).await.ok()?;
        TcpStream::connect(node).await.ok()
    };
    let upstream = tokio::select! {
        upstream = connect => upstream,
        _ = wire.wait_for(|wire| wire.resets > resets) => None,
    };
    let Some(upstream) = upstream else {
        abort(gateway);
        return;
    };
    // Both fail only on a socket that is gone, which the pumps notice.
    let _ = gateway.set_nodelay(true);
    let _ = upstream.set_nodelay(true);
    let (from_gateway, to_gateway) = gateway.into_split();
    let (from_node, to_node) = upstream.into_split();
    let mut up = Pump::new(from_gateway, to_node, wire.clone());
    let mut down = Pump::new(from_node, to_gateway, wire.clone());
    let reset = tokio::select! {
        () = up.run() => Reset::Both,
        () = down.run() => Reset::Both,
        changed = wire.wait_for(|wire| wire.resets > resets) => {
            changed.map_or(Reset::Both, |wire| wire.reset)
        }
    };
    let (Ok(gateway), Ok(upstream)) = (up.from.reunite(down.to), down.from.reunite(up.to)) else {
        return;
    };
    abort(gateway);
    match reset {
        Reset::Both => abort(upstream),
        Reset::GatewayOnly => swallow(upstream).await,
    }
}

struct Pump {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    wire: watch::Receiver<Wire>,
}

impl Pump {
    fn new(from: OwnedReadHalf, to: OwnedWriteHalf, wire: watch::Receiver<Wire>) -> Self {
        Self { from, to, wire }
    }

    /// Moves bytes until an end is gone. Once a byte has vanished, nothing passes any more: the
    /// rest would be noise.
    async fn run(&mut self) {
        let mut buffer = vec![0; READ_BUFFER];
        let mut damaged = false;
        while let Ok(size @ 1..) = self.from.read(&mut buffer).await {
            let passing = self.wire.wait_for(|wire| wire.flow != Flow::Held).await;
            let Ok(flow) = passing.map(|wire| wire.flow) else {
                return;
            };
            damaged |= flow == Flow::Lost;
            if !damaged && self.to.write_all(&buffer[..size]).await.is_err() {
                return;
            }
        }
        if damaged {
            // The other end's last words were lost too.
            std::future::pending::<()>().await;
        }
    }
}

fn abort(socket: TcpStream) {
    // Fails only on a socket that is gone already.
    let _ = socket.set_zero_linger();
    drop(socket);
}

/// Keeps the node's end open until the node ends it.
async fn swallow(mut node: TcpStream) {
    let mut buffer = vec![0; READ_BUFFER];
    while let Ok(1..) = node.read(&mut buffer).await {}
}
