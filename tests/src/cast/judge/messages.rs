//! Messages between MsgServers: each comes to whom it is due, as it was sent, once, and in the order
//! in which its line sent it.
//!
//! What is excused, whoever asks has to know.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// What was sent, and how it came. `S` is noted of sending, `R` of receiving.
#[derive(Debug)]
pub struct Messages<S, R> {
    sent: BTreeMap<u32, Message<S>>,
    /// By MsgServer.
    received: Vec<Received<R>>,
}

/// One that was sent.
#[derive(Debug)]
pub struct Message<S> {
    /// Whose it is.
    pub server: usize,
    /// Its MsgServer's, or one of its connections: what a line sends keeps its order.
    pub line: usize,
    /// As it was sent.
    pub raw: Bytes,
    /// MsgServers that have to get it, and have not.
    pub due: BTreeSet<usize>,
    /// What else was noted.
    pub note: S,
}

/// How one came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival<R> {
    /// The MsgServer had to get it, and had not got it.
    pub was_due: bool,
    /// So had nobody else.
    pub was_last: bool,
    /// The MsgServer that had sent it.
    pub from: usize,
    /// It had come before.
    pub before: Option<R>,
    /// A newer one of the same line had come.
    pub after: Option<u32>,
}

#[derive(Debug)]
struct Received<R> {
    /// By number: how it came last.
    came: BTreeMap<u32, R>,
    /// By line.
    newest: BTreeMap<usize, u32>,
}

impl<S, R: Copy> Messages<S, R> {
    /// Between so many MsgServers. Nothing has been sent yet.
    pub fn new(servers: usize) -> Self {
        let received = || Received {
            came: BTreeMap::new(),
            newest: BTreeMap::new(),
        };
        Self {
            sent: BTreeMap::new(),
            received: (0..servers).map(|_| received()).collect(),
        }
    }

    /// One is sent. Later ones of its line have higher numbers.
    pub fn send(&mut self, number: u32, message: Message<S>) {
        self.sent.insert(number, message);
    }

    /// One has come to a MsgServer. `None` if nobody sent it, or not like this.
    pub fn came(&mut self, server: usize, number: u32, raw: &[u8], how: R) -> Option<Arrival<R>> {
        let message = self.sent.get_mut(&number)?;
        if message.raw != raw {
            return None;
        }
        let was_due = message.due.remove(&server);
        let was_last = was_due && message.due.is_empty();
        let (from, line) = (message.server, message.line);
        let before = self.received[server].came.insert(number, how);
        Some(Arrival {
            was_due,
            was_last,
            from,
            before,
            after: self.overtakes(server, line, number),
        })
    }

    /// Something of this line with this number has come to a MsgServer: the newest that had come
    /// before, if that is a newer one.
    pub fn overtakes(&mut self, server: usize, line: usize, number: u32) -> Option<u32> {
        let newest = self.received[server].newest.entry(line).or_default();
        let before = *newest;
        *newest = before.max(number);
        (number < before).then_some(before)
    }

    /// All, in the order of their numbers.
    pub fn all(&self) -> impl Iterator<Item = (u32, &Message<S>)> {
        self.sent.iter().map(|(number, message)| (*number, message))
    }

    /// What was noted of all of a line.
    pub fn of_line(&mut self, line: usize) -> impl Iterator<Item = &mut S> {
        let of_line = self.sent.values_mut().filter(move |it| it.line == line);
        of_line.map(|message| &mut message.note)
    }

    /// What was noted of one.
    pub fn note(&mut self, number: u32) -> Option<&mut S> {
        self.sent.get_mut(&number).map(|message| &mut message.note)
    }

    /// Those that have not come to everybody who has to get them.
    pub fn missing(&self) -> impl Iterator<Item = (u32, &Message<S>)> {
        self.all().filter(|(_, message)| !message.due.is_empty())
    }

    /// From now on it is as if nobody had sent this one.
    pub fn forget(&mut self, number: u32) -> Option<Message<S>> {
        for received in &mut self.received {
            received.came.remove(&number);
        }
        self.sent.remove(&number)
    }
}
