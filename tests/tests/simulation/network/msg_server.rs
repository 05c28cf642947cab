//! A MsgServer: connections to one gateway or two, one of them claimed, and users who do something by chance.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use system_tests::player::messages;
use system_tests::player::pdu::{Pdu, Splitter, command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;

use crate::network::board::Board;
use crate::network::host::{PDU_PORT, gateway_name};

/// MsgServers come back 4 s after they lost a connection, at the earliest.
const RECONNECT_AFTER: Duration = Duration::from_secs(4);
/// Before the first connection, a gateway is tried more often: that is not what is looked at here.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// They say so often that they are there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Between two acts of its users, milliseconds.
const PACE: std::ops::Range<u64> = 20..250;

/// Every so many acts somebody comes or goes: so few that a MsgServer is still like itself after the longest fault. By that
/// nodes tell which connections are one MsgServer's.
const UPDATE_ONCE_IN: u32 = 24;

struct MsgServer {
    board: Arc<Board>,
    number: usize,
    gateways: Vec<usize>,
    connections: Mutex<Connections>,
}

struct Connections {
    /// Which one is claimed.
    primary: Option<usize>,
    /// What is to be written to each, if it is open.
    writers: Vec<Option<mpsc::UnboundedSender<Vec<u8>>>>,
}

/// Its process. Connects to these gateways.
pub(crate) async fn run(
    board: Arc<Board>,
    number: usize,
    gateways: Vec<usize>,
    mut dice: Rng,
) -> turmoil::Result {
    let server = Arc::new(MsgServer {
        board,
        number,
        connections: Mutex::new(Connections {
            primary: None,
            writers: vec![None; gateways.len()],
        }),
        gateways,
    });
    for place in 0..server.gateways.len() {
        tokio::spawn(Arc::clone(&server).keep_connected(place));
    }
    tokio::spawn(Arc::clone(&server).beat());
    loop {
        sleep(Duration::from_millis(dice.u64(PACE))).await;
        server.act(&mut dice);
    }
}

impl MsgServer {
    async fn keep_connected(self: Arc<Self>, place: usize) {
        let gateway = self.gateways[place];
        let mut pause = FIRST_RETRY;
        loop {
            let address = (gateway_name(gateway), PDU_PORT);
            if let Ok(Ok(stream)) = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
                self.connected(place, stream).await;
                self.lost(place);
                pause = RECONNECT_AFTER;
            }
            sleep(pause).await;
        }
    }

    /// Reads until the connection is over.
    async fn connected(&self, place: usize, stream: TcpStream) {
        let gateway = self.gateways[place];
        let (mut input, mut output) = stream.into_split();
        let (writer, mut written) = mpsc::unbounded_channel::<Vec<u8>>();
        {
            let mut connections = self.connections.lock();
            let mut hello = Vec::new();
            if connections.primary.is_none() {
                connections.primary = Some(place);
                hello = messages::role(1).encode();
            }
            let list = self.board.judge.with(|judge| judge.list(self.number));
            hello.extend(list.encode());
            // Its other end is below.
            let _ = writer.send(hello);
            connections.writers[place] = Some(writer);
        }
        self.board.connects(self.number, gateway);
        let writing = async {
            while let Some(bytes) = written.recv().await {
                if output.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            // Reading has the last word.
            std::future::pending::<()>().await;
        };
        let reading = async {
            let mut splitter = Splitter::default();
            let mut buffer = vec![0; 64 << 10];
            while let Ok(bytes @ 1..) = input.read(&mut buffer).await {
                splitter.feed(&buffer[..bytes], |raw| {
                    self.board.arrives(self.number, gateway, raw);
                });
            }
        };
        tokio::select! {
            // In an order that is not left to chance.
            biased;
            () = reading => {}
            () = writing => {}
        }
    }

    /// Claims another connection at once, if there is one and this one was claimed.
    fn lost(&self, place: usize) {
        self.board.breaks(self.number, self.gateways[place]);
        let mut connections = self.connections.lock();
        connections.writers[place] = None;
        if connections.primary == Some(place) {
            connections.primary = connections.writers.iter().position(Option::is_some);
            if let Some(next) = connections.primary {
                connections.write(next, &messages::role(1));
            }
        }
    }

    async fn beat(self: Arc<Self>) {
        loop {
            sleep(HEARTBEAT).await;
            let connections = self.connections.lock();
            for place in 0..self.gateways.len() {
                connections.write(place, &Pdu::bare(command::HEARTBEAT));
            }
        }
    }

    /// Users send messages, come and go, ask. Without a RouteServer nobody does.
    fn act(&self, dice: &mut Rng) {
        let connections = self.connections.lock();
        let Some(primary) = connections.primary else {
            return;
        };
        if !self.board.is_busy() {
            return;
        }
        let updates = u64::from(dice.u32(..UPDATE_ONCE_IN) == 0);
        let counts = [dice.u64(0..4), updates, dice.u64(0..2)];
        let batch =
            |judge: &mut system_tests::cast::judge::State| judge.batch(self.number, counts, dice);
        let [to_primary, to_others] = self.board.judge.with(batch);
        self.board.sends(self.number, &to_primary);
        for (place, writer) in connections.writers.iter().enumerate() {
            let bytes = if place == primary {
                &to_primary
            } else {
                &to_others
            };
            if let Some(writer) = writer {
                // A connection that has just ended.
                let _ = writer.send(bytes.clone());
            }
        }
    }
}

impl Connections {
    fn write(&self, place: usize, pdu: &Pdu) {
        if let Some(writer) = &self.writers[place] {
            let _ = writer.send(pdu.encode());
        }
    }
}
