//! The physical limit: copies every message to every other connection and knows nothing else, except where each user is
//! who was listed: a message to one of them is copied once.
//!
//! It answers status requests with nothing, so that a workload can wait until its connections are served. It serves
//! forward, flood, latency, rate and bytes; the other workloads need a RouteServer.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::time::Duration;

use anyhow::Context as _;

use crate::mesh::{Frame, Mesh};
use crate::pdu;

/// How long a new connection may wait while nothing else happens.
const ACCEPT_EVERY: Duration = Duration::from_millis(20);

/// Serves until the process is ended.
///
/// Looks for new connections in every turn instead of waiting for the event: it costs 2 µs a turn, but a virtual
/// machine whose processors halt when idle then takes 50 µs from A to B instead of 65.
pub(crate) fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    listener.set_nonblocking(true)?;
    let mut mesh = Mesh::new()?;
    let mut turn = Turn::default();
    loop {
        while let Ok((socket, _)) = listener.accept() {
            mesh.adopt(socket)?;
        }
        mesh.poll(ACCEPT_EVERY, |frame| turn.take(frame))?;
        turn.send(&mut mesh);
    }
}

/// What came in between two waits.
#[derive(Default)]
struct Turn {
    messages: Vec<u8>,
    /// Who sent which part of `messages`.
    parts: Vec<(usize, Range<usize>)>,
    /// To whom alone which part of `messages` goes.
    addressed: Vec<(usize, Range<usize>)>,
    /// On which connection each user was listed.
    homes: HashMap<u32, usize>,
    /// Who asks, with which sequence number.
    questions: Vec<(usize, u16)>,
}

impl Turn {
    fn take(&mut self, frame: Frame<'_>) {
        let from = frame.connection;
        match frame.command {
            pdu::MESSAGE => {
                let start = self.messages.len();
                self.messages.extend_from_slice(frame.bytes);
                let end = self.messages.len();
                let home = pdu::receiver(frame.bytes).and_then(|user| self.homes.get(&user));
                if let Some(home) = home {
                    self.addressed.push((*home, start..end));
                    return;
                }
                match self.parts.last_mut() {
                    Some((last, part)) if *last == from => part.end = end,
                    _ => self.parts.push((from, start..end)),
                }
            }
            pdu::ONLINE_LIST => {
                let users = pdu::listed(frame.body()).into_iter();
                self.homes.extend(users.map(|user| (user, from)));
            }
            pdu::STATUS_REQUEST => self.questions.push((from, frame.sequence)),
            _ => {}
        }
    }

    fn send(&mut self, mesh: &mut Mesh) {
        for (from, part) in self.parts.drain(..) {
            for to in (0..mesh.len()).filter(|to| *to != from) {
                mesh.queue(to, &self.messages[part.clone()]);
            }
        }
        for (to, part) in self.addressed.drain(..) {
            mesh.queue(to, &self.messages[part]);
        }
        self.messages.clear();
        for (to, sequence) in self.questions.drain(..) {
            mesh.queue(to, &pdu::empty_status_answer(sequence));
        }
        for to in 0..mesh.len() {
            mesh.flush(to);
        }
    }
}
