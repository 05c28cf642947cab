//! MsgServers as they are built: they read when the kernel says that something has come, and miss a
//! FIN that comes right behind data.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message as _;
use route_proto::legacy::im::{buddy::ImUsersStatRsp, message::ImMsgData};
use system_tests::cast::msg_server::{Connections, RECONNECT_AFTER};
use system_tests::player::messages::{self, SINGLE_TEXT};
use system_tests::player::pdu::{Pdu, Splitter, command};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// MsgServers that take part, each at an address of its own.
pub(super) const SERVERS: usize = 4;
/// Between two messages of one MsgServer: 500 in a second in all.
const PACE: Duration = Duration::from_millis(8);
/// One message in so many comes with a query.
const QUERIED: u32 = 10;
/// How busy it is with other things before it reads. The last one is so slow that it misses FINs.
const BUSY_MILLIS: [u64; SERVERS] = [2, 2, 2, 300];
/// When it notices a FIN that it has missed.
const LATE: Duration = Duration::from_secs(1);
/// The last number of the first one's loopback address.
const FIRST_ADDRESS: u8 = 20;

/// What was sent, and how it came.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) sent: u32,
    /// Who has to get it, by number.
    pub(super) due: BTreeMap<u32, usize>,
    came: BTreeSet<u32>,
    pub(super) twice: usize,
    /// Queries that are not answered.
    pub(super) asked: BTreeSet<u32>,
    /// FINs that were noticed too late.
    pub(super) missed: usize,
}

/// Which connections a MsgServer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ways {
    /// One to each gateway. Every second MsgServer claims that to the second one.
    Both,
    /// One, to the first gateway; when it is lost, after a while one to the second.
    One,
}

/// One MsgServer.
#[derive(Debug)]
pub(super) struct MsgServer {
    number: usize,
    gateways: [SocketAddr; 2],
    board: Arc<Mutex<Board>>,
    connections: Connections<Link>,
    gone: mpsc::UnboundedSender<usize>,
    lost: mpsc::UnboundedReceiver<usize>,
}

/// One connection.
#[derive(Debug)]
struct Link {
    stream: Arc<TcpStream>,
    reader: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl MsgServer {
    /// Connects.
    pub(super) async fn connect(
        number: usize,
        ways: Ways,
        gateways: [SocketAddr; 2],
        board: &Arc<Mutex<Board>>,
    ) -> io::Result<Self> {
        let (order, first) = match ways {
            Ways::Both => ([number % 2, (number + 1) % 2], 2),
            Ways::One => ([0, 1], 1),
        };
        let (gone, lost) = mpsc::unbounded_channel();
        let mut server = Self {
            number,
            gateways,
            board: Arc::clone(board),
            connections: Connections::new(order),
            gone,
            lost,
        };
        for slot in 0..first {
            server.open(slot).await?;
        }
        Ok(server)
    }

    async fn open(&mut self, slot: usize) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        let address = Ipv4Addr::new(127, 0, 0, FIRST_ADDRESS + self.number as u8);
        socket.bind((address, 0).into())?;
        let (gateway, _) = self.connections.slots()[slot];
        let stream = Arc::new(socket.connect(self.gateways[gateway]).await?);
        stream.set_nodelay(true)?;
        let reader = Reader {
            stream: Arc::clone(&stream),
            server: self.number,
            board: Arc::clone(&self.board),
        };
        let gone = self.gone.clone();
        let reader = tokio::spawn(async move {
            reader.read().await;
            // Nobody listens any more when the test is over.
            let _ = gone.send(slot);
        });
        let mut hello = Vec::new();
        let claims = self.connections.open(slot, Link { stream, reader });
        if claims {
            hello = messages::role(1).encode();
        }
        hello.extend(messages::online(&[user_of(self.number)]).encode());
        match &self.connections.slots()[slot].1 {
            Some(link) => link.write(&hello).await,
            None => Ok(()),
        }
    }

    /// Sends until it is told to stop, and goes on with its other connection when one is lost; then waits to be
    /// told that it may close.
    pub(super) async fn run(mut self, mut phase: watch::Receiver<Phase>) {
        let mut clock = interval(PACE);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = *phase.borrow_and_update();
            tokio::select! {
                Some(slot) = self.lost.recv() => self.lose(slot).await,
                _ = clock.tick(), if now == Phase::Sending => self.send().await,
                _ = phase.changed() => {}
            }
            if *phase.borrow() == Phase::Closing {
                return;
            }
        }
    }

    async fn lose(&mut self, slot: usize) {
        if let Some(heir) = self.connections.lose(slot) {
            // If that one is lost too, its reader notices.
            let _ = heir.write(&messages::role(1).encode()).await;
        } else if self.connections.primary().is_none() && slot + 1 < self.connections.slots().len()
        {
            sleep(RECONNECT_AFTER).await;
            self.open(slot + 1)
                .await
                .expect("the other gateway is there");
        }
    }

    async fn send(&mut self) {
        let Some(primary) = self.connections.primary() else {
            return;
        };
        let data = {
            let mut board = self.board.lock();
            board.sent += 1;
            let number = board.sent;
            let to = (self.number + 1 + number as usize % (SERVERS - 1)) % SERVERS;
            board.due.insert(number, to);
            let [from, to] = [self.number, to].map(user_of);
            let mut data = messages::message(from, to, number, SINGLE_TEXT, "a").encode();
            if number.is_multiple_of(QUERIED) {
                board.asked.insert(number);
                let query = messages::query(from, &[to], Some(&number.to_be_bytes()));
                data.extend(query.encode());
            }
            data
        };
        // What cannot be written is lost, as with a real one.
        let _ = primary.write(&data).await;
    }
}

/// What MsgServers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Sending,
    Listening,
    Closing,
}

impl Link {
    async fn write(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            self.stream.writable().await?;
            match self.stream.try_write(data) {
                Ok(written) => data = &data[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

struct Reader {
    stream: Arc<TcpStream>,
    server: usize,
    board: Arc<Mutex<Board>>,
}

impl Reader {
    /// Reads until it notices that the other side has closed.
    async fn read(self) {
        let mut splitter = Splitter::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            if self.stream.readable().await.is_err() {
                return;
            }
            sleep(Duration::from_millis(BUSY_MILLIS[self.server])).await;
            let mut came = 0;
            loop {
                match self.stream.try_read(&mut buffer) {
                    Ok(0) if came == 0 => return,
                    Ok(0) => {
                        self.board.lock().missed += 1;
                        sleep(LATE).await;
                        return;
                    }
                    Ok(bytes) => {
                        came += bytes;
                        let mut board = self.board.lock();
                        splitter.feed(&buffer[..bytes], |raw| board.came(self.server, raw));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return,
                }
            }
        }
    }
}

impl Board {
    fn came(&mut self, server: usize, raw: &[u8]) {
        let pdu = Pdu::parse(&bytes::Bytes::copy_from_slice(raw));
        match pdu.command {
            command::MESSAGE => {
                let message = ImMsgData::decode(pdu.body).expect("as it was sent");
                let to = self.due.remove(&message.msg_id);
                self.twice += usize::from(!self.came.insert(message.msg_id));
                assert!(to.is_none_or(|to| to == server), "it is somebody else's");
            }
            command::USERS_STATUS_ANSWER => {
                let answer = ImUsersStatRsp::decode(pdu.body).expect("an answer");
                let attached = answer.attach_data.unwrap_or_default();
                if let Ok(number) = attached[..].try_into() {
                    self.asked.remove(&u32::from_be_bytes(number));
                }
            }
            _ => {}
        }
    }
}

fn user_of(server: usize) -> u32 {
    server as u32 + 1
}
