//! A MsgServer: connections to one gateway or two, one of them claimed, and users who do something
//! by chance.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use system_tests::cast::msg_server::{Connections, HEARTBEAT, RECONNECT_AFTER, gateways_of};
use system_tests::dice::Dice;
use system_tests::player::messages;
use system_tests::player::pdu::{Pdu, Splitter, command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;

use crate::network::board::Board;
use crate::network::host::{PDU_PORT, gateway_name};

/// Before the first connection, a gateway is tried more often: that is not what is looked at here.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Between two acts of its users, milliseconds.
const PACE: std::ops::Range<usize> = 20..250;

/// Every so many acts somebody comes or goes: so few that a MsgServer is still like itself after
/// the longest fault. By that nodes tell which connections are one MsgServer's.
const UPDATE_ONCE_IN: usize = 24;

struct MsgServer {
    board: Arc<Board>,
    number: usize,
    /// What is to be written to each.
    connections: Mutex<Connections<mpsc::UnboundedSender<Vec<u8>>>>,
}

/// Its process.
pub(crate) async fn run(board: Arc<Board>, number: usize, mut dice: Dice) -> turmoil::Result {
    let server = Arc::new(MsgServer {
        board,
        number,
        connections: Mutex::new(Connections::new(gateways_of(number))),
    });
    for (slot, gateway) in (0..).zip(gateways_of(number)) {
        tokio::spawn(Arc::clone(&server).keep_connected(slot, gateway));
    }
    tokio::spawn(Arc::clone(&server).beat());
    loop {
        sleep(dice.millis(PACE)).await;
        server.act(&mut dice);
    }
}

impl MsgServer {
    async fn keep_connected(self: Arc<Self>, slot: usize, gateway: usize) {
        let mut pause = FIRST_RETRY;
        loop {
            let address = (gateway_name(gateway), PDU_PORT);
            if let Ok(Ok(stream)) = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
                self.connected(slot, gateway, stream).await;
                self.lost(slot, gateway);
                pause = RECONNECT_AFTER;
            }
            sleep(pause).await;
        }
    }

    /// Reads until the connection is over.
    async fn connected(&self, slot: usize, gateway: usize, stream: TcpStream) {
        let (mut input, mut output) = stream.into_split();
        let (writer, mut written) = mpsc::unbounded_channel::<Vec<u8>>();
        {
            let mut connections = self.connections.lock();
            if connections.open(slot, writer.clone()) {
                write(&writer, &messages::role(1));
            }
            write(
                &writer,
                &self.board.judge.with(|judge| judge.list(self.number)),
            );
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
    fn lost(&self, slot: usize, gateway: usize) {
        self.board.breaks(self.number, gateway);
        if let Some(next) = self.connections.lock().lose(slot) {
            write(next, &messages::role(1));
        }
    }

    async fn beat(self: Arc<Self>) {
        loop {
            sleep(HEARTBEAT).await;
            for connection in self.connections.lock().live() {
                write(connection, &Pdu::bare(command::HEARTBEAT));
            }
        }
    }

    /// Users send messages, come and go, ask. Without a RouteServer nobody does.
    fn act(&self, dice: &mut Dice) {
        let connections = self.connections.lock();
        if connections.primary().is_none() || !self.board.is_busy() {
            return;
        }
        let updates = usize::from(dice.once_in(UPDATE_ONCE_IN));
        let counts = [dice.roll(4), updates, dice.roll(2)];
        let batch =
            |judge: &mut system_tests::cast::judge::State| judge.batch(self.number, counts, dice);
        let [to_primary, to_others] = self.board.judge.with(batch);
        self.board.sends(self.number, &to_primary);
        for (connection, is_primary) in connections.with_primary() {
            let bytes = if is_primary { &to_primary } else { &to_others };
            let _ = connection.send(bytes.clone());
        }
    }
}

/// In vain to a connection that has just ended.
fn write(connection: &mpsc::UnboundedSender<Vec<u8>>, pdu: &Pdu) {
    let _ = connection.send(pdu.encode());
}
