//! Many PDU connections in one thread: those of the played MsgServers, or those that the relay
//! serves.
//!
//! Edge-triggered, one read per ready connection and turn, so that all get their share. Nothing
//! here is bounded: a load tool must hold what the server under test does not take.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Token};
use system_tests::player::pdu::{self, HEADER, Pdu, command};

/// Connections that get a turn per wake-up.
const EVENTS: usize = 64;

/// Room for input per connection; grows for a PDU that is longer.
const INPUT_BYTES: usize = 512 * 1024;

/// MsgServers send a heartbeat after 5 s of silence; a little earlier is safe.
const HEARTBEAT_AFTER: Duration = Duration::from_secs(4);

/// One PDU that came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    /// Index of the connection.
    pub(crate) connection: usize,
    pub(crate) command: u16,
    pub(crate) sequence: u16,
    /// The whole PDU.
    pub(crate) bytes: &'a [u8],
}

impl Frame<'_> {
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[HEADER..]
    }
}

/// All connections of a run, numbered from 0 as they came.
pub(crate) struct Mesh {
    poll: mio::Poll,
    events: Events,
    connections: Vec<Connection>,
    /// Connections that may hold more input than the last read took.
    readable: Vec<usize>,
    next_heartbeats: Instant,
    /// Length of all PDUs that came in, heartbeats left out.
    pub(crate) bytes_received: u64,
}

struct Connection {
    socket: TcpStream,
    open: bool,
    /// The peer has sent all that it will: read to the end, no further event will say so.
    ending: bool,
    /// Stands in [`Mesh::readable`].
    listed: bool,
    input: Vec<u8>,
    filled: usize,
    output: Vec<u8>,
    sent: usize,
    last_send: Instant,
}

impl Mesh {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: mio::Poll::new()?,
            events: Events::with_capacity(EVENTS),
            connections: Vec::new(),
            readable: Vec::new(),
            next_heartbeats: Instant::now(),
            bytes_received: 0,
        })
    }

    /// A mesh of `count` connections to one server.
    pub(crate) fn connect(server: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let mut mesh = Self::new()?;
        for _ in 0..count {
            let socket = std::net::TcpStream::connect(server)
                .with_context(|| format!("connect to {server}"))?;
            mesh.adopt(socket)?;
        }
        Ok(mesh)
    }

    /// Adds a connection.
    pub(crate) fn adopt(&mut self, socket: std::net::TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        self.poll.registry().register(
            &mut socket,
            Token(self.connections.len()),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.connections.push(Connection {
            socket,
            open: true,
            ending: false,
            listed: false,
            input: vec![0; INPUT_BYTES],
            filled: 0,
            output: Vec::new(),
            sent: 0,
            last_send: Instant::now(),
        });
        Ok(())
    }

    /// How many connections there are, closed ones included.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn all_open(&self) -> bool {
        self.connections.iter().all(|connection| connection.open)
    }

    /// An error if the server has closed a connection.
    pub(crate) fn expect_open(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.all_open(), "the server closed a connection");
        Ok(())
    }

    /// Adds to what is to be sent.
    pub(crate) fn queue(&mut self, index: usize, data: &[u8]) {
        self.connections[index].output.extend_from_slice(data);
    }

    /// Sends what the socket takes; the rest follows during [`Self::poll`].
    pub(crate) fn flush(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.open && connection.write().is_err() {
            self.close(index);
        }
    }

    pub(crate) fn send(&mut self, index: usize, data: &[u8]) {
        self.queue(index, data);
        self.flush(index);
    }

    pub(crate) fn close(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !connection.open {
            return;
        }
        connection.open = false;
        connection.input = Vec::new();
        connection.output = Vec::new();
        connection.sent = 0;
        // Both fail only for a socket that is gone already, which is what is wanted.
        let _ = self.poll.registry().deregister(&mut connection.socket);
        let _ = connection.socket.shutdown(Shutdown::Both);
    }

    /// Waits up to `timeout` for input, once, and hands every PDU but heartbeats to `take`.
    pub(crate) fn poll(
        &mut self,
        timeout: Duration,
        mut take: impl FnMut(Frame<'_>),
    ) -> anyhow::Result<()> {
        let timeout = if self.readable.is_empty() {
            timeout
        } else {
            Duration::ZERO
        };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            Err(_) => self.events.clear(),
            Ok(()) => {}
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            self.wake(event);
        }
        self.events = events;
        let mut turn = std::mem::take(&mut self.readable);
        for index in turn.drain(..) {
            self.read(index, &mut take)?;
        }
        turn.append(&mut self.readable);
        self.readable = turn;
        self.heartbeats();
        Ok(())
    }

    fn wake(&mut self, event: &Event) {
        let index = event.token().0;
        if event.is_writable() {
            self.flush(index);
        }
        let connection = &mut self.connections[index];
        connection.ending |= event.is_read_closed() || event.is_error();
        if (event.is_readable() || connection.ending) && !connection.listed {
            connection.listed = true;
            self.readable.push(index);
        }
    }

    /// Reads once, and lists the connection again if that was not all.
    fn read(&mut self, index: usize, take: &mut impl FnMut(Frame<'_>)) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        connection.listed = false;
        if !connection.open {
            return Ok(());
        }
        match connection.fill() {
            Ok(Filled::All) => {}
            Ok(Filled::Part) => {
                connection.listed = true;
                self.readable.push(index);
            }
            // A broken connection is a closed one; what it means, the workload says.
            Ok(Filled::End) | Err(_) => {
                self.close(index);
                return Ok(());
            }
        }
        self.bytes_received += connection.take_frames(index, take)?;
        Ok(())
    }

    fn heartbeats(&mut self) {
        let now = Instant::now();
        if now < self.next_heartbeats {
            return;
        }
        self.next_heartbeats = now + HEARTBEAT_AFTER / 8;
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            let silent = now.duration_since(connection.last_send) > HEARTBEAT_AFTER;
            if connection.open && silent && connection.output.is_empty() {
                self.send(index, &Pdu::bare(command::HEARTBEAT).encode());
            }
        }
    }
}

/// What one read left in the socket.
enum Filled {
    /// Perhaps more.
    Part,
    /// Nothing: the next event tells.
    All,
    /// The peer has closed.
    End,
}

impl Connection {
    fn fill(&mut self) -> io::Result<Filled> {
        if self.filled == self.input.len() {
            self.input.resize(self.filled * 2, 0);
        }
        let room = self.input.len() - self.filled;
        match self.socket.read(&mut self.input[self.filled..]) {
            Ok(0) => Ok(Filled::End),
            Ok(count) => {
                self.filled += count;
                // A short read empties a socket, so another event will come; see epoll(7), question
                // 9.
                if count < room && !self.ending {
                    Ok(Filled::All)
                } else {
                    Ok(Filled::Part)
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Filled::All),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Filled::Part),
            Err(error) => Err(error),
        }
    }

    /// Hands out the whole PDUs and returns their length; the part of one that is left moves to the
    /// front.
    fn take_frames(
        &mut self,
        index: usize,
        take: &mut impl FnMut(Frame<'_>),
    ) -> anyhow::Result<u64> {
        let mut taken = 0;
        let mut rest = &self.input[..self.filled];
        while let Some(header) = rest.first_chunk() {
            let header = pdu::header(header).context("the server sent a length below 16")?;
            let Some((bytes, after)) = rest.split_at_checked(header.length as usize) else {
                break;
            };
            rest = after;
            if header.command == command::HEARTBEAT {
                continue;
            }
            taken += u64::from(header.length);
            take(Frame {
                connection: index,
                command: header.command,
                sequence: header.sequence,
                bytes,
            });
        }
        let left = rest.len();
        self.input.copy_within(self.filled - left..self.filled, 0);
        self.filled = left;
        Ok(taken)
    }

    fn write(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.socket.write(&self.output[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    self.last_send = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }
}
