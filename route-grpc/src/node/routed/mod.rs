//! Envelopes that were routed lately: between whom, where they went, what was dropped. Without bodies.
//!
//! Bounded in bytes. They stand in blocks: the newest one is open, the others do not change any more, and
//! the oldest one goes as a whole. A reader takes a block at a time and looks at it without any lock.

mod block;
mod late;
mod named;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use route_core::memory::allocated;
use route_core::{LinkId, RoutedEnvelope};

use crate::dialects::Dialects;
use block::COUNTS;
pub(crate) use block::{Block, NamedLink, Noted, Outcome};
pub(crate) use late::{Late, LostLater};

/// A block has room for as many envelopes as take so much, or an eighth of what all may take; their links may take
/// the same.
const BLOCK_BYTES: usize = 64 << 10;

/// The ring of a node, behind a lock of its own, which is taken after that of the node.
#[derive(Debug)]
pub(crate) struct Routed {
    limit: usize,
    blocks: Mutex<Blocks>,
    /// What was lost after it was noted.
    late: Late,
}

#[derive(Debug, Default)]
struct Blocks {
    /// By age, the oldest first.
    closed: VecDeque<Arc<Block>>,
    open: Block,
    /// What the closed ones take.
    closed_bytes: usize,
    /// Some have gone.
    forgot: bool,
}

impl Routed {
    /// Nothing yet. A limit of 0 bytes: nothing is noted.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            blocks: Mutex::default(),
            late: Late::default(),
        }
    }

    /// Envelopes are noted.
    pub(crate) fn is_on(&self) -> bool {
        self.limit > 0
    }

    /// Notes envelopes, each with a higher position than all before. `msg_server`: what tells the MsgServer of a
    /// link apart; `outcome`: what became of what was to be queued for a link.
    pub(super) fn note<'a>(
        &self,
        at: Duration,
        envelopes: impl Iterator<Item = RoutedEnvelope<'a>>,
        dialects: &Dialects,
        msg_server: impl Fn(LinkId) -> String,
        mut outcome: impl FnMut(u64, LinkId) -> Outcome,
    ) {
        let mut envelopes = envelopes.peekable();
        if !self.is_on() || envelopes.peek().is_none() {
            return;
        }
        let mut blocks = self.blocks.lock();
        for envelope in envelopes {
            let named = named::read(dialects, envelope.command, envelope.pdu);
            blocks.make_room(self.limit);
            let outcome = |link| outcome(envelope.position, link);
            blocks.open.push(at, &envelope, named, &msg_server, outcome);
        }
        blocks.forget(self.limit);
    }

    /// The newest block with something that was routed before this position.
    pub(crate) fn before(&self, position: u64) -> Option<Arc<Block>> {
        let blocks = self.blocks.lock();
        if blocks.open.first().is_some_and(|it| it.position < position) {
            return Some(Arc::new(blocks.open.copy()));
        }
        let is_older = |block: &Arc<Block>| block.first().is_some_and(|it| it.position < position);
        let older = blocks.closed.partition_point(is_older);
        older
            .checked_sub(1)
            .map(|at| Arc::clone(&blocks.closed[at]))
    }

    /// From when on it remembers everything: since the node started, or when the oldest one was routed. None: it is off.
    pub(crate) fn since(&self) -> Option<Duration> {
        let blocks = self.blocks.lock();
        let oldest = blocks.closed.front().map_or(&blocks.open, |block| block);
        let oldest = oldest.first().filter(|_| blocks.forgot);
        self.is_on()
            .then(|| oldest.map_or(Duration::ZERO, Noted::at))
    }

    /// What was lost later.
    pub(crate) fn late(&self) -> &Late {
        &self.late
    }

    /// What it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.lock().bytes()
    }
}

impl Blocks {
    /// Closes the open block if that is full, and forgets what there is too much.
    fn make_room(&mut self, limit: usize) {
        let bytes = BLOCK_BYTES.min(limit / 8);
        if self.open.first().is_none() {
            self.open = Block::with_room_for(bytes);
        }
        if !self.open.is_full(bytes) {
            return;
        }
        let next = Block::with_room_for(bytes);
        let full = std::mem::replace(&mut self.open, next).closed();
        self.closed_bytes += taken(&full);
        self.closed.push_back(Arc::new(full));
        self.forget(limit);
    }

    /// The oldest go until the rest fits.
    fn forget(&mut self, limit: usize) {
        while self.bytes() > limit
            && let Some(oldest) = self.closed.pop_front()
        {
            self.closed_bytes -= taken(&oldest);
            self.forgot = true;
        }
    }

    fn bytes(&self) -> usize {
        let handles = allocated(self.closed.capacity() * size_of::<Arc<Block>>());
        handles + self.closed_bytes + self.open.bytes()
    }
}

/// What a closed block takes.
fn taken(block: &Block) -> usize {
    allocated(COUNTS + size_of::<Block>()) + block.bytes()
}
