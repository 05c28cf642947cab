//! One TCP connection that plays a MsgServer: writes what it is told, records every PDU that comes.
//!
//! Nothing here polls: a barrier, a count or a close is awaited as an event of the read loop.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::messages;
use super::pdu::{self, Pdu, Splitter, command};

/// How long a barrier may take.
pub const BARRIER_LIMIT: Duration = Duration::from_secs(10);

/// What one read may bring. Large, so that a flooded player is not the bottleneck.
const READ_BUFFER: usize = 256 << 10;
/// How long a connect may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Starts the attach data of a barrier's query; the barrier's number follows.
const BARRIER_MARK: &[u8] = b"\xffbarrier:";

/// How to connect; the default is what a MsgServer does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The address to connect from: servers take connections from one address for one MsgServer.
    pub source: Option<IpAddr>,
    /// The kernel's receive buffer in bytes; small ones make a slow reader felt early.
    pub receive_buffer: Option<u32>,
}

impl Options {
    /// From the loopback address with this last number: a MsgServer of its own, to the server.
    pub fn from_loopback(last: u8) -> Self {
        Self {
            source: Some(Ipv4Addr::new(127, 0, 0, last).into()),
            ..Self::default()
        }
    }
}

/// How to end a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As `close()` does.
    Fin,
    /// By a TCP reset.
    Reset,
}

/// A heartbeat that came.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// When.
    pub at: Instant,
    /// The whole PDU.
    pub raw: Bytes,
}

/// A connection, with its read loop.
#[derive(Debug)]
pub struct Connection {
    /// `None` once this side has closed it.
    socket: Option<Arc<TcpStream>>,
    record: Arc<Record>,
    reader: Option<JoinHandle<()>>,
    barriers: AtomicU64,
}

/// What has come over a connection, shared with its read loop.
#[derive(Debug)]
struct Record {
    seen: Mutex<Seen>,
    /// Moves with everything that comes.
    arrivals: watch::Sender<()>,
    /// Moves with every PDU that is recorded, on any connection of the stage.
    activity: watch::Sender<()>,
}

/// What becomes of the PDUs that come.
#[derive(Default)]
enum Keep {
    #[default]
    All,
    /// Counted, and forgotten.
    Count,
    /// Those that match are counted; all are forgotten.
    CountMatching(fn(&[u8]) -> bool),
    /// Counted, shown, and forgotten.
    Show(Observer),
}

type Observer = Box<dyn FnMut(&[u8]) + Send>;

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "All",
            Self::Count => "Count",
            Self::CountMatching(_) => "CountMatching",
            Self::Show(_) => "Show",
        })
    }
}

#[derive(Debug, Default)]
struct Seen {
    splitter: Splitter,
    pdus: Vec<Bytes>,
    count: usize,
    keep: Keep,
    heartbeats: Vec<Heartbeat>,
    waiting: HashMap<u64, oneshot::Sender<()>>,
    closed_at: Option<Instant>,
}

impl Connection {
    /// Connects; `activity` moves with every PDU that is recorded.
    ///
    /// # Errors
    /// What the socket says, or `TimedOut` after five seconds.
    pub async fn open(
        address: SocketAddr,
        options: Options,
        activity: watch::Sender<()>,
    ) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(size) = options.receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        if let Some(source) = options.source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let socket = timeout(CONNECT_LIMIT, socket.connect(address)).await??;
        socket.set_nodelay(true)?;
        let mut connection = Self {
            socket: Some(Arc::new(socket)),
            record: Arc::new(Record {
                seen: Mutex::default(),
                arrivals: watch::Sender::new(()),
                activity,
            }),
            reader: None,
            barriers: AtomicU64::new(0),
        };
        connection.resume();
        Ok(connection)
    }

    /// Connects as a MsgServer does: it claims the connection if it is its primary one, then lists
    /// its users. The server has handled that.
    ///
    /// # Errors
    /// What the socket says, or `TimedOut` if the server does not answer.
    pub async fn of_msg_server(
        address: SocketAddr,
        options: Options,
        claims: bool,
        list: &Pdu,
    ) -> io::Result<Self> {
        let connection = Self::open(address, options, watch::Sender::new(())).await?;
        if claims {
            connection.write(&messages::role(1).encode()).await?;
        }
        connection.write(&list.encode()).await?;
        if connection.barrier(BARRIER_LIMIT).await {
            Ok(connection)
        } else {
            Err(io::ErrorKind::TimedOut.into())
        }
    }

    /// Writes all of `data`.
    ///
    /// # Errors
    /// What the socket says; a server that has closed shows up here.
    pub async fn write(&self, data: &[u8]) -> io::Result<()> {
        self.writer()?.write(data).await
    }

    /// A handle that writes to this connection from another task; the socket closes with the last
    /// of them.
    ///
    /// # Errors
    /// `NotConnected` after [`Connection::close`].
    pub fn writer(&self) -> io::Result<Writer> {
        let socket = Arc::clone(self.socket()?);
        Ok(Writer { socket })
    }

    /// True once the server has answered everything that was written before; false if it closes or
    /// takes longer than `limit`.
    pub async fn barrier(&self, limit: Duration) -> bool {
        let number = self.barriers.fetch_add(1, Ordering::Relaxed);
        let (answered, answer) = oneshot::channel();
        {
            let mut seen = self.record.seen.lock();
            if seen.closed_at.is_some() {
                return false;
            }
            seen.waiting.insert(number, answered);
        }
        let mark = [BARRIER_MARK, number.to_string().as_bytes()].concat();
        let query = messages::query(0, &[], Some(&mark)).encode();
        let asked = async {
            self.write(&query).await.ok()?;
            answer.await.ok()
        };
        matches!(timeout(limit, asked).await, Ok(Some(())))
    }

    /// Stops reading: the connection becomes a reader that does not read.
    pub async fn pause(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.abort();
            let _ = reader.await;
        }
    }

    /// Reads again.
    pub fn resume(&mut self) {
        let Some(socket) = &self.socket else {
            return;
        };
        if self.reader.is_none() {
            let (socket, record) = (Arc::clone(socket), Arc::clone(&self.record));
            self.reader = Some(tokio::spawn(read(socket, record)));
        }
    }

    /// From now on PDUs are counted, not kept: for plays that move more than fits.
    pub fn count_only(&self) {
        self.record.seen.lock().keep = Keep::Count;
    }

    /// From now on only PDUs that match are counted, and none are kept: for connections that also
    /// get noise.
    pub fn count_matching(&self, matches: fn(&[u8]) -> bool) {
        self.record.seen.lock().keep = Keep::CountMatching(matches);
    }

    /// From now on PDUs are shown to `observer` as they come, and not kept: for plays that judge on
    /// the way.
    pub fn show_to(&self, observer: impl FnMut(&[u8]) + Send + 'static) {
        self.record.seen.lock().keep = Keep::Show(Box::new(observer));
    }

    /// Ends the connection from this side and stops reading.
    pub async fn close(&mut self, ending: Ending) {
        self.pause().await;
        self.record.close();
        if let Some(socket) = self.socket.take()
            && ending == Ending::Reset
        {
            // Fails only on a socket that is gone already.
            let _ = socket.set_zero_linger();
        }
    }

    /// Ends this side's direction only (SHUT_WR); reading goes on.
    ///
    /// # Errors
    /// What the socket says.
    pub fn half_close(&self) -> io::Result<()> {
        SockRef::from(self.socket()?.as_ref()).shutdown(Shutdown::Write)
    }

    /// Whether either side has ended the connection.
    pub fn is_closed(&self) -> bool {
        self.closed_at().is_some()
    }

    /// When the connection ended.
    pub fn closed_at(&self) -> Option<Instant> {
        self.record.seen.lock().closed_at
    }

    /// Waits for the server to end the connection; false after `limit`.
    pub async fn closes(&self, limit: Duration) -> bool {
        self.happens(limit, |seen| seen.closed_at.is_some()).await
    }

    /// Waits until `count` PDUs have come in all (heartbeats and barriers apart); false after
    /// `limit`.
    pub async fn counts(&self, count: usize, limit: Duration) -> bool {
        self.happens(limit, |seen| seen.count >= count).await
    }

    /// Waits for the first PDU of a command that was not forgotten; `None` after `limit`.
    pub async fn comes(&self, command: u16, limit: Duration) -> Option<Bytes> {
        let mut found = None;
        self.happens(limit, |seen| {
            let mut pdus = seen.pdus.iter();
            found = pdus.find(|raw| pdu::command_of(raw) == command).cloned();
            found.is_some()
        })
        .await;
        found
    }

    /// The PDUs that came, in order; heartbeats and the answers to barriers apart.
    pub fn received(&self) -> Vec<Bytes> {
        self.record.seen.lock().pdus.clone()
    }

    /// Forgets what came.
    pub fn forget(&self) {
        self.record.seen.lock().pdus.clear();
    }

    /// How many PDUs came; heartbeats and the answers to barriers apart.
    pub fn count(&self) -> usize {
        self.record.seen.lock().count
    }

    /// The heartbeats that came.
    pub fn heartbeats(&self) -> Vec<Heartbeat> {
        self.record.seen.lock().heartbeats.clone()
    }

    /// Bytes that came and are not a whole PDU.
    pub fn unframed(&self) -> Vec<u8> {
        self.record.seen.lock().splitter.rest().to_vec()
    }

    fn socket(&self) -> io::Result<&Arc<TcpStream>> {
        self.socket
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    async fn happens(&self, limit: Duration, mut what: impl FnMut(&Seen) -> bool) -> bool {
        let mut arrivals = self.record.arrivals.subscribe();
        let waited = async {
            while !what(&self.record.seen.lock()) {
                if arrivals.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(limit, waited).await.is_ok()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.abort();
        }
    }
}

/// Writes to a connection from another task.
#[derive(Debug, Clone)]
pub struct Writer {
    socket: Arc<TcpStream>,
}

impl Writer {
    /// Writes all of `data`.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn write(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            self.socket.writable().await?;
            match self.socket.try_write(data) {
                Ok(written) => data = &data[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

async fn read(socket: Arc<TcpStream>, record: Arc<Record>) {
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        if socket.readable().await.is_err() {
            break;
        }
        match socket.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(size) => record.take(&buffer[..size]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    record.close();
}

impl Record {
    fn take(&self, data: &[u8]) {
        let recorded = self.seen.lock().take(data);
        if recorded {
            self.activity.send_replace(());
        }
        self.arrivals.send_replace(());
    }

    fn close(&self) {
        {
            let mut seen = self.seen.lock();
            seen.closed_at.get_or_insert_with(Instant::now);
            seen.waiting.clear();
        }
        self.arrivals.send_replace(());
    }
}

impl Seen {
    /// Whether anything came that belongs into the record.
    fn take(&mut self, data: &[u8]) -> bool {
        let mut splitter = std::mem::take(&mut self.splitter);
        let before = self.count;
        splitter.feed(data, |raw| self.take_pdu(raw));
        self.splitter = splitter;
        self.count > before || self.splitter.broken()
    }

    fn take_pdu(&mut self, raw: &[u8]) {
        match pdu::command_of(raw) {
            command::HEARTBEAT => {
                self.heartbeats.push(Heartbeat {
                    at: Instant::now(),
                    raw: Bytes::copy_from_slice(raw),
                });
            }
            command::USERS_STATUS_ANSWER if let Some(number) = barrier_number(raw) => {
                if let Some(waiter) = self.waiting.remove(&number) {
                    let _ = waiter.send(());
                }
            }
            _ => self.keep(raw),
        }
    }

    fn keep(&mut self, raw: &[u8]) {
        match &mut self.keep {
            Keep::All => {
                self.count += 1;
                self.pdus.push(Bytes::copy_from_slice(raw));
            }
            Keep::Count => self.count += 1,
            Keep::CountMatching(matches) => self.count += usize::from(matches(raw)),
            Keep::Show(observer) => {
                self.count += 1;
                observer(raw);
            }
        }
    }
}

/// The number of the barrier that `answer` answers: the attach data comes last in it.
fn barrier_number(answer: &[u8]) -> Option<u64> {
    let tail = &answer[answer.len().saturating_sub(32)..];
    let at = tail
        .windows(BARRIER_MARK.len())
        .rposition(|window| window == BARRIER_MARK)?;
    std::str::from_utf8(&tail[at + BARRIER_MARK.len()..])
        .ok()?
        .parse()
        .ok()
}
