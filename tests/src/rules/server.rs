//! The model behind a socket: a RouteServer to check plays against. It knows neither time nor
//! limits.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{LinkNumber, Rules};
use crate::deployment::FanOut;
use crate::player::pdu::{Pdu, Splitter};

/// Bytes of one read.
const READ_BUFFER: usize = 64 << 10;

/// Serves a model of its own at an address of its own, as long as the runtime lives.
///
/// # Errors
/// What the socket says.
pub async fn serve(fan_out: FanOut) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let server = Arc::new(Mutex::new(Server {
        rules: Rules::new(fan_out),
        outputs: BTreeMap::new(),
    }));
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            let _ = stream.set_nodelay(true);
            tokio::spawn(connection(Arc::clone(&server), number, stream));
        }
    });
    Ok(address)
}

struct Server {
    rules: Rules,
    outputs: BTreeMap<LinkNumber, mpsc::UnboundedSender<Vec<u8>>>,
}

impl Server {
    fn handle(&mut self, from: LinkNumber, pdu: &Pdu) {
        for delivery in self.rules.handle(from, pdu) {
            // A link whose writer has ended is about to be closed.
            let _ = self.outputs[&delivery.to].send(delivery.pdu.encode());
        }
    }
}

async fn connection(server: Arc<Mutex<Server>>, number: LinkNumber, stream: TcpStream) {
    let (mut input, mut output) = stream.into_split();
    let (sender, mut deliveries) = mpsc::unbounded_channel::<Vec<u8>>();
    {
        let mut server = server.lock();
        server.rules.open(number);
        server.outputs.insert(number, sender);
    }
    tokio::spawn(async move {
        while let Some(bytes) = deliveries.recv().await {
            if output.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; READ_BUFFER];
    while let Ok(size @ 1..) = input.read(&mut buffer).await {
        let mut server = server.lock();
        splitter.feed(&buffer[..size], |raw| {
            server.handle(number, &Pdu::parse(&raw.to_vec().into()));
        });
        if splitter.broken() {
            break;
        }
    }
    let mut server = server.lock();
    server.rules.close(number);
    server.outputs.remove(&number);
}
